//! The gate: sshd runs it as the forced command of one key, and it runs exactly what that key may do.
//!
//! The library is what the gate's one binary and `akeys` share: the grant, its file form, the judge and the words in
//! which both explain it.

#![forbid(unsafe_code)]

pub mod beneath;
pub mod escape;
pub mod grant;
pub mod layout;
pub mod name;
pub mod sftp;
pub mod vfs;
