//! A mount namespace: a file system in which nothing exists but what the session may use.
//!
//! Landlock refuses to open, make or remove what is outside, and does not mediate the rest: `stat`, `chdir`, and for a
//! push `chmod`, `chown`, `utimensat` and `setxattr` by path. In a root directory of its own there is no path that leads
//! outside. It is a tmpfs that nobody can write, with the exposed directories, the program's loader and its libraries
//! mounted at their own paths; no `/proc`, no `/dev`. See `mount_namespaces(7)` and
//! `pivot_root(2)`.
//!
//! Root only needs the mount namespace. Anybody else needs a user namespace around it, `user_namespaces(7)`, in which the
//! one user and group have their own numbers and every other is 65534. It comes with every capability over itself, and
//! loses them all when a program is executed, because nobody in it is root (`capabilities(7)`, "Transformation of
//! capabilities during `execve()`").

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, getegid, geteuid};

use super::{Files, is_directory};
use crate::beneath::open_beneath;
use crate::policy::Keep;
use crate::rsync::Place;
use crate::rsync::judge::{Part, Reach};

/// Why a session is not in a namespace of its own: at which step, and what the kernel said.
#[derive(Debug)]
pub(super) enum Failure {
    /// The host does not allow it. The process sees what it saw before, and can go on.
    Unavailable(&'static str, io::Error),
    /// There is no way back, or what was judged is not what is there any more.
    Broken(&'static str, io::Error),
}

fn unavailable<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Unavailable(step, error.into())
}

fn broken<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Broken(step, error.into())
}

/// Where the new root is put together. Nothing that is mounted into it is ever below this directory.
const STAGE: &str = "/proc";

/// Enters the namespace, and in it the working directory `cwd`.
///
/// What was open before still leads to the old file system: directories must not be passed on, but opened anew.
pub(super) fn enter(files: &Files<'_>, cwd: &Place) -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        unshare(CloneFlags::CLONE_NEWNS).map_err(unavailable("unshare"))?;
    } else {
        // A program that its own user may not read has this file from root; found out while there is a way back.
        File::options().write(true).open("/proc/self/uid_map").map_err(unavailable("/proc/self/uid_map"))?;
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(unavailable("unshare"))?;
        keep_own_ids(user, group).map_err(broken("map the user"))?;
    }
    // Changes nothing, and tells whether it will be allowed when there is no way back.
    nix::unistd::chroot("/").map_err(unavailable("chroot"))?;
    if let Err(failure) = stage(files) {
        let _ = nix::unistd::fchdir(&cwd.fd);
        let _ = umount2(STAGE, MntFlags::MNT_DETACH);
        return Err(failure);
    }
    // The new root is moved over the old one, which no path leads to from there: `..` ends at the root. To take the old one
    // away as well, with pivot_root(2), would have every session wait for all processors (`synchronize_rcu`). What could
    // uncover it, or leave a root directory, the filter does not have: mount(2), umount2(2), chroot(2).
    nix::unistd::chdir(STAGE).map_err(broken("chdir"))?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(broken("move"))?;
    nix::unistd::chroot(".").map_err(broken("chroot"))?;
    seal("/", SEALED).map_err(broken("seal"))?;
    verify(files)?;
    enter_directory(files, cwd)
}

/// Whether the host looks as if it allowed this process to enter a namespace, for people; only trying it tells.
pub(super) fn looks_available() -> bool {
    let setting = |name: &str| std::fs::read_to_string(name).map(|text| text.trim().to_owned()).ok();
    if geteuid().is_root() {
        const CAP_SYS_ADMIN: u32 = 21;
        let status = setting("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        return effective.is_some_and(|bits| bits >> CAP_SYS_ADMIN & 1 == 1);
    }
    Path::new("/proc/self/ns/user").exists()
        && setting("/proc/sys/user/max_user_namespaces").is_some_and(|most| most != "0")
        && setting("/proc/sys/kernel/unprivileged_userns_clone").is_none_or(|allowed| allowed != "0")
        && !powerless()
}

/// Whether user namespaces of ordinary users come without any power, so that entering one cannot be taken back:
/// `AppArmor` since Ubuntu 23.10.
pub(super) fn powerless() -> bool {
    std::fs::read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_ok_and(|setting| setting.first() == Some(&b'1'))
}

/// Maps the user and the group to themselves. A group map needs `setgroups(2)` given up first, `user_namespaces(7)`.
fn keep_own_ids(user: Uid, group: Gid) -> io::Result<()> {
    let write = |path: &str, text: String| File::options().write(true).open(path)?.write_all(text.as_bytes());
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    write("/proc/self/uid_map", format!("{user} {user} 1"))
}

/// Builds the new root at [`STAGE`].
fn stage(files: &Files<'_>) -> Result<(), Failure> {
    const NONE: Option<&str> = None;
    // A slave still sees what the host mounts inside an exposed directory later, and gives nothing back.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE).map_err(unavailable("mount"))?;
    mount(Some("tmpfs"), STAGE, Some("tmpfs"), SEALED, Some("mode=755,size=1m"))
        .map_err(unavailable("mount a tmpfs"))?;
    let mut made = BTreeSet::from([PathBuf::from(STAGE)]);
    let mut directories: Vec<_> = files.reach.iter().collect();
    // What contains comes before what is contained.
    directories.sort_by_key(|reach| reach.real.components().count());
    for (index, reach) in directories.iter().enumerate() {
        // One mount for all that may be written in it: nothing can be moved from one mount to another.
        let shown = |above: &&Reach| reach.real.starts_with(&above.real) && above.rights.writes();
        if directories[..index].iter().any(shown) {
            continue;
        }
        show(&reach.real, is_directory(&reach.dir), reach.rights.writes(), &mut made)?;
    }
    for needed in files.support().filter(|needed| !files.reaches(&needed.path)) {
        show(&needed.path, is_directory(&needed.fd), false, &mut made)?;
    }
    for part in files.parts {
        keep_apart(part)?;
    }
    Ok(())
}

/// Mounts what is at `path` at the same path in the new root. `made` are the directories that are there.
fn show(path: &Path, directory: bool, write: bool, made: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    const NONE: Option<&str> = None;
    let target = Path::new(STAGE).join(path.strip_prefix("/").unwrap_or(path));
    let above = target.parent().unwrap_or(&target);
    make_directories(if directory { &target } else { above }, made)
        .map_err(unavailable("make a mount point"))?;
    if !directory {
        // A file in a directory that is shown already is there.
        let file = File::options().append(true).create(true).open(&target);
        file.map_err(unavailable("make a mount point"))?;
    }
    let recursive = if directory { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(Some(path), &target, NONE, MsFlags::MS_BIND | recursive, NONE).map_err(unavailable("bind"))?;
    if !write {
        seal(&target, kept_flags(&target)?).map_err(unavailable("mount read-only"))?;
    }
    Ok(())
}

/// Makes a directory and what is missing above it.
fn make_directories(path: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if made.contains(path) {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directories(above, made)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    made.insert(path.to_owned());
    Ok(())
}

/// What a mount forbids already, and has to go on to: in a user namespace these flags are locked.
fn kept_flags(mount: &Path) -> Result<MsFlags, Failure> {
    let has = statvfs(mount).map_err(unavailable("statvfs"))?.flags();
    let flags = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    Ok(flags.iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, flag)| *flag).collect())
}

/// What is mounted where a directory, or a file, is hidden; in the new root.
const NOTHING: [&str; 2] = [".nothing", ".no-file"];

/// Mounts nothing over a part that is hidden, and a part that stays unchanged over itself, read-only.
fn keep_apart(part: &Part) -> Result<(), Failure> {
    const NONE: Option<&str> = None;
    let stage = Path::new(STAGE);
    let target = stage.join(part.real.strip_prefix("/").unwrap_or(&part.real));
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = nix::fcntl::open(&target, flags, Mode::empty()).map_err(unavailable("open a part"))?;
    same(&found, &part.fd)?;
    let source = match (part.keep, is_directory(&part.fd)) {
        (Keep::Unchanged, _) => target.clone(),
        (Keep::Hidden, true) => {
            let nothing = stage.join(NOTHING[0]);
            std::fs::create_dir_all(&nothing).map_err(unavailable("make an empty directory"))?;
            nothing
        }
        (Keep::Hidden, false) => {
            let nothing = stage.join(NOTHING[1]);
            let made = File::options().append(true).create(true).open(&nothing);
            made.map_err(unavailable("make an empty file"))?;
            nothing
        }
    };
    // Without what is mounted in it, which would not be read-only with it.
    mount(Some(&source), &target, NONE, MsFlags::MS_BIND, NONE).map_err(unavailable("bind a part"))?;
    let kept = kept_flags(&target)?;
    seal(&target, kept).map_err(unavailable("mount a part read-only"))
}

/// What nothing in the new root but the exposed directories needs.
const SEALED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Makes a mount read-only, with `flags`.
fn seal<P: ?Sized + NixPath>(target: &P, flags: MsFlags) -> Result<(), Errno> {
    const NONE: Option<&str> = None;
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NONE, target, NONE, flags, NONE)
}

/// Mounts are made by name, and a name can mean another file by then: what is there has to be what was judged.
fn verify(files: &Files<'_>) -> Result<(), Failure> {
    let named = files.reach.iter().map(|reach| (&reach.real, &reach.dir));
    for (path, judged) in named.chain(files.support().map(|needed| (&needed.path, &needed.fd))) {
        let found = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        same(&found.map_err(broken("open what was mounted"))?, judged)?;
    }
    for part in files.parts {
        let found = nix::fcntl::open(&part.real, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty());
        let found = found.map_err(broken("open a part"))?;
        let read_only = statvfs(&part.real).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_RDONLY));
        let hidden = same(&found, &part.fd).is_err();
        if !read_only || hidden != (part.keep == Keep::Hidden) {
            return Err(Failure::Broken("keep a part apart", Errno::ESTALE.into()));
        }
    }
    Ok(())
}

/// Enters the working directory: the same one beneath an exposed directory; or one above them, which is the new root's.
fn enter_directory(files: &Files<'_>, cwd: &Place) -> Result<(), Failure> {
    let directory = if files.reaches(&cwd.real) {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open("/", flags, Mode::empty()).map_err(broken("open the root"))?;
        let relative = cwd.real.strip_prefix("/").unwrap_or(&cwd.real);
        let found = open_beneath(root, relative, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty());
        let found = found.map_err(broken("enter the directory"))?;
        same(&found, &cwd.fd)?;
        nix::unistd::fchdir(found)
    } else {
        nix::unistd::chdir(&cwd.real)
    };
    directory.map_err(broken("enter the directory"))
}

fn same(found: &OwnedFd, judged: &OwnedFd) -> Result<(), Failure> {
    let identity = |fd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    match (identity(found), identity(judged)) {
        (Ok(one), Ok(two)) if one == two => Ok(()),
        _ => Err(Failure::Broken("hold what was judged", Errno::ESTALE.into())),
    }
}
