//! The tree that a client sees: the grant's workspaces by name below a synthetic `/`, and nothing else.
//!
//! `/` lists the workspaces and cannot be changed; `..` ends there; relative paths start there, however many
//! workspaces there are, so `host:papers/fig` means the same with one workspace and with ten. Everything below is
//! resolved beneath the workspace's root by the kernel, judged by the place that it resolved to, and then acted on
//! through descriptors. No host path ever leaves this module, and no operation takes one.
//!
//! | access | what it means here |
//! |---|---|
//! | `ro` | nothing that changes a byte, a name or an attribute, also not on an open handle |
//! | `wo` | no content, no listing, no link target; of what is there, only that it is there and of which type |
//! | `overwrite = false` | what was there before the session keeps content, name and attributes |
//! | `delete = false` | what was there before the session keeps its name |
//! | `append = true` | what was there before the session may only get more content at its end |
//! | `drop` | something new under a hidden name, published by one rename; nothing else is there: `delivery` |
//! | `none` | nothing is there, but what leads to a sub-path that is exposed |
//!
//! What the session itself made (`Ours`) it may see, change and remove in all writable modes: clients upload under a
//! temporary name and rename it, set the mode after writing, and compare the size before they are content.

mod attributes;
mod change;
mod delivery;
mod fault;
mod file;
pub mod hidden;
mod judge;
mod keep;
mod links;
mod list;
mod open;
mod ours;
mod path;
mod place;
mod precise;
mod room;
mod sums;
mod upload;
mod walk;

use std::rc::Rc;

pub use attributes::{Changes, Metadata, View};
pub use fault::{Fault, Rule};
pub use file::OpenFile;
pub use hidden::{Holding, Journal};
pub use links::stays;
pub use list::{Entry, Listing};
pub use open::OpenHow;
pub use path::VirtualPath;
pub use place::{Belongings, Mount};
pub use precise::Precise;

use ours::Ours;

/// What holds for every workspace of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The permission bits that a client may set. The default, `0o777`, leaves out setuid, setgid and sticky; the
    /// process's umask applies to what is created, as ever.
    pub mode_mask: u32,
    /// Bytes of the largest file that a client may make.
    pub largest_file: Option<u64>,
    /// Whether the sums of contents are wanted for the record.
    pub sums: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { mode_mask: 0o777, largest_file: None, sums: false }
    }
}

impl Options {
    fn fits(&self, size: u64) -> Result<(), Fault> {
        let fits = self.largest_file.is_none_or(|largest| size <= largest);
        if fits { Ok(()) } else { Err(Rule::FileSize.into()) }
    }
}

/// How often something is tried that others can come in between.
const ATTEMPTS: u32 = 16;

/// The virtual tree of one session.
#[derive(Debug)]
pub struct Vfs {
    mounts: Vec<Rc<Mount>>,
    options: Options,
    ours: Rc<Ours>,
}

impl Vfs {
    /// The tree of these workspaces, listed in the order of their names. The first of two with one name counts.
    pub fn new(mut mounts: Vec<Mount>, options: Options) -> Self {
        mounts.sort_by(|one, two| one.name().cmp(two.name()));
        mounts.dedup_by(|later, first| later.name() == first.name());
        let mounts = mounts.into_iter().map(Rc::new).collect();
        Self { mounts, options, ours: Rc::new(Ours::default()) }
    }

    /// Whether a file may have `size` bytes.
    pub fn fits(&self, size: u64) -> Result<(), Fault> {
        self.options.fits(size)
    }

    /// What holds for every workspace.
    pub fn options(&self) -> Options {
        self.options
    }
}
