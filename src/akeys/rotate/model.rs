//! The proof without a login: what sshd would do with the new key, by its lines, its place and its configuration.

use rrsync_rs::layout::Layout;

use super::lines;
use super::state::Rotation;
use crate::akeys::effect;
use crate::akeys::relation;
use crate::authkeys::{Key, KeyFile, Options, Target};
use crate::common::exit::{Exit, Failure};

/// Makes sure that the new key gets in wherever the old one does, and to the same.
pub(super) fn prove(rotation: &Rotation, file: &KeyFile, layout: &Layout) -> Result<(), Failure> {
    let unproven = |what: &str| {
        Failure::new(Exit::Failed, format!("the new key is not proven: {what}")).hint("the old one stays")
    };
    let new = options_of(&rotation.new, file);
    let old = options_of(&rotation.old, file);
    let same = new.len() == old.len() && new.iter().zip(&old).all(|(new, old)| relation::same(new, old));
    if new.is_empty() || !same && !old.is_empty() {
        return Err(unproven("its lines are not those of the old one"));
    }
    for target in Target::OPENSSH {
        for line in file.lines().filter(|line| lines::is_of(*line, &rotation.new)) {
            if line.read(target).entry().is_none() {
                return Err(unproven(&format!("some sshd passes over line {}", line.number())));
            }
        }
    }
    let notes = effect::notes([rotation.new.algorithm()].into_iter(), layout);
    match notes.first() {
        Some(note) => Err(unproven(note)),
        None => Ok(()),
    }
}

/// What each line of a key says, in order.
fn options_of(key: &Key, file: &KeyFile) -> Vec<Options> {
    let entries = file.lines().filter_map(|line| {
        let reading = line.read(Target::default());
        reading.entry().filter(|entry| entry.key == *key).map(|entry| entry.options.clone())
    });
    entries.collect()
}
