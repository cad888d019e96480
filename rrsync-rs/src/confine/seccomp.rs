//! seccomp: the system calls that a session can make.
//!
//! An allow-list: what is not named fails with `EPERM`, and with `ENOSYS` where the C library knows an older way. The
//! lists were taken from traces of rsync 3.2 and 3.5 in every mode that the tests run. There are no sockets, no
//! namespaces, no ptrace, no keys, no `io_uring`, no memfd; one execution, of one descriptor, is allowed. A sender also
//! has no call that changes a file or its metadata, which Landlock does not mediate.

use libc::c_long;

use super::ConfineError;
use super::bpf::{self, Condition, Rules};

/// A list of allowed system calls with conditions on their arguments, not yet compiled.
#[derive(Debug, Clone)]
pub struct Filter {
    rules: Rules,
    setuid: bool,
    truncation_closed: bool,
    /// Whether [`UNKNOWN`] calls say so, for a C library that then takes another way.
    falls_back: bool,
}

/// Flags of `clone(2)` that make namespaces: `CLONE_NEW*`.
const NAMESPACES: u64 = 0x7e02_0000;

impl Filter {
    fn new(falls_back: bool) -> Self {
        Self { rules: Rules::new(), setuid: true, truncation_closed: false, falls_back }
    }

    /// The calls of a program that reads files and talks on the descriptors that it has.
    pub fn reader() -> Self {
        let mut filter = Self::new(true);
        filter.allow(PROCESS).allow(DESCRIPTORS).allow(READING);
        filter
            .when(libc::SYS_clone, &[bits(0, NAMESPACES, 0)])
            .when(libc::SYS_socketpair, &[is(0, libc::AF_UNIX.cast_unsigned().into())])
            .when(libc::SYS_ioctl, &[is(1, TCGETS)])
            .when(libc::SYS_prlimit64, &[is(0, 0), whole(2, 0)]);
        filter
    }

    /// The calls of [`Filter::reader`], and those that change files.
    ///
    /// Without `setuid`, no call can give a file the set-user-ID bit. Without `special_files`, none makes a
    /// device, a FIFO or a socket.
    pub fn writer(special_files: bool, setuid: bool) -> Self {
        let mut filter = Self::reader();
        filter.allow(WRITING);
        if special_files {
            filter.allow(SPECIAL);
        }
        if !setuid {
            filter.setuid = false;
            for (call, mode) in CHANGING_MODES {
                filter.rules.remove(call);
                filter.when(*call, &[bits(*mode, SETUID, 0)]);
            }
        }
        filter
    }

    /// A list of calls, each without conditions or only with one value in one argument.
    pub fn listed(calls: impl Iterator<Item = (c_long, Option<(u8, u64)>)>) -> Self {
        let mut filter = Self::new(false);
        for (call, only_if) in calls {
            match only_if {
                None => {
                    filter.rules.insert(call, Vec::new());
                }
                Some((argument, value)) => {
                    filter.when(call, &[whole(argument, value)]);
                }
            }
        }
        filter
    }

    /// Also allows what writing a record takes: the time, on machines where that is a system call.
    #[must_use]
    pub fn and_record(mut self) -> Self {
        self.allow(&[libc::SYS_clock_gettime, libc::SYS_gettimeofday]);
        self
    }

    /// Also allows directories to be watched for changes.
    #[must_use]
    pub fn and_watch(mut self) -> Self {
        self.allow(&[libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch]);
        self
    }

    /// Also allows to limit the size of files, which is done after the session has been recorded. Nobody but root could raise the
    /// limit again.
    #[must_use]
    pub fn and_limit_files(mut self, limited: bool) -> Self {
        if limited {
            let files = nix::sys::resource::Resource::RLIMIT_FSIZE as u64;
            self.when(libc::SYS_prlimit64, &[is(0, 0), is(1, files)]);
        }
        self
    }

    /// Also allows this process to become the program behind `fd`, once: `execveat(fd, "", …, AT_EMPTY_PATH)`.
    ///
    /// The descriptor is close-on-exec and comes from [`super::out_of_reach`], so nothing can have its number again; and
    /// Landlock lets no other file be run.
    #[must_use]
    pub fn and_execute(mut self, fd: i32) -> Self {
        let empty_path = u64::from(libc::AT_EMPTY_PATH.cast_unsigned());
        let fd = u64::from(fd.cast_unsigned());
        self.when(libc::SYS_execveat, &[is(0, fd), is(4, empty_path)]);
        self
    }

    /// Before ABI 3, Landlock takes `open(…, O_RDONLY | O_TRUNC)` for reading. Closes that, and `truncate(2)` with it,
    /// which no list here allows.
    #[must_use]
    pub(super) fn with_truncation_closed(mut self, needed: bool) -> Self {
        self.truncation_closed = needed;
        self
    }

    /// The conditions on opening: each of the first alternatives with each of the second. Nothing is checked that need
    /// not be, because the kernel decides fastest about calls without conditions.
    fn restrict_opening(&mut self) {
        let [create, truncate, mode] =
            [libc::O_CREAT, libc::O_TRUNC, libc::O_ACCMODE].map(|bits| u64::from(bits.cast_unsigned()));
        let [writing, both] = [libc::O_WRONLY, libc::O_RDWR].map(|bits| u64::from(bits.cast_unsigned()));
        if self.setuid && !self.truncation_closed {
            return;
        }
        for (call, flags) in OPENING {
            let flag = |mask, value| vec![bits(*flags, mask, value)];
            let any = || vec![Vec::new()];
            let truncation = if self.truncation_closed {
                vec![flag(truncate, 0), flag(mode, writing), flag(mode, both)]
            } else {
                any()
            };
            // The mode stands behind the flags, and means something only where a file may be made.
            let behind = vec![bits(*flags + 1, SETUID, 0)];
            let setuid = if self.setuid { any() } else { vec![flag(create, 0), behind] };
            self.rules.remove(call);
            for first in &truncation {
                for second in &setuid {
                    self.when(*call, &[first.as_slice(), second.as_slice()].concat());
                }
            }
        }
    }

    /// Installs the filter on this thread, for good.
    pub(super) fn install(mut self) -> Result<(), ConfineError> {
        self.restrict_opening();
        let program = bpf::compile(&self.rules, if self.falls_back { UNKNOWN } else { &[] });
        seccompiler::apply_filter(&program).map_err(|error| ConfineError::Seccomp(error.to_string()))
    }

    fn allow(&mut self, calls: &[c_long]) -> &mut Self {
        self.rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        self
    }

    /// Allows a call when all conditions hold. Adds to what is allowed.
    fn when(&mut self, call: c_long, conditions: &[Condition]) -> &mut Self {
        self.rules.entry(call).or_default().push(conditions.to_vec());
        self
    }
}

/// An `int` with musl.
#[allow(clippy::unnecessary_cast, reason = "not with every libc")]
const TCGETS: u64 = libc::TCGETS as u64;

/// An argument of 32 bits that has a value: the kernel takes no notice of the rest.
fn is(argument: u8, value: u64) -> Condition {
    bits(argument, u32::MAX.into(), value)
}

/// An argument that has a value, all of it.
fn whole(argument: u8, value: u64) -> Condition {
    bits(argument, u64::MAX, value)
}

/// An argument some of whose bits have a value.
fn bits(argument: u8, mask: u64, value: u64) -> Condition {
    Condition { argument, mask, value }
}

/// Whether the kernel has seccomp filters (`CONFIG_SECCOMP_FILTER`): its status line says so.
pub(super) fn supported() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nSeccomp_filters:"))
        || std::path::Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

/// Calls that answer `ENOSYS`: their arguments are behind a pointer, where no filter can look, and callers fall back.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// The mode bit that makes a program run as its owner. The group's bit stays: on directories it is everyday use.
const SETUID: u64 = 0o4000;

/// The calls that change a file's mode, and where it stands.
const CHANGING_MODES: &[(c_long, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
];

/// The calls that open files, and where their flags stand.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2)];

/// Memory, time, signals among its own processes, and the end.
const PROCESS: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setitimer,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    // musl's raise(3) and abort(3).
    libc::SYS_tkill,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Descriptors that are open already, and pipes.
const DESCRIPTORS: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_msync,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_sendfile,
    libc::SYS_shutdown,
    libc::SYS_sync_file_range,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Finding and reading files. Creating and writing through `openat` is Landlock's to refuse.
const READING: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getdents,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    libc::SYS_chdir,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchdir,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_statfs,
    libc::SYS_statx,
];

/// Changing files and their metadata.
const WRITING: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_linkat,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mkdirat,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// Devices, FIFOs and sockets.
const SPECIAL: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    libc::SYS_mknodat,
];
