//! A place to log in: user, host and port, as words that mean nothing else to anybody.
//!
//! They become arguments of ssh(1), lines of a `known_hosts` file and file names. So a host is a name or an address, and cannot
//! be an option, a pattern, a list, a marker or a token that ssh expands; a user is an account's name and nothing more.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Deserialize;

/// The port that needs not be said.
const SSH_PORT: NonZeroU16 = NonZeroU16::new(22).unwrap();

/// Why a word is no user, host or place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// Not a host.
    #[error(
        "host {0:?} must be an IPv6 address, or 1 to 180 letters, digits, '.', '_' and '-', and start and end with a letter or digit"
    )]
    Host(String),
    /// Not a user.
    #[error(
        "user {0:?} must be 1 to 64 letters, digits, '.', '_', '-', '+' and '@', and start with a letter, a digit or '_'"
    )]
    User(String),
    /// Not a port.
    #[error("port {0:?} must be a number from 1 to 65535")]
    Port(String),
}

/// A host's name or address, in lower case, as ssh(1) looks it up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl Host {
    /// The name or address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an IPv6 address, which stands in brackets where a port or a path follows.
    pub fn is_ipv6(&self) -> bool {
        self.0.contains(':')
    }
}

impl FromStr for Host {
    type Err = BadPlace;

    fn from_str(word: &str) -> Result<Self, BadPlace> {
        if let Ok(address) = word.parse::<Ipv6Addr>() {
            return Ok(Self(address.to_string()));
        }
        let bytes = word.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let fits = bytes.len() <= 180
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
            && !word.contains("..");
        if fits { Ok(Self(word.to_ascii_lowercase())) } else { Err(BadPlace::Host(word.to_owned())) }
    }
}

/// An account's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct User(String);

impl User {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for User {
    type Err = BadPlace;

    fn from_str(word: &str) -> Result<Self, BadPlace> {
        let bytes = word.as_bytes();
        let fits = bytes.len() <= 64
            && bytes.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(byte));
        if fits { Ok(Self(word.to_owned())) } else { Err(BadPlace::User(word.to_owned())) }
    }
}

macro_rules! word {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = BadPlace;
            fn try_from(word: String) -> Result<Self, BadPlace> {
                word.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
word!(Host);
word!(User);

/// A host and the port of its sshd: `HOST` or `HOST:PORT`, an IPv6 address in brackets where a port follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: NonZeroU16,
}

impl Place {
    /// The host's sshd on the usual port.
    pub fn usual(host: Host) -> Self {
        Self { host, port: SSH_PORT }
    }

    /// Whether the port is the usual one.
    pub fn is_usual(&self) -> bool {
        self.port == SSH_PORT
    }

    /// The name of the host in a `known_hosts` file, as ssh(1) looks for it: `HOST`, or `[HOST]:PORT`.
    pub fn known_as(&self) -> String {
        if self.is_usual() { self.host.to_string() } else { format!("[{}]:{}", self.host, self.port) }
    }
}

/// A place whose port need not be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port, where one was said.
    pub port: Option<NonZeroU16>,
}

impl FromStr for Address {
    type Err = BadPlace;

    fn from_str(word: &str) -> Result<Self, BadPlace> {
        let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => {
                (host, Some(rest.strip_prefix(':').ok_or_else(|| BadPlace::Port(rest.to_owned()))?))
            }
            // More than one colon is an IPv6 address alone.
            None => match word.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (word, None),
            },
        };
        let number = |port: &str| {
            let plain = port.bytes().all(|byte| byte.is_ascii_digit());
            port.parse().ok().filter(|_| plain).ok_or_else(|| BadPlace::Port(port.to_owned()))
        };
        Ok(Self { host: host.parse()?, port: port.map(number).transpose()? })
    }
}

/// Where to log in, and as whom, as it is typed: `[USER@]HOST[:PORT]`. What is not said is left to ssh's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The account, where one was said.
    pub user: Option<User>,
    /// The host, and its port where one was said.
    pub address: Address,
}

impl Destination {
    /// The command by which a person logs in there: ssh takes no port behind the host.
    pub fn by_hand(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("ssh {port}{user}{}", self.address.host)
    }
}

impl FromStr for Destination {
    type Err = BadPlace;

    fn from_str(word: &str) -> Result<Self, BadPlace> {
        // A user may have a '@' in it, a host has none.
        let (user, address) = word.rsplit_once('@').map_or((None, word), |(user, host)| (Some(user), host));
        Ok(Self { user: user.map(str::parse).transpose()?, address: address.parse()? })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        self.address.fmt(f)
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(word: &str) -> Result<Self, BadPlace> {
        let address: Address = word.parse()?;
        Ok(Self { host: address.host, port: address.port.unwrap_or(SSH_PORT) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => self.host.fmt(f),
            Some(port) if self.host.is_ipv6() => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = (!self.is_usual()).then_some(self.port);
        Address { host: self.host.clone(), port }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (word, host) in [
            ("laptop", "laptop"),
            ("Laptop.Example.ORG", "laptop.example.org"),
            ("10.1.2.3", "10.1.2.3"),
            ("a_b-c.d", "a_b-c.d"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            assert_eq!(word.parse::<Host>().unwrap().as_str(), host);
        }
        let long = "x".repeat(181);
        for word in [
            "",
            "-oProxyCommand=sh",
            "-",
            ".",
            "a..b",
            "a.",
            "a-",
            "*",
            "a*",
            "a,b",
            "!a",
            "@a",
            "|1|x",
            "#a",
            "a b",
            "a\nb",
            "a\0b",
            "a/b",
            "a@b",
            "a%h",
            "[a]",
            "a:22",
            "fe80::1%eth0",
            "ä",
            "$(sh)",
            "'a'",
            long.as_str(),
        ] {
            assert!(word.parse::<Host>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_user_is_an_accounts_name() {
        for word in ["u", "_apt", "anna.b", "u+x", "anna@corp.example"] {
            assert_eq!(word.parse::<User>().unwrap().as_str(), word);
        }
        for word in
            ["", "-l", ".u", "@u", "u v", "u\nv", "u/v", "u%r", "u:v", "u'v", "ü", "~", &"u".repeat(65)]
        {
            assert!(word.parse::<User>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn places_and_their_names_in_known_hosts() {
        for (word, place, known) in [
            ("laptop", "laptop", "laptop"),
            ("laptop:22", "laptop", "laptop"),
            ("laptop:2222", "laptop:2222", "[laptop]:2222"),
            ("::1", "::1", "::1"),
            ("[::1]", "::1", "::1"),
            ("[::1]:2222", "[::1]:2222", "[::1]:2222"),
            ("[laptop]:2222", "laptop:2222", "[laptop]:2222"),
        ] {
            let parsed: Place = word.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.known_as().as_str()), (place, known), "{word}");
            assert_eq!(place.parse::<Place>().unwrap(), parsed);
        }
        for word in ["", "a:", "a:0", "a:+22", "a:65536", "a:22x", "[a", "[a]22", "[a]:", "a:b:c", ":22"] {
            assert!(word.parse::<Place>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_person_logs_in_with_the_port_in_front() {
        for (word, command) in [
            ("laptop", "ssh laptop"),
            ("anna@laptop", "ssh anna@laptop"),
            ("anna@laptop:2222", "ssh -p 2222 anna@laptop"),
            ("anna@[::1]:2222", "ssh -p 2222 anna@::1"),
        ] {
            assert_eq!(word.parse::<Destination>().unwrap().by_hand(), command);
        }
    }

    #[test]
    fn a_destination_is_shown_as_it_was_typed() {
        for word in [
            "laptop",
            "anna@laptop",
            "anna@corp.example@laptop:2222",
            "anna@[::1]:2222",
            "::1",
            "anna@laptop:22",
        ] {
            assert_eq!(word.parse::<Destination>().unwrap().to_string(), word);
        }
        for word in
            ["@laptop", "-oProxyCommand=sh", "-l@laptop", "anna@-l", "anna@", "anna@laptop:", "ssh://laptop"]
        {
            assert!(word.parse::<Destination>().is_err(), "{word}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_place_is_no_option_no_pattern_and_no_path(word in "\\PC{0,12}|[-a-c@:.%*!/\\[\\]0-9 \n]{0,9}") {
            if let Ok(place) = word.parse::<Place>() {
                let host = place.host.as_str();
                prop_assert!(host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':'));
                prop_assert!(host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b)));
                prop_assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
            }
        }
    }
}
