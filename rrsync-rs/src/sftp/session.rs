//! One client's session: each request to its handler, each failure to a status.

use std::os::fd::BorrowedFd;

use super::audit::{Deed, FileEvent, Outcome, Summary};
use super::handles::{FileRecord, Handle, Handles};
use super::replies::Replies;
use super::status::Failure;
use super::wire::{Fields, packet};
use super::{ServeError, extended};
use crate::vfs::{Fault, Vfs, VirtualPath};

/// The version of the protocol that is spoken, whichever the client offers.
const VERSION: u32 = 3;

/// What a session knows between two requests.
pub(super) struct Session<'a> {
    pub(super) vfs: &'a Vfs,
    pub(super) handles: Handles,
    pub(super) summary: Summary,
    /// Where the replies go.
    pub(super) client: BorrowedFd<'a>,
    audit: &'a mut dyn FnMut(&FileEvent<'_>),
    initialised: bool,
}

/// A request's number and the fields behind it.
pub(super) struct Request<'p> {
    pub(super) id: u32,
    pub(super) fields: Fields<'p>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        vfs: &'a Vfs,
        client: BorrowedFd<'a>,
        audit: &'a mut dyn FnMut(&FileEvent<'_>),
    ) -> Self {
        let (handles, summary) = (Handles::default(), Summary::default());
        Self { vfs, handles, summary, client, audit, initialised: false }
    }

    /// Answers one packet.
    ///
    /// # Errors
    /// Only for what cannot be answered: a packet without a number, or a session that was not opened.
    pub(super) fn answer(&mut self, packet: &[u8], replies: &mut Replies) -> Result<(), ServeError> {
        let mut fields = Fields::new(packet);
        let (Ok(kind), Ok(id)) = (fields.u8(), fields.u32()) else { return Err(ServeError::TooShort) };
        if kind == packet::INIT {
            self.initialised = true;
            // Where other requests have their number, this packet has the client's version.
            replies.begin(packet::VERSION, VERSION);
            extended::offer(replies);
            replies.end();
            return Ok(());
        }
        if !self.initialised {
            return Err(ServeError::NotInitialised(kind));
        }
        self.summary.requests += 1;
        if let Err(failure) = self.dispatch(kind, Request { id, fields }, replies) {
            if let Failure::Fault(fault) = failure
                && fault.is_refusal()
            {
                self.summary.refused += 1;
            }
            replies.status(id, Err(failure));
        }
        Ok(())
    }

    fn dispatch(&mut self, kind: u8, request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        match kind {
            packet::OPEN => self.open(request, replies),
            packet::CLOSE => self.close(request, replies),
            packet::READ => self.read(request, replies),
            packet::WRITE => self.write(request, replies),
            packet::LSTAT => self.stat(request, replies, crate::beneath::Last::Keep),
            packet::STAT => self.stat(request, replies, crate::beneath::Last::Follow),
            packet::FSTAT => self.fstat(request, replies),
            packet::SETSTAT => self.setstat(request, replies, Vfs::set),
            packet::FSETSTAT => self.fsetstat(request, replies),
            packet::OPENDIR => self.opendir(request, replies),
            packet::READDIR => self.readdir(request, replies),
            packet::REMOVE => self.remove(request, replies),
            packet::MKDIR => self.mkdir(request, replies),
            packet::RMDIR => self.rmdir(request, replies),
            packet::REALPATH => self.realpath(request, replies),
            packet::RENAME => self.rename(request, replies, false),
            packet::READLINK => self.readlink(request, replies),
            packet::SYMLINK => self.symlink(request, replies),
            packet::EXTENDED => self.extended(request, replies),
            _ => Err(Failure::Unsupported),
        }
    }

    /// Records a deed, and passes its result on.
    pub(super) fn record<T>(
        &mut self,
        deed: Deed,
        path: &VirtualPath,
        to: Option<&[u8]>,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outcome = result.as_ref().err().map_or(Outcome::Done, |fault| Outcome::Failed(*fault));
        (self.audit)(&FileEvent { deed, path: path.as_bytes(), to, bytes: 0, sha256: None, outcome });
        result
    }

    /// As [`Session::record`], but only what was refused.
    pub(super) fn record_refusal<T>(
        &mut self,
        deed: Deed,
        path: &VirtualPath,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        match &result {
            Err(fault) if fault.is_refusal() => self.record(deed, path, None, result),
            _ => result,
        }
    }

    /// Records what was done with a file that is no longer open.
    pub(super) fn record_file(&mut self, file: &FileRecord, outcome: Outcome) {
        let outcome = file.damaged.map_or(outcome, Outcome::Failed);
        let [sum_read, sum_written] = file.sums;
        let mut record = |deed, bytes, sha256| {
            (self.audit)(&FileEvent { deed, path: file.path.as_bytes(), to: None, bytes, sha256, outcome });
        };
        if file.reads {
            record(Deed::Read, file.bytes_read, sum_read);
        }
        if file.writes {
            record(Deed::Write, file.bytes_written, sum_written);
        }
    }

    /// The session is over: what is still open is recorded as unfinished, and dropped.
    pub(super) fn finish(mut self) -> Summary {
        for handle in self.handles.drain() {
            if let Handle::File(held) = handle {
                self.record_file(&held.record, Outcome::Unfinished);
            }
        }
        self.summary
    }
}
