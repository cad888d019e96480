//! `rsync -s`: the real arguments come on standard input, and the gate reads them before rsync would.
//!
//! The client sends `rsync`, its remaining options, the dot and the paths, each ended by a NUL, and an empty one at the
//! end (`send_protected_args()` in rsync's main.c). What follows them is the transfer, so exactly these bytes are taken
//! from the stream. rsync is then run without `-s`, on arguments that were judged like any others.

use std::io::{self, Read};

use super::options::{Given, Parsed, parse};
use super::words::Word;
use crate::request::MAX_COMMAND;
use crate::verdict::Refusal;

/// Reads the arguments: every byte up to the empty one, and none beyond.
///
/// One byte at a time, because nothing can be put back into a pipe. A client that stalls or sends more than
/// [`MAX_COMMAND`] is refused.
pub fn read(input: &mut impl Read) -> Result<Vec<Vec<u8>>, Refusal> {
    let broken = |error: io::Error| {
        let message = format!("the arguments of -s did not arrive: {}", error.kind());
        Refusal::new("rsync.secluded", message)
    };
    let mut arguments = Vec::new();
    let mut argument = Vec::new();
    let mut byte = [0];
    for _ in 0..MAX_COMMAND {
        input.read_exact(&mut byte).map_err(broken)?;
        match byte {
            [0] if argument.is_empty() => return Ok(arguments),
            [0] => arguments.push(std::mem::take(&mut argument)),
            [byte] => argument.push(byte),
        }
    }
    Err(Refusal::new("rsync.secluded", "the arguments of -s are too long"))
}

/// Adds what came on standard input to what stood on the command line.
pub fn merge(parsed: Parsed, arguments: &[Vec<u8>]) -> Result<Parsed, Refusal> {
    let arguments = converted(&parsed, arguments)?;
    let malformed = || Refusal::new("rsync.secluded", "this is not what an rsync client sends after -s");
    let (program, rest) = arguments.split_first().ok_or_else(malformed)?;
    if program != b"rsync" {
        return Err(malformed());
    }
    let dot = rest.iter().position(|word| word == b".").ok_or_else(malformed)?;
    let mut words: Vec<Word> = rest[..=dot].iter().map(|word| plain(word)).collect();
    words.extend(rest[dot + 1..].iter().map(|word| path(word)));
    let second = parse(&words)?;
    let mut options = parsed.options;
    options.extend(second.options);
    let protocols =
        options.iter().filter(|given| matches!(given, Given::Cluster { protocol: Some(_), .. })).count();
    if second.secluded || protocols > 1 {
        return Err(malformed());
    }
    Ok(Parsed { options, paths: second.paths, secluded: false })
}

/// The arguments in the charset of the server's names.
///
/// With `--iconv`, which stays on the command line, a client sends them in UTF-8, and rsync converts them before it looks at
/// them (`read_args()` in its io.c). The gate has no tables: what they would be needed for is refused.
fn converted(parsed: &Parsed, arguments: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Refusal> {
    let charset = parsed.options.iter().rev().find_map(|given| match given {
        Given::Long(row, Some(value)) if row.name == "iconv" => Some(value.as_slice()),
        _ => None,
    });
    let charset = charset.unwrap_or_default();
    let plain: Vec<u8> =
        charset.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    let refused = |what: &str| {
        let charset = crate::escape::Escaped(charset);
        let message =
            format!("with -s, {what} cannot be converted to {charset} on this server: leave -s out");
        Refusal::new("rsync.iconv", message)
    };
    match plain.as_slice() {
        // Nothing is converted, or the server's own charset is meant, which is UTF-8.
        b"" | b"UTF8" => Ok(arguments.to_vec()),
        // rsync itself would convert it, but only where it knows of -s.
        _ if arguments.iter().any(|argument| argument.starts_with(b"--files-from=")) => {
            Err(refused("a list of files"))
        }
        _ if arguments.iter().all(|argument| argument.is_ascii()) => Ok(arguments.to_vec()),
        b"ISO88591" | b"LATIN1" | b"L1" => {
            let converted = arguments.iter().map(|argument| latin1(argument)).collect::<Option<_>>();
            converted.ok_or_else(|| refused("a name"))
        }
        _ => Err(refused("a name")),
    }
}

/// UTF-8 as ISO-8859-1, whose bytes are the first characters of Unicode.
fn latin1(argument: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(argument).ok()?.chars().map(|character| u8::try_from(character).ok()).collect()
}

/// An option: nothing in it is escaped.
fn plain(word: &[u8]) -> Word {
    Word::from_marked(word.iter().map(|byte| (*byte, false)).collect())
}

/// A path: wildcards are for the server, unless a backslash stands before one; everything else is itself.
fn path(word: &[u8]) -> Word {
    let mut marked = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, rest) {
            (b'\\', [wildcard @ (b'*' | b'?' | b'[' | b']'), tail @ ..]) => {
                marked.push((*wildcard, true));
                rest = tail;
            }
            (b'*' | b'?' | b'[' | b']', _) => marked.push((*byte, false)),
            _ => marked.push((*byte, true)),
        }
    }
    Word::from_marked(marked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::words::split;

    #[test]
    fn the_stream_is_left_where_the_transfer_starts() {
        let mut input = &b"rsync\0--log-format=%i\0.\0a b/*\0\0\x1f\0\0\0rest"[..];
        let arguments = read(&mut input).unwrap();
        assert_eq!(input, b"\x1f\0\0\0rest");
        let parsed = merge(parse(&split(b"-slogDtpre.iLsfxCIvu")).unwrap(), &arguments).unwrap();
        assert_eq!(parsed.options.len(), 2);
        assert_eq!(parsed.paths.unwrap()[0].marked().last(), Some(&(b'*', false)));
    }

    #[test]
    fn what_no_client_sends_is_refused() {
        let first = || parse(&split(b"-slogDtpre.iLsfxCIvu")).unwrap();
        for input in [
            &b"\0"[..],
            b"rsync\0\0",
            b"sh\0.\0x\0\0",
            b"rsync\0x\0\0",
            b"rsync\0-s\0.\0x\0\0",
            b"rsync\0-e.x\0.\0x\0\0",
            b"rsync\0--rsh=sh\0.\0x\0\0",
            b"rsync\0.",
        ] {
            let merged = read(&mut &*input).and_then(|arguments| merge(first(), &arguments));
            assert!(merged.is_err(), "{input:?}");
        }
        assert!(read(&mut io::repeat(b'x')).is_err());
    }

    #[test]
    fn a_backslash_escapes_a_wildcard_and_nothing_else() {
        assert_eq!(
            path(br"a\b\*c").marked(),
            [(b'a', true), (b'\\', true), (b'b', true), (b'*', true), (b'c', true)]
        );
    }

    #[test]
    fn names_are_converted_where_the_gate_can_and_refused_where_it_cannot() {
        let cafe = "caf\u{e9}".as_bytes();
        for (options, argument, arrives) in [
            ("", cafe, Some(cafe)),
            ("--suffix=latin1", cafe, Some(cafe)),
            ("--iconv=.", cafe, Some(cafe)),
            ("--iconv=UTF-8", cafe, Some(cafe)),
            ("--iconv=utf8", b"--files-from=-", Some(b"--files-from=-")),
            ("--iconv=latin1", cafe, Some(b"caf\xe9")),
            ("--iconv=ISO-8859-1", b"plain", Some(b"plain")),
            ("--iconv=latin1 --suffix=x", cafe, Some(b"caf\xe9")),
            ("--iconv=cp1252 --iconv=l1", cafe, Some(b"caf\xe9")),
            ("--iconv=latin1", "\u{20ac}".as_bytes(), None),
            ("--iconv=latin1", b"\xe9", None),
            ("--iconv=cp1252", cafe, None),
            ("--iconv=cp1252", b"plain", Some(b"plain")),
            ("--iconv=cp1252", b"--files-from=-", None),
            ("--iconv=latin1", b"--files-from=-", None),
        ] {
            let parsed = parse(&split(format!("-se.Lsfx {options}").as_bytes())).unwrap();
            let converted = converted(&parsed, &[argument.to_vec()]).ok();
            assert_eq!(converted, arrives.map(|bytes| vec![bytes.to_vec()]), "{options} {argument:?}");
        }
    }
}
