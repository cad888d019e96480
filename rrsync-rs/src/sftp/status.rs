//! What a request that failed is answered with.

use nix::errno::Errno;

use crate::vfs::Fault;

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing is left to read, or to list.
    #[error("End of file")]
    Eof,
    /// The handle was never given out, is closed, or is of the other kind.
    #[error("Failure: no such handle")]
    NoHandle,
    /// Too many handles are open.
    #[error("Failure: too many open handles")]
    TooManyHandles,
    /// The protocol has no such request, or this server does not know it.
    #[error("Operation unsupported")]
    Unsupported,
    /// The virtual tree refused it, or the file system did.
    #[error("{}{}", word(*.0), .0)]
    Fault(#[from] Fault),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Fault(Fault::Os(errno))
    }
}

impl Failure {
    /// The status code, section 7 of the draft; errors of system calls as in sftp-server.c `errno_to_portable`.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Eof => EOF,
            Self::NoHandle | Self::TooManyHandles => FAILURE,
            Self::Unsupported => OP_UNSUPPORTED,
            Self::Fault(fault) => code(fault),
        }
    }
}

const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

fn code(fault: Fault) -> u32 {
    let errno = match fault {
        Fault::Outside | Fault::Refused(_) => Errno::EACCES,
        Fault::Malformed => Errno::EINVAL,
        Fault::NotKept(_) => Errno::EIO,
        Fault::Os(errno) => errno,
    };
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::EBADF | Errno::ELOOP => NO_SUCH_FILE,
        Errno::EPERM | Errno::EACCES | Errno::EFAULT => PERMISSION_DENIED,
        Errno::ENAMETOOLONG | Errno::EINVAL => BAD_MESSAGE,
        Errno::ENOSYS => OP_UNSUPPORTED,
        _ => FAILURE,
    }
}

/// What sftp-server says for the code (`status_messages`), before the reason.
fn word(fault: Fault) -> &'static str {
    match code(fault) {
        NO_SUCH_FILE => "No such file: ",
        PERMISSION_DENIED => "Permission denied: ",
        BAD_MESSAGE => "Bad message: ",
        OP_UNSUPPORTED => "Operation unsupported: ",
        _ => "Failure: ",
    }
}
