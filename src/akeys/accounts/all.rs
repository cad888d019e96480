//! Every account of the machine, each looked at by a process with its rights, and what they say together.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::{Accounts, View, own};
use crate::akeys::account::Account;
use crate::akeys::audit::{Code, Told};
use crate::akeys::list::Kind;
use crate::akeys::names::{self, Passwd, Standing};
use crate::akeys::used::{self, Logins};
use crate::akeys::words::target_name;
use crate::authkeys::Target;
use crate::common::child;

/// How long one account may take; a home may lie on a server that does not answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much one account may say.
const MOST: u64 = 1 << 30;

/// Looks at all accounts. An ordinary account looks at itself, and a note says so.
pub(in crate::akeys) fn all(layout: &Layout, target: Option<Target>, logins: Option<Logins>) -> Accounts {
    let mut all = Accounts::default();
    let mut logins = logins.unwrap_or_default();
    all.log_begins = logins.begins;
    all.notes.append(&mut logins.notes);
    let me = nix::unistd::geteuid();
    let listed = names::all();
    let others = listed.iter().filter(|account| account.uid != me.as_raw()).count();
    if !me.is_root() {
        all.notes.push(format!(
            "{others} other accounts were not looked at: root can, with the rights of each, and nobody else"
        ));
        all.views.push(own(layout, target, Some(logins)));
        return all;
    }
    // Two names for one number are one account for the system, but sshd may read other files for each.
    let own_name = Account::own(layout.home()).name;
    for account in listed {
        if account.name == own_name {
            all.views.push(own(layout, target, None));
            continue;
        }
        match ask(&account, target) {
            Ok(view) => all.views.push(view),
            Err(why) => all.notes.push(format!("{}: {why}", Escaped(account.name.as_bytes()))),
        }
    }
    let none = all.views.iter().filter(|view| !view.has_keys()).count();
    all.views.retain(View::has_keys);
    if none > 0 {
        all.notes.push(format!("{none} accounts have no key file"));
    }
    let today = names::today();
    for view in &mut all.views {
        view.closed = Standing::of(&view.account, today).closed().map(str::to_owned);
        add_logins(view, &logins);
    }
    judge_closed(&mut all.views);
    judge_shared(&mut all.views);
    all
}

/// Lets a process of its own become the account and look.
fn ask(account: &Passwd, target: Option<Target>) -> Result<View, String> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--account", &account.name, "report", "--json", "--no-last-used"]);
    command.args(target.map(|target| format!("--target={}", target_name(target))));
    // Nothing of root's own session concerns it.
    command.env_clear().env("HOME", &account.home).current_dir("/");
    let ended = child::run_long(&mut command, MOST, PATIENCE).map_err(|error| error.to_string())?;
    match ended.code() {
        Some(0) => {}
        None => return Err(format!("looking took longer than {} s, or was ended", PATIENCE.as_secs())),
        Some(_) => return Err(Escaped(ended.last_words()).to_string()),
    }
    let said: Accounts =
        serde_json::from_slice(&ended.stdout).map_err(|_| "what was said cannot be read".to_owned())?;
    let mut views = said.views.into_iter().filter(|view| view.account == account.name);
    views.next().ok_or_else(|| "nothing was said".to_owned())
}

/// Adds what sshd's log says about each key.
fn add_logins(view: &mut View, logins: &Logins) {
    for file in &mut view.files {
        for row in &mut file.lines {
            if let Kind::Key(key) = &mut row.kind {
                key.used = used::last(logins.of(&view.account, &key.fingerprint), key.used.as_ref());
            }
        }
    }
}

/// An account that is closed, with keys that wait for the day when it is not.
fn judge_closed(accounts: &mut [View]) {
    for view in accounts {
        let live = view.files.iter().map(|file| file.keys).sum::<usize>();
        if let Some(why) = view.closed.clone().filter(|_| live > 0) {
            let keys = if live == 1 { "1 key is".to_owned() } else { format!("{live} keys are") };
            let message = format!("the account {why}, and {keys} still there");
            view.findings.push(Told::of_account(Code::ClosedAccount, message));
        }
    }
}

/// Keys that open several accounts.
fn judge_shared(accounts: &mut [View]) {
    let mut holders: BTreeMap<String, BTreeSet<(u32, String)>> = BTreeMap::new();
    for view in accounts.iter() {
        for (.., key) in view.keys() {
            holders.entry(key.fingerprint.clone()).or_default().insert((view.uid, view.account.clone()));
        }
    }
    holders.retain(|_, accounts| accounts.len() > 1);
    for view in accounts {
        for file in &mut view.files {
            let shared = file.lines.iter().filter_map(|row| match &row.kind {
                Kind::Key(key) => Some((row.line, holders.get(&key.fingerprint)?)),
                _ => None,
            });
            let found: Vec<Told> =
                shared.map(|(line, accounts)| shares(line, accounts, &view.account)).collect();
            file.findings.extend(found);
        }
    }
}

fn shares(line: usize, accounts: &BTreeSet<(u32, String)>, own: &str) -> Told {
    let others: Vec<&str> =
        accounts.iter().map(|(_, name)| name.as_str()).filter(|name| *name != own).take(10).collect();
    let with_root = accounts.iter().any(|(uid, _)| *uid == 0);
    let code = if with_root { Code::RootKeyElsewhere } else { Code::KeyOfSeveralAccounts };
    let message = format!("this key opens {} as well", others.join(", "));
    Told::of_line(code, line, message)
}
