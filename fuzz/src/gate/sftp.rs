//! The SFTP server, on a small tree of its own: requests as a client could send them.
//!
//! The first byte is the access and the rules. Then each request is its length in two bytes, its type, its number and its fields. What
//! does not fit that is sent as it is, which is how packets with wrong lengths come about.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rrsync_rs::grant::{Access, Workspace};
use rrsync_rs::sftp::serve;
use rrsync_rs::vfs::{Mount, Options, Vfs};

/// A session of one client.
pub fn session(data: &[u8]) {
    let Some((how, requests)) = data.split_first() else { return };
    let access = [Access::ReadWrite, Access::ReadOnly, Access::WriteOnly, Access::Drop][usize::from(how & 3)];
    let tree = TREE.take().unwrap_or_else(Tree::new);
    let before = tree.snapshot("box");
    let mut rules = Workspace::new(tree.dir.join("box"), access);
    rules.overwrite = how & 4 == 0;
    rules.delete = how & 8 == 0;
    rules.files.atomic = how & 16 != 0;
    rules.files.append = how & 32 != 0;
    let options = Options { sums: how & 64 != 0, ..Options::default() };
    let vfs = Vfs::new(vec![Mount::open("box".parse().unwrap(), &rules).unwrap()], options);
    let (packets, sent) = packets(requests);
    let (input, output) = (tree.file("input", &packets), tree.file("output", b""));
    let (summary, _) = serve(&input, &output, &vfs, &mut |event| {
        assert!(event.path.starts_with(b"/"));
    });
    let answered = replies(&fs::read(tree.dir.join("output")).unwrap());
    // One answer for each request, in their order, as long as they can be told apart.
    assert!(summary.requests <= answered.len() as u64);
    assert!(answered.iter().zip(&sent).all(|(reply, request)| request.is_none_or(|id| *reply == id)));
    assert_eq!(tree.snapshot("outside"), tree.outside);
    let unchanged = tree.snapshot("box") == before;
    assert!(unchanged || access != Access::ReadOnly);
    // Making a tree takes longer than most sessions.
    TREE.set(unchanged.then_some(tree));
}

thread_local! {
    static TREE: Cell<Option<Tree>> = const { Cell::new(None) };
}

/// The client's bytes, and the number of each of its requests up to the first that is none.
fn packets(mut requests: &[u8]) -> (Vec<u8>, Vec<Option<u32>>) {
    const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut packets = INIT.to_vec();
    let mut sent = vec![Some(3)];
    while let Some(([high, low], rest)) = requests.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((packet, rest)) = rest.split_at_checked(length) else { break };
        packets.extend((length as u32).to_be_bytes());
        packets.extend(packet);
        // Opening the session again is answered with the version where others have their number.
        let number = packet.get(1..5).map(|id| u32::from_be_bytes(id.try_into().unwrap()));
        sent.push(number.map(|id| if packet[0] == 1 { 3 } else { id }));
        requests = rest;
    }
    packets.extend(requests);
    (packets, sent)
}

/// The numbers of the replies, which must be whole and no longer than a client takes.
fn replies(mut bytes: &[u8]) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!((5..=256 * 1024).contains(&length), "a reply of {length} bytes");
        let (reply, rest) = rest.split_at_checked(length).expect("a reply ends where it says");
        assert!([2, 101, 102, 103, 104, 105, 201].contains(&reply[0]), "a reply of type {}", reply[0]);
        numbers.push(u32::from_be_bytes(reply[1..5].try_into().unwrap()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a reply");
    numbers
}

type Snapshot = BTreeMap<PathBuf, (u32, i64, Vec<u8>)>;

/// A workspace `box`, and `outside` it what links and names may lead to.
struct Tree {
    dir: PathBuf,
    /// What is outside, and stays so.
    outside: Snapshot,
}

impl Tree {
    fn new() -> Self {
        // In memory where that is possible: a tree for most inputs is much for a disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = place.join(format!("akeys-fuzz-sftp-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("box/d")).unwrap();
        fs::create_dir_all(dir.join("outside/d")).unwrap();
        fs::write(dir.join("box/f"), "inside").unwrap();
        fs::write(dir.join("box/d/g"), "deeper").unwrap();
        fs::write(dir.join("outside/s"), "secret").unwrap();
        symlink("f", dir.join("box/l")).unwrap();
        symlink("../outside", dir.join("box/x")).unwrap();
        symlink(dir.join("outside/s"), dir.join("box/y")).unwrap();
        let mut tree = Self { dir, outside: Snapshot::new() };
        tree.outside = tree.snapshot("outside");
        tree
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        let path = self.dir.join(name);
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    /// Permissions, and contents of files, below `relative`. A client may have taken the right to read away.
    fn snapshot(&self, relative: &str) -> Snapshot {
        fn add(path: &Path, found: &mut Snapshot) {
            let metadata = fs::symlink_metadata(path).unwrap();
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
