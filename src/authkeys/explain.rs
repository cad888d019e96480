//! Which line lets a key in, and why each of the others does not: `auth_check_authkeys_file` and
//! `auth_authorise_keyopts`.

use std::net::IpAddr;

use jiff::Timestamp;

use super::dead::Dead;
use super::file::{KeyFile, Line};
use super::from::FromMatch;
use super::key::{Algorithm, Key};
use super::options::Options;
use super::read::{Reading, Rules};
use super::values::Expiry;

/// The login that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose reader, and in which zone.
    pub rules: Rules,
    /// The client's address.
    pub address: IpAddr,
    /// The client's name, if sshd looks names up and this one leads back to the address.
    pub host: Option<&'a str>,
    /// The account.
    pub user: &'a str,
    /// When.
    pub now: Timestamp,
    /// The login shows a certificate, and the key asked about is the authority that signed it.
    pub certificate: bool,
}

/// What the file says to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number of the line that lets the key in. For a certificate: as far as the line goes; its own principals,
    /// dates and options come on top.
    pub accepted_by: Option<usize>,
    /// Every line in order with its part in this.
    pub lines: Vec<(usize, Why)>,
    /// sshd refuses this kind of key before it looks at the file, unless its `PubkeyAcceptedAlgorithms` was changed.
    pub algorithm_off: bool,
}

/// The part of one line in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It lets the key in; sshd looks no further.
    Accepts,
    /// It is behind the line that lets the key in.
    NotReached,
    /// It is blank.
    Blank,
    /// It is a comment.
    Comment,
    /// It is dead.
    Dead(Dead),
    /// It is for another key.
    OtherKey,
    /// It is for this key, as an authority for certificates (or not as one, when a certificate is shown).
    OtherUse,
    /// It is for this key, and refuses it; sshd goes on to the next line.
    Refuses(Refusal),
}

/// Why a line refuses its own key, in the order in which sshd looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time is over.
    #[error("entry expired")]
    Expired(Expiry),
    /// `principals=` without `cert-authority`: the manual says ignored, sshd refuses.
    #[error("principals on non-CA key")]
    Principals,
    /// The `from=` list is malformed, which keeps everybody out.
    #[error("invalid from criteria")]
    BadFromList,
    /// The client is not in the `from=` list.
    #[error("correct key but not from a permitted host")]
    NotFromHere,
}

impl Refusal {
    /// What sshd logs: the last one always, the others at debug level 1 only.
    pub fn sshd_words(self, context: &Context<'_>) -> String {
        let address = context.address.to_canonical();
        match self {
            Self::Expired(expiry) => match expiry.moment() {
                Some(moment) => format!("entry expired at {moment}"),
                None => self.to_string(),
            },
            Self::Principals | Self::BadFromList => self.to_string(),
            Self::NotFromHere => format!(
                "Authentication tried for {} with correct key but not from a permitted host (host={}, ip={address})",
                context.user,
                context.host.map_or_else(|| address.to_string(), str::to_owned),
            ),
        }
    }
}

impl KeyFile {
    /// What sshd would do with `key`, line by line.
    pub fn explain(&self, key: &Key, context: &Context<'_>) -> Answer {
        let mut accepted_by = None;
        let lines = self
            .lines()
            .map(|line| {
                let why = if accepted_by.is_some() { Why::NotReached } else { judge(line, key, context) };
                if why == Why::Accepts {
                    accepted_by = Some(line.number());
                }
                (line.number(), why)
            })
            .collect();
        Answer { accepted_by, lines, algorithm_off: !key.algorithm().accepted_by_default() }
    }
}

impl Answer {
    /// The lines that are for this key, up to the one that accepts it, also those that refuse it.
    pub fn matched(&self) -> impl Iterator<Item = usize> {
        let matches = |why: &Why| matches!(why, Why::Accepts | Why::Refuses(_));
        self.lines.iter().filter(move |(_, why)| matches(why)).map(|(number, _)| *number)
    }
}

fn judge(line: Line<'_>, key: &Key, context: &Context<'_>) -> Why {
    match line.read(context.rules) {
        Reading::Blank => Why::Blank,
        Reading::Comment => Why::Comment,
        Reading::Dead(dead) => Why::Dead(dead),
        Reading::Entry(entry) if entry.key != *key => Why::OtherKey,
        Reading::Entry(entry) if entry.options.cert_authority != context.certificate => Why::OtherUse,
        Reading::Entry(entry) => entry.options.refusal(context).map_or(Why::Accepts, Why::Refuses),
    }
}

/// What a FIDO key's signature has to prove; other keys need neither. sshd looks at it after the file, and looks no further when
/// it is missing (`sshkey_verify` and what follows in auth2-pubkey.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Somebody touches the authenticator.
    pub touch: bool,
    /// The authenticator knows its user, by a PIN for example.
    pub verification: bool,
}

impl Options {
    /// What a signature with a key of this kind has to prove, as far as the line says.
    pub fn needs(&self, algorithm: Algorithm) -> Needs {
        match algorithm {
            Algorithm::SkEd25519 | Algorithm::SkEcdsaP256 => {
                Needs { touch: !self.no_touch_required, verification: self.verify_required }
            }
            _ => Needs::default(),
        }
    }

    /// Why these options would refuse their own key in this context, if they do (`auth_authorise_keyopts`).
    pub fn refusal(&self, context: &Context<'_>) -> Option<Refusal> {
        if let Some(expiry) = self.expiry.filter(|expiry| expiry.passed(context.now)) {
            return Some(Refusal::Expired(expiry));
        }
        if self.principals.is_some() && !self.cert_authority {
            return Some(Refusal::Principals);
        }
        match FromMatch::of(self.from.as_deref()?, context.address, context.host) {
            FromMatch::Allowed => None,
            FromMatch::NotAllowed => Some(Refusal::NotFromHere),
            FromMatch::Invalid => Some(Refusal::BadFromList),
        }
    }
}
