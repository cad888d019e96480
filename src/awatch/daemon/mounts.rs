//! What is mounted in a workspace: told by the kernel when it changes, `proc_pid_mountinfo(5)`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The mounts below a directory.
#[derive(Debug)]
pub struct Mounts {
    table: File,
    below: Vec<Vec<u8>>,
}

impl Mounts {
    /// The mounts below `root` now.
    pub fn below(root: &Path) -> io::Result<Self> {
        let mut mounts = Self { table: File::open("/proc/self/mountinfo")?, below: Vec::new() };
        mounts.below = mounts.read(root)?;
        Ok(mounts)
    }

    /// Those that have come or gone since the last time, relative to `root`.
    pub fn changed(&mut self, root: &Path) -> io::Result<Vec<Vec<u8>>> {
        let now = self.read(root)?;
        let changed = |one: &[Vec<u8>], other: &[Vec<u8>]| -> Vec<Vec<u8>> {
            one.iter().filter(|mount| !other.contains(mount)).cloned().collect()
        };
        let mut all = changed(&now, &self.below);
        all.extend(changed(&self.below, &now));
        self.below = now;
        Ok(all)
    }

    fn read(&mut self, root: &Path) -> io::Result<Vec<Vec<u8>>> {
        let mut text = Vec::new();
        self.table.rewind()?;
        self.table.read_to_end(&mut text)?;
        let root = std::fs::canonicalize(root)?;
        Ok(points(&text).filter_map(|point| below(&point, &root)).collect())
    }
}

fn below(point: &[u8], root: &Path) -> Option<Vec<u8>> {
    let rest = point.strip_prefix(root.as_os_str().as_bytes())?.strip_prefix(b"/")?;
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// The fifth field of each line, in which some bytes are written as three octal digits.
fn points(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(|field| {
        let mut point = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((first, after)) = rest.split_first() {
            let digits = after.get(..3).filter(|_| *first == b'\\');
            let byte =
                digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
            point.push(byte.unwrap_or(*first));
            rest = if byte.is_some() { &after[3..] } else { after };
        }
        point
    })
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let text = b"36 35 98:0 / /srv/a\\040b/c rw - ext3 /dev/root rw\n37 35 0:1 /x /srv rw - tmpfs t rw\n";
        let all: Vec<Vec<u8>> = points(text).collect();
        assert_eq!(all, [b"/srv/a b/c".to_vec(), b"/srv".to_vec()]);
        assert_eq!(below(b"/srv/a b/c", Path::new("/srv")), Some(b"a b/c".to_vec()));
        assert_eq!(below(b"/srv2/c", Path::new("/srv")), None);
        assert_eq!(below(b"/srv", Path::new("/srv")), None);
    }
}
