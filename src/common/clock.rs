//! This machine's time zone, as sshd uses it to read and to log times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::authkeys::{Expiry, Zone};

/// The zone in which an sshd of this machine reads an `expiry-time` without a `Z`: `TZ`, else the system's.
pub fn zone(now: Timestamp) -> Zone {
    Zone::east_of_utc(standard_offset(&TimeZone::system(), now))
}

/// The zone's offset without its summer time, which is what mktime(3) applies for sshd.
fn standard_offset(zone: &TimeZone, now: Timestamp) -> i32 {
    let here = zone.to_offset_info(now);
    if !here.dst().is_dst() {
        return here.offset().seconds();
    }
    let standard = zone.following(now).find(|transition| !transition.dst().is_dst());
    standard.map_or(here.offset().seconds(), |transition| transition.offset().seconds())
}

/// An end as sshd logs it, `2099-01-01T00:00:00` by this machine's clock (`format_absolute_time`). A time before 1970, which
/// sshd holds as a huge number, comes out as what was written.
pub fn as_logged(expiry: Expiry) -> String {
    let seconds = expiry.seconds().cast_signed();
    civil(seconds.saturating_add(offset_at(seconds)))
}

/// An end in UTC, `2099-01-01T00:00:00Z`; `None` for one that never comes.
pub fn in_utc(expiry: Expiry) -> Option<String> {
    (!expiry.wrapped()).then(|| civil(expiry.seconds().cast_signed()) + "Z")
}

/// How far this machine's clock is ahead of UTC at a moment; beyond the zone's known future, what held last.
fn offset_at(seconds: i64) -> i64 {
    let seconds = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let moment = Timestamp::from_second(seconds).unwrap_or_default();
    i64::from(TimeZone::system().to_offset(moment).seconds())
}

/// Date and time of a number of seconds since 1970. jiff's moments end some hours before the year 10000 does, sshd's do not.
fn civil(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days from the 1st of March of the year 0, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_offset_is_the_same_in_summer() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for moment in ["2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"] {
            assert_eq!(standard_offset(&zone, moment.parse().unwrap()), 3600, "{moment}");
        }
        assert_eq!(standard_offset(&TimeZone::UTC, Timestamp::UNIX_EPOCH), 0);
    }

    #[test]
    fn seconds_are_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_070_908_800, "2099-01-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            assert_eq!(civil(seconds), date);
        }
    }
}
