//! What an audit knows besides the file's bytes: whose file it is, what sshd was told, which keys are known.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use crate::akeys::account::Account;
use crate::akeys::bundle::FromList;
use crate::akeys::source;
use crate::akeys::sshd::{self, Settings};
use crate::akeys::used::Uses;
use crate::authkeys::{Algorithm, Key, KeyFile, Rules, Target};
use crate::common::clock;

use super::age::Old;
use super::debian::WeakKeys;
use super::finding::Basket;
use super::revoked::{self, Revoked};
use super::{grants, place, server, together};

/// What the judges of a line go by.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Whose reader, and in which zone.
    pub rules: Rules,
    /// When.
    pub now: Timestamp,
    /// The account has every right.
    pub root: bool,
    /// The account's shell refuses commands.
    pub nologin: bool,
    /// `~/.ssh/rc` exists.
    pub user_rc: bool,
    /// What sshd was told, where it could be asked.
    pub server: Option<&'a Settings>,
    /// The account's files, where programs and workspaces can be looked at.
    pub disk: Option<&'a Layout>,
    /// This machine's host keys.
    pub host_keys: HashSet<Key>,
    /// The public keys in `~/.ssh`.
    pub own_keys: HashSet<Key>,
    /// The keys that sshd refuses whatever a line says.
    pub revoked: Revoked,
    /// The authorities that sshd trusts for every account (`TrustedUserCAKeys`).
    pub authorities: HashSet<Key>,
    /// The keys that Debian's broken OpenSSL made.
    pub weak: WeakKeys,
    /// Which keys count as unused, where that was asked.
    pub unused: Option<Unused<'a>>,
    /// From where keys may have been used, where the log was read.
    pub outside: Option<Outside<'a>>,
    /// Which keys count as old, where that was asked.
    pub old: Option<Old>,
    /// Whether RSA keys are compared with each other.
    pub primes: bool,
}

/// Which keys count as unused.
#[derive(Debug, Clone, Copy)]
pub struct Unused<'a> {
    /// What is known about the use of keys.
    pub uses: &'a Uses,
    /// Those that nobody has used since then.
    pub since: Timestamp,
}

/// From where keys may have been used.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'a> {
    /// What is known about the use of keys.
    pub uses: &'a Uses,
    /// Where every client is expected to be, if that was said.
    pub expected: Option<&'a FromList>,
}

impl Facts<'_> {
    /// Only what is in the file, judged for `target` at `now`.
    pub fn of_text(target: Target, now: Timestamp) -> Self {
        Self {
            rules: target.into(),
            now,
            root: false,
            nologin: false,
            user_rc: false,
            server: None,
            disk: None,
            host_keys: HashSet::new(),
            own_keys: HashSet::new(),
            revoked: Revoked::default(),
            authorities: HashSet::new(),
            weak: WeakKeys::default(),
            unused: None,
            outside: None,
            old: None,
            primes: false,
        }
    }

    /// Whether sshd lets keys of this kind in at all.
    pub fn accepts(&self, algorithm: Algorithm) -> bool {
        const LIST: &str = "pubkeyacceptedalgorithms";
        let Some(server) = self.server.filter(|server| server.value(LIST).is_some()) else {
            return algorithm.accepted_by_default();
        };
        match algorithm {
            // An RSA key may sign in three ways.
            Algorithm::Rsa => {
                ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"].iter().any(|name| server.lists(LIST, name))
            }
            other => server.lists(LIST, other.name()),
        }
    }
}

/// What is around a key file. Standard input has nothing around it.
#[derive(Debug)]
pub(super) struct Surroundings {
    layout: Option<Layout>,
    account: Option<Account>,
    settings: Option<Settings>,
    /// Why sshd could not be asked.
    unasked: Option<String>,
    /// The file is the one that the account's logins use.
    own: bool,
}

impl Surroundings {
    /// Looks around the account of this process.
    pub(super) fn of_account(layout: &Layout) -> Self {
        Self::of(&layout.authorized_keys(), layout)
    }

    /// Looks around `path`.
    pub(super) fn of(path: &Path, layout: &Layout) -> Self {
        if path == Path::new("-") {
            return Self { layout: None, account: None, settings: None, unasked: None, own: false };
        }
        let own = super::real(path) == super::real(&layout.authorized_keys());
        let account = if own { Account::own(layout.home()) } else { owner(path, layout) };
        let (settings, unasked) = match Settings::ask(&account.name) {
            Ok(settings) => (Some(settings), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { layout: Some(layout.clone()), account: Some(account), settings, unasked, own }
    }

    /// What the judges of a line may know of it.
    pub(super) fn facts(&self, target: Option<Target>) -> Facts<'_> {
        let now = Timestamp::now();
        let account = self.account.as_ref();
        // Another account's programs would be looked at with this account's rights and home.
        let disk = self.layout.as_ref().filter(|_| self.own);
        Facts {
            rules: Rules { target: target.unwrap_or_else(sshd::target), zone: clock::zone(now) },
            root: account.is_some_and(Account::is_root),
            nologin: account.is_some_and(Account::is_closed),
            user_rc: disk.is_some_and(|layout| layout.ssh_dir().join("rc").exists()),
            server: self.settings.as_ref(),
            disk,
            host_keys: if account.is_some() {
                public_keys(Path::new("/etc/ssh"), "ssh_host_")
            } else {
                HashSet::new()
            },
            revoked: self.named("revokedkeys").map(Revoked::read).unwrap_or_default(),
            authorities: self.named("trustedusercakeys").map(revoked::listed).unwrap_or_default(),
            weak: if account.is_some() { WeakKeys::read() } else { WeakKeys::default() },
            own_keys: disk.map(|layout| public_keys(&layout.ssh_dir(), "")).unwrap_or_default(),
            ..Facts::of_text(Target::default(), now)
        }
    }

    /// The file that sshd was told of by `name`.
    fn named(&self, name: &str) -> Option<&Path> {
        let path = self.settings.as_ref()?.value(name)?;
        (path != "none").then(|| Path::new(path))
    }

    /// Whose file it is.
    pub(super) fn account_name(&self) -> String {
        self.account.as_ref().map(|account| account.name.clone()).unwrap_or_default()
    }

    /// Puts what is wrong around the file into the basket. Where its lines are not known, they may name any policy.
    pub(super) fn judge(&self, path: &Path, file: Option<&KeyFile>, basket: &mut Basket) {
        self.judge_place(path, basket);
        if let Some(account) = self.account.as_ref().filter(|_| self.own) {
            place::judge_startup(account, basket);
            server::judge(path, account, self.settings.as_ref(), basket);
            let Some(file) = file else { return };
            let others = self.others(path, account);
            let others = others.iter().filter_map(|(_, other)| other.as_ref());
            self.judge_policies(std::iter::once(file).chain(others), basket);
        }
    }

    /// The files that sshd reads for the account, in its order; `path` itself without its lines.
    fn others(&self, path: &Path, account: &Account) -> Vec<(PathBuf, Option<KeyFile>)> {
        let own = super::real(path);
        let files = sshd::key_files(self.settings.as_ref(), account).into_iter();
        let read = |file: PathBuf| {
            let is_own = super::real(&file) == own;
            let lines = if is_own { None } else { Some(KeyFile::parse(source::regular(&file).ok()?)) };
            Some((file, lines))
        };
        files.filter_map(read).collect()
    }

    /// Puts what lines with one key in `file` and in the account's other files do to each other into the basket.
    pub(super) fn judge_across(&self, path: &Path, file: &KeyFile, facts: &Facts<'_>, basket: &mut Basket) {
        let Some(account) = self.account.as_ref().filter(|_| self.own) else { return };
        let files = self.others(path, account);
        let lent: Vec<(&Path, &KeyFile)> =
            files.iter().map(|(path, lines)| (path.as_path(), lines.as_ref().unwrap_or(file))).collect();
        let mut baskets: Vec<Basket> = lent.iter().map(|_| basket.like()).collect();
        together::across(&lent, facts, &mut baskets);
        for ((path, lines), found) in files.iter().zip(baskets) {
            basket.take(found, lines.as_ref().map(|_| path.as_path()));
        }
    }

    fn judge_policies<'f>(&self, files: impl Iterator<Item = &'f KeyFile>, basket: &mut Basket) {
        if let Some(layout) = &self.layout {
            grants::judge_policies(files, layout, basket);
        }
    }

    /// Puts what is wrong with the place of one file into the basket.
    pub(super) fn judge_place(&self, path: &Path, basket: &mut Basket) {
        if let Some(account) = &self.account {
            place::judge(path, account, basket);
        }
    }

    /// Puts what is wrong around the account into the basket.
    pub(super) fn judge_account<'f>(&self, files: impl Iterator<Item = &'f KeyFile>, basket: &mut Basket) {
        if let Some(account) = &self.account {
            place::judge_startup(account, basket);
            server::judge_account(account, self.settings.as_ref(), basket);
        }
        self.judge_policies(files, basket);
    }

    /// What the user should know about what was not looked at.
    pub(super) fn note(&self) -> Option<String> {
        self.unasked
            .as_ref()
            .filter(|_| self.own)
            .map(|why| format!("sshd's configuration was not looked at: {why}"))
    }
}

/// The account that a file elsewhere is for: for root, the one that owns it; for others, this one.
fn owner(path: &Path, layout: &Layout) -> Account {
    let me = nix::unistd::geteuid();
    if !me.is_root() {
        return Account::own(layout.home());
    }
    let uid = fs::metadata(path).map_or(me.as_raw(), |metadata| metadata.uid());
    Account::of(uid)
}

/// The keys in the `.pub` files of a directory.
pub(in crate::akeys) fn public_keys(dir: &Path, prefix: &str) -> HashSet<Key> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "pub")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    names
        .filter(wanted)
        .filter_map(|path| {
            Key::from_public_line(&source::regular_at_most(&path, 1 << 16).ok()?, Target::default())
        })
        .collect()
}
