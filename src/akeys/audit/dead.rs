//! Lines that sshd passes over: which mistake it was, as far as a line can tell.
//!
//! The reader says where sshd gives up; a person wants to know what happened to the line. So the tell-tale bytes of an
//! encoding, a paste or an editor are looked for first, and the reader's own reason stands for everything else.

use crate::authkeys::{BadKey, Dead, Expiry, Line, OptionList, Reading, Reason, Rules, Target, keys_in};

use super::catalogue::Code;
use super::finding::{At, Basket};

/// Puts the finding about a dead line into the basket.
pub(super) fn judge(line: Line<'_>, dead: &Dead, next: Option<Line<'_>>, rules: Rules, basket: &mut Basket) {
    let text = line.content();
    let at = At::Line { number: line.number(), column: dead.column };
    let reason = || dead.reason.to_string();
    if let Some((code, column, message)) = tell_tale(text) {
        let at = At::Line { number: line.number(), column: column + 1 };
        basket.put(code, at, || message.to_owned()).hint_from(|| remedy(code));
        return;
    }
    let next_is_key = || next.is_some_and(|next| next.read(rules).entry().is_some());
    if text.ends_with(b"\\") && next_is_key() {
        let at = At::Line { number: line.number(), column: text.len() };
        let message =
            || "a line does not go on behind a backslash; the key below stands without these options";
        basket.put(Code::BackslashContinuation, at, message).hint("join the two lines");
        return;
    }
    if is_options_only(text, rules) {
        let message = || {
            let below =
                if next_is_key() { "the key below stands without them" } else { "they are for no key" };
            format!("options on a line of their own; {below}")
        };
        let at = At::Line { number: line.number(), column: 1 };
        basket
            .put(Code::OptionsOnOwnLine, at, message)
            .hint("options and key stand on one line, a blank between");
        return;
    }
    if keys_in(text).len() > 1 {
        let message = || format!("{} keys on one line, which is dead", keys_in(text).len());
        basket.put(Code::GluedKeys, at, message).hint("a line end is missing between them");
        return;
    }
    basket.put(code(dead, line, rules), at, reason).hint_from(|| dead.reason.hint());
}

/// The code for the reader's own reason.
fn code(dead: &Dead, line: Line<'_>, rules: Rules) -> Code {
    match &dead.reason {
        Reason::UnterminatedQuote => Code::DeadQuote,
        Reason::BlankInOptions => Code::DeadSpace,
        Reason::BadExpiry if would_wrap(line, rules) => Code::ExpiryPre1970,
        Reason::BadExpiry => Code::DeadExpiry,
        Reason::NoKeyType(_) | Reason::TypeNotKnownHere(_) | Reason::NoBlob => Code::DeadKeytype,
        Reason::BadBase64 | Reason::BadKey(BadKey::Truncated | BadKey::TrailingBytes) => Code::DeadBase64,
        Reason::BadKey(_) => Code::DeadKey,
        Reason::Certificate => Code::DeadCertificate,
        Reason::LineTooLong | Reason::TooManyLines | Reason::Nul => Code::DropbearLimit,
        Reason::UnknownOption { .. }
        | Reason::FlagWithValue(_)
        | Reason::NoValue(_)
        | Reason::MissingStartQuote(_)
        | Reason::Junk { .. }
        | Reason::Repeated(_)
        | Reason::BadEnvironment
        | Reason::TooManyEnvironment
        | Reason::BadPermitHost(_)
        | Reason::BadPermitPort(_)
        | Reason::TooManyPermits(_)
        | Reason::BadTunnel => Code::DeadOptions,
    }
}

/// Whether OpenSSH 10.5 would read the line, and its expiry-time as one that never comes.
fn would_wrap(line: Line<'_>, rules: Rules) -> bool {
    let reading = line.read(Rules { target: Target::OpenSsh10_5, ..rules });
    reading.entry().and_then(|entry| entry.options.expiry).is_some_and(Expiry::wrapped)
}

/// Whether a line is a list of options and nothing else. One bare word is rather a slip than a list.
fn is_options_only(text: &[u8], rules: Rules) -> bool {
    let text = text.trim_ascii_end();
    let several = text.iter().any(|byte| matches!(byte, b',' | b'='));
    (several || text == b"restrict") && OptionList::parse(text.trim_ascii_start(), rules).is_ok()
}

/// What the bytes of a broken line give away: the code, the offset, and the words for it.
fn tell_tale(text: &[u8]) -> Option<(Code, usize, &'static str)> {
    let find = |needle: &str| text.windows(needle.len()).position(|window| window == needle.as_bytes());
    let start = |needles: &[&str]| needles.iter().any(|needle| text.starts_with(needle.as_bytes()));
    if start(&["\u{feff}"]) {
        return Some((Code::Bom, 0, "a byte order mark in front of the line"));
    }
    if start(&["-----BEGIN"]) && find("PRIVATE KEY-----").is_some() {
        return Some((Code::PrivateKeyInFile, 0, "a private key"));
    }
    if start(&["<<<<<<< ", ">>>>>>> ", "||||||| "]) || text == b"=======" {
        return Some((Code::MergeConflict, 0, "the mark of an unfinished merge"));
    }
    if start(&["-----BEGIN", "-----END", "---- BEGIN", "---- END"]) {
        return Some((Code::ForeignFormat, 0, "the frame of a PEM or RFC 4716 key"));
    }
    if is_ssh1(text) {
        return Some((Code::ForeignFormat, 0, "a key of SSH protocol 1"));
    }
    if is_known_host(text) {
        return Some((Code::ForeignFormat, 0, "a line of known_hosts: a host name in front of the key"));
    }
    for quote in ["\u{201c}", "\u{201d}", "\u{201e}", "\u{2018}", "\u{2019}"] {
        if let Some(at) = find(quote) {
            return Some((Code::SmartQuotes, at, "a typographic quote"));
        }
    }
    for blank in
        ["\u{a0}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{2060}", "\u{feff}", "\u{202f}", "\u{2009}"]
    {
        if let Some(at) = find(blank) {
            return Some((Code::Invisible, at, "an invisible character"));
        }
    }
    None
}

/// `[options] BITS EXPONENT MODULUS [comment]`, all decimal.
fn is_ssh1(text: &[u8]) -> bool {
    let words: Vec<&[u8]> =
        text.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).take(4).collect();
    let number = |word: &&[u8], least: usize| word.len() >= least && word.iter().all(u8::is_ascii_digit);
    words.windows(3).any(|three| number(&three[0], 3) && number(&three[1], 1) && number(&three[2], 100))
}

/// A host, possibly hashed or in a list, then a key: what ssh-keyscan prints.
fn is_known_host(text: &[u8]) -> bool {
    let mut words = text.splitn(2, |&byte| byte == b' ');
    let (Some(host), Some(rest)) = (words.next(), words.next()) else { return false };
    let like_a_host = host.starts_with(b"|1|")
        || host.starts_with(b"@cert-authority")
        || host.starts_with(b"@revoked")
        || host.starts_with(b"[")
        || host.contains(&b'.') && !host.contains(&b'@') && !host.contains(&b'=') && !host.contains(&b'"');
    let key = crate::authkeys::KeyFile::parse(rest.to_vec());
    like_a_host && key.line(1).is_some_and(|line| matches!(line.read(Target::default()), Reading::Entry(_)))
        || host.starts_with(b"@cert-authority")
        || host.starts_with(b"@revoked")
}

fn remedy(code: Code) -> Option<String> {
    let text = match code {
        Code::Bom => "save the file without a byte order mark",
        Code::PrivateKeyInFile => "remove it, and replace that key wherever it is trusted",
        Code::MergeConflict => "decide which side holds, and remove the other and the marks",
        Code::ForeignFormat => "ssh-keygen -i -f FILE converts RFC 4716 and PEM keys",
        Code::SmartQuotes => "replace it by \"",
        Code::Invisible => "replace it by a blank",
        _ => return None,
    };
    Some(text.to_owned())
}
