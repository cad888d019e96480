//! The public half of a federation: one small TOML file that a pod's side exports and a user installs from.
//!
//! A bundle comes from somebody else, so it is parsed, never trusted: unknown keys are refused, every name is a checked
//! type, a key is decoded and encoded again, and nothing in it is granted that the user does not ask for. `file` reads
//! and writes the TOML form (akeys-grant(5), "BUNDLES"); the pod's side keeps its own federations in the same form.

mod file;
mod from;
mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::name::{BadName, GrantName, Label, WorkspaceName};

pub use file::{parse, render};
pub use from::{BadFrom, FromList};
pub use key::{BadKey, HostKey, NatsUrl, PodKey};

/// A federation as its bundle tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The name of the trust relation.
    pub federation: Label,
    /// Where events travel, when they travel by NATS.
    pub nats: Option<NatsUrl>,
    /// Host keys that the other side pins.
    pub host_keys: Vec<HostKey>,
    /// Workspaces that the federation would like to see; nothing is exposed because of them.
    pub workspaces: BTreeMap<WorkspaceName, Suggestion>,
    /// One entry per pod and tool set.
    pub offers: Vec<Offer>,
}

/// One key that asks for a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Who holds the private key.
    pub pod: Label,
    /// The name of the tool set, when the pod has several keys.
    pub set: Option<Label>,
    /// The public key.
    pub key: PodKey,
    /// What it wants to use.
    pub tools: BTreeSet<Tool>,
    /// The access that it wants; the user decides.
    pub access: Access,
    /// Where it comes from.
    pub from: Option<FromList>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// A workspace that a federation would like to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Where it usually is, as its owner would write it.
    pub path: Option<PathBuf>,
    /// The access it would be useful with.
    pub access: Access,
    /// Sub-paths that would have to be writable.
    pub writable: BTreeSet<PathBuf>,
}

impl Bundle {
    /// The name of the grant that installs `offer`: `FEDERATION.POD` or `FEDERATION.POD.SET`.
    ///
    /// Fails when the parts, each short enough, are too long together.
    pub fn grant_name(&self, offer: &Offer) -> Result<GrantName, BadName> {
        let base = format!("{}.{}", self.federation, offer.pod);
        offer.set.as_ref().map_or_else(|| base.parse(), |set| format!("{base}.{set}").parse())
    }

    /// The pods in it, in order.
    pub fn pods(&self) -> BTreeSet<&Label> {
        self.offers.iter().map(|offer| &offer.pod).collect()
    }

    /// Takes in the offers of `other`, another bundle of the same federation (another pod's).
    ///
    /// Returns how many were new. Whatever contradicts what is here is an error: a bundle never replaces a key.
    pub fn merge(&mut self, other: Bundle) -> Result<usize, MergeError> {
        if self.nats != other.nats {
            return Err(MergeError::Setting("nats"));
        }
        if self.host_keys != other.host_keys {
            return Err(MergeError::Setting("host-keys"));
        }
        if self.workspaces != other.workspaces {
            return Err(MergeError::Setting("workspace"));
        }
        let before = self.offers.len();
        for offer in other.offers {
            let same = |mine: &&Offer| mine.pod == offer.pod && mine.set == offer.set;
            match self.offers.iter().find(same) {
                None => self.offers.push(offer),
                Some(mine) if *mine == offer => {}
                Some(mine) => {
                    return Err(MergeError::Offer {
                        pod: offer.pod.clone(),
                        here: Box::new(mine.clone()),
                        there: Box::new(offer),
                    });
                }
            }
        }
        Ok(self.offers.len() - before)
    }
}

impl Offer {
    /// What it asks for, in words: `rsync, watch; read; from 10.1.0.0/16; until 2027-12-31`.
    pub fn wants(&self) -> String {
        let tools: Vec<String> = self.tools.iter().map(Tool::to_string).collect();
        let access = match self.access {
            Access::ReadOnly => "read",
            Access::WriteOnly => "write only",
            Access::ReadWrite => "read and write",
            Access::None => "nothing",
            Access::Drop => "drop",
        };
        let from = self.from.as_ref().map_or_else(String::new, |from| format!("; from {from}"));
        let until = |at| format!("; until {}", crate::common::moment::in_words(at));
        format!("{}; {access}{from}{}", tools.join(", "), self.expires.map_or_else(String::new, until))
    }
}

/// Why two bundles of one federation do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A setting of the whole federation differs.
    #[error("{0} differs from what was imported before")]
    Setting(&'static str),
    /// The same pod and tool set with another key or other wishes.
    #[error("pod {pod} differs from what was imported before")]
    Offer {
        /// The pod.
        pod: Label,
        /// What is here.
        here: Box<Offer>,
        /// What the other bundle says.
        there: Box<Offer>,
    },
}
