//! What the daemon says: one line each on standard error, which systemd keeps in its journal with the level.

use std::fmt::Display;
use std::io::{self, Write as _};

use clap::ValueEnum;

/// How much something matters: the numbers of syslog(3), as sd-daemon(3) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Something does not work.
    Error = 3,
    /// Something is not as it should be, and the daemon goes on.
    Warning = 4,
    /// What somebody who looks once a day wants to know.
    Notice = 5,
    /// What somebody who looks now wants to know.
    Info = 6,
    /// Every event.
    Debug = 7,
}

/// Where lines go, and which.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    level: Level,
    /// Whether each line begins with its level.
    journal: bool,
}

impl Log {
    /// Lines of `level` and above. Under systemd, `JOURNAL_STREAM` is set.
    pub fn new(level: Level) -> Self {
        Self { level, journal: std::env::var_os("JOURNAL_STREAM").is_some() }
    }

    /// Says one line about `subject`. What is foreign in it has been escaped.
    pub fn say(self, level: Level, subject: &impl Display, line: impl Display) {
        if level > self.level {
            return;
        }
        let text = if self.journal {
            format!("<{}>{subject}: {line}\n", level as u8)
        } else {
            format!("awatch: {subject}: {line}\n")
        };
        // Nobody is left to tell when that fails.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
