//! The command line of akeys(1), and nothing else: what was typed, each word already a checked type.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help text, which has no markup"
)]

mod keys;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use rrsync_rs::grant::Access;
use rrsync_rs::name::{GrantName, Label, WorkspaceName};

use super::audit::Severity;
use super::bundle::{FromList, HostKey, NatsUrl, NatsWord};
use super::grant::words::{AccessWord, End, Switch};
use super::guard::Allowed;
use super::words::{Fingerprint, SubPath, TargetWord, ToolSet, Which, WorkspaceWord};
use crate::card::{Address, Destination, Place};
use crate::common::moment;

pub use keys::*;

/// Let other machines move your files over SSH, and do nothing else.
#[derive(Debug, Parser)]
#[command(name = "akeys", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Another account, with its rights and no others; for root.
    // An id of its own: a subcommand's argument with the same one would be taken for it.
    #[arg(id = "acting-for", long = "account", value_name = "NAME", global = true)]
    pub account: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, hand out and take in federations: who may ask for what.
    #[command(subcommand)]
    Federation(Federation),
    /// Let a pod of a federation use directories of yours: one key line and its policy.
    Install(Install),
    /// Show every line of authorized_keys and what it allows.
    List(List),
    /// Make one page of every key, what it may do, when it was used and what is wrong: for whoever has to look through it.
    Report(ReportArgs),
    /// Say what sshd would do with a key, or what a line lets its key do.
    Explain(Explain),
    /// Look for what is wrong in authorized_keys and around it.
    Audit(Audit),
    /// Say whether this account is ready, and what mends it where it is not.
    Doctor(Doctor),
    /// Show who holds which keys: one person, many keys, many accounts.
    Users(Users),
    /// Let a key in that comes from no federation: a colleague's, a machine's, one of your own.
    Add(Add),
    /// Make the keys those that a file declares, or show how they differ.
    Apply(Apply),
    /// Write every line in one spelling, without changing what it means.
    Format(Format),
    /// Put another key in the place of one: added, proven, and only then the old one removed.
    Rotate(RotateKey),
    /// Say when a key ends, or show which keys end soon.
    Expire(Expire),
    /// Take keys back: their lines and their policies.
    Remove(Remove),
    /// Look at the policies of installed keys, and change them.
    #[command(subcommand)]
    Grant(Grant),
    /// Show which changes would have allowed what a key was refused, and make those that you choose.
    Learn(Learn),
    /// Make key lines comments, so that sshd does not see them; nothing is lost.
    Disable(KeyLines),
    /// Make disabled lines what they were, byte for byte.
    Enable(KeyLines),
    /// Show the earlier contents of authorized_keys that are kept.
    Log(Log),
    /// Show what changed since an earlier content.
    Diff(Diff),
    /// Bring an earlier content back.
    Undo(Undo),
    /// Print what a shell needs to complete the words of this program.
    Completions(Completions),
}

impl Command {
    /// Whether it tells when keys were used, and by which log: `None` in it is the usual one.
    pub fn reads_log(&self) -> Option<Option<&Path>> {
        match self {
            Self::List(args) => args.last_used.then_some(args.log.as_deref()),
            Self::Audit(args) => args.unused.map(|_| args.log.as_deref()),
            Self::Report(args) => (!args.no_last_used).then_some(args.log.as_deref()),
            _ => None,
        }
    }
}

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
    #[arg(long, value_name = "ACCESS", value_parser = super::words::access, default_value = "ro")]
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

/// `akeys list`
#[derive(Debug, Args)]
pub struct List {
    /// Another file than ~/.ssh/authorized_keys.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Every account of this machine, each with every file that sshd reads for it, in sshd's order.
    #[arg(long, conflicts_with = "file")]
    pub all_users: bool,
    /// Say when each key was last used, by sshd's log and the records of the gate.
    #[arg(long)]
    pub last_used: bool,
    /// Read logins from this file instead of the journal or the usual log files.
    #[arg(long, value_name = "FILE", requires = "last_used")]
    pub log: Option<PathBuf>,
    /// Print JSON, blank and comment lines included.
    #[arg(long)]
    pub json: bool,
}

/// `akeys report`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("form").required(true).args(["html", "json"])))]
pub struct ReportArgs {
    /// Write one page that needs nothing else, to be read in a browser; "-" writes standard output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Every account of this machine.
    #[arg(long)]
    pub all_users: bool,
    /// Do not look for when keys were used.
    #[arg(long, conflicts_with = "log")]
    pub no_last_used: bool,
    /// Read logins from this file instead of the journal or the usual log files.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Whose reader; this machine's sshd unless given.
    #[arg(long)]
    pub target: Option<TargetWord>,
}

/// `akeys explain`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("about").required(true).args(["which", "key"])))]
pub struct Explain {
    /// Say in words what this line, or every line with this key, lets the key do.
    #[arg(value_name = "LINE|SHA256:…")]
    pub which: Option<Which>,
    /// Say whether sshd would let this key in, by which line, and why not by the others.
    #[arg(long, value_name = "TYPE BASE64")]
    pub key: Option<String>,
    /// Another file than ~/.ssh/authorized_keys; "-" reads standard input.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the client connects from; 127.0.0.1 unless given.
    #[arg(long, value_name = "ADDR")]
    pub from: Option<IpAddr>,
    /// The client's name, for an sshd with UseDNS.
    #[arg(long, value_name = "NAME", requires = "key")]
    pub host: Option<String>,
    /// The account that is logged in to; this one unless given.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// When; now unless given. A date (its first second in UTC) or a moment.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub at: Option<Timestamp>,
    /// Whose reader; this machine's sshd unless given.
    #[arg(long)]
    pub target: Option<TargetWord>,
    /// The key is an authority, and the login shows a certificate that it signed.
    #[arg(long, requires = "key")]
    pub certificate: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `akeys audit`
#[derive(Debug, Args)]
pub struct Audit {
    /// Another file than ~/.ssh/authorized_keys; "-" reads standard input and looks at nothing else.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Every account of this machine, each with every file that sshd reads for it.
    #[arg(long, conflicts_with_all = ["file", "fix", "codes"])]
    pub all_users: bool,
    /// Find keys too that nobody has used for so many days, by sshd's log and the records of the gate.
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["fix", "codes"])]
    pub unused: Option<u16>,
    /// Read logins from this file instead of the journal or the usual log files.
    #[arg(long, value_name = "FILE", requires = "unused")]
    pub log: Option<PathBuf>,
    /// Leave out what is less severe.
    #[arg(long, value_name = "LEVEL", default_value = "low")]
    pub severity: Severity,
    /// Whose reader; this machine's sshd unless given.
    #[arg(long)]
    pub target: Option<TargetWord>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print SARIF 2.1.0.
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Show what can be mended without letting anybody in, and change nothing.
    #[arg(long, conflicts_with_all = ["file", "json", "sarif"])]
    pub fix: bool,
    /// Mend what --fix shows.
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
    /// Print every code with its severity and its meaning.
    #[arg(long, conflicts_with_all = ["file", "fix", "sarif", "target"])]
    pub codes: bool,
}

/// `akeys doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `akeys users`
#[derive(Debug, Args)]
pub struct Users {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `akeys remove`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["federation", "fingerprint", "line"])))]
pub struct Remove {
    /// Every key of this federation.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
    /// Only this pod's keys.
    #[arg(long, requires = "federation")]
    pub pod: Option<Label>,
    /// Every line with this key: SHA256:…
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<String>,
    /// This line.
    #[arg(long, value_name = "N")]
    pub line: Option<usize>,
    /// Print what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys grant …`
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Say in words what a policy allows.
    Show {
        /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
        name: GrantName,
    },
    /// Change what an installed key may do: its policy, its end, where it may be used from.
    Set(GrantSet),
}

/// `akeys grant set`
#[derive(Debug, Args)]
pub struct GrantSet {
    /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
    pub grant: GrantName,
    /// The tools from now on.
    #[arg(long, value_name = "TOOL,…")]
    pub tools: Option<ToolSet>,
    /// When the key ends: a date (its first second in UTC), a moment, or never.
    #[arg(long, value_name = "WHEN|never")]
    pub expires: Option<End>,
    /// Where the key may be used from: addresses, CIDR blocks, host names.
    #[arg(long, value_name = "PATTERN,…")]
    pub from: Option<FromList>,
    /// Expose a directory more.
    #[arg(long, value_name = "DIR[:NAME[=ACCESS]]")]
    pub add_workspace: Vec<WorkspaceWord>,
    /// Expose a directory no longer.
    #[arg(long, value_name = "NAME")]
    pub remove_workspace: Vec<WorkspaceName>,
    /// Another access to a workspace or to a path in it.
    #[arg(long, value_name = "NAME[/SUB]=ACCESS")]
    pub access: Vec<AccessWord>,
    /// No access of its own for a path: that of its workspace holds.
    #[arg(long, value_name = "NAME/SUB")]
    pub remove_path: Vec<SubPath>,
    /// Whether the records of refusals say what would have allowed them.
    #[arg(long, value_name = "on|off")]
    pub learn: Option<Switch>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

impl GrantSet {
    /// Only another end.
    pub fn end(grant: GrantName, end: End, dry_run: bool, allow: Allowed) -> Self {
        Self {
            grant,
            tools: None,
            expires: Some(end),
            from: None,
            add_workspace: Vec::new(),
            remove_workspace: Vec::new(),
            access: Vec::new(),
            remove_path: Vec::new(),
            learn: None,
            dry_run,
            allow,
        }
    }
}

/// `akeys learn`
#[derive(Debug, Args)]
pub struct Learn {
    /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
    pub grant: GrantName,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["apply", "apply_all", "dry_run"])]
    pub json: bool,
    /// Make the changes of these numbers.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub apply: Vec<usize>,
    /// Make every change that can be made.
    #[arg(long, conflicts_with = "apply")]
    pub apply_all: bool,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `akeys disable` and `akeys enable`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["federation", "fingerprint", "line"])))]
pub struct KeyLines {
    /// Every line of this federation.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
    /// Only this pod's lines.
    #[arg(long, requires = "federation")]
    pub pod: Option<Label>,
    /// Every line with this key: SHA256:…
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<String>,
    /// This line.
    #[arg(long, value_name = "N")]
    pub line: Option<usize>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys log`
#[derive(Debug, Args)]
pub struct Log {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `akeys diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The content before the last N changes, as akeys log numbers it.
    #[arg(value_name = "N", default_value_t = 1)]
    pub number: usize,
}

/// `akeys undo`
#[derive(Debug, Args)]
pub struct Undo {
    /// The content before the last N changes, as akeys log numbers it.
    #[arg(value_name = "N", default_value_t = 1)]
    pub number: usize,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn an_account_to_forget_is_not_one_to_act_for() {
        use clap::Parser as _;
        let cli = super::Cli::try_parse_from(["akeys", "federation", "forget", "anna@laptop"]).unwrap();
        assert_eq!(cli.account, None);
        let cli = super::Cli::try_parse_from(["akeys", "list", "--account", "anna"]).unwrap();
        assert_eq!(cli.account.as_deref(), Some("anna"));
    }
}
