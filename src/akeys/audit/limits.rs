//! From where and until when: `from` lists that let nobody in, and ends that are near, past, or not where they seem to be.

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;

use crate::authkeys::{DISABLED, Expiry, FromMatch, Line};
use crate::common::moment::in_words;

use super::catalogue::Code;
use super::finding::Basket;
use super::options::Here;

/// How far ahead an end is near.
const SOON: i64 = 30 * 86_400;

/// Puts what is wrong with `from` into the basket.
pub(super) fn from(here: &Here<'_>, basket: &mut Basket) {
    let Some(list) = here.options().from.as_deref() else { return };
    let at = || here.at_option("from");
    if !FromMatch::is_valid(list) {
        let message =
            || format!("from=\"{}\" lets nobody in: an empty entry, host bits or a bad mask", Escaped(list));
        basket
            .put(Code::DeadFromList, at(), message)
            .hint("10.1.0.0/16, not 10.1.2.3/16; no comma at the end");
        return;
    }
    let mut positive = false;
    for entry in list.split(|&byte| byte == b',') {
        let (negated, pattern) = entry.strip_prefix(b"!").map_or((false, entry), |rest| (true, rest));
        positive |= !negated;
        if let Some(why) = never_matches(pattern) {
            let message = || format!("no client matches \"{}\": {why}", Escaped(pattern));
            basket.put(Code::FromNeverMatches, at(), message);
        }
    }
    if !positive {
        let message = || "the list has exceptions only, so nobody is let in".to_owned();
        basket.put(Code::FromOnlyNegated, at(), message).hint("put \"*\" behind them");
    }
}

/// Why no client's address or name is like this entry.
fn never_matches(pattern: &[u8]) -> Option<&'static str> {
    let has = |byte: u8| pattern.contains(&byte);
    let numeric = pattern.iter().all(|byte| byte.is_ascii_hexdigit() || b".:/-*?".contains(byte));
    let parts: Vec<&[u8]> = pattern.splitn(2, |&byte| byte == b'/').collect();
    if pattern.iter().any(u8::is_ascii_whitespace) {
        Some("a blank is a part of it")
    } else if has(b'[') || has(b']') {
        Some("brackets are not understood")
    } else if let [_, mask] = parts[..] {
        (!mask.iter().all(u8::is_ascii_digit)).then_some("a mask is a number of bits")
    } else if numeric
        && has(b'-')
        && has(b'.')
        && pattern.iter().all(|byte| byte.is_ascii_digit() || b".-".contains(byte))
    {
        Some("ranges are not understood")
    } else if has(b'.') && pattern.split(|&byte| byte == b':').count() == 2 {
        Some("a port is not understood")
    } else {
        None
    }
}

/// Puts what is wrong with `expiry-time` into the basket.
pub(super) fn expiry(line: Line<'_>, here: &Here<'_>, now: Timestamp, basket: &mut Basket) {
    let at = || here.at_option("expiry-time");
    let Some(expiry) = here.options().expiry else {
        basket.put(Code::NoExpiry, here.at_key(), || "it never expires".to_owned());
        return;
    };
    for item in here.options().items.iter().filter(|item| item.name == "expiry-time") {
        if let Some(value) = item.value.as_deref().filter(|value| overflows(value)) {
            let message = || format!("no calendar has \"{}\"; sshd counts on from there", Escaped(value));
            basket.put(Code::ExpiryDayOverflow, here.at(item.span.start), message);
        }
    }
    if expiry.wrapped() {
        let message = || "a time before 1970, which OpenSSH 10.5 takes for never".to_owned();
        basket.put(Code::ExpiryPre1970, at(), message).hint("remove the line instead");
        return;
    }
    let told = || expiry.moment().map_or_else(|| "then".to_owned(), in_words);
    if expiry.passed(now) {
        let start = line.span().start;
        basket
            .put(Code::Expired, at(), || format!("expired on {}", told()))
            .hint_from(|| {
                let number = line.number();
                Some(format!("akeys remove --line {number}, or a new date: akeys expire {number} WHEN"))
            })
            .fix("disables the line", start..start, DISABLED);
    } else if ends_before(expiry, now, SOON) {
        basket.put(Code::ExpiresSoon, at(), || format!("expires on {}", told()));
    }
}

fn ends_before(expiry: Expiry, now: Timestamp, seconds: i64) -> bool {
    i64::try_from(expiry.seconds()).is_ok_and(|end| end < now.as_second().saturating_add(seconds))
}

/// Whether `YYYYMMDD…` names a day that its month has not, or a leap second.
fn overflows(value: &[u8]) -> bool {
    let number = |from: usize, to: usize| -> Option<i16> {
        std::str::from_utf8(value.get(from..to)?).ok()?.trim().parse().ok()
    };
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(4, 6), number(6, 8)) else {
        return false;
    };
    let small = |number: i16| i8::try_from(number).unwrap_or(i8::MAX);
    let no_day = jiff::civil::Date::new(year, small(month), small(day)).is_err();
    no_day || number(12, 14).is_some_and(|second| second > 59)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_no_client_is_like() {
        for (entry, dead) in [
            ("10.0.0.1", false),
            ("10.0.0.0/8", false),
            ("10.0.0.0/255.0.0.0", true),
            ("10.0.0.1-10.0.0.9", true),
            ("10.0.0.1:22", true),
            ("[::1]", true),
            ("::1", false),
            ("fe80::*", false),
            (" 10.0.0.1", true),
            ("*.example.org", false),
            ("build-1.example.org", false),
        ] {
            assert_eq!(never_matches(entry.as_bytes()).is_some(), dead, "{entry}");
        }
    }

    #[test]
    fn days_that_no_calendar_has() {
        for (value, over) in [
            ("20270230", true),
            ("20270228", false),
            ("20280229", false),
            ("20990101000060", true),
            ("20990101Z", false),
        ] {
            assert_eq!(overflows(value.as_bytes()), over, "{value}");
        }
    }
}
