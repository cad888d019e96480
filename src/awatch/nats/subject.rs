//! Subjects: where on a server the events and the announcement of a workspace are.
//!
//! A subject is words between dots, and much is no word: a blank misroutes a message silently, an empty word is accepted and
//! delivered to nobody, and `*` and `>` are patterns. So every byte but letters, digits, `-` and `_` is
//! written `=XX`; not `%XX`, which nats-server 2.9 takes for a format where it is in the name of a stream.

use std::fmt::Write as _;

use rrsync_rs::sha256::Sum;

use crate::awatch::record::Identity;
use crate::event::EventPath;

/// What all subjects of this version of the format begin with.
pub const ROOT: &str = "akeys.v1";

/// Longer subjects are cut: a line of the protocol has 4096 bytes at most, and a reply is on it, too.
const MAX_LENGTH: usize = 2048;

/// What of a stream's name is kept as it is: the server takes 255 bytes.
const MAX_NAME: usize = 180;

/// In place of a project.
const NO_PROJECT: &str = "-";

/// One word of a subject; empty for an empty text, which no name is.
pub fn word(text: &[u8]) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_".contains(byte) => word.push(char::from(*byte)),
            byte => {
                let _ = write!(word, "={byte:02X}");
            }
        }
    }
    word
}

/// `PROJECT.AUTHOR.WORKSPACE`.
fn of(identity: &Identity) -> String {
    let project =
        identity.project.as_ref().map_or_else(|| NO_PROJECT.to_owned(), |p| word(p.as_str().as_bytes()));
    let (author, workspace) =
        (word(identity.author.as_bytes()), word(identity.workspace.as_str().as_bytes()));
    format!("{project}.{author}.{workspace}")
}

/// Where a workspace is announced.
pub fn announcement(identity: &Identity) -> String {
    format!("{ROOT}.workspaces.{}", of(identity))
}

/// Where every workspace is announced.
pub fn announcements() -> String {
    format!("{ROOT}.workspaces.>")
}

/// Everything that is said of the changes of a workspace.
pub fn events(identity: &Identity) -> String {
    format!("{ROOT}.events.{}.>", of(identity))
}

/// An event at `path`: a word for each component. A path that is too long ends with `=`, which stands for all the rest.
pub fn event(identity: &Identity, path: &EventPath) -> String {
    let mut subject = format!("{ROOT}.events.{}.path", of(identity));
    for component in path.as_bytes().split(|byte| *byte == b'/') {
        let word = word(component);
        if subject.len() + word.len() + 2 > MAX_LENGTH {
            subject.push_str(".=");
            break;
        }
        subject.push('.');
        subject.push_str(&word);
    }
    subject
}

/// The word that events may be missing.
pub fn resync(identity: &Identity) -> String {
    format!("{ROOT}.events.{}.resync", of(identity))
}

/// The name of the stream that is made for a workspace where no other takes its events.
pub fn stream(identity: &Identity) -> String {
    let name = format!("akeys-{}", of(identity).replace('.', "-"));
    // The server makes a directory of that name.
    match name.get(..MAX_NAME) {
        None => name,
        Some(start) => format!("{start}-{}", Sum::of(name.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(project: Option<&str>) -> Identity {
        Identity {
            author: "anna@corp@laptop.example".to_owned(),
            project: project.map(|project| project.parse().unwrap()),
            workspace: "papers.v2".parse().unwrap(),
        }
    }

    fn path(path: &[u8]) -> String {
        event(&identity(None), &EventPath::new(path.to_owned()).unwrap())
    }

    #[test]
    fn whatever_is_in_a_path_is_a_word() {
        let before = "akeys.v1.events.-.anna=40corp=40laptop=2Eexample.papers=2Ev2.path.";
        for (written, subject) in [
            (&b"draft.tex"[..], "draft=2Etex"),
            (b"a/b-c_D/9", "a.b-c_D.9"),
            (b"a b\r\n\t", "a=20b=0D=0A=09"),
            (b"*/>/=/=20%", "=2A.=3E.=3D.=3D20=25"),
            (b"..x/\xc3\xa4\xff", "=2E=2Ex.=C3=A4=FF"),
        ] {
            assert_eq!(path(written), format!("{before}{subject}"));
        }
        assert!(
            stream(&identity(Some("thesis")))
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b".*>/\\".contains(&byte))
        );
        assert_eq!(resync(&identity(Some("thesis"))).split('.').nth(3), Some("thesis"));
    }

    #[test]
    fn no_path_makes_a_subject_that_closes_the_connection() {
        let deep = vec![b"x".repeat(255); 16].join(&b'/');
        let wide = "ä".repeat(127).into_bytes();
        let wide = vec![wide; 5].join(&b'/');
        for long in [deep, wide, b"\xff".repeat(4000)] {
            let subject = path(&long);
            assert!(subject.len() <= MAX_LENGTH && subject.ends_with(".="), "{}", subject.len());
        }
    }
}
