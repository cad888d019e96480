//! What one key may do: the grant, as the policy file says it and as the judge uses it.
//!
//! A grant never says "everything": a workspace has one access, a tool not named is refused, an expired grant is no
//! grant. `file` reads and writes the TOML form (akeys-grant(5)); this module holds the meaning.

mod file;
mod files;
mod load;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use file::{GrantError, Problem, parse, render};
pub use files::{FileRules, Modes, Names, Pattern, Quota, Symlinks};
pub use load::{LoadError, load, read};

use crate::confine::Isolation;
use crate::name::{GrantName, Label, WorkspaceName};
use crate::rules::Rules;

/// What a client may do with the files of a workspace or of one of its sub-paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Pull only; the kernel refuses every write.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Push only; neither content nor names come back.
    #[serde(rename = "wo")]
    WriteOnly,
    /// Both directions.
    #[serde(rename = "rw")]
    ReadWrite,
    /// Neither: what is there is not read, written or named.
    #[serde(rename = "none")]
    None,
    /// Deliver only: something new under a hidden name of the key's own, which one rename publishes. Nothing comes back,
    /// and what is published is the owner's.
    #[serde(rename = "drop")]
    Drop,
}

impl Access {
    /// Whether a pull is allowed.
    pub fn may_read(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite)
    }

    /// Whether a push is allowed, or as much of one as a drop takes.
    pub fn may_write(self) -> bool {
        matches!(self, Self::WriteOnly | Self::ReadWrite | Self::Drop)
    }

    /// What both allow.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one,
            (Self::ReadWrite, other) | (other, Self::ReadWrite) => other,
            (Self::WriteOnly, Self::Drop) | (Self::Drop, Self::WriteOnly) => Self::Drop,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "ro",
            Self::WriteOnly => "wo",
            Self::ReadWrite => "rw",
            Self::None => "none",
            Self::Drop => "drop",
        })
    }
}

/// What a key may be used with. A tool that the grant does not name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// `rsync --server …`, executed under confinement.
    Rsync,
    /// `scp`, which speaks SFTP.
    Scp,
    /// The SFTP subsystem.
    Sftp,
    /// The stream of changes of a workspace.
    Watch,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsync => "rsync",
            Self::Scp => "scp",
            Self::Sftp => "sftp",
            Self::Watch => "watch",
        })
    }
}

/// How much confinement a session must have before anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// Landlock and seccomp as this version builds them, or the session is refused.
    #[default]
    Required,
    /// As much as the kernel offers; what is missing is in the audit record.
    BestEffort,
    /// None. Only for a host that offers none, and only by this explicit word.
    Off,
}

/// A directory that its owner exposes under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The directory, absolute; symlinks in it are resolved when a session starts.
    pub path: PathBuf,
    /// The access to everything that no entry of `paths` covers.
    pub access: Access,
    /// Sub-paths, relative and without `.` or `..`, with an access of their own; the longest match decides.
    pub paths: BTreeMap<PathBuf, Access>,
    /// Whether a push may remove what is there.
    pub delete: bool,
    /// Whether a push may replace or change what is there. `false` implies no removal.
    pub overwrite: bool,
    /// Whether the owner means a directory that is hidden in the home.
    pub hidden: bool,
    /// Whether symlinks are stored munged (rsync's `--munge-links`).
    pub munge: bool,
    /// What holds file by file, where the gate itself serves.
    pub files: FileRules,
}

impl Workspace {
    /// A workspace with one access and no further rules.
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        Self {
            path: path.into(),
            access,
            paths: BTreeMap::new(),
            delete: true,
            overwrite: true,
            hidden: false,
            munge: false,
            files: FileRules::default(),
        }
    }

    /// The workspace itself and its sub-paths, with the access to each.
    pub fn places(&self) -> impl Iterator<Item = (&Path, Access)> {
        let subs = self.paths.iter().map(|(path, access)| (path.as_path(), *access));
        std::iter::once((Path::new(""), self.access)).chain(subs)
    }

    /// The access to `relative`, a path below the workspace without `.` or `..`; the longest match decides.
    pub fn access_to(&self, relative: &Path) -> Access {
        relative.ancestors().find_map(|at| self.paths.get(at).copied()).unwrap_or(self.access)
    }
}

/// One line of `authorized_keys` and its policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which trust relation this grant belongs to.
    pub federation: Label,
    /// Who holds the private key.
    pub pod: Label,
    /// What the key may be used with.
    pub tools: BTreeSet<Tool>,
    /// From this moment on the grant is void, whatever `authorized_keys` says.
    pub expires: Option<Timestamp>,
    /// How much confinement a session must have.
    pub confine: Confine,
    /// Whether a session must have a mount namespace of its own.
    pub namespace: Isolation,
    /// The rsync to run; `None` stands for `/usr/bin/rsync`.
    pub rsync: Option<PathBuf>,
    /// Whether a session's end is recorded too, at the cost of a process that waits for it.
    pub record_end: bool,
    /// Whether the record of a refusal says which change would have allowed it. That alone allows nothing.
    pub learn: bool,
    /// Whether the record of a file that was read or written has the sum of its content.
    pub record_sha256: bool,
    /// What rsync's options may do, and how much.
    pub rules: Rules,
    /// The exposed directories by name.
    pub workspaces: BTreeMap<WorkspaceName, Workspace>,
}

impl Grant {
    /// Whether the grant is void at `now`. sshd's rule for `expiry-time`: void once the moment has passed.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at < now)
    }

    /// What the key may do, in words: `rsync; read papers, write papers/build; until 2027-12-31T00:00:00Z`.
    pub fn summary(&self) -> String {
        use std::fmt::Write as _;
        let list = |items: Vec<String>| items.join(", ");
        let mut text = list(self.tools.iter().map(Tool::to_string).collect());
        let mut deeds = Vec::new();
        for (name, workspace) in &self.workspaces {
            let rules = workspace.files.words();
            let rules = if rules.is_empty() { String::new() } else { format!(" ({})", list(rules)) };
            deeds.push(format!(
                "{} {name}{rules}",
                verb(workspace.access, workspace.overwrite, workspace.delete)
            ));
            for (path, access) in &workspace.paths {
                deeds.push(format!(
                    "{} {name}/{}",
                    verb(*access, workspace.overwrite, workspace.delete),
                    crate::escape::Escaped::os(path)
                ));
            }
        }
        if !deeds.is_empty() {
            let _ = write!(text, "; {}", list(deeds));
        }
        if let Some(at) = self.expires {
            let _ = write!(text, "; until {at}");
        }
        text
    }
}

/// In words, what may be done with what is opened like this.
pub fn verb(access: Access, overwrite: bool, delete: bool) -> &'static str {
    match (access, overwrite, delete) {
        (Access::ReadOnly, ..) => "read",
        (Access::WriteOnly, true, true) => "write only",
        (Access::WriteOnly, true, false) => "write only, without deleting,",
        (Access::WriteOnly, false, _) => "add only to",
        (Access::ReadWrite, true, true) => "read and write",
        (Access::ReadWrite, true, false) => "read and write, without deleting,",
        (Access::ReadWrite, false, _) => "read and add to",
        (Access::None, ..) => "see nothing of",
        (Access::Drop, ..) => "drop into",
    }
}

/// The `command="…"` value that makes a key use `grant`: the gate's absolute path and the grant's name.
pub fn forced_command(gate: &Path, grant: &GrantName) -> Option<String> {
    let gate = gate.to_str()?;
    // sshd hands the value to the login shell, so only characters that mean nothing to any shell may stand in it.
    let plain = gate.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@%,".contains(&b));
    (plain && gate.starts_with('/')).then(|| format!("{gate} --grant {grant}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{Drop, None as Nothing, ReadOnly, ReadWrite, WriteOnly};

    #[test]
    fn two_accesses_allow_what_both_allow() {
        for (one, two, both) in [
            (ReadOnly, ReadOnly, ReadOnly),
            (WriteOnly, WriteOnly, WriteOnly),
            (Drop, Drop, Drop),
            (ReadWrite, ReadWrite, ReadWrite),
            (ReadWrite, ReadOnly, ReadOnly),
            (ReadWrite, WriteOnly, WriteOnly),
            (ReadWrite, Drop, Drop),
            (ReadWrite, Nothing, Nothing),
            (WriteOnly, Drop, Drop),
            (ReadOnly, WriteOnly, Nothing),
            (ReadOnly, Drop, Nothing),
            (WriteOnly, Nothing, Nothing),
        ] {
            assert_eq!((one.both(two), two.both(one)), (both, both), "{one} {two}");
        }
    }

    #[test]
    fn a_grant_ends_when_its_moment_has_passed() {
        let text = "federation = \"f\"\npod = \"p\"\ntools = [\"rsync\"]\n";
        let layout = crate::layout::Layout::new("/home/u").unwrap();
        let forever = parse(text, &layout).unwrap();
        let ends = parse(&format!("{text}expires = 2027-01-01T00:00:00Z\n"), &layout).unwrap();
        for (now, expired) in
            [("2026-12-31T23:59:59Z", false), ("2027-01-01T00:00:00Z", false), ("2027-01-01T00:00:01Z", true)]
        {
            let now: Timestamp = now.parse().unwrap();
            assert_eq!((forever.expired(now), ends.expired(now)), (false, expired), "{now}");
        }
    }

    #[test]
    fn every_place_of_a_workspace_is_named_with_its_access() {
        let mut workspace = Workspace::new("/w", ReadOnly);
        workspace.paths.insert("a".into(), Drop);
        let places = [(Path::new(""), ReadOnly), (Path::new("a"), Drop)];
        assert_eq!(workspace.places().collect::<Vec<_>>(), places);
    }

    #[test]
    fn a_forced_command_means_the_same_to_every_shell() {
        let command = |gate: &str| forced_command(Path::new(gate), &"f.p".parse().unwrap());
        assert_eq!(command("/opt/a_b-1.2+c@d%e,f/gate").unwrap(), "/opt/a_b-1.2+c@d%e,f/gate --grant f.p");
        for gate in ["gate", "./gate", "/a b/gate", "/a;b", "/a$b", "/a'b", "/a\"b", "/a~", "/\u{e4}", "/a\n"]
        {
            assert_eq!(command(gate), None, "{gate}");
        }
    }
}
