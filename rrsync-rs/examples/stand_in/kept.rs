//! What is in the destination already: read back, changed, replaced or removed, by every way around the rights to it.
//!
//! A name begins with the right that the attack needs, alone: what `never` begins with, no session may do. What rsync itself does
//! with what arrives begins with `add`.

use crate::Scene;
use crate::attacks::{Attack, attack};
use crate::files::{AT, at_path, rename2};
use crate::sys::{Tried, c, open, read, sys};

const WRITE: i32 = libc::O_WRONLY;
/// Of a file that is made.
const MAKE: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;

fn link(from: &str, to: &str) -> Tried {
    let (from, to) = (c(from), c(to));
    sys!(libc::SYS_linkat, AT, from.as_ptr(), AT, to.as_ptr(), 0)
}

fn symlink(target: &str, at: &str) -> Tried {
    let (target, at) = (c(target), c(at));
    sys!(libc::SYS_symlinkat, target.as_ptr(), AT, at.as_ptr())
}

/// A file in the staging directory, whose content is the client's.
fn own(scene: &Scene, name: &str) -> Result<String, i32> {
    let path = scene.staged(name);
    let fd = open(&path, MAKE)?;
    sys!(libc::SYS_write, fd, c"REPLACED".as_ptr(), 8)?;
    Ok(path)
}

/// A file opened anew through its descriptor, which needed no right.
fn anew(path: &str, flags: i32) -> Tried {
    let fd = open(path, libc::O_PATH)?;
    open(&format!("/proc/self/fd/{fd}"), flags)
}

/// The attacks.
pub const KEPT: &[Attack] = &[
    attack("read-by-name", |scene| read(&scene.inside("in"))),
    attack("never-read-and-write", |scene| open(&scene.inside("in"), libc::O_RDWR)),
    attack("read-anew", |scene| anew(&scene.inside("in"), libc::O_RDONLY)),
    attack("never-read-by-staged-link", |scene| {
        link(&scene.inside("in"), &scene.staged("read-link"))?;
        read(&scene.staged("read-link"))
    }),
    attack("read-by-staged-symlink", |scene| {
        symlink(&scene.inside("in"), &scene.staged("read-symlink"))?;
        read(&scene.staged("read-symlink"))
    }),
    attack("never-read-moved", |scene| {
        rename2(&scene.inside("sub/moved"), &scene.staged("moved"), 0)?;
        read(&scene.staged("moved"))
    }),
    attack("never-read-moved-directory", |scene| {
        rename2(&scene.inside("tree"), &scene.staged("tree"), 0)?;
        read(&scene.staged("tree/x"))
    }),
    attack("change-by-writing", |scene| open(&scene.inside("in"), WRITE)),
    attack("change-by-appending", |scene| open(&scene.inside("in"), WRITE | libc::O_APPEND)),
    attack("change-by-truncating", |scene| open(&scene.inside("in"), WRITE | libc::O_TRUNC)),
    attack("change-anew", |scene| anew(&scene.inside("in"), WRITE)),
    attack("never-change-by-staged-link", |scene| {
        link(&scene.inside("in2"), &scene.staged("write-link"))?;
        open(&scene.staged("write-link"), WRITE)
    }),
    attack("change-by-staged-symlink", |scene| {
        symlink(&scene.inside("in2"), &scene.staged("write-symlink"))?;
        open(&scene.staged("write-symlink"), WRITE)
    }),
    // A file that may be written where it stands could be one that is there already.
    attack("change-what-is-new", |scene| open(&scene.inside("attack-kept-new"), MAKE)),
    attack("remove-by-name", |scene| at_path(libc::SYS_unlinkat, &scene.inside("keep-unlink"), 0)),
    attack("directory-remove", |scene| {
        at_path(libc::SYS_unlinkat, &scene.inside("keep-empty"), libc::AT_REMOVEDIR.into())
    }),
    attack("remove-by-rename-over", |scene| rename2(&own(scene, "over")?, &scene.inside("keep-over"), 0)),
    attack("never-remove-by-exchange", |scene| {
        rename2(&own(scene, "exchange")?, &scene.inside("keep-exchange"), 2)
    }),
    attack("never-remove-by-exchange-back", |scene| {
        rename2(&scene.inside("keep-exchange"), &own(scene, "exchange-back")?, 2)
    }),
    attack("remove-by-renaming", |scene| {
        rename2(&scene.inside("keep-rename"), &scene.inside("keep-renamed"), 0)
    }),
    attack("directory-remove-by-renaming", |scene| {
        rename2(&scene.inside("keep-tree"), &scene.inside("keep-tree-renamed"), 0)
    }),
    attack("add-directory", |scene| {
        at_path(libc::SYS_mkdirat, &scene.inside("attack-kept-directory"), 0o700)
    }),
    attack("add-symlink", |scene| symlink("x", &scene.inside("attack-kept-symlink"))),
    attack("add-file", |scene| rename2(&own(scene, "added")?, &scene.inside("attack-kept-added"), 1)),
    attack("add-file-deeper", |scene| {
        rename2(&own(scene, "deeper")?, &scene.inside("sub/attack-kept-added"), 0)
    }),
    attack("add-link", |scene| link(&scene.inside("in2"), &scene.inside("sub/attack-kept-link"))),
];
