//! What is kept of a workspace: its index and its journal, which always agree.

use std::io;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use uuid::Uuid;

use super::status::Shared;
use crate::awatch::index::{Index, State};
use crate::awatch::journal::Journal;
use crate::awatch::journal::head::Head;
use crate::awatch::journal::lock::{self, Held};
use crate::awatch::names::Names;
use crate::awatch::record::Identity;
use crate::awatch::watcher::known::StoreError;
use crate::awatch::watcher::look;
use crate::awatch::watcher::{Change, Resume};
use crate::common::private::{self, PrivateError};
use crate::event::{Cursor, Message};

/// Written in place of the system's start once everything is on the disk.
const ON_DISK: &str = "on disk";

/// Why what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// Another daemon has it.
    #[error("another awatch watches it already")]
    Taken,
    /// The index.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The journal.
    #[error("the journal: {0}")]
    Journal(io::Error),
    /// The directory is empty, is not the one of before, and that one was not empty.
    #[error("it is empty, and not the directory that it was: what belongs there may not be mounted")]
    NotMounted,
    /// A private file or directory.
    #[error("{0}")]
    Private(#[from] PrivateError),
}

/// The journal of an open workspace, and what the index says beyond its names.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    journal: Journal,
    state: State,
    names: Names,
    identity: Identity,
    /// Whether there are events in the outbox that the journal has not taken.
    behind: bool,
    _lock: Held,
}

/// Since when the system is up: a name that it has made up then.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Kept {
    /// Opens what is kept in `dir`, for the workspace whose root is `root`, or begins anew what cannot be gone on with. `empty`:
    /// nothing is in the root.
    pub fn open(
        dir: &Path,
        root: look::Identity,
        empty: bool,
        identity: Identity,
        retention: u64,
    ) -> Result<(Self, Index), KeptError> {
        let journal_dir = dir.join("journal");
        private::directory(dir)?;
        private::directory(&journal_dir)?;
        let lock = lock::take(&journal_dir).map_err(KeptError::Journal)?.ok_or(KeptError::Taken)?;
        let mut why = "the workspace is watched for the first time".to_owned();
        let (index, old) = match open_index(dir, root.device) {
            Err(error) if error.lost => {
                set_aside(dir).map_err(KeptError::Journal)?;
                why = error.what;
                open_index(dir, root.device)?
            }
            opened => opened?,
        };
        let moved = |state: &State| (state.root.inode, state.root.born) != (root.inode, root.born);
        if empty && old.as_ref().is_some_and(moved) && !index.is_empty()? {
            return Err(KeptError::NotMounted);
        }
        let mut names = Names::default();
        let mut known = None;
        let place = place(&journal_dir).map_err(KeptError::Journal)?;
        if let Some(state) = &old {
            match go_on(place, &journal_dir, &index, state, retention)? {
                Ok(journal) => known = Some(journal),
                Err(reason) => why = reason,
            }
        }
        let state = State { root, boot: boot(), place, ..old.clone().unwrap_or_else(|| fresh(root)) };
        let (journal, state) = if let Some(journal) = known {
            (journal, state)
        } else {
            let id = names.give();
            let journal = Journal::open(&journal_dir, id, retention).map_err(KeptError::Journal)?;
            index.posted()?;
            (journal, State { journal: id, sequence: 0, ..state })
        };
        index.set_state(&state)?;
        index.commit()?;
        let head = Head {
            journal: state.journal,
            why: Head::read(&journal_dir)
                .ok()
                .filter(|head| head.journal == state.journal)
                .map_or(why, |h| h.why),
            workspace: identity.workspace.clone(),
            author: identity.author.clone(),
            project: identity.project.clone(),
            device: root.device,
            inode: root.inode,
        };
        head.write(&journal_dir)?;
        let dir = dir.to_owned();
        Ok((Self { dir, journal, state, names, identity, behind: false, _lock: lock }, index))
    }

    /// What a watcher goes on from; `None` where no name is known.
    pub fn resume(&self) -> Option<Resume> {
        let State { begun, seen, dirs, .. } = self.state;
        (begun != 0).then_some(Resume { begun, seen, dirs })
    }

    /// Where the journal is.
    pub fn cursor(&self) -> Cursor {
        Cursor { journal: self.state.journal, sequence: self.state.sequence }
    }

    /// The directory of the journal.
    pub fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Records changes: in the index with their events, as one step, and then in the journal. Should this fail, nothing has happened but
    /// to what the watcher knows, and the watcher has to begin anew.
    pub fn record(
        &mut self,
        index: &Index,
        changes: Vec<Change>,
        memory: Resume,
        status: &Shared,
    ) -> Result<(), KeptError> {
        if !self.behind {
            index.posted()?;
        }
        let mut lines = Vec::with_capacity(changes.len());
        let mut state = self.state.clone();
        for change in changes {
            state.sequence += 1;
            let event = self.identity.event(change, self.names.give());
            status.event(&event);
            let cursor = Cursor { journal: state.journal, sequence: state.sequence };
            let message = Message::Event { cursor, event: Box::new(event) };
            let line = serde_json::to_vec(&message).map_err(|error| KeptError::Journal(error.into()))?;
            index.post(state.sequence, &line)?;
            lines.push((state.sequence, line));
        }
        index.set_state(&State {
            begun: memory.begun,
            seen: memory.seen,
            dirs: memory.dirs,
            ..state.clone()
        })?;
        index.commit()?;
        self.state = state;
        self.remember(memory);
        if self.behind {
            return self.catch_up(index);
        }
        self.journal.append(&lines).map_err(|error| {
            self.behind = true;
            KeptError::Journal(error)
        })
    }

    fn remember(&mut self, Resume { begun, seen, dirs }: Resume) {
        (self.state.begun, self.state.seen, self.state.dirs) = (begun, seen, dirs);
    }

    /// Takes in what was learnt without a change.
    pub fn learnt(&self, index: &Index) -> Result<(), KeptError> {
        Ok(index.commit()?)
    }

    /// Whether the journal has not taken all events. They are safe in the index.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Puts what waits in the outbox into the journal.
    pub fn catch_up(&mut self, index: &Index) -> Result<(), KeptError> {
        self.behind = true;
        self.journal.append(&index.outbox()?).map_err(KeptError::Journal)?;
        self.behind = false;
        Ok(())
    }

    /// Makes all of it survive a power cut, and says so in the index.
    pub fn close(mut self, index: &Index, memory: Resume) -> Result<(), KeptError> {
        self.remember(memory);
        self.journal.sync().map_err(KeptError::Journal)?;
        ON_DISK.clone_into(&mut self.state.boot);
        index.set_state(&self.state)?;
        index.commit()?;
        index.sync().map_err(KeptError::Store)
    }
}

fn open_index(dir: &Path, device: u64) -> Result<(Index, Option<State>), StoreError> {
    let index = Index::open(&dir.join("index.db"), device)?;
    let state = index.state()?;
    Ok((index, state))
}

/// Keeps an index that cannot be read, for whoever wants to know why.
fn set_aside(dir: &Path) -> io::Result<()> {
    for end in ["", "-wal", "-shm"] {
        match std::fs::rename(dir.join(format!("index.db{end}")), dir.join(format!("damaged.db{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn fresh(root: look::Identity) -> State {
    State {
        journal: Uuid::nil(),
        sequence: 0,
        begun: 0,
        seen: 0,
        dirs: 0,
        root,
        boot: String::new(),
        place: (0, 0),
    }
}

/// Which directory it is.
fn place(dir: &Path) -> io::Result<(u64, i64)> {
    let found = look::open(std::fs::File::open(dir)?)?.identity;
    Ok((found.inode, found.born))
}

/// Opens the journal that the index is of, and gives it what it has not got; or says why it cannot be gone on with.
fn go_on(
    place: (u64, i64),
    dir: &Path,
    index: &Index,
    state: &State,
    retention: u64,
) -> Result<Result<Journal, String>, KeptError> {
    if state.boot != ON_DISK && state.boot != boot() {
        // Numbers may have been given that nothing is left of.
        return Ok(Err("the system stopped before everything was on the disk".to_owned()));
    }
    if state.place != place {
        // What is in a copy may be older than what a reader has seen.
        return Ok(Err("what was kept was put back from a copy".to_owned()));
    }
    let mut journal = match Journal::open(dir, state.journal, retention) {
        Ok(journal) => journal,
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            return Ok(Err(format!("the journal was damaged: {}", Escaped(error.to_string().as_bytes()))));
        }
        Err(error) => return Err(KeptError::Journal(error)),
    };
    journal.append(&index.outbox()?).map_err(KeptError::Journal)?;
    if journal.last() == state.sequence {
        Ok(Ok(journal))
    } else {
        Ok(Err("the journal was lost".to_owned()))
    }
}
