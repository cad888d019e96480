//! How a program ends: the exit codes, which are the same for every program, and the error that carries one.

use std::fmt;
use std::io;
use std::process::ExitCode;

use rrsync_rs::layout::Layout;

use super::report::abbreviated;

/// The exit codes, as akeys(1) documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing had to be done.
    #[default]
    Done = 0,
    /// Refused, or the system failed; nothing was changed.
    Failed = 1,
    /// The command line, or the configuration of a daemon, does not say anything that can be done.
    Usage = 2,
    /// Something else is there already; nothing was changed.
    Conflict = 3,
    /// What was named does not exist.
    NoMatch = 4,
    /// What was looked at is not as it should be: the findings are on stdout.
    Findings = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error as a user sees it: how the program ends, what is wrong, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What is wrong and where; already escaped. More than one line only where two things are shown side by side.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// What the system says about something that the user named: what is not there is [`Exit::NoMatch`].
    pub fn named(error: &io::Error, message: impl fmt::Display) -> Self {
        let missing = error.kind() == io::ErrorKind::NotFound;
        Self::new(if missing { Exit::NoMatch } else { Exit::Failed }, message)
    }

    /// The same failure with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl Failure {
    /// The same failure with `~` for the home wherever a path starts with it.
    #[must_use]
    pub fn abbreviated(mut self, layout: &Layout) -> Self {
        self.message = abbreviated(layout, &self.message);
        self.hint = self.hint.map(|hint| abbreviated(layout, &hint));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_abbreviated_where_a_path_starts() {
        let layout = Layout::new("/home/u").unwrap();
        let failure = Failure::new(Exit::Failed, "/home/u/x: /mnt/home/u/y \"/home/u/z\" /home/u2/a")
            .hint("ls /home/u/x");
        let shown = failure.abbreviated(&layout).to_string();
        assert_eq!(shown, "~/x: /mnt/home/u/y \"~/z\" /home/u2/a\nhint: ls ~/x");
    }
}
