//! What a watcher cannot be faster than: walks a tree, sets a watch on each directory, says `ready`, and then the path of each
//! file that a writer has closed. It knows nothing of the files, and what comes later into new directories escapes it.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

const CLOSE_WRITE: u32 = 0x8;
const CLOEXEC: i32 = 0o2_000_000;

unsafe extern "C" {
    /// inotify_init1(2).
    fn inotify_init1(flags: i32) -> i32;
    /// inotify_add_watch(2).
    fn inotify_add_watch(queue: i32, path: *const std::ffi::c_char, events: u32) -> i32;
}

fn main() {
    let root = PathBuf::from(std::env::args_os().nth(1).expect("a directory"));
    // SAFETY: takes a number and returns a descriptor or -1.
    let queue = unsafe { inotify_init1(CLOEXEC) };
    let (mut dirs, mut watched) = (vec![root], HashMap::new());
    while let Some(dir) = dirs.pop() {
        let path = CString::new(dir.as_os_str().as_bytes()).expect("a path");
        // SAFETY: the string ends with a zero byte and lives through the call.
        let watch = unsafe { inotify_add_watch(queue, path.as_ptr(), CLOSE_WRITE) };
        assert!(watch >= 0, "{}: {}", dir.display(), std::io::Error::last_os_error());
        for entry in std::fs::read_dir(&dir).expect("a directory").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
        watched.insert(watch, dir);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").expect("a reader");
    // SAFETY: nobody else has that descriptor.
    let mut queue = unsafe { File::from_raw_fd(queue) };
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = queue.read(&mut buffer) {
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four bytes"));
            let (watch, length) = (number(0).cast_signed(), number(12) as usize);
            let name = rest[16..16 + length].split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(dir) = watched.get(&watch) {
                let path = [dir.as_os_str().as_bytes(), b"/", name, b"\n"].concat();
                if out.write_all(&path).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
            rest = &rest[16 + length..];
        }
    }
}
