//! The sshd of this machine: which one it is, and what it was told.
//!
//! Both are asked, never guessed: `sshd -V` for the version, `sshd -T` for the configuration with every include and
//! `Match` block applied; `memory` spares the question where the answer is known. Neither needs root: `-T` wants a host key, so it gets one that was made for the question.

pub mod memory;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use rrsync_rs::escape::Escaped;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::account::Account;
use super::glob;
use crate::authkeys::Target;

/// Where an sshd is looked for.
const USUAL: [&str; 4] =
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd", "/run/current-system/sw/bin/sshd"];

/// Why sshd's configuration is not known.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// There is none in the usual places.
    #[error("no sshd is installed (looked for {})", USUAL.join(", "))]
    Missing,
    /// It could not be started.
    #[error("{}: {source}", Escaped::os(path))]
    Io {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It answered with an error.
    #[error("sshd -T: {}", Escaped(.0))]
    Refused(Vec<u8>),
    /// It was asked before, with this outcome.
    #[error("{0}")]
    Before(String),
    /// The host key for the question could not be made.
    #[error("no host key to ask sshd with: {0}")]
    HostKey(String),
}

/// The installed sshd, if there is one.
pub fn installed() -> Option<&'static Path> {
    USUAL.into_iter().map(Path::new).find(|path| path.exists())
}

/// What sshd calls itself, such as `OpenSSH_9.2p1 Debian-2`.
pub fn version(program: &Path) -> io::Result<String> {
    // Before 9.3 there is no -V: then the version stands in the complaint about it.
    let output = Command::new(program).arg("-V").env_clear().stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.starts_with("OpenSSH_"));
    Ok(line.unwrap_or_default().split(", ").next().unwrap_or_default().to_owned())
}

/// The version of the installed sshd, asked once.
fn own_version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let ask = |program| memory::version(program, || version(program)).ok();
    VERSION.get_or_init(|| installed().and_then(ask)).as_deref()
}

/// The reader to model when nobody names one: this machine's sshd, else the newest.
pub fn target() -> Target {
    own_version().and_then(modelled).unwrap_or_default()
}

/// What sshd said about accounts, by their names, as far as it was asked before; else why it said nothing.
static ASKED: Mutex<BTreeMap<String, Result<Settings, String>>> = Mutex::new(BTreeMap::new());

/// Asks now, with the rights that this process still has, what will be asked about `user` later.
pub fn remember(user: &str) {
    let _ = target();
    let _ = Settings::ask(user);
}

/// Which model holds for `version`.
fn modelled(version: &str) -> Option<Target> {
    let numbers = numbers(version)?;
    Some(if numbers < (9, 9) { Target::OpenSsh9_2 } else { Target::OpenSsh10_5 })
}

/// Major and minor number.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let numbers = version.strip_prefix("OpenSSH_")?;
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether this version takes `AuthorizedKeysFile` for patterns of glob(3).
fn globs(version: &str) -> bool {
    numbers(version).is_some_and(|numbers| numbers >= (10, 0))
}

/// sshd's effective configuration for one login; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(BTreeMap<String, Vec<String>>);

/// Asks sshd for its configuration, as often as there are accounts.
#[derive(Debug)]
pub struct Asker {
    program: &'static Path,
    /// A temporary file is 0600, which sshd demands of a host key.
    host_key: tempfile::NamedTempFile,
}

impl Asker {
    /// Makes ready to ask the installed sshd.
    pub fn new() -> Result<Self, Unasked> {
        let program = installed().ok_or(Unasked::Missing)?;
        let io = |source| Unasked::Io { path: program.to_owned(), source };
        let made = |error: ssh_key::Error| Unasked::HostKey(error.to_string());
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(made)?;
        let host_key = tempfile::NamedTempFile::new().map_err(io)?;
        let text = key.to_openssh(LineEnding::LF).map_err(made)?;
        std::fs::write(host_key.path(), text.as_bytes()).map_err(io)?;
        Ok(Self { program, host_key })
    }

    /// What holds for a login of `user` from this machine.
    pub fn ask(&self, user: &str) -> Result<Settings, Unasked> {
        let output = Command::new(self.program)
            .arg("-T")
            .arg("-h")
            .arg(self.host_key.path())
            .arg("-C")
            .arg(format!("user={user},host=localhost,addr=127.0.0.1"))
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Unasked::Io { path: self.program.to_owned(), source })?;
        if output.status.success() {
            let mut settings = Settings::parse(&String::from_utf8_lossy(&output.stdout));
            // What is left are the keys that the configuration names; none where sshd's own defaults hold.
            let asked_with = self.host_key.path().to_str();
            if let Some(keys) = settings.0.get_mut("hostkey") {
                keys.retain(|key| Some(key.as_str()) != asked_with);
            }
            return Ok(settings);
        }
        let complaint = output.stderr.split(|&byte| byte == b'\n').next().unwrap_or_default();
        Err(Unasked::Refused(complaint.trim_ascii().to_vec()))
    }
}

impl Settings {
    /// Asks the installed sshd what holds for a login of `user` from this machine, for somebody who wants to know the version
    /// too: sshd needs milliseconds for either.
    pub fn ask(user: &str) -> Result<Self, Unasked> {
        thread::scope(|scope| {
            scope.spawn(own_version);
            Self::ask_alone(user)
        })
    }

    /// The same without the version.
    pub fn ask_alone(user: &str) -> Result<Self, Unasked> {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || Asker::new()?.ask(user);
        let recall = || installed().map_or_else(ask, |program| memory::settings(program, ask));
        let answer = || recall().map_err(|error| error.to_string());
        asked.entry(user.to_owned()).or_insert_with(answer).clone().map_err(Unasked::Before)
    }

    /// Reads what `sshd -T` prints: `name value` lines, a name once for each of its values.
    pub fn parse(text: &str) -> Self {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            settings.entry(name.to_ascii_lowercase()).or_default().push(value.to_owned());
        }
        Self(settings)
    }

    /// The first value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// Every value of `name`, in order.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether `name` has this value.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.value(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }

    /// The words of `name`, blanks between.
    pub fn words(&self, name: &str) -> Vec<&str> {
        self.value(name).map(|value| value.split(' ').collect()).unwrap_or_default()
    }

    /// Whether the list `name`, commas between, has this item.
    pub fn lists(&self, name: &str, item: &str) -> bool {
        self.value(name).is_some_and(|list| list.split(',').any(|own| own == item))
    }
}

/// The key files that sshd reads for `account`, in its order (`AuthorizedKeysFile`, `expand_authorized_keys`); its default
/// where it could not be asked.
pub fn key_files(settings: Option<&Settings>, account: &Account) -> Vec<PathBuf> {
    let patterns = patterns(settings, account);
    // Which sshd it is makes no difference to a path without wildcards, as nearly every one is.
    if patterns.iter().any(|path| glob::is_pattern(path)) && own_version().is_some_and(globs) {
        patterns.iter().flat_map(|path| glob::expanded(path)).collect()
    } else {
        patterns
    }
}

fn patterns(settings: Option<&Settings>, account: &Account) -> Vec<PathBuf> {
    const DEFAULT: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
    let told = settings.map(|settings| settings.words("authorizedkeysfile")).unwrap_or_default();
    let patterns = if told.is_empty() { DEFAULT.to_vec() } else { told };
    let patterns = patterns.into_iter().filter(|pattern| *pattern != "none");
    patterns.filter_map(|pattern| Some(account.home.join(expanded(pattern, account)?))).collect()
}

/// A pattern with its tokens replaced; `None` for a token that sshd does not know. A relative path is meant from the home.
fn expanded(pattern: &str, account: &Account) -> Option<PathBuf> {
    let mut out = std::ffi::OsString::new();
    let mut parts = pattern.split('%');
    out.push(parts.next()?);
    while let Some(part) = parts.next() {
        let mut chars = part.chars();
        match chars.next() {
            Some('h') => out.push(&account.home),
            Some('u') => out.push(&account.name),
            Some('U') => out.push(account.uid.to_string()),
            // "%%" leaves an empty part, and what follows it stands for itself.
            None => {
                out.push("%");
                out.push(parts.next()?);
                continue;
            }
            Some(_) => return None,
        }
        out.push(chars.as_str());
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_their_models() {
        for (version, target) in [
            ("OpenSSH_9.2p1 Debian-2+deb12u10", Some(Target::OpenSsh9_2)),
            ("OpenSSH_8.9p1", Some(Target::OpenSsh9_2)),
            ("OpenSSH_9.9p2", Some(Target::OpenSsh10_5)),
            ("OpenSSH_10.0p2", Some(Target::OpenSsh10_5)),
            ("dropbear", None),
            ("OpenSSH_x", None),
        ] {
            assert_eq!(modelled(version), target, "{version}");
        }
        assert!(
            globs("OpenSSH_10.0p2")
                && globs("OpenSSH_10.5p1")
                && !globs("OpenSSH_9.9p2")
                && !globs("dropbear")
        );
    }

    #[test]
    fn patterns_become_paths() {
        let account =
            Account { name: "u".into(), uid: 1000, shell: "/bin/sh".into(), home: "/home/u".into() };
        let files = |patterns: &str| {
            key_files(Some(&Settings::parse(&format!("authorizedkeysfile {patterns}"))), &account)
        };
        for (pattern, path) in [
            (".ssh/authorized_keys", "/home/u/.ssh/authorized_keys"),
            ("%h/keys", "/home/u/keys"),
            ("/etc/ssh/%u.%U", "/etc/ssh/u.1000"),
            ("/etc/100%%u/%u", "/etc/100%u/u"),
        ] {
            assert_eq!(files(pattern), [PathBuf::from(path)], "{pattern}");
        }
        assert!(files("none").is_empty() && files("/etc/%x").is_empty());
        assert_eq!(key_files(None, &account).len(), 2);
    }

    #[test]
    fn settings_are_read_by_name() {
        let settings = Settings::parse(
            "strictmodes yes\nauthorizedkeysfile .ssh/a .ssh/b\npubkeyacceptedalgorithms x,y\nacceptenv A\nacceptenv B\n",
        );
        assert!(settings.is("strictmodes", "YES"));
        assert_eq!(settings.words("authorizedkeysfile"), [".ssh/a", ".ssh/b"]);
        assert!(settings.lists("pubkeyacceptedalgorithms", "y"));
        assert!(!settings.lists("pubkeyacceptedalgorithms", "xy"));
        assert_eq!(settings.value("nothing"), None);
    }
}
