//! The rsync that will run: which file, what it needs to start, and what it understands.
//!
//! Asked once, by running it, and remembered in the state directory for as long as the file is the same one. Nothing
//! is inferred from a version number.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode};
use serde::{Deserialize, Serialize};

use super::RsyncFeatures;
use crate::confine::Needed;
use crate::layout::Layout;
use crate::remembered;
use crate::trusted::{self, Distrust};

/// Where rsync is looked for when nobody says.
const USUAL: &[&str] =
    &["/usr/bin/rsync", "/usr/local/bin/rsync", "/bin/rsync", "/run/current-system/sw/bin/rsync"];

/// The rsync that whoever built this program chose in place of the usual ones: the variable `AKEYS_RSYNC` at that time.
const BUILT_FOR: Option<&str> = option_env!("AKEYS_RSYNC");

/// An rsync, open and known.
#[derive(Debug)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// The file (`O_PATH`, close-on-exec).
    pub fd: OwnedFd,
    /// What it understands.
    pub features: RsyncFeatures,
    /// Its dynamic loader, when it has one.
    pub loader: Option<PathBuf>,
    /// Its shared libraries.
    pub libraries: Vec<PathBuf>,
}

/// Why there is no rsync to run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// None of the usual places has one.
    #[error("rsync is not installed (looked for {})", USUAL.join(", "))]
    Missing,
    /// It cannot be opened or asked.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{path}: {source}", path = path.display())]
    Untrusted {
        /// The program.
        path: PathBuf,
        /// Which check failed.
        source: Distrust,
    },
}

/// What is remembered about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Profile {
    path: PathBuf,
    /// Device, inode, size, and the times of the last change of content and of the inode, in nanoseconds.
    identity: (u64, u64, u64, i128, i128),
    confine_root: bool,
    drop_d: bool,
    loader: Option<PathBuf>,
    libraries: Vec<PathBuf>,
}

/// The rsync that runs when nobody names one.
pub fn usual() -> Option<PathBuf> {
    match BUILT_FOR {
        Some(path) if !path.is_empty() => Some(path.into()),
        _ => USUAL.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// Opens `wanted`, or the usual rsync, and finds out about it. `layout` is where the answer is remembered.
pub fn find(wanted: Option<&Path>, layout: Option<&Layout>) -> Result<Program, ProgramError> {
    let path = wanted.map(Path::to_owned).or_else(usual).ok_or(ProgramError::Missing)?;
    let io = |source: io::Error| ProgramError::Io { path: path.clone(), source };
    let (fd, stat) = open(&path)?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let identity = (
        stat.st_dev,
        stat.st_ino,
        stat.st_size.unsigned_abs(),
        nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    );
    let cache = layout.map(|layout| layout.state_dir().join("rsync.json"));
    let same = |known: &Profile| known.path == path && known.identity == identity;
    let known = cache.as_deref().and_then(remembered::recall).filter(same);
    let profile = if let Some(profile) = known {
        profile
    } else {
        let (loader, libraries) = libraries(&path).map_err(io)?;
        let confine_root = understands(&path, "--confine-root=/").map_err(io)?;
        let drop_d = understands(&path, "--drop-D").map_err(io)?;
        let profile = Profile { path: path.clone(), identity, confine_root, drop_d, loader, libraries };
        if let Some(cache) = &cache {
            remembered::remember(cache, &profile);
        }
        profile
    };
    let features = RsyncFeatures { confine_root: profile.confine_root, drop_d: profile.drop_d };
    Ok(Program { path, fd, features, loader: profile.loader, libraries: profile.libraries })
}

/// Opens the program `name` that was installed beside this one. It needs nothing but itself: all of ours are static.
pub fn beside(name: &str) -> Result<Program, ProgramError> {
    let here = std::env::current_exe().unwrap_or_default();
    let path = here.with_file_name(name);
    let (fd, _) = open(&path)?;
    let io = |source| ProgramError::Io { path: path.clone(), source };
    let program = File::open(&path).map_err(io)?;
    if interpreter(&program).map_err(io)?.is_some() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidData, "is not a static program")));
    }
    Ok(Program { path, fd, features: RsyncFeatures::default(), loader: None, libraries: Vec::new() })
}

/// Opens a program that nobody else can have written.
fn open(path: &Path) -> Result<(OwnedFd, FileStat), ProgramError> {
    let io = |source: io::Error| ProgramError::Io { path: path.to_owned(), source };
    let untrusted = |source| ProgramError::Untrusted { path: path.to_owned(), source };
    if !path.is_absolute() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "is not an absolute path")));
    }
    let fd = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| io(errno.into()))?;
    let stat = nix::sys::stat::fstat(&fd).map_err(|errno| io(errno.into()))?;
    if crate::beneath::kind(&stat) != nix::sys::stat::SFlag::S_IFREG {
        return Err(untrusted(Distrust::Kind("regular file")));
    }
    trusted::check(stat.st_uid, stat.st_mode).map_err(untrusted)?;
    Ok((fd, stat))
}

/// A command in the environment that rsync itself will have.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(super::ENVIRONMENT.iter().copied()).current_dir("/").stdin(Stdio::null());
    command
}

fn understands(rsync: &Path, option: &str) -> io::Result<bool> {
    let status =
        command(rsync).args([option, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}

/// The loader that an ELF program names (`PT_INTERP`), and the libraries that this loader would load for it.
fn libraries(program: &Path) -> io::Result<(Option<PathBuf>, Vec<PathBuf>)> {
    let Some(loader) = interpreter(&File::open(program)?)? else { return Ok((None, Vec::new())) };
    // Both glibc's and musl's loaders list what they would load, one `NAME => PATH (ADDRESS)` a line.
    let output = command(&loader).arg("--list").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let libraries = text
        .lines()
        .filter_map(|line| {
            let (_, path) = line.split_once("=>")?;
            let path = Path::new(path.rsplit_once(" (").map_or(path, |(path, _)| path).trim());
            path.is_absolute().then(|| path.to_owned())
        })
        .collect();
    Ok((Some(loader), libraries))
}

/// elf(5): the 64-bit header, then the program header of type `PT_INTERP`.
fn interpreter(program: &File) -> io::Result<Option<PathBuf>> {
    const PT_INTERP: u64 = 3;
    let not_elf = || io::Error::new(io::ErrorKind::InvalidData, "is not a 64-bit ELF program");
    let mut header = [0; 64];
    program.read_exact_at(&mut header, 0).map_err(|_| not_elf())?;
    let little = header[5] == 1;
    if !header.starts_with(b"\x7fELF\x02") {
        return Err(not_elf());
    }
    let number = |bytes: &[u8]| -> u64 {
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    };
    let table = number(&header[32..40]);
    let size = number(&header[54..56]);
    for index in 0..number(&header[56..58]) {
        let mut entry = [0; 56];
        program.read_exact_at(&mut entry, table.saturating_add(index * size)).map_err(|_| not_elf())?;
        if number(&entry[..4]) == PT_INTERP {
            let length = usize::try_from(number(&entry[32..40])).ok().filter(|length| *length < 4096);
            let mut name = vec![0; length.ok_or_else(not_elf)?];
            program.read_exact_at(&mut name, number(&entry[8..16])).map_err(|_| not_elf())?;
            while name.last() == Some(&0) {
                name.pop();
            }
            let name: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(name);
            return Ok(Some(name.into()));
        }
    }
    Ok(None)
}

/// Where rsync looks up the names of users and groups. Root keeps owners, and keeps them by name; for anybody else the
/// numbers do, and these files stay closed.
const NAMES: &[&str] = &["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// What a program needs besides itself, opened: what is executed, and what is read. A library that has gone since is left
/// out, and the loader will say so. With `charsets`, the C library's conversions (`--iconv`) are among it: glibc loads each
/// from a directory beside itself.
pub fn files(program: &Program, charsets: bool) -> io::Result<(Vec<Needed>, Vec<Needed>)> {
    let open = |path: &Path| -> io::Result<Needed> {
        let fd = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Needed { path: path.to_owned(), fd })
    };
    let mut programs = vec![Needed { path: program.path.clone(), fd: program.fd.try_clone()? }];
    let mut libraries: Vec<Needed> = program.libraries.iter().filter_map(|path| open(path).ok()).collect();
    if charsets {
        let beside = |library: &PathBuf| {
            let directory = library.with_file_name("gconv");
            // glibc looks under the real name, which is not /lib where that is a link to /usr/lib.
            library.file_name()?.to_str()?.starts_with("libc.so").then(|| directory.canonicalize().ok())?
        };
        libraries.extend(program.libraries.iter().filter_map(beside).filter_map(|path| open(&path).ok()));
    }
    if nix::unistd::geteuid().is_root() {
        libraries.extend(NAMES.iter().filter_map(|path| open(Path::new(path)).ok()));
    }
    if let Some(loader) = &program.loader {
        programs.push(open(loader)?);
        libraries.extend(open(Path::new("/etc/ld.so.cache")));
    }
    Ok((programs, libraries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_has_a_loader_and_libraries() {
        let (loader, libraries) = libraries(Path::new("/usr/bin/env")).unwrap();
        assert!(loader.unwrap().is_absolute());
        assert!(libraries.iter().any(|path| path.to_string_lossy().contains("libc")), "{libraries:?}");
    }

    #[test]
    fn a_script_is_no_program() {
        let script = std::env::temp_dir().join(format!("program-script-{}", std::process::id()));
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let error = find(Some(&script), None).unwrap_err().to_string();
        let _ = std::fs::remove_file(&script);
        assert!(error.contains("is not a 64-bit ELF program"), "{error}");
    }
}
