//! Making the steps of a batch: what a path is to be is looked up at the source, unless what is here is that already.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::stat::SFlag;
use rrsync_rs::sha256::Sum;

use super::ask::Ask;
use super::batch::{Hint, PutOff, Step, Want};
use super::doubts::Doubts;
use super::turn::Turn;
use crate::afiles::catalog::CopyBook;
use crate::afiles::failures::TransferError;
use crate::afiles::find::Found;
use crate::afiles::get::{LARGEST_BY_SFTP, Wanted};
use crate::afiles::receive::{Attributes, Known, Symlinks, Tree};
use crate::afiles::receiver::{Book as _, Outcome, Receiver};
use crate::afiles::rsync::Rsync;
use crate::afiles::sftp::Sftp;
use crate::afiles::tell::{Deed, Teller};
use crate::afiles::walk::walk;
use crate::event::{EventPath, Kind};

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
    /// Of what the source says something else.
    pub doubts: &'a mut Doubts,
}

impl Apply<'_, '_> {
    /// Makes the steps, and says what has become of them, and what was put off.
    ///
    /// A symlink that leads somewhere else by now than when it was told of may lead to what is not here yet. It is made when
    /// it is told of again, which is soon; until then nothing is removed, because the old one may lead there. A rename of what
    /// has its old name by now is put off with everything behind it: what brought it back may still have to be told, or it is on
    /// its way to and fro.
    pub fn run(&mut self, steps: Vec<Step>) -> Result<(Outcome, PutOff), TransferError> {
        let contradicted = self.ask().contradicted(&steps)?;
        let (mut all, mut put_off) = (Outcome::default(), PutOff::default());
        let mut steps = steps.into_iter().enumerate();
        while put_off.last.is_empty()
            && let Some((index, step)) = steps.next()
        {
            self.doubts.explain(&step);
            let mut outcome = match step {
                Step::Rename(ref from, ..)
                    if contradicted.contains(&index) && self.book.known(from)?.is_some() =>
                {
                    put_off.contradicted = Some(from.clone());
                    put_off.rest.push(step);
                    break;
                }
                Step::Rename(from, to, file) => self.rename(from, to, file)?,
                Step::Become(paths) => self.become_all(paths, &mut put_off.last)?,
            };
            all.changed.extend(outcome.changed);
            all.left.extend(outcome.left);
            self.doubts.note(std::mem::take(&mut outcome.doubtful));
        }
        put_off.rest.extend(steps.map(|(_, step)| step));
        put_off.rest.iter().for_each(|step| self.doubts.explain(step));
        Ok((all, put_off))
    }

    /// Moves what is here; where that cannot be, the new name is fetched, and the old one goes. A file is moved only when what it
    /// has is what the new name is said to have, and nothing that has it already makes way for it. A small one is known by its
    /// sum alone, since two contents within a tick of the clock have one time.
    fn rename(
        &mut self,
        from: EventPath,
        to: EventPath,
        file: Option<Hint>,
    ) -> Result<Outcome, TransferError> {
        let moves = self.book.known(&from)?;
        let makes_way = self.book.known(&to)?;
        let to_be = match file {
            Some(file) if self.has(&to, &file)? || !self.may_move(&from, &file, moves, &to)? => {
                Want::Like(file)
            }
            _ if moves.is_some() && self.tree.shift(&from, &to, makes_way).unwrap_or(false) => {
                self.book.moved(&from, &to)?;
                self.teller.tell(to.as_bytes(), Deed::Moved { from: from.as_bytes() });
                self.tree.end()?;
                return Ok(Outcome { changed: vec![from, to], ..Outcome::default() });
            }
            _ => Want::Whole,
        };
        let paths = BTreeMap::from([(to, to_be), (from, Want::Gone { directory: true })]);
        self.become_all(paths, &mut BTreeMap::new())
    }

    fn ask(&mut self) -> Ask<'_> {
        Ask { sftp: self.sftp, found: self.found, tree: self.tree }
    }

    /// Makes paths what is wanted of them: files, then symlinks, which may lead to them, then what is gone.
    fn become_all(
        &mut self,
        mut paths: BTreeMap<EventPath, Want>,
        later: &mut BTreeMap<EventPath, Want>,
    ) -> Result<Outcome, TransferError> {
        let mut doubtful = self.ask().without_blocked(&mut paths)?;
        let Sorted { wanted, wholes, mut large, gone, at_once, mut links, looks } = self.sort(paths)?;
        let (found, rsync, tree) = (self.found, self.rsync, self.tree);
        let mut receiver = Receiver::new(tree, self.book, self.teller, self.links);
        for (path, hint) in at_once {
            make_at_once(&mut receiver, &path, &hint)?;
        }
        receiver.take(self.sftp, &wanted, LARGEST_BY_SFTP)?;
        for path in wholes {
            let itself = Wanted::of(found, path.clone());
            let wire = itself.wire.clone();
            receiver.take(self.sftp, &[itself], LARGEST_BY_SFTP)?;
            if tree.look(&path)?.is_some_and(|stat| Known::of(&stat).kind == SFlag::S_IFDIR) {
                walk(self.sftp, &wire, Some(&path), usize::MAX, &mut |sftp, group| {
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
        let of_link = |(path, hint): (&EventPath, &Hint)| Wanted {
            as_of: hint.modified.filter(|_| !hint.put_off),
            ..Wanted::of(found, path.clone())
        };
        let wanted: Vec<Wanted> = links.iter().map(of_link).collect();
        let leads = Turn { sftp: self.sftp, found, receiver: &mut receiver }.lead(&wanted)?;
        for (path, says) in leads {
            receiver.link(&path, &says)?;
        }
        let (mut gone, there) = Ask { sftp: self.sftp, found, tree }.gone(gone)?;
        doubtful.extend(there);
        // Where there is only word of where to look, what is not there is gone. What was said to be there may be so again.
        let missing = std::mem::take(&mut receiver.outcome.missing);
        let (looked, told): (Vec<_>, _) = missing.into_iter().partition(|path| looks.contains(path));
        gone.extend(looked);
        doubtful.extend::<Vec<_>>(told);
        let newer = std::mem::take(&mut receiver.outcome.newer);
        if !newer.is_empty() {
            later.extend(gone.drain(..).map(|path| (path, Want::Gone { directory: true })));
        }
        for path in newer {
            // What is still something else than it was told to be, the second time, has an event of its own.
            match links.remove(&path).filter(|hint| !hint.put_off) {
                Some(hint) => drop(later.insert(path, Want::Like(Hint { put_off: true, ..hint }))),
                None => doubtful.push(path),
            }
        }
        Turn { sftp: self.sftp, found, receiver: &mut receiver }.away(&mut gone)?;
        let remembered = tree.remember();
        for path in gone {
            receiver.remove_below(&path)?;
        }
        drop(remembered);
        receiver.outcome.doubtful.extend(doubtful);
        receiver.end()
    }

    /// Sorts paths by what has to be done for them.
    fn sort(&mut self, paths: BTreeMap<EventPath, Want>) -> Result<Sorted, TransferError> {
        let mut sorted = Sorted::default();
        for (path, want) in paths {
            let hint = match want {
                Want::Gone { .. } => {
                    sorted.gone.push(path);
                    continue;
                }
                Want::Whole => {
                    sorted.wholes.push(path);
                    continue;
                }
                Want::Look(hint) => {
                    sorted.looks.insert(path.clone());
                    if !self.is_known_as(&path, &hint)? {
                        self.book.authored(path.clone(), hint.author);
                        sorted.wanted.push(Wanted::of(self.found, path));
                    }
                    continue;
                }
                Want::Like(hint) => hint,
            };
            let judged = self.judge(&path, &hint)?;
            if matches!(judged, Judged::Fetch | Judged::Bring) {
                self.book.authored(path.clone(), hint.author.clone());
            }
            match judged {
                Judged::Done => {}
                Judged::AtOnce => sorted.at_once.push((path, hint)),
                Judged::Fetch if hint.kind == Kind::Symlink => drop(sorted.links.insert(path, hint)),
                Judged::Fetch => {
                    let (size, sum, as_of) = (hint.size, hint.sum, hint.modified);
                    sorted.wanted.push(Wanted { size, sum, as_of, ..Wanted::of(self.found, path) });
                }
                Judged::Bring => sorted.large.push(path),
            }
        }
        Ok(sorted)
    }

    /// What has to be done for a path to become what an event says.
    fn judge(&mut self, path: &EventPath, hint: &Hint) -> Result<Judged, TransferError> {
        let here = self.tree.look(path)?;
        let known = self.book.known(path)?;
        Ok(match hint.kind {
            // Nothing makes way for a directory of which there is only word.
            Kind::Directory if here.is_some_and(|stat| Known::of(&stat).kind != SFlag::S_IFDIR) => {
                Judged::Fetch
            }
            Kind::Directory | Kind::Other => Judged::AtOnce,
            Kind::Symlink => Judged::Fetch,
            Kind::File => {
                match (here, hint.file()) {
                    // Time and size to the nanosecond and the byte: it has come from there, or was sent there from here.
                    (Some(stat), Some(like)) if self.has(path, hint)? => {
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

    /// Whether the file here has the sum that is said. Who writes twice within a tick of the clock leaves the same time twice.
    fn has_sum(&self, path: &EventPath, said: Option<Sum>) -> bool {
        let sum = || Some(Sum::of_file(self.tree.read(path)?).ok()?.0);
        said.is_none() || said == sum()
    }

    /// Whether the file here is what is said, as far as that can be told.
    fn has(&self, path: &EventPath, file: &Hint) -> Result<bool, TransferError> {
        let here = self.tree.look(path)?.zip(file.file());
        Ok(here.is_some_and(|(stat, like)| like.still(&stat)) && self.has_sum(path, file.sum))
    }

    /// Whether the file at `from`, known as `moves`, is the one that `to` is said to be. What is here of another large one is a
    /// basis for what it is to have, where nothing else is.
    fn may_move(
        &self,
        from: &EventPath,
        file: &Hint,
        moves: Option<Known>,
        to: &EventPath,
    ) -> Result<bool, TransferError> {
        let is_small = file.size.is_none_or(|size| size <= LARGEST_BY_SFTP);
        let is_it = file.file() == moves && self.has(from, file)? && (!is_small || file.sum.is_some());
        Ok(is_it || (!is_small && self.tree.look(to)?.is_none()))
    }

    /// Whether what is here came from the source, and is what somebody says that there is now.
    fn is_known_as(&self, path: &EventPath, hint: &Hint) -> Result<bool, TransferError> {
        let (Kind::File, Some(stat)) = (hint.kind, self.tree.look(path)?) else { return Ok(false) };
        let like = Known::of(&stat);
        let same = hint.size == Some(like.size) && hint.modified == Some(like.modified);
        let same_mode = hint.mode.is_some_and(|mode| mode & 0o777 == stat.st_mode & 0o7777);
        let came = like.kind == SFlag::S_IFREG && self.book.known(path)? == Some(like);
        Ok(same && same_mode && came && self.has_sum(path, hint.sum))
    }
}

/// What is done at once, without asking.
fn make_at_once(receiver: &mut Receiver<'_>, path: &EventPath, hint: &Hint) -> Result<(), TransferError> {
    match (hint.kind, hint.mode) {
        (Kind::Directory, mode) => {
            let attributes = Attributes { mode: mode.unwrap_or(0o755), modified: 0 };
            receiver.directory(path, attributes, false)
        }
        (Kind::Other, _) => {
            receiver.skip(path, "neither a file nor a directory nor a symlink");
            Ok(())
        }
        (_, Some(mode)) => receiver.mode(path, mode),
        (_, None) => Ok(()),
    }
}

/// Paths, by what has to be done for them.
#[derive(Default)]
struct Sorted {
    wanted: Vec<Wanted>,
    /// With everything below them.
    wholes: Vec<EventPath>,
    large: Vec<EventPath>,
    gone: Vec<EventPath>,
    at_once: Vec<(EventPath, Hint)>,
    links: BTreeMap<EventPath, Hint>,
    /// Of which it is not said what they are.
    looks: BTreeSet<EventPath>,
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
