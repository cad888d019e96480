//! Requests on paths: attributes, making, removing, renaming, links; sections 6.5, 6.6 and 6.9 to 6.11 of the draft.

use super::audit::Deed;
use super::replies::Replies;
use super::session::{Request, Session};
use super::status::Failure;
use crate::beneath::Last;
use crate::vfs::{Changes, Fault, Vfs, VirtualPath};

impl Session<'_> {
    /// `SSH_FXP_STAT` and `SSH_FXP_LSTAT`
    pub(super) fn stat(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
        last: Last,
    ) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let view = self.vfs.view(&path, last);
        replies.view(request.id, &self.record_refusal(Deed::Look, &path, view)?);
        Ok(())
    }

    /// `SSH_FXP_SETSTAT`, and `lsetstat@openssh.com` for a symlink itself
    pub(super) fn setstat(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
        set: fn(&Vfs, &VirtualPath, &Changes) -> Result<(), Fault>,
    ) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let changes = request.fields.changes()?;
        let result = set(self.vfs, &path, &changes);
        self.done(request.id, replies, Deed::SetAttributes, &path, None, result)
    }

    /// `SSH_FXP_REMOVE`
    pub(super) fn remove(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let result = self.vfs.remove(&path);
        self.done(request.id, replies, Deed::Remove, &path, None, result)
    }

    /// `SSH_FXP_RMDIR`
    pub(super) fn rmdir(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let result = self.vfs.remove_dir(&path);
        self.done(request.id, replies, Deed::RemoveDir, &path, None, result)
    }

    /// `SSH_FXP_MKDIR`; without permissions a directory gets 0777, less the umask (sftp-server.c `process_mkdir`).
    pub(super) fn mkdir(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let mode = request.fields.changes()?.mode.unwrap_or(0o777);
        let result = self.vfs.make_dir(&path, mode);
        self.done(request.id, replies, Deed::MakeDir, &path, None, result)
    }

    /// `SSH_FXP_RENAME`, which never replaces, and `posix-rename@openssh.com`, which does
    pub(super) fn rename(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
        replace: bool,
    ) -> Result<(), Failure> {
        let (from, to) = (request.fields.path()?, request.fields.path()?);
        let result = self.vfs.rename(&from, &to, replace);
        self.done(request.id, replies, Deed::Rename, &from, Some(to.as_bytes()), result)
    }

    /// `hardlink@openssh.com`
    pub(super) fn hardlink(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let (from, to) = (request.fields.path()?, request.fields.path()?);
        let result = self.vfs.hard_link(&from, &to);
        self.done(request.id, replies, Deed::HardLink, &from, Some(to.as_bytes()), result)
    }

    /// `SSH_FXP_SYMLINK`: the target comes first, as OpenSSH has it, against the draft (PROTOCOL, section 4.1).
    pub(super) fn symlink(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let target = request.fields.string()?;
        let path = request.fields.path()?;
        let result = self.vfs.symlink(target, &path);
        self.done(request.id, replies, Deed::Symlink, &path, Some(target), result)
    }

    /// `SSH_FXP_READLINK`
    pub(super) fn readlink(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let target = self.vfs.read_link(&path);
        let target = self.record_refusal(Deed::Look, &path, target)?;
        replies.name(request.id, target.as_encoded_bytes());
        Ok(())
    }

    /// `SSH_FXP_REALPATH`
    pub(super) fn realpath(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let path = request.fields.path()?;
        self.resolve(request.id, &path, replies)
    }

    /// Answers with the path that `path` resolves to.
    pub(super) fn resolve(
        &mut self,
        id: u32,
        path: &VirtualPath,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        let real = self.vfs.real_path(path);
        replies.name(id, self.record_refusal(Deed::Look, path, real)?.as_bytes());
        Ok(())
    }

    /// `statvfs@openssh.com`
    pub(super) fn statvfs(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.path()?;
        let file_system = self.vfs.file_system(&path);
        replies.file_system(request.id, &self.record_refusal(Deed::Look, &path, file_system)?);
        Ok(())
    }

    /// Records a change of names or attributes, and answers with how it went.
    fn done(
        &mut self,
        id: u32,
        replies: &mut Replies,
        deed: Deed,
        path: &VirtualPath,
        to: Option<&[u8]>,
        result: Result<(), Fault>,
    ) -> Result<(), Failure> {
        self.record(deed, path, to, result)?;
        replies.status(id, Ok(()));
        Ok(())
    }
}
