//! Options that name a path on the server: a basis, a backup directory, a log.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::locate::{Target, from_root, target};
use super::{allow, deepest, lexical, outside};
use crate::beneath::{Held, Last, split_last};
use crate::policy::{Exposed, Policy, Use};
use crate::rsync::judge::{Arg, ReachSet};
use crate::rsync::options::Role;
use crate::rsync::words::Word;
use crate::verdict::Refusal;

/// A path option of a request.
pub(in crate::rsync) struct PathOption<'a> {
    /// Its name, without dashes.
    pub(in crate::rsync) name: &'a str,
    /// What it is for.
    pub(in crate::rsync) role: Role,
    /// Its value.
    pub(in crate::rsync) value: &'a [u8],
    /// The root that relative values belong to.
    pub(in crate::rsync) exposed: &'a Exposed,
    /// The destination beneath it; `None` on a pull.
    pub(in crate::rsync) base: Option<&'a Path>,
}

/// Where partial files are kept by who may delete nothing. rsync removes a partial file of which it has got the rest, and
/// its directory: whatever is called like a client's own choice would go with it.
const PARTIAL_DIR: &str = ".rsync-partial";

/// The argument for a path option; nothing when a sender would never look at it.
///
/// A receiver's directories are relative to the destination, as rsync has it; a basis or temporary directory that is not
/// there is looked for where rrsync looked, in the root. Files that a server opens first of all are relative to the root. Whatever rsync
/// would look up, and whatever rrsync would have, must not lead outside.
pub(in crate::rsync) fn path_option(
    option: &PathOption<'_>,
    policy: &Policy,
    reach: &mut ReachSet,
) -> Result<Option<Arg>, Refusal> {
    let PathOption { name, role, value, base, .. } = *option;
    let prefix = format!("--{name}=");
    if value.is_empty() || role == Role::FilesFrom && value == b"-" {
        // An empty value is rsync's own way to switch an option off.
        return Ok(Some(Arg::Text(OsString::from_vec([prefix.as_bytes(), value].concat()))));
    }
    let anchored = value.starts_with(b"/");
    let Target { exposed, word, .. } = option_target(option, policy)?;
    let path = PathBuf::from(word.to_os());
    let opened_first = matches!(role, Role::FilesFrom | Role::LogFile);
    let climbs = climbs(name, &path, base.is_some() && !anchored && !opened_first, exposed)?;
    if base.is_none() && !opened_first {
        return Ok(None);
    }
    let from_base = base.filter(|_| !anchored && !opened_first).map(|base| lexical(&base.join(&path)));
    let first = from_base.as_deref().map(|path| hold_option(name, exposed, path)).transpose()?;
    let second = if climbs { None } else { Some(hold_option(name, exposed, &lexical(&path))?) };
    let (held, rest) = match (first, second) {
        (Some(first), Some(second))
            if matches!(role, Role::Basis | Role::TempDir) && !first.exists() && second.exists() =>
        {
            second
        }
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) => return Err(missing(name)),
    }
    .into_parts();
    let exists = rest.as_os_str().is_empty();
    if !exists && (climbs || role == Role::TempDir) {
        return Err(missing(name));
    }
    // An empty path joined would add a slash, and a file with one is no file.
    let at = if exists { held.at.clone() } else { held.at.join(&rest) };
    // Content goes between the destination and these paths, and must not become readable on the way.
    if let Some(base) = base
        && (exists || role != Role::Basis)
        && !opened_first
        && option.exposed.workspace.access_to(base).may_read() != exposed.workspace.access_to(&at).may_read()
    {
        let message = format!("--{name} has another access than the destination");
        return Err(Refusal::new("path.mixed", message));
    }
    match role {
        Role::FilesFrom if !exposed.workspace.access_to(&at).may_read() => {
            return Err(Refusal::new("rsync.files-from", "a write-only server cannot read a list of files"));
        }
        // A receiver may compare with what it may write. A basis that is not there costs nothing.
        Role::Basis if exists && !exposed.workspace.access_to(&at).may_read() => {
            allow(exposed, &at, Use::Write, reach)?;
        }
        Role::Basis if exists => {
            allow(exposed, &at, Use::Read, reach)?;
            // A second name where more may be changed would be a way to change it.
            let may_change = |exposed: &Exposed, at: &Path| {
                exposed.workspace.overwrite && exposed.workspace.access_to(at).may_write()
            };
            if base.is_some_and(|base| may_change(option.exposed, base)) && !may_change(exposed, &at) {
                reach.copy_from_bases();
            }
        }
        Role::FilesFrom if exists => allow(exposed, &at, Use::Read, reach)?,
        Role::Basis | Role::FilesFrom => {}
        Role::BackupDir | Role::PartialDir | Role::TempDir | Role::LogFile => {
            allow(exposed, &at, Use::Write, reach)?;
            // The destination's own rule is held by its options; this may be another workspace.
            if !exposed.workspace.overwrite && base.is_some() && !std::ptr::eq(exposed, option.exposed) {
                let message = format!("--{name} names a place that may only be added to");
                return Err(Refusal::new("access.write", message));
            }
        }
    }
    if role == Role::PartialDir
        && base.is_some()
        && !(exposed.workspace.delete && option.exposed.workspace.delete)
    {
        return Ok(Some(Arg::Text(OsString::from(format!("{prefix}{PARTIAL_DIR}")))));
    }
    if role == Role::PartialDir && !anchored && !climbs {
        // A relative one stands for a directory of that name beside each file, not for one place.
        return Ok(Some(Arg::Text(OsString::from_vec([prefix.as_bytes(), value].concat()))));
    }
    pinned(prefix, exposed, held, &rest).map(Some)
}

fn missing(option: &str) -> Refusal {
    Refusal::new("path.missing", format!("what --{option} names does not exist"))
}

/// Whose root an option's value belongs to: with a leading slash, a path like a transfer's.
fn option_target<'a>(option: &PathOption<'a>, policy: &'a Policy) -> Result<Target<'a>, Refusal> {
    let word = Word::literal(option.value);
    if !option.value.starts_with(b"/") {
        Ok(Target { exposed: option.exposed, word, bare: false, dotted: false })
    } else if option.exposed.name.is_some() {
        target(&word, policy)
    } else {
        let word = from_root(&word, option.exposed);
        Ok(Target { exposed: option.exposed, word, bare: false, dotted: false })
    }
}

/// The argument that starts at an open directory. A file is pinned by its directory: rsync may open it anew or replace
/// it, and would have nothing to replace in a descriptor.
fn pinned(prefix: String, exposed: &Exposed, held: Held, rest: &Path) -> Result<Arg, Refusal> {
    let mut tail = OsString::new();
    let mut add = |name: &OsStr| {
        tail.push("/");
        tail.push(name);
    };
    let directory = if held.is_dir() {
        if !rest.as_os_str().is_empty() {
            add(rest.as_os_str());
        }
        held
    } else {
        let (parent, name) = split_last(&held.at);
        add(&name.unwrap_or_default());
        exposed.root.hold(&parent, Last::Follow).map_err(|_| outside(&exposed.shown(&held.at)))?
    };
    let real = exposed.root.real_of(&directory.at);
    Ok(Arg::Pinned { prefix, fd: directory.fd, real, rest: tail })
}

/// Whether an option's path climbs with leading `..`, which a receiver's may do from its destination; any other `..` is
/// refused.
fn climbs(option: &str, path: &Path, may_climb: bool, exposed: &Exposed) -> Result<bool, Refusal> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let leading = parts.iter().take_while(|part| **part == Component::ParentDir).count();
    let total = parts.iter().filter(|part| **part == Component::ParentDir).count();
    let climbs = may_climb && leading > 0 && leading == total && parts.len() > leading;
    if total > 0 && !climbs && !exposed.is_everything() {
        let message = format!("--{option} has \"..\" in it; write the path from the root instead");
        return Err(Refusal::new("path.dotdot", message));
    }
    Ok(climbs)
}

/// An option's path as far as it exists: what is open, and the rest.
struct Found {
    held: Held,
    rest: PathBuf,
}

impl Found {
    fn exists(&self) -> bool {
        self.rest.as_os_str().is_empty()
    }

    fn into_parts(self) -> (Held, PathBuf) {
        (self.held, self.rest)
    }
}

/// Holds an option's path, or the deepest directory on the way to it and the rest.
fn hold_option(option: &str, exposed: &Exposed, path: &Path) -> Result<Found, Refusal> {
    let refusal = |errno: Errno| match errno {
        Errno::EXDEV => outside(&format!("--{option}")),
        errno => Refusal::new("path.open", format!("--{option} cannot be opened: {}", errno.desc())),
    };
    match exposed.root.hold(path, Last::Follow) {
        Ok(held) => Ok(Found { held, rest: PathBuf::new() }),
        Err(Errno::ENOENT) => {
            deepest(exposed, path).map(|(held, rest)| Found { held, rest }).map_err(refusal)
        }
        Err(errno) => Err(refusal(errno)),
    }
}
