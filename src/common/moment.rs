//! Moments at which something ends: as a user writes them, and as a reader wants them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Why a word is not the end of anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMoment {
    /// Neither a date nor a moment.
    #[error("{0:?} is neither a date such as 2027-12-31 nor a moment such as 2027-12-31T18:00:00Z")]
    Form(String),
    /// It lies outside what every sshd reads the same way.
    #[error("{0:?} is not between 1970 and 9999")]
    Range(String),
}

/// Reads `WHEN`: a date, which means its first second in UTC, or an RFC 3339 moment with an offset.
///
/// Seconds are kept, fractions are not: `expiry-time` in sshd(8) has none. Years before 1970 are refused because sshd 9
/// refuses the line and sshd 10 lets it never expire.
pub fn parse(word: &str) -> Result<Timestamp, BadMoment> {
    let moment = match word.parse::<Date>() {
        // A moment parses as a date as well, with its time dropped.
        Ok(date) if word.len() <= "2027-12-31".len() => {
            date.to_zoned(TimeZone::UTC).map_err(|_| BadMoment::Range(word.to_owned()))?.timestamp()
        }
        _ => word.parse::<Timestamp>().map_err(|_| BadMoment::Form(word.to_owned()))?,
    };
    let whole = Timestamp::from_second(moment.as_second()).map_err(|_| BadMoment::Range(word.to_owned()))?;
    let in_range = whole.as_second() >= 0 && whole.to_zoned(TimeZone::UTC).year() <= 9999;
    if in_range { Ok(whole) } else { Err(BadMoment::Range(word.to_owned())) }
}

/// A moment for a reader: `2027-12-31` when it is a midnight in UTC, in full otherwise.
pub fn in_words(moment: Timestamp) -> String {
    if moment.as_second() % 86_400 == 0 {
        moment.strftime("%Y-%m-%d").to_string()
    } else {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_are_whole_seconds_in_utc() {
        for (word, words) in [
            ("2027-12-31", "2027-12-31"),
            ("2027-12-31T00:00:00Z", "2027-12-31"),
            ("2027-12-31T18:30:00+02:00", "2027-12-31T16:30:00Z"),
            ("2027-12-31T18:30:05.9Z", "2027-12-31T18:30:05Z"),
        ] {
            assert_eq!(in_words(parse(word).unwrap()), words, "{word}");
        }
    }

    #[test]
    fn what_no_sshd_would_read_is_refused() {
        for word in
            ["", "tomorrow", "2027-02-30", "2027-12-31T18:30:00", "20271231T", "1969-12-31", "2027-12-31\n"]
        {
            assert!(parse(word).is_err(), "{word:?}");
        }
    }
}
