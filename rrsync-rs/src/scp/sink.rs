//! `scp -t`: what the client sends is written below the target.

use std::os::fd::AsFd;

use super::expand::expand;
use super::wire::Control;
use super::{Copy, DEEPEST, ServeError};
use crate::beneath::Last;
use crate::sftp::{Deed, Outcome};
use crate::vfs::{Changes, Fault, OpenFile, OpenHow, Rule, VirtualPath};

/// A directory that the client is filling.
struct Open {
    /// Where it is at the moment.
    path: VirtualPath,
    /// Its name at the end, where it has another until then.
    publish: Option<VirtualPath>,
    /// What it gets at the end.
    changes: Changes,
}

impl<I: AsFd, O: AsFd> Copy<'_, I, O> {
    pub(super) fn sink(&mut self) -> Result<(), ServeError> {
        let Some(target) = self.target()? else { return Ok(()) };
        let is_directory = self.vfs.view(&target, Last::Follow).is_ok_and(|view| view.is_dir());
        if self.command.directory && !is_directory {
            self.failed = true;
            return self.peer.say(1, "scp: the target is not a directory");
        }
        self.peer.accept()?;
        let mut open: Vec<Open> = Vec::new();
        let mut times = None;
        while let Some(control) = self.peer.control()? {
            let beside = |name: &[u8]| match open.last() {
                Some(directory) => directory.path.join(name),
                None if is_directory => target.join(name),
                None => Ok(target.clone()),
            };
            match control {
                Control::Trouble => self.failed = true,
                Control::Times(accessed, modified) => {
                    times = Some((accessed, modified));
                    self.peer.accept()?;
                }
                Control::File { mode, size, name } => match beside(&name) {
                    Ok(path) => self.take_file(&path, mode, size, times.take())?,
                    Err(fault) => self.complain(&name, fault)?,
                },
                Control::Directory { .. } if !self.command.recursive => {
                    return Err(ServeError::Protocol("a directory without -r"));
                }
                Control::Directory { .. } if open.len() >= DEEPEST => {
                    return Err(ServeError::Protocol("the directories are nested too deeply"));
                }
                Control::Directory { mode, name } => match beside(&name) {
                    Ok(path) => open.extend(self.take_directory(&path, mode, times.take())?),
                    Err(fault) => self.complain(&name, fault)?,
                },
                Control::End => {
                    let Some(directory) = open.pop() else {
                        return Err(ServeError::Protocol("a directory ends that has not begun"));
                    };
                    self.finish_directory(&directory)?;
                }
            }
        }
        if open.is_empty() { Ok(()) } else { Err(ServeError::HungUp) }
    }

    /// Where the files go; `None` when that cannot be, which the client has been told.
    fn target(&mut self) -> Result<Option<VirtualPath>, ServeError> {
        let found = expand(self.vfs, &self.command.operands);
        let target = match found.as_deref() {
            Ok([one]) => VirtualPath::parse(one).map_err(|fault| fault.to_string()),
            Ok(_) => Err("ambiguous target".to_owned()),
            Err(_) => Err("the target matches too much".to_owned()),
        };
        match target {
            Ok(target) => Ok(Some(target)),
            Err(why) => {
                self.failed = true;
                self.peer.say(1, &format!("scp: {why}"))?;
                Ok(None)
            }
        }
    }

    fn take_file(
        &mut self,
        path: &VirtualPath,
        mode: u32,
        size: u64,
        times: Option<(u32, u32)>,
    ) -> Result<(), ServeError> {
        let how = OpenHow { write: true, create: true, truncate: true, mode, ..OpenHow::default() };
        // Whether all of it may be written is said before any of it travels.
        let opened = self.vfs.fits(size).and_then(|()| self.vfs.open(path, &how));
        let opened = opened.and_then(|file| file.expect(size).map(|()| file));
        let file = match opened {
            Ok(file) => file,
            Err(fault) => {
                self.note(Deed::Write, path, None, (0, None), Outcome::Failed(fault));
                return self.complain(path.as_bytes(), fault);
            }
        };
        self.peer.accept()?;
        let mut written = 0;
        // At the end the client says whether it could read all that it has sent.
        let received = self.receive(&file, size, &mut written);
        let received = received.and_then(|result| Ok((result, self.peer.answer()?)));
        let (result, whole) = match received {
            Ok(received) => received,
            Err(error) => {
                self.note(Deed::Write, path, None, (written, None), Outcome::Unfinished);
                return Err(error);
            }
        };
        self.failed |= !whole;
        let result = result.and_then(|()| {
            let preserved = self.command.preserve.then_some(mode);
            file.set(&Changes { mode: preserved, times, ..Changes::default() })
        });
        let sum = if result.is_ok() && whole { file.sum_written() } else { None };
        let closed = match (result, whole) {
            (Ok(()), true) => file.close(),
            // What is not all of it takes nobody's place.
            (result, _) => result.and_then(|()| if file.is_upload() { Ok(()) } else { file.close() }),
        };
        let outcome = match closed {
            Ok(()) if whole => Outcome::Done,
            Ok(()) => Outcome::Unfinished,
            Err(fault) => Outcome::Failed(fault),
        };
        self.note(Deed::Write, path, None, (written, sum), outcome);
        match closed {
            Ok(()) => self.peer.accept(),
            Err(fault) => self.complain(path.as_bytes(), fault),
        }
    }

    /// Reads `size` bytes, and writes them as long as that is possible; counts what was written, and tells how it went.
    fn receive(
        &mut self,
        file: &OpenFile,
        size: u64,
        written: &mut u64,
    ) -> Result<Result<(), Fault>, ServeError> {
        let (mut at, mut result) = (0, Ok(()));
        while at < size {
            let content = self.peer.content(size - at)?;
            if result.is_ok() {
                result = file.write(content, at);
            }
            at += content.len() as u64;
            if result.is_ok() {
                *written = at;
            }
        }
        Ok(result)
    }

    /// Makes or enters a directory; `None` when that cannot be, which the client has been told.
    fn take_directory(
        &mut self,
        path: &VirtualPath,
        mode: u32,
        times: Option<(u32, u32)>,
    ) -> Result<Option<Open>, ServeError> {
        let there = self.vfs.view(path, Last::Follow).is_ok_and(|view| view.is_dir());
        let made = if there { Ok((path.clone(), None)) } else { self.make(path, mode) };
        match made {
            Ok((now, publish)) => {
                // The owner must be able to fill it first.
                let mode = (self.command.preserve || !there && mode & 0o700 != 0o700).then_some(mode);
                self.peer.accept()?;
                Ok(Some(Open { path: now, publish, changes: Changes { mode, times, ..Changes::default() } }))
            }
            Err(fault) => {
                self.complain(path.as_bytes(), fault)?;
                Ok(None)
            }
        }
    }

    /// Makes a directory; in a drop, under a hidden name that it has until it is complete.
    fn make(&mut self, path: &VirtualPath, mode: u32) -> Result<(VirtualPath, Option<VirtualPath>), Fault> {
        let made = self.vfs.make_dir(path, mode | 0o700);
        if made != Err(Fault::Refused(Rule::Delivery)) {
            return self.record(Deed::MakeDir, path, None, made).map(|()| (path.clone(), None));
        }
        let hidden = path.hidden()?;
        let made = match self.vfs.make_dir(&hidden, mode | 0o700) {
            // A session before this one has begun it. Whether it is this key's shows at the first file.
            Err(Fault::Os(nix::errno::Errno::EEXIST)) => Ok(()),
            made => made,
        };
        self.record(Deed::MakeDir, &hidden, None, made).map(|()| (hidden, Some(path.clone())))
    }

    fn finish_directory(&mut self, directory: &Open) -> Result<(), ServeError> {
        let Open { path, publish, changes } = directory;
        let mut done = Ok(());
        if *changes != Changes::default() {
            let set = self.vfs.set(path, changes);
            done = if set.is_err() { self.record(Deed::SetAttributes, path, None, set) } else { set };
        }
        if let Some(name) = publish.as_ref().filter(|_| done.is_ok()) {
            if self.failed {
                return self.complain(name.as_bytes(), "not delivered, because something is missing");
            }
            let published = self.vfs.rename(path, name, false);
            done = self.record(Deed::Rename, path, Some(name), published);
        }
        match done {
            Ok(()) => self.peer.accept(),
            Err(fault) => self.complain(publish.as_ref().unwrap_or(path).as_bytes(), fault),
        }
    }
}
