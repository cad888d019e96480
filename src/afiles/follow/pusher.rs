//! Results go back: a directory of a copy is watched, and what changes in it is sent to a workspace.
//!
//! The watcher is awatch's own. What was sent is known, so what comes back as news of it is none; and what this pod has fetched
//! bears its mark. rsync sends contents, with delta; SFTP removes, so that what is in a directory goes before it does.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Instant;

use nix::sys::stat::{FileStat, SFlag};
use rrsync_rs::beneath::kind;
use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;
use rrsync_rs::origin;
use rrsync_rs::sha256::Sum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::PAUSE;
use super::session::SessionError;
use crate::afiles::catalog::{Catalog, CopyBook, Way};
use crate::afiles::destination::Destination;
use crate::afiles::failures::TransferError;
use crate::afiles::receive::{Durability, Known, Tree};
use crate::afiles::receiver::{Arrived, Book as _};
use crate::afiles::remote::Workspace;
use crate::afiles::rsync::{Change, Item, Rsync};
use crate::afiles::sftp::{Sftp, SftpError};
use crate::afiles::standing::Stand;
use crate::afiles::tell::{Deed, Teller};
use crate::afiles::words::Push;
use crate::awatch::watcher::dirs::Root;
use crate::awatch::watcher::known::Memory;
use crate::awatch::watcher::{Options, Rules, Setting as WatchSetting, Watcher, WatcherError, look};
use crate::common::exit::{Exit, Failure};
use crate::event::EventPath;

/// What is sent at once, at most.
const LARGEST_BATCH: usize = 1000;

/// Everything but what is only on its way.
struct NotHidden;

impl Rules for NotHidden {
    fn skips(&self, name: &[u8], _: impl FnOnce() -> Vec<u8>, _: bool) -> bool {
        name.starts_with(b".akeys-")
    }
}

/// A directory that is sent, and what is known of it.
struct Pusher<'c> {
    workspace: Workspace,
    tree: Tree,
    book: CopyBook<'c>,
    stand: Stand<'c>,
    teller: Teller,
    who: String,
}

/// Sends what changes in `push.from` of the copy in `copy`, until there is something that only a person can mend.
pub fn run(push: &Push, copy: &Path, layout: &Layout, json: bool) -> Result<Infallible, Failure> {
    let directory = copy.join(push.from.as_path());
    fs::create_dir_all(&directory)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", shown(&directory))))?;
    let workspace = Workspace::find(&push.to, layout)?;
    let catalog = Catalog::open(layout)?;
    let destination = Destination::open(&directory, layout)?;
    let known = destination.copy_of(&workspace.found.remote, &catalog, Way::Sent, false)?;
    let who = workspace.found.origin();
    // Nothing arrives here; the tree is for looking at it.
    let tree = Tree::open_new(destination.real(), layout, &who, Durability::None)?;
    let stand = Stand::new(&catalog, known.id, known.standing.clone());
    let book = CopyBook::new(&catalog, known, workspace.found.remote.clone(), who.clone());
    let label = format!("{} = {}", shown(&directory), push.to);
    let teller = Teller::following(json, &label);
    let mut pusher = Pusher { workspace, tree, book, stand, teller, who };
    let mut pause = PAUSE.0;
    loop {
        let begun = Instant::now();
        let error = match pusher.session() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if begun.elapsed() >= super::GOOD {
            pause = PAUSE.0;
        }
        let said = error.to_string();
        pusher.teller.state("lost", Some(&format!("{said}; trying again in {} s", pause.as_secs_f32())));
        pusher.stand.troubled(said)?;
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

fn shown(path: &Path) -> String {
    rrsync_rs::escape::Escaped::os(path).to_string()
}

impl Pusher<'_> {
    /// Sends everything that is not known there, and then what changes.
    fn session(&mut self) -> Result<Infallible, SessionError> {
        let connection = self.workspace.connect(Tool::Rsync).map_err(SessionError::Failure)?;
        let rsync = Rsync::new(&connection, self.workspace.found.wire_path());
        // The watch begins first, so that whatever changes meanwhile is seen twice rather than never.
        let mut watcher = self.watch().map_err(SessionError::Watch)?;
        let mut pending: BTreeSet<EventPath> = self.everything()?.into_iter().collect();
        loop {
            while !pending.is_empty() {
                let batch: Vec<EventPath> = pending.iter().take(LARGEST_BATCH).cloned().collect();
                self.send(&rsync, &batch)?;
                for path in &batch {
                    pending.remove(path);
                }
            }
            if self.stand.same().map_err(TransferError::from)? {
                self.teller.state("in-sync", None);
            }
            pending.extend(changes(&mut watcher).map_err(SessionError::Watch)?);
            if watcher.lost().is_some() {
                watcher = self.watch().map_err(SessionError::Watch)?;
                pending.extend(self.everything()?);
            }
        }
    }

    fn watch(&self) -> Result<Watcher<Memory, NotHidden>, WatcherError> {
        let root = File::open(self.tree.real())?;
        let root = Root::Held(look::open_directory(OwnedFd::from(root), b".")?);
        let options = Options { alone: false, hash_limit: 0, ..Options::default() };
        Watcher::begin(WatchSetting { root, store: Memory::default(), rules: NotHidden, options })
    }

    /// Everything that is here, and everything that is known to be there.
    fn everything(&mut self) -> Result<Vec<EventPath>, SessionError> {
        let known = self.book.entries(None).map_err(TransferError::from)?;
        let mut all: Vec<EventPath> = known.into_iter().map(|(path, _)| path).collect();
        let mut directories: Vec<Option<EventPath>> = vec![None];
        while let Some(directory) = directories.pop() {
            // One that has gone meanwhile is the watcher's affair.
            let Ok(names) = self.tree.names(directory.as_ref()) else { continue };
            for name in names {
                let path = match &directory {
                    Some(directory) => [directory.as_bytes(), b"/", &name].concat(),
                    None => name,
                };
                let Ok(path) = EventPath::new(path) else { continue };
                if self.look(&path)?.is_some_and(|stat| kind(&stat) == SFlag::S_IFDIR) {
                    directories.push(Some(path.clone()));
                }
                all.push(path);
            }
        }
        Ok(all)
    }

    fn look(&self, path: &EventPath) -> Result<Option<FileStat>, TransferError> {
        Ok(self.tree.look(path)?)
    }

    /// Sends what of `paths` is not known there, and removes there what is not here any more.
    fn send(&mut self, rsync: &Rsync<'_>, paths: &[EventPath]) -> Result<(), TransferError> {
        let mut send: Vec<(&EventPath, Known)> = Vec::new();
        let mut gone: BTreeSet<EventPath> = BTreeSet::new();
        for path in paths {
            let known = self.book.known(path)?;
            match self.look(path)? {
                None => {
                    gone.extend(self.book.below(path)?);
                    gone.extend(known.map(|_| path.clone()));
                }
                Some(stat) if known.is_some_and(|known| known.still(&stat)) => {}
                Some(stat) if !sendable(&stat) => {}
                Some(stat) if self.is_fetched(path) => self.book.same(path, Known::of(&stat))?,
                Some(stat) => send.push((path, Known::of(&stat))),
            }
        }
        if send.is_empty() && gone.is_empty() {
            return self.book.write(None).map_err(TransferError::from);
        }
        self.stand.behind((send.len() + gone.len()) as u64)?;
        self.remove_there(&gone)?;
        if !send.is_empty() {
            let only: Vec<&EventPath> = send.iter().map(|(path, _)| *path).collect();
            let teller = &self.teller;
            rsync.send(self.tree.real(), false, Some(&only), &mut |item| {
                if let Item::There(there) = item
                    && there.change == Change::Content
                    && there.kind == SFlag::S_IFREG
                {
                    teller.tell(there.path.as_bytes(), Deed::Sent { bytes: there.size });
                }
                Ok(())
            })?;
        }
        for (path, known) in send {
            self.sent(path, known)?;
        }
        self.book.write(None).map_err(TransferError::from)
    }

    /// What was sent is known there, also when it is another by now, or gone: that is one more change.
    fn sent(&mut self, path: &EventPath, known: Known) -> Result<(), TransferError> {
        if known.kind == SFlag::S_IFDIR {
            return Ok(self.book.same(path, known)?);
        }
        let still = self.look(path)?.is_some_and(|stat| known.still(&stat));
        let file = self.tree.read(path).filter(|_| still);
        let sum = file.and_then(|file| Sum::of_file(&file).ok()).map(|(sum, _)| sum);
        self.book.sent(path, &Arrived { known, sum });
        Ok(())
    }

    /// Whether this pod has fetched it from there itself.
    fn is_fetched(&self, path: &EventPath) -> bool {
        self.tree.read(path).and_then(|file| origin::of(&file)).is_some_and(|origin| origin == self.who)
    }

    /// Removes there what is gone here, the deepest first.
    fn remove_there(&mut self, gone: &BTreeSet<EventPath>) -> Result<(), TransferError> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut sftp = self.sftp()?;
        for path in gone.iter().rev() {
            let wire = [&self.workspace.found.wire_path(), &b"/"[..], path.as_bytes()].concat();
            let directory = self.book.known(path)?.is_some_and(|known| known.kind == SFlag::S_IFDIR);
            let removed = if directory { sftp.remove_dir(&wire) } else { sftp.remove(&wire) };
            match removed {
                Ok(()) => self.teller.tell(path.as_bytes(), Deed::Removed),
                Err(error) if error.is_missing() => {}
                Err(error) if error.is_final() => return Err(error.into()),
                // Something is in it that somebody else has put there, or the grant does not allow it.
                Err(error) => self.teller.tell(path.as_bytes(), Deed::Skipped { why: &error.to_string() }),
            }
            self.book.removed_there(path);
        }
        Ok(())
    }

    fn sftp(&self) -> Result<Sftp, TransferError> {
        self.workspace.sftp().map_err(|failure| SftpError::Lost(failure.message.into_bytes()).into())
    }
}

/// Whether it is something that can be sent.
fn sendable(stat: &FileStat) -> bool {
    matches!(kind(stat), SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK)
}

/// Waits for changes, and answers with the paths that they are about.
fn changes(watcher: &mut Watcher<Memory, NotHidden>) -> Result<Vec<EventPath>, WatcherError> {
    loop {
        let now = Instant::now();
        watcher.read(now)?;
        let mut paths = Vec::new();
        for change in watcher.settle(now)? {
            paths.extend(change.from);
            paths.push(change.path);
        }
        if !paths.is_empty() || watcher.lost().is_some() {
            return Ok(paths);
        }
        let wait = watcher.next().map(|next| next.saturating_duration_since(Instant::now()));
        let wait = wait.map(|wait| Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let fd = watcher.fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}
