//! NATS: events published with acknowledgement, and the registry of workspaces.
//!
//! `wire`, `socket` and `client` speak the client protocol, `jetstream` what JetStream has made of it. `publish` sends a workspace's events from its
//! journal, `registry` says which workspaces there are. What comes from a server may
//! have been sent by anybody, and is read as such.

mod announce;
pub mod client;
pub mod jetstream;
pub mod publish;
pub mod registry;
pub mod secret;
pub mod server;
mod session;
pub mod settings;
pub mod socket;
pub mod subject;
pub mod wire;
