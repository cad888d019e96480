//! The tool `watch`: the stream of a workspace's changes, which awatch writes and this key may read.
//!
//! A client asks with `awatch stream NAME`. What runs is the awatch beside the gate, in the workspace, with a command line
//! that is built here. The kernel lets it read the workspace and nothing else; which of it the key may not read, it is told.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::confine::Rights;
use crate::grant::Tool;
use crate::layout::Layout;
use crate::policy::Use;
use crate::rsync::Place;
use crate::rsync::judge::{Arg, Reach};
use crate::session::{NoTerms, Terms};
use crate::trusted::{self, Kind};
use crate::verdict::{Change, Refusal};

/// The program, which is installed beside the gate.
pub const PROGRAM: &str = "awatch";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    workspace: Vec<u8>,
    since: Option<String>,
}

impl Asked {
    /// Reads `awatch stream NAME`, or the same with `--since CURSOR` behind it, byte for byte.
    pub fn read(command: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> =
            command.strip_prefix(b"awatch stream ")?.split(|byte| *byte == b' ').collect();
        let (workspace, since) = match words.as_slice() {
            [name] => (*name, None),
            [name, b"--since", since] => (*name, Some(cursor(since)?)),
            _ => return None,
        };
        Some(Self { workspace: workspace.to_owned(), since })
    }
}

/// The form of a cursor, awatch-events(5): 32 hexadecimal digits, a dot and a number. What it means is awatch's affair.
fn cursor(word: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(word).ok()?;
    let (journal, sequence) = text.split_once('.')?;
    let fits = journal.len() == 32
        && journal.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (1..=20).contains(&sequence.len())
        && sequence.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.to_owned())
}

/// A stream that may run.
#[derive(Debug)]
pub struct Stream {
    /// What awatch is called with, without the program's name.
    pub args: Vec<Arg>,
    /// What the kernel lets it read.
    pub reach: Vec<Reach>,
    /// The workspace, where it runs.
    pub root: Place,
    /// The workspace, as the client names it.
    pub target: String,
}

/// Judges a request: the tool, the workspace, and what of it may be read.
pub fn judge(asked: &Asked, terms: &Terms, layout: Option<&Layout>) -> Result<Stream, NoTerms> {
    if !terms.tools.contains(&Tool::Watch) {
        let refusal = Refusal::new("tool.watch", "this key may not be used with awatch");
        return Err(refusal.unless(Some(Change::Tool(Tool::Watch))).into());
    }
    let exposed = terms.policy.named(&asked.workspace)?;
    let rules: Vec<_> = exposed.workspace.places().collect();
    if !rules.iter().any(|(_, access)| access.may_read()) {
        exposed.scope(Path::new(""), Use::Read)?;
    }
    let text = |word: &str| Arg::Text(word.into());
    let target = String::from_utf8_lossy(&asked.workspace).into_owned();
    let mut args: Vec<Arg> =
        ["stream", &target, "--dir", ".", "--author", &author()].into_iter().map(text).collect();
    if let Some(since) = &asked.since {
        args.extend(["--since", since].map(text));
    }
    for (path, access) in rules {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        args.extend([text(if access.may_read() { "--show" } else { "--hide" }), Arg::Text(path.into())]);
    }
    let failed = |error: io::Error| NoTerms {
        refusal: Refusal::new("system.run", "the server cannot open the workspace"),
        detail: error.to_string(),
    };
    let clone = || exposed.root.dir().try_clone().map_err(failed);
    let root = Place { fd: clone()?, real: exposed.root.real().to_owned() };
    let mut reach = vec![Reach::new(clone()?, root.real.clone(), Rights::PULL)];
    let journal = layout.and_then(|layout| journal(layout, &root.fd));
    let ignore = layout.and_then(|layout| readable(layout.ignore_file(), Kind::File));
    for (word, place) in [("--journal", journal), ("--ignore", ignore)] {
        if let Some(Place { fd, real }) = place {
            args.extend([text(word), Arg::Text(real.clone().into())]);
            reach.push(Reach::new(fd, real, Rights::PULL));
        }
    }
    Ok(Stream { args, reach, root, target })
}

/// What of a journal's head tells which directory it is about; the rest is awatch's affair.
#[derive(Deserialize)]
struct Head {
    device: u64,
    inode: u64,
}

/// The journal of a daemon that watches the directory `root`, by whatever name.
fn journal(layout: &Layout, root: &OwnedFd) -> Option<Place> {
    let root = nix::sys::stat::fstat(root).ok()?;
    let is_of_root = |journal: &PathBuf| {
        let head = trusted::open(&journal.join("head.json"), Kind::File).ok()?;
        let mut text = Vec::new();
        head.take(1 << 16).read_to_end(&mut text).ok()?;
        let head: Head = serde_json::from_slice(&text).ok()?;
        ((head.device, head.inode) == (root.st_dev, root.st_ino)).then_some(())
    };
    let watched = layout.watch_dir().read_dir().ok()?;
    let journals = watched.flatten().map(|entry| entry.path().join("journal"));
    let found = journals.filter(|journal| is_of_root(journal).is_some()).find(|journal| {
        // One that was left from another name of the same directory is not written any more.
        is_written(journal)
    })?;
    readable(found, Kind::Directory)
}

/// Whether a daemon holds the lock of a journal. Asking takes nothing.
pub fn is_written(journal: &Path) -> bool {
    let Ok(lock) = File::open(journal.join("lock")) else { return false };
    let [kind, whence] =
        [libc::F_RDLCK, libc::SEEK_SET].map(|number| i16::try_from(number).unwrap_or_default());
    let mut found = libc::flock { l_type: kind, l_whence: whence, l_start: 0, l_len: 0, l_pid: 0 };
    let asked = nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut found));
    asked.is_ok() && i32::from(found.l_type) != libc::F_UNLCK
}

/// A file or directory of the account's own, open for a rule of the kernel's.
fn readable(real: PathBuf, kind: Kind) -> Option<Place> {
    let fd = trusted::open(&real, kind).ok()?.into();
    Some(Place { fd, real })
}

/// `USER@HOST`, for the events: awatch itself can look neither up in confinement. The file is read, and not getpwuid(3) asked,
/// which in a static program loads what nsswitch.conf(5) names; whoever is not in it has a number.
pub fn author() -> String {
    let number = nix::unistd::geteuid().to_string();
    let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
    let accounts = String::from_utf8_lossy(&accounts);
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        (uid == number).then(|| name.to_owned())
    });
    let names = nix::sys::utsname::uname().ok();
    let host = names.as_ref().and_then(|names| names.nodename().to_str()).unwrap_or("localhost");
    format!("{}@{host}", name.unwrap_or(number))
}
