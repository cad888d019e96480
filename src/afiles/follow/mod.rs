//! `afiles follow`: copies are brought up to date, and then kept so for as long as the program runs.
//!
//! A thread for each copy. It reads the stream of its workspace's events down the held connection, gets what they name,
//! and writes down how far it has come once the files are in their places. Whatever goes wrong ends its session; another
//! begins after a pause, and goes on where the last one was, or compares everything when the stream cannot.

mod apply;
mod ask;
mod batch;
mod command;
mod config;
mod doubts;
mod nats;
mod pusher;
mod session;
mod stream;
mod turn;

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rrsync_rs::layout::Layout;
use serde::Deserialize;

use self::command::OnChange;
use self::session::SessionError;
use self::stream::StreamError;
use super::catalog::{Catalog, CatalogError, CopyBook, Way};
use super::cli::Follow;
use super::destination::Destination;
use super::find::find;
use super::receive::{Durability, Keeper, Symlinks, Tree};
use super::remote::Workspace;
use super::standing::Stand;
use super::tell::Teller;
use super::words::{Push, Remote};
use crate::awatch::nats::server::Server;
use crate::awatch::nats::settings;
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;
use crate::event::{Cursor, EventPath, Message};

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
    /// What is brought back.
    pub push: Vec<Push>,
    /// Whether the directory may be a copy of something else until now.
    pub adopt: bool,
    /// Where its events come from.
    pub events: Source,
    /// Whether events are told as JSON.
    pub json: bool,
}

/// Where the events of a workspace come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Down the connection to its host.
    #[default]
    Ssh,
    /// From the NATS server that the configuration names.
    Nats,
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
    /// What is not fetched, because it goes the other way.
    own: Vec<EventPath>,
    /// What was last written down.
    cursor: Option<Cursor>,
    /// The server that has the events, where they do not come from the host.
    server: Option<Server>,
}

/// Runs the subcommand.
pub fn run(args: &Follow, layout: &Layout) -> Result<Report, Failure> {
    let settings = settings(args, layout)?;
    let (sender, ended) = mpsc::channel();
    let mut count = 0;
    let mut start = |label: String, work: Box<dyn FnOnce() -> Result<Infallible, Failure> + Send>| {
        let sender = sender.clone();
        count += 1;
        thread::spawn(move || {
            let Err(failure) = work();
            drop(sender.send((label, failure)));
        });
    };
    for setting in settings {
        let workspace = Workspace::find(&setting.source, layout)?;
        let destination = Destination::open(&setting.target, layout)?;
        for push in setting.push.clone() {
            let (layout, copy, json) = (layout.clone(), destination.real().to_owned(), setting.json);
            start(push.to.to_string(), Box::new(move || pusher::run(&push, &copy, &layout, json)));
        }
        let (layout, label) = (layout.clone(), setting.source.to_string());
        start(label, Box::new(move || follow(&setting, workspace, &destination, &layout)));
    }
    drop(sender);
    // What cannot be followed does not keep the rest from being; the program ends with the last of them, and badly.
    let mut last = Failure::new(Exit::Failed, "nothing is followed");
    for (label, failure) in ended {
        if count > 1 {
            let failure = failure.clone().abbreviated(layout);
            Teller::following(args.json, &label).state("failed", Some(&failure.message));
        }
        last = failure;
    }
    Err(last)
}

fn settings(args: &Follow, layout: &Layout) -> Result<Vec<Setting>, Failure> {
    if args.copies.is_empty() {
        return config::load(layout, args.only.as_ref(), args.json);
    }
    let pairs = args.copies.chunks_exact(2);
    let usage = |message: &dyn std::fmt::Display| Failure::new(Exit::Usage, message);
    if !pairs.remainder().is_empty() {
        return Err(usage(&"every SRC has a DST behind it"));
    }
    let mut settings = Vec::new();
    for pair in pairs {
        let [source, target] = pair else { continue };
        settings.push(Setting {
            source: Remote::read(source).map_err(|error| usage(&error))?,
            target: target.into(),
            durability: args.receiving.durability,
            links: args.receiving.outside_links,
            keep_versions: args.keep_versions,
            on_change: args.on_change.clone(),
            push: args.push.clone(),
            adopt: args.adopt,
            events: args.events,
            json: args.json,
        });
    }
    if settings.len() > 1 && !args.push.is_empty() {
        return Err(usage(&"--push is about one copy; name several in the configuration file"));
    }
    Ok(settings)
}

/// Follows one copy until there is something that only a person can mend.
fn follow(
    setting: &Setting,
    workspace: Workspace,
    destination: &Destination,
    layout: &Layout,
) -> Result<Infallible, Failure> {
    let remote = workspace.found.remote.clone();
    let teller = Teller::following(setting.json, &setting.source.to_string());
    let catalog = Catalog::open(layout)?;
    let copy = destination.copy_of(&remote, &catalog, Way::Fetched, setting.adopt)?;
    let who = workspace.found.origin();
    let keeper = Keeper::new(layout, setting.keep_versions);
    let tree = Tree::open(destination.real(), layout, &who, keeper, setting.durability)?;
    let stand = Stand::new(&catalog, copy.id, copy.standing.clone());
    let on_change = setting.on_change.clone().map(|command| on_change(command, destination.real(), setting));
    let cursor = copy.cursor;
    let book = CopyBook::new(&catalog, copy, remote, who);
    let (links, durability) = (setting.links, setting.durability);
    let own = own(setting, &workspace, layout)?;
    let server = server(setting.events, layout)?;
    let mut follower =
        Follower { workspace, tree, book, teller, links, durability, on_change, stand, own, cursor, server };
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

/// The server that has the events, where they are to come from one.
fn server(events: Source, layout: &Layout) -> Result<Option<Server>, Failure> {
    match events {
        Source::Ssh => Ok(None),
        Source::Nats => match settings::of_account(layout)? {
            Some(server) => Ok(Some(server)),
            None => Err(Failure::new(
                Exit::NoMatch,
                "events are to come by NATS, and no configuration names a server",
            )
            .hint("[nats] in ~/.config/akeys/afiles.toml, afiles(1)")),
        },
    }
}

/// What of the source goes the other way: it is brought back from where it would arrive.
fn own(setting: &Setting, workspace: &Workspace, layout: &Layout) -> Result<Vec<EventPath>, Failure> {
    let mut own = Vec::new();
    for push in &setting.push {
        let there = find(&push.to, layout)?.remote;
        let source = &workspace.found.remote;
        let here = Remote { path: source.join(&push.from), ..source.clone() };
        if there == here {
            own.push(push.from.clone());
        }
    }
    Ok(own)
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
        let told = format!("{said}; trying again in {} s", pause.as_secs_f32());
        // Whoever is told may ask for more at once.
        self.stand.troubled(said)?;
        self.teller.state("lost", Some(&told));
        Ok(())
    }
}
