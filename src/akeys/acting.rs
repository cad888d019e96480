//! `akeys --account NAME`: root changes or looks at another account with that account's rights and no others.
//!
//! Whatever lies in a home is its owner's: a symlink in it leads root wherever the owner likes. So root's rights are given up
//! before anything there is touched, for good, and the kernel judges every path as it would for the owner. What only root can
//! know, sshd's configuration for the account and its log, is asked before. The process changes its ids without an exec, so the
//! kernel lets the owner neither trace nor read it; and it starts no program afterwards, which the owner could.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{Gid, Uid, geteuid, getresuid, setgroups, setresgid, setresuid};
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::cli::{Command, Federation};
use super::names::{self, Passwd};
use super::{sshd, used};
use crate::common::exit::{Exit, Failure};

static FOR_ANOTHER: AtomicBool = AtomicBool::new(false);

/// Whether this process was root and has become another account.
pub fn for_another() -> bool {
    FOR_ANOTHER.load(Ordering::Relaxed)
}

/// Becomes the account `name`, and answers with its home.
pub fn become_account(name: &str, command: &Command) -> Result<Layout, Failure> {
    let shown = Escaped(name.as_bytes());
    let account = names::by_name(name)
        .ok_or_else(|| Failure::new(Exit::NoMatch, format!("there is no account {shown}")))?;
    let layout = Layout::new(&account.home)
        .ok_or_else(|| Failure::new(Exit::Failed, format!("the account {shown} has no home")))?;
    if account.uid == geteuid().as_raw() {
        return Ok(layout);
    }
    if !geteuid().is_root() {
        return Err(Failure::new(Exit::Failed, format!("only root can act for {shown}"))
            .hint("without --account it is about your own account"));
    }
    refuse_what_runs_programs(command)?;
    let groups = names::groups_of(&account);
    sshd::remember(&account.name);
    if let Some(log) = command.reads_log() {
        used::remember(log);
    }
    names::remember(&account);
    give_up_rights(&account, &groups).map_err(|what| {
        let what = format!("the rights of root cannot be given up for those of {shown}: {what}");
        Failure::new(Exit::Failed, what)
    })?;
    FOR_ANOTHER.store(true, Ordering::Relaxed);
    Ok(layout)
}

/// Refuses what starts programs as the account, on root's terminal, or means all accounts.
fn refuse_what_runs_programs(command: &Command) -> Result<(), Failure> {
    let runs = match command {
        Command::Doctor(_) | Command::Users(_) | Command::Federation(Federation::Rotate(_)) => true,
        Command::Rotate(args) => args.prove_login.is_some(),
        Command::Install(args) => args.host.is_some(),
        Command::Federation(Federation::Update(args)) => args.host.is_some(),
        Command::List(args) => args.all_users,
        Command::Audit(args) => args.all_users,
        Command::Report(args) => args.all_users,
        _ => false,
    };
    if runs { Err(refusal()) } else { Ok(()) }
}

/// What is said to whatever would start a program as another account.
pub fn refusal() -> Failure {
    Failure::new(Exit::Usage, "this cannot be done with --account")
        .hint("log in to the account and do it there")
}

/// Takes on the groups and the ids of an account, all of them, and makes sure that there is no way back.
fn give_up_rights(account: &Passwd, groups: &[u32]) -> Result<(), String> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let failed = |errno: nix::errno::Errno| errno.to_string();
    setgroups(&groups).map_err(failed)?;
    setresgid(gid, gid, gid).map_err(failed)?;
    setresuid(uid, uid, uid).map_err(failed)?;
    let ids = getresuid().map_err(failed)?;
    let all = [ids.real, ids.effective, ids.saved].into_iter().all(|id| id == uid);
    let root = Uid::from_raw(0);
    if !all || setresuid(root, root, root).is_ok() {
        return Err("they are still there".to_owned());
    }
    // Root's mask may be wider or narrower than what a private file needs.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    Ok(())
}
