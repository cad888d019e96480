//! A NATS server of the test's own: Debian's, with JetStream, on a loopback port that the kernel has chosen.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use akeys::awatch::nats::client::Client;
use akeys::awatch::nats::jetstream::{Consumer, stream_of};
use akeys::awatch::nats::server::Server;
use tempfile::TempDir;

use super::programs::find_program;

/// Long enough for a loaded machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// A server, or what is left of one that was ended. It ends with this.
pub(crate) struct NatsServer {
    dir: TempDir,
    port: u16,
    more: String,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with `more` in its configuration.
    #[track_caller]
    pub(crate) fn start_with(more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("akeys-nats-").tempdir().unwrap();
        let mut server = Self { dir, port: 0, more: more.to_owned(), child: None };
        server.again();
        server
    }

    /// A server that is not there yet, whose port is free.
    #[track_caller]
    pub(crate) fn later() -> Self {
        let mut server = Self::start();
        server.kill();
        fs::remove_dir_all(server.dir.path().join("store")).unwrap();
        server
    }

    /// Starts it once more, on the same port, with what it has kept.
    #[track_caller]
    pub(crate) fn again(&mut self) {
        let file = self.dir.path().join("nats.conf");
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let store = self.dir.path().join("store");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\" }}\n{}\n",
            store.display(),
            self.more
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(find_program("nats-server"));
        let mut child =
            command.arg("-c").arg(&file).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (line, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // To its end: a server whose log nobody takes would wait for that.
        thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|said| drop(line.send(said))));
        self.child = Some(child);
        self.port = ready(&lines);
    }

    /// Ends it at once.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `nats://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A client of its own.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(&Server::new(self.url().parse().unwrap()), "test").unwrap()
    }

    /// Every message that is kept of a pattern: its subject and its content, in order.
    #[track_caller]
    pub(crate) fn kept(&self, pattern: &str) -> Vec<(String, Vec<u8>)> {
        let mut client = self.client();
        let Some(stream) = stream_of(&mut client, pattern).unwrap() else { return Vec::new() };
        let consumer = Consumer::new(&mut client, &stream, pattern, 1).unwrap();
        let reply = client.inbox("kept");
        let mut kept = Vec::new();
        let until = Instant::now() + DEADLINE;
        while (kept.len() as u64) < consumer.waiting {
            consumer.ask(&mut client, &reply, 1000, Duration::ZERO).unwrap();
            for _ in 0..1000 {
                let message = client.next(until).unwrap().expect("a message in time");
                if message.status.is_some() {
                    break;
                }
                kept.push((message.subject, message.content));
            }
        }
        kept
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port, once the server takes connections.
#[track_caller]
fn ready(lines: &Receiver<String>) -> u16 {
    let (mut port, mut said) = (None, String::new());
    loop {
        let line =
            lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("nats-server is not ready: {said}"));
        if let Some((_, place)) = line.split_once("Listening for client connections on ") {
            port = place.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        }
        if line.ends_with("Server is ready") {
            return port.expect("a port");
        }
        said += &(line + "\n");
    }
}
