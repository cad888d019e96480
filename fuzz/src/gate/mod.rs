//! The gate's targets: what a client may send, and what an account's owner may have written.

pub mod scp;
pub mod sftp;
mod tree;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rrsync_rs::cli;
use rrsync_rs::grant;
use rrsync_rs::layout::Layout;
use rrsync_rs::request::Request;
use rrsync_rs::rsync::expand::braces;
use rrsync_rs::rsync::options::{Class, Given, LONG, Parsed, letter, parse};
use rrsync_rs::rsync::secluded;
use rrsync_rs::rsync::words::{Word, split};
use rrsync_rs::rules::{Forced, Limits, allowable, deniable, size};

/// A target's name, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// The targets that do without akeys.
pub const TARGETS: &[Target] = &[
    ("words", words),
    ("request", request),
    ("options", options),
    ("arguments", arguments),
    ("rules", rules),
    ("policy", policy),
    ("secluded", secluded),
    ("sftp", sftp::session),
    ("scp", scp::session),
];

/// The tokenizer and the brace expander.
pub fn words(data: &[u8]) {
    let words = split(data);
    let mut kept = 0;
    for word in &words {
        assert!(word.marked().iter().all(|(byte, escaped)| *escaped || !b" \t".contains(byte)));
        kept += word.marked().len();
        if let Ok(expanded) = braces(word) {
            assert!(!expanded.is_empty());
            for one in expanded {
                assert!(one.marked().len() <= word.marked().len());
            }
        }
    }
    assert!(kept <= data.len());
    // Every byte with a backslash in front is itself.
    let escaped: Vec<u8> = data.iter().flat_map(|byte| [b'\\', *byte]).collect();
    let whole: Vec<Vec<u8>> = split(&escaped).iter().map(Word::unescaped).collect();
    assert_eq!(whole.concat(), data);
}

/// A client's command, whatever tool it is for.
pub fn request(data: &[u8]) {
    match Request::read(Some(OsStr::from_bytes(data))) {
        Ok(Request::Probe) => assert_eq!(data, b"true"),
        Ok(Request::Exists(_, path)) => {
            let end = data.strip_suffix(b"'").or(data.strip_suffix(b"\"")).unwrap_or(data);
            assert!(!path.is_empty() && end.ends_with(&path));
        }
        Ok(Request::Sftp(subsystem)) => assert!(subsystem.umask.is_none_or(|mask| mask <= 0o777)),
        Ok(Request::Scp(command)) => scp::check(&command),
        Ok(Request::Watch(_)) => assert!(data.starts_with(b"awatch stream ")),
        Ok(Request::Rsync(_, parsed)) => check(&parsed),
        Err(refusal) => assert!(!refusal.to_string().contains(char::is_control), "{refusal}"),
    }
}

/// The options of a request for rsync.
pub fn options(data: &[u8]) {
    if let Ok(Request::Rsync(_, parsed)) = Request::read(Some(OsStr::from_bytes(data))) {
        check(&parsed);
    }
    if let Ok(parsed) = parse(&split(data)) {
        check(&parsed);
    }
}

/// What stands in every accepted command line.
fn check(parsed: &Parsed) {
    assert_eq!(parsed.paths.is_none(), parsed.secluded);
    for given in &parsed.options {
        match given {
            Given::Cluster { letters, protocol } => {
                assert!(letters.iter().all(|byte| letter(*byte).is_some()));
                // rsync takes what follows a bare `-e` for a program to run; with a dot it is the client's protocol.
                assert!(protocol.as_ref().is_none_or(|text| {
                    text.contains(&b'.')
                        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"._".contains(b))
                }));
            }
            Given::Sized(kind, digits) => {
                assert!(b"B@".contains(kind) && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
            }
            Given::Long(row, _) => assert!(LONG.contains(row)),
        }
    }
    assert!(!parsed.has_long("rsh") && (parsed.has_class(Class::Never) || !parsed.has_long("daemon")));
}

/// The words behind the program's name in `authorized_keys`, one on each line.
pub fn arguments(data: &[u8]) {
    let words = data.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    if let Err(error) = cli::parse(words) {
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

/// The rules about options, and the limits on a client's numbers: an option and its value, with `=` between them.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(forced) = text.parse::<Forced>() {
        assert_eq!(forced.to_string().parse::<Forced>().unwrap(), forced);
    }
    let _ = (allowable(text), deniable(text), size(text));
    let limits =
        Limits { timeout: Some(60), bwlimit: Some(1000), file_size: Some(1 << 20), ..Limits::default() };
    let (option, value) = text.split_once('=').unwrap_or((text, ""));
    if let Some(cut) = limits.cut(option, Some(value.as_bytes())) {
        assert_eq!(limits.cut(option, Some(cut.as_bytes())), None, "{option}={cut}");
    }
}

/// The policy file.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let layout = Layout::new("/home/u").unwrap();
    match grant::parse(text, &layout) {
        Ok(grant) => {
            let rendered = grant::render(&grant, &layout).expect("everything in it came from text");
            assert_eq!(grant::parse(&rendered, &layout).expect("what is written is read"), grant);
            let _ = grant.summary();
        }
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.split('\n').count() && error.column >= 1);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

/// The arguments of `rsync -s`: what stands on the command line up to the first newline, and the stream behind it.
pub fn secluded(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (line, mut stream) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let length = stream.len();
    let Ok(arguments) = secluded::read(&mut stream) else { return };
    let taken: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    assert_eq!(taken + 1 + stream.len(), length, "bytes of the transfer were taken");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    if let Ok(first) = parse(&split(line))
        && first.secluded
        && let Ok(merged) = secluded::merge(first, &arguments)
    {
        assert!(!merged.secluded);
        check(&merged);
    }
}
