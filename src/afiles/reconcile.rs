//! Making a copy the same as its source: compare, bring what differs, put it in its place, remove what is gone.

use std::io;

use nix::sys::stat::SFlag;

use super::catalog::{CatalogError, CopyBook};
use super::failures::TransferError;
use super::find::Found;
use super::get::{LARGEST_BY_SFTP, Wanted};
use super::receive::{Attributes, Known, Symlinks, Tree};
use super::receiver::{Book as _, Outcome, Receiver};
use super::rsync::{Change, Item, Look, Rsync, There};
use super::sftp::Sftp;
use super::tell::{Deed, Teller};
use crate::event::EventPath;

/// From so many new files on, a session of SFTP is opened for them.
const WORTH_A_SESSION: usize = 64;

/// How many of them are asked for in one go.
const GATHERED: usize = 4096;

/// How many files, and how many bytes, rsync brings before they get their places.
const FILES: usize = 10_000;
const BYTES: u64 = 1 << 30;

/// A copy, and the way to its source.
pub struct Reconcile<'a, 'c> {
    /// The copy.
    pub tree: &'a Tree,
    /// The source.
    pub rsync: &'a Rsync<'a>,
    /// What it is called there.
    pub found: &'a Found,
    /// Opens a session for what is small, where the key is for that.
    pub sftp: &'a dyn Fn() -> Option<Sftp>,
    /// What is known of the copy.
    pub book: &'a mut CopyBook<'c>,
    /// Who is told.
    pub teller: &'a Teller,
    /// What becomes of symlinks that lead out.
    pub links: Symlinks,
    /// Whether directories get their times, too.
    pub directory_times: bool,
}

/// How a copy differs from its source.
#[derive(Debug, Default)]
struct Differences {
    /// What is other there, or not here.
    there: Vec<There>,
    /// What is here and not there.
    extra: Vec<EventPath>,
}

impl Reconcile<'_, '_> {
    /// Makes the copy the same. `behind` is told by how many paths it differs, once that is known.
    pub fn run(
        self,
        behind: &mut dyn FnMut(u64) -> Result<(), CatalogError>,
    ) -> Result<Outcome, TransferError> {
        let Self { tree, rsync, found, sftp, book, teller, links, directory_times } = self;
        let Differences { there, extra } = compare(tree, rsync, book, teller, directory_times)?;
        let files = of(&there, |it| it.kind == SFlag::S_IFREG && it.change == Change::Content);
        behind((there.len() + extra.len()) as u64)?;
        teller.expect(files.len() as u64, files.iter().map(|file| file.size).sum());
        let directories = of(&there, |it| it.kind == SFlag::S_IFDIR);
        let exact = if directory_times { exact(tree, rsync, &directories)? } else { Vec::new() };
        let mut receiver = Receiver::new(tree, book, teller, links);
        for directory in directories {
            if directory.change == Change::Content {
                receiver.directory(&directory.path, attributes(directory), false)?;
            } else {
                receiver.directory_later(&directory.path, attributes(directory), false);
            }
        }
        let (files, grown) = take_new(&mut receiver, found, sftp, files)?;
        if !files.is_empty() || !grown.is_empty() {
            let stage = tree.stage()?;
            receiver.bring(rsync, &stage, &grown.iter().collect::<Vec<_>>())?;
            for group in groups(&files) {
                let paths: Vec<&EventPath> = group.iter().map(|file| &file.path).collect();
                receiver.bring(rsync, &stage, &paths)?;
            }
            stage.clear()?;
        }
        for link in of(&there, |it| it.kind == SFlag::S_IFLNK && it.change == Change::Content) {
            receiver.link(&link.path, &link.says)?;
        }
        receiver.remove(extra)?;
        for file in of(&there, |it| it.kind == SFlag::S_IFREG && it.change == Change::Attributes) {
            receiver.mode(&file.path, file.mode)?;
        }
        for (path, attributes) in exact {
            receiver.directory_later(&path, attributes, true);
        }
        let outcome = receiver.end()?;
        book.write(None)?;
        Ok(outcome)
    }
}

/// Brings what is new and small over SFTP, where it is so much that a session is worth it: rsync takes longer to make a file than
/// its content takes to come. Answers with what is left, and with what has grown too large since it was compared.
fn take_new<'f>(
    receiver: &mut Receiver<'_>,
    found: &Found,
    sftp: &dyn Fn() -> Option<Sftp>,
    files: Vec<&'f There>,
) -> Result<(Vec<&'f There>, Vec<EventPath>), TransferError> {
    let (mut new, mut left) = (Vec::new(), Vec::new());
    for file in files {
        let is_new = file.size <= LARGEST_BY_SFTP && receiver.tree.look(&file.path)?.is_none();
        if is_new { new.push(file) } else { left.push(file) }
    }
    if new.len() >= WORTH_A_SESSION
        && let Some(mut sftp) = sftp()
    {
        for some in new.chunks(GATHERED) {
            let wanted =
                |file: &&There| Wanted { size: Some(file.size), ..Wanted::of(found, file.path.clone()) };
            let wanted: Vec<Wanted> = some.iter().map(wanted).collect();
            receiver.take(&mut sftp, &wanted, LARGEST_BY_SFTP)?;
        }
    } else {
        left.append(&mut new);
    }
    Ok((left, std::mem::take(&mut receiver.outcome.large)))
}

/// Compares, and writes down what is the same.
fn compare(
    tree: &Tree,
    rsync: &Rsync<'_>,
    book: &mut CopyBook<'_>,
    teller: &Teller,
    directory_times: bool,
) -> Result<Differences, TransferError> {
    let mut differences = Differences::default();
    let mut failed = None;
    let look = Look { directory_times, equal: true };
    let compared = rsync.compare(tree.real(), look, &mut |item| {
        match item {
            Item::There(there) if there.change == Change::Content => differences.there.push(there),
            Item::There(there) => {
                if let Err(error) = note_same(tree, book, &there) {
                    failed = Some(error);
                    return Err(io::ErrorKind::Other.into());
                }
                if there.change == Change::Attributes {
                    differences.there.push(there);
                }
            }
            Item::Extra(path) => differences.extra.push(path),
            Item::Special(path) => {
                let why = "neither a file nor a directory nor a symlink";
                teller.tell(path.as_bytes(), Deed::Skipped { why });
            }
            Item::Top(_) | Item::Moved(_) => {}
        }
        Ok(())
    });
    compared.map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
    // A directory before what is in it.
    differences.there.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(differences)
}

fn note_same(tree: &Tree, book: &mut CopyBook<'_>, there: &There) -> Result<(), TransferError> {
    match tree.look(&there.path)? {
        Some(stat) => Ok(book.same(&there.path, Known::of(&stat))?),
        None => Ok(()),
    }
}

/// What directories are to have, times included: of those rsync tells seconds, but it sets them exactly.
fn exact(
    tree: &Tree,
    rsync: &Rsync<'_>,
    directories: &[&There],
) -> Result<Vec<(EventPath, Attributes)>, TransferError> {
    if directories.is_empty() {
        return Ok(Vec::new());
    }
    let stage = tree.stage()?;
    let paths: Vec<&EventPath> = directories.iter().map(|there| &there.path).collect();
    // A basis would leave out what is right already, and the stage has no other.
    rsync.stage(&paths, &stage.real(), &stage.real(), false, &mut |_| Ok(()))?;
    let mut exact = Vec::with_capacity(paths.len());
    for path in paths {
        if let Some(stat) = stage.look(path)? {
            exact
                .push((path.clone(), Attributes { mode: stat.st_mode, modified: Known::of(&stat).modified }));
        }
    }
    stage.clear()?;
    Ok(exact)
}

/// What an item says of permissions; its time is not known exactly.
fn attributes(there: &There) -> Attributes {
    Attributes { mode: there.mode, modified: 0 }
}

fn of(there: &[There], which: impl Fn(&There) -> bool) -> Vec<&There> {
    there.iter().filter(|it| which(it)).collect()
}

/// Cuts files into groups that are neither too many nor too large.
fn groups<'f, 't>(files: &'f [&'t There]) -> Vec<&'f [&'t There]> {
    let mut groups = Vec::new();
    let (mut begin, mut bytes) = (0, 0_u64);
    for (index, file) in files.iter().enumerate() {
        if index > begin && (index - begin >= FILES || bytes.saturating_add(file.size) > BYTES) {
            groups.extend(files.get(begin..index));
            (begin, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(file.size);
    }
    groups.extend(files.get(begin..).filter(|rest| !rest.is_empty()));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_by_number_and_size() {
        let file = |size| There {
            path: EventPath::new(b"a".to_vec()).unwrap(),
            kind: SFlag::S_IFREG,
            size,
            mode: 0o644,
            says: Vec::new(),
            change: Change::Content,
        };
        let sizes = |all: &[There]| -> Vec<usize> {
            groups(&all.iter().collect::<Vec<_>>()).iter().map(|group| group.len()).collect()
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![file(1); FILES + 1]), [FILES, 1]);
        assert_eq!(
            sizes(&[file(BYTES * 5), file(1), file(BYTES), file(u64::MAX), file(u64::MAX)]),
            [1, 1, 1, 1, 1]
        );
        assert_eq!(sizes(&[file(BYTES), file(0)]), [2]);
    }
}
