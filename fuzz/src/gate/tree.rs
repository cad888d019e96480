//! A small tree for a session to work on, and what becomes of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rrsync_rs::grant::{Access, Workspace};
use rrsync_rs::vfs::{Mount, Options, Vfs};

type Snapshot = BTreeMap<PathBuf, (u32, i64, Vec<u8>)>;

/// What is outside, and nobody is told. It is no text, so that no message is taken for it.
pub const SECRET: &[u8] = &[0x9c; 3];

/// A workspace `box`, and `outside` it what links and names may lead to.
pub struct Tree {
    dir: PathBuf,
    /// What both were when they were made. What is outside stays so.
    before: [Snapshot; 2],
}

thread_local! {
    static UNCHANGED: Cell<Option<Tree>> = const { Cell::new(None) };
}

impl Tree {
    /// The tree of the last session if that has changed nothing: making one takes longer than most sessions.
    pub fn unchanged() -> Self {
        UNCHANGED.take().unwrap_or_else(Self::new)
    }

    /// Ends a session, which can have changed nothing outside; tells whether it has changed something inside.
    pub fn finish(self) -> bool {
        let [outside, inside] = self.snapshots();
        assert_eq!(outside, self.before[0]);
        let changed = inside != self.before[1];
        UNCHANGED.set((!changed).then_some(self));
        changed
    }

    /// The box with the access and the rules that an input's first byte stands for.
    pub fn served(&self, how: u8) -> (Access, Vfs) {
        let access =
            [Access::ReadWrite, Access::ReadOnly, Access::WriteOnly, Access::Drop][usize::from(how & 3)];
        let mut rules = Workspace::new(self.dir.join("box"), access);
        rules.overwrite = how & 4 == 0;
        rules.delete = how & 8 == 0;
        rules.files.atomic = how & 16 != 0;
        rules.files.append = how & 32 != 0;
        let options = Options { sums: how & 64 != 0, ..Options::default() };
        (access, Vfs::new(vec![Mount::open("box".parse().unwrap(), &rules).unwrap()], options))
    }

    /// A file with what the client says, and one for what it is answered.
    pub fn streams(&self, said: &[u8]) -> [File; 2] {
        [self.file("input", said), self.file("output", b"")]
    }

    /// What the client was answered.
    pub fn output(&self) -> Vec<u8> {
        fs::read(self.dir.join("output")).unwrap()
    }

    fn new() -> Self {
        // In memory where that is possible: a tree for most inputs is much for a disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = place.join(format!("akeys-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("box/d")).unwrap();
        fs::create_dir_all(dir.join("outside/d")).unwrap();
        fs::write(dir.join("box/f"), "inside").unwrap();
        fs::write(dir.join("box/d/g"), "deeper").unwrap();
        fs::write(dir.join("outside/s"), SECRET).unwrap();
        symlink("f", dir.join("box/l")).unwrap();
        symlink("../outside", dir.join("box/x")).unwrap();
        symlink(dir.join("outside/s"), dir.join("box/y")).unwrap();
        let mut tree = Self { dir, before: [Snapshot::new(), Snapshot::new()] };
        tree.before = tree.snapshots();
        tree
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        let path = self.dir.join(name);
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    fn snapshots(&self) -> [Snapshot; 2] {
        ["outside", "box"].map(|part| self.snapshot(part))
    }

    /// Permissions, and contents of files, below `relative`, as far as a client has not taken the right to look away.
    fn snapshot(&self, relative: &str) -> Snapshot {
        fn add(path: &Path, found: &mut Snapshot) {
            let Ok(metadata) = fs::symlink_metadata(path) else { return };
            // A client may also have made a file as long as there can be.
            let readable = metadata.is_file() && metadata.len() < 1 << 20;
            let content = if readable { fs::read(path).unwrap_or_default() } else { Vec::new() };
            found.insert(path.to_owned(), (metadata.mode(), metadata.mtime(), content));
            if metadata.is_dir() {
                fs::read_dir(path).into_iter().flatten().for_each(|entry| add(&entry.unwrap().path(), found));
            }
        }
        let mut found = Snapshot::new();
        add(&self.dir.join(relative), &mut found);
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        unlock(&self.dir);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Gives back the rights that a client has taken away, so that everything can be removed.
fn unlock(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}
