//! rsync: what a client's `rsync --server …` asks for, and the one command that may answer it.

pub mod expand;
pub mod judge;
pub mod options;
mod paths;
pub mod program;
pub mod secluded;
pub mod words;

pub use paths::{Place, find};

/// What the rsync that will run understands, beyond what every version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RsyncFeatures {
    /// `--confine-root=DIR` (3.5.0): operator paths stay below DIR.
    pub confine_root: bool,
    /// `--drop-D` (3.5.0): a receiver leaves devices and special files out.
    pub drop_d: bool,
}

/// The whole environment of the child. No home, so no `~/.popt`; no locale, so no files of one.
pub const ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent"), ("LC_ALL", "C")];
