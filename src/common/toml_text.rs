//! Positions in a TOML text, and quoting for the ones that are written.

use std::fmt;
use std::str::FromStr;

use rrsync_rs::escape::Escaped;
use toml::Spanned;

/// Where in a text something is wrong: `LINE:COLUMN: what`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct At {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in bytes, counted from 1.
    pub column: usize,
    /// What is wrong; may hold text from the file, which is escaped when it is displayed.
    pub what: String,
}

impl At {
    /// The position of byte `offset` in `text`.
    pub fn offset(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        Self { line, column, what: what.into() }
    }

    /// The position and the message of a TOML error.
    pub fn toml(text: &str, error: &toml::de::Error) -> Self {
        Self::offset(text, error.span().map_or(0, |span| span.start), error.message().replace('\n', "; "))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, Escaped(self.what.as_bytes()))
    }
}

/// What a string in `text` says, or where it does not.
pub fn value<T: FromStr<Err: fmt::Display>>(text: &str, written: &Spanned<String>) -> Result<T, At> {
    let wrong = |error: T::Err| At::offset(text, written.span().start, error.to_string());
    written.get_ref().parse().map_err(wrong)
}

/// `text` as a TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `items` as a TOML array of strings on one line.
pub fn array<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_bytes_from_one() {
        let text = "a\nbc\n\nd";
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 3), (5, 3, 1), (6, 4, 1), (99, 4, 2)]
        {
            let at = At::offset(text, offset, "x");
            assert_eq!((at.line, at.column), (line, column), "{offset}");
        }
        assert_eq!(At::offset("", 0, "x").to_string(), "1:1: x");
    }
}
