//! The command line of akeys(1), and nothing else: what was typed, each word already a checked type.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help text, which has no markup"
)]

mod federation;
mod grant;
mod keys;
mod lines;
mod look;

use std::path::Path;

use clap::{Parser, Subcommand};

pub use federation::*;
pub use grant::*;
pub use keys::*;
pub use lines::*;
pub use look::*;

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
    Remove(KeyLines),
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
            Self::Audit(args) => args.reads_log().then_some(args.log.as_deref()),
            Self::Report(args) => (!args.no_last_used).then_some(args.log.as_deref()),
            _ => None,
        }
    }
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
