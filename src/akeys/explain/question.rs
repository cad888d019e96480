//! The question: a key, and everything else about the login that decides.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use crate::akeys::account::Account;
use crate::akeys::cli::Explain;
use crate::akeys::sshd;
use crate::authkeys::{Context, Key, Rules, Target};
use crate::common::clock;
use crate::common::exit::{Exit, Failure};

use super::certificate::Certificate;

/// A login to be judged.
pub(super) struct Question {
    /// The key, if one is asked about.
    pub(super) key: Option<Key>,
    /// Whether the target reads such a key at all. One that it does not know cannot be shown to it.
    pub(super) key_known: bool,
    /// Whose reader, and in which zone.
    pub(super) rules: Rules,
    /// The client's address.
    pub(super) address: IpAddr,
    /// The client's name, where sshd looks names up.
    pub(super) host: Option<String>,
    /// The account.
    pub(super) user: String,
    /// When.
    pub(super) now: Timestamp,
    /// The login shows a certificate that the key signed.
    pub(super) by_certificate: bool,
    /// That certificate, where it was given.
    pub(super) certificate: Option<Certificate>,
}

impl Question {
    /// The question that was typed. What was not said is this machine, this account, now, and this machine's sshd.
    pub(super) fn from_args(args: &Explain) -> Result<Self, Failure> {
        let now = args.at.unwrap_or_else(Timestamp::now);
        let target = args.target.map_or_else(sshd::target, Target::from);
        let certificate = args.key.as_deref().and_then(|text| Certificate::read(text, target));
        let key = match (&certificate, &args.key) {
            (Some(certificate), _) => Some((certificate.authority.clone(), true)),
            (None, text) => text.as_deref().map(|text| key(text, target)).transpose()?,
        };
        let (key, key_known) = key.map_or((None, true), |(key, known)| (Some(key), known));
        Ok(Self {
            key,
            key_known,
            rules: Rules { target, zone: clock::zone(now) },
            address: args.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host: args.host.clone(),
            user: args.user.clone().unwrap_or_else(|| Account::of(nix::unistd::geteuid().as_raw()).name),
            now,
            by_certificate: args.certificate || certificate.is_some(),
            certificate,
        })
    }

    /// The same for the model of sshd.
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            rules: self.rules,
            address: self.address,
            host: self.host.as_deref(),
            user: &self.user,
            now: self.now,
            certificate: self.by_certificate,
        }
    }
}

/// The key in `text`, a line of a `.pub` file, and whether `target` reads it.
fn key(text: &str, target: Target) -> Result<(Key, bool), Failure> {
    let read = |target| Key::from_public_line(text.as_bytes(), target);
    if let Some(key) = read(target) {
        return Ok((key, true));
    }
    let elsewhere = Target::OPENSSH.into_iter().find_map(read).map(|key| (key, false));
    elsewhere.ok_or_else(|| {
        Failure::new(Exit::Usage, "--key: this is no public key")
            .hint("TYPE BASE64 as in a .pub file, without options: --key \"$(cat id_ed25519.pub)\"")
    })
}
