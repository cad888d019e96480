//! Making the steps of a batch: what a path is to be is looked up at the source, unless what is here is that already.

use std::collections::BTreeMap;

use nix::sys::stat::SFlag;

use super::batch::{Hint, Step, Want};
use crate::afiles::catalog::CopyBook;
use crate::afiles::failures::TransferError;
use crate::afiles::find::Found;
use crate::afiles::get::Wanted;
use crate::afiles::receive::{Attributes, Known, Symlinks, Tree};
use crate::afiles::receiver::{Book as _, Outcome, Receiver};
use crate::afiles::rsync::Rsync;
use crate::afiles::sftp::Sftp;
use crate::afiles::tell::{Deed, Teller};
use crate::afiles::walk::walk;
use crate::event::{EventPath, Kind};

/// Up to this size files come over SFTP, whole. Larger ones come by rsync: what is here already is a basis, and what was
/// interrupted goes on. See docs/following.md for where the two meet.
pub const LARGEST_BY_SFTP: u64 = 4 << 20;

/// Everything that a batch needs.
pub struct Apply<'a, 'c> {
    /// The copy.
    pub tree: &'a Tree,
    /// What is known of it.
    pub book: &'a mut CopyBook<'c>,
    /// The source, for what is small.
    pub sftp: &'a mut Sftp,
    /// The source, for what is large.
    pub rsync: &'a Rsync<'a>,
    /// What the source is called there.
    pub found: &'a Found,
    /// Who is told.
    pub teller: &'a Teller,
    /// What becomes of symlinks that lead out.
    pub links: Symlinks,
}

impl Apply<'_, '_> {
    /// Makes the steps, and says what has become of them.
    pub fn run(&mut self, steps: Vec<Step>) -> Result<Outcome, TransferError> {
        let mut all = Outcome::default();
        for step in steps {
            let outcome = match step {
                Step::Rename(from, to) => self.rename(from, to)?,
                Step::Become(paths) => self.become_all(paths)?,
            };
            all.changed.extend(outcome.changed);
            all.left.extend(outcome.left);
        }
        Ok(all)
    }

    /// Moves what is here; where that cannot be, the new name is fetched whole, and the old one goes.
    fn rename(&mut self, from: EventPath, to: EventPath) -> Result<Outcome, TransferError> {
        let moves = self.book.known(&from)?;
        let makes_way = self.book.known(&to)?;
        if moves.is_some() && self.tree.shift(&from, &to, makes_way).unwrap_or(false) {
            self.book.moved(&from, &to)?;
            self.teller.tell(to.as_bytes(), Deed::Moved { from: from.as_bytes() });
            self.tree.end()?;
            return Ok(Outcome { changed: vec![from, to], ..Outcome::default() });
        }
        self.become_all(BTreeMap::from([(to, Want::Whole), (from, Want::Gone { directory: true })]))
    }

    fn become_all(&mut self, paths: BTreeMap<EventPath, Want>) -> Result<Outcome, TransferError> {
        let (mut wanted, mut wholes, mut large, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut at_once = Vec::new();
        for (path, want) in paths {
            match want {
                Want::Gone { .. } => gone.push(path),
                Want::Whole => wholes.push(path),
                Want::Look(hint) => {
                    if !self.is_known_as(&path, &hint)? {
                        self.book.authored(path.clone(), hint.author);
                        wanted.push(self.wanted(path, None, None));
                    }
                }
                Want::Like(hint) => match self.judge(&path, &hint)? {
                    Judged::Done => {}
                    Judged::AtOnce => at_once.push((path, hint)),
                    Judged::Fetch => {
                        self.book.authored(path.clone(), hint.author);
                        wanted.push(self.wanted(path, hint.size, hint.sum));
                    }
                    Judged::Bring => {
                        self.book.authored(path.clone(), hint.author);
                        large.push(path);
                    }
                },
            }
        }
        let (found, rsync, tree) = (self.found, self.rsync, self.tree);
        let mut receiver = Receiver::new(tree, self.book, self.teller, self.links);
        for (path, hint) in at_once {
            match (hint.kind, hint.mode) {
                (Kind::Directory, mode) => {
                    let attributes = Attributes { mode: mode.unwrap_or(0o755), modified: 0 };
                    receiver.directory(&path, attributes, false)?;
                }
                (Kind::Other, _) => receiver.skip(&path, "neither a file nor a directory nor a symlink"),
                (_, Some(mode)) => receiver.mode(&path, mode)?,
                (_, None) => {}
            }
        }
        receiver.take(self.sftp, &wanted, LARGEST_BY_SFTP)?;
        for path in wholes {
            let wire = wire(found, &path);
            let itself = Wanted { wire: wire.clone(), path: path.clone(), size: None, sum: None };
            receiver.take(self.sftp, &[itself], LARGEST_BY_SFTP)?;
            if tree.look(&path)?.is_some_and(|stat| Known::of(&stat).kind == SFlag::S_IFDIR) {
                walk(self.sftp, &wire, Some(&path), &mut |sftp, group| {
                    receiver.take(sftp, &group, LARGEST_BY_SFTP)
                })?;
            }
        }
        large.append(&mut receiver.outcome.large);
        if !large.is_empty() {
            let stage = tree.stage()?;
            receiver.bring(rsync, &stage, &large.iter().collect::<Vec<_>>())?;
            stage.clear()?;
        }
        // What the source does not have any more is gone, whatever the event says that came before.
        gone.append(&mut receiver.outcome.missing);
        for path in gone {
            receiver.remove_below(&path)?;
        }
        receiver.end()
    }

    /// What has to be done for a path to become what an event says.
    fn judge(&mut self, path: &EventPath, hint: &Hint) -> Result<Judged, TransferError> {
        let here = self.tree.look(path)?;
        let known = self.book.known(path)?;
        Ok(match hint.kind {
            Kind::Directory | Kind::Other => Judged::AtOnce,
            Kind::Symlink => Judged::Fetch,
            Kind::File => {
                let like = hint.size.zip(hint.modified).map(|(size, modified)| Known {
                    kind: SFlag::S_IFREG,
                    size,
                    modified,
                });
                match (here, like) {
                    // Time and size to the nanosecond and the byte: it has come from there, or was sent there from here.
                    (Some(stat), Some(like)) if like.still(&stat) => {
                        if known != Some(like) {
                            self.book.same(path, like)?;
                        }
                        let same_mode = hint.mode.is_none_or(|mode| mode & 0o777 == stat.st_mode & 0o7777);
                        if same_mode { Judged::Done } else { Judged::AtOnce }
                    }
                    _ if hint.size.is_some_and(|size| size > LARGEST_BY_SFTP) => Judged::Bring,
                    _ => Judged::Fetch,
                }
            }
        })
    }

    /// Whether what is here came from the source, and is what somebody says that there is now.
    fn is_known_as(&self, path: &EventPath, hint: &Hint) -> Result<bool, TransferError> {
        let (Kind::File, Some(stat)) = (hint.kind, self.tree.look(path)?) else { return Ok(false) };
        let like = Known::of(&stat);
        let same = hint.size == Some(like.size) && hint.modified == Some(like.modified);
        let same_mode = hint.mode.is_some_and(|mode| mode & 0o777 == stat.st_mode & 0o7777);
        Ok(same && same_mode && like.kind == SFlag::S_IFREG && self.book.known(path)? == Some(like))
    }

    fn wanted(&self, path: EventPath, size: Option<u64>, sum: Option<rrsync_rs::sha256::Sum>) -> Wanted {
        Wanted { wire: wire(self.found, &path), path, size, sum }
    }
}

/// What is to be done for a path.
enum Judged {
    /// Nothing: it is like that already.
    Done,
    /// What the event says is enough.
    AtOnce,
    /// It is asked for.
    Fetch,
    /// rsync brings it.
    Bring,
}

/// What `path` of the copy is called on the wire.
fn wire(found: &Found, path: &EventPath) -> Vec<u8> {
    [&found.wire_path(), &b"/"[..], path.as_bytes()].concat()
}
