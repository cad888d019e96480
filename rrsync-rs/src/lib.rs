//! The gate: sshd runs it as the forced command of one key, and it runs exactly what that key may do.
//!
//! The library is what the gate's one binary and `akeys` share: the grant, its file form, the judge and the words in
//! which both explain it.

#![forbid(unsafe_code)]

pub mod audit;
pub mod beneath;
pub mod cli;
pub mod confine;
mod copying;
pub mod escape;
pub mod explain;
pub mod exposure;
pub mod gate;
pub mod grant;
pub mod hex;
pub mod layout;
pub mod ledger;
pub mod listing;
pub mod name;
pub mod origin;
pub mod policy;
pub mod remembered;
pub mod removal;
pub mod rename;
pub mod request;
pub mod rsync;
pub mod rules;
pub mod scp;
pub mod serve;
pub mod session;
pub mod sftp;
pub mod sha256;
pub mod trusted;
pub mod verdict;
pub mod versions;
pub mod vfs;
pub mod watch;
mod wildcard;
