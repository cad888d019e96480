//! Announcing a workspace: at once, every few seconds, whenever the daemon does something else there, and for the last time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::client::{Client, NatsError};
use super::jetstream;
use super::publish::Work;
use super::registry::{EVERY, Entry};
use super::subject;
use super::wire::Message;
use crate::akeys::host;
use crate::awatch::daemon::log::Level;
use crate::awatch::daemon::status::Doing;
use crate::event::Cursor;

/// How long the server may take to acknowledge the last one.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What announces a workspace; without an entry, nothing: its account is none that anybody could log in to.
pub struct Announcer {
    entry: Option<Entry>,
    subject: String,
    reply: String,
    next: Instant,
    told: bool,
}

impl Announcer {
    /// For the workspace that is published. The host's keys are looked up anew for each connection: they may be others by now.
    pub fn new(work: &Work) -> Self {
        let entry = entry(work);
        if entry.is_none() {
            let author = rrsync_rs::escape::Escaped(work.identity.author.as_bytes());
            work.say(Level::Warning, format_args!("it is not announced: {author} is no USER@HOST"));
        }
        let subject = subject::announcement(&work.identity);
        Self { entry, subject, reply: String::new(), next: Instant::now(), told: false }
    }

    /// When it is time again.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Announces the workspace if it is time. `cursor` is where its journal is.
    pub fn announce(&mut self, client: &mut Client, work: &Work, cursor: Cursor) -> Result<(), NatsError> {
        let doing = work.status.get().doing;
        let now = Instant::now();
        let Some(entry) = &mut self.entry else {
            self.next = now + EVERY;
            return Ok(());
        };
        if self.next > now && entry.doing == doing {
            return Ok(());
        }
        self.next = now + EVERY;
        (entry.doing, entry.cursor, entry.time) = (doing, Some(cursor), Timestamp::now());
        self.reply = client.inbox("announced");
        client.publish(&self.subject, Some(&self.reply), &[], &entry.message(false))
    }

    /// Says that the workspace is not there any more.
    pub fn last(&mut self, client: &mut Client) -> Result<(), NatsError> {
        let Some(entry) = &mut self.entry else { return Ok(()) };
        entry.time = Timestamp::now();
        let reply = client.inbox("gone");
        client.publish(&self.subject, Some(&reply), &[], &entry.message(true))?;
        let until = Instant::now() + LAST_PATIENCE;
        while client.next(until)?.is_some_and(|message| message.subject != reply) {}
        Ok(())
    }

    /// Whether this is what the server says to an announcement.
    pub fn is_answer(&self, message: &Message) -> bool {
        message.subject == self.reply
    }

    /// Takes that in. An event is not kept back because of a registry that is full.
    pub fn answered(&mut self, message: &Message, work: &Work) {
        match jetstream::taken(message) {
            Ok(_) => self.told = false,
            Err(_) if self.told => {}
            Err(error) => {
                self.told = true;
                work.say(Level::Warning, format_args!("it is not announced: {error}"));
            }
        }
    }
}

fn entry(work: &Work) -> Option<Entry> {
    let (user, host) = work.identity.author.rsplit_once('@')?;
    let own = host::Server::of_this_machine(user);
    let named = work.server.host_keys.iter().filter_map(|path| match host::public_key(path) {
        Ok(key) => Some(key),
        Err(failure) => {
            work.say(Level::Warning, format_args!("a host key that is not announced: {failure}"));
            None
        }
    });
    let (named, address) = (named.collect::<BTreeSet<_>>(), work.server.address.as_ref());
    Some(Entry {
        workspace: work.identity.workspace.clone(),
        project: work.identity.project.clone(),
        author: work.identity.author.clone(),
        user: user.parse().ok()?,
        host: address.map_or_else(|| host.parse().ok(), |address| Some(address.host.clone()))?,
        port: address.map_or(own.port, |address| address.port),
        host_keys: if work.server.host_keys.is_empty() { own.keys } else { named },
        time: Timestamp::now(),
        doing: Doing::Starting,
        cursor: None,
    })
}
