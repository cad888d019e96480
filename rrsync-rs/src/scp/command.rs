//! The command line of an scp client, cut into words as the remote shell would have cut it.
//!
//! A client sends `scp [-v] [-r] [-p] [-d] (-t|-f) [--] PATH` with the path as its user wrote it, for a shell to read. Quotes,
//! backslashes, wildcards, braces and `~` mean what they mean to a shell; whatever a shell would *run* refuses the request.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::expand::{at_home, plain};
use crate::escape::Escaped;
use crate::grant::Access;
use crate::policy::{Exposed, Policy, Use};
use crate::rsync::words::Word;
use crate::verdict::Refusal;
use crate::vfs::VirtualPath;

/// Which side of the copy is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `-t`: files come in.
    Sink,
    /// `-f`: files go out.
    Source,
}

/// A request of an scp client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which way.
    pub direction: Direction,
    /// `-r`: directories too.
    pub recursive: bool,
    /// `-p`: times and modes are kept.
    pub preserve: bool,
    /// `-d`: the target must be a directory.
    pub directory: bool,
    /// One target, or sources; wildcards and braces not expanded yet.
    pub operands: Vec<Word>,
}

impl Command {
    /// Reads what follows `scp `.
    pub fn read(line: &[u8]) -> Result<Self, Refusal> {
        let mut words = words(line)?.into_iter().peekable();
        let (mut sink, mut source, mut ended) = (false, false, false);
        let (mut recursive, mut preserve, mut directory) = (false, false, false);
        // getopt(3) as OpenSSH has it: options end at the first word that is none.
        while let Some(word) = words.next_if(|word| !ended && word.unescaped().starts_with(b"-")) {
            match word.unescaped().as_slice() {
                b"--" => ended = true,
                [b'-', letters @ ..] if !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' => sink = true,
                            b'f' => source = true,
                            b'r' => recursive = true,
                            b'p' => preserve = true,
                            b'd' => directory = true,
                            b'v' | b'q' => {}
                            _ => return Err(refused("scp.option", "this option is not for a server's scp")),
                        }
                    }
                }
                _ => return Err(refused("scp.option", "\"-\" is no path")),
            }
        }
        // The sender's option wins, as in scp.c `main`: so it is the one that is judged.
        let direction = match (source, sink) {
            (true, _) => Direction::Source,
            (false, true) => Direction::Sink,
            (false, false) => return Err(refused("scp.client", "this key starts no scp client")),
        };
        let operands: Vec<Word> = words.collect();
        match (direction, operands.len()) {
            (_, 0) => Err(refused("scp.operands", "no path was given")),
            (Direction::Sink, 2..) => {
                Err(refused("scp.operands", "ambiguous target: a name with spaces needs quotes"))
            }
            _ => Ok(Self { direction, recursive, preserve, directory, operands }),
        }
    }
}

impl Command {
    /// Whether anything of this can be allowed: no file of a workspace that is read-only as a whole is written, none of
    /// one that is write-only is read. Everything else is decided file by file.
    pub fn allowed(&self, policy: &Policy) -> Result<(), Refusal> {
        let (wanted, allows): (Use, fn(Access) -> bool) = match self.direction {
            Direction::Sink => (Use::Write, Access::may_write),
            Direction::Source => (Use::Read, Access::may_read),
        };
        let may = |exposed: &Exposed| exposed.workspace.places().any(|(_, access)| allows(access));
        for operand in &self.operands {
            let path = VirtualPath::parse(&plain(at_home(operand.marked()))).unwrap_or_default();
            let named = |exposed: &&Exposed| {
                let name = exposed.name.as_ref().map(|name| name.as_str().as_bytes());
                name.is_some() && name == path.split().map(|(name, _)| name.as_bytes())
            };
            let refuser = match policy.exposed.iter().find(named) {
                Some(exposed) => Some(exposed).filter(|exposed| !may(exposed)),
                None => policy.exposed.first().filter(|_| !policy.exposed.iter().any(may)),
            };
            if let Some(exposed) = refuser {
                return Err(wanted.refusal(&exposed.shown(Path::new("")), exposed.workspace.access));
            }
        }
        Ok(())
    }

    /// What the request is about, as the client names it.
    pub fn targets(&self) -> Vec<String> {
        self.operands.iter().map(|operand| Escaped(&operand.unescaped()).to_string()).collect()
    }
}

fn refused(rule: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(rule, message)
}

/// Cuts a line as a shell does; what was quoted is marked, and is nothing but itself.
fn words(line: &[u8]) -> Result<Vec<Word>, Refusal> {
    let mut words = Vec::new();
    let mut word: Option<Vec<(u8, bool)>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\\' => {
                let next = bytes.next().ok_or_else(unbalanced)?;
                // A shell joins the lines.
                if next != b'\n' {
                    word.get_or_insert_default().push((next, true));
                }
            }
            b'\'' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match bytes.next().ok_or_else(unbalanced)? {
                        b'\'' => break,
                        byte => quoted.push((byte, true)),
                    }
                }
            }
            b'"' => double_quoted(&mut bytes, word.get_or_insert_default())?,
            b'\n' => return Err(shell_syntax(byte)),
            byte if b";&|<>()`$".contains(&byte) => return Err(shell_syntax(byte)),
            byte => word.get_or_insert_default().push((byte, false)),
        }
    }
    words.extend(word);
    Ok(words.into_iter().map(Word::from_marked).collect())
}

fn double_quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<(u8, bool)>) -> Result<(), Refusal> {
    loop {
        match bytes.next().ok_or_else(unbalanced)? {
            b'"' => return Ok(()),
            byte @ (b'$' | b'`') => return Err(shell_syntax(byte)),
            b'\\' => match bytes.next().ok_or_else(unbalanced)? {
                b'\n' => {}
                next if b"$`\"\\".contains(&next) => word.push((next, true)),
                next => word.extend([(b'\\', true), (next, true)]),
            },
            byte => word.push((byte, true)),
        }
    }
}

fn unbalanced() -> Refusal {
    refused("scp.shell-syntax", "the path ends in the middle of a quotation")
}

fn shell_syntax(byte: u8) -> Refusal {
    let message = format!("the path has a bare {:?}: no shell runs here; quote it", char::from(byte));
    refused("scp.shell-syntax", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_what_a_client_sends() {
        for (line, direction, flags, operands) in [
            ("-t x", Direction::Sink, "", &["x"][..]),
            ("-v -r -p -d -t x", Direction::Sink, "rpd", &["x"]),
            ("-rpdvt x", Direction::Sink, "rpd", &["x"]),
            ("-qt x", Direction::Sink, "", &["x"]),
            ("-f a b", Direction::Source, "", &["a", "b"]),
            ("-t -f x", Direction::Source, "", &["x"]),
            ("-ft x", Direction::Source, "", &["x"]),
            ("-t -- -x", Direction::Sink, "", &["-x"]),
            ("-f x -r", Direction::Source, "", &["x", "-r"]),
            (r"-f a\ b 'c d' \$e", Direction::Source, "", &["a b", "c d", "$e"]),
            (r#"-f "a 'b' \"c\" \x" 'it'\''s'"#, Direction::Source, "", &["a 'b' \"c\" \\x", "it's"]),
            ("-t ''", Direction::Sink, "", &[""]),
            ("-t 'a\nb'", Direction::Sink, "", &["a\nb"]),
            ("-t  x\t", Direction::Sink, "", &["x"]),
            ("-t #x!y^z=%", Direction::Sink, "", &["#x!y^z=%"]),
        ] {
            let command = Command::read(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            let flag = |set, letter| if set { letter } else { "" };
            let found =
                [flag(command.recursive, "r"), flag(command.preserve, "p"), flag(command.directory, "d")];
            let words: Vec<_> =
                command.operands.iter().map(|word| word.to_os().into_string().unwrap()).collect();
            assert_eq!(
                (command.direction, found.concat().as_str(), words),
                (direction, flags, operands.iter().map(ToString::to_string).collect()),
                "{line}"
            );
        }
    }

    #[test]
    fn whatever_else_a_shell_would_do_is_refused() {
        for (line, rule) in [
            ("", "scp.client"),
            ("x y", "scp.client"),
            ("x -t", "scp.client"),
            ("-- -t x", "scp.client"),
            ("-t", "scp.operands"),
            ("-f", "scp.operands"),
            ("-t a b", "scp.operands"),
            ("-t -o x y", "scp.option"),
            ("-S./p -t x", "scp.option"),
            ("-rvpS./p x y", "scp.option"),
            ("--help", "scp.option"),
            ("-t -", "scp.option"),
            ("-t x;id", "scp.shell-syntax"),
            ("-t `id`", "scp.shell-syntax"),
            ("-t $(id)", "scp.shell-syntax"),
            ("-t \"$HOME\"", "scp.shell-syntax"),
            ("-t x\nid", "scp.shell-syntax"),
            ("-t 'x", "scp.shell-syntax"),
            ("-t \"x", "scp.shell-syntax"),
            ("-t x\\", "scp.shell-syntax"),
            ("-t x>y", "scp.shell-syntax"),
            ("-t x & id", "scp.shell-syntax"),
        ] {
            assert_eq!(Command::read(line.as_bytes()).unwrap_err().rule, rule, "{line:?}");
        }
    }
}
