//! The daemon: every workspace in a thread of its own, signals, and what is told to the service manager.

pub mod ask;
pub mod kept;
pub mod log;
pub mod mounts;
pub mod notify;
pub mod status;
pub mod workspace;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use self::ask::Listener;
use self::log::{Level, Log};
use self::notify::Manager;
use self::status::Shared;
use self::workspace::{Control, Setup, Workspace};
use super::config::Config;
use super::journal::lock;
use super::nats::publish::Publisher;
use super::nats::server::Server;
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;
use crate::sys::lease;

/// Where the configuration comes from, asked at the start and at every reload.
pub type Source<'a> = dyn Fn() -> Result<Config, Failure> + 'a;

/// A workspace that is being watched.
struct Running {
    setup: Setup,
    control: Control,
    status: Shared,
    thread: JoinHandle<()>,
    publisher: Option<Publisher>,
}

impl Running {
    /// Publishes to `server`, and to no other any more.
    fn publish(&mut self, server: Option<&Server>, log: Log) -> io::Result<()> {
        if let Some(before) = self.publisher.take() {
            before.stop();
            before.wait();
            self.status.set(|status| status.nats = None);
        }
        let start = |server: &Server| Publisher::start(&self.setup, server.clone(), self.status.clone(), log);
        self.publisher = server.map(start).transpose()?;
        Ok(())
    }

    /// Waits for the thread, which was asked to stop. What it has recorded last is still to be published.
    fn join(self) -> Option<Publisher> {
        // A thread that has panicked has nothing left to be lost.
        let _ = self.thread.join();
        self.publisher
    }

    fn end(self) {
        if let Some(publisher) = self.join() {
            publisher.stop();
            publisher.wait();
        }
    }
}

/// The daemon.
struct Daemon<'a> {
    layout: &'a Layout,
    source: &'a Source<'a>,
    log: Log,
    manager: Manager,
    running: BTreeMap<WorkspaceName, Running>,
    /// Where events are published, if anywhere.
    server: Option<Server>,
    /// How many threads have not said that they are ready, and what becomes readable when one does.
    starting: Arc<AtomicUsize>,
    news: Arc<OwnedFd>,
    /// Whether the manager waits for the word that all are.
    announce: bool,
}

/// How long the threads have to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon calls itself in its own lines.
const SELF: &str = "awatch";

/// Runs until it is told to stop.
pub fn run(layout: &Layout, source: &Source<'_>, level: Level) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::new(Exit::Failed, error);
    let config = source()?;
    refuse_second(&config)?;
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    // Before any thread begins, so that all signals come here.
    set.thread_block().map_err(|errno| system(errno.into()))?;
    lease::block_signal();
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&set, flags).map_err(|errno| system(errno.into()))?;
    let news =
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| system(errno.into()))?;
    let mut daemon = Daemon {
        layout,
        source,
        log: Log::new(level),
        manager: Manager::from_env(),
        running: BTreeMap::new(),
        server: None,
        starting: Arc::new(AtomicUsize::new(0)),
        news: Arc::new(news),
        announce: true,
    };
    let listener = Listener::open(layout).inspect_err(|error| {
        daemon.log.say(Level::Warning, &SELF, format_args!("nobody can ask for the status: {error}"));
    });
    daemon.take(config).map_err(system)?;
    let ended = daemon.serve(&signals, listener.as_ref().ok());
    daemon.manager.tell("STOPPING=1");
    daemon.stop();
    ended.map_err(system)
}

/// A second daemon for a workspace would only wait for the first one to go.
fn refuse_second(config: &Config) -> Result<(), Failure> {
    match config.workspaces.values().find(|setup| lock::is_held(&setup.state.join("journal"))) {
        None => Ok(()),
        Some(setup) => {
            let message = format!("another awatch watches {} already", setup.identity.workspace);
            Err(Failure::new(Exit::Conflict, message).hint("awatch status"))
        }
    }
}

impl Daemon<'_> {
    /// Starts what is new, stops what is gone, and does both with what has changed.
    fn take(&mut self, config: Config) -> io::Result<()> {
        let mut wanted = config.workspaces;
        let over: Vec<WorkspaceName> = self
            .running
            .iter()
            .filter(|(name, running)| wanted.get(name) != Some(&running.setup))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.end(&name);
        }
        if self.server != config.nats {
            self.server = config.nats;
            for running in self.running.values_mut() {
                running.publish(self.server.as_ref(), self.log)?;
            }
        }
        wanted.retain(|name, _| !self.running.contains_key(name));
        self.running.values().for_each(|running| running.control.reread());
        for (name, setup) in wanted {
            let running = self.start(setup)?;
            self.running.insert(name, running);
        }
        Ok(())
    }

    fn start(&self, setup: Setup) -> io::Result<Running> {
        let control = Control::new()?;
        let identity = &setup.identity;
        let path = shown(self.layout, &setup.path);
        let status = Shared::new(identity.workspace.clone(), identity.project.clone(), path);
        self.starting.fetch_add(1, Ordering::AcqRel);
        let (starting, news) = (Arc::clone(&self.starting), Arc::clone(&self.news));
        let ready = move || {
            starting.fetch_sub(1, Ordering::AcqRel);
            let _ = rustix::io::write(&news, &1_u64.to_ne_bytes());
        };
        let (log, name) = (self.log, identity.workspace.to_string());
        let workspace = Workspace::new(
            setup.clone(),
            control.clone(),
            status.clone(),
            log,
            Box::new(ready),
            Box::new(|| {}),
        );
        let thread = thread::Builder::new().name(name).spawn(move || workspace.run())?;
        let mut running = Running { setup, control, status, thread, publisher: None };
        running.publish(self.server.as_ref(), self.log)?;
        Ok(running)
    }

    fn end(&mut self, name: &WorkspaceName) {
        if let Some(running) = self.running.remove(name) {
            running.control.stop();
            running.end();
            self.log.say(Level::Notice, name, "not watched any more");
        }
    }

    fn stop(&mut self) {
        for running in self.running.values() {
            running.control.stop();
        }
        let until = Instant::now() + PATIENCE;
        while self.running.values().any(|running| !running.thread.is_finished()) {
            if Instant::now() >= until {
                // In the middle of a long comparison. What is kept is whole at every moment.
                let why = "not every workspace has stopped in time; what is kept is whole all the same";
                return self.log.say(Level::Warning, &SELF, why);
            }
            thread::sleep(Duration::from_millis(1));
        }
        // All of them say their last words at once.
        let publishers: Vec<Publisher> =
            std::mem::take(&mut self.running).into_values().filter_map(Running::join).collect();
        publishers.iter().for_each(Publisher::stop);
        publishers.into_iter().for_each(Publisher::wait);
    }

    /// Waits for signals, questions, and the threads.
    fn serve(&mut self, signals: &SignalFd, listener: Option<&Listener>) -> io::Result<()> {
        let watchdog = notify::watchdog();
        let mut barks = watchdog.map(|every| Instant::now() + every);
        loop {
            self.announce_if_ready();
            let left = barks.map(|when| when.saturating_duration_since(Instant::now()));
            self.wait(signals, listener, left)?;
            while let Some(signal) = signals.read_signal()? {
                match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                    Some(Signal::SIGHUP) => self.reload(),
                    _ => return Ok(()),
                }
            }
            if let Some(listener) = listener {
                listener.answer(|| self.running.values().map(|running| running.status.get()).collect());
            }
            if let (Some(every), Some(when)) = (watchdog, barks)
                && when <= Instant::now()
            {
                barks = Some(Instant::now() + every);
                // Every thread has to have answered the last question.
                let alive: Vec<bool> = self.running.values().map(|running| running.control.ask()).collect();
                if alive.into_iter().all(|alive| alive) {
                    self.manager.tell("WATCHDOG=1");
                }
            }
        }
    }

    fn wait(
        &self,
        signals: &SignalFd,
        listener: Option<&Listener>,
        time: Option<Duration>,
    ) -> io::Result<()> {
        let news = self.news.as_fd();
        let mut fds = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&news, PollFlags::IN)];
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let _ = rustix::io::read(&self.news, &mut [0; 8]);
        Ok(())
    }

    fn announce_if_ready(&mut self) {
        if self.announce && self.starting.load(Ordering::Acquire) == 0 {
            self.announce = false;
            let names: Vec<&str> = self.running.keys().map(WorkspaceName::as_str).collect();
            self.manager.tell(&format!("READY=1\nSTATUS=Watching {}.", names.join(", ")));
        }
    }

    /// Reads the configuration once more. One that cannot be read changes nothing.
    fn reload(&mut self) {
        self.manager.reloading();
        self.announce = true;
        let taken = (self.source)().map_err(|failure| failure.abbreviated(self.layout).to_string());
        match taken.and_then(|config| self.take(config).map_err(|error| error.to_string())) {
            Ok(()) => self.log.say(Level::Notice, &SELF, "the configuration was read again"),
            Err(why) => {
                let why = why.replace('\n', "; ");
                self.log.say(Level::Error, &SELF, format_args!("{why}; everything stays as it was"));
            }
        }
    }
}
