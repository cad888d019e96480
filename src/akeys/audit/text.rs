//! What the bytes of a line tell, whatever sshd makes of it.

use crate::authkeys::{Entry, Line, Reading, keys_in};

use super::catalogue::Code;
use super::finding::{At, Basket};

/// Line ends, counted over the file, told once.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    crlf: usize,
    first_crlf: Option<usize>,
}

/// Puts what the bytes of a live or dead line, a comment or a blank line give away into the basket.
pub(super) fn judge(line: Line<'_>, reading: &Reading<'_>, ends: &mut LineEnds, basket: &mut Basket) {
    let text = line.content();
    let at = |offset: usize| At::Line { number: line.number(), column: offset + 1 };
    if line.end() == b"\r\n" {
        ends.crlf += 1;
        ends.first_crlf.get_or_insert(line.number());
    }
    if let Some(offset) = text.iter().position(|&byte| byte == 0) {
        let lost = || match keys_in(&text[offset..]).len() {
            0 => "a NUL byte; sshd does not see what follows".to_owned(),
            keys => format!("a NUL byte; sshd does not see the {keys} keys that follow"),
        };
        basket.put(Code::Nul, at(offset), lost);
    }
    if line.raw().len() > 8192 {
        let message = || format!("{} bytes on one line", line.raw().len());
        basket.put(Code::LongLine, at(0), message);
    }
    if let Some(offset) = misleading(text) {
        let message = || "control or direction characters, which a terminal may obey".to_owned();
        basket.put(Code::ControlBytes, at(offset), message);
    }
    match reading {
        Reading::Comment | Reading::Blank if line.number() == 1 && text.starts_with(b"\xef\xbb\xbf") => {
            basket.put(Code::Bom, at(0), || "a byte order mark in front of the line".to_owned());
        }
        Reading::Entry(entry) => live(line, entry, basket),
        Reading::Comment | Reading::Blank | Reading::Dead(_) => {}
    }
}

/// What a live line has that is not an option: the form of its key, and other keys beside it.
fn live(line: Line<'_>, entry: &Entry<'_>, basket: &mut Basket) {
    let raw = line.raw();
    let at = |offset: usize| At::Line { number: line.number(), column: offset + 1 };
    let written = &raw[entry.key_span.clone()];
    let word_length = written.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(written.len());
    let word = &written[..word_length];
    let name = entry.key.algorithm().name();
    if word != name.as_bytes() {
        let message = || format!("{} stands for the type {name}", String::from_utf8_lossy(word));
        let start = line.span().start + entry.key_span.start;
        basket
            .put(Code::NoncanonicalType, at(entry.key_span.start), message)
            .hint(format!("write {name}"))
            .fix("writes the type by its name", start..start + word_length, name.as_bytes());
    }
    let blob = written[word_length..].trim_ascii();
    // A normal key is as long as it has to be; only one that is not is worth comparing.
    if basket.wants(Code::NonMinimalBlob) && blob.len() != entry.key.blob().len().div_ceil(3) * 4 {
        let start = line.span().start + entry.key_span.start;
        let message = || "the key has leading zeros or blanks inside".to_owned();
        basket.put(Code::NonMinimalBlob, at(entry.key_span.start), message).fix(
            "writes the key in its normal form",
            start..start + written.len(),
            entry.key.to_string().as_bytes(),
        );
    }
    if entry.comment.len() > 40 && !keys_in(entry.comment).is_empty() {
        let behind = &raw[entry.key_span.end..];
        let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let offset = entry.key_span.end + blanks;
        let message = || "another key stands in the comment, where sshd does not see it".to_owned();
        basket.put(Code::GluedKeys, at(offset), message).hint("a line end is missing between them");
    }
}

/// What is about all lines together, after the last one.
pub(super) fn judge_ends(last: Option<Line<'_>>, ends: &LineEnds, basket: &mut Basket) {
    if let Some(number) = ends.first_crlf {
        let message = || match ends.crlf {
            1 => "one line ends in CR and LF".to_owned(),
            lines => format!("{lines} lines end in CR and LF, this one first"),
        };
        basket.put(Code::Crlf, At::Line { number, column: 1 }, message).hint("akeys format --only ends");
    }
    if let Some(last) = last.filter(|last| last.end().is_empty()) {
        let end = last.span().end;
        let at = At::Line { number: last.number(), column: last.raw().len() + 1 };
        basket.put(Code::NoFinalNewline, at, || "the last line has no end".to_owned()).fix(
            "ends the last line",
            end..end,
            b"\n",
        );
    }
}

/// Puts a file whose lines end in CR only, as on old Macs, into the basket: it has several, and no LF but perhaps a last one.
pub(super) fn judge_cr_only(bytes: &[u8], basket: &mut Basket) {
    let content = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut returns = content.iter().enumerate().filter(|(_, byte)| **byte == b'\r').map(|(at, _)| at);
    let (first, second) = (returns.next(), returns.next());
    let Some(first) = first.filter(|_| second.is_some() && !content.contains(&b'\n')) else { return };
    let message = || "lines end in a carriage return only; for sshd this is one line".to_owned();
    let at = At::Line { number: 1, column: first + 1 };
    basket.put(Code::CrOnly, at, message).hint("tr '\\r' '\\n' mends such a file");
}

/// Whether the file is in UTF-16: every other byte is NUL near its start, or it starts with the mark.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(64)];
    let nul = |offset: usize| head.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let half = head.len() / 2;
    bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || half >= 8 && nul(0).max(nul(1)) * 10 >= half * 9
}

/// Where the first byte or character stands that a terminal would obey or not show. Tab and the line end's CR are none.
pub(in crate::akeys) fn misleading(text: &[u8]) -> Option<usize> {
    let control = |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\r' | 0)) || byte == 0x7f;
    // Most lines are plain ASCII, and this is the only look at each of their bytes.
    if let Some(at) = text.iter().position(|&byte| control(byte) || byte >= 0x80) {
        let from = text.iter().position(|&byte| control(byte));
        let mut offset = at;
        for chunk in text[at..].utf8_chunks() {
            for c in chunk.valid().chars() {
                if direction(c) {
                    return Some(from.map_or(offset, |from| from.min(offset)));
                }
                offset += c.len_utf8();
            }
            offset += chunk.invalid().len();
        }
        return from;
    }
    None
}

/// Bidirectional overrides and isolates, and C1 controls.
fn direction(c: char) -> bool {
    matches!(u32::from(c), 0x80..=0x9f | 0x200e..=0x200f | 0x202a..=0x202e | 0x2066..=0x2069)
}
