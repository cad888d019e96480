//! What the judge says: allow, or refuse by a named rule.

use std::fmt;

/// Why a request is refused.
///
/// `Display` is the one line that the client sees: no path of the server's in it, everything foreign escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's stable name, as the audit record and `--explain` show it: `rsync.option`, `path.outside` …
    pub rule: &'static str,
    /// What the client is told.
    pub message: String,
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
