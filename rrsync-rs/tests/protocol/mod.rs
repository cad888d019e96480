//! A client with a protocol implementation of its own, as little of it as an attack needs: protocol 29, sending.
//!
//! It obeys nobody: it sends files that were not asked for, and says whatever it likes about them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use crate::support::{Account, GATE};

mod md4;

const VERSION: i32 = 29;
/// `ITEM_TRANSFER`: the file's data follow.
const TRANSFER: u16 = 1 << 15;
/// `XMIT_LONG_NAME`: the name's length is four bytes; and the entry's flags are not zero, which would end the list.
const LONG_NAME: u8 = 1 << 6;
/// `NDX_DONE`: the end of a phase.
const DONE: i32 = -1;

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
        let errors = account.root.join("protocol-errors");
        let mut server = Command::new(GATE)
            .args(["-timeout", "20"])
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
        to_server.write_all(&VERSION.to_le_bytes()).unwrap();
        let mut hello = [0; 8];
        from_server
            .read_exact(&mut hello)
            .unwrap_or_else(|error| panic!("{error}: {}", std::fs::read_to_string(&errors).unwrap()));
        let said = std::thread::spawn(move || messages(from_server));
        Self { server, to_server, seed: hello[4..].try_into().unwrap(), said, errors }
    }

    fn number(&mut self, number: i32) {
        // A server that has ended is seen at the end.
        let _ = self.to_server.write_all(&number.to_le_bytes());
    }

    /// Sends the list of files: name and mode. They have to be in the order in which rsync sorts them.
    pub fn list(&mut self, files: &[(&str, u32)]) {
        for (name, mode) in files {
            let _ = self.to_server.write_all(&[LONG_NAME]);
            self.number(name.len().try_into().unwrap());
            let _ = self.to_server.write_all(name.as_bytes());
            for number in [1, 1_000_000_000, mode.cast_signed()] {
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
