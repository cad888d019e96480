//! Symlinks as text: which may be made, and what a client is shown of those that are there.
//!
//! Nothing here is needed for containment, which the kernel sees to whenever a path is resolved.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::SFlag;

use super::walk::walk;
use super::{Fault, Mount, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last};

/// What rsync's `--munge-links` puts before a symlink's text to make it unusable (rsync(1), `SYMLINK_PREFIX`).
const MUNGED: &[u8] = b"/rsyncd-munged/";

/// How many names below a directory are looked at before it is moved nearer to the root.
const MOST: usize = 100_000;

impl Vfs {
    /// What the symlink at `path` says, never with a host path in it.
    ///
    /// A relative target is shown as it is, and so is one that was munged. An absolute one that points into the workspace is shown relative to the
    /// link, which leads to the same file here and in a copy; any other is refused.
    pub fn read_link(&self, path: &VirtualPath) -> Result<OsString, Fault> {
        let (mount, rest) = self.find(path)?.ok_or(Errno::EINVAL)?;
        let held = mount.hold(rest, Last::Keep)?;
        mount.reading(&held.at)?;
        if !held.is_symlink() {
            return Err(Errno::EINVAL.into());
        }
        let text = text_of(&held)?;
        if let Some(own) = text.as_bytes().strip_prefix(MUNGED) {
            return Ok(OsString::from_vec(own.to_vec()));
        }
        if !Path::new(&text).is_absolute() {
            return Ok(text);
        }
        let inside = Path::new(&text)
            .strip_prefix(mount.root().real())
            .map_err(|_| Fault::Refused(Rule::LinkLeaves))?;
        Ok(relative(inside, held.at.parent().unwrap_or(Path::new(""))))
    }

    /// The path with its symlinks resolved, within the virtual tree; the last component need not exist
    /// (sftp-realpath.c). Where the client may not read, links are not resolved: that would tell where they lead.
    pub fn real_path(&self, path: &VirtualPath) -> Result<VirtualPath, Fault> {
        let Some((_, rest)) = path.split() else { return Ok(path.clone()) };
        let mount = match self.find(path) {
            Ok(Some((mount, _))) => mount,
            Err(Fault::Os(Errno::ENOENT)) if rest.as_os_str().is_empty() => return Ok(path.clone()),
            Ok(None) | Err(_) => return Err(Errno::ENOENT.into()),
        };
        if mount.reading(rest).is_err() {
            return Ok(path.clone());
        }
        let at = match mount.hold(rest, Last::Follow) {
            Ok(held) if path.names_directory() && !held.is_dir() => return Err(Errno::ENOTDIR.into()),
            Ok(held) => held.at,
            Err(Fault::Os(Errno::ENOENT)) => mount.spot(rest)?.at,
            Err(fault) => return Err(fault),
        };
        Ok(VirtualPath::within(mount.name().as_str(), &at))
    }
}

/// What a held symlink says.
pub(super) fn text_of(link: &Held) -> Result<OsString, Fault> {
    Ok(readlinkat(&link.fd, "")?)
}

/// What is stored for a symlink that the client wants to say `target`, in a workspace with `munge = true` or without.
pub(super) fn stored(target: &[u8], munge: bool) -> Vec<u8> {
    let prefix = if munge { MUNGED } else { b"" };
    [prefix, target].concat()
}

/// Whether a symlink at `at`, saying `target`, cannot lead out of the workspace by itself.
///
/// `..` counts only at the beginning, where it is certain what it leaves: after a name, that name could be another
/// symlink, and its `..` anywhere.
pub fn stays(target: &[u8], at: &Path) -> bool {
    let mut depth = at.components().count().saturating_sub(1);
    let mut named = false;
    for part in Path::new(OsStr::from_bytes(target)).components() {
        match part {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if !named && depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// What is held may be moved to `to`: no symlink that cannot lead out of the workspace from where it is could from there.
///
/// A directory takes its symlinks along, so one that comes nearer to the root is looked through.
pub(super) fn may_move(mount: &Mount, held: &Held, to: &Path) -> Result<(), Fault> {
    if held.is_symlink() {
        return leaves(text_of(held)?.as_bytes(), &held.at, to);
    }
    have_stayed(mount, held, &held.at, to)
}

/// The same about what has been moved from where it was held to `now`: whoever makes a symlink at the same time has
/// not been seen before.
pub(super) fn have_stayed(mount: &Mount, held: &Held, now: &Path, to: &Path) -> Result<(), Fault> {
    let depth = |at: &Path| at.components().count();
    if !held.is_dir() || depth(to) >= depth(&held.at) {
        return Ok(());
    }
    let dir = mount.reopen(now, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut left = MOST;
    walk(dir, &mut |step| {
        left = left.checked_sub(1).ok_or(Fault::Refused(Rule::TooMuch))?;
        if step.kind == SFlag::S_IFLNK
            && let Ok(text) = readlinkat(step.dir, step.name)
        {
            leaves(text.as_bytes(), &held.at.join(step.at), &to.join(step.at))?;
        }
        Ok(())
    })
}

fn leaves(target: &[u8], from: &Path, to: &Path) -> Result<(), Fault> {
    if stays(target, from) && !stays(target, to) { Err(Fault::Refused(Rule::LinkLeaves)) } else { Ok(()) }
}

/// `to` as seen from the directory `from`, both relative to the same root.
fn relative(to: &Path, from: &Path) -> OsString {
    let common = to.components().zip(from.components()).take_while(|(one, two)| one == two).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.components().skip(common)).collect();
    if path.as_os_str().is_empty() { OsString::from_vec(b".".to_vec()) } else { path.into_os_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_could_leave_are_recognised() {
        let stays = |target: &str, at: &str| stays(target.as_bytes(), Path::new(at));
        assert!(
            stays("f", "l") && stays("a/b/c", "l") && stays("../f", "a/l") && stays("./../../f", "a/b/l")
        );
        assert!(stays("..", "a/l") && stays(".", "l"));
        for (target, at) in [("/etc", "l"), ("..", "l"), ("../f", "l"), ("../../f", "a/l"), ("a/../f", "b/l")]
        {
            assert!(!stays(target, at), "{target} at {at}");
        }
    }

    #[test]
    fn one_place_is_seen_from_another() {
        let seen = |to: &str, from: &str| relative(Path::new(to), Path::new(from));
        assert_eq!(seen("a/b", ""), "a/b");
        assert_eq!(seen("a/b", "a"), "b");
        assert_eq!(seen("a", "a"), ".");
        assert_eq!(seen("x", "a/b"), "../../x");
        assert_eq!(seen("", "a/b"), "../..");
    }
}
