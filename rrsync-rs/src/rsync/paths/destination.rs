//! The one destination of a push.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use nix::errno::Errno;

use super::locate::{Target, refuse_shell_syntax};
use super::{Place, allow, deepest, lexical, outside, too_many};
use crate::beneath::{Held, Last};
use crate::policy::Use;
use crate::rsync::expand::{MOST_NAMES, glob, has_wildcard};
use crate::rsync::judge::ReachSet;
use crate::verdict::Refusal;

/// The destination of a push.
pub(in crate::rsync) struct Destination {
    /// The working directory.
    pub(in crate::rsync) cwd: Place,
    /// A directory to make in it and to enter.
    pub(in crate::rsync) make: Option<OsString>,
    /// What rsync is given.
    pub(in crate::rsync) arg: OsString,
    /// Where it is beneath the root.
    pub(in crate::rsync) at: PathBuf,
}

/// Places the one destination of a push.
pub(in crate::rsync) fn destination(
    target: &Target<'_>,
    dry_run: bool,
    reach: &mut ReachSet,
) -> Result<Destination, Refusal> {
    let exposed = target.exposed;
    refuse_shell_syntax(&target.word)?;
    let mut path = PathBuf::from(target.word.to_os());
    if has_wildcard(&target.word) {
        let mut names = MOST_NAMES;
        let (mut matched, leads_outside) = glob(exposed, &target.word, &mut names).map_err(too_many)?;
        if leads_outside {
            return Err(outside(&exposed.shown(&path)));
        }
        if matched.len() > 1 {
            return Err(Refusal::new("rsync.destinations", "a push has exactly one destination"));
        }
        path = matched.pop().unwrap_or(path);
    }
    let refused = || outside(&exposed.shown(&path));
    let place = |held: Held| Place { real: exposed.root.real_of(&held.at), fd: held.fd };
    match exposed.root.hold(&path, Last::Follow) {
        Ok(held) if held.is_dir() => {
            let at = held.at.clone();
            allow(exposed, &at, Use::Write, reach)?;
            return Ok(Destination { cwd: place(held), make: None, arg: ".".into(), at });
        }
        Err(Errno::EXDEV) => return Err(refused()),
        Err(errno @ (Errno::ELOOP | Errno::ENAMETOOLONG)) => {
            let message = format!("{} cannot be opened: {}", exposed.shown(&path), errno.desc());
            return Err(Refusal::new("path.open", message));
        }
        Ok(_) | Err(_) => {}
    }
    // A file, or something that does not exist yet: work in the deepest directory that does.
    let (held, rest) = deepest(exposed, &path).map_err(|errno| match errno {
        Errno::EXDEV => refused(),
        _ => Refusal::new("path.open", format!("{} cannot be opened", exposed.shown(&path))),
    })?;
    let at = held.at.join(lexical(&rest));
    allow(exposed, &at, Use::Write, reach)?;
    let trailing = path.as_os_str().as_bytes().ends_with(b"/");
    let single = rest.components().count() == 1;
    if trailing && single && !dry_run {
        // rsync would make this directory by name. Made and entered here, it cannot be exchanged for a link between.
        let name = rest.file_name().unwrap_or_default().to_owned();
        return Ok(Destination { cwd: place(held), make: Some(name), arg: ".".into(), at });
    }
    let mut arg = rest.into_os_string();
    if trailing {
        arg.push("/");
    }
    Ok(Destination { cwd: place(held), make: None, arg, at })
}
