//! `from=`: which hosts a list of addresses and names lets in. `match_host_and_ip`, `addr_match_list` and
//! `match_pattern_list`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::base64::is_space;

/// The answer of a `from=` list for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromMatch {
    /// The client is let in.
    Allowed,
    /// No entry matches, or a negated one does.
    NotAllowed,
    /// An empty entry, or a network with host bits or an impossible mask: sshd then refuses every client.
    Invalid,
}

impl FromMatch {
    /// Judges `list` for a client at `address`. `host` is the client's name if sshd looks names up (`UseDNS yes`) and
    /// the name leads back to the address; sshd otherwise uses the address as the name.
    pub fn of(list: &[u8], address: IpAddr, host: Option<&str>) -> Self {
        let address = address.to_canonical();
        let text = address.to_string();
        let by_address = match address_list(list, address, &text) {
            Verdict::Invalid => return Self::Invalid,
            Verdict::Negated => return Self::NotAllowed,
            Verdict::Matched => true,
            Verdict::Unmatched => false,
        };
        match name_list(list, host.unwrap_or(&text)) {
            Verdict::Negated => Self::NotAllowed,
            Verdict::Matched => Self::Allowed,
            _ if by_address => Self::Allowed,
            _ => Self::NotAllowed,
        }
    }

    /// Whether every entry is an address or a network, so that a client's name plays no part.
    pub fn has_addresses_only(list: &[u8]) -> bool {
        list.split(|&byte| byte == b',').all(|entry| {
            let entry = entry.strip_prefix(b"!").unwrap_or(entry);
            Network::parse(entry).is_ok()
        })
    }

    /// Whether sshd finds every entry well-formed; with one that is not, no client gets in.
    pub fn is_valid(list: &[u8]) -> bool {
        list.split(|&byte| byte == b',').all(|entry| {
            let entry = entry.strip_prefix(b"!").unwrap_or(entry);
            !entry.is_empty() && !matches!(Network::parse(entry), Err(BadNetwork::Inconsistent))
        })
    }
}

enum Verdict {
    Matched,
    Unmatched,
    Negated,
    Invalid,
}

/// `addr_match_list`.
fn address_list(list: &[u8], address: IpAddr, text: &str) -> Verdict {
    let mut verdict = Verdict::Unmatched;
    for entry in list.split(|&byte| byte == b',') {
        let (negated, entry) = match entry {
            [b'!', rest @ ..] => (true, rest),
            _ => (false, entry),
        };
        if entry.is_empty() {
            return Verdict::Invalid;
        }
        let matched = match Network::parse(entry) {
            Ok(network) => network.contains(address),
            Err(BadNetwork::Inconsistent) => return Verdict::Invalid,
            Err(BadNetwork::NotOne) => matches_pattern(text.as_bytes(), entry),
        };
        if matched && negated {
            return Verdict::Negated;
        }
        if matched {
            verdict = Verdict::Matched;
        }
    }
    verdict
}

/// `match_hostname` over `match_pattern_list`. An entry of 1023 bytes or more ends the search without a match.
fn name_list(list: &[u8], name: &str) -> Verdict {
    let name = name.to_ascii_lowercase();
    let mut verdict = Verdict::Unmatched;
    let mut rest = list;
    while !rest.is_empty() {
        let (negated, entries) = match rest {
            [b'!', entries @ ..] => (true, entries),
            _ => (false, rest),
        };
        let end = entries.iter().position(|&byte| byte == b',').unwrap_or(entries.len());
        if end >= 1023 {
            return Verdict::Unmatched;
        }
        if matches_pattern(name.as_bytes(), &entries[..end].to_ascii_lowercase()) {
            if negated {
                return Verdict::Negated;
            }
            verdict = Verdict::Matched;
        }
        rest = entries.get(end + 1..).unwrap_or_default();
    }
    verdict
}

/// `match_pattern`: `*` is any run of bytes, `?` is one byte. Backtracks to the last `*` only, so it cannot explode.
fn matches_pattern(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (text.get(t), pattern.get(p)) {
            (_, Some(b'*')) => {
                star = Some((p + 1, t));
                p += 1;
            }
            (Some(_), Some(b'?')) => (t, p) = (t + 1, p + 1),
            (Some(a), Some(b)) if a == b => (t, p) = (t + 1, p + 1),
            (None, None) => return true,
            (None, Some(_)) => return false,
            (Some(_), _) => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (t, p) = (from + 1, after);
            }
        }
    }
}

struct Network {
    address: IpAddr,
    bits: u32,
    scoped: bool,
}

enum BadNetwork {
    /// Not an address: sshd tries it as a pattern.
    NotOne,
    /// Host bits are set, or the mask is longer than the address.
    Inconsistent,
}

impl Network {
    /// `addr_pton_cidr`.
    fn parse(entry: &[u8]) -> Result<Self, BadNetwork> {
        if entry.len() >= 64 {
            return Err(BadNetwork::NotOne);
        }
        let mut parts = entry.splitn(2, |&byte| byte == b'/');
        let host = parts.next().unwrap_or(entry);
        let mask = parts.next().map(|text| mask_length(text).ok_or(BadNetwork::NotOne)).transpose()?;
        let (address, scoped) = numeric_address(host).ok_or(BadNetwork::NotOne)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = mask.unwrap_or(width);
        if bits > width || host_part(address, bits) != 0 {
            return Err(BadNetwork::Inconsistent);
        }
        Ok(Self { address, bits, scoped })
    }

    /// `addr_netmatch`. A client's address carries no interface here, so a scoped network never matches.
    fn contains(&self, client: IpAddr) -> bool {
        if self.scoped || self.address.is_ipv4() != client.is_ipv4() {
            return false;
        }
        number(client) - host_part(client, self.bits) == number(self.address)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn host_part(address: IpAddr, bits: u32) -> u128 {
    let width = if address.is_ipv4() { 32 } else { 128 };
    let mask = 1u128.checked_shl(width - bits).map_or(u128::MAX, |bit| bit - 1);
    number(address) & mask
}

/// The length of a mask, up to 128: digits only.
fn mask_length(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |value: u32, digit: &u8| value.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    Some(text.iter().fold(0, digit)).filter(|&value| value <= 128)
}

/// getaddrinfo(3) with `AI_NUMERICHOST`: any form of `inet_aton`(3), or IPv6 text with or without an interface. The
/// second part says whether there was one.
fn numeric_address(text: &[u8]) -> Option<(IpAddr, bool)> {
    if let Some(v4) = inet_aton(text) {
        return Some((IpAddr::V4(v4), false));
    }
    let text = std::str::from_utf8(text).ok()?;
    let (address, scope) =
        text.split_once('%').map_or((text, None), |(address, scope)| (address, Some(scope)));
    let address: Ipv6Addr = address.parse().ok()?;
    let link_local = address.is_unicast_link_local() || address.octets()[..2] == [0xff, 0x02];
    // An interface must exist to count. Only the loopback exists everywhere.
    let known = |scope: &str| {
        !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_digit()) || link_local && scope == "lo"
    };
    scope.is_none_or(known).then_some((IpAddr::V6(address), scope.is_some()))
}

/// `inet_aton`(3): one to four numbers, each decimal, octal or hexadecimal, the last filling what is left.
fn inet_aton(text: &[u8]) -> Option<Ipv4Addr> {
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'.').collect();
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 {
        return None;
    }
    let mut address = 0u32;
    for (place, part) in leading.iter().enumerate() {
        let value = c_number(part).filter(|&value| value <= 0xff)?;
        address |= value << (24 - 8 * place);
    }
    let room = 32 - 8 * leading.len();
    let value = c_number(last)?;
    if room < 32 && value >> room != 0 {
        return None;
    }
    Some(Ipv4Addr::from_bits(address | value))
}

/// A number as strtoul(3) reads it in base 0, without blanks or sign.
fn c_number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if text.bytes().any(|byte| byte == b'+' || is_space(byte)) {
        return None;
    }
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u32::from_str_radix(&text[2..], 16).ok(),
        [b'0', _, ..] => u32::from_str_radix(text, 8).ok(),
        _ => text.parse().ok(),
    }
}
