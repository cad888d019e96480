//! The places a key may be used from: the value of `from="…"`.
//!
//! sshd drops a whole line for one entry that it cannot read, and then the key works from nowhere; or it reads an entry in
//! a way that its author did not mean. So only what `addr_match_cidr_list()` and `match_hostname()` (addrmatch.c, match.c)
//! can match is accepted, and nothing that could end the quotes around it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A list of patterns for `from="…"`: addresses, CIDR blocks, host names, with `*`, `?` and a leading `!`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromList(Vec<String>);

/// Why a word is no such list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrom {
    /// An empty entry, or no entry at all.
    #[error("an empty pattern in {0:?}")]
    Empty(String),
    /// A character that no address, host name or pattern has.
    #[error("pattern {0:?} has a character other than letters, digits and \". : * ? _ - / %\"")]
    Character(String),
    /// Not a CIDR block as sshd reads it.
    #[error("{0:?} is not a CIDR block: an address, \"/\" and a length that leaves its host bits zero")]
    Cidr(String),
    /// Only exclusions: nothing would ever match.
    #[error("{0:?} only excludes; sshd would accept the key from nowhere")]
    OnlyNegated(String),
    /// Longer than sshd's buffers for one pattern or than anybody needs.
    #[error("the list is longer than 1000 bytes")]
    TooLong,
}

impl FromStr for FromList {
    type Err = BadFrom;

    fn from_str(list: &str) -> Result<Self, BadFrom> {
        if list.len() > 1000 {
            return Err(BadFrom::TooLong);
        }
        let patterns: Vec<&str> = list.split(',').collect();
        for pattern in &patterns {
            let positive = pattern.strip_prefix('!').unwrap_or(pattern);
            if positive.is_empty() {
                return Err(BadFrom::Empty(list.to_owned()));
            }
            if !positive.bytes().all(|b| b.is_ascii_alphanumeric() || b".:*?_-/%".contains(&b)) {
                return Err(BadFrom::Character((*pattern).to_owned()));
            }
            if positive.contains('/') && !is_block(positive) {
                return Err(BadFrom::Cidr((*pattern).to_owned()));
            }
        }
        if patterns.iter().all(|pattern| pattern.starts_with('!')) {
            return Err(BadFrom::OnlyNegated(list.to_owned()));
        }
        Ok(Self(patterns.into_iter().map(str::to_owned).collect()))
    }
}

impl FromList {
    /// The patterns in their order.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for FromList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// `ADDRESS/LENGTH` with no bit set behind the length: `addr_pton_cidr()` refuses any other.
fn is_block(pattern: &str) -> bool {
    let Some((address, length)) = pattern.split_once('/') else { return false };
    let plain = (1..=3).contains(&length.len()) && length.bytes().all(|b| b.is_ascii_digit());
    let (Ok(address), Ok(length), true) = (address.parse::<IpAddr>(), length.parse::<u32>(), plain) else {
        return false;
    };
    match address {
        IpAddr::V4(v4) => length <= 32 && v4.to_bits().checked_shl(length).unwrap_or(0) == 0,
        IpAddr::V6(v6) => length <= 128 && v6.to_bits().checked_shl(length).unwrap_or(0) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_can_match() {
        for list in [
            "10.1.0.0/16",
            "10.1.2.3",
            "*.example.org,!bad.example.org",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/32",
            "fe80::1%eth0",
            "192.168.1.?",
            "127.0.0.1/32",
        ] {
            assert_eq!(list.parse::<FromList>().unwrap().to_string(), list);
        }
    }

    #[test]
    fn what_would_kill_the_line_or_never_match() {
        for list in [
            "",
            "10.0.0.1,",
            ",10.0.0.1",
            "!",
            "!10.0.0.1",
            "127.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0/16",
            "::1/64",
            "a b",
            "x\",command=\"sh",
            "x\ny",
            "[::1]",
            "10.0.0.1/",
            "é",
        ] {
            assert!(list.parse::<FromList>().is_err(), "{list:?}");
        }
    }
}
