//! NATS: events published with acknowledgement, and the registry of workspaces.

pub mod server;
