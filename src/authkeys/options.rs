//! The options of a line, evaluated left to right: `sshauthopt_parse` in auth-options.c.
//!
//! One unknown or malformed option kills the whole line, so a parsed [`Options`] is the complete meaning.

use std::ops::Range;

use super::dead::{Dead, Reason, closest};
use super::read::{Rules, Target, is_blank};
use super::values::{self, Expiry};

/// What a line allows and demands, after all its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `restrict` was given; what a later option allowed again is in the fields below.
    pub restrict: bool,
    /// A terminal may be allocated.
    pub pty: bool,
    /// TCP and socket forwarding, both directions.
    pub port_forwarding: bool,
    /// The client's agent may be forwarded.
    pub agent_forwarding: bool,
    /// X11 may be forwarded.
    pub x11_forwarding: bool,
    /// `~/.ssh/rc` runs.
    pub user_rc: bool,
    /// A FIDO key need not prove a touch.
    pub no_touch_required: bool,
    /// A FIDO key must prove that its user was verified (PIN or finger).
    pub verify_required: bool,
    /// The key signs certificates, and cannot log in itself.
    pub cert_authority: bool,
    /// The forced command, unescaped.
    pub command: Option<Vec<u8>>,
    /// The list of addresses and names, as it stands; [`super::FromMatch`] judges it.
    pub from: Option<Vec<u8>>,
    /// The list of principals, as it stands. On a key that is no authority, sshd refuses the key.
    pub principals: Option<Vec<u8>>,
    /// The earliest of the expiry times.
    pub expiry: Option<Expiry>,
    /// `NAME=value` each; the first of a name stays.
    pub environment: Vec<Vec<u8>>,
    /// `host:port` each.
    pub permitopen: Vec<Vec<u8>>,
    /// `host:port` each; a bare port stands as `*:port`.
    pub permitlisten: Vec<Vec<u8>>,
    /// The tunnel device; [`Options::ANY_TUNNEL`] stands for `any`.
    pub tunnel: Option<u32>,
    /// Every option in the order of the line.
    pub items: Vec<OptionItem>,
}

impl Options {
    /// `SSH_TUNID_ANY` in sshd's misc.h.
    pub const ANY_TUNNEL: u32 = 0x7fff_ffff;
}

impl Default for Options {
    /// A line without options: everything is allowed (`sshauthopt_new_with_keys_defaults`).
    fn default() -> Self {
        Self {
            restrict: false,
            pty: true,
            port_forwarding: true,
            agent_forwarding: true,
            x11_forwarding: true,
            user_rc: true,
            no_touch_required: false,
            verify_required: false,
            cert_authority: false,
            command: None,
            from: None,
            principals: None,
            expiry: None,
            environment: Vec::new(),
            permitopen: Vec::new(),
            permitlisten: Vec::new(),
            tunnel: None,
            items: Vec::new(),
        }
    }
}

/// One option of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionItem {
    /// Its name in lower case, without `no-`.
    pub name: &'static str,
    /// Whether it stands with `no-`.
    pub negated: bool,
    /// Its value, unescaped.
    pub value: Option<Vec<u8>>,
    /// Where it stands in the line.
    pub span: Range<usize>,
}

/// The flags, and whether `no-` may stand before them.
const FLAGS: [(&str, bool); 9] = [
    ("restrict", false),
    ("cert-authority", false),
    ("port-forwarding", true),
    ("agent-forwarding", true),
    ("x11-forwarding", true),
    ("touch-required", true),
    ("verify-required", true),
    ("pty", true),
    ("user-rc", true),
];

const NEGATED: [&str; 7] = [
    "no-port-forwarding",
    "no-agent-forwarding",
    "no-X11-forwarding",
    "no-touch-required",
    "no-verify-required",
    "no-pty",
    "no-user-rc",
];

const VALUED: [&str; 8] =
    ["command", "principals", "from", "expiry-time", "environment", "permitopen", "permitlisten", "tunnel"];

/// svr-authpubkeyoptions.c of Dropbear.
const DROPBEAR: [&str; 10] = [
    "no-port-forwarding",
    "no-agent-forwarding",
    "no-X11-forwarding",
    "no-pty",
    "restrict",
    "command",
    "permitopen",
    "permitlisten",
    "no-touch-required",
    "verify-required",
];

/// Parses the options that start at `start`; they end at the first blank outside a value.
pub(super) fn parse(text: &[u8], start: usize, rules: Rules) -> Result<Options, Dead> {
    let mut options = Options::default();
    let mut at = start;
    while text.get(at).is_some_and(|&byte| !is_blank(byte)) {
        let item = item_at(text, at, &options, rules.target)?;
        if let Some(item) = item {
            let from = at;
            at = item.span.end;
            options.apply(item, rules).map_err(|reason| Dead::at(from, reason))?;
        }
        match text.get(at) {
            None => break,
            Some(&byte) if is_blank(byte) => break,
            Some(b',') => at += 1,
            Some(_) => return Err(unknown(text, at, options.items.last(), rules.target)),
        }
    }
    Ok(options)
}

/// The option at `at`; `None` when there is nothing that begins like one, as between two commas.
fn item_at(text: &[u8], at: usize, before: &Options, target: Target) -> Result<Option<OptionItem>, Dead> {
    let rest = &text[at..];
    let positive = strip_prefix(rest, "no-");
    for (name, negatable) in FLAGS {
        let negated = positive.filter(|_| negatable).and_then(|rest| strip_prefix(rest, name));
        let Some(tail) = negated.or_else(|| strip_prefix(rest, name)) else { continue };
        let span = at..at + rest.len() - tail.len();
        let known = allowed(name, negated.is_some(), target);
        // opt_flag takes a prefix; the caller then demands a comma, a blank or the end.
        return match tail.first() {
            Some(b'=') if known => Err(Dead::at(at, Reason::FlagWithValue(name))),
            Some(byte) if *byte != b',' && !is_blank(*byte) => Err(unknown(text, at, None, target)),
            _ if !known => Err(unknown(text, at, None, target)),
            _ => Ok(Some(OptionItem { name, negated: negated.is_some(), value: None, span })),
        };
    }
    for name in VALUED {
        let Some(tail) = strip_prefix(rest, name) else { continue };
        let Some((b'=', quoted)) = tail.split_first() else { continue };
        if !allowed(name, false, target) {
            return Err(unknown(text, at, None, target));
        }
        // sshd looks at the name before it looks at the value.
        before.room_for(name).map_err(|reason| Dead::at(at, reason))?;
        let equals = at + name.len();
        let Some((value, length)) = dequote(quoted) else {
            let reason = match quoted.first() {
                Some(b'"') => Reason::UnterminatedQuote,
                _ => Reason::MissingStartQuote(name),
            };
            return Err(Dead::at(equals + 1, reason));
        };
        let span = at..equals + 1 + length;
        return Ok(Some(OptionItem { name, negated: false, value: Some(value), span }));
    }
    match rest.first() {
        Some(b',') | None => Ok(None),
        Some(_) => Err(unknown(text, at, None, target)),
    }
}

fn allowed(name: &str, negated: bool, target: Target) -> bool {
    let is_it = |known: &str| {
        let stem = if negated { strip_prefix(known.as_bytes(), "no-") } else { Some(known.as_bytes()) };
        stem.is_some_and(|stem| stem.eq_ignore_ascii_case(name.as_bytes()))
    };
    target != Target::Dropbear || DROPBEAR.into_iter().any(is_it)
}

/// A word that is no option, or that follows `previous` without a comma.
fn unknown(text: &[u8], at: usize, previous: Option<&OptionItem>, target: Target) -> Dead {
    let word =
        text[at..].split(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'\r')).next().unwrap_or(&[]);
    let word = &word[..word.len().min(80)];
    if let Some(previous) = previous.filter(|item| item.value.is_some() && item.span.end == at) {
        return Dead::at(at, Reason::Junk { option: previous.name, junk: word.to_vec() });
    }
    let name = word.split(|&byte| byte == b'=').next().unwrap_or(word);
    let has_value = name.len() < word.len();
    if !has_value
        && let Some(name) = VALUED.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        && allowed(name, false, target)
    {
        return Dead::at(at, Reason::NoValue(name));
    }
    let names = FLAGS.iter().map(|flag| flag.0).chain(NEGATED).chain(VALUED);
    let names = names.filter(|known| target != Target::Dropbear || DROPBEAR.contains(known));
    let meant = closest(name, names);
    Dead::at(at, Reason::UnknownOption { name: name.to_vec(), meant })
}

/// `opt_dequote`: the value and the length of its quoted form; only `\"` is an escape.
fn dequote(quoted: &[u8]) -> Option<(Vec<u8>, usize)> {
    if quoted.first() != Some(&b'"') {
        return None;
    }
    let mut value = Vec::new();
    let mut at = 1;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((value, at + 1)),
            b'\\' if quoted.get(at + 1) == Some(&b'"') => {
                value.push(b'"');
                at += 2;
            }
            &byte => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

fn strip_prefix<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix.as_bytes()).then_some(tail)
}

impl Options {
    /// Whether one more option of this name may follow.
    fn room_for(&self, name: &'static str) -> Result<(), Reason> {
        let (full, reason) = match name {
            "command" => (self.command.is_some(), Reason::Repeated(name)),
            "principals" => (self.principals.is_some(), Reason::Repeated(name)),
            "from" => (self.from.is_some(), Reason::Repeated(name)),
            "environment" => (self.environment.len() > 1024, Reason::TooManyEnvironment),
            "permitopen" => (self.permitopen.len() > 4096, Reason::TooManyPermits(name)),
            "permitlisten" => (self.permitlisten.len() > 4096, Reason::TooManyPermits(name)),
            _ => return Ok(()),
        };
        if full { Err(reason) } else { Ok(()) }
    }

    /// Adds one option to what those before it said.
    fn apply(&mut self, item: OptionItem, rules: Rules) -> Result<(), Reason> {
        let on = !item.negated;
        let value = item.value.as_deref().unwrap_or_default();
        match item.name {
            "restrict" => {
                self.restrict = true;
                self.port_forwarding = false;
                self.agent_forwarding = false;
                self.x11_forwarding = false;
                self.pty = false;
                self.user_rc = false;
            }
            "cert-authority" => self.cert_authority = true,
            "port-forwarding" => self.port_forwarding = on,
            "agent-forwarding" => self.agent_forwarding = on,
            "x11-forwarding" => self.x11_forwarding = on,
            "touch-required" => self.no_touch_required = !on,
            "verify-required" => self.verify_required = on,
            "pty" => self.pty = on,
            "user-rc" => self.user_rc = on,
            "command" => self.command = Some(value.to_vec()),
            "principals" => self.principals = Some(value.to_vec()),
            "from" => self.from = Some(value.to_vec()),
            "expiry-time" => {
                let expiry = Expiry::parse(value, rules).ok_or(Reason::BadExpiry)?;
                self.expiry = Some(self.expiry.map_or(expiry, |earlier| earlier.min(expiry)));
            }
            "environment" => values::add_environment(&mut self.environment, value)?,
            "permitopen" => values::add_permit(&mut self.permitopen, "permitopen", value)?,
            "permitlisten" => values::add_permit(&mut self.permitlisten, "permitlisten", value)?,
            _ => self.tunnel = Some(values::tunnel(value).ok_or(Reason::BadTunnel)?),
        }
        self.items.push(item);
        Ok(())
    }
}
