//! A change of a file: which of its bytes go, and what comes in their place. Every other byte stays by construction.
//!
//! A file of a hundred thousand keys is not copied to lose one: the new content is written from the pieces, and whoever
//! judges a change looks at the lines that differ and passes over the others.

use std::collections::HashMap;
use std::ops::Range;

use super::file::{KeyFile, Line};

/// A change of one [`KeyFile`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// In order, and apart.
    splices: Vec<Splice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Splice {
    span: Range<usize>,
    with: Vec<u8>,
}

/// A line of the file after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After<'a> {
    /// The line, with its number and place in the new file.
    pub line: Line<'a>,
    /// Its number in the old file; `None` for a line that was not there.
    pub was: Option<usize>,
}

impl Patch {
    /// No change.
    pub fn none() -> Self {
        Self::default()
    }

    /// These bytes in place of those; nothing for nothing is no change.
    pub fn splice(span: Range<usize>, with: impl Into<Vec<u8>>) -> Self {
        let with = with.into();
        if span.is_empty() && with.is_empty() {
            return Self::none();
        }
        Self { splices: vec![Splice { span, with }] }
    }

    /// Several changes of the same file as one; `None` when two of them meet. Bytes that are put in at one place stand in
    /// the order of the changes.
    pub fn all(patches: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut splices: Vec<Splice> = patches.into_iter().flat_map(|patch| patch.splices).collect();
        splices.sort_by_key(|splice| (splice.span.start, splice.span.end));
        let apart = splices.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start);
        apart.then_some(Self { splices })
    }

    /// The change from one content to another: what both share at the start and at the end stays.
    pub fn between(before: &[u8], after: &[u8]) -> Self {
        let start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        let (rest, new) = (&before[start..], &after[start..]);
        let end = rest.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        Self::splice(start..before.len() - end, &new[..new.len() - end])
    }

    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        self.splices.is_empty()
    }

    /// The new content in pieces, none of them copied.
    pub fn pieces<'a>(&'a self, before: &'a KeyFile) -> impl Iterator<Item = &'a [u8]> {
        let bytes = before.bytes();
        let starts = std::iter::once(0).chain(self.splices.iter().map(|splice| splice.span.end));
        let ends = self.splices.iter().map(|splice| splice.span.start).chain(std::iter::once(bytes.len()));
        let with = self.splices.iter().map(|splice| splice.with.as_slice()).chain(std::iter::once(&b""[..]));
        starts.zip(ends).zip(with).flat_map(move |((start, end), with)| [&bytes[start..end], with])
    }

    /// The file with the change made.
    pub fn applied(&self, before: &KeyFile) -> KeyFile {
        KeyFile::parse(self.pieces(before).collect::<Vec<_>>().concat())
    }

    /// The lines that the change touches, before and after; [`Touched::lines`] is the whole file with the change made.
    pub fn touched<'a>(&self, before: &'a KeyFile) -> Touched<'a> {
        let mut windows: Vec<Window> = Vec::new();
        for splice in &self.splices {
            match windows.last_mut() {
                Some(open) if open.reaches(splice.span.start, before) => open.splice(splice, before),
                _ => windows.push(Window::open(splice, before)),
            }
        }
        let windows = windows.into_iter().map(|window| window.close(before)).collect();
        Touched { before, windows }
    }
}

/// The lines that a change touches.
#[derive(Debug)]
pub struct Touched<'a> {
    before: &'a KeyFile,
    windows: Vec<Closed>,
}

/// Whole lines of the old file and what became of them.
#[derive(Debug)]
struct Closed {
    /// The numbers of the old lines, from 1.
    old: Range<usize>,
    /// What stands in their place.
    new: KeyFile,
    /// For each new line, the number of the old line with the same bytes.
    was: Vec<Option<usize>>,
}

impl<'a> Touched<'a> {
    /// Every line of the new file.
    pub fn lines<'s>(&'s self) -> impl Iterator<Item = After<'s>>
    where
        'a: 's,
    {
        let mut next = 1;
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(self.windows.len() * 2 + 1);
        for window in &self.windows {
            parts.push(Part::Kept(next..window.old.start));
            parts.push(Part::Window(window));
            next = window.old.end;
        }
        parts.push(Part::Kept(next..self.before.lines().len() + 1));
        let (mut number, mut start) = (0, 0);
        parts.into_iter().flat_map(move |part| part.lines(self.before)).map(move |(line, was)| {
            number += 1;
            let line = line.moved(number, start);
            start = line.span().end;
            After { line, was }
        })
    }

    /// The old lines that are not in the new file.
    pub fn gone(&self) -> impl Iterator<Item = Line<'a>> + '_ {
        self.windows.iter().flat_map(|window| {
            let stays = |number: &usize| window.was.contains(&Some(*number));
            window
                .old
                .clone()
                .filter(move |number| !stays(number))
                .filter_map(|number| self.before.line(number))
        })
    }
}

/// A run of lines of the new file.
enum Part<'a> {
    Kept(Range<usize>),
    Window(&'a Closed),
}

impl<'a> Part<'a> {
    fn lines(self, before: &'a KeyFile) -> Box<dyn Iterator<Item = (Line<'a>, Option<usize>)> + 'a> {
        match self {
            Self::Kept(numbers) => {
                Box::new(numbers.filter_map(move |number| Some((before.line(number)?, Some(number)))))
            }
            Self::Window(window) => Box::new(window.new.lines().zip(window.was.iter().copied())),
        }
    }
}

/// Lines that are being changed.
struct Window {
    /// The number of the first line, from 1.
    first: usize,
    /// The new text up to `at`.
    text: Vec<u8>,
    /// Up to where the old text has been dealt with.
    at: usize,
}

impl Window {
    fn open(splice: &Splice, before: &KeyFile) -> Self {
        let first = line_at(before, splice.span.start);
        let start = before.line(first).map_or(before.bytes().len(), |line| line.span().start);
        let mut window = Self { first, text: Vec::new(), at: start };
        window.splice(splice, before);
        window
    }

    fn splice(&mut self, splice: &Splice, before: &KeyFile) {
        self.text.extend_from_slice(&before.bytes()[self.at..splice.span.start]);
        self.text.extend_from_slice(&splice.with);
        self.at = splice.span.end;
    }

    /// Whether a change at `offset` touches the same lines.
    fn reaches(&self, offset: usize, before: &KeyFile) -> bool {
        offset == self.at || line_at(before, offset) < self.behind(before)
    }

    /// The number behind the last old line that takes part.
    fn behind(&self, before: &KeyFile) -> usize {
        // At the start of a line with whole lines put in before it, that line takes no part.
        let at_a_start =
            before.line(line_at(before, self.at)).is_none_or(|line| line.span().start == self.at);
        let whole = at_a_start && (self.text.is_empty() || self.text.ends_with(b"\n"));
        let at = line_at(before, self.at);
        if whole { at } else { (at + 1).min(before.lines().len() + 1) }
    }

    /// Where the last old line that takes part ends.
    fn end(&self, before: &KeyFile) -> usize {
        let behind = self.behind(before);
        before.line(behind).map_or(before.bytes().len(), |line| line.span().start)
    }

    fn close(mut self, before: &KeyFile) -> Closed {
        let (behind, end) = (self.behind(before), self.end(before));
        self.text.extend_from_slice(&before.bytes()[self.at..end]);
        let old = self.first..behind;
        let new = KeyFile::parse(self.text);
        let mut same: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for number in old.clone().rev() {
            if let Some(line) = before.line(number) {
                same.entry(line.raw()).or_default().push(number);
            }
        }
        let was = new.lines().map(|line| same.get_mut(line.raw())?.pop()).collect();
        Closed { old, new, was }
    }
}

/// The number of the line in which the byte at `offset` stands, or would; one more than there are behind a last line end.
fn line_at(file: &KeyFile, offset: usize) -> usize {
    let number = file.lines_before(offset) + 1;
    let open = file.lines().next_back().is_some_and(|last| last.end().is_empty());
    if open { number.min(file.lines().len()) } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> KeyFile {
        KeyFile::parse(text.as_bytes().to_vec())
    }

    /// The new lines as `NUMBER:TEXT`, with `<N` for what was line N and `!` for what was not there; then what is gone.
    fn told(before: &str, patch: &Patch) -> String {
        let before = file(before);
        let touched = patch.touched(&before);
        let mut words: Vec<String> = touched
            .lines()
            .map(|after| {
                let was = after.was.map_or("!".to_owned(), |number| format!("<{number}"));
                format!("{}:{}{was}", after.line.number(), after.line.raw().escape_ascii())
            })
            .collect();
        words.extend(touched.gone().map(|line| format!("-{}", line.number())));
        words.join(" ")
    }

    #[test]
    fn a_change_is_told_line_by_line() {
        for (before, patch, expected) in [
            ("a\nb\n", Patch::none(), "1:a\\n<1 2:b\\n<2"),
            ("a\nb\nc\n", Patch::splice(2..4, ""), "1:a\\n<1 2:c\\n<3 -2"),
            ("a\nb\n", Patch::splice(4..4, "c\n"), "1:a\\n<1 2:b\\n<2 3:c\\n!"),
            ("a\nb", Patch::splice(3..3, "\nc\n"), "1:a\\n<1 2:b\\n! 3:c\\n! -2"),
            ("a\nb\n", Patch::splice(2..2, "# "), "1:a\\n<1 2:# b\\n! -2"),
            ("a\nb\nc\n", Patch::splice(1..2, ""), "1:ab\\n! 2:c\\n<3 -1 -2"),
            ("a\nb\nc\n", Patch::splice(2..2, "x\n"), "1:a\\n<1 2:x\\n! 3:b\\n<2 4:c\\n<3"),
            ("", Patch::splice(0..0, "a\n"), "1:a\\n!"),
            ("a\nb\n", Patch::splice(0..4, ""), "-1 -2"),
            ("a\nb\n", Patch::splice(0..4, "b\na\n"), "1:b\\n<2 2:a\\n<1"),
        ] {
            assert_eq!(told(before, &patch), expected, "{before:?} {patch:?}");
        }
        let both = Patch::all([Patch::splice(3..4, "y"), Patch::splice(0..1, "x")]).unwrap();
        assert_eq!(both.applied(&file("abcdef\n")).bytes(), b"xbcyef\n");
        assert_eq!(told("abcdef\n", &both), "1:xbcyef\\n! -1");
        assert_eq!(Patch::all([Patch::splice(0..2, ""), Patch::splice(1..3, "")]), None);
    }

    #[test]
    fn between_two_contents_lies_what_differs() {
        assert_eq!(Patch::between(b"abc", b"abc"), Patch::none());
        assert_eq!(Patch::between(b"aa", b"aaa"), Patch::splice(2..2, "a"));
        assert_eq!(Patch::between(b"axb", b"ab"), Patch::splice(1..2, ""));
    }

    proptest! {
        #[test]
        fn the_touched_lines_and_the_others_are_the_new_file(
            before in "[ab\n]{0,12}", cuts in prop::collection::vec((0..13usize, 0..4usize, "[cb\n]{0,3}"), 0..4)
        ) {
            let before = file(&before);
            let length = before.bytes().len();
            let splice = |(start, span, with): (usize, usize, String)| {
                let start = start.min(length);
                Patch::splice(start..(start + span).min(length), with)
            };
            let Some(patch) = Patch::all(cuts.into_iter().map(splice)) else { return Ok(()) };
            let after = patch.applied(&before);
            let touched = patch.touched(&before);
            let lines: Vec<After<'_>> = touched.lines().collect();
            prop_assert_eq!(lines.iter().map(|after| after.line).collect::<Vec<_>>(), after.lines().collect::<Vec<_>>());
            for line in &lines {
                if let Some(number) = line.was {
                    prop_assert_eq!(before.line(number).unwrap().raw(), line.line.raw());
                }
            }
            let gone: Vec<usize> = touched.gone().map(Line::number).collect();
            let kept: Vec<usize> = lines.iter().filter_map(|after| after.was).collect();
            let mut all = [gone, kept].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (1..=before.lines().len()).collect::<Vec<_>>());
            prop_assert_eq!(Patch::between(before.bytes(), after.bytes()).applied(&before), after);
        }
    }
}
