//! `scp -f`: what the operands name is sent to the client.

use std::os::fd::AsFd;

use super::expand::expand;
use super::{Copy, DEEPEST, ServeError};
use crate::beneath::Last;
use crate::sftp::{Deed, Outcome};
use crate::vfs::{Fault, OpenFile, OpenHow, View, VirtualPath};

/// The permission bits that a line has, as in scp.c `FILEMODEMASK`.
const MODE: u32 = 0o6777;

/// How much is read at once.
const PIECE: usize = 1 << 16;

impl<I: AsFd, O: AsFd> Copy<'_, I, O> {
    pub(super) fn source(&mut self) -> Result<(), ServeError> {
        // The client says when it is ready.
        if !self.peer.answer()? {
            return Err(ServeError::GivenUp);
        }
        let Ok(operands) = expand(self.vfs, &self.command.operands) else {
            self.failed = true;
            return self.peer.say(2, "scp: the patterns match too much");
        };
        for operand in operands {
            match VirtualPath::parse(&operand) {
                Ok(path) => self.give(&path, &operand, &mut Vec::new())?,
                Err(fault) => self.complain(&operand, fault)?,
            }
        }
        Ok(())
    }

    /// Sends what `path` names, which the client knows as `shown`; `within` are the directories that it is in.
    fn give(
        &mut self,
        path: &VirtualPath,
        shown: &[u8],
        within: &mut Vec<VirtualPath>,
    ) -> Result<(), ServeError> {
        let view = match self.vfs.view(path, Last::Follow) {
            Ok(view) => view,
            Err(fault) => return self.refuse(path, shown, fault),
        };
        if view.is_dir() && !self.command.recursive {
            return self.complain(shown, "not a regular file");
        }
        let Some(name) = path.name() else {
            return self.complain(shown, "name a workspace");
        };
        if name.contains(&b'\n') {
            return self.complain(shown, "the name has a line break, which this protocol cannot carry");
        }
        if view.is_dir() {
            self.give_directory(path, &view, shown, within)
        } else {
            self.give_file(path, shown)
        }
    }

    fn give_directory(
        &mut self,
        path: &VirtualPath,
        view: &View,
        shown: &[u8],
        within: &mut Vec<VirtualPath>,
    ) -> Result<(), ServeError> {
        let opened = self.vfs.real_path(path).and_then(|real| Ok((real, self.vfs.list(path)?)));
        let (real, entries) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.refuse(path, shown, fault),
        };
        if within.contains(&real) || within.len() >= DEEPEST {
            return self.complain(shown, "the directories are nested too deeply, or lead back to themselves");
        }
        if !(self.send_times(view)? && self.send_line(b'D', view.mode(), 0, path)?) {
            return Ok(());
        }
        within.push(real);
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(fault) => {
                    self.complain(shown, fault)?;
                    break;
                }
            };
            let name = entry.name.to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            match path.join(name) {
                Ok(path) => self.give(&path, path.as_bytes(), within)?,
                Err(fault) => self.complain(name, fault)?,
            }
        }
        within.pop();
        self.peer.send(b"E\n")?;
        self.failed |= !self.peer.answer()?;
        Ok(())
    }

    fn give_file(&mut self, path: &VirtualPath, shown: &[u8]) -> Result<(), ServeError> {
        let opened = self.vfs.open(path, &OpenHow { read: true, ..OpenHow::default() });
        let opened = opened.and_then(|file| Ok((file.view()?, file)));
        let (view, file) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.refuse(path, shown, fault),
        };
        let View::Whole(metadata) = view else { return self.complain(shown, "not a regular file") };
        if !(self.send_times(&view)? && self.send_line(b'C', metadata.mode, metadata.size, path)?) {
            return Ok(());
        }
        match self.send_content(&file, metadata.size) {
            Ok(result) => {
                let sum = if result.is_ok() { file.sum_read() } else { None };
                let outcome = result.err().map_or(Outcome::Done, Outcome::Failed);
                self.note(Deed::Read, path, None, (metadata.size, sum), outcome);
                match result {
                    Ok(()) => self.peer.accept()?,
                    Err(fault) => self.complain(shown, fault)?,
                }
                self.failed |= !self.peer.answer()?;
                Ok(())
            }
            Err(error) => {
                self.note(Deed::Read, path, None, (0, None), Outcome::Unfinished);
                Err(error)
            }
        }
    }

    /// Sends `size` bytes, whatever happens: so many were promised.
    fn send_content(&mut self, file: &OpenFile, size: u64) -> Result<Result<(), Fault>, ServeError> {
        let mut piece = vec![0; PIECE];
        let (mut at, mut result) = (0, Ok(()));
        while at < size {
            let wanted = usize::try_from(size - at).map_or(PIECE, |left| left.min(PIECE));
            let room = piece.get_mut(..wanted).unwrap_or_default();
            let read = match file.read(room, at) {
                Ok(read @ 1..) if result.is_ok() => read,
                read => {
                    // It has become shorter, or cannot be read on.
                    result = result.and(read.map(drop)).and(Err(Fault::Os(nix::errno::Errno::EIO)));
                    room.fill(0);
                    wanted
                }
            };
            self.peer.send(piece.get(..read).unwrap_or_default())?;
            at += read as u64;
        }
        Ok(result)
    }

    /// With `-p`, the times of what comes next; whether the client wants to go on.
    fn send_times(&mut self, view: &View) -> Result<bool, ServeError> {
        let View::Whole(metadata) = view else { return Ok(true) };
        if !self.command.preserve {
            return Ok(true);
        }
        let (modified, accessed) = (metadata.modified.max(0), metadata.accessed.max(0));
        self.peer.send(format!("T{modified} 0 {accessed} 0\n").as_bytes())?;
        self.accepted()
    }

    fn send_line(&mut self, kind: u8, mode: u32, size: u64, path: &VirtualPath) -> Result<bool, ServeError> {
        let head = format!("{:04o} {size} ", mode & MODE);
        let name = path.name().unwrap_or_default();
        self.peer.send(&[&[kind], head.as_bytes(), name, b"\n"].concat())?;
        self.accepted()
    }

    fn accepted(&mut self) -> Result<bool, ServeError> {
        let accepted = self.peer.answer()?;
        self.failed |= !accepted;
        Ok(accepted)
    }

    /// Records what the grant does not allow, and tells the client what did not happen.
    fn refuse(&mut self, path: &VirtualPath, shown: &[u8], fault: Fault) -> Result<(), ServeError> {
        if fault.is_refusal() {
            self.note(Deed::Read, path, None, (0, None), Outcome::Failed(fault));
        }
        self.complain(shown, fault)
    }
}
