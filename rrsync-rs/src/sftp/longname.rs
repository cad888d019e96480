//! The line that `ls -l` would print for an entry, which SFTP version 3 sends beside its attributes.
//!
//! It has the layout of sftp-common.c `ls_file`. Owner and group are numbers: the sandbox has no password database, and
//! names would tell who has accounts here. The time is UTC for the same reason; programs use the attributes.

use std::io::Write as _;

use nix::sys::stat::SFlag;

use crate::vfs::View;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Half a year, within which `ls` shows the time of day instead of the year.
const RECENT: i64 = 365 * 24 * 3600 / 2;

/// Writes the line for `name` into `line`, replacing what is there.
pub(super) fn write(line: &mut Vec<u8>, name: &[u8], view: &View, now: i64) {
    line.clear();
    line.extend_from_slice(&mode(view.mode()));
    // Writing to a vector cannot fail.
    let _ = match view {
        View::Whole(metadata) => {
            let moment = Moment::of(metadata.modified);
            let written = write!(
                line,
                "  {:3} {:<8} {:<8} {:8} {} {:2} ",
                metadata.links,
                metadata.uid,
                metadata.gid,
                metadata.size,
                MONTHS.get(moment.month).unwrap_or(&"???"),
                moment.day
            );
            let recent = now - RECENT < metadata.modified && metadata.modified <= now;
            written.and_then(|()| {
                if recent {
                    write!(line, "{:02}:{:02} ", moment.hour, moment.minute)
                } else {
                    write!(line, "{:5} ", moment.year)
                }
            })
        }
        View::Kind(_) => write!(line, "    ? ?        ?               ?            "),
    };
    line.extend_from_slice(name);
}

/// `drwxr-xr-x`: strmode(3), without its trailing space.
fn mode(mode: u32) -> [u8; 10] {
    let kind = match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => b'-',
        SFlag::S_IFDIR => b'd',
        SFlag::S_IFLNK => b'l',
        SFlag::S_IFIFO => b'p',
        SFlag::S_IFSOCK => b's',
        SFlag::S_IFCHR => b'c',
        SFlag::S_IFBLK => b'b',
        _ => b'?',
    };
    let special = |bit: u32, execute: u32, both: u8, alone: u8| match (mode & bit != 0, mode & execute != 0) {
        (true, true) => both,
        (true, false) => alone,
        (false, true) => b'x',
        (false, false) => b'-',
    };
    let flag = |bit: u32, letter: u8| if mode & bit != 0 { letter } else { b'-' };
    [
        kind,
        flag(0o400, b'r'),
        flag(0o200, b'w'),
        special(0o4000, 0o100, b's', b'S'),
        flag(0o040, b'r'),
        flag(0o020, b'w'),
        special(0o2000, 0o010, b's', b'S'),
        flag(0o004, b'r'),
        flag(0o002, b'w'),
        special(0o1000, 0o001, b't', b'T'),
    ]
}

#[derive(Debug, PartialEq, Eq)]
struct Moment {
    year: i64,
    /// From 0 on.
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
}

impl Moment {
    /// A moment in the proleptic Gregorian calendar, UTC: Howard Hinnant's `civil_from_days`.
    fn of(since_1970: i64) -> Self {
        let (days, seconds) = (since_1970.div_euclid(86400), since_1970.rem_euclid(86400));
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Self {
            year: year_of_era + era * 400 + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or(12),
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Metadata;

    fn line(view: View, now: i64) -> String {
        let mut line = b"old".to_vec();
        write(&mut line, b"name", &view, now);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_line_is_that_of_sftp_server() {
        let file = Metadata {
            mode: 0o100_644,
            links: 1,
            uid: 1000,
            gid: 100,
            size: 1234,
            accessed: 0,
            modified: 1_751_550_300,
        };
        let shown = line(View::Whole(file), 1_751_550_300 + 60);
        assert_eq!(shown, "-rw-r--r--    1 1000     100          1234 Jul  3 13:45 name");
        let shown = line(View::Whole(file), 1_951_550_300);
        assert_eq!(shown, "-rw-r--r--    1 1000     100          1234 Jul  3  2025 name");
        let shown = line(View::Kind(0o040_300), 0);
        assert_eq!(shown, "d-wx------    ? ?        ?               ?            name");
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let of = |at| {
            let moment = Moment::of(at);
            (moment.year, moment.month + 1, moment.day, moment.hour, moment.minute)
        };
        assert_eq!(of(0), (1970, 1, 1, 0, 0));
        assert_eq!(of(951_782_400), (2000, 2, 29, 0, 0));
        assert_eq!(of(1_767_225_599), (2025, 12, 31, 23, 59));
        assert_eq!(of(-1), (1969, 12, 31, 23, 59));
        let _ = (of(i64::MAX), of(i64::MIN));
    }
}
