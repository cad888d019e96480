//! Two extensions of our own: a small file in one request, and a file's state to the nanosecond.
//!
//! A client that follows a workspace needs a file that has just changed within one round trip, and must know that what it
//! got is one content and no mixture of two. Times in version 3 are whole seconds; these are not, and with them comes what
//! this host's clock said before anything was read. A file whose last change is older than that was not changed meanwhile.
//!
//! | request | its fields | the reply |
//! |---|---|---|
//! | `fetch@akeys` | path, `u32` limit | clock, content, state |
//! | `state@akeys` | handle | clock, state |
//!
//! Clock and times are 64 bits of nanoseconds since 1970, the times with a sign. The content is a string: of a regular file at most as many bytes from its
//! beginning as the limit says, of a symlink what it says, of anything else nothing. No symlink is followed at the end of
//! the path. State is `u32` `st_mode`; then as `u64` links, size, time of the last modification, time of the last change of any
//! kind, device, inode.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::stat::SFlag;

use super::audit::{Deed, Outcome};
use super::handles::FileRecord;
use super::replies::Replies;
use super::session::{Request, Session};
use super::status::Failure;
use super::wire::{MOST_DATA, packet};
use crate::beneath::Last;
use crate::vfs::{OpenHow, Precise, VirtualPath};

impl Session<'_> {
    /// `fetch@akeys`
    pub(super) fn fetch(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let limit = usize::try_from(request.fields.u32()?).map_or(MOST_DATA, |limit| limit.min(MOST_DATA));
        let clock = now();
        let view = self.vfs.view(&path, Last::Keep);
        let view = self.record_refusal(Deed::Look, &path, view)?;
        replies.begin(packet::EXTENDED_REPLY, request.id);
        replies.u64(clock);
        let state = match SFlag::from_bits_truncate(view.mode() & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => self.content(&path, limit, replies),
            SFlag::S_IFLNK => self.link(&path, replies),
            _ => {
                replies.string(b"");
                let state = self.vfs.precise(&path);
                self.record_refusal(Deed::Look, &path, state).map_err(Failure::from)
            }
        };
        let state = state.inspect_err(|_| replies.cancel())?;
        replies.state(&state);
        replies.end();
        Ok(())
    }

    /// `state@akeys`
    pub(super) fn state(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let clock = now();
        let state = self.handles.file(request.fields.string()?)?.file.precise()?;
        replies.begin(packet::EXTENDED_REPLY, request.id);
        replies.u64(clock);
        replies.state(&state);
        replies.end();
        Ok(())
    }

    /// The beginning of a regular file, and its state afterwards.
    fn content(
        &mut self,
        path: &VirtualPath,
        limit: usize,
        replies: &mut Replies,
    ) -> Result<Precise, Failure> {
        let opened = self.vfs.open(path, &OpenHow { read: true, ..OpenHow::default() });
        let file = self.record_refusal(Deed::Read, path, opened)?;
        let mut read = 0;
        replies.string_from(limit, |buffer| {
            // A file may be read in pieces; one that grows meanwhile is caught by its state.
            while read < buffer.len() {
                match file.read(buffer.get_mut(read..).unwrap_or_default(), read as u64)? {
                    0 => break,
                    more => read += more,
                }
            }
            Ok(read)
        })?;
        let state = file.precise()?;
        if limit > 0 {
            self.summary.files_read += 1;
            self.summary.bytes_read += read as u64;
            let record = FileRecord {
                path: path.clone(),
                reads: true,
                writes: false,
                bytes_read: read as u64,
                bytes_written: 0,
                sums: [file.sum_read(), None],
                damaged: None,
            };
            self.record_file(&record, Outcome::Done);
        }
        Ok(state)
    }

    fn link(&mut self, path: &VirtualPath, replies: &mut Replies) -> Result<Precise, Failure> {
        let target = self.vfs.read_link(path);
        let target = self.record_refusal(Deed::Look, path, target)?;
        replies.string(target.as_encoded_bytes());
        Ok(self.vfs.precise(path)?)
    }
}

impl Replies {
    fn state(&mut self, state: &Precise) {
        self.u32(state.mode);
        for field in [
            state.links,
            state.size,
            state.modified.cast_unsigned(),
            state.changed.cast_unsigned(),
            state.identity.0,
            state.identity.1,
        ] {
            self.u64(field);
        }
    }
}

/// This host's clock, from which the times of its files come.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
