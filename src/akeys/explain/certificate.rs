//! A certificate shown at a login: what it adds to the line that names its authority (`auth_check_authkey_line`,
//! `sshauthopt_merge`, `sshkey_cert_check_authority`).
//!
//! The authority's signature is not checked here: who asks has the certificate, and knows where it is from.

use std::collections::BTreeMap;

use crate::authkeys::{FromMatch, Key, Options, Target, base64};

use super::question::Question;

/// A certificate, as far as it decides a login.
#[derive(Debug)]
pub(in crate::akeys) struct Certificate {
    /// The key that signed it.
    pub(in crate::akeys) authority: Key,
    /// The key in it. A client that is refused with the certificate usually shows this one next.
    pub(super) subject: Option<Key>,
    kind: u32,
    principals: Vec<Vec<u8>>,
    valid_after: u64,
    valid_before: u64,
    critical: BTreeMap<Vec<u8>, Vec<u8>>,
    extensions: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a certificate may demand (PROTOCOL.certkeys, "Critical options"); any other refuses the login.
const CRITICAL: [&[u8]; 3] = [b"force-command", b"source-address", b"verify-required"];

impl Certificate {
    /// Reads a certificate as it stands in a `-cert.pub` file.
    pub(in crate::akeys) fn read(text: &str, target: Target) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (word, blob) = (words.next()?, words.next()?);
        let stem = word.strip_suffix("-cert-v01@openssh.com")?;
        let blob = base64::decode(blob.as_bytes()).ok()?;
        let mut fields = Fields(&blob);
        if fields.string()? != word.as_bytes() {
            return None;
        }
        fields.string()?;
        // How many strings the key itself has (PROTOCOL.certkeys).
        let parts = match stem {
            "ssh-ed25519" => 1,
            "ssh-rsa" | "sk-ssh-ed25519" => 2,
            "sk-ecdsa-sha2-nistp256" => 3,
            "ssh-dss" => 4,
            _ if stem.starts_with("ecdsa-sha2-") => 2,
            _ => return None,
        };
        let name = if stem.starts_with("sk-") { format!("{stem}@openssh.com") } else { stem.to_owned() };
        let length = u32::try_from(name.len()).ok()?.to_be_bytes();
        let start = fields.0;
        for _ in 0..parts {
            fields.string()?;
        }
        let key = [&length, name.as_bytes(), &start[..start.len() - fields.0.len()]].concat();
        fields.number::<8>()?;
        let kind = u32::from_be_bytes(fields.number()?);
        fields.string()?;
        let principals = Fields(fields.string()?).strings()?;
        let valid_after = u64::from_be_bytes(fields.number()?);
        let valid_before = u64::from_be_bytes(fields.number()?);
        let critical = options(fields.string()?)?;
        let extensions = options(fields.string()?)?;
        fields.string()?;
        let authority = Key::from_blob(fields.string()?, target).ok()?;
        let subject = Key::from_blob(&key, target).ok();
        Some(Self { authority, subject, kind, principals, valid_after, valid_before, critical, extensions })
    }

    /// Whether it is for a user; a host's is no login.
    pub(super) fn is_for_users(&self) -> bool {
        self.kind == 1
    }

    /// Why sshd refuses the certificate at a line with these options, in its own words.
    pub(super) fn refusal(&self, line: &Options, question: &Question) -> Option<String> {
        if self.critical.keys().any(|name| !CRITICAL.contains(&name.as_slice())) {
            return Some("Invalid certificate options".to_owned());
        }
        if let Some(list) = self.critical.get(&b"source-address"[..])
            && FromMatch::of(list, question.address, None) != FromMatch::Allowed
        {
            let address = question.address.to_canonical();
            return Some(format!(
                "Authentication tried for {} with valid certificate but not from a permitted source address ({address})",
                question.user
            ));
        }
        let forced = self.critical.get(&b"force-command"[..]);
        if let (Some(ours), Some(theirs)) = (line.command.as_ref(), forced)
            && ours != theirs
        {
            return Some("forced command options do not match".to_owned());
        }
        if let Some(list) = &line.principals {
            // match_list stops at an empty entry.
            let mut listed = list.split(|&byte| byte == b',').take_while(|name| !name.is_empty());
            if !listed.any(|listed| self.principals.iter().any(|name| name == listed)) {
                return Some("Certificate does not contain an authorized principal".to_owned());
            }
        }
        self.out_of_date(question).or_else(|| self.wrong_name(line, question))
    }

    fn out_of_date(&self, question: &Question) -> Option<String> {
        let now = u64::try_from(question.now.as_second()).unwrap_or_default();
        if now < self.valid_after {
            Some("Certificate invalid: not yet valid".to_owned())
        } else if now >= self.valid_before {
            Some("Certificate invalid: expired".to_owned())
        } else {
            None
        }
    }

    fn wrong_name(&self, line: &Options, question: &Question) -> Option<String> {
        if self.principals.is_empty() {
            // OpenSSH before 10.3 takes a certificate without names for one with every name.
            let strict = question.rules.target == Target::OpenSsh10_5;
            return strict.then(|| "Certificate lacks principal list".to_owned());
        }
        let listed =
            line.principals.is_some() || self.principals.iter().any(|name| name == question.user.as_bytes());
        (!listed).then(|| "Certificate invalid: name is not a listed principal".to_owned())
    }

    /// What the line and the certificate allow together: a right needs both, a demand only one.
    pub(super) fn merged(&self, line: &Options) -> Options {
        let has = |name: &str| self.extensions.contains_key(name.as_bytes());
        let forced = self.critical.get(&b"force-command"[..]).cloned();
        Options {
            pty: line.pty && has("permit-pty"),
            port_forwarding: line.port_forwarding && has("permit-port-forwarding"),
            agent_forwarding: line.agent_forwarding && has("permit-agent-forwarding"),
            x11_forwarding: line.x11_forwarding && has("permit-X11-forwarding"),
            user_rc: line.user_rc && has("permit-user-rc"),
            no_touch_required: line.no_touch_required && has("no-touch-required"),
            verify_required: line.verify_required || self.critical.contains_key(&b"verify-required"[..]),
            command: line.command.clone().or(forced),
            ..line.clone()
        }
    }
}

/// Names and their values; a value is a string within a string, or empty.
fn options(field: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let strings = Fields(field).strings()?;
    let pairs = strings.as_chunks::<2>();
    let value =
        |data: &[u8]| if data.is_empty() { Some(Vec::new()) } else { Some(Fields(data).string()?.to_vec()) };
    let read = |[name, data]: &[Vec<u8>; 2]| Some((name.clone(), value(data)?));
    if pairs.1.is_empty() { pairs.0.iter().map(read).collect() } else { None }
}

/// What is left of a blob (RFC 4251 §5).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.number()?)).ok()?;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    /// All that is left, as strings.
    fn strings(mut self) -> Option<Vec<Vec<u8>>> {
        let mut strings = Vec::new();
        while !self.0.is_empty() {
            strings.push(self.string()?.to_vec());
        }
        Some(strings)
    }
}
