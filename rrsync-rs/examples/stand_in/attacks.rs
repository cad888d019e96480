//! The attacks on everything but the file system, and the loop that tries all of them.

use std::ptr::null;

use crate::Scene;
use crate::sys::{Tried, c, open, sys, tried};
use crate::{files, kept};

/// One attack.
pub struct Attack {
    /// What it is called in the output.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(&Scene) -> Tried,
}

/// Shorthand for a row of the tables.
pub const fn attack(name: &'static str, run: fn(&Scene) -> Tried) -> Attack {
    Attack { name, run }
}

/// Tries the attacks on files.
pub fn on_files(scene: &Scene) {
    try_all(scene, &[files::LOOK, files::READ, files::WRITE, files::METADATA, files::INSIDE]);
}

/// Tries the attacks on what the destination holds.
pub fn on_what_is_kept(scene: &Scene) {
    try_all(scene, &[kept::KEPT]);
}

/// Tries every attack.
pub fn battery(scene: &Scene) {
    try_all(scene, &[EXECUTION, PROCESSES, SOCKETS, KERNEL, PRIVILEGES, FOREIGN_CALLS]);
    on_files(scene);
}

/// Tries each attack in a child of its own, and prints `NAME allowed` or `NAME denied ERRNO`.
fn try_all(scene: &Scene, tables: &[&[Attack]]) {
    for attack in tables.iter().copied().flatten() {
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            match (attack.run)(scene) {
                Ok(_) => println!("{} allowed", attack.name),
                Err(errno) => println!("{} denied {errno}", attack.name),
            }
            std::process::exit(0);
        }
        let mut status = 0;
        // SAFETY: `status` lives.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        if libc::WIFSIGNALED(status) {
            println!("{} denied signal-{}", attack.name, libc::WTERMSIG(status));
        } else if libc::WEXITSTATUS(status) != 0 {
            // Only a program that was executed in the child's place ends with this.
            println!("{} allowed", attack.name);
        }
    }
}

fn execve(path: &str, args: &[&str]) -> Tried {
    let words: Vec<_> = args.iter().map(|arg| c(arg)).collect();
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(null());
    let path = c(path);
    sys!(libc::SYS_execve, path.as_ptr(), argv.as_ptr(), [null::<u8>()].as_ptr())
}

fn execveat(fd: i64, path: &str, flags: i32) -> Tried {
    let (path, name) = (c(path), c("x"));
    let argv = [name.as_ptr(), null()];
    sys!(libc::SYS_execveat, fd, path.as_ptr(), argv.as_ptr(), [null::<u8>()].as_ptr(), flags)
}

/// This very program: the one file that Landlock lets this process execute, and read.
fn myself(scene: &Scene) -> String {
    format!("{}/stand_in", scene.root.display())
}

/// Puts `path` behind every descriptor number that can be had, and executes each: one of them was let through.
fn execute_any_number(path: &str) -> Tried {
    let fd = open(path, libc::O_PATH)?;
    let mut last = Err(libc::EBADF);
    for number in (0..70_000).rev() {
        if number != fd && sys!(libc::SYS_dup3, fd, number, 0).is_err() {
            continue;
        }
        last = execveat(number, "", libc::AT_EMPTY_PATH);
        if number > 2 && number != fd {
            let _ = sys!(libc::SYS_close, number);
        }
        if number == 3 {
            break;
        }
    }
    last
}

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

const EXECUTION: &[Attack] = &[
    attack("exec-sh", |_| execve("/bin/sh", &["sh", "-c", "exit 7"])),
    attack("exec-uploaded", |scene| execve(&scene.inside("program"), &["program"])),
    attack("exec-uploaded-by-loader", |scene| execve(LOADER, &[LOADER, &scene.inside("program")])),
    attack("exec-myself", |scene| execve(&myself(scene), &["x"])),
    attack("execveat-sh", |_| execveat(libc::AT_FDCWD.into(), "/bin/sh", 0)),
    attack("execveat-uploaded", |scene| {
        execveat(open(&scene.inside("program"), libc::O_PATH)?, "", libc::AT_EMPTY_PATH)
    }),
    attack("execveat-myself-any-number", |scene| execute_any_number(&myself(scene))),
    attack("execveat-uploaded-any-number", |scene| execute_any_number(&scene.inside("program"))),
    attack("execveat-loader-any-number", |_| execute_any_number(LOADER)),
    attack("setrlimit-nofile", |_| {
        let limit = libc::rlimit { rlim_cur: 65_000, rlim_max: 65_000 };
        sys!(libc::SYS_setrlimit, libc::RLIMIT_NOFILE, &raw const limit)
    }),
    attack("prlimit-nofile", |_| {
        let limit = libc::rlimit { rlim_cur: 65_000, rlim_max: 65_000 };
        sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const limit, null::<u8>())
    }),
    attack("uselib", |scene| {
        let path = c(&scene.inside("program"));
        sys!(libc::SYS_uselib, path.as_ptr())
    }),
    attack("memfd_create", |_| sys!(libc::SYS_memfd_create, c"x".as_ptr(), 0)),
    attack("memfd_secret", |_| sys!(447, 0)),
];

const PROCESSES: &[Attack] = &[
    attack("ptrace-attach", |scene| sys!(libc::SYS_ptrace, libc::PTRACE_ATTACH, scene.victim, 0, 0)),
    attack("ptrace-seize", |scene| sys!(libc::SYS_ptrace, libc::PTRACE_SEIZE, scene.victim, 0, 0)),
    attack("ptrace-traceme", |_| sys!(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0)),
    attack("ptrace-child", |_| {
        // SAFETY: one thread; the child only sleeps and is killed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            std::thread::sleep(std::time::Duration::from_secs(5));
            std::process::exit(0);
        }
        let result = sys!(libc::SYS_ptrace, libc::PTRACE_ATTACH, child, 0, 0);
        // SAFETY: our own child.
        unsafe { libc::kill(child, libc::SIGKILL) };
        result
    }),
    attack("process_vm_readv", |scene| vm(libc::SYS_process_vm_readv, scene.victim)),
    attack("process_vm_writev", |scene| vm(libc::SYS_process_vm_writev, scene.victim)),
    attack("victim-mem", |scene| open(&format!("/proc/{}/mem", scene.victim), libc::O_RDWR)),
    attack("victim-environ", |scene| open(&format!("/proc/{}/environ", scene.victim), libc::O_RDONLY)),
    attack("victim-cmdline", |scene| open(&format!("/proc/{}/cmdline", scene.victim), libc::O_RDONLY)),
    attack("victim-fd", |scene| open(&format!("/proc/{}/fd/0", scene.victim), libc::O_PATH)),
    attack("victim-root", |scene| open(&format!("/proc/{}/root/etc/passwd", scene.victim), libc::O_PATH)),
    attack("parent-environ", |_| {
        // SAFETY: takes nothing and cannot fail.
        open(&format!("/proc/{}/environ", unsafe { libc::getppid() }), libc::O_RDONLY)
    }),
    attack("self-mem", |_| open("/proc/self/mem", libc::O_RDWR)),
    attack("self-exe", |_| open("/proc/self/exe", libc::O_RDWR)),
    attack("pidfd_open", |scene| sys!(libc::SYS_pidfd_open, scene.victim, 0)),
    attack("pidfd_getfd", |_| sys!(libc::SYS_pidfd_getfd, 0, 0, 0)),
    attack("pidfd_send_signal", |_| sys!(libc::SYS_pidfd_send_signal, 0, 0, 0, 0)),
    attack("kcmp", |scene| sys!(libc::SYS_kcmp, scene.victim, scene.victim, 0, 0, 0)),
    attack("signal-kill", |scene| sys!(libc::SYS_kill, scene.victim, libc::SIGCONT)),
    attack("signal-kill-stop", |scene| sys!(libc::SYS_kill, scene.victim, libc::SIGSTOP)),
    attack("signal-tgkill", |scene| sys!(libc::SYS_tgkill, scene.victim, scene.victim, libc::SIGCONT)),
    attack("signal-tkill", |scene| sys!(libc::SYS_tkill, scene.victim, libc::SIGCONT)),
    attack("rt_sigqueueinfo", |scene| sys!(libc::SYS_rt_sigqueueinfo, scene.victim, libc::SIGCONT, 0)),
    attack("setpriority", |scene| sys!(libc::SYS_setpriority, libc::PRIO_PROCESS, scene.victim, 1)),
    attack("sched_setscheduler", |scene| {
        let priority = 0_i32;
        sys!(libc::SYS_sched_setscheduler, scene.victim, libc::SCHED_BATCH, &raw const priority)
    }),
    attack("sched_setaffinity", |scene| {
        let cpus = 1_u64;
        sys!(libc::SYS_sched_setaffinity, scene.victim, 8, &raw const cpus)
    }),
    attack("ioprio_set", |scene| sys!(libc::SYS_ioprio_set, 1, scene.victim, 3 << 13)),
    attack("prlimit-victim", |scene| {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        let old = null::<u8>();
        sys!(libc::SYS_prlimit64, scene.victim, libc::RLIMIT_NOFILE, &raw const limit, old)
    }),
    attack("move_pages", |scene| sys!(libc::SYS_move_pages, scene.victim, 0, 0, 0, 0, 0)),
    attack("migrate_pages", |scene| sys!(libc::SYS_migrate_pages, scene.victim, 0, 0, 0)),
    attack("setpgid", |_| sys!(libc::SYS_setpgid, 0, 0)),
    attack("setsid", |_| sys!(libc::SYS_setsid)),
];

fn vm(call: i64, victim: i32) -> Tried {
    let mut buffer = [0_u8; 8];
    let here = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 0 };
    sys!(call, victim, &raw const here, 1, &raw const here, 1, 0)
}

fn socket(family: i32, kind: i32) -> Tried {
    sys!(libc::SYS_socket, family, kind, 0)
}

/// One end of a datagram pair, which on Linux may also be sent anywhere else.
fn pair() -> Tried {
    let mut pair = [0_i32; 2];
    sys!(libc::SYS_socketpair, libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr())?;
    Ok(pair[0].into())
}

/// An address of a unix socket; an abstract one starts with a zero.
fn address(name: &[u8]) -> ([u8; 110], usize) {
    let mut address = [0; 110];
    address[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    address[2..2 + name.len()].copy_from_slice(name);
    (address, 2 + name.len())
}

fn connect(name: &[u8]) -> Tried {
    let (address, length) = address(name);
    sys!(libc::SYS_connect, pair()?, address.as_ptr(), length)
}

const SOCKETS: &[Attack] = &[
    attack("socket-inet", |_| socket(libc::AF_INET, libc::SOCK_STREAM)),
    attack("socket-inet-datagram", |_| socket(libc::AF_INET, libc::SOCK_DGRAM)),
    attack("socket-inet-raw", |_| socket(libc::AF_INET, libc::SOCK_RAW)),
    attack("socket-inet6", |_| socket(libc::AF_INET6, libc::SOCK_STREAM)),
    attack("socket-unix", |_| socket(libc::AF_UNIX, libc::SOCK_STREAM)),
    attack("socket-netlink", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW)),
    attack("socket-packet", |_| socket(libc::AF_PACKET, libc::SOCK_RAW)),
    attack("socket-alg", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET)),
    attack("socket-vsock", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM)),
    attack("socketpair-tipc", |_| {
        let mut pair = [0_i32; 2];
        sys!(libc::SYS_socketpair, libc::AF_TIPC, libc::SOCK_STREAM, 0, pair.as_mut_ptr())
    }),
    attack("connect-abstract", |scene| connect(format!("\0akeys-{}", scene.victim).as_bytes())),
    attack("connect-path", |_| connect(b"/dev/log")),
    attack("sendto-path", |_| {
        let (address, length) = address(b"/dev/log");
        sys!(libc::SYS_sendto, pair()?, c"x".as_ptr(), 1, 0, address.as_ptr(), length)
    }),
    attack("sendmsg", |_| {
        // SAFETY: an all-zero message is valid: no address, no data.
        let message: libc::msghdr = unsafe { std::mem::zeroed() };
        sys!(libc::SYS_sendmsg, pair()?, &raw const message, 0)
    }),
    attack("bind-abstract", |_| {
        let (address, length) = address(b"\0stand-in");
        sys!(libc::SYS_bind, pair()?, address.as_ptr(), length)
    }),
    attack("listen", |_| sys!(libc::SYS_listen, pair()?, 1)),
];

/// Arguments of `clone3(2)`: the flags, and nothing else.
fn clone3(flags: u64) -> Tried {
    let mut arguments = [0_u64; 8];
    (arguments[0], arguments[4]) = (flags, libc::SIGCHLD as u64);
    sys!(libc::SYS_clone3, arguments.as_ptr(), 64)
}

fn clone(flags: i32) -> Tried {
    sys!(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0)
}

/// `mknod(2)` of a kind of file inside.
fn mknod(scene: &Scene, kind: u32, name: &str) -> Tried {
    let path = c(&scene.inside(name));
    sys!(libc::SYS_mknodat, libc::AT_FDCWD, path.as_ptr(), kind | 0o600, 0x103)
}

const KERNEL: &[Attack] = &[
    attack("userfaultfd", |_| sys!(libc::SYS_userfaultfd, 1)),
    attack("io_uring_setup", |_| {
        let mut parameters = [0_u8; 120];
        sys!(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr())
    }),
    attack("io_uring_enter", |_| sys!(libc::SYS_io_uring_enter, 0, 0, 0, 0, 0, 0)),
    attack("io_setup", |_| {
        let mut context = 0_u64;
        sys!(libc::SYS_io_setup, 1, &raw mut context)
    }),
    attack("add_key", |_| sys!(libc::SYS_add_key, c"user".as_ptr(), c"x".as_ptr(), c"x".as_ptr(), 1, -2)),
    attack("keyctl", |_| sys!(libc::SYS_keyctl, 0, -3, 0)),
    attack("request_key", |_| sys!(libc::SYS_request_key, c"user".as_ptr(), c"x".as_ptr(), 0, 0)),
    attack("bpf", |_| {
        // BPF_MAP_CREATE of an array with one element.
        let mut attributes = [0_u32; 32];
        attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
        sys!(libc::SYS_bpf, 0, attributes.as_mut_ptr(), 128)
    }),
    attack("perf_event_open", |_| {
        let mut attributes = [0_u32; 32];
        attributes[..2].copy_from_slice(&[1, 128]);
        sys!(libc::SYS_perf_event_open, attributes.as_mut_ptr(), 0, -1, -1, 0)
    }),
    attack("unshare-user", |_| sys!(libc::SYS_unshare, libc::CLONE_NEWUSER)),
    attack("unshare-mount", |_| sys!(libc::SYS_unshare, libc::CLONE_NEWNS)),
    attack("unshare-net", |_| sys!(libc::SYS_unshare, libc::CLONE_NEWNET)),
    attack("clone-user", |_| clone(libc::CLONE_NEWUSER)),
    attack("clone-mount", |_| clone(libc::CLONE_NEWNS)),
    attack("clone-pid", |_| clone(libc::CLONE_NEWPID)),
    attack("clone3-user", |_| clone3(libc::CLONE_NEWUSER as u64)),
    attack("clone3-plain", |_| clone3(0)),
    attack("setns", |scene| {
        let namespace = open(&format!("/proc/{}/ns/mnt", scene.victim), libc::O_RDONLY).unwrap_or(0);
        sys!(libc::SYS_setns, namespace, 0)
    }),
    attack("mount-tmpfs", |scene| {
        let (kind, path) = (c("tmpfs"), c(&scene.inside("")));
        sys!(libc::SYS_mount, kind.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, 0)
    }),
    attack("mount-bind", |scene| {
        let (from, to) = (c(&scene.outside("")), c(&scene.inside("")));
        sys!(libc::SYS_mount, from.as_ptr(), to.as_ptr(), 0, libc::MS_BIND, 0)
    }),
    attack("umount", |scene| {
        let path = c(&scene.inside(""));
        sys!(libc::SYS_umount2, path.as_ptr(), libc::MNT_DETACH)
    }),
    attack("open_tree", |_| sys!(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 1)),
    attack("move_mount", |_| sys!(libc::SYS_move_mount, 0, c"".as_ptr(), 0, c"".as_ptr(), 0)),
    attack("fsopen", |_| sys!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0)),
    attack("mount_setattr", |_| sys!(442, libc::AT_FDCWD, c"/".as_ptr(), 0, 0, 0)),
    attack("pivot_root", |_| sys!(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr())),
    attack("chroot", |scene| {
        let path = c(&scene.inside(""));
        sys!(libc::SYS_chroot, path.as_ptr())
    }),
    attack("name_to_handle_at", |_| {
        let mut handle = [0_u32; 64];
        handle[0] = 128;
        let mut mount = 0_i32;
        let at = handle.as_mut_ptr();
        sys!(libc::SYS_name_to_handle_at, libc::AT_FDCWD, c".".as_ptr(), at, &raw mut mount, 0)
    }),
    attack("open_by_handle_at", |_| {
        let mut handle = [0_u32; 64];
        handle[..4].copy_from_slice(&[8, 1, 2, 0]);
        sys!(libc::SYS_open_by_handle_at, libc::AT_FDCWD, handle.as_mut_ptr(), 0)
    }),
    attack("mknod-fifo", |scene| mknod(scene, libc::S_IFIFO, "attack-fifo")),
    attack("mknod-socket", |scene| mknod(scene, libc::S_IFSOCK, "attack-socket")),
    attack("mknod-char", |scene| mknod(scene, libc::S_IFCHR, "attack-char")),
    attack("mknod-block", |scene| mknod(scene, libc::S_IFBLK, "attack-block")),
    attack("mknod-regular", |scene| mknod(scene, libc::S_IFREG, "attack-regular")),
    attack("shmget", |_| sys!(libc::SYS_shmget, 0, 4096, 0o1600)),
    attack("msgget", |_| sys!(libc::SYS_msgget, 0, 0o1600)),
    attack("semget", |_| sys!(libc::SYS_semget, 0, 1, 0o1600)),
    attack("mq_open", |_| sys!(libc::SYS_mq_open, c"x".as_ptr(), libc::O_CREAT, 0o600, 0)),
    attack("inotify_init", |_| sys!(libc::SYS_inotify_init1, 0)),
    attack("inotify_add_watch", |scene| {
        let path = c(&scene.outside(""));
        sys!(libc::SYS_inotify_add_watch, 0, path.as_ptr(), 0xfff)
    }),
    attack("fanotify_init", |_| sys!(libc::SYS_fanotify_init, 0, 0)),
    attack("signalfd", |_| {
        let mask = 0_u64;
        sys!(libc::SYS_signalfd4, -1, &raw const mask, 8, 0)
    }),
    attack("timer_create", |_| {
        let mut timer = 0_i32;
        sys!(libc::SYS_timer_create, 0, 0, &raw mut timer)
    }),
    attack("splice", |_| sys!(libc::SYS_splice, 0, 0, 1, 0, 0, 0)),
    attack("vmsplice", |_| sys!(libc::SYS_vmsplice, 1, 0, 0, 0)),
    attack("modify_ldt", |_| {
        let mut buffer = [0_u8; 64];
        sys!(libc::SYS_modify_ldt, 0, buffer.as_mut_ptr(), 64)
    }),
    attack("ioctl-tiocsti", |_| sys!(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr())),
    attack("ioctl-tiocsti-high-bits", |_| {
        #[allow(clippy::unnecessary_cast, reason = "an int with musl")]
        let request = libc::TIOCSTI as u64 | 0x7_0000_0000;
        sys!(libc::SYS_ioctl, 0, request, c"x".as_ptr())
    }),
    attack("ioctl-tioclinux", |_| sys!(libc::SYS_ioctl, 0, libc::TIOCLINUX, c"\x03".as_ptr())),
    attack("ioctl-fionread", |_| {
        let mut count = 0_i32;
        sys!(libc::SYS_ioctl, 0, libc::FIONREAD, &raw mut count)
    }),
    attack("ioctl-setflags", |scene| {
        let fd = open(&scene.inside("in"), libc::O_RDONLY)?;
        let flags = 0_u64;
        sys!(libc::SYS_ioctl, fd, 0x4008_6602_u64, &raw const flags)
    }),
];

const PRIVILEGES: &[Attack] = &[
    attack("setuid", |_| sys!(libc::SYS_setuid, 0)),
    attack("setgid", |_| sys!(libc::SYS_setgid, 0)),
    attack("setreuid", |_| sys!(libc::SYS_setreuid, -1, -1)),
    attack("setresuid", |_| sys!(libc::SYS_setresuid, -1, -1, -1)),
    attack("setresgid", |_| sys!(libc::SYS_setresgid, -1, -1, -1)),
    attack("setfsuid", |_| sys!(libc::SYS_setfsuid, 0)),
    attack("setgroups", |_| sys!(libc::SYS_setgroups, 0, 0)),
    attack("capset", |_| {
        let (header, data) = ([0x2008_0522_u32, 0], [0_u32; 6]);
        sys!(libc::SYS_capset, header.as_ptr(), data.as_ptr())
    }),
    attack("prctl-dumpable", |_| sys!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)),
    attack("prctl-subreaper", |_| sys!(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)),
    attack("prctl-keepcaps", |_| sys!(libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 0, 0, 0, 0)),
    attack("prctl-ambient", |_| sys!(libc::SYS_prctl, libc::PR_CAP_AMBIENT, 4, 0, 0, 0)),
    attack("prctl-ptracer", |_| sys!(libc::SYS_prctl, libc::PR_SET_PTRACER, -1, 0, 0, 0)),
    attack("prctl-name", |_| sys!(libc::SYS_prctl, libc::PR_SET_NAME, c"x".as_ptr(), 0, 0, 0)),
    attack("seccomp", |_| sys!(libc::SYS_seccomp, 2, 0, 0)),
    attack("landlock_create_ruleset", |_| sys!(libc::SYS_landlock_create_ruleset, 0, 0, 1)),
    attack("personality", |_| sys!(libc::SYS_personality, 0x0004_0000)),
    attack("iopl", |_| sys!(libc::SYS_iopl, 0)),
    attack("ioperm", |_| sys!(libc::SYS_ioperm, 0x80, 1, 1)),
    attack("swapon", |_| sys!(libc::SYS_swapon, c"/nothing".as_ptr(), 0)),
    attack("swapoff", |_| sys!(libc::SYS_swapoff, c"/nothing".as_ptr())),
    attack("reboot", |_| sys!(libc::SYS_reboot, 0xfee1_dead_u64, 0x2812_1969, 0, 0)),
    attack("kexec_load", |_| sys!(libc::SYS_kexec_load, 0, 0, 0, 0)),
    attack("init_module", |_| sys!(libc::SYS_init_module, c"x".as_ptr(), 1, c"".as_ptr())),
    attack("finit_module", |_| sys!(libc::SYS_finit_module, 0, c"".as_ptr(), 0)),
    attack("delete_module", |_| sys!(libc::SYS_delete_module, c"no-such-module".as_ptr(), 0)),
    attack("quotactl", |_| sys!(libc::SYS_quotactl, 0x0080_0001, 0, 0, 0)),
    attack("acct", |_| sys!(libc::SYS_acct, c"/nothing".as_ptr())),
    attack("syslog", |_| sys!(libc::SYS_syslog, 10, 0, 0)),
    attack("settimeofday", |_| sys!(libc::SYS_settimeofday, 0, 0)),
    attack("clock_settime", |_| sys!(libc::SYS_clock_settime, 0, 0)),
    attack("adjtimex", |_| {
        let mut timex = [0_u64; 32];
        sys!(libc::SYS_adjtimex, timex.as_mut_ptr())
    }),
    attack("sethostname", |_| sys!(libc::SYS_sethostname, 0, 0)),
    attack("setdomainname", |_| sys!(libc::SYS_setdomainname, 0, 0)),
    attack("vhangup", |_| sys!(libc::SYS_vhangup)),
];

/// `getpid` and `open` by the numbers of another ABI: a filter that looks only at numbers would be fooled.
#[cfg(target_arch = "x86_64")]
const FOREIGN_CALLS: &[Attack] = &[
    attack("x32-getpid", |_| sys!(0x4000_0000 | libc::SYS_getpid)),
    attack("x32-socket", |_| sys!(0x4000_0000 | libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0)),
    attack("i386-getpid", |_| i386(20, 0)),
    attack("i386-socketcall", |_| i386(102, 1)),
    attack("i386-setuid", |_| i386(23, 0)),
];
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN_CALLS: &[Attack] = &[];

/// A system call of 32-bit programs, with one argument.
#[cfg(target_arch = "x86_64")]
fn i386(number: i64, argument: i64) -> Tried {
    let result: i64;
    // SAFETY: the calls that are made so take no pointer that is dereferenced; rbx, which the compiler keeps for
    // itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {argument}", "int 0x80", "xchg rbx, {argument}",
            argument = inout(reg) argument => _, inlateout("rax") number => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 { Err((-result) as i32) } else { tried(result) }
}
