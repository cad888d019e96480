//! Requests on open files: open, read, write, attributes, close; sections 6.3, 6.4 and 6.8 of the draft.

use nix::errno::Errno;

use super::audit::{Deed, Outcome};
use super::flow;
use super::handles::{FileRecord, Handle, HeldFile};
use super::replies::Replies;
use super::session::{Request, Session};
use super::status::Failure;
use super::wire::{MOST_DATA, flag, packet};
use crate::vfs::OpenHow;

impl Session<'_> {
    /// `SSH_FXP_OPEN`; without permissions a new file gets 0666, less the umask (sftp-server.c `process_open`).
    pub(super) fn open(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let flags = request.fields.u32()?;
        let changes = request.fields.changes()?;
        self.handles.room(false)?;
        let has = |bit| flags & bit != 0;
        let how = OpenHow {
            read: has(flag::READ),
            write: has(flag::WRITE),
            append: has(flag::APPEND),
            create: has(flag::CREAT),
            exclusive: has(flag::EXCL),
            truncate: has(flag::TRUNC),
            mode: changes.mode.unwrap_or(0o666),
        };
        let writes = how.write || how.create || how.truncate;
        let reads = how.read || !writes;
        let opened = self.vfs.open(&path, &how);
        let file = self.record_refusal(if writes { Deed::Write } else { Deed::Read }, &path, opened)?;
        self.summary.files_read += u64::from(reads);
        self.summary.files_written += u64::from(writes);
        let record = FileRecord {
            path,
            reads,
            writes,
            bytes_read: 0,
            bytes_written: 0,
            sums: [None; 2],
            damaged: None,
        };
        let handle = self.handles.insert(Handle::File(Box::new(HeldFile { file, record })));
        replies.handle(request.id, &handle);
        Ok(())
    }

    /// `SSH_FXP_CLOSE`, of a file or a directory.
    pub(super) fn close(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        if let Handle::File(held) = self.handles.remove(request.fields.string()?)? {
            let HeldFile { file, mut record } = *held;
            if record.damaged.is_none() {
                record.sums = [
                    file.sum_read().filter(|_| record.reads),
                    if record.writes { file.sum_written() } else { None },
                ];
            }
            let closed = match record.damaged {
                // What is not all that the client sent does not become visible.
                Some(fault) if file.is_upload() => Err(fault),
                _ => file.close(),
            };
            self.record_file(&record, closed.err().map_or(Outcome::Done, Outcome::Failed));
            closed?;
        }
        replies.status(request.id, Ok(()));
        Ok(())
    }

    /// `SSH_FXP_READ`; a request for too much is answered with less (sftp-server.c `process_read`).
    pub(super) fn read(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let handle = request.fields.string()?;
        let offset = request.fields.u64()?;
        let length = request.fields.u32()?;
        let held = self.handles.file(handle)?;
        let most = usize::try_from(length).map_or(MOST_DATA, |length| length.min(MOST_DATA));
        replies.begin(packet::DATA, request.id);
        let read = replies.string_from(most, |buffer| held.file.read(buffer, offset));
        // Nothing is the end, unless nothing was asked for.
        let ended = matches!(read, Ok(0)) && most > 0;
        if ended || read.is_err() {
            replies.cancel();
        }
        match read? {
            _ if ended => Err(Failure::Eof),
            read => {
                replies.end();
                held.record.bytes_read += read as u64;
                self.summary.bytes_read += read as u64;
                Ok(())
            }
        }
    }

    /// `SSH_FXP_WRITE`
    pub(super) fn write(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let handle = request.fields.string()?;
        let offset = request.fields.u64()?;
        let data = request.fields.string()?;
        let held = self.handles.file(handle)?;
        if let Err(fault) = held.file.write(data, offset) {
            // A handle that was never opened for writing is not damaged by the attempt.
            if held.record.writes {
                held.record.damaged.get_or_insert(fault);
            }
            return Err(fault.into());
        }
        held.record.bytes_written += data.len() as u64;
        self.summary.bytes_written += data.len() as u64;
        replies.status(request.id, Ok(()));
        Ok(())
    }

    /// `SSH_FXP_FSTAT`
    pub(super) fn fstat(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let view = self.handles.file(request.fields.string()?)?.file.view()?;
        replies.view(request.id, &view);
        Ok(())
    }

    /// `SSH_FXP_FSETSTAT`
    pub(super) fn fsetstat(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let handle = request.fields.string()?;
        let changes = request.fields.changes()?;
        let held = self.handles.file(handle)?;
        let (set, writes) = (held.file.set(&changes), held.record.writes);
        if !writes || set.is_err() {
            let path = held.record.path.clone();
            // What is written has a record of its own, when it is closed.
            if writes {
                self.record_refusal(Deed::SetAttributes, &path, set)
            } else {
                self.record(Deed::SetAttributes, &path, None, set)
            }?;
        }
        replies.status(request.id, Ok(()));
        Ok(())
    }

    /// `fsync@openssh.com`
    pub(super) fn fsync(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        self.handles.file(request.fields.string()?)?.file.sync()?;
        replies.status(request.id, Ok(()));
        Ok(())
    }

    /// `fstatvfs@openssh.com`
    pub(super) fn fstatvfs(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let file_system = self.handles.file(request.fields.string()?)?.file.file_system()?;
        replies.file_system(request.id, &file_system);
        Ok(())
    }

    /// `copy-data`: from one open file to another, without the content travelling.
    pub(super) fn copy_data(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let from = request.fields.string()?;
        let (offset, length) = (request.fields.u64()?, request.fields.u64()?);
        let to = request.fields.string()?;
        let to_offset = request.fields.u64()?;
        let [source, target] = self.handles.two_files(from, to)?;
        // A copy may take long; one that nobody waits for any more is not finished.
        let wanted = || if flow::is_closed(&self.client) { Err(Errno::EPIPE.into()) } else { Ok(()) };
        let copied = source.file.copy_to(offset, length, (&target.file, to_offset), wanted);
        if let Err(fault) = copied {
            let record = &mut self.handles.file(to)?.record;
            if record.writes {
                record.damaged.get_or_insert(fault);
            }
        }
        let copied = copied?;
        self.handles.file(from)?.record.bytes_read += copied;
        self.handles.file(to)?.record.bytes_written += copied;
        self.summary.bytes_read += copied;
        self.summary.bytes_written += copied;
        replies.status(request.id, Ok(()));
        Ok(())
    }
}
