//! One thing that was looked at, and how it stands.

use std::fmt::{self, Write as _};

use rrsync_rs::layout::Layout;
use serde_json::{Value, json};

use crate::common::report::abbreviated;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// As it should be.
    Pass,
    /// Works, with less than there could be; or could not be looked at.
    Warn,
    /// Keys do not work, or are not safe.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The stable word for what was looked at.
    pub(super) name: &'static str,
    /// How it stands.
    pub(super) state: State,
    /// What was seen; already escaped.
    pub(super) message: String,
    /// The command, or the change, that mends it.
    pub(super) mend: Option<String>,
}

impl Check {
    /// Something that is as it should be.
    pub(super) fn pass(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Pass, message: message.into(), mend: None }
    }

    /// Something that works with less than there could be.
    pub(super) fn warn(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Warn, message: message.into(), mend: None }
    }

    /// Something that keeps keys from working or from being safe.
    pub(super) fn fail(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Fail, message: message.into(), mend: None }
    }

    /// The same with what mends it.
    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// The line for people, and below it what mends it.
    pub(super) fn text(&self, layout: &Layout) -> String {
        let message = abbreviated(layout, &self.message);
        let mut text = format!("{:<4}  {:<12}  {message}\n", self.state, self.name);
        if let Some(mend) = &self.mend {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{:20}mend: {}", "", abbreviated(layout, mend));
        }
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "state": self.state.to_string(),
            "message": self.message,
            "mend": self.mend,
        })
    }
}
