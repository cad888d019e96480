//! Listing directories; section 6.7 of the draft.

use std::time::{SystemTime, UNIX_EPOCH};

use super::audit::Deed;
use super::handles::Handle;
use super::longname;
use super::replies::Replies;
use super::session::{Request, Session};
use super::status::Failure;
use super::wire::packet;

/// How long a reply with names may get before it is sent: every client that has been tried has room for it, sshfs with
/// 128 KiB the least. OpenSSH stops at 100 entries, which over a slow link takes six times as long.
const BATCH: usize = 96 * 1024;

impl Session<'_> {
    /// `SSH_FXP_OPENDIR`
    pub(super) fn opendir(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        self.handles.room(true)?;
        let opened = self.vfs.list(&path);
        let listing = self.record_refusal(Deed::Look, &path, opened)?;
        let handle = self.handles.insert(Handle::Directory(Box::new(listing)));
        replies.handle(request.id, &handle);
        Ok(())
    }

    /// `SSH_FXP_READDIR`: as many entries as fit in a batch; end of file when none is left.
    pub(super) fn readdir(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let listing = self.handles.directory(request.fields.string()?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        replies.begin(packet::NAME, request.id);
        let count_at = replies.position();
        replies.u32(0);
        let mut count = 0;
        let mut long = Vec::with_capacity(512);
        while replies.length() < BATCH {
            match listing.next() {
                Some(Ok(entry)) => {
                    replies.string(entry.name.to_bytes());
                    longname::write(&mut long, entry.name.to_bytes(), &entry.view, now);
                    replies.string(&long);
                    replies.attributes(&entry.view);
                    count += 1;
                }
                // What has been read before the error is sent; the next request meets it again.
                Some(Err(fault)) if count == 0 => {
                    replies.cancel();
                    return Err(fault.into());
                }
                _ => break,
            }
        }
        if count == 0 {
            replies.cancel();
            return Err(Failure::Eof);
        }
        replies.patch(count_at, count);
        replies.end();
        Ok(())
    }
}
