//! What was begun: one small file for each rotation, in `~/.local/state/akeys/rotations`.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use serde::Deserialize;

use crate::authkeys::{Key, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::input;
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere, PrivateError};
use crate::common::toml_text::{At, quoted};

/// Another key in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotation {
    /// The key that goes.
    pub(super) old: Key,
    /// The key that comes.
    pub(super) new: Key,
    /// What stands behind the new key; empty for what stood behind the old one.
    pub(super) comment: String,
    /// When it was begun.
    pub(super) begun: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    old: String,
    new: String,
    comment: String,
    begun: toml::value::Datetime,
}

impl Rotation {
    /// One that begins now. A comment that is no text is left out.
    pub(super) fn new(old: Key, new: Key, comment: &[u8]) -> Self {
        let comment = std::str::from_utf8(comment).unwrap_or_default().to_owned();
        let begun = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        Self { old, new, comment, begun }
    }

    /// Keeps it. One that is there already for the same two keys stays as it is.
    pub(super) fn write(&self, layout: &Layout, _held: &Lock) -> Result<(), PrivateError> {
        let text = format!(
            "# A rotation of keys that was begun: akeys rotate --help\nold = {}\nnew = {}\ncomment = {}\nbegun = {}\n",
            quoted(&self.old.to_string()),
            quoted(&self.new.to_string()),
            quoted(&self.comment),
            self.begun,
        );
        private::write(&self.path(layout), text.as_bytes(), 0o600, IfThere::Replace)
    }

    /// Forgets it: it has ended.
    pub(super) fn forget(&self, layout: &Layout, _held: &Lock) -> Result<(), PrivateError> {
        private::remove(&self.path(layout)).map(|_| ())
    }

    /// Named by the old key, in the alphabet of file names.
    fn path(&self, layout: &Layout) -> PathBuf {
        let fingerprint = self.old.fingerprint();
        let digest = fingerprint.trim_start_matches("SHA256:").replace('/', "_").replace('+', "-");
        dir(layout).join(format!("{digest}.toml"))
    }
}

fn dir(layout: &Layout) -> PathBuf {
    layout.state_dir().join("rotations")
}

/// Every rotation that was begun, the oldest first.
pub(super) fn all(layout: &Layout) -> Result<Vec<Rotation>, Failure> {
    let entries = fs::read_dir(dir(layout)).into_iter().flatten().flatten();
    let paths =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "toml"));
    let mut all = Vec::new();
    for path in paths {
        all.push(input::own(&path, parse).map_err(|error| {
            Failure::new(Exit::Failed, error)
                .hint("what was begun is not known: remove the file, and begin again")
        })?);
    }
    all.sort_by_key(|rotation| rotation.begun);
    Ok(all)
}

fn parse(text: &str) -> Result<Rotation, At> {
    let form: FileForm = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    let key = |line: &str| {
        let found =
            Target::OPENSSH.into_iter().find_map(|target| Key::from_public_line(line.as_bytes(), target));
        found.ok_or_else(|| At::offset(text, 0, format!("{line:?} is no key")))
    };
    let begun = form.begun.to_string().parse().map_err(|_| At::offset(text, 0, "begun is no moment"))?;
    Ok(Rotation { old: key(&form.old)?, new: key(&form.new)?, comment: form.comment, begun })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";

    #[test]
    fn what_is_kept_is_read_again_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path()).unwrap();
        let key = |line: &str| Key::from_public_line(line.as_bytes(), Target::default()).unwrap();
        let rotation = Rotation::new(key(ED), key(OTHER), b"a \"b\" \\c");
        let lock = Lock::acquire(&layout).unwrap();
        assert_eq!(all(&layout).unwrap(), []);
        rotation.write(&layout, &lock).unwrap();
        assert_eq!(all(&layout).unwrap(), std::slice::from_ref(&rotation));
        fs::write(rotation.path(&layout), "old = 1\n").unwrap();
        assert!(all(&layout).is_err());
        rotation.forget(&layout, &lock).unwrap();
        assert_eq!(all(&layout).unwrap(), []);
        assert_eq!(Rotation::new(key(ED), key(OTHER), b"\xff").comment, "");
    }
}
