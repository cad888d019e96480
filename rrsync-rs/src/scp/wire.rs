//! The bytes of the protocol: lines, answers and content, read and written through one bounded buffer.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::ServeError;
use crate::sftp::flow::{readable, writable};

/// How much is read at once.
const ROOM: usize = 1 << 17;

/// The longest line: a mode, a size and a name, or whatever went wrong at the other end.
const LONGEST_LINE: usize = 8192;

/// The client.
pub(super) struct Peer<I, O> {
    input: I,
    output: O,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a line of a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    /// `C`: a file.
    File { mode: u32, size: u64, name: Vec<u8> },
    /// `D`: a directory begins.
    Directory { mode: u32, name: Vec<u8> },
    /// `E`: a directory ends.
    End,
    /// `T`: the times of what comes next, last access and last modification.
    Times(u32, u32),
    /// 1: something went wrong there, and it goes on.
    Trouble,
}

impl<I: AsFd, O: AsFd> Peer<I, O> {
    pub(super) fn new(input: I, output: O) -> Self {
        Self { input, output, buffer: vec![0; ROOM].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Waits for more bytes; `false` at the end of the input.
    fn fill(&mut self) -> Result<bool, ServeError> {
        (self.start, self.end) = (0, 0);
        loop {
            match nix::unistd::read(&self.input, &mut self.buffer) {
                Ok(read) => {
                    self.end = read;
                    return Ok(read > 0);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => readable(&self.input).map_err(ServeError::Read)?,
                Err(errno) => return Err(ServeError::Read(errno)),
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, ServeError> {
        if self.start == self.end && !self.fill()? {
            return Ok(None);
        }
        let byte = self.buffer.get(self.start).copied();
        self.start += 1;
        Ok(byte)
    }

    /// The rest of a line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, ServeError> {
        let mut line = Vec::new();
        loop {
            match self.byte()?.ok_or(ServeError::HungUp)? {
                b'\n' => return Ok(line),
                byte if line.len() < LONGEST_LINE => line.push(byte),
                _ => return Err(ServeError::Protocol("a line is too long")),
            }
        }
    }

    /// Some content, at most `most` bytes and at least one.
    pub(super) fn content(&mut self, most: u64) -> Result<&[u8], ServeError> {
        if self.start == self.end && !self.fill()? {
            return Err(ServeError::HungUp);
        }
        let length = usize::try_from(most).unwrap_or(ROOM).min(self.end - self.start);
        let start = self.start;
        self.start += length;
        Ok(self.buffer.get(start..start + length).unwrap_or_default())
    }

    /// The answer to something that was sent: whether it went well. What the client says otherwise is for its own user.
    pub(super) fn answer(&mut self) -> Result<bool, ServeError> {
        match self.byte()?.ok_or(ServeError::HungUp)? {
            0 => Ok(true),
            2 => {
                self.line()?;
                Err(ServeError::GivenUp)
            }
            _ => {
                self.line()?;
                Ok(false)
            }
        }
    }

    /// The next line of a source; `None` when there is none any more.
    pub(super) fn control(&mut self) -> Result<Option<Control>, ServeError> {
        let Some(kind) = self.byte()? else { return Ok(None) };
        let line = self.line()?;
        let control = match kind {
            1 => Some(Control::Trouble),
            2 => return Err(ServeError::GivenUp),
            b'E' => Some(Control::End),
            b'T' => times(&line),
            b'C' => entry(&line).map(|(mode, size, name)| Control::File { mode, size, name }),
            b'D' => entry(&line).map(|(mode, _, name)| Control::Directory { mode, name }),
            _ => None,
        };
        control.map(Some).ok_or(ServeError::Protocol("this is no line of a source"))
    }

    /// Writes all of `bytes`.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), ServeError> {
        while !bytes.is_empty() {
            match nix::unistd::write(&self.output, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    writable(&self.output, None::<&I>).map_err(ServeError::Write)?;
                }
                Err(errno) => return Err(ServeError::Write(errno)),
            }
        }
        Ok(())
    }

    /// Answers that something went well.
    pub(super) fn accept(&mut self) -> Result<(), ServeError> {
        self.send(&[0])
    }

    /// Says what went wrong: 1 when it goes on, 2 when it does not.
    pub(super) fn say(&mut self, kind: u8, text: &str) -> Result<(), ServeError> {
        self.send(&[&[kind], text.as_bytes(), b"\n"].concat())
    }
}

/// `MODE SIZE NAME`: four octal digits, a number, and one component of a path.
fn entry(line: &[u8]) -> Option<(u32, u64, Vec<u8>)> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (mode, size, name) = (words.next()?, words.next()?, words.next()?);
    let digits = mode.len() == 4 && mode.iter().all(|byte| (b'0'..=b'7').contains(byte));
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok().filter(|_| digits)?;
    let plain = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0));
    plain.then_some((mode, number(size)?, name.to_vec()))
}

/// `MTIME 0 ATIME 0`: seconds and, unused, microseconds.
fn times(line: &[u8]) -> Option<Control> {
    let words: Option<Vec<u64>> = line.split(|byte| *byte == b' ').map(number).collect();
    let [modified, 0..=999_999, accessed, 0..=999_999] = *words? else { return None };
    let seconds = |seconds| u32::try_from(seconds).unwrap_or(u32::MAX);
    Some(Control::Times(seconds(accessed), seconds(modified)))
}

fn number(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok()?.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_source_are_read_and_nothing_else() {
        assert_eq!(entry(b"0644 5 a b"), Some((0o644, 5, b"a b".to_vec())));
        assert_eq!(entry(b"4755 18446744073709551615 \xff"), Some((0o4755, u64::MAX, b"\xff".to_vec())));
        for bad in [
            "",
            "0644",
            "0644 5",
            "0644 5 ",
            "0644 5 .",
            "0644 5 ..",
            "0644 5 a/b",
            "0644 5 /",
            "0644 5 a\0",
            "644 5 a",
            "0888 5 a",
            "+644 5 a",
            "0644 -5 a",
            "0644 +5 a",
            "0644 5x a",
            "0644  a",
            "0644 18446744073709551616 a",
            "00644 5 a",
        ] {
            assert_eq!(entry(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(times(b"1 0 2 0"), Some(Control::Times(2, 1)));
        assert_eq!(times(b"99999999999 0 2 999999"), Some(Control::Times(2, u32::MAX)));
        for bad in
            ["", "1", "1 0 2", "1 0 2 0 ", "1 0 2 0 3", "1 1000000 2 0", "-1 0 2 0", "+1 0 2 0", "1 0 x 0"]
        {
            assert_eq!(times(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
