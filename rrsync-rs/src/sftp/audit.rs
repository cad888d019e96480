//! What a session did, file by file, for the gate's audit log.

use std::fmt;

use crate::sha256::Sum;
use crate::vfs::Fault;

/// What was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The content of a file was read.
    Read,
    /// A file was written, and made if need be.
    Write,
    /// A file or symlink was removed.
    Remove,
    /// A directory was removed.
    RemoveDir,
    /// A directory was made.
    MakeDir,
    /// Something was renamed to `to`.
    Rename,
    /// A file was given the second name `to`.
    HardLink,
    /// A symlink was made.
    Symlink,
    /// Size, permissions, times or owner were set.
    SetAttributes,
    /// A directory was listed, or a path looked at. An event only when it was refused.
    Look,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::RemoveDir => "rmdir",
            Self::MakeDir => "mkdir",
            Self::Rename => "rename",
            Self::HardLink => "link",
            Self::Symlink => "symlink",
            Self::SetAttributes => "setstat",
            Self::Look => "look",
        })
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As the client asked for.
    Done,
    /// The session ended while the file was open.
    Unfinished,
    /// Not at all, or not completely; [`Fault::is_refusal`] tells policy from accident.
    Failed(Fault),
}

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEvent<'a> {
    /// What was done.
    pub deed: Deed,
    /// The path in the virtual tree, beginning with a slash. Bytes of the client: to be escaped before they are shown.
    pub path: &'a [u8],
    /// The second path of a rename or hard link; what a symlink says, as the client wrote it.
    pub to: Option<&'a [u8]>,
    /// Bytes of content read or written.
    pub bytes: u64,
    /// The sum of the whole content, where that is recorded and the client has read or written all of it.
    pub sha256: Option<Sum>,
    /// How it ended.
    pub outcome: Outcome,
}

/// The sums of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Requests answered.
    pub requests: u64,
    /// Files opened for reading.
    pub files_read: u64,
    /// Files opened for writing.
    pub files_written: u64,
    /// Bytes of content read.
    pub bytes_read: u64,
    /// Bytes of content written.
    pub bytes_written: u64,
    /// Requests that the grant refused.
    pub refused: u64,
}
