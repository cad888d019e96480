//! SHA-256: the sum of a content, and its one spelling, 64 lower-case hexadecimal digits.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::uio::pread;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex;

/// How much is read at once.
const PIECE: usize = 1 << 17;

/// The sum of a content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum([u8; 32]);

/// Not a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum is 64 lower-case hexadecimal digits")]
pub struct BadSum;

/// A sum that is being made, piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Summing(Sha256);

impl Summing {
    /// The next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The sum of all pieces.
    pub fn finish(self) -> Sum {
        Sum(self.0.finalize().into())
    }
}

impl Sum {
    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut summing = Summing::default();
        summing.add(bytes);
        summing.finish()
    }

    /// The sum of an open file's content, and its length. Where the file is read next does not change.
    pub fn of_file(file: impl AsFd) -> io::Result<(Self, u64)> {
        Self::of_start(file, u64::MAX)
    }

    /// As [`Sum::of_file`], of the first `length` bytes, if there are so many.
    pub fn of_start(file: impl AsFd, length: u64) -> io::Result<(Self, u64)> {
        let mut summing = Summing::default();
        let mut piece = vec![0; PIECE];
        let mut at = 0_i64;
        loop {
            let left = usize::try_from(length.saturating_sub(at.unsigned_abs())).unwrap_or(PIECE).min(PIECE);
            match pread(file.as_fd(), piece.get_mut(..left).unwrap_or_default(), at) {
                Ok(0) => return Ok((summing.finish(), at.unsigned_abs())),
                Ok(read) => {
                    summing.add(piece.get(..read).unwrap_or_default());
                    at += i64::try_from(read).map_err(|_| Errno::EFBIG)?;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sum {
    type Err = BadSum;

    fn from_str(text: &str) -> Result<Self, BadSum> {
        hex::decode(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(BadSum)
    }
}

impl TryFrom<String> for Sum {
    type Error = BadSum;

    fn try_from(text: String) -> Result<Self, BadSum> {
        text.parse()
    }
}

impl From<[u8; 32]> for Sum {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Sum> for [u8; 32] {
    fn from(sum: Sum) -> Self {
        sum.0
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_one_spelling() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sum::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Sum::of(b"")));
        for bad in
            ["", "e3", &empty.to_uppercase(), &empty[1..], &format!("{empty}0"), &empty.replace('b', "+")]
        {
            assert_eq!(bad.parse::<Sum>(), Err(BadSum), "{bad}");
        }
    }

    #[test]
    fn a_file_and_its_bytes_have_the_same_sum() {
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
        let path = std::env::temp_dir().join(format!("sum-{}", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let found = Sum::of_file(std::fs::File::open(&path).unwrap()).unwrap();
        for length in [0, 1, 131_071, 131_072, 131_073, 1_200_000, u64::MAX] {
            let start = Sum::of_start(std::fs::File::open(&path).unwrap(), length).unwrap();
            let expected = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
            assert_eq!(start, (Sum::of(&bytes[..expected]), expected as u64));
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found, (Sum::of(&bytes), bytes.len() as u64));
    }
}
