//! The tool `watch`: the stream of a workspace's changes, which awatch writes and this key may read.
//!
//! A client asks with `awatch stream NAME`. What runs is the awatch beside the gate, in the workspace, with a command line
//! that is built here. The kernel lets it read the workspace and nothing else; which of it the key may not read, it is told.

use std::io;
use std::path::Path;

use crate::confine::Rights;
use crate::grant::Tool;
use crate::policy::Use;
use crate::rsync::Place;
use crate::rsync::judge::{Arg, Reach};
use crate::session::{NoTerms, Terms};
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
pub fn judge(asked: &Asked, terms: &Terms) -> Result<Stream, NoTerms> {
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
    let mut args =
        ["stream", &target, "--dir", ".", "--author", &author()].map(text).into_iter().collect::<Vec<_>>();
    if let Some(since) = &asked.since {
        args.extend(["--since", since].map(text));
    }
    for (path, access) in rules {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        args.extend([text(if access.may_read() { "--show" } else { "--hide" }), Arg::Text(path.into())]);
    }
    let open = || -> io::Result<(Reach, Place)> {
        let real = exposed.root.real().to_owned();
        let dir = exposed.root.dir().try_clone()?;
        let root = Place { fd: exposed.root.dir().try_clone()?, real: real.clone() };
        Ok((Reach { dir, real, rights: Rights::PULL }, root))
    };
    let (reach, root) = open().map_err(|error| NoTerms {
        refusal: Refusal::new("system.run", "the server cannot open the workspace"),
        detail: error.to_string(),
    })?;
    Ok(Stream { args, reach: vec![reach], root, target })
}

/// `USER@HOST`, for the events: awatch itself can look neither up in confinement.
pub fn author() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let user = user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
    let names = nix::sys::utsname::uname().ok();
    let host = names.as_ref().and_then(|names| names.nodename().to_str()).unwrap_or("localhost");
    format!("{user}@{host}")
}
