//! A connection to a server: messages in order, requests with their answers, and never a wait without an end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::secret::{self, SecretError};
use super::server::{Login, Server};
use super::socket::{PATIENCE, Socket};
use super::wire::{self, BadWire, Greeting, Input, Message, Said};

/// What is written is collected up to here.
const COLLECTED: usize = 64 * 1024;

/// Why a server is of no use for now.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("{0}")]
    Wire(#[from] BadWire),
    /// The files that say who is asking.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// The server says no, escaped.
    #[error("the server says: {0}")]
    Said(String),
    /// A password would be seen by others.
    #[error("the password would be sent in clear over the network: use tls://, or an nkey")]
    Clear,
    /// TLS was asked for.
    #[error("the server does not speak TLS")]
    NoTls,
    /// Nothing came back.
    #[error("no answer to {0}")]
    Silence(&'static str),
    /// Nobody there answers such requests.
    #[error("the server has no JetStream, or not for this account")]
    NoJetStream,
    /// JetStream says no.
    #[error("JetStream says: {text} ({code})")]
    JetStream {
        /// Its number for that.
        code: u64,
        /// Its words, escaped.
        text: String,
    },
    /// What came back cannot be read.
    #[error("the answer to {0} cannot be read")]
    Answer(&'static str),
    /// The message is longer than the server takes.
    #[error("a message of {0} bytes is longer than the server takes")]
    TooLong(usize),
    /// More than one stream takes the same events.
    #[error("{0} streams take {1}")]
    Streams(usize, String),
}

/// A connection.
pub struct Client {
    socket: Socket,
    input: Input,
    out: Vec<u8>,
    /// Messages that came while an answer was waited for.
    queue: VecDeque<Message>,
    /// Where answers come to: nobody else knows this word.
    inbox: String,
    requests: u64,
    subscriptions: u64,
    max_payload: usize,
}

impl Client {
    /// Connects, and logs in. `name` is what the server's administrator sees.
    pub fn connect(server: &Server, name: &str) -> Result<Self, NatsError> {
        let mut client = Self {
            socket: Socket::connect(&server.url)?,
            input: Input::default(),
            out: Vec::new(),
            queue: VecDeque::new(),
            inbox: format!("_INBOX.{}", Uuid::from_bytes(random()?).as_simple()),
            requests: 0,
            subscriptions: 0,
            max_payload: 0,
        };
        let greeting = client.greeting()?;
        client.max_payload = greeting.max_payload;
        if server.url.is_tls() || greeting.tls_required {
            if !(greeting.tls_required || greeting.tls_available) {
                return Err(NatsError::NoTls);
            }
            if !client.input.is_empty() {
                // It would be taken for what comes encrypted.
                return Err(NatsError::Said("something before TLS began".to_owned()));
            }
            client.socket.encrypt(server.url.host(), server.authority.as_deref())?;
        }
        client.log_in(&server.login, &greeting, name)?;
        let inbox = format!("{}.>", client.inbox);
        client.subscribe(&inbox);
        Ok(client)
    }

    fn greeting(&mut self) -> Result<Greeting, NatsError> {
        match self.said(Instant::now() + PATIENCE)? {
            Some(Said::Greeting(greeting)) => Ok(greeting),
            Some(Said::Error(text)) => Err(refusal(&text)),
            Some(_) => Err(NatsError::Answer("nothing: no greeting")),
            None => Err(NatsError::Silence("the connection")),
        }
    }

    fn log_in(&mut self, login: &Login, greeting: &Greeting, name: &str) -> Result<(), NatsError> {
        if matches!(login, Login::Password(..) | Login::Token(_)) && !self.socket.is_private() {
            return Err(NatsError::Clear);
        }
        let mut fields: Map<String, Value> = secret::fields(login, greeting.nonce.as_deref())?;
        for (field, value) in [
            ("verbose", false.into()),
            ("pedantic", false.into()),
            ("tls_required", greeting.tls_required.into()),
            ("name", Value::from(name)),
            ("lang", "rust".into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("protocol", 1.into()),
            ("headers", true.into()),
            ("no_responders", true.into()),
        ] {
            fields.insert(field.to_owned(), value);
        }
        self.out.extend_from_slice(format!("CONNECT {}\r\nPING\r\n", Value::Object(fields)).as_bytes());
        self.flush()?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.said(until)? {
                Some(Said::Pong) => return Ok(()),
                Some(Said::Error(text)) => return Err(refusal(&text)),
                Some(_) => {}
                None => return Err(NatsError::Silence("the login")),
            }
        }
    }

    /// Where an answer comes to that is to be known by `word`.
    pub fn inbox(&self, word: &str) -> String {
        format!("{}.{word}", self.inbox)
    }

    /// Asks for what is sent to `subject`.
    pub fn subscribe(&mut self, subject: &str) {
        self.subscriptions += 1;
        wire::subscribe(&mut self.out, subject, self.subscriptions);
    }

    /// Sends a message, with the next [`Client::flush`] at the latest.
    pub fn publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(&str, &str)],
        content: &[u8],
    ) -> Result<(), NatsError> {
        // The headers count, too.
        let length =
            content.len() + headers.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>();
        if length > self.max_payload {
            return Err(NatsError::TooLong(length));
        }
        wire::publish(&mut self.out, subject, reply, headers, content);
        if self.out.len() > COLLECTED { self.flush() } else { Ok(()) }
    }

    /// Sends what was collected.
    pub fn flush(&mut self) -> Result<(), NatsError> {
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.socket.write(&out)?;
        }
        Ok(())
    }

    /// Sends a question and waits for its answer; `what` says what it is, for people.
    pub fn request(
        &mut self,
        what: &'static str,
        subject: &str,
        content: &[u8],
    ) -> Result<Message, NatsError> {
        self.requests += 1;
        let reply = self.inbox(&format!("r{}", self.requests));
        self.publish(subject, Some(&reply), &[], content)?;
        let until = Instant::now() + PATIENCE;
        let mut others = VecDeque::new();
        let answer = loop {
            match self.next(until) {
                Ok(Some(message)) if message.subject == reply => break Ok(message),
                Ok(Some(message)) => others.push_back(message),
                Ok(None) => break Err(NatsError::Silence(what)),
                Err(error) => break Err(error),
            }
        };
        others.append(&mut self.queue);
        self.queue = others;
        answer
    }

    /// The next message that comes until then.
    pub fn next(&mut self, until: Instant) -> Result<Option<Message>, NatsError> {
        self.flush()?;
        if let Some(message) = self.queue.pop_front() {
            return Ok(Some(message));
        }
        loop {
            match self.said(until)? {
                Some(Said::Message(message)) => return Ok(Some(message)),
                Some(Said::Error(text)) => return Err(refusal(&text)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next message that has come already.
    pub fn next_now(&mut self) -> Result<Option<Message>, NatsError> {
        self.next(Instant::now())
    }

    /// What becomes readable when something comes. What [`Client::next_now`] has not taken yet does not show there.
    pub fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.fd()
    }

    /// The next thing that the server says until then. Its questions are answered.
    fn said(&mut self, until: Instant) -> Result<Option<Said>, NatsError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.input.take()? {
                Some(Said::Ping) => {
                    self.out.extend_from_slice(b"PONG\r\n");
                    self.flush()?;
                }
                Some(said) => return Ok(Some(said)),
                None => match self.socket.read(&mut buffer)? {
                    Some(length) => self.input.feed(&buffer[..length]),
                    None if Instant::now() >= until => return Ok(None),
                    None => self.socket.wait(until)?,
                },
            }
        }
    }
}

fn refusal(text: &str) -> NatsError {
    NatsError::Said(Escaped(text.as_bytes()).to_string())
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// How long to wait before the next attempt, after `failures` of them.
pub fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(5)).min(Duration::from_secs(8))
}
