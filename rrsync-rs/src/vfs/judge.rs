//! What the rules of a workspace say about a place beneath its root.
//!
//! Every question is about the place that a path resolved to, never about the path: a symlink from a writable
//! sub-path to a read-only one is judged by where it ends.

use std::path::Path;

use super::ours::Ours;
use super::{Fault, Mount, Rule};
use crate::beneath::Held;

impl Mount {
    /// Content and names at `at` may be read.
    pub(super) fn reading(&self, at: &Path) -> Result<(), Fault> {
        if self.rules.access_to(at).may_read() { Ok(()) } else { Err(Fault::Refused(Rule::WriteOnly)) }
    }

    /// Something at `at` may be made.
    pub(super) fn writing(&self, at: &Path) -> Result<(), Fault> {
        if self.rules.access_to(at).may_write() { Ok(()) } else { Err(Fault::Refused(Rule::ReadOnly)) }
    }

    /// What is there may be given other content or attributes.
    pub(super) fn changing(&self, held: &Held, ours: &Ours) -> Result<(), Fault> {
        self.writing(&held.at)?;
        if self.rules.overwrite || ours.made(&held.fd) {
            Ok(())
        } else {
            Err(Fault::Refused(Rule::NoOverwrite))
        }
    }

    /// What is there may lose its name, by removal or by a rename.
    pub(super) fn removing(&self, held: &Held, ours: &Ours) -> Result<(), Fault> {
        self.writing(&held.at)?;
        if self.may_delete() || ours.made(&held.fd) { Ok(()) } else { Err(Fault::Refused(Rule::NoDelete)) }
    }

    /// Whether removal is allowed at all: `overwrite = false` implies that it is not.
    pub(super) fn may_delete(&self) -> bool {
        self.rules.delete && self.rules.overwrite
    }

    /// Whether what a session makes here must be remembered for the questions above.
    pub(super) fn remembers(&self, at: &Path) -> bool {
        !self.may_delete() || !self.rules.access_to(at).may_read()
    }

    /// Whether some entry of `paths` lies at or below `at`. A directory above one cannot be moved: the entry names a
    /// place, and what is behind it would fall under another rule.
    fn has_rules_below(&self, at: &Path) -> bool {
        self.rules.paths.keys().any(|place| place.starts_with(at))
    }
}

/// Content at `from` may get the place `to`, as another name or instead of the old one.
///
/// Both places must be writable: a second, writable name for a read-only file would be a way to write it. And what may
/// not be read must not become readable. A directory takes what is in it along, so it must not meet rules below.
pub(super) fn moving(from: (&Mount, &Held), to: (&Mount, &Path)) -> Result<(), Fault> {
    from.0.writing(&from.1.at)?;
    to.0.writing(to.1)?;
    let disclosed = to.0.reading(to.1).is_ok() && from.0.reading(&from.1.at).is_err();
    let rules_below = from.1.is_dir() && (from.0.has_rules_below(&from.1.at) || to.0.has_rules_below(to.1));
    if disclosed || rules_below { Err(Fault::Refused(Rule::MixedAccess)) } else { Ok(()) }
}
