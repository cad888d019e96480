//! The environment of the end-to-end tests: a scratch home, a private sshd, clients with keys of their own.
//!
//! ```text
//! let sandbox = Sandbox::new();
//! let key = sandbox.new_key("chef1");
//! sandbox.authorize(r#"restrict,command="…""#, &key);
//! sandbox.client(&key).rsync(&["-a", "host:papers/", "copy/"]).succeeds();
//! ```
//!
//! Nothing here needs root, a port below 1024, the network or a sleep. What a sandbox starts ends with it, and a
//! sandbox whose test fails prints what sshd logged and what the gate recorded.

mod account;
mod client;
mod daemon;
mod follower;
mod home;
mod listener;
mod nats;
mod outcome;
mod pod;
mod programs;
mod sandbox;
mod talk;

pub(crate) use account::{Account, is_root};
pub(crate) use client::Client;
pub(crate) use daemon::Daemon;
pub(crate) use follower::{Follower, Stream, counts, words};
pub(crate) use home::{Home, fill};
pub(crate) use listener::Listener;
pub(crate) use nats::NatsServer;
pub(crate) use outcome::{Outcome, Run, run};
pub(crate) use pod::{Following, Pod};
pub(crate) use programs::{PROGRAMS_DIR, copy_program, find_program, gate, has_program, our_program};
pub(crate) use sandbox::{Key, Sandbox, SftpServer};
pub(crate) use talk::{DEADLINE, Talk};
