//! The words of the NATS client protocol, and nothing about what they mean.
//!
//! A line, and behind some of them a content of known length. Lengths come from the other side, so each has a limit.

use std::fmt::Write as _;

use serde::Deserialize;

/// The longest line of a server: its greeting, which names the other servers of its cluster.
const MAX_LINE: usize = 64 * 1024;

/// The longest content that is taken. The server's own limit is 1 MiB unless its administrator has raised it.
const MAX_CONTENT: usize = 8 << 20;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Greeting {
    /// The longest content that it takes.
    pub max_payload: usize,
    /// Whether it takes messages with headers.
    #[serde(default)]
    pub headers: bool,
    /// Whether it demands to know who is asking.
    #[serde(default)]
    pub auth_required: bool,
    /// Whether it demands TLS.
    #[serde(default)]
    pub tls_required: bool,
    /// Whether it can do TLS.
    #[serde(default)]
    pub tls_available: bool,
    /// What is to be signed with a private key.
    #[serde(default)]
    pub nonce: Option<String>,
}

/// A message, as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Where it was sent.
    pub subject: String,
    /// Where an answer is to be sent.
    pub reply: Option<String>,
    /// The status of a message that the server itself has made, as in HTTP.
    pub status: Option<u16>,
    /// The content.
    pub content: Vec<u8>,
}

/// One thing that a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// What it is.
    Greeting(Greeting),
    /// A message.
    Message(Message),
    /// Are you there?
    Ping,
    /// I am here.
    Pong,
    /// Nothing of interest.
    Nothing,
    /// An error, in words.
    Error(String),
}

/// What is no NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the server says is not NATS: {0}")]
pub struct BadWire(&'static str);

/// What has come, and has not been read.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    /// Takes in what has come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether everything that has come was read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next thing that has come whole.
    pub fn take(&mut self) -> Result<Option<Said>, BadWire> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return if rest.len() > MAX_LINE { Err(BadWire("a line is too long")) } else { Ok(None) };
        };
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        let line = std::str::from_utf8(line).map_err(|_| BadWire("a line is not text"))?;
        let (word, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let said = match word.to_ascii_uppercase().as_str() {
            "INFO" => Said::Greeting(
                serde_json::from_str(arguments).map_err(|_| BadWire("the greeting cannot be read"))?,
            ),
            "PING" => Said::Ping,
            "PONG" => Said::Pong,
            "+OK" => Said::Nothing,
            "-ERR" => Said::Error(arguments.trim_matches(['\'', ' ']).to_owned()),
            word @ ("MSG" | "HMSG") => {
                let Some((message, length)) = message(arguments, word == "HMSG", behind)? else {
                    return Ok(None);
                };
                self.at += end + 2 + length;
                return Ok(Some(Said::Message(message)));
            }
            _ => return Err(BadWire("an unknown word")),
        };
        self.at += end + 2;
        Ok(Some(said))
    }
}

/// The message whose line says `arguments`, and how long it is; `None` while it is not there to its end.
fn message(arguments: &str, headers: bool, behind: &[u8]) -> Result<Option<(Message, usize)>, BadWire> {
    let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
    let (subject, reply, head, total) = match (words.as_slice(), headers) {
        ([subject, _, total], false) => (subject, None, "0", total),
        ([subject, _, reply, total], false) => (subject, Some(reply), "0", total),
        ([subject, _, head, total], true) => (subject, None, *head, total),
        ([subject, _, reply, head, total], true) => (subject, Some(reply), *head, total),
        _ => return Err(BadWire("a message's line cannot be read")),
    };
    let number = |word: &str| word.parse().ok().filter(|length| *length <= MAX_CONTENT);
    let (Some(head), Some(total)) = (number(head), number(total)) else {
        return Err(BadWire("a message is too long"));
    };
    let Some(whole) = behind.get(..total + 2) else { return Ok(None) };
    let Some(content) = whole.get(head..total).filter(|_| whole.ends_with(b"\r\n")) else {
        return Err(BadWire("a message does not end where it should"));
    };
    let status = status(whole.get(..head).unwrap_or_default());
    let (subject, reply) = ((*subject).to_owned(), reply.map(|reply| (*reply).to_owned()));
    Ok(Some((Message { subject, reply, status, content: content.to_owned() }, total + 2)))
}

/// The status in the first line of headers, `NATS/1.0 503 No Responders`.
fn status(headers: &[u8]) -> Option<u16> {
    let line = headers.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}

/// Asks for what is sent to `subject`, under the number `id`.
pub fn subscribe(out: &mut Vec<u8>, subject: &str, id: u64) {
    out.extend_from_slice(format!("SUB {subject} {id}\r\n").as_bytes());
}

/// Sends a message. No word of ours has a blank or the end of a line in it: subjects and replies are encoded before.
pub fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &[(&str, &str)],
    content: &[u8],
) {
    let reply = reply.map_or_else(String::new, |reply| format!("{reply} "));
    if headers.is_empty() {
        out.extend_from_slice(format!("PUB {subject} {reply}{}\r\n", content.len()).as_bytes());
    } else {
        let mut head = String::from("NATS/1.0\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let total = head.len() + content.len();
        out.extend_from_slice(format!("HPUB {subject} {reply}{} {total}\r\n{head}", head.len()).as_bytes());
    }
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Said>, BadWire> {
        let mut input = Input::default();
        let mut all = Vec::new();
        // Byte by byte: what is half there is nothing.
        for byte in bytes {
            input.feed(&[*byte]);
            all.extend(input.take()?);
        }
        assert!(input.is_empty(), "{all:?}");
        Ok(all)
    }

    fn message(subject: &str, reply: Option<&str>, status: Option<u16>, content: &[u8]) -> Said {
        let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
        Said::Message(Message { subject, reply, status, content: content.to_owned() })
    }

    #[test]
    fn whatever_a_server_says_is_read() {
        let said = all(b"INFO {\"max_payload\":9,\"version\":\"2.9.10\",\"headers\":true} \r\nPING\r\npong\r\n+OK\r\n\
            -ERR 'Authorization Violation'\r\nMSG a 1 2\r\n\r\n\r\nMSG a.b 1 r 0\r\n\r\n\
            HMSG a 1 30 30\r\nNATS/1.0 503 No Responders\r\n\r\n\r\nHMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nok\r\n")
        .unwrap();
        let [Said::Greeting(greeting), rest @ ..] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!((greeting.max_payload, greeting.headers, greeting.auth_required), (9, true, false));
        assert_eq!(
            rest,
            [
                Said::Ping,
                Said::Pong,
                Said::Nothing,
                Said::Error("Authorization Violation".to_owned()),
                message("a", None, None, b"\r\n"),
                message("a.b", Some("r"), None, b""),
                message("a", None, Some(503), b""),
                message("a", Some("r"), None, b"ok"),
            ]
        );
    }

    #[test]
    fn what_is_no_nats_is_refused_and_nothing_is_taken_without_limit() {
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"INFO x\r\n",
            b"MSG a 1\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 8388609\r\n",
            b"MSG a 1 1\r\nabc",
            b"HMSG a 1 5 4\r\nabcd\r\n",
            b"\xff\r\n",
        ] {
            let mut input = Input::default();
            input.feed(bad);
            assert!(input.take().is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let mut input = Input::default();
        input.feed(&vec![b'x'; MAX_LINE + 1]);
        assert!(input.take().is_err());
    }

    #[test]
    fn what_is_sent_says_how_long_it_is() {
        let mut out = Vec::new();
        subscribe(&mut out, "a.>", 3);
        publish(&mut out, "a", None, &[], b"x");
        publish(&mut out, "a", Some("r"), &[("Nats-Msg-Id", "1")], b"xy");
        let text = "SUB a.> 3\r\nPUB a 1\r\nx\r\nHPUB a r 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\nxy\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
