//! Names that become file names, `authorized_keys` text or the first component of a client's path.
//!
//! They are checked once, when they are read; everything behind this module holds the checked type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a word cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {word:?} must be 1 to 64 of {allowed}, and start with a letter or digit")]
pub struct BadName {
    what: &'static str,
    word: String,
    allowed: &'static str,
}

fn check(what: &'static str, word: &str, extra: &[u8], allowed: &'static str) -> Result<(), BadName> {
    let bytes = word.as_bytes();
    let fits = (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || extra.contains(b))
        && !word.contains("..");
    if fits { Ok(()) } else { Err(BadName { what, word: word.to_owned(), allowed }) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $extra:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadName;
            fn from_str(word: &str) -> Result<Self, BadName> {
                check($what, word, $extra, $allowed)?;
                Ok(Self(word.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(word: String) -> Result<Self, BadName> {
                check($what, &word, $extra, $allowed)?;
                Ok(Self(word))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a federation, or of a pod within one. It has no dot, so that `FEDERATION.POD` splits one way only.
    Label, "name", b"_-", "letters, digits, '_' and '-'"
);
name_type!(
    /// The name of a grant, `FEDERATION.POD` or `FEDERATION.POD.TOOLSET`; also the stem of its policy file.
    GrantName, "grant name", b"._-", "letters, digits, '.', '_' and '-'"
);
name_type!(
    /// The name under which a directory is exposed: the first component of the paths that a client sends.
    WorkspaceName, "workspace name", b"._-", "letters, digits, '.', '_' and '-'"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_and_nothing_more() {
        for good in ["playground.chef1", "a", "A-1_b"] {
            assert!(good.parse::<GrantName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a..b", "-ro", ".hidden", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<GrantName>().is_err(), "{bad}");
        }
        assert!("a.b".parse::<Label>().is_err());
    }
}
