//! What rsync says of one path, read back to the byte.
//!
//! The format is ours, `--out-format`: the changes as rsync(1) itemizes them, length, permissions, name and, behind two slashes,
//! what a symlink says. In the C locale rsync writes every byte that is no printable ASCII character as `\#` and three octal
//! digits, and a tab as it is. A name never has two slashes in a row, so nobody can put a field into one.

use nix::sys::stat::SFlag;

use crate::event::EventPath;

/// The value of `--out-format`.
pub(super) const FORMAT: &str = "%i %l %B %n//%L";

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Something at the source, and how it differs from what is here.
    There(There),
    /// Something here that is not at the source.
    Extra(EventPath),
    /// Something at the source that is neither a file nor a directory nor a symlink.
    Special(EventPath),
    /// The directory itself.
    Top(There),
    /// So many bytes have moved by now.
    Moved(u64),
}

impl Item {
    /// The path that it is about, if it is about one.
    pub fn path(&self) -> Option<&EventPath> {
        match self {
            Self::There(there) => Some(&there.path),
            Self::Extra(path) | Self::Special(path) => Some(path),
            Self::Top(_) | Self::Moved(_) => None,
        }
    }
}

/// Something at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// Where; of the directory itself, a path that means nothing.
    pub path: EventPath,
    /// What it is.
    pub kind: SFlag,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// What a symlink says.
    pub says: Vec<u8>,
    /// How it differs.
    pub change: Change,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    Equal,
    /// In its permissions or times, not in its content.
    Attributes,
    /// In its content, or in what a symlink says; or it is not here.
    Content,
}

/// Reads a line without its newline; `None` for what is no line of this format.
pub fn parse(line: &[u8]) -> Option<Item> {
    if let Some(rest) = line.strip_prefix(b"skipping non-regular file \"") {
        return path(rest.strip_suffix(b"\"")?).map(Item::Special);
    }
    if line.starts_with(b" ") {
        return moved(line).map(Item::Moved);
    }
    let (changes, rest) = line.split_at_checked(11)?;
    let mut fields = rest.strip_prefix(b" ")?.splitn(3, |byte| *byte == b' ');
    let size = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let mode = permissions(fields.next()?)?;
    let (name, says) = cut(fields.next()?)?;
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if changes.starts_with(b"*deleting") {
        return path(name).map(Item::Extra);
    }
    let kind = match changes.get(1)? {
        b'f' => SFlag::S_IFREG,
        b'd' => SFlag::S_IFDIR,
        b'L' => SFlag::S_IFLNK,
        _ => return path(name).map(Item::Special),
    };
    let attributes = changes.get(2..)?;
    let change = match changes.first()? {
        b'.' if attributes.iter().all(|byte| matches!(byte, b' ' | b'.')) => Change::Equal,
        b'.' => Change::Attributes,
        b'>' | b'<' | b'c' | b'h' => Change::Content,
        _ => return None,
    };
    let says = says.strip_prefix(b" -> ").map(unescaped).unwrap_or_default();
    let there = |path| There { path, kind, size, mode, says, change };
    if name == b"." {
        return EventPath::new(b"top".to_vec()).ok().map(|path| Item::Top(there(path)));
    }
    Some(Item::There(there(path(name)?)))
}

/// Name, and what follows the two slashes. The name of a directory ends with a slash, which makes three of them.
fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.windows(2).position(|two| two == b"//")?;
    let third = usize::from(text.get(at + 2) == Some(&b'/'));
    Some((text.get(..at)?, text.get(at + 2 + third..)?))
}

/// `--info=progress2`: bytes in groups of three digits, and how much of all that is.
fn moved(line: &[u8]) -> Option<u64> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (bytes, part) = (words.next()?, words.next()?);
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b',').collect();
    let bytes = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    part.ends_with(b"%").then_some(bytes)
}

fn path(escaped: &[u8]) -> Option<EventPath> {
    EventPath::new(unescaped(escaped)).ok()
}

/// `rwxr-xr-x`, as ls(1) has it.
fn permissions(text: &[u8]) -> Option<u32> {
    if text.len() != 9 {
        return None;
    }
    // Letters other than these stand for bits that are not set here, with the one below them or without.
    Some(
        text.iter().fold(0, |bits, letter| {
            bits << 1 | u32::from(matches!(letter, b'r' | b'w' | b'x' | b's' | b't'))
        }),
    )
}

/// The bytes that rsync has escaped.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((first, rest)) = left.split_first() {
        if let Some(byte) = octal(left) {
            bytes.push(byte);
            left = left.get(5..).unwrap_or_default();
        } else {
            bytes.push(*first);
            left = rest;
        }
    }
    bytes
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\#")?.get(..3)?;
    let value = digits.iter().try_fold(0_u32, |value, digit| {
        (b'0'..=b'7').contains(digit).then(|| value * 8 + u32::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(line: &[u8]) -> (String, char, u64, u32, Vec<u8>, Change) {
        match parse(line) {
            Some(Item::There(there)) => {
                let kind = match there.kind {
                    SFlag::S_IFREG => 'f',
                    SFlag::S_IFDIR => 'd',
                    _ => 'l',
                };
                let path = String::from_utf8_lossy(there.path.as_bytes()).into_owned();
                (path, kind, there.size, there.mode, there.says, there.change)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_rsync_are_read_back() {
        for (line, path, kind, size, mode, says, change) in [
            (&b">f+++++++++ 2 rw-r--r-- f4//"[..], "f4", 'f', 2, 0o644, "", Change::Content),
            (b">f..t...... 12345 rwxr-xr-x a/b c//", "a/b c", 'f', 12345, 0o755, "", Change::Content),
            (b".f...p..... 2 rw------- f1//", "f1", 'f', 2, 0o600, "", Change::Attributes),
            (b".f          3 rw-r--r-- a\tb//", "a\tb", 'f', 3, 0o644, "", Change::Equal),
            (
                b".f          2 rw-r--r-- n\\#012l#\\#134#012//",
                "n\nl#\\#012",
                'f',
                2,
                0o644,
                "",
                Change::Equal,
            ),
            (b".f          2 rw-r--r-- \\#303\\#274//", "ü", 'f', 2, 0o644, "", Change::Equal),
            (b".d...p..... 4096 rwx------ sub///", "sub", 'd', 4096, 0o700, "", Change::Attributes),
            (b"cd+++++++++ 4096 rwxrwxrwt a/b///", "a/b", 'd', 4096, 0o777, "", Change::Content),
            (b".d          4096 rwxr-x--T s///", "s", 'd', 4096, 0o750, "", Change::Equal),
            (b"cL+++++++++ 4 rwxrwxrwx l2// -> a//b", "l2", 'l', 4, 0o777, "a//b", Change::Content),
            (b".L          2 rwxrwxrwx l -> nk// -> f1", "l -> nk", 'l', 2, 0o777, "f1", Change::Equal),
            (b".L..t...... 2 rwxrwxrwx l// ->  -> x", "l", 'l', 2, 0o777, " -> x", Change::Attributes),
        ] {
            let expected = (path.to_owned(), kind, size, mode, says.as_bytes().to_vec(), change);
            assert_eq!(there(line), expected, "{}", String::from_utf8_lossy(line));
        }
        let path = |text: &str| EventPath::new(text.into()).unwrap();
        assert_eq!(parse(b"*deleting   0 rw-r--r-- extra//"), Some(Item::Extra(path("extra"))));
        assert_eq!(parse(b"*deleting   0 rwxr-xr-x old/dir///"), Some(Item::Extra(path("old/dir"))));
        assert_eq!(parse(b"skipping non-regular file \"a\\#012\""), Some(Item::Special(path("a\n"))));
        assert!(matches!(parse(b".d..t...... 4096 rwxr-xr-x .///"), Some(Item::Top(_))));
        let progress = b"  1,234,567  12%    1.18MB/s    0:00:07 (xfr#1, to-chk=0/2)";
        assert_eq!(parse(progress), Some(Item::Moved(1_234_567)));
        assert_eq!(parse(b"          0 100%    0.00kB/s    0:00:00  "), Some(Item::Moved(0)));
    }

    #[test]
    fn what_a_hostile_server_could_make_rsync_say_is_nothing() {
        for line in [
            &b""[..],
            b"receiving incremental file list",
            b">f+++++++++ 2 rw-r--r-- ../x//",
            b">f+++++++++ 2 rw-r--r-- /etc/passwd//",
            b">f+++++++++ 2 rw-r--r-- a/../../x//",
            b">f+++++++++ 2 rw-r--r-- //",
            b">f+++++++++ 2 rw-r--r-- a\\#000b//",
            b">f+++++++++ 2 rw-r--r-- a\\#057..\\#057..\\#057b//",
            b">f+++++++++ -1 rw-r--r-- a//",
            b" 1,2x3 4%",
            b" ",
            b">f+++++++++ 2 rw a//",
            b"*deleting   0 rw-r--r-- ..//",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
