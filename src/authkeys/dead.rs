//! Lines that sshd passes over although their writer meant a key: why, where, and what was probably meant.

use std::fmt;

use rrsync_rs::escape::Escaped;

use super::key::BadKey;

/// A line that is no entry for sshd. `Display` is `COLUMN: reason`, ready to stand behind `FILE:LINE:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Why.
    pub reason: Reason,
    /// Where in the line it goes wrong, in bytes from 1.
    pub column: usize,
    /// Whether sshd got as far as a key. Without one it says nothing about the options in front.
    pub key_read: bool,
}

impl Dead {
    /// A line that goes wrong at `offset`, before a key was read.
    pub(super) fn at(offset: usize, reason: impl Into<Reason>) -> Self {
        Self { reason: reason.into(), column: offset + 1, key_read: false }
    }

    /// What sshd itself says in its log, `None` where it is silent: it logs nothing about a line in which it sees no
    /// key. The first is logged as an error, those that begin with `bad key options` at debug level 1 only.
    pub fn sshd_words(&self) -> Option<&'static str> {
        let quote = self.reason == Reason::UnterminatedQuote;
        self.reason.sshd_words().filter(|_| quote || self.key_read)
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.column, self.reason)
    }
}

/// Why a line is dead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A quote opens and never closes; `\"` does not close it, so no value can end in a backslash.
    #[error("the quote that opens here is never closed")]
    UnterminatedQuote,
    /// An option that the target does not know.
    #[error("unknown option \"{}\"", Escaped(name))]
    UnknownOption {
        /// The word as it stands in the line.
        name: Vec<u8>,
        /// The option that was probably meant.
        meant: Option<&'static str>,
    },
    /// A flag that was given a value.
    #[error("option \"{0}\" takes no value")]
    FlagWithValue(&'static str),
    /// An option that needs a value and has none.
    #[error("option \"{0}\" needs a value, as in {0}=\"…\"")]
    NoValue(&'static str),
    /// A value that does not start with a plain double quote.
    #[error("the value of \"{0}\" must stand in double quotes, right behind the '='")]
    MissingStartQuote(&'static str),
    /// Something between a closing quote and the next comma or blank.
    #[error("\"{}\" follows the option \"{option}\" without a comma", Escaped(junk))]
    Junk {
        /// The option in front.
        option: &'static str,
        /// What follows it.
        junk: Vec<u8>,
    },
    /// `command`, `from` or `principals` given twice.
    #[error("option \"{0}\" is given more than once")]
    Repeated(&'static str),
    /// Not a time that sshd reads.
    #[error("expiry-time must be YYYYMMDD[HHMM[SS]][Z], after 1970")]
    BadExpiry,
    /// Not `NAME=value` with a NAME of letters, digits and '_'.
    #[error("environment must be NAME=value, the name of letters, digits and '_'")]
    BadEnvironment,
    /// More than 1025 of them.
    #[error("more than 1025 environment options")]
    TooManyEnvironment,
    /// The host of a permitopen or permitlisten.
    #[error("the host of \"{0}\" is malformed or too long")]
    BadPermitHost(&'static str),
    /// The port of a permitopen or permitlisten.
    #[error("\"{0}\" needs a port: 1 to 65535, a service name, or '*'")]
    BadPermitPort(&'static str),
    /// More than 4097 of one kind.
    #[error("more than 4097 options \"{0}\"")]
    TooManyPermits(&'static str),
    /// Not a tunnel device.
    #[error("tunnel must be \"any\" or 0 to 2147483645")]
    BadTunnel,
    /// A blank inside the option list: sshd looks for the key right behind it.
    #[error("a blank inside the option list; sshd expects the key here")]
    BlankInOptions,
    /// Neither the first word nor the one behind the options is a key type.
    #[error("no key: \"{}\" is not a key type", Escaped(.0))]
    NoKeyType(Vec<u8>),
    /// A key type that the target's sshd does not read.
    #[error("this sshd knows no key type \"{}\"", Escaped(.0))]
    TypeNotKnownHere(Vec<u8>),
    /// A key type and nothing behind it.
    #[error("nothing follows the key type")]
    NoBlob,
    /// Text that is not base64 by `b64_pton`'s rules.
    #[error("the base64 text is malformed or breaks off here")]
    BadBase64,
    /// Base64 text that is not a key.
    #[error("{0}")]
    BadKey(#[from] BadKey),
    /// A certificate: it proves itself at login, listing it does nothing.
    #[error("a certificate in place of a key matches no login")]
    Certificate,
    /// Dropbear passes over lines above 3000 bytes.
    #[error("a line of more than 3000 bytes")]
    LineTooLong,
    /// Dropbear stops after 300 lines.
    #[error("behind line 300")]
    TooManyLines,
    /// Dropbear refuses a line with a NUL byte.
    #[error("a NUL byte")]
    Nul,
}

impl Reason {
    /// sshd's words for this reason, in a line in which it sees a key.
    fn sshd_words(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnterminatedQuote => "invalid key option string",
            Self::UnknownOption { .. } | Self::FlagWithValue(_) | Self::NoValue(_) | Self::Junk { .. } => {
                "bad key options: unknown key option"
            }
            // handle_permit drops opt_dequote's words; behind another value sshd even logs "(null)".
            Self::MissingStartQuote("permitopen" | "permitlisten") => "bad key options: unknown error",
            Self::MissingStartQuote(_) => "bad key options: missing start quote",
            Self::Repeated("command") => "bad key options: multiple \"command\" clauses",
            Self::Repeated("from") => "bad key options: multiple \"from\" clauses",
            Self::Repeated(_) => "bad key options: multiple \"principals\" clauses",
            Self::BadExpiry => "bad key options: invalid expires time",
            Self::BadEnvironment => "bad key options: invalid environment string",
            Self::TooManyEnvironment => "bad key options: too many environment strings",
            Self::BadPermitHost(_) => "bad key options: invalid permission hostname",
            Self::BadPermitPort(_) => "bad key options: invalid permission port",
            Self::TooManyPermits(_) => "bad key options: too many permission directives",
            Self::BadTunnel => "bad key options: invalid tun device",
            _ => return None,
        })
    }

    /// What to try instead, for a line of its own behind the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownOption { meant: Some(meant), .. } => Some(format!("did you mean \"{meant}\"?")),
            Self::UnterminatedQuote => {
                Some("\\\" is a quote inside the value, so a value cannot end in a backslash".to_owned())
            }
            Self::NoKeyType(word) => {
                let meant = match word.to_ascii_lowercase().as_slice() {
                    b"ed25519" | b"ssh-ed25519" => "ssh-ed25519",
                    b"rsa" | b"ssh-rsa" => "ssh-rsa",
                    b"ed25519-sk" => "sk-ssh-ed25519@openssh.com",
                    b"ecdsa-sk" => "sk-ecdsa-sha2-nistp256@openssh.com",
                    b"ecdsa" => "ecdsa-sha2-nistp256",
                    _ => return None,
                };
                Some(format!("did you mean \"{meant}\"?"))
            }
            _ => None,
        }
    }
}

/// The candidate closest to `word`, when it is close enough to be a slip.
pub(super) fn closest(word: &[u8], candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // Longer words are no slips, and bounding them keeps a line of megabytes cheap.
    if word.len() > 40 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| (distance(&word, candidate.as_bytes()), candidate))
        .min()
        .filter(|&(steps, candidate)| steps * 3 <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
