//! Everything below a directory of a workspace, as paths that are wanted.

use nix::sys::stat::SFlag;

use super::failures::TransferError;
use super::get::Wanted;
use super::sftp::{Name, Sftp};
use crate::event::EventPath;

/// How many paths are gathered before they are handed over.
const GATHERED: usize = 512;

/// Takes a group of paths.
type Each<'e> = dyn FnMut(&mut Sftp, Vec<Wanted>) -> Result<(), TransferError> + 'e;

/// Lists `wire` and everything below it, and hands it over in groups, a directory before what is in it. `at` is where it is to be
/// below the copy. Symlinks are paths like any other, and are not followed. When `most` names have come, no further directory is
/// looked into.
pub fn walk(
    sftp: &mut Sftp,
    wire: &[u8],
    at: Option<&EventPath>,
    most: usize,
    each: &mut Each<'_>,
) -> Result<(), TransferError> {
    let mut directories = vec![(wire.to_owned(), at.cloned())];
    let mut group = Vec::new();
    let mut seen = 0;
    while let Some((wire, at)) = directories.pop().filter(|_| seen < most) {
        let names = match sftp.list(&wire) {
            // It has gone meanwhile, or it may not be read: then nothing of it is wanted.
            Err(error) if !error.is_final() && at.is_some() => continue,
            names => names?,
        };
        seen += names.len();
        for name in names {
            let wanted = wanted(&wire, at.as_ref(), &name)?;
            if is_directory(&name) {
                directories.push((wanted.wire.clone(), Some(wanted.path.clone())));
            }
            group.push(wanted);
        }
        if group.len() >= GATHERED {
            each(sftp, std::mem::take(&mut group))?;
        }
    }
    if group.is_empty() { Ok(()) } else { each(sftp, group) }
}

fn wanted(wire: &[u8], at: Option<&EventPath>, name: &Name) -> Result<Wanted, TransferError> {
    let below = |parent: &[u8]| [parent, b"/", &name.name].concat();
    let path = at.map_or_else(|| name.name.clone(), |at| below(at.as_bytes()));
    let path = EventPath::new(path)
        .map_err(|_| super::sftp::SftpError::Protocol("a name in a listing is no name"))?;
    Ok(Wanted { wire: below(wire), path, size: name.attributes.size, sum: None, as_of: None })
}

fn is_directory(name: &Name) -> bool {
    let mode = name.attributes.mode.unwrap_or(0);
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}
