//! The account that a key file belongs to: its name, its rights, its login shell and what that shell runs first.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{self, Passwd};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name; the number where it has none.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its login shell; empty where the account is not listed.
    pub shell: PathBuf,
    /// Its home.
    pub home: PathBuf,
}

impl Account {
    /// The account of this process, at home in `home`.
    pub fn own(home: &Path) -> Self {
        let own = Self::of(nix::unistd::geteuid().as_raw());
        Self { home: home.to_owned(), ..own }
    }

    /// The account with this number.
    pub fn of(uid: u32) -> Self {
        match names::account(uid) {
            Some(listed) => Self::from_passwd(listed),
            None => Self { name: uid.to_string(), uid, shell: PathBuf::new(), home: PathBuf::from("/") },
        }
    }

    /// The account of a line of passwd(5).
    pub fn from_passwd(listed: Passwd) -> Self {
        Self { name: listed.name, uid: listed.uid, shell: listed.shell, home: listed.home }
    }

    /// Whether it has every right on this machine.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The login shell's file name.
    pub fn shell_name(&self) -> &str {
        self.shell.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Whether the login shell is one that runs nothing.
    pub fn is_closed(&self) -> bool {
        matches!(self.shell_name(), "nologin" | "false" | "true" | "sync")
    }

    /// The files that the login shell runs before a forced command, as far as they exist. sshd starts it with `-c`, which
    /// keeps most shells from reading anything; bash makes an exception when its input is a network connection, and
    /// Debian's is built to do so under sshd always.
    pub fn startup_files(&self) -> Vec<PathBuf> {
        let names: &[&str] = match self.shell_name() {
            "bash" => &[".bashrc"],
            "zsh" => &[".zshenv"],
            "fish" => &[".config/fish/config.fish"],
            "csh" | "tcsh" => &[".tcshrc", ".cshrc"],
            _ => &[],
        };
        let paths = names.iter().map(|name| self.home.join(name));
        paths.filter(|path| fs::symlink_metadata(path).is_ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_decides_what_runs_first() {
        let scratch = tempfile::tempdir().unwrap();
        for name in [".bashrc", ".zshenv"] {
            fs::write(scratch.path().join(name), "").unwrap();
        }
        for (shell, first) in
            [("/bin/bash", Some(".bashrc")), ("/bin/zsh", Some(".zshenv")), ("/bin/dash", None)]
        {
            let account =
                Account { name: "u".into(), uid: 1000, shell: shell.into(), home: scratch.path().to_owned() };
            let expected: Vec<PathBuf> = first.iter().map(|name| scratch.path().join(name)).collect();
            assert_eq!(account.startup_files(), expected, "{shell}");
            assert!(!account.is_closed());
        }
        assert!(Account { shell: "/usr/sbin/nologin".into(), ..Account::own(scratch.path()) }.is_closed());
    }
}
