//! The lines that differ between two contents of a file.

use rrsync_rs::escape::Escaped;

/// More cells than this are not compared line by line: what lies between the common start and end counts as exchanged.
const MAX_CELLS: usize = 4_000_000;

/// One line that is in one content only, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differing<'a> {
    /// Only in the first.
    Gone(usize, &'a [u8]),
    /// Only in the second.
    New(usize, &'a [u8]),
}

/// The lines that are not in both, in order; as few as there can be.
pub fn lines<'a>(before: &'a [u8], after: &'a [u8]) -> Vec<Differing<'a>> {
    let split = |bytes: &'a [u8]| bytes.split_inclusive(|&byte| byte == b'\n').collect::<Vec<&[u8]>>();
    let (old, new) = (split(before), split(after));
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (mut i, mut j) = (start, start);
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    let common = Common::of(&old[start..old_end], &new[start..new_end]);
    let mut found = Vec::new();
    while i < old_end || j < new_end {
        if i < old_end && j < new_end && old[i] == new[j] && common.is_known() {
            (i, j) = (i + 1, j + 1);
        } else if j == new_end
            || (i < old_end && common.at(i + 1 - start, j - start) >= common.at(i - start, j + 1 - start))
        {
            found.push(Differing::Gone(i + 1, old[i]));
            i += 1;
        } else {
            found.push(Differing::New(j + 1, new[j]));
            j += 1;
        }
    }
    found
}

/// The lengths of the longest common subsequences of all tails.
struct Common {
    width: usize,
    cells: Vec<u32>,
}

impl Common {
    fn of(old: &[&[u8]], new: &[&[u8]]) -> Self {
        let width = new.len() + 1;
        if (old.len() + 1).saturating_mul(width) > MAX_CELLS {
            return Self { width, cells: Vec::new() };
        }
        let mut cells = vec![0; (old.len() + 1) * width];
        for i in (0..old.len()).rev() {
            for j in (0..new.len()).rev() {
                cells[i * width + j] = if old[i] == new[j] {
                    cells[(i + 1) * width + j + 1] + 1
                } else {
                    cells[(i + 1) * width + j].max(cells[i * width + j + 1])
                };
            }
        }
        Self { width, cells }
    }

    fn is_known(&self) -> bool {
        !self.cells.is_empty()
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells.get(i * self.width + j).copied().unwrap_or(0)
    }
}

/// The same for a reader: `-` was there, `+` is new, each with its number in its own content.
pub fn shown(before: &[u8], after: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for line in lines(before, after) {
        let (mark, number, text) = match line {
            Differing::Gone(number, text) => ('-', number, text),
            Differing::New(number, text) => ('+', number, text),
        };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let _ = writeln!(out, "  {mark} {number}: {}", Escaped(text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        for (before, after, expected) in [
            ("a\nb\nc\n", "a\nx\ny\nc\n", "  - 2: b\n  + 2: x\n  + 3: y\n"),
            ("a\n", "a\nb\n", "  + 2: b\n"),
            ("a\na\n", "a\n", "  - 2: a\n"),
            ("a\nb\nc\nd\n", "b\nc\nX\nd\n", "  - 1: a\n  + 3: X\n"),
            ("", "", ""),
            ("a", "a\n", "  - 1: a\n  + 1: a\n"),
            ("x\u{1b}\n", "", "  - 1: x\\x1b\n"),
        ] {
            assert_eq!(shown(before.as_bytes(), after.as_bytes()), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn large_files_are_compared_in_one_piece() {
        let before = "a\n".repeat(3000) + "same\n";
        let after = "b\n".repeat(3000) + "same\n";
        assert_eq!(lines(before.as_bytes(), after.as_bytes()).len(), 6000);
    }
}
