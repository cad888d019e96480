//! Which paths of a workspace a reader may know of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::event::{Event, EventPath, Kind, Reason};

/// What a reader sees; the longest rule decides.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    rules: BTreeMap<PathBuf, bool>,
}

/// What is left of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All of it, or what the reader may know of it.
    Event(Box<Event>),
    /// The same, and the reader has to look what is in the directory: part of it may have come into sight.
    Directory(Box<Event>),
    /// Nothing.
    Nothing,
}

impl Sight {
    /// Everything but what is below `hidden`, and of that what is below `shown`; `.` stands for the workspace.
    pub fn new(hidden: &[PathBuf], shown: &[PathBuf]) -> Self {
        let rule = |seen: bool| {
            move |path: &PathBuf| {
                let path = if path == Path::new(".") { PathBuf::new() } else { path.components().collect() };
                (path, seen)
            }
        };
        Self { rules: hidden.iter().map(rule(false)).chain(shown.iter().map(rule(true))).collect() }
    }

    /// Whether nothing is hidden.
    pub fn is_everything(&self) -> bool {
        self.rules.values().all(|seen| *seen)
    }

    /// Whether a reader may know of `path`.
    pub fn sees(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        path.ancestors().find_map(|at| self.rules.get(at).copied()).unwrap_or(true)
    }

    /// Whether a reader may know of `path` or of anything below it.
    pub fn reaches(&self, path: &[u8]) -> bool {
        let below = |rule: &Path| rule.starts_with(OsStr::from_bytes(path));
        self.sees(path) || self.rules.iter().any(|(rule, seen)| *seen && below(rule))
    }

    /// Whether a rule is about something below either name of a rename.
    fn borders(&self, event: &Event) -> bool {
        let names = [Some(&event.path), event.from.as_ref()];
        let below = |name: &EventPath| self.rules.keys().any(|rule| rule.starts_with(name.as_path()));
        names.into_iter().flatten().any(below)
    }

    /// What a reader is told of an event. A rename that leads out of sight is a removal, one that leads into sight a creation.
    pub fn filter(&self, mut event: Box<Event>) -> Seen {
        let sees = |path: &EventPath| self.sees(path.as_bytes());
        let from = event.from.as_ref().map(sees);
        match (sees(&event.path), from) {
            (true, Some(true)) if event.kind == Kind::Directory && self.borders(&event) => {
                Seen::Directory(event)
            }
            (true, None | Some(true)) => Seen::Event(event),
            (false, None | Some(false)) => Seen::Nothing,
            (true, Some(false)) => {
                (event.reason, event.from) = (Reason::Created, None);
                if event.kind == Kind::Directory { Seen::Directory(event) } else { Seen::Event(event) }
            }
            (false, Some(true)) => {
                let Some(from) = event.from.take() else { return Seen::Nothing };
                (event.reason, event.path) = (Reason::Removed, from);
                (event.size, event.mtime, event.mode, event.sha256, event.origin) =
                    (None, None, None, None, None);
                Seen::Event(event)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight() -> Sight {
        Sight::new(&["secret".into(), "a/b".into()], &[".".into(), "a/b/open".into()])
    }

    #[test]
    fn the_longest_rule_decides() {
        let sight = sight();
        for (path, sees) in [
            ("x", true),
            ("secret", false),
            ("secret/x/y", false),
            ("secrets", true),
            ("a", true),
            ("a/b", false),
            ("a/b/x", false),
            ("a/b/open", true),
            ("a/b/open/x", true),
        ] {
            assert_eq!(sight.sees(path.as_bytes()), sees, "{path}");
        }
        assert!(sight.reaches(b"a/b") && !sight.reaches(b"secret") && !sight.reaches(b"a/b/x"));
        assert!(!Sight::new(&[".".into()], &[]).sees(b"x"));
        assert!(Sight::default().is_everything());
    }

    #[test]
    fn a_rename_across_the_border_names_one_side_only() {
        let told = |from: &str, path: &str, kind: &str| {
            let text = format!(
                r#"{{"uuid":"00000000-0000-0000-0000-000000000000","time":"2026-01-01T00:00:00Z","author":"you@laptop",
                "workspace":"papers","reason":"renamed","from":"{from}","path":"{path}","kind":"{kind}","size":1}}"#
            );
            match sight().filter(serde_json::from_str(&text).unwrap()) {
                Seen::Nothing => "nothing".to_owned(),
                Seen::Event(event) => {
                    format!("{:?} {:?} {:?}", event.reason, event.path.as_path(), event.from.is_some())
                }
                Seen::Directory(event) => format!("look into {:?}", event.path.as_path()),
            }
        };
        assert_eq!(told("x", "y", "file"), r#"Renamed "y" true"#);
        assert_eq!(told("x", "secret/y", "file"), r#"Removed "x" false"#);
        assert_eq!(told("secret/y", "x", "file"), r#"Created "x" false"#);
        assert_eq!(told("secret/y", "x", "directory"), r#"look into "x""#);
        assert_eq!(told("secret/y", "secret/z", "file"), "nothing");
        assert_eq!(told("x", "y", "directory"), r#"Renamed "y" true"#);
        assert_eq!(told("a", "y", "directory"), r#"look into "y""#);
    }
}
