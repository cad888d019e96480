//! Why an operation on the virtual tree did not happen.

use nix::errno::Errno;

/// Why an operation did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The path leads out of its workspace, or a symlink in it does.
    #[error("leads out of the workspace")]
    Outside,
    /// The grant does not allow it.
    #[error("{0}")]
    Refused(Rule),
    /// A NUL byte in a path, or arguments that contradict each other.
    #[error("malformed request")]
    Malformed,
    /// What would have been lost cannot be kept, so it is not lost.
    #[error("what is there cannot be kept: {}", .0.desc())]
    NotKept(Errno),
    /// The system call failed.
    #[error("{}", .0.desc())]
    Os(#[from] Errno),
}

/// The rule that refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `access = "ro"`.
    #[error("this key may only read here")]
    ReadOnly,
    /// `access = "wo"`.
    #[error("this key may only write here")]
    WriteOnly,
    /// `access = "none"`.
    #[error("this is not exposed to this key")]
    NotExposed,
    /// `overwrite = false`.
    #[error("this key may not change what is already here")]
    NoOverwrite,
    /// `append = true`.
    #[error("this key may only add to the end of what is already here")]
    AppendOnly,
    /// `delete = false`.
    #[error("this key may not remove what is already here")]
    NoDelete,
    /// `/` and the names of the workspaces belong to the grant.
    #[error("the list of workspaces is fixed")]
    FixedRoot,
    /// A FIFO, socket or device.
    #[error("not a regular file or directory")]
    SpecialFile,
    /// A symlink that is absolute or leads out of the workspace, to be made or to be shown.
    #[error("symlink leads out of the workspace")]
    LinkLeaves,
    /// `symlinks = "none"`.
    #[error("this key may make no symlinks")]
    NoSymlinks,
    /// The names that the workspace allows.
    #[error("nothing may have this name here")]
    Name,
    /// `file-size`.
    #[error("the file would be larger than this key may make it")]
    FileSize,
    /// `access = "drop"`: not the way to deliver.
    #[error("deliver under a name that begins with a dot, and rename it when it is complete")]
    Delivery,
    /// A delivery that is published already.
    #[error("this has been delivered")]
    Delivered,
    /// A directory that is to be moved nearer to the root, with more in it than can be looked through for symlinks.
    #[error("too much to be moved at once")]
    TooMuch,
    /// A rename or hard link that would give the client more access to the content than it has.
    #[error("source and target have different access")]
    MixedAccess,
}

impl Fault {
    /// An error of path resolution, where `EXDEV` is the kernel's word for "outside".
    pub(super) fn resolving(errno: Errno) -> Self {
        if errno == Errno::EXDEV { Self::Outside } else { Self::Os(errno) }
    }

    /// Whether policy refused it, rather than the state of the file system.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Outside | Self::Refused(_))
    }
}

impl From<Rule> for Fault {
    fn from(rule: Rule) -> Self {
        Self::Refused(rule)
    }
}
