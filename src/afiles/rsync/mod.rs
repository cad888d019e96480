//! rsync, run as a client over the held connection: to compare, and to bring what is large or many.
//!
//! What it brings goes into a directory that nobody sees, with what is here as its basis; from there it gets its place as
//! everything else does. So rsync decides nothing about names, order, versions or marks, and a hole in it opens one hidden
//! directory.

mod item;

use std::ffi::OsString;
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rrsync_rs::escape::Escaped;

use crate::common::ssh::{Connection, environment};
use crate::event::EventPath;
pub use item::{Change, Item, There};

/// Without a word from the other side for so long, in seconds, rsync gives up.
const TIMEOUT: u32 = 300;

/// The longest line that is read: two paths with every byte escaped, and what is around them.
const LONGEST_LINE: usize = 2 * 5 * 4096 + 200;

/// How much of what rsync says on its standard error is kept.
const SAID: u64 = 1 << 16;

/// What stays out of every transfer: what is on its way here, and what is on its way there.
const HIDDEN: &str = "--exclude=.akeys-upload-*";

/// Why rsync has not done what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum RsyncError {
    /// It could not be run.
    #[error("rsync: {0}")]
    Start(io::Error),
    /// It has ended with an error; what it or the gate said.
    #[error("rsync has ended with {status}: {said}", status = status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}")))]
    Failed {
        /// Its exit status, rsync(1).
        status: Option<i32>,
        /// The reason, escaped.
        said: String,
    },
    /// It has said something that nobody knows how to read.
    #[error("rsync has said {0:?}, which is no item")]
    Line(String),
}

impl RsyncError {
    /// Whether the connection, and not the request, was at fault: what a later attempt may mend.
    pub fn is_passing(&self) -> bool {
        // The codes of rsync(1) for a connection, a protocol stream or a time that ran out; 255 is ssh's.
        matches!(self, Self::Failed { status: None | Some(10 | 12 | 20 | 30 | 35 | 255), .. })
    }
}

/// Something that rsync runs with: the connection, and the path behind the colon.
#[derive(Debug)]
pub struct Rsync<'c> {
    connection: &'c Connection,
    /// The directory at the other side, a path on the wire.
    there: Vec<u8>,
    /// What of it is left out, as patterns.
    without: Vec<OsString>,
    /// Whether somebody wants to know how many bytes have moved.
    watched: bool,
}

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether the times of directories count.
    pub directory_times: bool,
    /// Whether what does not differ is told of, too.
    pub equal: bool,
}

impl<'c> Rsync<'c> {
    /// For the directory that is `there` on the wire.
    pub fn new(connection: &'c Connection, there: Vec<u8>) -> Self {
        Self { connection, there, without: Vec::new(), watched: false }
    }

    /// The same, but for what is at and below `paths`.
    pub fn without(mut self, paths: &[EventPath]) -> Self {
        self.without = paths.iter().map(pattern).collect();
        self
    }

    /// The same; with `watched`, it is told how many bytes have moved while they do.
    pub fn watched(self, watched: bool) -> Self {
        Self { watched, ..self }
    }

    /// Compares what is there with what is in `here`, and tells of each path in it. Nothing is changed.
    pub fn compare(
        &self,
        here: &Path,
        look: Look,
        each: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<(), RsyncError> {
        let mut rsync = self.command(&["-rlptn", "--delete", if look.equal { "-ii" } else { "-i" }]);
        if !look.directory_times {
            rsync.arg("--omit-dir-times");
        }
        rsync.arg(self.remote()).arg(directory(here));
        run(rsync, each)
    }

    /// Brings `paths` into `stage`, with what is in `basis` as a basis for each; what is the same there is left out. With
    /// `only_compare` nothing is brought, and each path that is there is told of.
    pub fn stage(
        &self,
        paths: &[&EventPath],
        stage: &Path,
        basis: &Path,
        only_compare: bool,
        each: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<(), RsyncError> {
        let list = list(paths).map_err(RsyncError::Start)?;
        let mut rsync = self.command(&["-lptd", "-S", "--from0", "--ignore-missing-args"]);
        self.watch(&mut rsync);
        // What is interrupted stays in the stage, as a basis for the next attempt.
        rsync.arg(if only_compare { "-nii" } else { "-i" }).arg("--partial");
        rsync.arg("--files-from=-").stdin(list);
        let mut compare = OsString::from("--compare-dest=");
        compare.push(basis);
        rsync.arg(compare).arg(self.remote()).arg(directory(stage));
        run(rsync, each)
    }

    /// Sends what is in `here`. `delete` removes there what is not here; `only`, what of it, and nothing else.
    pub fn send(
        &self,
        here: &Path,
        delete: bool,
        only: Option<&[&EventPath]>,
        each: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<(), RsyncError> {
        let mut rsync = self.command(&["-lpt", "-S", "-i"]);
        self.watch(&mut rsync);
        match only {
            None => drop(rsync.args(["-r"])),
            Some(paths) => {
                let list = list(paths).map_err(RsyncError::Start)?;
                rsync.args(["-d", "--from0", "--files-from=-"]).stdin(list);
                rsync.arg(if delete { "--delete-missing-args" } else { "--ignore-missing-args" });
            }
        }
        if delete && only.is_none() {
            rsync.arg("--delete-after");
        }
        rsync.arg(directory(here)).arg(self.remote());
        run(rsync, each)
    }

    fn watch(&self, rsync: &mut Command) {
        if self.watched {
            // Without a newline behind it, it would stay in rsync's buffer.
            rsync.args(["--info=progress2", "--outbuf=N"]);
        }
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut rsync = Command::new("rsync");
        // What the user keeps for rsync elsewhere, in variables or aliases of popt(3), has no say here; ssh gets an environment
        // of its own.
        rsync
            .env_clear()
            .envs(environment(Path::new("/nonexistent")))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        rsync.args(options).args(["-s", "--modify-window=-1", HIDDEN]);
        rsync.arg(format!("--timeout={TIMEOUT}")).arg(format!("--out-format={}", item::FORMAT));
        rsync.args(&self.without);
        let (shell, _) = self.connection.for_rsync();
        rsync.arg("-e").arg(shell);
        rsync
    }

    fn remote(&self) -> OsString {
        let (_, host) = self.connection.for_rsync();
        OsString::from_vec([host.as_bytes(), b":", &self.there, b"/"].concat())
    }
}

/// The option that leaves out a path and everything below it. In a pattern with a wildcard, a backslash takes the meaning from
/// what follows it (rsync(1), "PATTERN MATCHING RULES").
fn pattern(path: &EventPath) -> OsString {
    let mut option = b"--exclude=/".to_vec();
    for byte in path.as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            option.push(b'\\');
        }
        option.push(*byte);
    }
    option.extend_from_slice(b"/***");
    OsString::from_vec(option)
}

/// A path that cannot be taken for an option or for another host, with the slash that means what is in it.
fn directory(path: &Path) -> OsString {
    let mut word = PathBuf::from(path).into_os_string();
    word.push("/");
    word
}

/// Paths as rsync reads them from a file, each of them relative and no comment.
fn list(paths: &[&EventPath]) -> io::Result<std::fs::File> {
    let mut file = tempfile::tempfile()?;
    let mut writer = io::BufWriter::new(&mut file);
    for path in paths {
        writer.write_all(b"./")?;
        writer.write_all(path.as_bytes())?;
        writer.write_all(b"\0")?;
    }
    writer.flush()?;
    drop(writer);
    file.rewind()?;
    Ok(file)
}

/// Runs rsync to its end, and hands over each item.
fn run(mut rsync: Command, each: &mut dyn FnMut(Item) -> io::Result<()>) -> Result<(), RsyncError> {
    let mut said = tempfile::tempfile().map_err(RsyncError::Start)?;
    let errors = said.try_clone().map_err(RsyncError::Start)?;
    let mut child = rsync.stdout(Stdio::piped()).stderr(errors).spawn().map_err(RsyncError::Start)?;
    let read = child.stdout.take().map_or(Ok(()), |stdout| items(stdout, each));
    if read.is_err() {
        drop(child.kill());
    }
    let status = child.wait().map_err(RsyncError::Start)?;
    read?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let collected = said.rewind().and_then(|()| said.take(SAID).read_to_end(&mut text));
    collected.map_err(RsyncError::Start)?;
    Err(RsyncError::Failed { status: status.code(), said: reason(&text) })
}

fn items(stdout: impl io::Read, each: &mut dyn FnMut(Item) -> io::Result<()>) -> Result<(), RsyncError> {
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    while piece(&mut stdout, &mut line).map_err(RsyncError::Start)? {
        match item::parse(&line) {
            Some(item) => each(item).map_err(RsyncError::Start)?,
            None if line.is_empty() => {}
            None => {
                let shown = line.get(..200).unwrap_or(&line);
                return Err(RsyncError::Line(Escaped(shown).to_string()));
            }
        }
        line.clear();
    }
    Ok(())
}

/// Adds everything up to the next end of a line to `line`; `false` at the end of all. A carriage return ends one, too: how
/// much has moved is written over itself, and in a name it would be escaped.
fn piece(stdout: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let ready = stdout.fill_buf()?;
        let end = ready.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        line.extend_from_slice(ready.get(..end.unwrap_or(ready.len())).unwrap_or_default());
        let (used, ended) = (end.map_or(ready.len(), |end| end + 1), ready.is_empty());
        stdout.consume(used);
        if end.is_some() || line.len() >= LONGEST_LINE {
            return Ok(true);
        }
        if ended {
            return Ok(!line.is_empty());
        }
    }
}

/// What says why: the gate's own line if there is one, or else the first of rsync's.
fn reason(said: &[u8]) -> String {
    let lines = || said.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let gate = lines().find(|line| line.starts_with(b"rrsync-rs: "));
    let line = gate.or_else(|| lines().next()).unwrap_or(b"it has not said why");
    Escaped(line.get(..400).unwrap_or(line)).to_string()
}
