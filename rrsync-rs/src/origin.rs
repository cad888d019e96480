//! Who wrote a file: a mark on the file itself, for whoever watches it.
//!
//! The extended attribute `user.akeys.origin` says `v1 ORIGIN SIZE MTIME_NS`. It counts only while the file has still
//! that size and that time of modification: what somebody has changed since is nobody's. A file system without such
//! attributes has no marks, and nothing else is lost.

use std::io;
use std::os::fd::AsFd;

use nix::sys::stat::{FileStat, fstat};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

/// The attribute.
const NAME: &str = "user.akeys.origin";

/// Longer values are no marks.
const LONGEST: usize = 256;

/// Whether `origin` can be one: 1 to 128 letters, digits, `.`, `_`, `:`, `@` and `-`.
pub fn is_origin(origin: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    (1..=128).contains(&origin.len()) && origin.bytes().all(plain)
}

/// Marks what the file is now as `origin`'s. The last thing before it is renamed into place, or closed.
pub fn mark(file: impl AsFd, origin: &str) -> io::Result<()> {
    if !is_origin(origin) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let value = value(origin, &fstat(file.as_fd())?);
    Ok(fsetxattr(file, NAME, value.as_bytes(), XattrFlags::empty())?)
}

/// Whose the file is, as it is now; `None` when it is nobody's that is known.
pub fn of(file: impl AsFd) -> Option<String> {
    let mut buffer = [0; LONGEST];
    let length = fgetxattr(file.as_fd(), NAME, &mut buffer).ok()?;
    let found = std::str::from_utf8(buffer.get(..length)?).ok()?;
    let origin = found.strip_prefix("v1 ")?.split(' ').next().filter(|origin| is_origin(origin))?;
    (found == value(origin, &fstat(file).ok()?)).then(|| origin.to_owned())
}

fn value(origin: &str, stat: &FileStat) -> String {
    let modified = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    format!("v1 {origin} {} {modified}", stat.st_size)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_mark_counts_until_the_file_changes() {
        let path = std::env::temp_dir().join(format!("origin-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"content").unwrap();
        assert_eq!(of(&file), None);
        mark(&file, "playground.chef1").unwrap();
        assert_eq!(of(&file).as_deref(), Some("playground.chef1"));
        mark(&file, "you@laptop:afiles").unwrap();
        assert_eq!(of(&file).as_deref(), Some("you@laptop:afiles"));
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(of(&file), None);
        mark(&file, "x").unwrap();
        file.write_all(b".").unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(of(&file), None, "another size");
        for bad in ["", "a b", "a\n", "ü", &"x".repeat(129)] {
            assert!(mark(&file, bad).is_err(), "{bad:?}");
        }
        for hostile in [&b"v1 x"[..], b"v1  8 0", b"v2 x 8 0", b"v1 x 8 0 ", b"v1 x\0 8 0", &[b'v'; 300]] {
            fsetxattr(&file, NAME, hostile, XattrFlags::empty()).unwrap();
            assert_eq!(of(&file), None, "{hostile:?}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
