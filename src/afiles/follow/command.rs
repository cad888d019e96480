//! The command that runs when something has changed: after a settled batch, with the changed paths, and never twice at once.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;

use crate::event::EventPath;

/// How long nothing must have changed before the command runs; a change of many files comes in several batches.
const SETTLED: Duration = Duration::from_millis(100);

/// How long it is put off at most, while there is always something more.
const LONGEST: Duration = Duration::from_secs(5);

/// What waits for the command.
#[derive(Debug, Default)]
struct Waiting {
    paths: BTreeSet<EventPath>,
    first: Option<Instant>,
    last: Option<Instant>,
    ended: bool,
}

/// Runs a command in the copy when something has changed there.
#[derive(Debug)]
pub struct OnChange {
    shared: Arc<(Mutex<Waiting>, Condvar)>,
}

impl OnChange {
    /// Will run `command`, with `sh -c`, in `directory`. `told` is told how it ended.
    pub fn new(command: OsString, directory: PathBuf, told: impl Fn(String) + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Waiting::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            while let Some(paths) = next(&theirs) {
                if let Err(said) = run(&command, &directory, &paths) {
                    told(said);
                }
            }
        });
        Self { shared }
    }

    /// These paths have changed.
    pub fn changed(&self, paths: impl IntoIterator<Item = EventPath>) {
        let (waiting, event) = &*self.shared;
        let mut waiting = lock(waiting);
        let before = waiting.paths.len();
        waiting.paths.extend(paths);
        if waiting.paths.len() > before {
            let now = Instant::now();
            waiting.first.get_or_insert(now);
            waiting.last = Some(now);
            event.notify_one();
        }
    }
}

impl Drop for OnChange {
    fn drop(&mut self) {
        let (waiting, event) = &*self.shared;
        lock(waiting).ended = true;
        event.notify_one();
    }
}

/// A thread that has panicked has left nothing half done here.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something to have changed and settled; `None` at the end.
fn next(shared: &(Mutex<Waiting>, Condvar)) -> Option<BTreeSet<EventPath>> {
    let (waiting, event) = shared;
    let mut waiting = lock(waiting);
    loop {
        if waiting.ended {
            return None;
        }
        let Some((first, last)) = waiting.first.zip(waiting.last) else {
            waiting = event.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let due = (last + SETTLED).min(first + LONGEST);
        let now = Instant::now();
        if due <= now {
            (waiting.first, waiting.last) = (None, None);
            return Some(std::mem::take(&mut waiting.paths));
        }
        waiting = event.wait_timeout(waiting, due - now).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn run(command: &OsString, directory: &PathBuf, paths: &BTreeSet<EventPath>) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", Escaped::os(command));
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        let list: Vec<u8> = paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
        // A command that does not read its input closes the pipe; that is its own business.
        drop(input.write_all(&list));
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() { Ok(()) } else { Err(failed(&status)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_runs_after_a_batch_with_its_paths_and_never_twice_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let (sender, receiver) = mpsc::channel();
        // Two that ran at once would find the other's directory.
        let command =
            "mkdir running && tr '\\0' ' ' > seen && cat seen >> all && echo >> all && rmdir running; exit 3";
        let on_change = OnChange::new(command.into(), scratch.path().to_owned(), move |said| {
            sender.send(said).unwrap();
        });
        let path = |name: &str| EventPath::new(name.into()).unwrap();
        let ended = || receiver.recv_timeout(Duration::from_mins(1)).unwrap();
        on_change.changed([path("a"), path("b")]);
        on_change.changed([path("a c")]);
        assert!(ended().contains("exit status: 3"));
        on_change.changed([path("d")]);
        on_change.changed([]);
        ended();
        drop(on_change);
        let all = std::fs::read_to_string(scratch.path().join("all")).unwrap();
        assert_eq!(all, "a a c b \nd \n");
    }
}
