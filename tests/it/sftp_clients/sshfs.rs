//! sshfs: a workspace as a directory of the client's own, with whatever programs do to files there.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::{HARD_NAMES, LONG_AGO, Served, ends, installed, noise, picture, same_files, say, with};
use crate::support::{Client, find_program};

/// A mounted workspace, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    fn new(served: &Served, client: &Client<'_>, workspace: &str) -> Self {
        let at = served.sandbox.path(&format!("mounted-{workspace}"));
        fs::create_dir(&at).unwrap();
        let mut command = served.command("sshfs");
        command.args([&format!("host:{workspace}"), at.to_str().unwrap(), "-o"]);
        // No caches: each call below is to be a request.
        let options =
            format!("ssh_command={},dcache_timeout=0,attr_timeout=0,entry_timeout=0", client.ssh_line());
        with(command, &[options]).succeeds();
        Self(at)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(find_program("fusermount3"));
        let outcome = ends(command.args(["-u", "-z"]).arg(&self.0));
        // The sandbox must not be removed with a workspace mounted in it.
        if !outcome.status.success() {
            std::process::abort();
        }
    }
}

fn can_mount() -> bool {
    if !installed("sshfs") || !installed("fusermount3") {
        return false;
    }
    let usable = File::options().read(true).write(true).open("/dev/fuse");
    if let Err(error) = &usable {
        say(&format!("not tried: sshfs, because /dev/fuse cannot be opened: {error}"));
    }
    usable.is_ok()
}

#[test]
fn a_mounted_workspace_is_a_directory_like_any_other() {
    if !can_mount() {
        return;
    }
    let served = Served::new();
    let client = served.client().hold();
    let mounted = Mounted::new(&served, &client, "rw");
    let path = |relative: &str| mounted.path(relative);
    same_files(&path("sub"), &served.shelf("rw/sub"));
    assert_eq!(fs::read_to_string(path("link")).unwrap(), "inside\n");
    assert_eq!(fs::read_link(path("link")).unwrap(), Path::new("in.txt"));
    for name in HARD_NAMES {
        assert_eq!(fs::read_to_string(path("sub").join(name)).unwrap(), name);
    }
    let entries = served.crowd("rw/many");
    assert_eq!(fs::read_dir(path("many")).unwrap().count(), entries);
    with(served.command("cp"), &[Path::new("-a"), &served.local("tree/sub"), &path("copy")]).succeeds();
    same_files(&served.shelf("rw/copy"), &served.local("tree/sub"));
    assert_eq!(fs::metadata(served.shelf("rw/copy/f")).unwrap().mtime().cast_unsigned(), LONG_AGO);

    // Reads and writes anywhere, by several handles of one file.
    let mut file = File::options().read(true).write(true).create_new(true).open(path("random")).unwrap();
    file.write_all(&noise(500_000)).unwrap();
    file.write_all_at(b"in the middle", 250_000).unwrap();
    file.seek(SeekFrom::Start(249_999)).unwrap();
    let mut buffer = [0; 15];
    file.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer[1..14], b"in the middle");
    file.set_len(300_000).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::metadata(served.shelf("rw/random")).unwrap().len(), 300_000);
    File::options().append(true).open(path("random")).unwrap().write_all(b"end").unwrap();
    drop(file);
    assert_eq!(fs::read(served.shelf("rw/random")).unwrap()[300_000..], *b"end");

    // Names and attributes.
    fs::write(path("new"), "new").unwrap();
    fs::rename(path("new"), path("in.txt")).unwrap();
    assert_eq!(fs::read(served.shelf("rw/in.txt")).unwrap(), b"new");
    fs::create_dir_all(path("d/e/f")).unwrap();
    fs::remove_dir(path("d/e/f")).unwrap();
    fs::rename(path("d/e"), path("moved")).unwrap();
    fs::hard_link(path("in.txt"), path("hard")).unwrap();
    symlink("sub/f", path("soft")).unwrap();
    assert_eq!(fs::read(path("soft")).unwrap(), b"f");
    fs::set_permissions(path("in.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::metadata(served.shelf("rw/in.txt")).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::remove_file(path("hard")).unwrap();
    fs::remove_dir_all(path("copy")).unwrap();
    assert!(!served.shelf("rw/copy").exists() && served.shelf("rw/moved").is_dir());
    with(served.command("df"), &[&mounted.0]).succeeds();
    // What does not fit and what is not there is said with the right error.
    assert_eq!(fs::read(path("nothing")).unwrap_err().raw_os_error(), Some(nix::libc::ENOENT));
    fs::remove_dir(path("sub")).unwrap_err();
}

#[test]
fn a_mounted_workspace_keeps_its_access() {
    if !can_mount() {
        return;
    }
    let served = Served::new();
    let client = served.client().hold();
    let before = picture(&served.shelf("ro"));
    let read_only = Mounted::new(&served, &client, "ro");
    same_files(&read_only.path("sub"), &served.shelf("ro/sub"));
    let path = |relative: &str| read_only.path(relative);
    for refused in [
        fs::write(path("new"), ""),
        fs::write(path("in.txt"), ""),
        fs::create_dir(path("d")),
        fs::remove_file(path("in.txt")),
        fs::remove_dir(path("empty")),
        fs::rename(path("in.txt"), path("x")),
        fs::hard_link(path("in.txt"), path("x")),
        symlink("in.txt", path("x")),
        fs::set_permissions(path("in.txt"), fs::Permissions::from_mode(0o777)),
    ] {
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }
    drop(read_only);
    assert!(picture(&served.shelf("ro")) == before);

    let write_only = Mounted::new(&served, &client, "wo");
    fs::write(write_only.path("new"), "new").unwrap();
    assert_eq!(fs::read(served.shelf("wo/new")).unwrap(), b"new");
    fs::read(write_only.path("in.txt")).unwrap_err();
    let listed: Result<Vec<_>, _> = fs::read_dir(&write_only.0).and_then(Iterator::collect);
    listed.unwrap_err();
}
