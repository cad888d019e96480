//! `awatch stream`: the changes of a workspace on standard output.
//!
//! Where a daemon watches the workspace, its journal is followed, from any place in it. Otherwise the stream watches by itself and
//! keeps nothing: it begins with a resync, and a reader that comes back begins anew.

mod follow;
mod output;
mod own;

use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::own::Own;
use super::cli::Stream;
use super::journal::{head::Head, lock};
use super::record::Identity;
use super::run::of_file;
use super::sight::Sight;
use super::watcher::WatcherError;
use crate::common::exit::{Exit, Failure};
use crate::sys::lease;

/// How often a reader hears that there is nothing new, so that a dead connection shows.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Watch(#[from] WatcherError),
    #[error("the journal: {0}")]
    Journal(io::Error),
    #[error("the directory was removed, moved or unmounted")]
    Gone,
    #[error("the daemon has stopped")]
    NoDaemon,
}

/// Runs the stream until its reader has gone.
pub(super) fn run(args: &Stream) -> Result<(), Failure> {
    lease::block_signal();
    let sight = Sight::new(&args.hide, &args.show);
    let ended = if let Some(journal) =
        journal(args)?.filter(|journal| lock::is_held(journal) && Head::read(journal).is_ok())
    {
        follow::follow(&journal, args, &sight)
    } else {
        let dir = directory(args)?;
        let root = File::open(&dir)
            .map_err(|error| Failure::named(&error, format!("{}: {error}", Escaped::os(&dir))))?;
        let identity = Identity {
            author: args.author.clone().unwrap_or_else(rrsync_rs::watch::author),
            project: None,
            workspace: args.name.clone(),
        };
        let own = Own { root: root.into(), dir, identity, sight, ignore: args.ignore.clone() };
        own.stream(args.since)
    };
    match ended {
        Err(StreamError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(Exit::Failed, format!("{}: {error}", args.name))),
        Ok(()) => Ok(()),
    }
}

/// The journal of the daemon that may be watching the workspace. One that is named by its directory is watched here.
///
/// One that is there and may not be read is no reason to watch here, without a word, what a daemon may be watching.
fn journal(args: &Stream) -> Result<Option<PathBuf>, Failure> {
    let found = match (&args.journal, &args.dir) {
        (Some(journal), _) => Some(journal.clone()),
        (None, Some(_)) => None,
        (None, None) => Layout::from_env().map(|layout| layout.watch_of(&args.name).join("journal")),
    };
    let listed = found.as_ref().map_or(Ok(()), |journal| fs::read_dir(journal).map(drop));
    match (listed, &found) {
        (Err(error), Some(journal)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Failure::named(&error, format!("the journal {}: {error}", Escaped::os(journal))))
        }
        _ => Ok(found),
    }
}

/// The directory of the workspace, as the command line says, or the configuration.
fn directory(args: &Stream) -> Result<PathBuf, Failure> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let config = Layout::from_env().map(|layout| of_file(None, &layout)).transpose();
    let config = match config {
        Err(failure) if failure.exit != Exit::NoMatch => return Err(failure),
        config => config.ok().flatten(),
    };
    let setup = config.and_then(|mut config| config.workspaces.remove(&args.name));
    setup.map(|setup| setup.path).ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("no workspace {} is watched or configured", args.name))
            .hint("name its directory: --dir DIR")
    })
}

/// Waits until `fd` is readable or the time is over; `false` when nobody reads standard output any more.
fn wait(fd: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
    let time = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&time)) {
        Ok(_) => Ok(!fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP)),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
