//! The words of the command line that are more than one value: `DIR[:NAME[=ACCESS]]`, `NAME/SUB`, `TOOL,…`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::name::{BadName, WorkspaceName};
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as WordError;

use crate::authkeys::Target;

/// Why a word of the command line says nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadWord {
    /// Not a tool or an access.
    #[error(transparent)]
    Unknown(#[from] WordError),
    /// Not the name of a workspace.
    #[error(transparent)]
    Name(#[from] BadName),
    /// An access in the place of a name, where it would say nothing.
    #[error("{0:?} is an access and no name: DIR:NAME=ACCESS, as in {1}:{2}={0}")]
    AccessAsName(String, String, String),
    /// No directory before the colon.
    #[error("no directory: DIR[:NAME[=ACCESS]]")]
    NoDirectory,
    /// Not a sub-path of a workspace.
    #[error("not NAME/SUB: a workspace and a path in it, without \".\" and \"..\"")]
    NoSubPath,
    /// Not a key.
    #[error("not a fingerprint such as SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4")]
    Fingerprint,
    /// Neither a line nor a key.
    #[error(
        "neither the number of a line nor a fingerprint such as SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4"
    )]
    Which,
}

/// A set of tools: `rsync,watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSet(pub BTreeSet<Tool>);

impl FromStr for ToolSet {
    type Err = BadWord;

    fn from_str(list: &str) -> Result<Self, BadWord> {
        let tool = |word: &str| Tool::deserialize(word.into_deserializer());
        Ok(Self(list.split(',').map(tool).collect::<Result<_, WordError>>()?))
    }
}

/// Reads `ro`, `wo`, `rw`, `drop` or `none`.
pub fn access(word: &str) -> Result<Access, BadWord> {
    let access: Result<Access, WordError> = Access::deserialize(word.into_deserializer());
    Ok(access?)
}

/// A workspace as it is typed: `DIR[:NAME[=ACCESS]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceWord {
    /// The directory, as it is written.
    pub dir: PathBuf,
    /// Its name for the other side.
    pub name: Option<WorkspaceName>,
    /// The access, where one was said.
    pub access: Option<Access>,
}

impl FromStr for WorkspaceWord {
    type Err = BadWord;

    fn from_str(word: &str) -> Result<Self, BadWord> {
        let (dir, rest) = match word.rsplit_once(':') {
            // A colon within the path, as a name has no slash.
            Some((_, rest)) if rest.contains('/') => (word, None),
            Some((dir, rest)) => (dir, Some(rest)),
            None => (word, None),
        };
        if dir.is_empty() {
            return Err(BadWord::NoDirectory);
        }
        let (name, access) =
            match rest.map(|rest| rest.split_once('=').map_or((rest, None), |(n, a)| (n, Some(a)))) {
                None => (None, None),
                Some((name, _)) if access(name).is_ok() => {
                    let own = Path::new(dir).file_name().and_then(|own| own.to_str()).unwrap_or("NAME");
                    return Err(BadWord::AccessAsName(name.into(), dir.into(), own.into()));
                }
                Some((name, word)) => (Some(name.parse()?), word.map(access).transpose()?),
            };
        Ok(Self { dir: dir.into(), name, access })
    }
}

impl WorkspaceWord {
    /// The name it is exposed under: the one that was said, or the directory's own.
    pub fn name_or(&self, dir: &Path) -> Result<WorkspaceName, BadWord> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => Ok(dir.file_name().unwrap_or_default().to_string_lossy().parse()?),
        }
    }
}

/// What was probably meant by a directory that is named `papers=rw`.
pub fn taken_for_name(dir: &Path) -> Option<String> {
    let (name, word) = dir.file_name()?.to_str()?.rsplit_once('=')?;
    access(word).ok()?;
    let dir = Escaped::os(&dir.with_file_name(name)).to_string();
    Some(format!("DIR:NAME=ACCESS, as in --workspace {dir}:{name}={word}"))
}

/// A path in a workspace: `NAME/SUB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The path in it, relative, without `.` and `..`.
    pub path: PathBuf,
}

impl FromStr for SubPath {
    type Err = BadWord;

    fn from_str(word: &str) -> Result<Self, BadWord> {
        let (name, sub) = word.split_once('/').ok_or(BadWord::NoSubPath)?;
        let path = Path::new(sub);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let dotted = sub.split('/').any(|part| part == ".");
        if sub.is_empty() || !plain || dotted {
            return Err(BadWord::NoSubPath);
        }
        Ok(Self { workspace: name.parse()?, path: path.components().collect() })
    }
}

/// Which sshd's reader is meant: `--target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetWord {
    /// OpenSSH 9.2; holds for 9.1 to 9.8.
    #[value(name = "openssh-9.2")]
    OpenSsh9_2,
    /// OpenSSH 10.5; holds for 9.9 and later.
    #[value(name = "openssh-10.5")]
    OpenSsh10_5,
    /// Dropbear.
    #[value(name = "dropbear")]
    Dropbear,
}

impl From<TargetWord> for Target {
    fn from(word: TargetWord) -> Self {
        match word {
            TargetWord::OpenSsh9_2 => Self::OpenSsh9_2,
            TargetWord::OpenSsh10_5 => Self::OpenSsh10_5,
            TargetWord::Dropbear => Self::Dropbear,
        }
    }
}

/// The word for a target.
pub fn target_name(target: Target) -> &'static str {
    match target {
        Target::OpenSsh9_2 => "openssh-9.2",
        Target::OpenSsh10_5 => "openssh-10.5",
        Target::Dropbear => "dropbear",
    }
}

/// One line of a key file: its number, or the key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The line with this number, from 1.
    Line(usize),
    /// Every line with the key of this fingerprint, without padding.
    Fingerprint(String),
}

impl FromStr for Which {
    type Err = BadWord;

    fn from_str(word: &str) -> Result<Self, BadWord> {
        match (word.parse::<Fingerprint>(), word.parse()) {
            (Ok(fingerprint), _) => Ok(Self::Fingerprint(fingerprint.0)),
            (_, Ok(number)) if number > 0 => Ok(Self::Line(number)),
            _ => Err(BadWord::Which),
        }
    }
}

/// The fingerprint of a key, `SHA256:…` without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(pub String);

impl FromStr for Fingerprint {
    type Err = BadWord;

    fn from_str(word: &str) -> Result<Self, BadWord> {
        let digest = word.strip_prefix("SHA256:").map(|digest| digest.trim_end_matches('='));
        match digest {
            Some(digest) if digest.len() == 43 => Ok(Self(format!("SHA256:{digest}"))),
            _ => Err(BadWord::Fingerprint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_a_directory_a_name_and_an_access() {
        for (word, dir, name, access) in [
            ("papers", "papers", None, None),
            ("/srv/data/", "/srv/data/", None, None),
            ("/srv/data:set", "/srv/data", Some("set"), None),
            ("/srv/data:set=rw", "/srv/data", Some("set"), Some(Access::ReadWrite)),
            ("/srv/a:b/c", "/srv/a:b/c", None, None),
            ("/srv/a:b/c:d=wo", "/srv/a:b/c", Some("d"), Some(Access::WriteOnly)),
            ("/srv/x=ro", "/srv/x=ro", None, None),
        ] {
            let read: WorkspaceWord = word.parse().unwrap();
            assert_eq!(read.dir, Path::new(dir), "{word}");
            assert_eq!(read.name.as_ref().map(WorkspaceName::as_str), name, "{word}");
            assert_eq!(read.access, access, "{word}");
        }
        for word in ["", ":x", "a:", "a:b=", "a:b=read", "a:../x=ro:", "a:-ro", "a:rw", "a:ro", "a:wo=rw"] {
            assert!(word.parse::<WorkspaceWord>().is_err(), "{word}");
        }
    }

    #[test]
    fn sub_paths_and_tools() {
        let sub: SubPath = "papers/build/out/".parse().unwrap();
        assert_eq!((sub.workspace.as_str(), sub.path.as_path()), ("papers", Path::new("build/out")));
        for word in ["papers", "papers/", "papers//x", "papers/../x", "papers/a/./b", "/x", "a b/c"] {
            assert!(word.parse::<SubPath>().is_err(), "{word}");
        }
        assert_eq!("watch,rsync".parse::<ToolSet>().unwrap().0.len(), 2);
        let error = "rsync,shell".parse::<ToolSet>().unwrap_err();
        assert!(error.to_string().contains("unknown variant `shell`"), "{error}");
        assert!("".parse::<ToolSet>().is_err());
    }

    #[test]
    fn a_line_or_a_fingerprint() {
        let digest = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";
        assert_eq!("3".parse::<Which>().unwrap(), Which::Line(3));
        assert_eq!(format!("{digest}=").parse::<Which>().unwrap(), Which::Fingerprint(digest.into()));
        for word in ["", "0", "-1", "SHA256:", "SHA256:abc", "MD5:00", "x"] {
            assert!(word.parse::<Which>().is_err(), "{word}");
        }
    }
}
