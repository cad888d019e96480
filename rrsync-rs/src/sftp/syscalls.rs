//! The system calls that serving a client needs, for the seccomp filter around it: an allow-list.
//!
//! No execution, no new process or thread, no socket, no signal to others, no way to set a mode, time or owner by
//! path: attributes are changed through descriptors only, so the filter closes what Landlock does not mediate. (What
//! cannot be opened, such as a file with mode 0, then keeps its attributes.) A session that may only read has no call
//! that changes anything. The lists were taken from traces of all requests and are held to them by tests that kill the
//! server at any other call.

/// One allowed system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Its number on this architecture.
    pub call: libc::c_long,
    /// Only with this value in this argument, counted from 0, as 64 bits.
    pub only_if: Option<(u8, u64)>,
}

const fn always(call: libc::c_long) -> Allowed {
    Allowed { call, only_if: None }
}

/// What [`super::serve`] needs in every session, and the end of the process after it.
pub const READING: &[Allowed] = &[
    // Talking, and the content of files.
    always(libc::SYS_read),
    always(libc::SYS_write),
    always(libc::SYS_pread64),
    always(libc::SYS_close),
    // Waiting for a non-blocking client.
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_poll),
    always(libc::SYS_ppoll),
    // Finding files. `openat` is for absolute symlinks that lead back into the workspace: `Root::hold`.
    always(libc::SYS_openat2),
    always(libc::SYS_openat),
    always(libc::SYS_getdents64),
    always(libc::SYS_fstat),
    always(libc::SYS_newfstatat),
    always(libc::SYS_statx),
    always(libc::SYS_fstatfs),
    #[cfg(target_arch = "x86_64")]
    always(libc::SYS_readlink),
    always(libc::SYS_readlinkat),
    always(libc::SYS_fcntl),
    always(libc::SYS_lseek),
    // Memory, time, and the end.
    always(libc::SYS_brk),
    always(libc::SYS_mmap),
    always(libc::SYS_munmap),
    always(libc::SYS_mremap),
    always(libc::SYS_madvise),
    always(libc::SYS_futex),
    always(libc::SYS_getrandom),
    always(libc::SYS_clock_gettime),
    always(libc::SYS_getuid),
    always(libc::SYS_getgid),
    always(libc::SYS_getpid),
    always(libc::SYS_rt_sigaction),
    always(libc::SYS_rt_sigprocmask),
    always(libc::SYS_rt_sigreturn),
    always(libc::SYS_restart_syscall),
    always(libc::SYS_sigaltstack),
    always(libc::SYS_exit),
    always(libc::SYS_exit_group),
];

/// What it needs besides where the grant lets anything be written.
pub const CHANGING: &[Allowed] = &[
    // Content.
    always(libc::SYS_pwrite64),
    always(libc::SYS_copy_file_range),
    always(libc::SYS_ftruncate),
    always(libc::SYS_fsync),
    always(libc::SYS_fdatasync),
    always(libc::SYS_syncfs),
    // Names.
    always(libc::SYS_mkdirat),
    always(libc::SYS_unlinkat),
    always(libc::SYS_renameat),
    always(libc::SYS_renameat2),
    always(libc::SYS_linkat),
    always(libc::SYS_symlinkat),
    // The count for a quota, the log of versions, and deliveries.
    always(libc::SYS_flock),
    // Attributes, on descriptors.
    always(libc::SYS_fgetxattr),
    always(libc::SYS_fsetxattr),
    always(libc::SYS_fchmod),
    always(libc::SYS_fchown),
    Allowed { call: libc::SYS_utimensat, only_if: Some((1, 0)) },
];
