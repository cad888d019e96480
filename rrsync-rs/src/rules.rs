//! What a policy says about rsync's options beyond directions and paths: which are allowed, denied or forced, and how
//! much a client may ask for.

use std::fmt;
use std::str::FromStr;

use crate::rsync::options::{Class, Parsed, Takes, named};

/// The rules of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Options that follow links; refused unless they are named here. The kernel holds them inside.
    pub allow: Vec<String>,
    /// Options that are refused although nothing else speaks against them.
    pub deny: Vec<String>,
    /// Options that are added to every command, after the client's own.
    pub force: Vec<Forced>,
    /// How much a client may ask for.
    pub limits: Limits,
    /// Whether a push may set the set-user-ID bit.
    pub setuid: bool,
    /// Whether `test -d PATH` and the like are answered.
    pub probes: bool,
}

/// An option that is added to every command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// Its long name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How much a client may ask for. What it asks for beyond that is cut down, not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of this key at once; further ones are refused.
    pub sessions: Option<u32>,
    /// Seconds without any data after which rsync gives up.
    pub timeout: Option<u32>,
    /// KiB a second.
    pub bwlimit: Option<u32>,
    /// Threads for compression.
    pub compress_threads: u32,
    /// Bytes that rsync may allocate at once.
    pub max_alloc: u64,
    /// Bytes of the largest file that a push may bring.
    pub file_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: None,
            timeout: None,
            bwlimit: None,
            compress_threads: 4,
            max_alloc: 16 << 30,
            file_size: None,
        }
    }
}

/// What one side can decide alone. The protocol depends on most other options, and both sides would have to be told.
const FORCIBLE: &[&str] = &[
    "bwlimit",
    "compress-level",
    "compress-threads",
    "existing",
    "fake-super",
    "fsync",
    "groupmap",
    "ignore-errors",
    "ignore-existing",
    "ignore-times",
    "max-alloc",
    "max-delete",
    "max-size",
    "min-size",
    "modify-window",
    "munge-links",
    "omit-dir-times",
    "omit-link-times",
    "one-file-system",
    "open-noatime",
    "partial",
    "preallocate",
    "safe-links",
    "size-only",
    "skip-compress",
    "super",
    "timeout",
    "update",
    "usermap",
    "whole-file",
];

/// What a server is never sent, and understands: modes of what it sends and of what it receives.
const CHMOD: &str = "chmod";

/// What means something to a receiver alone, and only where owners or groups are sent at all: both sides would expect another
/// protocol. With the letter, and the long name, that asks for them.
const MAPS: &[(&str, u8, &str)] = &[("groupmap", b'g', "group"), ("usermap", b'o', "owner")];

/// An option that a rule cannot name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// No server knows it.
    #[error("{0:?} is not an option that an rsync server is sent")]
    Unknown(String),
    /// `allow` for what is allowed anyway, or never.
    #[error("{0:?} cannot be allowed: only options that follow links can")]
    NotAllowable(String),
    /// `force` for something that changes the policy, names a path or needs the client's agreement.
    #[error("{0:?} cannot be forced")]
    NotForcible(String),
    /// A value is missing, or one too many.
    #[error("{0:?}: {1}")]
    Value(String, &'static str),
    /// Not a number of bytes.
    #[error("{0:?} is not a size: a number, or one with K, M, G or T behind it")]
    Size(String),
}

/// A name for `allow`.
pub fn allowable(name: &str) -> Result<String, BadRule> {
    match named(name) {
        None => Err(BadRule::Unknown(name.to_owned())),
        Some((_, Class::FollowsLinks)) => Ok(name.to_owned()),
        Some(_) => Err(BadRule::NotAllowable(name.to_owned())),
    }
}

/// A name for `deny`.
pub fn deniable(name: &str) -> Result<String, BadRule> {
    named(name).map(|_| name.to_owned()).ok_or_else(|| BadRule::Unknown(name.to_owned()))
}

impl FromStr for Forced {
    type Err = BadRule;

    fn from_str(written: &str) -> Result<Self, BadRule> {
        let (name, value) =
            written.split_once('=').map_or((written, None), |(name, value)| (name, Some(value)));
        let known = if name == CHMOD { Some((Takes::Text, Class::Harmless)) } else { named(name) };
        if let (Some(value), Some(problem)) = (value, value.and_then(|value| wrong(name, value))) {
            return Err(BadRule::Value(format!("{name}={value}"), problem));
        }
        match known {
            None => Err(BadRule::Unknown(name.to_owned())),
            Some(_) if name != CHMOD && !FORCIBLE.contains(&name) => {
                Err(BadRule::NotForcible(name.to_owned()))
            }
            Some((Takes::Nothing, _)) if value.is_some() => {
                Err(BadRule::Value(name.to_owned(), "takes no value"))
            }
            Some((Takes::Text, _)) if value.is_none() => {
                Err(BadRule::Value(name.to_owned(), "takes a value"))
            }
            Some((Takes::Nothing | Takes::Text, _)) if value.is_none_or(|value| !value.contains('\0')) => {
                Ok(Self { name: name.to_owned(), value: value.map(str::to_owned) })
            }
            Some(_) => Err(BadRule::NotForcible(name.to_owned())),
        }
    }
}

/// What is wrong with the value of an option that rsync would refuse in every session.
fn wrong(name: &str, value: &str) -> Option<&'static str> {
    let each = |item: fn(&str) -> bool| value.split(',').all(item);
    match name {
        CHMOD if !each(is_mode_change) => Some("is not a change of modes, such as D750,F640 or go-w"),
        "usermap" | "groupmap" if !each(is_mapping) => Some("is not a list of FROM:TO"),
        _ => None,
    }
}

/// `D2750`, `Fgo-w`, `u=rwX`: rsync(1), "--chmod".
fn is_mode_change(item: &str) -> bool {
    let rest = item.strip_prefix(['D', 'F']).unwrap_or(item);
    let octal = matches!(rest.len(), 3 | 4) && rest.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let symbolic = rest.split_once(['-', '+', '=']).is_some_and(|(who, what)| {
        who.bytes().all(|b| b"ugoa".contains(&b)) && what.bytes().all(|b| b"rwxXst".contains(&b))
    });
    octal || symbolic
}

/// `*:1000`, `0-99:nobody`: rsync(1), "--usermap".
fn is_mapping(item: &str) -> bool {
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b) || more.contains(&b))
    };
    item.split_once(':').is_some_and(|(from, to)| plain(from, b"*?[]") && plain(to, b""))
}

impl Forced {
    /// Whether it is added to a push, or to a pull, with these options.
    pub fn is_for(&self, push: bool, parsed: &Parsed) -> bool {
        let map = MAPS.iter().find(|(name, ..)| *name == self.name);
        map.is_none_or(|(_, letter, long)| push && (parsed.has_letter(*letter) || parsed.has_long(long)))
    }

    /// Whether it takes the place of what a client says, where rsync would not accept both.
    pub fn replaces(&self, option: &str) -> bool {
        self.name == option && MAPS.iter().any(|(name, ..)| *name == option)
    }
}

/// A number of bytes: `1048576`, `1024K`, `1M`.
pub fn size(written: &str) -> Result<u64, BadRule> {
    let bad = || BadRule::Size(written.to_owned());
    let (digits, shift) = match written.as_bytes() {
        [.., b'K' | b'k'] => (&written[..written.len() - 1], 10),
        [.., b'M' | b'm'] => (&written[..written.len() - 1], 20),
        [.., b'G' | b'g'] => (&written[..written.len() - 1], 30),
        [.., b'T' | b't'] => (&written[..written.len() - 1], 40),
        _ => (written, 0),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|n| *n > 0)
        .ok_or_else(bad)
}

impl Limits {
    /// A client's value for a limited option, cut down; `None` when the option is not limited or within its limit.
    pub fn cut(&self, option: &str, value: Option<&[u8]>) -> Option<String> {
        let text = std::str::from_utf8(value.unwrap_or_default()).ok();
        let number = |unit: u64| text.and_then(|text| asked(text, unit));
        // What cannot be read as a number, and a zero that means "no limit", are beyond any limit.
        let over = |asked: Option<u64>, limit: u64| asked.is_none_or(|asked| asked == 0 || asked > limit);
        match option {
            "compress-threads" if over(number(1), self.compress_threads.into()) => {
                Some(self.compress_threads.to_string())
            }
            "max-alloc" if over(number(1), self.max_alloc) => Some(self.max_alloc.to_string()),
            "bwlimit" => self
                .bwlimit
                .filter(|limit| over(number(1024).map(|n| n / 1024), (*limit).into()))
                .map(|n| n.to_string()),
            "timeout" => self.timeout.filter(|limit| over(number(1), (*limit).into())).map(|n| n.to_string()),
            "max-size" => self.file_size.filter(|limit| over(number(1), *limit)).map(|n| n.to_string()),
            _ => None,
        }
    }

    /// The limits that have to be stated where the client does not state them.
    pub fn stated(&self) -> [(&'static str, Option<u64>); 3] {
        [
            ("timeout", self.timeout.map(u64::from)),
            ("bwlimit", self.bwlimit.map(u64::from)),
            ("max-size", self.file_size),
        ]
    }
}

/// A number as rsync's `parse_size_arg()` reads it: digits, a fraction, `b`, `k`, `m`, `g`, `t` or `p`, in powers of 1024,
/// or of 1000 with a `B` behind; `unit` is what a bare number stands for.
fn asked(text: &str, unit: u64) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole: u64 = text[..end].parse().ok()?;
    let rest = &text[end..];
    // A fraction is rounded up, which is never below what was asked for.
    let whole = whole.checked_add(u64::from(text.contains('.')))?;
    let rest =
        rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let shift = match rest.bytes().next().map(|b| b.to_ascii_lowercase()) {
        None => return whole.checked_mul(unit),
        Some(b'b') => 0,
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        Some(b'p') => 50,
        Some(_) => return None,
    };
    whole.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::options::parse;
    use crate::rsync::words::split;

    #[test]
    fn rules_name_options_that_they_can_be_about() {
        assert!(allowable("copy-links").is_ok() && allowable("copy-unsafe-links").is_ok());
        for name in ["owner", "daemon", "delete", "append"] {
            assert_eq!(allowable(name), Err(BadRule::NotAllowable(name.to_owned())));
        }
        assert!(deniable("owner").is_ok() && deniable("compress").is_ok() && deniable("rsh").is_err());
        for good in [
            "bwlimit=1000",
            "fsync",
            "chmod=D2750,F640",
            "chmod=go-w,Du+s,=rX,+t",
            "usermap=0-99:nobody,*:1000",
        ] {
            assert_eq!(good.parse::<Forced>().unwrap().to_string(), good);
        }
        for bad in [
            "bwlimit",
            "bwlimit=1\0",
            "fsync=1",
            "owner",
            "backup-dir=x",
            "daemon",
            "log-file=x",
            "rsh=x",
            "delete",
            "numeric-ids",
            "checksum",
            "chmod",
            "chmod=",
            "chmod=64",
            "chmod=D755,F9",
            "chmod=u=rw;id",
            "usermap=1000",
            "usermap=*:",
            "groupmap=a:b,c",
            "usermap=a:b c",
        ] {
            assert!(bad.parse::<Forced>().is_err(), "{bad}");
        }
        for (written, bytes) in [
            ("7", 7),
            ("1k", 1 << 10),
            ("1K", 1 << 10),
            ("25M", 25 << 20),
            ("3m", 3 << 20),
            ("10G", 10 << 30),
            ("1g", 1 << 30),
            ("2T", 2 << 40),
            ("4t", 4 << 40),
        ] {
            assert_eq!(size(written), Ok(bytes), "{written}");
        }
        for bad in ["", "0", "-1", "1.5G", "G", "9999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_are_forced_on_a_push_that_sends_them_and_take_the_client_s_place() {
        let is_for = |rule: &str, push, line: &[u8]| {
            rule.parse::<Forced>().unwrap().is_for(push, &parse(&split(line)).unwrap())
        };
        for (rule, push, line, forced) in [
            ("usermap=*:0", true, "-ore.LsfxCIvu . x", true),
            ("usermap=*:0", true, "-re.LsfxCIvu --owner . x", true),
            ("usermap=*:0", true, "-gre.LsfxCIvu --group . x", false),
            ("usermap=*:0", false, "-ore.LsfxCIvu . x", false),
            ("groupmap=*:0", true, "-gre.LsfxCIvu . x", true),
            ("groupmap=*:0", true, "-ore.LsfxCIvu . x", false),
            ("groupmap=*:0", false, "-gre.LsfxCIvu . x", false),
            ("fsync", true, "-re.LsfxCIvu . x", true),
            ("fsync", false, "-re.LsfxCIvu . x", true),
        ] {
            assert_eq!(is_for(rule, push, line.as_bytes()), forced, "{rule} {push} {line}");
        }
        let replaces = |rule: &str, option| rule.parse::<Forced>().unwrap().replaces(option);
        assert!(replaces("usermap=*:0", "usermap") && replaces("groupmap=*:0", "groupmap"));
        for (rule, option) in [
            ("usermap=*:0", "groupmap"),
            ("groupmap=*:0", "usermap"),
            ("usermap=*:0", "chmod"),
            ("timeout=9", "timeout"),
        ] {
            assert!(!replaces(rule, option), "{rule} {option}");
        }
    }

    #[test]
    fn limits_that_a_client_need_not_name_are_stated() {
        let limits =
            Limits { timeout: Some(60), bwlimit: Some(1000), file_size: Some(1 << 20), ..Limits::default() };
        let stated = [("timeout", Some(60)), ("bwlimit", Some(1000)), ("max-size", Some(1 << 20))];
        assert_eq!(limits.stated(), stated);
        assert_eq!(Limits::default().stated(), stated.map(|(option, _)| (option, None)));
    }

    #[test]
    fn what_is_asked_beyond_a_limit_is_cut_down() {
        let limits =
            Limits { timeout: Some(60), bwlimit: Some(1000), file_size: Some(1 << 20), ..Limits::default() };
        let cut = |option: &str, value: &str| limits.cut(option, Some(value.as_bytes()));
        assert_eq!(cut("compress-threads", "500"), Some("4".to_owned()));
        assert_eq!(cut("compress-threads", "3"), None);
        assert_eq!(cut("max-alloc", "99999999g"), Some((16u64 << 30).to_string()));
        assert_eq!(cut("max-alloc", "1g"), None);
        assert_eq!(cut("max-alloc", "18446744073709551615."), Some((16u64 << 30).to_string()));
        for (value, within) in [
            ("999", true),
            ("1000", true),
            ("1001", false),
            ("0", false),
            ("2m", false),
            ("0.9m", false),
            ("x", false),
        ] {
            assert_eq!(cut("bwlimit", value).is_none(), within, "{value}");
        }
        assert_eq!((cut("timeout", "0"), cut("timeout", "59")), (Some("60".to_owned()), None));
        assert_eq!((cut("max-size", "1m"), cut("max-size", "1025k")), (None, Some((1 << 20).to_string())));
    }
}
