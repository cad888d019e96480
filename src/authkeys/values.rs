//! The values of options: times, environment, forwarding permits, tunnels. Each by the C function that reads it.

use jiff::Timestamp;

use super::base64::is_space;
use super::dead::Reason;
use super::options::Options;
use super::read::{Rules, Target};
use super::services;

/// The zone in which sshd reads an `expiry-time` that does not end in `Z`: a fixed distance from UTC.
///
/// `parse_absolute_time` asks mktime(3) for *standard* time whatever the season, so the zone's standard offset is the
/// right one even for a moment in summer: in Berlin, `20380701` is one o'clock of the summer clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    seconds_east: i32,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self { seconds_east: 0 };

    /// A zone whose standard time is this many seconds ahead of UTC.
    pub fn east_of_utc(seconds: i32) -> Self {
        Self { seconds_east: seconds }
    }
}

/// The last second at which a key may be used, as sshd holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    /// Seconds since 1970. OpenSSH 10.5 wraps a time before that to a huge number, which never comes.
    seconds: u64,
}

impl Expiry {
    /// Whether the key is void at `now`: once the moment has passed (`auth_authorise_keyopts`).
    pub fn passed(self, now: Timestamp) -> bool {
        u64::try_from(now.as_second()).is_ok_and(|now| now > 0 && self.seconds < now)
    }

    /// Seconds since 1970, as sshd counts them: unsigned.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// The moment; `None` when it lies beyond the year 9999, as the wrapped times before 1970 do.
    pub fn moment(self) -> Option<Timestamp> {
        i64::try_from(self.seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
    }

    /// Whether this is a time before 1970 that OpenSSH 10.5 takes for one that never comes.
    pub fn wrapped(self) -> bool {
        i64::try_from(self.seconds).is_err()
    }

    /// `parse_absolute_time`: `YYYYMMDD[HHMM[SS]]`, then nothing, `Z` or `UTC` in any case.
    pub(super) fn parse(value: &[u8], rules: Rules) -> Option<Self> {
        let (digits, utc) = strip_utc(value);
        let civil = Civil::parse(digits)?;
        let offset = if utc { 0 } else { i64::from(rules.zone.seconds_east) };
        let seconds = civil.seconds() - offset;
        // sshd holds the time unsigned, zero standing for "no expiry". 9.2 refuses a negative one, 10.5 wraps it.
        match seconds {
            0 => None,
            i64::MIN..0 if rules.target == Target::OpenSsh9_2 => None,
            _ => Some(Self { seconds: seconds.cast_unsigned() }),
        }
    }
}

fn strip_utc(value: &[u8]) -> (&[u8], bool) {
    match value {
        [rest @ .., last] if !rest.is_empty() && last.eq_ignore_ascii_case(&b'Z') => (rest, true),
        [rest @ .., a, b, c] if !rest.is_empty() && [*a, *b, *c].eq_ignore_ascii_case(b"UTC") => (rest, true),
        _ => (value, false),
    }
}

/// A date and time as they are written, possibly one that no calendar has: the 30th of February is the 2nd of March.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    fn parse(digits: &[u8]) -> Option<Self> {
        if !matches!(digits.len(), 8 | 12 | 14) {
            return None;
        }
        let field = |at: usize, width: usize, least, most| match digits.get(at..at + width) {
            None => Some(0),
            Some(field) => number(field, least, most),
        };
        let year = field(0, 4, 0, 9999)?;
        let (month, day) = (field(4, 2, 1, 12)?, field(6, 2, 1, 31)?);
        // strptime(3) has room for two leap seconds.
        let (hour, minute, second) = (field(8, 2, 0, 23)?, field(10, 2, 0, 59)?, field(12, 2, 0, 61)?);
        Some(Self { year, month, day, second_of_day: hour * 3600 + minute * 60 + second })
    }

    /// timegm(3): seconds since 1970 in the proleptic Gregorian calendar.
    fn seconds(&self) -> i64 {
        // The year starts in March, so that the leap day is its last.
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * 86_400 + self.second_of_day
    }
}

/// One number as glibc's strptime(3) takes it from a field of fixed width: blanks may lead.
fn number(field: &[u8], least: i64, most: i64) -> Option<i64> {
    let digits = field.trim_ascii_start();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    (least..=most).contains(&value).then_some(value)
}

/// `environment=`: a name of letters, digits and `_` (`valid_env_name`); the first of a name stays.
pub(super) fn add_environment(list: &mut Vec<Vec<u8>>, value: &[u8]) -> Result<(), Reason> {
    let equals = value.iter().position(|&byte| byte == b'=').ok_or(Reason::BadEnvironment)?;
    let (name, name_equals) = (&value[..equals], &value[..=equals]);
    if name.is_empty() || !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Reason::BadEnvironment);
    }
    if !list.iter().any(|earlier| earlier.starts_with(name_equals)) {
        list.push(value.to_vec());
    }
    Ok(())
}

/// `permitopen=` and `permitlisten=`: `handle_permit` and `hpdelim2`.
pub(super) fn add_permit(list: &mut Vec<Vec<u8>>, name: &'static str, value: &[u8]) -> Result<(), Reason> {
    let mut permit = value.to_vec();
    if name == "permitlisten" && !permit.contains(&b':') {
        permit.splice(0..0, *b"*:");
    }
    let host_end = match permit.first() {
        Some(b'[') => permit.iter().position(|&byte| byte == b']').map(|at| at + 1),
        _ => permit.iter().position(|byte| matches!(byte, b':' | b'/')).or(Some(permit.len())),
    };
    let host_end = host_end.ok_or(Reason::BadPermitHost(name))?;
    let port = match permit.get(host_end) {
        None => None,
        Some(b':' | b'/') => Some(&permit[host_end + 1..]),
        Some(_) => return Err(Reason::BadPermitHost(name)),
    };
    // NI_MAXHOST is 1025, its NUL included.
    if host_end >= 1025 {
        return Err(Reason::BadPermitHost(name));
    }
    if !port.is_some_and(|port| port == b"*" || is_port(port)) {
        return Err(Reason::BadPermitPort(name));
    }
    list.push(permit);
    Ok(())
}

/// `a2port`: a number from 1 to 65535, or a TCP service.
fn is_port(text: &[u8]) -> bool {
    // A number that is out of range is still looked up as a service, where it fails.
    strtonum(text).is_some_and(|port| (1..=65535).contains(&port)) || services::is_tcp(text)
}

/// `a2tun` for one device: `any` in any case, or a number; the two largest ids are taken.
pub(super) fn tunnel(value: &[u8]) -> Option<u32> {
    if value.eq_ignore_ascii_case(b"any") {
        return Some(Options::ANY_TUNNEL);
    }
    let most = i64::from(Options::ANY_TUNNEL - 2);
    strtonum(value).filter(|id| (0..=most).contains(id)).and_then(|id| u32::try_from(id).ok())
}

/// strtonum(3) is strtoll(3) underneath: blanks and a sign may lead, nothing may follow. Numbers beyond the range of
/// `i64` stop at its ends, outside every range that is asked for here.
fn strtonum(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -value } else { value })
}

/// What strtol(3) and its kin skip before the digits: blanks, then one sign.
fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    let blanks = text.iter().take_while(|&&byte| is_space(byte)).count();
    match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    }
}
