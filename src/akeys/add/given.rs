//! The keys that somebody hands over: a file, standard input, or one key on the command line.
//!
//! Whoever wrote them may be anybody. Every line is read as sshd would read it in the key file; what it would pass over there
//! is refused here, with its place.

use std::ffi::OsStr;
use std::path::Path;

use rrsync_rs::escape::Escaped;

use crate::akeys::source;
use crate::authkeys::{Dead, Key, KeyFile, Line, Reading, Target};
use crate::common::exit::{Exit, Failure};

/// More than this are no keys.
const MAX_BYTES: usize = 1 << 20;

/// A key that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The key.
    pub key: Key,
    /// What stands behind it.
    pub comment: Vec<u8>,
    /// The options before it, as they are written.
    pub options: Option<Vec<u8>>,
    /// Where it comes from, escaped.
    origin: String,
}

impl Given {
    /// The keys that `word` means: `-`, a key itself, or a file; at least one.
    pub fn read(word: &OsStr) -> Result<Vec<Self>, Failure> {
        let bytes = word.as_encoded_bytes();
        let literal = bytes.contains(&b' ') && (holds_a_key(bytes) || is_meant_as_one(word));
        let (text, name) = if literal {
            (bytes.to_vec(), "the key".to_owned())
        } else {
            let name = if word == "-" { "standard input".to_owned() } else { Escaped::os(word).to_string() };
            (source::named_at_most(Path::new(word), MAX_BYTES)?, name)
        };
        let file = KeyFile::parse(text);
        let mut given = Vec::new();
        for line in file.lines() {
            let origin = if literal { name.clone() } else { format!("{name}:{}", line.number()) };
            match line.read(Target::default()) {
                Reading::Blank | Reading::Comment => {}
                Reading::Dead(dead) => return Err(no_key(line, &dead, &origin)),
                Reading::Entry(entry) => given.push(Self {
                    comment: entry.comment.trim_ascii_end().to_vec(),
                    options: entry.options_span.map(|span| line.raw()[span].to_vec()),
                    key: entry.key,
                    origin,
                }),
            }
        }
        if given.is_empty() {
            return Err(Failure::new(Exit::Failed, format!("{name}: there is no key in it")));
        }
        Ok(given)
    }

    /// What is said when options stand before the key and nobody said what to do with them.
    pub fn has_options(&self) -> Failure {
        let options = self.options.as_deref().unwrap_or_default();
        let message = format!("{}: options stand before the key: {}", self.origin, Escaped(options));
        Failure::new(Exit::Failed, message)
            .hint("--take-options takes them over, --drop-options leaves them out")
    }
}

/// Whether a word is a key rather than the name of a file.
fn holds_a_key(word: &[u8]) -> bool {
    let file = KeyFile::parse(word.to_vec());
    file.lines().any(|line| matches!(line.read(Target::default()), Reading::Entry(_)))
}

/// Whether it was to be one: base64 of a key behind a blank, and no such file.
fn is_meant_as_one(word: &OsStr) -> bool {
    word.as_encoded_bytes().windows(5).any(|part| part == b" AAAA") && !Path::new(word).exists()
}

fn no_key(line: Line<'_>, dead: &Dead, origin: &str) -> Failure {
    let text = line.content();
    if text.starts_with(b"-----BEGIN") || text.starts_with(b"PuTTY-User-Key-File") {
        let message = format!("{origin}: this is a private key");
        return Failure::new(Exit::Failed, message)
            .hint("its public half is in the file whose name ends in .pub: ssh-keygen -y -f FILE");
    }
    if text.starts_with(b"---- BEGIN SSH2 PUBLIC KEY") {
        return Failure::new(Exit::Failed, format!("{origin}: a key in the form of RFC 4716"))
            .hint("ssh-keygen -i -f FILE prints it as OpenSSH has it");
    }
    let failure = Failure::new(Exit::Failed, format!("{origin}:{dead}"));
    match dead.reason.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

    #[test]
    fn a_key_itself_or_a_file() {
        let literal = Given::read(OsStr::new(&format!("restrict {ED} me@home"))).unwrap();
        assert_eq!(literal[0].options.as_deref(), Some(&b"restrict"[..]));
        assert_eq!(literal[0].comment, b"me@home");
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("two words");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let refused = |text: &str| {
            write(text);
            Given::read(path.as_os_str()).unwrap_err().to_string()
        };
        write(&format!("# mine\n\n{ED} a\r\n{ED}\n"));
        let given = Given::read(path.as_os_str()).unwrap();
        assert_eq!((given.len(), given[0].comment.as_slice(), &given[1].options), (2, &b"a"[..], &None));
        assert!(
            refused(&format!("{ED}\nssh-ed25519 AAAA\n")).contains("two words:2:13: the key is cut short")
        );
        assert!(refused("-----BEGIN OPENSSH PRIVATE KEY-----\n").contains(":1: this is a private key"));
        assert!(refused("---- BEGIN SSH2 PUBLIC KEY ----\n").contains("ssh-keygen -i"));
        assert!(refused("# nothing\n").contains("there is no key in it"));
        assert!(refused(&"#".repeat(MAX_BYTES + 1)).contains("larger than"));
        assert!(Given::read(OsStr::new("/no/such/file")).is_err());
        let said = Given::read(OsStr::new("ssh-ed25519 AAAA bad")).unwrap_err().to_string();
        assert!(said.starts_with("the key:13: the key is cut short"), "{said}");
    }
}
