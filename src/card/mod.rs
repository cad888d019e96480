//! The card: where a pod finds the workspaces of one account, and by which keys it knows the host.
//!
//! The account's side writes it, the pod's side keeps it, and everything that connects reads it. It comes from somebody
//! else, so it is parsed, never trusted: a host or a user is a word that no program can take for an option, a pattern or a
//! path, and a host key is decoded and encoded again. `file` is the TOML form, akeys-card(5); `store` is where the pod's
//! side keeps its cards, `pins` the host keys that it knows its hosts by.

mod file;
mod key;
mod pins;
mod place;
mod store;

use std::collections::BTreeSet;

use rrsync_rs::name::{Label, WorkspaceName};

pub use file::{parse, render};
pub use key::{BadHostKey, HostPublicKey};
pub use pins::{OtherKey, Pins};
pub use place::{Address, BadPlace, Destination, Host, Place, User};
pub use store::{CardError, all, find, forget, path, read, store};

/// Where one pod finds the workspaces of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The trust relation.
    pub federation: Label,
    /// The pod that the workspaces are for.
    pub pod: Label,
    /// The account to log in to.
    pub user: User,
    /// The host to connect to, and its port.
    pub place: Place,
    /// The label under which workspaces of several accounts are found together.
    pub project: Option<Label>,
    /// The names of the workspaces; at least one.
    pub workspaces: BTreeSet<WorkspaceName>,
    /// The host's public keys; at least one.
    pub host_keys: BTreeSet<HostPublicKey>,
}

impl Card {
    /// The account as the card's file is named: `USER@HOST`.
    pub fn account(&self) -> String {
        format!("{}@{}", self.user, self.place.host)
    }
}
