//! What is passed over: names that rules in the form of .gitignore say, and what a reader may not know of.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use nix::fcntl::OFlag;
use rrsync_rs::escape::Escaped;

use super::sight::Sight;
use super::watcher::Rules;
use crate::common::private::TEMP_PREFIX;

/// The file with a workspace's own rules, in the workspace.
pub const OWN: &str = ".akeysignore";

/// A file with rules that is larger has another purpose.
const MAX_BYTES: u64 = 1 << 20;

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {problem}")]
pub struct BadRule {
    /// Where it stands.
    pub source_name: String,
    /// In which line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// What is passed over.
#[derive(Debug)]
pub struct PassOver {
    rules: Gitignore,
    sight: Sight,
    /// All rules, as they were written.
    text: String,
}

/// Rules being collected; a later one decides over an earlier one, as in .gitignore.
#[derive(Debug)]
pub struct Collected {
    builder: GitignoreBuilder,
    text: String,
    /// Rules that were left out because they cannot be read.
    pub bad: Vec<BadRule>,
}

impl Default for Collected {
    fn default() -> Self {
        Self { builder: GitignoreBuilder::new(""), text: String::new(), bad: Vec::new() }
    }
}

impl Collected {
    /// Adds the lines of a text.
    pub fn text(&mut self, source_name: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            self.text.extend([line, "\n"]);
            if let Err(error) = self.builder.add_line(None, line) {
                let problem = Escaped(error.to_string().as_bytes()).to_string();
                self.bad.push(BadRule { source_name: source_name.to_owned(), line: index + 1, problem });
            }
        }
    }

    /// Adds the lines of a file; one that is not there has none.
    pub fn file(&mut self, source_name: &str, path: &Path) -> io::Result<()> {
        // A FIFO in its place would keep everybody waiting, and a symlink might lead anywhere.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
            Ok(file) if file.metadata()?.is_file() => file,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        self.text(source_name, &String::from_utf8_lossy(&bytes));
        Ok(())
    }

    /// The rules, and what a reader may know of.
    pub fn done(mut self, sight: Sight) -> (PassOver, Vec<BadRule>) {
        let rules = self.builder.build().unwrap_or_else(|error| {
            let (source_name, problem) = ("all rules together".to_owned(), error.to_string());
            self.bad.push(BadRule { source_name, line: 1, problem });
            Gitignore::empty()
        });
        (PassOver { rules, sight, text: self.text }, self.bad)
    }
}

/// The rules for a workspace, from the first that may be overruled to the last: those for all, its own in the configuration, and those in
/// the workspace itself. What cannot be read of them is left out and told.
pub fn collect(
    global: Option<&Path>,
    configured: &[String],
    workspace: &Path,
    sight: Sight,
) -> (PassOver, Vec<String>) {
    let mut rules = Collected::default();
    let mut told = Vec::new();
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    files.extend(global.map(|path| (path.to_owned(), Escaped::os(path).to_string())));
    for (path, name) in &files {
        told.extend(rules.file(name, path).err().map(|error| format!("{name}: {error}")));
    }
    rules.text("ignore", &configured.join("\n"));
    told.extend(rules.file(OWN, &workspace.join(OWN)).err().map(|error| format!("{OWN}: {error}")));
    let (rules, bad) = rules.done(sight);
    told.extend(bad.iter().map(ToString::to_string));
    (rules, told)
}

impl Rules for PassOver {
    fn skips(&self, name: &[u8], path: impl FnOnce() -> Vec<u8>, directory: bool) -> bool {
        // These are still being written, and get their names afterwards.
        if name.starts_with(TEMP_PREFIX.as_bytes()) {
            return true;
        }
        if self.rules.is_empty() && self.sight.is_everything() {
            return false;
        }
        let path = path();
        let out_of_sight = if directory { !self.sight.reaches(&path) } else { !self.sight.sees(&path) };
        out_of_sight || self.rules.matched(OsStr::from_bytes(&path), directory).is_ignore()
    }

    fn depend_on_place(&self) -> bool {
        // Only a rule with a slash that is not its last character is about more than a name.
        self.text.lines().any(|line| line.trim_end().trim_end_matches('/').contains('/'))
            || !self.sight.is_everything()
    }
}

impl PassOver {
    /// Whether both say the same.
    pub fn is(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_gitignore() {
        let scratch = tempfile::tempdir().unwrap();
        let global = scratch.path().join("global");
        std::fs::write(&global, "*.o\n*~\n").unwrap();
        std::fs::write(scratch.path().join(OWN), "# a comment\n/build/\n!keep.o\nlogs/**/old\n").unwrap();
        let configured = ["tmp/".to_owned(), "*.log".to_owned()];
        let (rules, told) = collect(Some(&global), &configured, scratch.path(), Sight::default());
        assert_eq!(told, [""; 0]);
        for (path, directory, skips) in [
            ("a.o", false, true),
            ("sub/a.o", false, true),
            ("keep.o", false, false),
            ("draft~", false, true),
            ("build", true, true),
            ("build", false, false),
            ("sub/build", true, false),
            ("tmp", true, true),
            ("x/tmp", true, true),
            ("x.log", false, true),
            ("logs/a/b/old", false, true),
            ("new", false, false),
            (".akeys-upload-x1", false, true),
        ] {
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(rules.skips(name.as_bytes(), || path.into(), directory), skips, "{path}");
        }
        assert!(rules.skips(b"\xff.o", || b"\xff.o".to_vec(), false));
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_told_and_the_others_hold() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(OWN), "*.o\n[z-a]\n").unwrap();
        let (rules, told) = collect(None, &[], scratch.path(), Sight::default());
        assert!(told.len() == 1 && told[0].starts_with(".akeysignore:2: "), "{told:?}");
        assert!(rules.skips(b"a.o", || b"a.o".to_vec(), false));
    }
}
