//! The lines in which a key stands already, against the one that is to be.
//!
//! A key that is there in any other way is a conflict: sshd takes the first line that matches, so a second one would either
//! widen what the key may do or never be looked at. Both are shown, and nothing is changed.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use crate::authkeys::{Key, KeyFile, Line, Place, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// The first line that is for `key` and `same` as `wanted`; `None` when the key is nowhere.
pub fn line_of(
    file: &KeyFile,
    key: &Key,
    wanted: &[u8],
    same: impl Fn(Line<'_>) -> bool,
    layout: &Layout,
) -> Result<Option<usize>, Failure> {
    let mut present = None;
    for found in file.find(key, Target::default()) {
        let Some(line) = file.line(found.line) else { continue };
        let what = match found.place {
            Place::Entry if same(line) => {
                present = present.or(Some(found.line));
                continue;
            }
            Place::Entry => "this key is there with other options",
            Place::Dead | Place::Beside => "this key is there in a line that sshd cannot use for it",
            Place::Disabled => "this key is there, disabled",
            Place::Comment => continue,
        };
        let message = format!(
            "{}:{}: {what}\n  there: {}\n  here:  {}",
            shown(layout, &layout.authorized_keys()),
            found.line,
            Escaped(line.content()),
            Escaped(wanted)
        );
        return Err(Failure::new(Exit::Conflict, message).hint(way_out(found.place, found.line)));
    }
    Ok(present)
}

/// What helps against a key that is there in another way.
fn way_out(place: Place, line: usize) -> String {
    match place {
        Place::Disabled => format!("nothing was changed; akeys enable --line {line} wakes it"),
        _ => format!("nothing was changed; akeys remove --line {line}, then once more"),
    }
}
