//! The words of the subcommands that only look.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use crate::akeys::audit::Severity;
use crate::akeys::bundle::FromList;
use crate::akeys::guard::Allowed;
use crate::akeys::words::{TargetWord, Which};
use crate::common::moment;

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
#[command(group(clap::ArgGroup::new("log_for").multiple(true).args(["unused", "from"])))]
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
    /// Find keys too that were used from anywhere else than these addresses and CIDR blocks, by the same.
    #[arg(long, value_name = "PATTERN,…", conflicts_with_all = ["all_users", "fix", "codes"])]
    pub from: Option<FromList>,
    /// Read logins from this file instead of the journal or the usual log files.
    #[arg(long, value_name = "FILE", requires = "log_for")]
    pub log: Option<PathBuf>,
    /// Find keys too that are older than so many days, by their comments and the kept contents of the file.
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["all_users", "fix", "codes"])]
    pub older: Option<u16>,
    /// Find RSA keys too that share a prime; takes a second for a thousand keys, and four for two thousand.
    #[arg(long, conflicts_with_all = ["all_users", "fix", "codes"])]
    pub primes: bool,
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

impl Audit {
    /// Whether it is about when and from where keys were used.
    pub fn reads_log(&self) -> bool {
        self.unused.is_some() || self.from.is_some()
    }
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
