//! A small SFTP client against the server, over a socket pair: what is answered, and what is left on the disk.

mod access;
mod atomic;
mod bounds;
mod drops;
mod escapes;
mod fetch;
mod flood;
mod hostile;
mod keeping;
mod quotas;
mod requests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use super::wire::packet;
use super::{Deed, Outcome, ServeError, Summary, serve};
use crate::beneath::Root;
use crate::grant::{Access, Workspace};
use crate::layout::Layout;
use crate::sha256::Sum;
use crate::vfs::{Belongings, Mount, Options, Vfs};

/// A directory with workspaces in it and things beside them that must stay as they are.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sftp-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("box/sub/deep")).unwrap();
        fs::create_dir_all(dir.join("outside/dir")).unwrap();
        fs::write(dir.join("box/in.txt"), "inside").unwrap();
        fs::write(dir.join("box/sub/f"), "sub").unwrap();
        fs::write(dir.join("outside/secret"), "OUTSIDE").unwrap();
        fs::write(dir.join("outside/dir/v"), "OUTSIDE too").unwrap();
        Self(fs::canonicalize(dir).unwrap())
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// The box under `access`.
    pub(crate) fn workspace(&self, access: Access) -> Workspace {
        Workspace::new(self.path("box"), access)
    }

    /// A client of the box under `access`, by the name of `box`.
    pub(super) fn client(&self, access: Access) -> Client {
        Client::start(vec![("box", self.workspace(access))], Options::default())
    }

    /// Everything below `relative` that can be seen without reading it; no times of access.
    pub(crate) fn snapshot(&self, relative: &str) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        snapshot(&self.path(relative), &mut found);
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        unlock(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives the owner back what a test has taken away, so that nothing is left behind.
fn unlock(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}

fn snapshot(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let m = fs::symlink_metadata(path).unwrap();
    let changed = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    let content = if m.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
    let text = format!("{:o} {} {} {} {changed:?} {content:?}", m.mode(), m.uid(), m.gid(), m.nlink());
    found.insert(path.to_owned(), text);
    if m.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            snapshot(&entry.unwrap().path(), found);
        }
    }
}

/// An event, kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) deed: Deed,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: Option<Sum>,
    pub(super) outcome: Outcome,
}

/// A workspace as a grant's session has it; the account's home is beside the box.
pub(crate) fn mount(name: &str, rules: &Workspace) -> Mount {
    let root = Root::open(&rules.path).unwrap();
    let layout = Layout::new(root.real().parent().unwrap().join("home")).unwrap();
    let belongings = Belongings::open(&layout, &root, rules, Some(ORIGIN.to_owned())).unwrap();
    Mount::new(name.parse().unwrap(), root, rules.clone(), belongings)
}

/// The grant of every session here.
pub(super) const ORIGIN: &str = "playground.chef1";

/// How a session ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) events: Vec<Event>,
    pub(super) summary: Summary,
    pub(super) result: Result<(), ServeError>,
}

/// A client, and the server that it talks to in another thread.
pub(super) struct Client {
    stream: UnixStream,
    server: JoinHandle<End>,
    next: u32,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The code of a status; of anything else, 0.
    pub(super) fn code(&self) -> u32 {
        if self.kind == packet::STATUS { u32::from_be_bytes(self.body[..4].try_into().unwrap()) } else { 0 }
    }

    /// The strings from `skip` bytes on, as long as there are any.
    pub(super) fn strings(&self, skip: usize) -> Vec<Vec<u8>> {
        let mut rest = &self.body[skip..];
        let mut strings = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(string) = tail.get(..length) else { break };
            strings.push(string.to_owned());
            rest = &tail[length..];
        }
        strings
    }

    pub(super) fn string(&self, skip: usize) -> Vec<u8> {
        self.strings(skip).swap_remove(0)
    }

    /// The number at `at`.
    pub(super) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.body[at..at + 4].try_into().unwrap())
    }
}

/// The body of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn s(mut self, string: impl AsRef<[u8]>) -> Self {
        self = self.n(u32::try_from(string.as_ref().len()).unwrap());
        self.0.extend_from_slice(string.as_ref());
        self
    }

    pub(super) fn n(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn q(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
}

pub(super) fn s(string: impl AsRef<[u8]>) -> Body {
    Body::default().s(string)
}

impl Client {
    /// Starts a server of these workspaces and opens the session.
    pub(super) fn start(workspaces: Vec<(&str, Workspace)>, options: Options) -> Self {
        let mut client = Self::silent(workspaces, options);
        client.raw(&[0, 0, 0, 5, packet::INIT, 0, 0, 0, 3]);
        let reply = client.receive().unwrap();
        assert_eq!((reply.kind, reply.id), (packet::VERSION, 3));
        client
    }

    /// As [`Client::start`], without opening the session.
    pub(super) fn silent(workspaces: Vec<(&str, Workspace)>, options: Options) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let workspaces: Vec<_> = workspaces.into_iter().map(|(name, w)| (name.to_owned(), w)).collect();
        let server = std::thread::spawn(move || {
            let mounts = workspaces.iter().map(|(name, rules)| mount(name, rules));
            let vfs = Vfs::new(mounts.collect(), options);
            let mut events = Vec::new();
            let (summary, result) = serve(&theirs, &theirs, &vfs, &mut |event| {
                events.push(Event {
                    deed: event.deed,
                    path: String::from_utf8_lossy(event.path).into_owned(),
                    bytes: event.bytes,
                    sha256: event.sha256,
                    outcome: event.outcome,
                });
            });
            End { events, summary, result }
        });
        Self { stream: ours, server, next: 0 }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request without waiting for its reply; returns its number.
    pub(super) fn send(&mut self, kind: u8, body: impl std::borrow::Borrow<Body>) -> u32 {
        let body = body.borrow();
        self.next += 1;
        let mut bytes = u32::try_from(body.0.len() + 5).unwrap().to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&self.next.to_be_bytes());
        bytes.extend_from_slice(&body.0);
        self.raw(&bytes);
        self.next
    }

    /// The next reply; `None` when the server has hung up.
    pub(super) fn receive(&mut self) -> Option<Reply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut packet).unwrap();
        let id = u32::from_be_bytes(packet[1..5].try_into().unwrap());
        Some(Reply { kind: packet[0], id, body: packet.split_off(5) })
    }

    /// Sends a request and waits for its reply.
    pub(super) fn ask(&mut self, kind: u8, body: impl std::borrow::Borrow<Body>) -> Reply {
        let id = self.send(kind, body);
        let reply = self.receive().expect("the server hung up");
        assert_eq!(reply.id, id);
        reply
    }

    /// As [`Client::ask`], for the code only.
    pub(super) fn code(&mut self, kind: u8, body: impl std::borrow::Borrow<Body>) -> u32 {
        self.ask(kind, body).code()
    }

    /// Opens a file: the handle, or the code.
    pub(super) fn open(&mut self, path: &str, flags: u32) -> Result<Vec<u8>, u32> {
        let reply = self.ask(packet::OPEN, s(path).n(flags).n(0));
        if reply.kind == packet::HANDLE { Ok(reply.string(0)) } else { Err(reply.code()) }
    }

    pub(super) fn opendir(&mut self, path: &str) -> Result<Vec<u8>, u32> {
        let reply = self.ask(packet::OPENDIR, s(path));
        if reply.kind == packet::HANDLE { Ok(reply.string(0)) } else { Err(reply.code()) }
    }

    pub(super) fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        let reply = self.ask(packet::READ, s(handle).q(offset).n(length));
        if reply.kind == packet::DATA { Ok(reply.string(0)) } else { Err(reply.code()) }
    }

    pub(super) fn write(&mut self, handle: &[u8], offset: u64, data: impl AsRef<[u8]>) -> u32 {
        self.code(packet::WRITE, s(handle).q(offset).s(data))
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> u32 {
        self.code(packet::CLOSE, s(handle))
    }

    /// Writes a whole file, as `put` does.
    pub(super) fn put(&mut self, path: &str, data: &str) -> u32 {
        match self.open(path, 0x1a) {
            Ok(handle) => self.write(&handle, 0, data).max(self.close(&handle)),
            Err(code) => code,
        }
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&mut self, path: &str) -> Result<Vec<String>, u32> {
        let handle = self.opendir(path)?;
        let mut names = Vec::new();
        loop {
            let reply = self.ask(packet::READDIR, s(&handle));
            if reply.kind != packet::NAME {
                assert_eq!(reply.code(), 1, "the listing ends with end of file");
                break;
            }
            let mut rest = Reply { body: reply.body[4..].to_vec(), ..reply.clone() };
            for _ in 0..reply.number(0) {
                let [name, long] = [rest.string(0), rest.strings(0).swap_remove(1)];
                assert!(long.ends_with(&name), "{}", String::from_utf8_lossy(&long));
                names.push(String::from_utf8(name.clone()).unwrap());
                let attributes = 8 + name.len() + long.len();
                let length = if rest.number(attributes) == 0xf { 32 } else { 8 };
                rest.body.drain(..attributes + length);
            }
            assert!(rest.body.is_empty());
        }
        assert_eq!(self.close(&handle), 0);
        names.sort();
        Ok(names)
    }

    /// What `realpath` says: the path, or the code.
    pub(super) fn realpath(&mut self, path: &str) -> Result<String, u32> {
        let reply = self.ask(packet::REALPATH, s(path));
        if reply.kind == packet::NAME {
            Ok(String::from_utf8(reply.string(4)).unwrap())
        } else {
            Err(reply.code())
        }
    }

    /// Hangs up and waits for the server.
    pub(super) fn end(self) -> End {
        drop(self.stream);
        self.server.join().expect("the server must not panic")
    }
}
