//! What the client asks for: `SSH_ORIGINAL_COMMAND`, taken apart once.
//!
//! Nothing is guessed: a command is one of the shapes that a stock client sends, byte for byte, or it is refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::rsync::judge::Direction;
use crate::rsync::options::{Parsed, parse};
use crate::rsync::words::split;
use crate::scp;
use crate::sftp::Subsystem;
use crate::verdict::Refusal;
use crate::watch::Asked;

/// A request, by tool.
#[derive(Debug)]
pub enum Request {
    /// `true`: the client tests the connection. Nothing runs.
    Probe,
    /// `test -d PATH` and the like: whether something is there. Answered only where the policy says so.
    Exists(Exists, Vec<u8>),
    /// The SFTP subsystem.
    Sftp(Subsystem),
    /// `scp -t …` or `scp -f …`: the old protocol of scp.
    Scp(scp::Command),
    /// `awatch stream …`.
    Watch(Asked),
    /// `rsync --server …`.
    Rsync(Direction, Parsed),
}

/// What `test(1)` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exists {
    /// `-e`: anything.
    Anything,
    /// `-d`: a directory.
    Directory,
    /// `-f`: a regular file.
    File,
}

/// Longer commands are refused; sshd passes at most 131,051 bytes on, and no stock client comes near.
pub const MAX_COMMAND: usize = 131_072;

impl Request {
    /// Reads the command of a session; `None` stands for an unset variable, which is a request for a shell.
    pub fn read(command: Option<&OsStr>) -> Result<Self, Refusal> {
        let command = command.map_or(&b""[..], OsStr::as_bytes);
        if command.is_empty() {
            return Err(Refusal::new("request.shell", "this key gives no shell"));
        }
        if command == b"true" {
            return Ok(Self::Probe);
        }
        if command.len() > MAX_COMMAND {
            return Err(Refusal::new("request.length", "the command is too long"));
        }
        if let Some(question) = exists(command) {
            return Ok(question);
        }
        if let Some(subsystem) = Subsystem::read(command) {
            return Ok(Self::Sftp(subsystem));
        }
        if let Some(line) = command.strip_prefix(b"scp ") {
            return scp::Command::read(line).map(Self::Scp);
        }
        if let Some(asked) = Asked::read(command) {
            return Ok(Self::Watch(asked));
        }
        let not_allowed = || Refusal::new("request.command", "this key runs no such command");
        let rest = command.strip_prefix(b"rsync --server").ok_or_else(not_allowed)?;
        let rest = match rest.split_first() {
            None => rest,
            Some((b' ', rest)) => rest,
            Some(_) => return Err(not_allowed()),
        };
        // `--sender` counts in this place and this spelling only, so that nothing else can turn a push into a pull.
        let (direction, rest) = match rest.strip_prefix(b"--sender ") {
            Some(rest) => (Direction::Pull, rest),
            None => (Direction::Push, rest),
        };
        Ok(Self::Rsync(direction, parse(&split(rest))?))
    }
}

/// `test -d PATH`, the path to the end of the line, within one pair of quotes or without.
fn exists(command: &[u8]) -> Option<Request> {
    let [kind, b' ', path @ ..] = command.strip_prefix(b"test -")? else { return None };
    let kind = match kind {
        b'e' => Exists::Anything,
        b'd' => Exists::Directory,
        b'f' => Exists::File,
        _ => return None,
    };
    let path = match path {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        path => path,
    };
    // No shell runs, so nothing that one would understand may stand there.
    let plain = !path.is_empty() && !path.iter().any(|b| b";&|<>()`$\"'\\\n*?[{".contains(b));
    plain.then(|| Request::Exists(kind, path.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_stock_client_sends_is_a_request() {
        let read = |command: &str| Request::read(Some(OsStr::new(command)));
        assert!(matches!(read("true"), Ok(Request::Probe)));
        assert!(matches!(
            read("rsync --server --sender -re.LsfxCIvu . x"),
            Ok(Request::Rsync(Direction::Pull, _))
        ));
        assert!(matches!(read("rsync --server -re.LsfxCIvu . x"), Ok(Request::Rsync(Direction::Push, _))));
        for command in [
            "awatch stream d",
            "awatch stream d --since 0123456789abcdef0123456789abcdef.18446744073709551615",
        ] {
            assert!(matches!(read(command), Ok(Request::Watch(_))), "{command:?}");
        }
        for command in [
            "",
            " ",
            "true ",
            "true\n",
            "/bin/true",
            "rsync",
            "rsync  --server . x",
            "rsync\t--server . x",
            " rsync --server . x",
            "/usr/bin/rsync --server . x",
            "rsync --server\t. x",
            "sudo rsync --server . x",
            "rsync --server --sender",
            "rsync --server --server . x",
            "bash",
            "rsync --daemon",
            "awatch",
            "awatch stream",
            "awatch  stream d",
            "awatch run d",
            "awatch stream d ",
            "awatch stream d --dir /",
            "awatch stream d --since",
            "awatch stream d --since 1",
            "awatch stream d --since 0123456789abcdef0123456789abcdef.-1",
            "awatch stream d --since 0123456789abcdef0123456789abcdef.1 --dir /",
            "awatch stream d\n--dir /",
            "/bin/awatch stream d",
        ] {
            assert!(read(command).is_err(), "{command:?}");
        }
        assert!(matches!(read("scp -t x"), Ok(Request::Scp(_))));
        for command in ["scp", "scp\t-t x", "scp -x", "/usr/bin/scp -t x", " scp -t x", "Scp -t x"] {
            assert!(read(command).is_err(), "{command:?}");
        }
        assert!(Request::read(None).is_err());
    }

    #[test]
    fn a_question_is_a_letter_and_a_path_that_no_shell_would_change() {
        let asked = |command: &str| match Request::read(Some(OsStr::new(command))) {
            Ok(Request::Exists(kind, path)) => Some((kind, String::from_utf8(path).unwrap())),
            other => other.map_or(None, |other| panic!("{command}: {other:?}")),
        };
        for (command, kind, path) in [
            ("test -e a", Exists::Anything, "a"),
            ("test -d a/b c", Exists::Directory, "a/b c"),
            ("test -f 'a b'", Exists::File, "a b"),
            ("test -f \"a b\"", Exists::File, "a b"),
            ("test -d -x", Exists::Directory, "-x"),
        ] {
            assert_eq!(asked(command), Some((kind, path.to_owned())), "{command}");
        }
        for command in [
            "test",
            "test -d",
            "test -d ",
            "test -d ''",
            "test -d '",
            "test -d 'a",
            "test -d 'a\"",
            "test -x a",
            "test -dd a",
            "test ! -d a",
            "test -d a\nid",
            "[ -d a ]",
        ] {
            assert_eq!(asked(command), None, "{command}");
        }
        for byte in ";&|<>()`$\"'\\\n*?[{".chars() {
            assert_eq!(asked(&format!("test -d a{byte}b")), None, "{byte:?}");
            assert_eq!(asked(&format!("test -d 'a{byte}b'")), None, "{byte:?}");
        }
    }

    #[test]
    fn a_command_is_as_long_as_sshd_passes_on() {
        let long = |length: usize| {
            let command = format!("test -e {}", "x".repeat(length - "test -e ".len()));
            Request::read(Some(OsStr::new(&command))).map_err(|refusal| refusal.rule)
        };
        assert!(matches!(long(MAX_COMMAND), Ok(Request::Exists(..))));
        assert_eq!(long(MAX_COMMAND + 1).err(), Some("request.length"));
        assert_eq!(long(MAX_COMMAND + 1000).err(), Some("request.length"));
    }
}
