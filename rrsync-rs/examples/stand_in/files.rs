//! The attacks on files: looking at, reading, changing what is outside, and changing what is inside.

use crate::attacks::{Attack, attack};
use crate::sys::{Tried, c, open, read, sys};

pub const AT: i32 = libc::AT_FDCWD;

/// What is outside can be seen to be there. Landlock does not mediate this; a mount namespace leaves nothing to see.
pub const LOOK: &[Attack] = &[
    attack("look-stat", |scene| {
        let (path, mut buffer) = (c(&scene.outside("secret")), [0_u64; 32]);
        sys!(libc::SYS_newfstatat, AT, path.as_ptr(), buffer.as_mut_ptr(), 0)
    }),
    attack("look-statx", |scene| {
        let (path, mut buffer) = (c(&scene.outside("secret")), [0_u64; 64]);
        sys!(libc::SYS_statx, AT, path.as_ptr(), 0, 0x7ff, buffer.as_mut_ptr())
    }),
    attack("look-access", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_faccessat, AT, path.as_ptr(), libc::R_OK)
    }),
    attack("look-readlink", |scene| {
        let (path, mut buffer) = (c(&scene.outside("link")), [0_u8; 64]);
        sys!(libc::SYS_readlinkat, AT, path.as_ptr(), buffer.as_mut_ptr(), 64)
    }),
    attack("look-listxattr", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_listxattr, path.as_ptr(), 0, 0)
    }),
    attack("look-getxattr", |scene| {
        let (path, mut buffer) = (c(&scene.outside("secret")), [0_u8; 64]);
        reached(sys!(libc::SYS_getxattr, path.as_ptr(), c"user.note".as_ptr(), buffer.as_mut_ptr(), 64))
    }),
    attack("look-statfs", |scene| {
        let (path, mut buffer) = (c(&scene.outside("")), [0_u64; 32]);
        sys!(libc::SYS_statfs, path.as_ptr(), buffer.as_mut_ptr())
    }),
    attack("look-chdir", |scene| chdir(&scene.outside(""))),
    attack("look-open-path", |scene| open(&scene.outside("secret"), libc::O_PATH)),
    attack("look-climb", |_| {
        chdir("../outside")?;
        let mut buffer = [0_u64; 32];
        sys!(libc::SYS_newfstatat, AT, c"secret".as_ptr(), buffer.as_mut_ptr(), 0)
    }),
];

/// A file without the attribute that was asked for was reached all the same.
fn reached(tried: Tried) -> Tried {
    if tried == Err(libc::ENODATA) { Ok(0) } else { tried }
}

fn chdir(path: &str) -> Tried {
    let path = c(path);
    sys!(libc::SYS_chdir, path.as_ptr())
}

fn list(path: &str) -> Tried {
    let fd = open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut buffer = [0_u8; 1024];
    sys!(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len())
}

/// Opens `name` from every descriptor that was inherited, also from one that lies deeper.
fn from_descriptors(name: &str, flags: i32) -> Tried {
    let mut last = Err(libc::EBADF);
    for name in [c(name), c(&format!("../../{name}"))] {
        for fd in 0..1024 {
            match sys!(libc::SYS_openat, fd, name.as_ptr(), flags, 0) {
                Err(libc::EBADF | libc::ENOTDIR | libc::ENOENT) => {}
                Ok(found) => return Ok(found),
                other => last = other,
            }
        }
    }
    last
}

/// What is outside can be read.
pub const READ: &[Attack] = &[
    attack("read-secret", |scene| read(&scene.outside("secret"))),
    attack("read-open", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY)
    }),
    attack("read-openat2", |scene| {
        let (path, how) = (c(&scene.outside("secret")), [0_u64; 3]);
        sys!(libc::SYS_openat2, AT, path.as_ptr(), how.as_ptr(), 24)
    }),
    attack("read-climb", |_| read("../outside/secret")),
    attack("read-chdir", |scene| chdir(&scene.outside("")).and_then(|_| read("secret"))),
    attack("read-from-path-descriptor", |scene| {
        let fd = open(&scene.outside(""), libc::O_PATH | libc::O_DIRECTORY)?;
        sys!(libc::SYS_openat, fd, c"secret".as_ptr(), libc::O_RDONLY)
    }),
    attack("read-reopen", |scene| {
        let fd = open(&scene.outside("secret"), libc::O_PATH)?;
        read(&format!("/proc/self/fd/{fd}"))
    }),
    attack("read-inherited", |_| from_descriptors("../outside/secret", libc::O_RDONLY)),
    attack("read-inherited-far", |scene| {
        let far = format!("{}{}", "../".repeat(40), scene.outside("secret"));
        from_descriptors(&far, libc::O_RDONLY)
    }),
    attack("read-list", |scene| list(&scene.outside(""))),
    attack("read-list-root", |_| list("/")),
    attack("read-list-home", |scene| list(&format!("{}/home", scene.root.display()))),
    attack("read-keys", |scene| read(&format!("{}/home/.ssh/authorized_keys", scene.root.display()))),
    attack("read-sibling", |scene| read(&format!("{}/D-sibling/secret", scene.root.display()))),
    attack("read-passwd", |_| read("/etc/passwd")),
    attack("read-shadow", |_| read("/etc/shadow")),
    attack("read-hostname", |_| read("/etc/hostname")),
    attack("read-proc-root", |_| read("/proc/self/root/etc/passwd")),
    attack("read-proc-cwd", |_| read("/proc/self/cwd/../outside/secret")),
    attack("read-proc-maps", |_| read("/proc/self/maps")),
    attack("read-proc-mounts", |_| read("/proc/self/mountinfo")),
    attack("read-proc-cmdline", |_| read("/proc/1/cmdline")),
    attack("read-kmsg", |_| read("/dev/kmsg")),
    attack("read-sys", |_| read("/sys/kernel/uevent_seqnum")),
    attack("read-device", |_| open("/dev/urandom", libc::O_RDWR)),
    attack("read-tty", |_| open("/dev/tty", libc::O_RDWR)),
    attack("read-by-new-link", |scene| {
        let (from, to) = (c(&scene.outside("secret")), c(&scene.inside("attack-link")));
        sys!(libc::SYS_symlinkat, from.as_ptr(), AT, to.as_ptr()).map(|_| 0).or(Err(libc::EACCES))?;
        let result = read(&scene.inside("attack-link"));
        let _ = sys!(libc::SYS_unlinkat, AT, to.as_ptr(), 0);
        result
    }),
    attack("read-by-hard-link", |scene| {
        let (from, to) = (c(&scene.outside("secret")), c(&scene.inside("attack-hard-link")));
        sys!(libc::SYS_linkat, AT, from.as_ptr(), AT, to.as_ptr(), 0)
    }),
    attack("read-by-descriptor-link", |scene| {
        let fd = open(&scene.outside("secret"), libc::O_PATH)?;
        let to = c(&scene.inside("attack-descriptor-link"));
        sys!(libc::SYS_linkat, fd, c"".as_ptr(), AT, to.as_ptr(), libc::AT_EMPTY_PATH)
    }),
    attack("read-by-rename", |scene| {
        let (from, to) = (c(&scene.outside("moved-in")), c(&scene.inside("attack-moved")));
        sys!(libc::SYS_renameat, AT, from.as_ptr(), AT, to.as_ptr())
    }),
];

pub fn at_path(call: i64, path: &str, argument: i64) -> Tried {
    let path = c(path);
    sys!(call, AT, path.as_ptr(), argument)
}

pub fn in_path(call: i64, path: &str, argument: i64) -> Tried {
    let path = c(path);
    sys!(call, path.as_ptr(), argument)
}

pub fn rename2(from: &str, to: &str, flags: i32) -> Tried {
    let (from, to) = (c(from), c(to));
    sys!(libc::SYS_renameat2, AT, from.as_ptr(), AT, to.as_ptr(), flags)
}

/// What is outside can be changed, made or removed.
pub const WRITE: &[Attack] = &[
    attack("write-open", |scene| open(&scene.outside("secret"), libc::O_WRONLY)),
    attack("write-append", |scene| open(&scene.outside("secret"), libc::O_WRONLY | libc::O_APPEND)),
    attack("write-create", |scene| open(&scene.outside("new"), libc::O_WRONLY | libc::O_CREAT)),
    attack("write-create-to-read", |scene| open(&scene.outside("new-r"), libc::O_RDONLY | libc::O_CREAT)),
    attack("write-creat", |scene| in_path(libc::SYS_creat, &scene.outside("creat"), 0o600)),
    attack("write-temporary", |scene| open(&scene.outside(""), libc::O_WRONLY | libc::O_TMPFILE)),
    attack("write-open-to-truncate", |scene| {
        open(&scene.outside("truncate"), libc::O_RDONLY | libc::O_TRUNC)
    }),
    attack("write-open3-to-truncate", |scene| open(&scene.outside("truncate"), 3 | libc::O_TRUNC)),
    attack("write-old-open-to-truncate", |scene| {
        let path = c(&scene.outside("truncate"));
        sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY | libc::O_TRUNC, 0)
    }),
    attack("write-truncate", |scene| in_path(libc::SYS_truncate, &scene.outside("truncate"), 0)),
    attack("write-inherited", |_| from_descriptors("../outside/secret", libc::O_WRONLY)),
    attack("write-inherited-file", |_| {
        let written = (3..1024).find_map(|fd| sys!(libc::SYS_write, fd, c"x".as_ptr(), 1).ok());
        written.ok_or(libc::EBADF)
    }),
    attack("write-keys", |scene| {
        open(&format!("{}/home/.ssh/authorized_keys", scene.root.display()), libc::O_WRONLY)
    }),
    attack("write-tmp", |_| {
        let path = format!("/tmp/stand-in-{}", std::process::id());
        let result = open(&path, libc::O_WRONLY | libc::O_CREAT)?;
        at_path(libc::SYS_unlinkat, &path, 0).map(|_| result)
    }),
    attack("write-rename-out", |scene| rename2(&scene.inside("in"), &scene.outside("renamed"), 0)),
    attack("write-rename-outside", |scene| rename2(&scene.outside("rename"), &scene.outside("renamed"), 0)),
    attack("write-rename-exchange", |scene| rename2(&scene.inside("sub/x"), &scene.outside("exchange"), 2)),
    attack("write-link-out", |scene| {
        let (from, to) = (c(&scene.inside("in2")), c(&scene.outside("linked")));
        sys!(libc::SYS_linkat, AT, from.as_ptr(), AT, to.as_ptr(), 0)
    }),
    attack("write-symlink", |scene| {
        let to = c(&scene.outside("symlinked"));
        sys!(libc::SYS_symlinkat, c"x".as_ptr(), AT, to.as_ptr())
    }),
    attack("write-mkdir", |scene| at_path(libc::SYS_mkdirat, &scene.outside("made"), 0o700)),
    attack("write-rmdir", |scene| {
        at_path(libc::SYS_unlinkat, &scene.outside("empty"), libc::AT_REMOVEDIR.into())
    }),
    attack("write-unlink", |scene| at_path(libc::SYS_unlinkat, &scene.outside("unlink"), 0)),
    attack("write-mkfifo", |scene| {
        at_path(libc::SYS_mknodat, &scene.outside("fifo"), (libc::S_IFIFO | 0o600).into())
    }),
    attack("write-own-program", |scene| open(&format!("{}/stand_in", scene.root.display()), libc::O_WRONLY)),
];

/// This process's own group, which an ordinary user may give a file to.
fn group() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// `struct timespec [2]` of 2001.
const LONG_AGO: [i64; 4] = [1_000_000_000, 0, 1_000_000_000, 0];

/// What the gate documents: the metadata of the account's own files outside, which Landlock does not mediate.
pub const METADATA: &[Attack] = &[
    attack("metadata-chmod", |scene| in_path(libc::SYS_chmod, &scene.outside("secret"), 0o640)),
    attack("metadata-fchmodat", |scene| at_path(libc::SYS_fchmodat, &scene.outside("secret"), 0o640)),
    attack("metadata-fchmodat2", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_fchmodat2, AT, path.as_ptr(), 0o640, 0)
    }),
    attack("metadata-chmod-climb", |_| in_path(libc::SYS_chmod, "../outside/secret", 0o640)),
    attack("metadata-chown", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_chown, path.as_ptr(), -1, group())
    }),
    attack("metadata-lchown", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_lchown, path.as_ptr(), -1, group())
    }),
    attack("metadata-fchownat", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_fchownat, AT, path.as_ptr(), -1, group(), 0)
    }),
    attack("metadata-utimensat", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_utimensat, AT, path.as_ptr(), LONG_AGO.as_ptr(), 0)
    }),
    attack("metadata-utime", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_utime, path.as_ptr(), LONG_AGO.as_ptr())
    }),
    attack("metadata-utimes", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_utimes, path.as_ptr(), LONG_AGO.as_ptr())
    }),
    attack("metadata-futimesat", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_futimesat, AT, path.as_ptr(), LONG_AGO.as_ptr())
    }),
    attack("metadata-setxattr", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_setxattr, path.as_ptr(), c"user.note".as_ptr(), c"y".as_ptr(), 1, 0)
    }),
    attack("metadata-lsetxattr", |scene| {
        let path = c(&scene.outside("secret"));
        sys!(libc::SYS_lsetxattr, path.as_ptr(), c"user.note".as_ptr(), c"z".as_ptr(), 1, 0)
    }),
    attack("metadata-removexattr", |scene| {
        let path = c(&scene.outside("secret"));
        reached(sys!(libc::SYS_removexattr, path.as_ptr(), c"user.note".as_ptr()))
    }),
];

/// What a push may do, and a pull may not: inside.
pub const INSIDE: &[Attack] = &[
    attack("inside-write", |scene| open(&scene.inside("in2"), libc::O_WRONLY)),
    attack("inside-create", |scene| open(&scene.inside("attack-new"), libc::O_WRONLY | libc::O_CREAT)),
    attack("inside-open-to-truncate", |scene| {
        open(&scene.inside("truncate"), libc::O_RDONLY | libc::O_TRUNC)
    }),
    attack("inside-chmod", |scene| in_path(libc::SYS_chmod, &scene.inside("in2"), 0o640)),
    attack("inside-fchmod", |scene| {
        let fd = open(&scene.inside("in2"), libc::O_RDONLY)?;
        sys!(libc::SYS_fchmod, fd, 0o640)
    }),
    attack("inside-futimens", |scene| {
        let fd = open(&scene.inside("in2"), libc::O_RDONLY)?;
        sys!(libc::SYS_utimensat, fd, 0, LONG_AGO.as_ptr(), 0)
    }),
    attack("inside-fsetxattr", |scene| {
        let fd = open(&scene.inside("in2"), libc::O_RDONLY)?;
        sys!(libc::SYS_fsetxattr, fd, c"user.note".as_ptr(), c"y".as_ptr(), 1, 0)
    }),
    attack("inside-utimensat", |scene| {
        let path = c(&scene.inside("in2"));
        sys!(libc::SYS_utimensat, AT, path.as_ptr(), LONG_AGO.as_ptr(), 0)
    }),
    attack("inside-mkdir", |scene| at_path(libc::SYS_mkdirat, &scene.inside("attack-made"), 0o700)),
    attack("inside-unlink", |scene| at_path(libc::SYS_unlinkat, &scene.inside("unlink"), 0)),
    attack("inside-rename", |scene| rename2(&scene.inside("rename"), &scene.inside("sub/renamed"), 0)),
    attack("inside-read", |scene| read(&scene.inside("in2"))),
    attack("inside-list", |scene| list(&scene.inside(""))),
];
