//! Where the paths of an rsync request lead: each is placed beneath an exposed root, or refused.
//!
//! `locate` finds the root of a client's path, `sources` and `destination` open what a transfer works in, `option` what
//! its path options name. What is shared stands here. Nothing here changes anything in the tree.

mod destination;
mod locate;
mod option;
mod sources;

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::expand::TooMany;
use super::judge::ReachSet;
use super::words::Word;
use crate::beneath::{Held, Last};
use crate::confine::Rights;
use crate::grant::Access;
use crate::policy::{Exposed, Use};
use crate::verdict::Refusal;

pub(super) use destination::destination;
pub use locate::find;
pub(super) use locate::{Target, locate};
pub(super) use option::{PathOption, path_option};
pub(super) use sources::sources;

/// An open directory and its real path, for people.
#[derive(Debug)]
pub struct Place {
    /// The descriptor (`O_PATH`).
    pub fd: OwnedFd,
    /// Absolute.
    pub real: PathBuf,
}

fn outside(shown: &str) -> Refusal {
    Refusal::new("path.outside", format!("{shown} leads outside of what this key may use"))
}

fn too_many(_: TooMany) -> Refusal {
    Refusal::new("rsync.expansion", "a pattern stands for too many paths")
}

fn shown(word: &Word) -> String {
    crate::escape::Escaped(&word.unescaped()).to_string()
}

/// Opens the uniform directory around `at` for the kernel's rules, or `at` itself with the parts that they must not reach.
fn allow(exposed: &Exposed, at: &Path, wanted: Use, reach: &mut ReachSet) -> Result<(), Refusal> {
    if exposed.hides(at) {
        return Err(wanted.refusal(&exposed.shown(at), Access::None));
    }
    let scope = exposed.scope(at, wanted)?;
    exposed.kept_by_rsync(wanted)?;
    let missing = |_| {
        let message =
            format!("{} does not exist, and its surroundings may not be written", exposed.shown(at));
        Refusal::new("path.missing", message)
    };
    // The scope is a resolved place: a symlink that stands there by now is another.
    let held = match exposed.root.hold_plain(at) {
        // Everything in a rule's reach is looked through for names that are not there for this key, so it reaches no further.
        Ok(held) if !exposed.workspace.files.names.hide.is_empty() => held,
        _ => exposed.root.hold_plain(&scope.at).map_err(missing)?,
    };
    let real = exposed.root.real_of(&held.at);
    let rights = match wanted {
        Use::Read => Rights::PULL,
        Use::Write => exposed.push_rights(at),
        Use::Remove => Rights { remove: true, ..Rights::default() },
    };
    reach.allow(held.fd, real, rights, &exposed.workspace.files.names);
    for (part, keep) in scope.parts {
        match exposed.root.hold_plain(&part) {
            Ok(held) => reach.keep(held.fd, exposed.root.real_of(&part), keep),
            // What is not there cannot be read; but it could be made.
            Err(Errno::ENOENT | Errno::ENOTDIR) if wanted == Use::Read => {}
            Err(_) => return Err(exposed.mixed(at)),
        }
    }
    Ok(())
}

/// A path without `.` and empty components; `..` removes the one before it.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// The deepest directory on the way along `path` that exists, and the rest of the path.
fn deepest(exposed: &Exposed, path: &Path) -> Result<(Held, PathBuf), Errno> {
    let mut rest = PathBuf::new();
    let mut left = lexical(path);
    loop {
        let name = left.file_name().unwrap_or_default().to_owned();
        left.pop();
        rest = if rest.as_os_str().is_empty() { PathBuf::from(&name) } else { Path::new(&name).join(&rest) };
        match exposed.root.hold(&left, Last::Follow) {
            Ok(held) if held.is_dir() => return Ok((held, rest)),
            Ok(_) => return Err(Errno::ENOTDIR),
            Err(Errno::ENOENT) if !left.as_os_str().is_empty() => {}
            Err(errno) => return Err(errno),
        }
    }
}
