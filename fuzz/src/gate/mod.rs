//! What the fuzz targets do with their bytes. Each function takes whatever a client, or a file, may hold, and panics when
//! something does not hold that must.
//!
//! They stand here so that two drivers share them: libFuzzer (`targets/`), and a plain test (`tests/smoke.rs`) for where
//! there is none.

pub mod sftp;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;

#[cfg(feature = "akeys")]
use akeys::authkeys::{KeyFile, Line, Reading, Target};
use rrsync_rs::grant;
use rrsync_rs::layout::Layout;
use rrsync_rs::request::Request;
use rrsync_rs::rsync::expand::braces;
use rrsync_rs::rsync::options::{Class, Given, LONG, Parsed, letter, parse};
use rrsync_rs::rsync::secluded;
use rrsync_rs::rsync::words::split;
use rrsync_rs::rules::{Forced, Limits, allowable, deniable, size};

/// The names of the targets and what they run.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("words", words),
    ("options", options),
    ("rules", rules),
    ("policy", policy),
    ("secluded", secluded),
    #[cfg(feature = "akeys")]
    ("authorized_keys", authorized_keys),
    ("sftp", sftp::session),
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
    let whole: Vec<Vec<u8>> = split(&escaped).iter().map(|word| word.unescaped()).collect();
    assert_eq!(whole.concat(), data);
}

/// The request and its options.
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

/// `authorized_keys`, read and changed.
#[cfg(feature = "akeys")]
pub fn authorized_keys(data: &[u8]) {
    let file = KeyFile::parse(data.to_vec());
    assert_eq!(file.lines().map(Line::raw).collect::<Vec<_>>().concat(), data);
    for target in [Target::OpenSsh9_2, Target::OpenSsh10_5, Target::Dropbear] {
        for line in file.lines() {
            if let Reading::Dead(dead) = line.read(target) {
                assert!((1..=line.raw().len() + 1).contains(&dead.column));
                let _ = (dead.to_string(), dead.reason.hint());
            }
        }
    }
    for line in file.lines() {
        if let Ok(disabled) = file.disable(line.number(), Target::OpenSsh9_2) {
            let disabled = disabled.applied(&file);
            assert!(matches!(
                disabled.line(line.number()).unwrap().read(Target::OpenSsh9_2),
                Reading::Comment
            ));
            assert_eq!(disabled.enable(line.number()).unwrap().applied(&disabled).bytes(), data);
        }
    }
}
