//! The sources of a pull.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::locate::{Target, refuse_shell_syntax};
use super::{Place, allow, lexical, outside, too_many};
use crate::beneath::{Held, Last, split_last};
use crate::grant::Access;
use crate::policy::{Exposed, Use};
use crate::rsync::expand::{MOST_NAMES, Room, glob, has_wildcard};
use crate::rsync::judge::{Arg, ReachSet};
use crate::verdict::Refusal;

/// The sources of a pull.
pub(in crate::rsync) struct Sources {
    /// The working directory.
    pub(in crate::rsync) cwd: Place,
    /// One argument per source.
    pub(in crate::rsync) args: Vec<Arg>,
    /// The sources as the client named them.
    pub(in crate::rsync) shown: Vec<String>,
}

/// Places the sources of a pull. A source that is missing or unreadable is left for rsync to report, as a plain server
/// does; one that leads outside is refused.
pub(in crate::rsync) fn sources(
    targets: &[Target<'_>],
    relative: bool,
    removes: bool,
    reach: &mut ReachSet,
) -> Result<Sources, Refusal> {
    let mut found: Vec<(&Exposed, PathBuf)> = Vec::new();
    let mut names = MOST_NAMES;
    let mut room = Room::default();
    for target in targets {
        let paths = if has_wildcard(&target.word) {
            glob(target.exposed, &target.word, &mut names).map_err(too_many)?.0
        } else {
            Vec::new()
        };
        if paths.is_empty() {
            let path = PathBuf::from(target.word.to_os());
            // Clients before 3.2.4 escape nothing, so a name that is there is meant as it stands.
            refuse_shell_syntax(&target.word).or_else(|refusal| {
                target.exposed.root.hold(&path, Last::Keep).map(drop).map_err(|_| refusal)
            })?;
            room.take(path.as_os_str().len()).map_err(too_many)?;
            found.push((target.exposed, path));
        }
        for path in paths {
            room.take(path.as_os_str().len()).map_err(too_many)?;
            found.push((target.exposed, path));
        }
    }
    let mut directory: Option<Place> = None;
    let mut one_directory = true;
    let mut shown = Vec::new();
    for (exposed, path) in &found {
        let (at, parent) = source(exposed, path)?;
        if exposed.hides(path) {
            return Err(Use::Read.refusal(&exposed.shown(path), Access::None));
        }
        allow(exposed, &at, Use::Read, reach)?;
        if removes {
            allow(exposed, &at, Use::Remove, reach)?;
        }
        shown.push(exposed.shown(path));
        let parent = parent.map(|held| Place { real: exposed.root.real_of(&held.at), fd: held.fd });
        // Only the first one is kept open: there may be thousands.
        one_directory &= parent
            .as_ref()
            .is_some_and(|parent| directory.as_ref().is_none_or(|first: &Place| first.real == parent.real));
        directory = directory.or(parent);
    }
    if targets
        .iter()
        .any(|target| target.exposed.name.is_some() && !target.dotted && (relative || target.bare))
    {
        return named_sources(&found, shown);
    }
    let one_root = found.iter().all(|(exposed, _)| std::ptr::eq(*exposed, found[0].0));
    if one_root && !relative && one_directory {
        // Every source lies in one directory: that directory, held open, is where rsync works, and each source is a
        // bare name in it. Nothing above it can be exchanged any more.
        let args = found.iter().map(|(_, path)| Arg::Text(bare_name(path))).collect();
        let cwd = directory.ok_or_else(|| outside("the source"))?;
        return Ok(Sources { cwd, args, shown });
    }
    let held = |exposed: &Exposed| {
        exposed.root.try_clone().map_err(|error| Refusal::new("system.descriptor", error.to_string()))
    };
    let root = held(found[0].0)?;
    let cwd = Place { real: root.real().to_owned(), fd: root.dir().try_clone().map_err(descriptor)? };
    if one_root {
        let args = found.iter().map(|(_, path)| Arg::Text(path.clone().into_os_string())).collect();
        return Ok(Sources { cwd, args, shown });
    }
    let mut args = Vec::new();
    for (exposed, path) in &found {
        let root = held(exposed)?;
        // With -R, names in the file list start behind `/./`.
        let mut rest = OsString::from(if relative { "/./" } else { "/" });
        rest.push(path);
        let fd = root.dir().try_clone().map_err(descriptor)?;
        args.push(Arg::Pinned { prefix: String::new(), fd, real: root.real().to_owned(), rest });
    }
    Ok(Sources { cwd, args, shown })
}

/// Sources that have to be sent under their workspace's name, as `host:papers` and `-R host:papers/fig` have: rsync then
/// works in the directory that holds the workspace, and the client refuses any other name. Every workspace must lie in
/// that one directory, under the name by which it is exposed.
fn named_sources(found: &[(&Exposed, PathBuf)], shown: Vec<String>) -> Result<Sources, Refusal> {
    let above = found[0].0.root.real().parent().unwrap_or(Path::new("/")).to_owned();
    let mut args = Vec::new();
    for (exposed, path) in found {
        let name = exposed.name.as_ref().map(crate::name::WorkspaceName::as_str).unwrap_or_default();
        if exposed.root.real() != above.join(name) {
            let message = format!("{name} is another directory's name here: write {name}/ or {name}/./PATH");
            return Err(Refusal::new("path.alias", message));
        }
        let mut arg = OsString::from(name);
        if path.as_os_str() != "." {
            arg.push("/");
            arg.push(path);
        }
        args.push(Arg::Text(arg));
    }
    let fd = found[0].0.root.parent().map_err(descriptor)?;
    Ok(Sources { cwd: Place { fd, real: above }, args, shown })
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn descriptor(error: std::io::Error) -> Refusal {
    Refusal::new("system.descriptor", error.to_string())
}

/// Whether a path names what is *in* a directory: it ends with a slash or `/.`, or is the root itself.
fn names_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.is_empty() || bytes == b"." || bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

/// What a source is called in its directory.
fn bare_name(path: &Path) -> OsString {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        OsString::from("./")
    } else if names_content(path) {
        OsString::from(".")
    } else {
        path.file_name().unwrap_or(OsStr::new(".")).to_owned()
    }
}

/// Where a source is (or would be), and the open directory that `bare_name` is relative to, if it could be opened.
fn source(exposed: &Exposed, path: &Path) -> Result<(PathBuf, Option<Held>), Refusal> {
    let refused = || outside(&exposed.shown(path));
    if names_content(path) {
        return match exposed.root.hold(path, Last::Follow) {
            Ok(held) if held.is_dir() => Ok((held.at.clone(), Some(held))),
            Ok(held) => Ok((held.at, None)),
            Err(Errno::EXDEV) => Err(refused()),
            Err(_) => Ok((lexical(path), None)),
        };
    }
    let (parent, name) = split_last(path);
    let Some(name) = name else {
        // Ends in `..`, which only the root `/` gets this far with.
        return Ok((lexical(path), None));
    };
    match exposed.root.hold(&parent, Last::Follow) {
        Ok(held) => {
            // A symlink is sent as a symlink, wherever it points; only what it is called can lead anywhere.
            let at = held.at.join(name);
            Ok((at, held.is_dir().then_some(held)))
        }
        Err(Errno::EXDEV) => Err(refused()),
        Err(_) => Ok((lexical(path), None)),
    }
}
