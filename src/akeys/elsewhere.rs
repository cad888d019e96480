//! The file that sshd reads behind `authorized_keys`, unless it was told otherwise: whoever takes a key back, or puts it to sleep,
//! must hear that it still gets in there.
//!
//! sshd is not asked, because taking a key back must not wait for anything; what `AuthorizedKeysFile` names besides is for
//! `akeys audit`. Nothing here is ever changed.

use std::path::Path;

use rrsync_rs::layout::Layout;

use super::lines::key_of;
use super::source;
use crate::authkeys::{Key, KeyFile};
use crate::common::report::shown;

/// A note for each line there that still lets in a key that is `meant` to be let in no more.
pub fn notes(meant: impl Fn(&Key) -> bool, layout: &Layout) -> Vec<String> {
    told("still lets the key in", meant, layout)
}

/// A note for each line there that lets in a key that is `meant` to be let in by the other file.
pub fn beside(meant: impl Fn(&Key) -> bool, layout: &Layout) -> Vec<String> {
    told("lets the key in as well, by its own options", meant, layout)
}

fn told(how: &str, meant: impl Fn(&Key) -> bool, layout: &Layout) -> Vec<String> {
    let path = layout.ssh_dir().join("authorized_keys2");
    let real = |path: &Path| path.canonicalize().ok();
    if real(&path) == real(&layout.authorized_keys()) {
        return Vec::new();
    }
    let Some(file) = source::regular(&path).ok().map(KeyFile::parse) else { return Vec::new() };
    let path = shown(layout, &path);
    let lets_in = file.lines().filter(|line| key_of(*line).is_some_and(|key| meant(&key)));
    lets_in
        .map(|line| {
            let number = line.number();
            format!("{path}:{number} {how}: sshd reads that file as well, unless it was told otherwise")
        })
        .collect()
}
