//! Names that are never given twice, each greater than the one before: UUIDs of version 7 (RFC 9562).

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use uuid::{Builder, Uuid};

/// What gives them.
#[derive(Debug, Default)]
pub struct Names {
    last: Uuid,
}

impl Names {
    /// The next name.
    ///
    /// The kernel is asked for chance by its own call: in confinement there is no /dev/urandom.
    pub fn give(&mut self) -> Uuid {
        let mut chance = [0; 10];
        // From the moment that the kernel's generator is ready, long before any login, so few bytes always come at once.
        let _ = getrandom(&mut chance[..], GetRandomFlags::empty());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(now).unwrap_or_default();
        let next = Builder::from_unix_timestamp_millis(millis, &chance).into_uuid();
        // Within a millisecond, and when the clock is set back.
        self.last = if next > self.last { next } else { Uuid::from_u128(self.last.as_u128() + 1) };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_greater_than_the_one_before() {
        let mut names = Names::default();
        let mut last = names.give();
        assert_eq!(last.get_version_num(), 7);
        for _ in 0..1000 {
            let next = names.give();
            assert!(next > last && next.get_version_num() == 7);
            last = next;
        }
        let mut other = Names::default();
        assert_ne!(other.give().as_u128() & 0xffff_ffff, names.give().as_u128() & 0xffff_ffff);
    }
}
