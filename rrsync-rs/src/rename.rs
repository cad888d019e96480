//! renameat2(2) with the errors of `nix`, which itself has that call for glibc alone.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
pub use rustix::fs::RenameFlags;

/// Renames `from` in `from_dir` to `to` in `to_dir`, as `flags` say.
///
/// # Errors
/// Those of renameat2(2); `EINVAL` where the file system does not know these flags.
pub fn renameat2(
    from_dir: impl AsFd,
    from: impl AsRef<OsStr>,
    to_dir: impl AsFd,
    to: impl AsRef<OsStr>,
    flags: RenameFlags,
) -> Result<(), Errno> {
    rustix::fs::renameat_with(from_dir, from.as_ref(), to_dir, to.as_ref(), flags)
        .map_err(|error| Errno::from_raw(error.raw_os_error()))
}
