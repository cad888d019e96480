//! Opening what lies beneath a directory, and nothing else.
//!
//! Every path that a client names is opened here, by `openat2(2)` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS` from
//! an open root: the kernel itself refuses `..`, symlinks and renames that lead out, also while they are being
//! exchanged. What comes back is a descriptor and the place it was found at; no caller compares path strings.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// An open directory that bounds everything opened through it.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    real: PathBuf,
}

/// Something beneath a [`Root`], held open (`O_PATH`).
#[derive(Debug)]
pub struct Held {
    /// The descriptor, close-on-exec.
    pub fd: OwnedFd,
    /// Where it is beneath the root once every symlink is resolved: no `.`, no `..`; empty for the root itself.
    pub at: PathBuf,
    /// Its type, owner and mode when it was opened.
    pub stat: FileStat,
}

impl Held {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        kind(&self.stat) == SFlag::S_IFDIR
    }

    /// Whether it is a symlink (held itself, not followed).
    pub fn is_symlink(&self) -> bool {
        kind(&self.stat) == SFlag::S_IFLNK
    }
}

/// The file-type bits of `st_mode`.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Whether two descriptions are of one file.
pub fn is_same(one: &FileStat, two: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
}

/// Whether the last component is followed when it is a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// Follow it, beneath the root.
    Follow,
    /// Hold the link itself.
    Keep,
}

impl Root {
    /// Opens the directory at `path`, following symlinks: the path is the owner's own word.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = nix::fcntl::open(path, flags, Mode::empty())?;
        let real = real_path(&dir)?;
        Ok(Self { dir, real })
    }

    /// The descriptor (`O_PATH`, close-on-exec).
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Its absolute path with every symlink resolved, as the kernel knows it.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// The absolute path of a place beneath it, for people.
    pub fn real_of(&self, at: &Path) -> PathBuf {
        // An empty path joined would add a slash.
        if at.as_os_str().is_empty() { self.real.clone() } else { self.real.join(at) }
    }

    /// The directory that holds the root.
    pub fn parent(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(&self.dir, "..", flags, Mode::empty())?)
    }

    /// A second descriptor of the same root.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, real: self.real.clone() })
    }

    /// Holds what `relative` names beneath the root. Leading slashes mean the root; an empty path is the root.
    ///
    /// `RESOLVE_BENEATH` also refuses an absolute symlink that points back inside, and one that leaves and returns.
    /// Those are found by resolving them once freely and then opening the result again, beneath and without
    /// following any link: the second open is the one that counts.
    ///
    /// # Errors
    /// `EXDEV` when it leads outside; otherwise what `openat2(2)` reports.
    pub fn hold(&self, relative: &Path, last: Last) -> Result<Held, Errno> {
        let relative = below_slashes(relative);
        let follow = match last {
            Last::Follow => OFlag::empty(),
            Last::Keep => OFlag::O_NOFOLLOW,
        };
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | follow;
        let fd = match open_beneath(&self.dir, relative, flags, ResolveFlag::empty(), Mode::empty()) {
            Err(Errno::EXDEV) => {
                let free = nix::fcntl::openat(&self.dir, relative, flags, Mode::empty())
                    .map_err(|_| self.why_nothing_is_at(relative))?;
                let inside = self.place_of(&free)?;
                let fd = open_beneath(
                    &self.dir,
                    &inside,
                    OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW,
                    ResolveFlag::RESOLVE_NO_SYMLINKS,
                    Mode::empty(),
                )
                .or_else(|errno| match (errno, last) {
                    // A kept symlink as the last component is what RESOLVE_NO_SYMLINKS refuses.
                    (Errno::ELOOP, Last::Keep) => {
                        open_beneath(&self.dir, &inside, flags, ResolveFlag::empty(), Mode::empty())
                    }
                    (errno, _) => Err(errno),
                })?;
                if !is_same(&fstat(&free)?, &fstat(&fd)?) {
                    return Err(Errno::EXDEV);
                }
                fd
            }
            other => other?,
        };
        let at = self.place_of(&fd)?;
        let stat = fstat(&fd)?;
        Ok(Held { fd, at, stat })
    }

    /// Holds a place that was resolved before, without following any symlink again.
    pub fn hold_plain(&self, at: &Path) -> Result<Held, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = open_beneath(&self.dir, at, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok(Held { fd, at: at.to_owned(), stat })
    }

    /// Why a path that leaves the root on its way cannot be opened. Outside is `EXDEV` whatever is there; only when
    /// the directory that would hold the last component is inside again does that component's own error count.
    fn why_nothing_is_at(&self, relative: &Path) -> Errno {
        let (parent, Some(name)) = split_last(relative) else { return Errno::EXDEV };
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let here = |held: Held| nix::fcntl::openat(&held.fd, name.as_os_str(), flags, Mode::empty());
        match self.hold(&parent, Last::Follow).and_then(here) {
            // A link that leads outside to nothing leads outside.
            Ok(_) => Errno::EXDEV,
            Err(errno) => errno,
        }
    }

    /// Where `fd` is beneath this root: the name that it has by now, if it was renamed since it was opened.
    ///
    /// # Errors
    /// `EXDEV` when it is not beneath; `ENOENT` when it has no name any more.
    pub fn place_of(&self, fd: &OwnedFd) -> Result<PathBuf, Errno> {
        let real = real_path(fd).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        // Component-wise, so a sibling with a longer name is not inside.
        let at = real.strip_prefix(&self.real).map_err(|_| Errno::EXDEV)?;
        // So the kernel marks what was removed meanwhile; but a name may also end like that by itself.
        if at.as_os_str().as_bytes().ends_with(b" (deleted)") {
            let there = nix::sys::stat::fstatat(&self.dir, at, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if !is_same(&fstat(fd)?, &there) {
                return Err(Errno::ENOENT);
            }
        }
        Ok(at.to_owned())
    }
}

/// `openat2` with the two flags that every call here carries, and whatever `resolve` adds.
///
/// An empty `relative` opens `dir` itself.
pub fn open_beneath<D: AsFd>(
    dir: D,
    relative: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(mode)
        .resolve(resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // EAGAIN: the kernel could not rule out a concurrent rename across the root; openat2(2) asks to try again.
    for _ in 0..64 {
        match openat2(dir.as_fd(), relative, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// A client's path without its leading slashes: the root of the tree is the client's `/`.
pub fn below_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|b| *b != b'/').unwrap_or(bytes.len());
    Path::new(OsStr::from_bytes(&bytes[start..]))
}

/// A path's parent and last component, byte-wise: a trailing slash belongs to the last component, which is `None` when
/// it is empty, `.` or `..`.
pub fn split_last(path: &Path) -> (PathBuf, Option<OsString>) {
    let last = path.components().next_back();
    match last {
        Some(Component::Normal(name)) => {
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            let bytes = path.as_os_str().as_bytes();
            // `Path` drops a trailing `/.`, which is not the same file when the name is a symlink.
            if bytes.ends_with(b"/.") || bytes.ends_with(b"/./") {
                return (path.to_owned(), None);
            }
            (parent, Some(name.to_owned()))
        }
        _ => (path.to_owned(), None),
    }
}

/// The absolute path of an open file, from the kernel.
pub fn real_path(fd: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("beneath-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(dir.join("D/sub/deep")).unwrap();
            fs::create_dir_all(dir.join("D-secret")).unwrap();
            fs::create_dir_all(dir.join("outside")).unwrap();
            fs::write(dir.join("D/f"), "in").unwrap();
            fs::write(dir.join("outside/secret"), "out").unwrap();
            Self(fs::canonicalize(dir).unwrap())
        }
        fn root(&self) -> Root {
            Root::open(&self.0.join("D")).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn inside_is_found_and_outside_is_not() {
        let tree = Tree::new("paths");
        let d = tree.0.join("D");
        symlink("sub/deep", d.join("alias")).unwrap();
        symlink(d.join("sub"), d.join("absolute-inside")).unwrap();
        symlink("../D/sub", d.join("out-and-back")).unwrap();
        symlink("../outside/secret", d.join("escape")).unwrap();
        symlink(tree.0.join("outside"), d.join("escape-dir")).unwrap();
        symlink("../D-secret", d.join("sibling")).unwrap();
        symlink("escape-dir", d.join("chain")).unwrap();
        let root = tree.root();
        for (path, at) in [
            ("", ""),
            ("/", ""),
            ("///f", "f"),
            ("./sub/./deep/", "sub/deep"),
            ("alias", "sub/deep"),
            ("absolute-inside", "sub"),
            ("absolute-inside/deep", "sub/deep"),
            ("out-and-back/deep", "sub/deep"),
            ("sub/../f", "f"),
        ] {
            let held = root.hold(Path::new(path), Last::Follow).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(held.at, Path::new(at), "{path}");
        }
        for path in [
            "..",
            "../outside",
            "escape",
            "escape-dir/secret",
            "sibling",
            "chain/secret",
            "sub/../../outside",
        ] {
            assert_eq!(root.hold(Path::new(path), Last::Follow).unwrap_err(), Errno::EXDEV, "{path}");
        }
        let link = root.hold(Path::new("escape"), Last::Keep).unwrap();
        assert!(link.is_symlink());
        assert_eq!(link.at, Path::new("escape"));
        let link = root.hold(Path::new("absolute-inside/../escape"), Last::Keep).unwrap();
        assert_eq!(link.at, Path::new("escape"));
        assert_eq!(root.hold(Path::new("nothing"), Last::Follow).unwrap_err(), Errno::ENOENT);
        for missing in ["absolute-inside/new", "out-and-back/new/deeper", "absolute-inside/../new"] {
            assert_eq!(root.hold(Path::new(missing), Last::Follow).unwrap_err(), Errno::ENOENT, "{missing}");
        }
        symlink("../outside/nothing", d.join("escape-to-nothing")).unwrap();
        for outside in
            ["escape-to-nothing", "escape-dir/nothing", "escape-dir/no/thing", "escape-to-nothing/x"]
        {
            assert_eq!(root.hold(Path::new(outside), Last::Follow).unwrap_err(), Errno::EXDEV, "{outside}");
        }
    }

    #[test]
    fn what_was_removed_while_it_was_opened_had_deleted_in_its_name() {
        let tree = Tree::new("removed");
        let d = tree.0.join("D");
        let root = tree.root();
        let open = |name: &str| OwnedFd::from(fs::File::open(d.join(name)).unwrap());
        fs::write(d.join("new"), "new").unwrap();
        let fd = open("f");
        fs::hard_link(d.join("f"), d.join("elsewhere")).unwrap();
        fs::rename(d.join("new"), d.join("f")).unwrap();
        assert_eq!(root.place_of(&fd).unwrap_err(), Errno::ENOENT);
        fs::write(d.join("f (deleted)"), "another").unwrap();
        assert_eq!(root.place_of(&fd).unwrap_err(), Errno::ENOENT);
        assert_eq!(root.place_of(&open("f (deleted)")).unwrap(), Path::new("f (deleted)"));
    }

    #[test]
    fn the_last_component_is_split_as_the_bytes_say() {
        let split = |p: &str| split_last(Path::new(p));
        assert_eq!(split("a/b"), ("a".into(), Some("b".into())));
        assert_eq!(split("a/b/"), ("a".into(), Some("b".into())));
        assert_eq!(split("b"), ("".into(), Some("b".into())));
        for whole in ["", ".", "..", "a/..", "a/.", "a/./"] {
            assert_eq!(split(whole).1, None, "{whole}");
        }
    }
}
