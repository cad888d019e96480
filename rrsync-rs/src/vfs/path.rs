//! A path as the client means it, before anything is looked up.
//!
//! `.` and `..` are resolved by their text: the tree is virtual, so its `..` is too, and it ends at `/`. (OpenSSH
//! resolves `link/..` to the parent of the link's target. Clients ask for such a path only after a `realpath`, which
//! has no links left.) What remains goes to the kernel without any `..`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;

use super::Fault;

/// `PATH_MAX`, with its NUL.
const LONGEST: usize = 4096;

/// An absolute path in the virtual tree: no empty component, no `.`, no `..`, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualPath {
    /// Each component with a slash before it; empty for the root.
    text: Vec<u8>,
    directory: bool,
}

impl VirtualPath {
    /// Reads a client's path; a relative one starts at `/`.
    ///
    /// # Errors
    /// `Malformed` for a NUL byte, `ENAMETOOLONG` from 4096 bytes on.
    pub fn parse(path: &[u8]) -> Result<Self, Fault> {
        if path.contains(&0) {
            return Err(Fault::Malformed);
        }
        if path.len() >= LONGEST {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let mut text = Vec::with_capacity(path.len() + 1);
        let mut directory = true;
        for part in path.split(|byte| *byte == b'/') {
            directory = matches!(part, b"" | b"." | b"..");
            match part {
                b"" | b"." => {}
                b".." => text.truncate(text.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
                name => {
                    text.push(b'/');
                    text.extend_from_slice(name);
                }
            }
        }
        Ok(Self { text, directory })
    }

    /// The path of `at` in the workspace `name`; `at` has no `.` or `..`.
    pub(super) fn within(name: &str, at: &Path) -> Self {
        let mut text = [b"/", name.as_bytes()].concat();
        if !at.as_os_str().is_empty() {
            text.push(b'/');
            text.extend_from_slice(at.as_os_str().as_bytes());
        }
        Self { text, directory: false }
    }

    /// The path of `name`, one component, in the directory that this is.
    pub fn join(&self, name: &[u8]) -> Result<Self, Fault> {
        Self::parse(&[&self.text, &b"/"[..], name].concat())
    }

    /// The last component; `None` for `/`.
    pub fn name(&self) -> Option<&[u8]> {
        self.text.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// The same, with a dot before the last component.
    pub fn hidden(&self) -> Result<Self, Fault> {
        let name = self.name().unwrap_or_default();
        let above = self.text.get(..self.text.len() - name.len()).unwrap_or_default();
        Self::parse(&[above, b".", name].concat())
    }

    /// The path as text, beginning with a slash.
    pub fn as_bytes(&self) -> &[u8] {
        if self.text.is_empty() { b"/" } else { &self.text }
    }

    /// Whether it was written as only a directory can be: `a/`, `a/.`.
    pub fn names_directory(&self) -> bool {
        self.directory
    }

    /// The workspace's name and the path below it; `None` for `/`.
    pub fn split(&self) -> Option<(&OsStr, &Path)> {
        let mut halves = self.text.get(1..)?.splitn(2, |byte| *byte == b'/');
        let name = halves.next()?;
        let rest = halves.next().unwrap_or_default();
        Some((OsStr::from_bytes(name), Path::new(OsStr::from_bytes(rest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_by_their_text_and_end_at_the_root() {
        for (path, text) in [
            ("", "/"),
            (".", "/"),
            ("/", "/"),
            ("..", "/"),
            ("../../../etc/passwd", "/etc/passwd"),
            ("/../..", "/"),
            ("papers", "/papers"),
            ("//papers//fig/.", "/papers/fig"),
            ("papers/../build/./x", "/build/x"),
            ("papers/..", "/"),
            ("papers/../../..", "/"),
            ("papers/...", "/papers/..."),
        ] {
            let parsed = VirtualPath::parse(path.as_bytes()).unwrap();
            assert_eq!(parsed.as_bytes(), text.as_bytes(), "{path}");
        }
    }

    #[test]
    fn workspace_and_rest_are_split() {
        let split = |path: &str| {
            let path = VirtualPath::parse(path.as_bytes()).unwrap();
            path.split().map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        };
        assert_eq!(split("/"), None);
        assert_eq!(split("/papers/"), Some(("papers".into(), "".into())));
        assert_eq!(split("papers/a/b"), Some(("papers".into(), "a/b".into())));
    }

    #[test]
    fn only_directories_are_written_with_a_slash_or_dot_at_the_end() {
        let directory = |path: &[u8]| VirtualPath::parse(path).unwrap().names_directory();
        assert!(directory(b"a/") && directory(b"a/.") && directory(b"a/b/..") && directory(b""));
        assert!(!directory(b"a") && !directory(b"/a/./b"));
        assert_eq!(VirtualPath::parse(b"a\0b"), Err(Fault::Malformed));
        assert_eq!(VirtualPath::parse(&[b'a'; 4096]), Err(Errno::ENAMETOOLONG.into()));
    }
}
