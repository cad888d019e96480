//! The words of the subcommands that change keys which no federation brought.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use rrsync_rs::name::GrantName;

use crate::akeys::bundle::FromList;
use crate::akeys::grant::words::End;
use crate::akeys::guard::Allowed;
use crate::akeys::spelling::Aspect;
use crate::akeys::words::{BadWord, Which};
use crate::common::moment;

/// `akeys add`
#[derive(Debug, Args)]
pub struct Add {
    /// A file with public keys, "-" for standard input, or one key itself: "TYPE BASE64 [COMMENT]".
    #[arg(value_name = "KEY")]
    pub key: OsString,
    /// What the key may do.
    #[command(flatten)]
    pub options: KeyOptions,
    /// Another comment than the key comes with.
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<OsString>,
    /// Take over the options that stand before the key where it comes from.
    #[arg(long, conflicts_with_all = ["drop_options", "option"])]
    pub take_options: bool,
    /// Leave out the options that stand before the key where it comes from.
    #[arg(long)]
    pub drop_options: bool,
    /// Print what would be added, and add nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// The options of a key line. Without any, the key has the whole account.
#[derive(Debug, Args)]
#[group(id = "option", multiple = true)]
pub struct KeyOptions {
    /// Nothing but commands: no terminal, no forwarding, no ~/.ssh/rc.
    #[arg(long, help_heading = "What the key may do")]
    pub restrict: bool,
    /// Give back what --restrict takes away.
    #[arg(
        long,
        value_name = "RIGHT,…",
        value_delimiter = ',',
        requires = "restrict",
        help_heading = "What the key may do"
    )]
    pub permit: Vec<Right>,
    /// The only command that the key runs, in the login shell.
    #[arg(long, value_name = "COMMAND", help_heading = "What the key may do")]
    pub command: Option<OsString>,
    /// Where it may be used from: addresses, CIDR blocks, host names.
    #[arg(long, value_name = "PATTERN,…", help_heading = "What the key may do")]
    pub from: Option<FromList>,
    /// When it ends: a date (its first second in UTC) or a moment.
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, help_heading = "What the key may do")]
    pub expires: Option<Timestamp>,
    /// Where it may connect to through this host.
    #[arg(long, value_name = "HOST:PORT", help_heading = "What the key may do")]
    pub permitopen: Vec<OsString>,
    /// Where it may listen on this host.
    #[arg(long, value_name = "[HOST:]PORT", help_heading = "What the key may do")]
    pub permitlisten: Vec<OsString>,
    /// An environment variable.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "What the key may do")]
    pub environment: Vec<OsString>,
    /// It signs certificates, and does not log in itself.
    #[arg(long, help_heading = "What the key may do")]
    pub cert_authority: bool,
    /// The names in the certificates that it may sign.
    #[arg(long, value_name = "NAME,…", requires = "cert_authority", help_heading = "What the key may do")]
    pub principals: Option<OsString>,
    /// All options as they shall stand in the line.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with_all = [
            "restrict", "permit", "command", "from", "expires", "permitopen", "permitlisten", "environment",
            "cert_authority", "principals",
        ],
        help_heading = "What the key may do"
    )]
    pub options: Option<OsString>,
}

/// `akeys expire`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("deed").required(true).args(["which", "within"])))]
pub struct Expire {
    /// The line, or every line with this key.
    #[arg(value_name = "LINE|SHA256:…", requires = "when")]
    pub which: Option<Which>,
    /// When it ends: a date (its first second in UTC), a moment, or never.
    #[arg(value_name = "WHEN|never")]
    pub when: Option<End>,
    /// Show the keys that have ended or end within so many days; exit status 5 when there is one.
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["when", "dry_run"])]
    pub within: Option<u16>,
    /// Print JSON.
    #[arg(long, requires = "within")]
    pub json: bool,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys rotate`
#[derive(Debug, Args)]
pub struct RotateKey {
    /// The key that goes: a line, a fingerprint, or the grant that it opens. Without it, what was begun is shown.
    #[arg(value_name = "LINE|SHA256:…|GRANT")]
    pub old: Option<Old>,
    /// The key that comes: a .pub file, "-", or "TYPE BASE64 [COMMENT]". Without it, what was begun is gone on with.
    #[arg(value_name = "NEW")]
    pub new: Option<OsString>,
    /// Prove the new key by a login with this private key and nothing else, then remove the old one.
    #[arg(long, value_name = "FILE", requires = "old")]
    pub prove_login: Option<PathBuf>,
    /// Where to log in to.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub host: String,
    /// An option for ssh(1), as in ssh_config(5).
    #[arg(long, value_name = "NAME=VALUE", requires = "prove_login")]
    pub ssh_option: Vec<OsString>,
    /// Take what sshd would do with the new key's lines for the proof, then remove the old one.
    #[arg(long, requires = "old", conflicts_with = "prove_login")]
    pub prove_model: bool,
    /// Take the lines of the new key out again.
    #[arg(long, requires = "old", conflicts_with_all = ["new", "prove_login", "prove_model"])]
    pub abort: bool,
    /// Leave out the options that stand before the new key where it comes from.
    #[arg(long, requires = "new")]
    pub drop_options: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "old")]
    pub json: bool,
    /// Print what would change, and change nothing.
    #[arg(long, requires = "old", conflicts_with = "prove_login")]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// A key that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// By its line or its fingerprint.
    Which(Which),
    /// By the grant that it opens.
    Grant(GrantName),
}

impl FromStr for Old {
    type Err = BadWord;

    fn from_str(word: &str) -> Result<Self, BadWord> {
        match word.parse() {
            Ok(which) => Ok(Self::Which(which)),
            Err(error) => word.parse().ok().filter(|_| word.contains('.')).map(Self::Grant).ok_or(error),
        }
    }
}

/// `akeys format`
#[derive(Debug, Args)]
pub struct Format {
    /// Only these lines.
    #[arg(value_name = "LINE")]
    pub lines: Vec<usize>,
    /// Only this of their spelling.
    #[arg(long, value_name = "ASPECT,…", value_delimiter = ',')]
    pub only: Vec<Aspect>,
    /// Show what would change, change nothing, and end with 5 when there is something.
    #[arg(long)]
    pub check: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The keys that there shall be; "-" reads standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take out every key that the file does not name, but for grants.
    #[arg(long)]
    pub exclusive: bool,
    /// Show what differs, change nothing, and end with 5 when something does.
    #[arg(long)]
    pub check: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell that completes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// What restrict takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Right {
    /// A terminal.
    Pty,
    /// TCP and socket forwarding, both directions.
    PortForwarding,
    /// The client's agent.
    AgentForwarding,
    /// X11.
    #[value(name = "X11-forwarding", alias = "x11-forwarding")]
    X11Forwarding,
    /// ~/.ssh/rc.
    UserRc,
}
