//! `afiles follow`: copies are brought up to date, and then kept so for as long as the program runs.
//!
//! A thread for each copy. It reads the stream of its workspace's events down the held connection, gets what they name,
//! and writes down how far it has come once the files are in their places. Whatever goes wrong ends its session; another
//! begins after a pause, and goes on where the last one was, or compares everything when the stream cannot.

mod apply;
mod batch;
mod command;
mod session;
mod standing;
mod stream;

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rrsync_rs::layout::Layout;

use self::command::OnChange;
use self::session::SessionError;
use self::standing::Stand;
use self::stream::StreamError;
use super::catalog::{Catalog, CatalogError, CopyBook};
use super::cli::Follow;
use super::destination::Destination;
use super::receive::{Durability, Keeper, Symlinks, Tree};
use super::remote::Workspace;
use super::tell::Teller;
use super::words::Remote;
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;
use crate::event::{Cursor, Message};

/// The pauses between attempts, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));

/// A session that has lasted for so long was a good one: the next begins at once.
const GOOD: Duration = Duration::from_secs(30);

/// What comes down a stream.
#[derive(Debug)]
pub enum Input {
    /// A message.
    Said(Box<Message>),
    /// Nothing more.
    Ended(StreamError),
}

/// A copy that is to be followed.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The source.
    pub source: Remote,
    /// The directory here.
    pub target: PathBuf,
    /// What is on the disk before a file is seen.
    pub durability: Durability,
    /// What becomes of symlinks that lead out.
    pub links: Symlinks,
    /// Whether what is only a copy is kept as well when it is overwritten or removed.
    pub keep_versions: bool,
    /// What runs when something has changed.
    pub on_change: Option<OsString>,
    /// Whether the directory may be a copy of something else until now.
    pub adopt: bool,
    /// Whether events are told as JSON.
    pub json: bool,
}

/// A copy that is being followed.
pub struct Follower<'c> {
    workspace: Workspace,
    tree: Tree,
    book: CopyBook<'c>,
    teller: Teller,
    links: Symlinks,
    durability: Durability,
    on_change: Option<OnChange>,
    stand: Stand<'c>,
    /// What was last written down.
    cursor: Option<Cursor>,
}

/// Runs the subcommand.
pub fn run(args: &Follow, layout: &Layout) -> Result<Report, Failure> {
    let settings = settings(args)?;
    let threads: Vec<_> = settings
        .into_iter()
        .map(|setting| {
            let layout = layout.clone();
            thread::spawn(move || follow(&setting, &layout).map(|never: Infallible| match never {}))
        })
        .collect();
    let mut failures = threads.into_iter().filter_map(|thread| match thread.join() {
        Ok(ended) => ended.err(),
        Err(_) => Some(Failure::new(Exit::Failed, "a thread has panicked")),
    });
    // A copy that cannot be followed does not keep the others from being; the program ends with the last of them.
    failures.next().map_or_else(|| Ok(Report::default()), Err)
}

fn settings(args: &Follow) -> Result<Vec<Setting>, Failure> {
    let pairs = args.copies.chunks_exact(2);
    if args.copies.is_empty() || !pairs.remainder().is_empty() {
        return Err(Failure::new(Exit::Usage, "every SRC has a DST behind it"));
    }
    let setting = |pair: &[OsString]| {
        let [source, target] = pair else {
            return Err(Failure::new(Exit::Usage, "every SRC has a DST behind it"));
        };
        Ok(Setting {
            source: Remote::read(source).map_err(|error| Failure::new(Exit::Usage, error))?,
            target: target.into(),
            durability: args.receiving.durability,
            links: args.receiving.outside_links,
            keep_versions: args.keep_versions,
            on_change: args.on_change.clone(),
            adopt: args.adopt,
            json: args.json,
        })
    };
    pairs.map(setting).collect()
}

/// Follows one copy until there is something that only a person can mend.
fn follow(setting: &Setting, layout: &Layout) -> Result<Infallible, Failure> {
    let workspace = Workspace::find(&setting.source, layout)?;
    let remote = workspace.found.remote.clone();
    let teller = Teller::following(setting.json, &setting.source.to_string());
    let catalog = Catalog::open(layout)?;
    let destination = Destination::open(&setting.target, layout)?;
    let copy = destination.copy_of(&remote, &catalog, setting.adopt)?;
    let who = workspace.found.origin();
    let keeper = Keeper::new(layout, setting.keep_versions);
    let tree = Tree::open(destination.real(), layout, &who, keeper, setting.durability)?;
    let stand = Stand::new(&catalog, copy.id, copy.standing.clone());
    let on_change = setting.on_change.clone().map(|command| on_change(command, destination.real(), setting));
    let cursor = copy.cursor;
    let book = CopyBook::new(&catalog, copy, remote, who);
    let (links, durability) = (setting.links, setting.durability);
    let mut follower =
        Follower { workspace, tree, book, teller, links, durability, on_change, stand, cursor };
    if !follower.keeps_cursor() {
        follower.book.forget_cursor()?;
        follower.cursor = None;
    }
    let mut pause = PAUSE.0;
    loop {
        let begun = Instant::now();
        let error = match session::run(&mut follower) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if begun.elapsed() >= GOOD {
            pause = PAUSE.0;
        }
        follower.lost(&error, pause)?;
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

fn on_change(command: OsString, directory: &Path, setting: &Setting) -> OnChange {
    let teller = Teller::following(setting.json, &setting.source.to_string());
    OnChange::new(command, directory.to_owned(), move |said| teller.state("command-failed", Some(&said)))
}

impl Follower<'_> {
    /// Whether a later session may go on from where this one is: only if what has arrived is on the disk.
    fn keeps_cursor(&self) -> bool {
        self.durability != Durability::None
    }

    /// The copy is the same as its source.
    fn in_sync(&mut self) -> Result<(), CatalogError> {
        if self.stand.same()? {
            self.teller.state("in-sync", None);
        }
        Ok(())
    }

    /// The session has ended; another one begins after `pause`.
    fn lost(&mut self, error: &SessionError, pause: Duration) -> Result<(), CatalogError> {
        // What was known at the end is still so; without it the next comparison finds it out again.
        drop(self.book.write(None));
        let said = error.to_string();
        self.teller.state("lost", Some(&format!("{said}; trying again in {} s", pause.as_secs_f32())));
        self.stand.troubled(said)
    }
}
