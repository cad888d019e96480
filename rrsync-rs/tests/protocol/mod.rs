//! A client with a protocol implementation of its own, as little of it as an attack needs: protocol 29, sending.
//!
//! It obeys nobody: it sends files that were not asked for, and says whatever it likes about them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use nix::unistd::Pid;

use crate::support::{Account, GATE};

mod md4;

const VERSION: i32 = 29;
/// `ITEM_TRANSFER`: the file's data follow.
const TRANSFER: u16 = 1 << 15;
/// `XMIT_LONG_NAME`: the name's length is four bytes; and the entry's flags are not zero, which would end the list.
const LONG_NAME: u8 = 1 << 6;
/// `NDX_DONE`: the end of a phase.
const DONE: i32 = -1;

/// Where the server's standard error goes, in the account.
const ERRORS: &str = "protocol-errors";

/// A session of such a client.
pub struct Sender {
    server: Child,
    to_server: ChildStdin,
    seed: [u8; 4],
    said: JoinHandle<String>,
    errors: PathBuf,
}

/// What a file is made of.
pub enum Part<'a> {
    /// Bytes of the client's.
    Bytes(&'a [u8]),
    /// The block of that number of what the server has.
    Block(i32),
}

impl Sender {
    /// Starts the gate with `flags` for `command`, a push, and comes as far as both are ready for the list of files.
    pub fn start(account: &Account, flags: &[&str], command: &str) -> Self {
        Self::try_start(account, flags, command)
            .unwrap_or_else(|| panic!("{}", std::fs::read_to_string(account.root.join(ERRORS)).unwrap()))
    }

    /// The same; `None` where the gate refuses.
    pub fn try_start(account: &Account, flags: &[&str], command: &str) -> Option<Self> {
        let errors = account.root.join(ERRORS);
        let mut server = Command::new(GATE)
            // A grant says itself how long it waits.
            .args(if flags.contains(&"--grant") { &[][..] } else { &["-timeout", "20"] })
            .args(flags)
            .env_clear()
            .env("HOME", account.root.join("home"))
            .env("SSH_ORIGINAL_COMMAND", command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let mut to_server = server.stdin.take().unwrap();
        let mut from_server = server.stdout.take().unwrap();
        let _ = to_server.write_all(&VERSION.to_le_bytes());
        let mut hello = [0; 8];
        if from_server.read_exact(&mut hello).is_err() {
            server.wait().unwrap();
            return None;
        }
        let said = std::thread::spawn(move || messages(from_server));
        Some(Self { server, to_server, seed: hello[4..].try_into().unwrap(), said, errors })
    }

    /// The server's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.server.id().try_into().unwrap())
    }

    fn number(&mut self, number: i32) {
        // A server that has ended is seen at the end.
        let _ = self.to_server.write_all(&number.to_le_bytes());
    }

    /// Sends the list of files: name, mode and size. They have to be in the order in which rsync sorts them.
    pub fn list(&mut self, files: &[(&str, u32, i32)]) {
        for (name, mode, size) in files {
            let _ = self.to_server.write_all(&[LONG_NAME]);
            self.number(name.len().try_into().unwrap());
            let _ = self.to_server.write_all(name.as_bytes());
            for number in [*size, 1_000_000_000, mode.cast_signed()] {
                self.number(number);
            }
        }
        let _ = self.to_server.write_all(&[0]);
        // No error while the list was made.
        self.number(0);
    }

    /// Sends a file of the list, whether it was asked for or not. `claimed` is what the server is to believe it is then.
    pub fn file(&mut self, index: i32, block: i32, parts: &[Part<'_>], claimed: &[u8]) {
        self.head(index, block);
        self.parts(parts);
        self.number(0);
        let sum = md4::md4(&[&self.seed[..], claimed].concat());
        let _ = self.to_server.write_all(&sum);
    }

    /// Sends the beginning of a file, and not its end.
    pub fn begin(&mut self, index: i32, parts: &[Part<'_>]) {
        self.head(index, 0);
        self.parts(parts);
    }

    fn head(&mut self, index: i32, block: i32) {
        self.number(index);
        let _ = self.to_server.write_all(&TRANSFER.to_le_bytes());
        // How the parts of the server's file are counted: many blocks, their size, two bytes of checksum, no short one.
        for number in [if block > 0 { 1 << 10 } else { 0 }, block, 2, 0] {
            self.number(number);
        }
    }

    fn parts(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            match part {
                Part::Bytes(bytes) => {
                    self.number(bytes.len().try_into().unwrap());
                    let _ = self.to_server.write_all(bytes);
                }
                Part::Block(number) => self.number(-(number + 1)),
            }
        }
        let _ = self.to_server.flush();
    }

    /// Hangs up.
    pub fn break_off(self) {
        let Self { mut server, to_server, said, .. } = self;
        drop(to_server);
        said.join().unwrap();
        server.wait().unwrap();
    }

    /// Ends the session in order; what the server has said, in words.
    pub fn end(mut self) -> String {
        for _ in 0..4 {
            self.number(DONE);
        }
        let Self { mut server, to_server, said, errors, .. } = self;
        // The server hangs up first, or after its timeout.
        let said = said.join().unwrap();
        drop(to_server);
        let status = server.wait().unwrap();
        format!("{status:?}\n{said}{}", std::fs::read_to_string(errors).unwrap())
    }
}

/// Everything that a pull of such a client hears when it sends these filters: the list of files.
pub fn listing(account: &Account, flags: &[&str], command: &str, filters: &[&str]) -> Vec<u8> {
    let mut server = Command::new(GATE)
        .args(flags)
        .env_clear()
        .env("HOME", account.root.join("home"))
        .env("SSH_ORIGINAL_COMMAND", command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut to_server = server.stdin.take().unwrap();
    let mut sent = VERSION.to_le_bytes().to_vec();
    for filter in filters {
        sent.extend(i32::try_from(filter.len()).unwrap().to_le_bytes());
        sent.extend(filter.as_bytes());
    }
    sent.extend(0_i32.to_le_bytes());
    // No file is asked for, and every phase ends at once.
    sent.extend([DONE; 4].iter().flat_map(|done| done.to_le_bytes()));
    let _ = to_server.write_all(&sent);
    let mut heard = Vec::new();
    server.stdout.take().unwrap().read_to_end(&mut heard).unwrap();
    drop(to_server);
    server.wait().unwrap();
    heard
}

/// What stands between the data that a server sends: frames of a tag, a length and that many bytes.
fn messages(mut server: impl Read) -> String {
    let mut said = Vec::new();
    let mut header = [0; 4];
    while server.read_exact(&mut header).is_ok() {
        let [low, middle, high, tag] = header;
        let mut body = vec![0; usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16];
        if server.read_exact(&mut body).is_err() {
            break;
        }
        // Seven is data; what is above are messages.
        if tag != 7 {
            said.extend(body);
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}
