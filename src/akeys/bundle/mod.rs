//! The public half of a federation: one small TOML file that a pod's side exports and a user installs from.
//!
//! A bundle comes from somebody else, so it is parsed, never trusted: unknown keys are refused, every name is a checked
//! type, a key is decoded and encoded again, and nothing in it is granted that the user does not ask for. `file` reads
//! and writes the TOML form, akeys-bundle(5), and the pod's side keeps its own federations in the same form; `signature`
//! says who has signed it, and `succession` what another bundle of the same name may change.

mod file;
mod from;
mod key;
mod signature;
mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::name::{BadName, GrantName, Label, WorkspaceName};

use crate::authkeys::Key;
use crate::card::{Destination, HostPublicKey, Place};

pub use file::{parse, receive, render};
pub use from::{BadFrom, FromList};
pub use key::{BadKey, HostKey, NatsUrl, NatsWord, PodKey};
pub use signature::sign;
pub use succession::{BadSuccessor, MergeError, Successor, refuse_revoked, succeed};

/// A bundle as it came: what it says, who has signed it, and its very bytes, which the signature is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub bundle: Bundle,
    /// The key that has signed it; `None` where nothing is signed.
    pub signer: Option<PodKey>,
    /// The text, signature included.
    pub text: String,
}

/// A federation as its bundle tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The name of the trust relation.
    pub federation: Label,
    /// Which edition this is: every change makes it greater. 0 where nobody counts.
    pub serial: u64,
    /// Where the federation's common hosts are.
    pub hubs: Vec<Destination>,
    /// Where events travel, when they travel by NATS.
    pub nats: Option<NatsUrl>,
    /// Host keys that the other side pins.
    pub host_keys: Vec<HostKey>,
    /// Workspaces that the federation would like to see; nothing is exposed because of them.
    pub workspaces: BTreeMap<WorkspaceName, Suggestion>,
    /// One entry per pod and tool set.
    pub offers: Vec<Offer>,
    /// Keys that are not to be used any more.
    pub revoked: Vec<Revoked>,
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
    /// Earlier keys of the same pod and tool set, whose place it takes.
    pub replaces: Vec<PodKey>,
    /// What it wants to use.
    pub tools: BTreeSet<Tool>,
    /// The access that it wants; the user decides.
    pub access: Access,
    /// Where it comes from.
    pub from: Option<FromList>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// A key that was taken back by its own side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Who held the private key.
    pub pod: Label,
    /// The name of the tool set, when the pod had several keys.
    pub set: Option<Label>,
    /// The public key.
    pub key: PodKey,
    /// When it was taken back.
    pub since: Timestamp,
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

/// Whether a pod, or a tool set of it, is named as other files beside the private keys are: the public half of a key, the
/// pinned host keys and the configuration of ssh of a federation. Changing or removing its key would be about those.
pub fn is_taken(pod: &Label, set: Option<&Label>) -> bool {
    ["known_hosts", "ssh_config", "pub"].contains(&pod.as_str())
        || set.is_some_and(|set| set.as_str() == "pub")
}

impl Bundle {
    /// The name of the grant that installs `offer`: `FEDERATION.POD` or `FEDERATION.POD.SET`.
    ///
    /// Fails when the parts, each short enough, are too long together.
    pub fn grant_name(&self, offer: &Offer) -> Result<GrantName, BadName> {
        self.name_of(&offer.pod, offer.set.as_ref())
    }

    /// The name of the grant for a pod and a tool set of it.
    pub fn name_of(&self, pod: &Label, set: Option<&Label>) -> Result<GrantName, BadName> {
        let base = format!("{}.{pod}", self.federation);
        set.map_or_else(|| base.parse(), |set| format!("{base}.{set}").parse())
    }

    /// The revocation of `key`, if it was taken back.
    pub fn revocation(&self, key: &Key) -> Option<&Revoked> {
        self.revoked.iter().find(|revoked| revoked.key.key() == key)
    }

    /// The pinned keys of each host that it names.
    pub fn pinned(&self) -> BTreeMap<&Place, BTreeSet<HostPublicKey>> {
        let mut pinned: BTreeMap<&Place, BTreeSet<HostPublicKey>> = BTreeMap::new();
        for key in &self.host_keys {
            pinned.entry(&key.place).or_default().insert(key.key.clone());
        }
        pinned
    }

    /// The pods in it, in order.
    pub fn pods(&self) -> BTreeSet<&Label> {
        self.offers.iter().map(|offer| &offer.pod).collect()
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
