//! `awatch run`: from the command line to the daemon.

use std::collections::BTreeMap;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;

use super::cli::Run;
use super::config::{self, Config};
use super::daemon;
use super::daemon::workspace::Setup;
use super::journal;
use super::nats::server::Server;
use super::nats::settings;
use super::record::Identity;
use super::watcher::Options;
use crate::common::exit::{Exit, Failure};
use crate::common::input;

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: &Run, layout: &Layout) -> Result<(), Failure> {
    let source = || {
        let mut config = match &args.dir {
            Some(dir) => one(dir, args, layout)?,
            None => of_file(args.config.as_deref(), layout)?,
        };
        if let (None, Some(federation)) = (&config.nats, &config.federation) {
            config.nats = settings::of_federation(federation, layout)?;
        }
        Ok(config)
    };
    daemon::run(layout, &source, args.log)
}

/// The configuration in a file.
pub(super) fn of_file(path: Option<&Path>, layout: &Layout) -> Result<Config, Failure> {
    let usual = layout.watch_file();
    let path = path.unwrap_or(&usual);
    let author = rrsync_rs::watch::author();
    input::own(path, |text| config::parse(text, layout, &author)).map_err(|error| {
        let missing = error.is_missing();
        let failure = Failure { exit: error.exit(), ..error.into() };
        if missing { failure.hint("name a directory: awatch run DIR") } else { failure }
    })
}

/// One directory, as the command line says.
fn one(dir: &Path, args: &Run, layout: &Layout) -> Result<Config, Failure> {
    let path = std::path::absolute(dir).map_err(|error| Failure::new(Exit::Failed, error))?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&path)?,
    };
    let setup = Setup {
        state: layout.watch_of(&name),
        identity: Identity {
            author: rrsync_rs::watch::author(),
            project: args.project.clone(),
            workspace: name.clone(),
        },
        path,
        options: Options::default(),
        ignore: Vec::new(),
        global_ignore: Some(layout.ignore_file()),
        retention: journal::RETENTION,
    };
    let nats = args.nats.clone().map(Server::new);
    Ok(Config { workspaces: BTreeMap::from([(name, setup)]), nats, federation: args.federation.clone() })
}

fn name_of(path: &Path) -> Result<WorkspaceName, Failure> {
    let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    last.parse().map_err(|error| {
        let message = format!("{}: {error}", Escaped::os(path));
        Failure::new(Exit::Usage, message).hint("give the workspace a name: --name")
    })
}
