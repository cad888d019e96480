//! Which symlinks are made: those that cannot lead out of the copy are, as they are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::event::EventPath;

/// What becomes of a symlink that leads out of the copy, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Symlinks {
    /// It is left out, and said so.
    #[default]
    Skip,
    /// It is an error.
    Refuse,
    /// It is made all the same; whoever follows it here ends somewhere else than its owner.
    Keep,
}

/// Whether a symlink at `at` that says `target` cannot lead out of the tree by itself.
pub(super) fn stays(target: &[u8], at: &Path) -> bool {
    !target.is_empty() && rrsync_rs::vfs::stays(target, at)
}

/// Where in the tree a symlink at `at` leads, by its words alone; none where it leads out, or to the tree itself.
pub fn destination(target: &[u8], at: &Path) -> Option<EventPath> {
    if !stays(target, at) {
        return None;
    }
    let mut path = at.parent()?.to_owned();
    for part in Path::new(OsStr::from_bytes(target)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    EventPath::new(path.into_os_string().into_encoded_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_leads_where_its_words_say() {
        for (at, says, leads) in [
            ("current", "release-1", Some("release-1")),
            ("a/b/link", "../c", Some("a/c")),
            ("a/link", "./x/y/", Some("a/x/y")),
            ("link", ".", None),
            ("a/link", "..", None),
            ("link", "../x", None),
            ("a/link", "/etc", None),
            ("a/link", "b/../c", None),
            ("link", "", None),
        ] {
            let found = destination(says.as_bytes(), Path::new(at));
            assert_eq!(found.as_ref().map(EventPath::as_path), leads.map(Path::new), "{at} -> {says}");
        }
    }
}
