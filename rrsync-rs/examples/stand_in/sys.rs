//! System calls by number, so that no library stands between an attack and the kernel.

use std::ffi::CString;

/// Success, or the error number.
pub type Tried = Result<i64, i32>;

/// Makes a system call; arguments are integers, or pointers to memory that outlives the call.
macro_rules! sys {
    ($number:expr $(, $arg:expr)* $(,)?) => {{
        // SAFETY: the kernel checks its arguments; pointers come from values that live until the end of the statement.
        let result = unsafe { libc::syscall($number $(, $arg)*) };
        $crate::sys::tried(result)
    }};
}
pub(crate) use sys;

/// A result of `syscall(2)`.
pub fn tried(result: i64) -> Tried {
    if result == -1 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// A path for the kernel.
pub fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// `openat(2)` from the working directory.
pub fn open(path: &str, flags: i32) -> Tried {
    let path = c(path);
    sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o644)
}

/// Opens a file and reads from it.
pub fn read(path: &str) -> Tried {
    let fd = open(path, libc::O_RDONLY)?;
    let mut buffer = [0_u8; 64];
    sys!(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len())
}
