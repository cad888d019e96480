//! The words of afiles' command line: what is meant in a workspace, and which version of what.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use rrsync_rs::escape::Escaped;
use rrsync_rs::name::{Label, WorkspaceName};

use crate::card::{Host, User};
use crate::event::EventPath;

/// Why a word says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWord {
    /// Not the form of something in a workspace.
    #[error(
        "{0:?} must be [PROJECT/ or USER@HOST/]WORKSPACE:[PATH]; a file here with a colon in its name starts with './'"
    )]
    Remote(String),
    /// A path that leads out of a workspace, or is none.
    #[error("{0:?} must be a path below the workspace, without '..'")]
    Path(String),
    /// A word that must name something in a workspace, and does not.
    #[error("{0:?} is here: say WORKSPACE:[PATH]")]
    Here(String),
    /// Not the form of a version.
    #[error("{0:?} must be PATH@N, with a number that afiles versions shows")]
    Version(String),
    /// Not the form of something that is brought back.
    #[error("{0:?} must be DIR=WORKSPACE:[PATH], with a directory in the copy")]
    Push(String),
}

/// Whose workspace is meant, where its name alone may not say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// That of a project.
    Project(Label),
    /// That of an account.
    Account(User, Host),
}

/// Something in a workspace: `[PROJECT/ or USER@HOST/]WORKSPACE:[PATH]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Remote {
    /// Whose, if that was said.
    pub owner: Option<Owner>,
    /// The workspace.
    pub workspace: WorkspaceName,
    /// What in it; `None` for the workspace itself.
    pub path: Option<EventPath>,
}

impl Remote {
    /// Reads a word that must name something in a workspace.
    pub fn read(word: &OsStr) -> Result<Self, BadWord> {
        let shown = || word.to_string_lossy().into_owned();
        let bytes = word.as_bytes();
        // An owner ends at the first slash. Only in an account's, behind its '@', there may be a colon before that.
        let first = |wanted: u8| bytes.iter().position(|byte| *byte == wanted).unwrap_or(usize::MAX);
        let (slash, colon, at) = (first(b'/'), first(b':'), first(b'@'));
        let owner_end = (slash < colon || (at < colon && slash < usize::MAX)).then_some(slash);
        let (owner, rest) = match owner_end {
            Some(at) => (bytes.get(..at), bytes.get(at + 1..).unwrap_or_default()),
            None => (None, bytes),
        };
        let owner = match owner.map(std::str::from_utf8) {
            None => None,
            Some(Ok(text)) => Some(text.parse().map_err(|()| BadWord::Remote(shown()))?),
            Some(Err(_)) => return Err(BadWord::Remote(shown())),
        };
        let colon = rest.iter().position(|byte| *byte == b':').ok_or_else(|| BadWord::Here(shown()))?;
        let (name, path) = rest.split_at(colon);
        let workspace = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        let workspace = workspace.ok_or_else(|| BadWord::Remote(shown()))?;
        let path = below(path.get(1..).unwrap_or_default()).ok_or_else(|| BadWord::Path(shown()))?;
        Ok(Self { owner, workspace, path })
    }

    /// What lies at `path` below this.
    pub fn join(&self, path: &EventPath) -> Option<EventPath> {
        let Some(own) = &self.path else { return Some(path.clone()) };
        EventPath::new([own.as_bytes(), b"/", path.as_bytes()].concat()).ok()
    }
}

/// A path below a workspace as people write it, inner `None` for the workspace itself: slashes too many and `.` mean nothing. `None` when it leads out.
#[allow(clippy::option_option, reason = "no path, and no way to a path, are two things")]
fn below(written: &[u8]) -> Option<Option<EventPath>> {
    let parts: Vec<&[u8]> =
        written.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.is_empty() {
        return Some(None);
    }
    EventPath::new(parts.join(&b'/')).ok().map(Some)
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word.rsplit_once('@') {
            Some((user, host)) => {
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Ok(Self::Account(user.parse().map_err(drop)?, host.parse().map_err(drop)?))
            }
            None => word.parse().map(Self::Project).map_err(drop),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(project) => project.fmt(f),
            Self::Account(user, host) => write!(f, "{user}@{host}"),
        }
    }
}

impl fmt::Display for Remote {
    /// As it is written, with foreign bytes escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(owner) = &self.owner {
            write!(f, "{owner}/")?;
        }
        write!(f, "{}:", self.workspace)?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, "{}", Escaped(path.as_bytes())))
    }
}

/// What is brought back: a directory below the copy, and where in a workspace it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Relative to the copy.
    pub from: EventPath,
    /// Where it goes.
    pub to: Remote,
}

impl Push {
    /// Reads `DIR=WORKSPACE:[PATH]`.
    pub fn read(word: &OsStr) -> Result<Self, BadWord> {
        let bad = || BadWord::Push(word.to_string_lossy().into_owned());
        let bytes = word.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (from, to) = bytes.split_at(equals);
        let from = if from.starts_with(b"/") { None } else { below(from).flatten() };
        let to = Remote::read(OsStr::from_bytes(to.get(1..).unwrap_or_default()))?;
        Ok(Self { from: from.ok_or_else(bad)?, to })
    }
}

/// A version of a path: `PATH@N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionWord {
    /// The path.
    pub path: PathBuf,
    /// Which of its versions, the oldest being 1.
    pub number: usize,
}

impl VersionWord {
    /// Reads `PATH@N`.
    pub fn read(word: &OsStr) -> Result<Self, BadWord> {
        let bad = || BadWord::Version(word.to_string_lossy().into_owned());
        let bytes = word.as_bytes();
        let at = bytes.iter().rposition(|byte| *byte == b'@').ok_or_else(bad)?;
        let (path, number) = bytes.split_at(at);
        let digits = number.get(1..).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let number =
            digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).filter(|n| *n > 0);
        match number {
            Some(number) if !path.is_empty() => Ok(Self { path: OsStr::from_bytes(path).into(), number }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(word: &str) -> Option<String> {
        Remote::read(OsStr::new(word)).ok().map(|remote| remote.to_string())
    }

    #[test]
    fn what_is_in_a_workspace_is_said_in_one_word() {
        for (word, means) in [
            ("papers:", "papers:"),
            ("papers:.", "papers:"),
            ("papers:/sub//dir/", "papers:sub/dir"),
            ("papers:a:b", "papers:a:b"),
            ("papers:a@b/c", "papers:a@b/c"),
            ("thesis/papers:x", "thesis/papers:x"),
            ("anna@Laptop/papers:x/y", "anna@laptop/papers:x/y"),
            ("anna@corp@laptop/papers:", "anna@corp@laptop/papers:"),
            ("anna@[2001:DB8::1]/papers:x", "anna@2001:db8::1/papers:x"),
            ("anna@2001:db8::1/papers:x", "anna@2001:db8::1/papers:x"),
        ] {
            assert_eq!(remote(word).as_deref(), Some(means), "{word}");
        }
        for bad in [
            ":",
            "",
            "/x:",
            "./x:",
            "papers:../x",
            "papers:a/../..",
            "-o:x",
            "a b:x",
            "a/b/c:x",
            "-l@h/w:",
            "u@-h/w:",
            "u@h/:",
        ] {
            assert!(Remote::read(OsStr::new(bad)).is_err(), "{bad}");
        }
        assert!(matches!(Remote::read(OsStr::new("papers")), Err(BadWord::Here(_))));
        let bytes = Remote::read(OsStr::from_bytes(b"papers:\xff")).unwrap();
        assert_eq!(bytes.to_string(), "papers:\\xff");
    }

    #[test]
    fn a_version_is_a_path_and_a_number() {
        let word = VersionWord::read(OsStr::new("a@b/c@12")).unwrap();
        assert_eq!((word.path.to_str().unwrap(), word.number), ("a@b/c", 12));
        for bad in ["a", "a@", "@1", "a@0", "a@-1", "a@+1", "a@1x", "a@99999999999999999999999"] {
            assert!(VersionWord::read(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_brought_back_lies_in_the_copy() {
        let push = Push::read(OsStr::new("build/=papers:build")).unwrap();
        assert_eq!((push.from.as_bytes(), push.to.to_string().as_str()), (&b"build"[..], "papers:build"));
        for bad in ["build", "/build=papers:", "../b=papers:", "build=papers", ".=papers:", "=papers:"] {
            assert!(Push::read(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
