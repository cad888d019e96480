//! What a taken-over server of the gate's own could do: a stand-in for the tests.
//!
//! `served-battery HOME ROOT VICTIM` prepares and confines this process as a session of the grant `playground.chef1` of that
//! home, and then tries everything, one line for each: `NAME allowed` or `NAME denied`. `ROOT` holds the directories `D`
//! (the workspace) and `outside`; `VICTIM` is a process of the same account.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for the tests")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::{Pid, symlinkat};
use rrsync_rs::cli::{Gate, Source};
use rrsync_rs::exposure::System;
use rrsync_rs::grant::Confine;
use rrsync_rs::layout::Layout;
use rrsync_rs::serve::{self, Protocol};
use rrsync_rs::session::Named;
use rrsync_rs::sftp::Subsystem;

fn main() {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [home, root, victim] = args.as_slice() else { return };
    let victim = Pid::from_raw(victim.to_str().unwrap().parse().unwrap());
    let source = Source::Grant("playground.chef1".parse().unwrap());
    let gate = Gate { source, rsync: None, within: false, explain: None };
    let layout = Layout::new(home).unwrap();
    let terms =
        Named::read(&gate, Some(&layout)).unwrap().open(&gate, Some(&layout), &System::default()).unwrap();
    // What is open before, as the audit file is in a session.
    let log = File::create(root.join("log")).unwrap();
    let session = serve::prepare(terms, Protocol::Sftp(Subsystem::default())).unwrap();
    session.confine(Confine::Required).unwrap();
    processes(root, victim);
    network(root);
    outside(&root.join("outside"));
    inside(&root.join("D"));
    store(&layout, &root.join("D"));
    tell("write an open log", io::Write::write_all(&mut &log, b"x"));
}

#[allow(clippy::needless_pass_by_value, reason = "a result is told and done with")]
fn tell<T, E>(name: &str, result: Result<T, E>) {
    println!("{name} {}", if result.is_ok() { "allowed" } else { "denied" });
}

fn processes(root: &Path, victim: Pid) {
    tell("run a program", Command::new("/bin/true").spawn().map(|mut child| child.wait()));
    tell("become a program", Err::<(), _>(Command::new("/bin/true").exec()).map_err(|error| error.kind()));
    tell(
        "run a program of the box",
        Command::new(root.join("D/program")).spawn().map(|mut child| child.wait()),
    );
    tell("start a thread", std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()));
    tell("signal a process", nix::sys::signal::kill(victim, Signal::SIGTERM));
    tell("ask for a process", nix::sys::signal::kill(victim, None));
    tell("trace a process", nix::sys::ptrace::attach(victim));
    tell("new namespaces", nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS));
    tell(
        "mount",
        nix::mount::mount(Some("none"), root, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>),
    );
    tell("another root", nix::unistd::chroot(root));
    tell("another directory", std::env::set_current_dir(root.join("outside")));
    tell("another user", nix::unistd::setuid(nix::unistd::getuid()));
    tell("memory as a file", nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::empty()));
    tell(
        "more open files",
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 10, 10),
    );
}

fn network(root: &Path) {
    tell("connect", TcpStream::connect("127.0.0.1:1").or_else(refused_is_allowed));
    tell("listen", TcpListener::bind("127.0.0.1:0"));
    tell("send datagrams", UdpSocket::bind("127.0.0.1:0"));
    tell("make a socket file", UnixListener::bind(root.join("D/socket")));
    tell("pair of sockets", UnixStream::pair());
    tell("unnamed socket", UnixDatagram::unbound());
}

/// A connection that nobody takes was tried all the same.
fn refused_is_allowed(error: io::Error) -> io::Result<TcpStream> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => TcpStream::connect("127.0.0.1:1"),
        _ => Err(error),
    }
}

fn outside(outside: &Path) {
    let secret = outside.join("secret");
    let inside = outside.with_file_name("D");
    tell("read outside", read(&secret));
    tell("read the accounts", read(Path::new("/etc/passwd")));
    tell("read its own environment", read(Path::new("/proc/self/environ")));
    tell("list outside", list(outside));
    tell("write outside", open(&secret, OFlag::O_WRONLY));
    tell("truncate outside", nix::unistd::truncate(&secret, 0));
    tell(
        "make a file outside",
        open(&outside.join("new"), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC),
    );
    tell("make a directory outside", mkdirat(AT_FDCWD, &outside.join("newdir"), Mode::S_IRWXU));
    tell("remove outside", remove(&secret));
    tell("rename outside", rename(&secret, &outside.join("moved")));
    tell("move out", rename(&inside.join("in.txt"), &outside.join("in.txt")));
    tell("move in", rename(&secret, &inside.join("got")));
    tell("link in", link(&secret, &inside.join("got")));
    tell("link out", link(&inside.join("in.txt"), &outside.join("got")));
    tell("symlink outside", symlinkat("x", AT_FDCWD, &outside.join("l")));
    tell("mode outside", fs::set_permissions(&secret, Permissions::from_mode(0o666)));
    tell("owner outside", chown(&secret, Some(nix::unistd::getuid().as_raw()), None));
    tell("times outside", nix::sys::stat::utimes(&secret, &times(), &times()));
    tell(
        "attributes outside",
        rustix::fs::setxattr(&secret, "user.x", b"x", rustix::fs::XattrFlags::empty()),
    );
}

fn inside(inside: &Path) {
    let file = inside.join("in.txt");
    tell("list inside", list(inside));
    tell("read inside", read(&file));
    tell("write inside", open(&file, OFlag::O_WRONLY));
    tell("make a device", nix::sys::stat::mknod(&inside.join("dev"), SFlag::S_IFCHR, Mode::S_IRWXU, 259));
    tell("make a fifo", nix::unistd::mkfifo(&inside.join("fifo"), Mode::S_IRWXU));
    tell("mode by path", fs::set_permissions(&file, Permissions::from_mode(0o666)));
    tell("make a file", open(&inside.join("made"), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL));
    tell("remove inside", remove(&inside.join("sub/f")));
}

fn store(layout: &Layout, workspace: &Path) {
    let store = layout.versions_of(workspace);
    let content = store.join("content");
    let Some(kept) = list(&content).ok().and_then(|mut kept| kept.pop()) else { return };
    tell("change a kept content", open(&kept, OFlag::O_WRONLY));
    tell("remove a kept content", remove(&kept));
    tell("replace a kept content", rename(&workspace.join("in.txt"), &kept));
    tell("move a kept content", rename(&kept, &content.join("moved")));
    tell("open the log of versions", open(&store.join("log.jsonl"), OFlag::O_WRONLY));
    tell("remove the log of versions", remove(&store.join("log.jsonl")));
}

/// The calls that the filter lets through, so that the other half of the confinement has to answer.
fn open(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    openat(AT_FDCWD, path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::from(open(path, OFlag::O_RDONLY)?).read_to_end(&mut content)?;
    Ok(content)
}

fn list(path: &Path) -> nix::Result<Vec<PathBuf>> {
    let mut directory = Dir::openat(AT_FDCWD, path, OFlag::O_DIRECTORY, Mode::empty())?;
    let names = directory
        .iter()
        .map(|entry| entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()));
    names
        .filter(|name| !matches!(name, Ok(name) if name == "." || name == ".."))
        .map(|name| Ok(path.join(name?)))
        .collect()
}

fn remove(path: &Path) -> nix::Result<()> {
    nix::unistd::unlinkat(AT_FDCWD, path, nix::unistd::UnlinkatFlags::NoRemoveDir)
}

fn rename(from: &Path, to: &Path) -> nix::Result<()> {
    nix::fcntl::renameat(AT_FDCWD, from, AT_FDCWD, to)
}

fn link(from: &Path, to: &Path) -> nix::Result<()> {
    nix::unistd::linkat(AT_FDCWD, from, AT_FDCWD, to, nix::fcntl::AtFlags::empty())
}

fn times() -> nix::sys::time::TimeVal {
    nix::sys::time::TimeVal::new(1, 0)
}
