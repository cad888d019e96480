//! The words of `akeys federation` and `akeys install`: who may ask for what, and who gets it.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help text, which has no markup"
)]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use rrsync_rs::grant::Access;
use rrsync_rs::name::Label;

use crate::akeys::bundle::{FromList, HostKey, NatsUrl, NatsWord};
use crate::akeys::guard::Allowed;
use crate::akeys::words::{self, Fingerprint, SubPath, ToolSet, WorkspaceWord};
use crate::card::{Address, Destination, Place};
use crate::common::moment;

/// `akeys federation …`
#[derive(Debug, Subcommand)]
pub enum Federation {
    /// Make a federation and the key pairs of this pod.
    New(NewFederation),
    /// Make the key pairs of another pod here, and add them to a federation of yours.
    Add(AddPod),
    /// Add the pods of a bundle that another machine exported to a federation of yours.
    Admit(Admit),
    /// Change what the bundle of a federation of yours says about its hubs.
    Set(SetFederation),
    /// Print the bundle of a federation of yours: all that a user needs, and no secret.
    Export(Export),
    /// Take in a bundle that somebody sent. Nothing is granted by that.
    Import(Import),
    /// Give pods new keys, beside the old ones until every account that is known takes the new ones.
    Rotate(Rotate),
    /// Say in the bundle that the keys of a pod are not to be used any more, and remove their private halves.
    Revoke(Revoke),
    /// Make what is installed follow the imported bundle: new keys for old, and revoked ones out. Nothing is added.
    Update(Update),
    /// Print the card for a pod: where it finds the workspaces that are installed for it here.
    Card(PrintCard),
    /// On the pod: take in the card of an account that lets it in, and pin its host keys.
    Meet(Meet),
    /// On the pod: forget the card of an account.
    Forget(Forget),
    /// Show the federations that were made and imported here.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget a federation: an imported bundle, or one of yours with its private keys.
    Remove(RemoveFederation),
}

/// What a pod asks for
#[derive(Debug, Args)]
pub struct Asks {
    /// What the key is for: rsync, scp, sftp, watch. Each use of this option makes one more key pair.
    #[arg(long, value_name = "TOOL,…", default_value = "rsync")]
    pub tools: Vec<ToolSet>,
    /// The access to ask for: ro, wo or rw.
    #[arg(long, value_name = "ACCESS", value_parser = words::access, default_value = "ro")]
    pub access: Access,
    /// The same as --access ro.
    #[arg(long, conflicts_with = "access")]
    pub read_only: bool,
    /// Where the pod will connect from: addresses, CIDR blocks, host names.
    #[arg(long, value_name = "PATTERN,…")]
    pub from: Option<FromList>,
    /// When the key ends: a date (its first second in UTC) or a moment.
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub expires: Option<Timestamp>,
}

/// `akeys federation new`
#[derive(Debug, Args)]
pub struct NewFederation {
    /// Its name: letters, digits, '_' and '-'.
    pub name: Label,
    /// The name of this pod; the host's name unless given.
    #[arg(long)]
    pub pod: Option<Label>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the doc comment would be the help text of the command")]
    pub asks: Asks,
    /// A workspace to suggest; DIR as its owner would write it.
    #[arg(long = "workspace", value_name = "DIR[:NAME[=ACCESS]]")]
    pub workspaces: Vec<WorkspaceWord>,
    /// A sub-path to suggest as writable.
    #[arg(long, value_name = "NAME/SUB")]
    pub writable: Vec<SubPath>,
    /// Where events travel.
    #[arg(long, value_name = "URL")]
    pub nats: Option<NatsUrl>,
    /// A host that is common to the federation.
    #[arg(long = "hub", value_name = "[USER@]HOST[:PORT]")]
    pub hubs: Vec<Destination>,
    /// A host key to pin, as in known_hosts.
    #[arg(long = "host-key", value_name = "HOST TYPE KEY")]
    pub host_keys: Vec<HostKey>,
}

/// `akeys federation add`
#[derive(Debug, Args)]
pub struct AddPod {
    /// The federation.
    pub name: Label,
    /// The name of the pod.
    #[arg(long)]
    pub pod: Label,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the doc comment would be the help text of the command")]
    pub asks: Asks,
}

/// `akeys federation admit`
#[derive(Debug, Args)]
pub struct Admit {
    /// The bundle; "-" reads standard input.
    pub bundle: PathBuf,
    /// A pod that is known has another key: let that one take the place of the old.
    #[arg(long)]
    pub replace: bool,
}

/// `akeys federation set`
#[derive(Debug, Args)]
pub struct SetFederation {
    /// The federation.
    pub name: Label,
    /// Where events travel, or none.
    #[arg(long, value_name = "URL|none")]
    pub nats: Option<NatsWord>,
    /// A host more that is common to the federation.
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub add_hub: Vec<Destination>,
    /// A host less.
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub remove_hub: Vec<Destination>,
    /// A host key more to pin, as in known_hosts.
    #[arg(long, value_name = "HOST TYPE KEY")]
    pub add_host_key: Vec<HostKey>,
    /// Pin no key of this host any more.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub remove_host_key: Vec<Place>,
}

/// `akeys federation export`
#[derive(Debug, Args)]
pub struct Export {
    /// The federation.
    pub name: Label,
    /// Leave the signature out, to sign it in another way.
    #[arg(long)]
    pub unsigned: bool,
}

/// `akeys federation import`
#[derive(Debug, Args)]
pub struct Import {
    /// The bundle; "-" reads standard input.
    pub bundle: PathBuf,
    /// Take it only when this key has signed it.
    #[arg(long, value_name = "SHA256:…")]
    pub signer: Option<Fingerprint>,
}

/// `akeys federation rotate`
#[derive(Debug, Args)]
pub struct Rotate {
    /// The federation.
    pub name: Label,
    /// Only this pod; every pod whose keys are here unless given.
    #[arg(long)]
    pub pod: Option<Label>,
    /// Ask every account that is known whether it takes the new keys, and change nothing.
    #[arg(long, conflicts_with = "finish")]
    pub check: bool,
    /// Let the new keys take the place of the old ones, once every account takes them.
    #[arg(long)]
    pub finish: bool,
    /// Do not ask: an account that does not take the new keys is lost.
    #[arg(long, requires = "finish")]
    pub unproven: bool,
}

/// `akeys federation revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// The federation.
    pub name: Label,
    /// The pod.
    #[arg(long)]
    pub pod: Label,
    /// Only the key of this tool set.
    #[arg(long)]
    pub set: Option<Label>,
}

/// `akeys federation update`
#[derive(Debug, Args)]
pub struct Update {
    /// The federation.
    pub name: Label,
    /// Do it in an account of another host, over ssh, by the akeys that is installed there: [USER@]HOST[:PORT].
    #[arg(long, value_name = "DESTINATION", conflicts_with = "dry_run")]
    pub host: Option<Destination>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// What a card says that can be said in another way
#[derive(Debug, Args)]
pub struct CardWords {
    /// Where the pod reaches this account: a host, and a port where it is not that of this machine's sshd.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<Address>,
    /// A host key to name on the card, instead of those of this machine's sshd: a .pub file.
    #[arg(long = "host-key", value_name = "FILE")]
    pub host_keys: Vec<PathBuf>,
    /// The label under which workspaces of several accounts are found together.
    #[arg(long, value_name = "NAME")]
    pub project: Option<Label>,
}

/// `akeys federation card`
#[derive(Debug, Args)]
pub struct PrintCard {
    /// The federation.
    pub name: Label,
    /// The pod; needed where several are installed.
    #[arg(long)]
    pub pod: Option<Label>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the doc comment would be the help text of the command")]
    pub words: CardWords,
}

/// `akeys federation meet`
#[derive(Debug, Args)]
pub struct Meet {
    /// The card; "-" reads standard input.
    pub card: PathBuf,
    /// The host has new keys: pin those of the card instead.
    #[arg(long)]
    pub replace_host_key: bool,
}

/// `akeys federation forget`
#[derive(Debug, Args)]
pub struct Forget {
    /// The account, USER@HOST.
    pub account: String,
    /// The federation; needed where several know the account.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
}

/// `akeys federation remove`
#[derive(Debug, Args)]
pub struct RemoveFederation {
    /// The federation.
    pub name: Label,
    /// The imported bundle, where there is one of yours with the same name.
    #[arg(long, conflicts_with = "own")]
    pub imported: bool,
    /// Your own federation and its private keys.
    #[arg(long)]
    pub own: bool,
}

/// `akeys install`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("whose").required(true).args(["federation", "bundle"])))]
pub struct Install {
    /// An imported federation, or one of yours.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
    /// A bundle file, without importing it.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Use the bundle file only when this key has signed it.
    #[arg(long, value_name = "SHA256:…", requires = "bundle")]
    pub signer: Option<Fingerprint>,
    /// Install in an account of another host, over ssh; directories are meant there.
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub host: Option<Destination>,
    /// Copy the gate to ~/.local/bin of that account, where akeys is not installed.
    #[arg(long, requires = "host", conflicts_with = "gate")]
    pub with_gate: bool,
    /// Which pod of it; needed where the bundle has several.
    #[arg(long)]
    pub pod: Option<Label>,
    /// A directory to expose, its name for the pod, and ro (default), wo or rw.
    #[arg(long = "workspace", value_name = "DIR[:NAME[=ACCESS]]")]
    pub workspaces: Vec<WorkspaceWord>,
    /// Refuse any ACCESS but ro; --writable still makes exceptions.
    #[arg(long)]
    pub read_only: bool,
    /// Hidden directories of the home are meant, too.
    #[arg(long)]
    pub hidden: bool,
    /// A sub-path of a workspace that the pod may write.
    #[arg(long, value_name = "NAME/SUB")]
    pub writable: Vec<SubPath>,
    /// Other tools than the bundle asks for.
    #[arg(long, value_name = "TOOL,…")]
    pub tools: Option<ToolSet>,
    /// Where the key may be used from, instead of what the bundle says.
    #[arg(long, value_name = "PATTERN,…")]
    pub from: Option<FromList>,
    /// When the key ends, instead of what the bundle says: a date (its first second in UTC) or a moment.
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub expires: Option<Timestamp>,
    /// Print what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The gate to run, instead of the rrsync-rs beside this program.
    #[arg(long, value_name = "PATH")]
    pub gate: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the doc comment would be the help text of the command")]
    pub card: CardWords,
}
