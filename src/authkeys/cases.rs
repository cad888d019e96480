//! What the table of logins cannot say: messages, the tolerant finder, edits, written lines; and the laws that hold
//! for every file.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";
const TARGET: Target = Target::OpenSsh9_2;

fn key(line: &str) -> Key {
    Key::from_public_line(line.as_bytes(), TARGET).unwrap()
}

fn file(text: impl AsRef<[u8]>) -> KeyFile {
    KeyFile::parse(text.as_ref().to_vec())
}

fn text_of(file: &KeyFile) -> String {
    String::from_utf8(file.bytes().to_vec()).unwrap()
}

fn dead(line: &str, target: Target) -> Dead {
    match file(line).line(1).unwrap().read(target) {
        Reading::Dead(dead) => dead,
        reading => panic!("{line}: {reading:?}"),
    }
}

#[test]
fn a_dead_line_says_where_and_why() {
    for (line, expected) in [
        (format!("restrict,comand=\"x\" {ED}"), "10: unknown option \"comand\""),
        (format!("pty,command {ED}"), "5: option \"command\" needs a value, as in command=\"…\""),
        (format!("pty=\"yes\" {ED}"), "1: option \"pty\" takes no value"),
        (
            format!("command='x' {ED}"),
            "9: the value of \"command\" must stand in double quotes, right behind the '='",
        ),
        (format!("command=\"a\"b,pty {ED}"), "12: \"b\" follows the option \"command\" without a comma"),
        (format!("from=\"*\",from=\"*\" {ED}"), "10: option \"from\" is given more than once"),
        (format!("restrict, pty {ED}"), "11: a blank inside the option list; sshd expects the key here"),
        (format!("command=\"a\\\" {ED}"), "9: the quote that opens here is never closed"),
        (format!("expiry-time=\"2099\" {ED}"), "1: expiry-time must be YYYYMMDD[HHMM[SS]][Z], after 1970"),
        ("ssh-ed25519 AAAA!".to_owned(), "17: the base64 text is malformed or breaks off here"),
        ("ssh-ed25519\n".to_owned(), "12: nothing follows the key type"),
        ("ED25519 AAAA c".to_owned(), "1: no key: \"ED25519\" is not a key type"),
        (ED.replace("ssh-ed25519", "ssh-rsa"), "1: the word says ssh-rsa, the base64 text holds ssh-ed25519"),
        (ED[..40].to_owned(), "13: the key is cut short"),
        (format!("\u{1b}[31m {ED}"), "1: unknown option \"\\x1b[31m\""),
    ] {
        assert_eq!(dead(&line, TARGET).to_string(), expected, "{line:?}");
    }
    let slip = dead(&format!("restrict,comand=\"x\" {ED}"), TARGET);
    assert_eq!(slip.reason.hint().as_deref(), Some("did you mean \"command\"?"));
    assert_eq!(slip.sshd_words(), Some("bad key options: unknown key option"));
    assert_eq!(
        dead(&format!("no-ptty {ED}"), TARGET).reason.hint().as_deref(),
        Some("did you mean \"no-pty\"?")
    );
}

#[test]
fn dropbear_knows_fewer_options_and_shorter_files() {
    let reason = |line: &str| dead(line, Target::Dropbear).reason;
    assert!(matches!(reason(&format!("from=\"*\" {ED}")), Reason::UnknownOption { .. }));
    assert!(matches!(reason(&format!("pty {ED}")), Reason::UnknownOption { .. }));
    assert_eq!(reason(&format!("{ED} {}", "x".repeat(3000))), Reason::LineTooLong);
    let long = file(format!("{}{ED}\n", "#\n".repeat(300)));
    assert!(matches!(long.line(301).unwrap().read(Target::Dropbear), Reading::Dead(_)));
    let good = file(format!("restrict,no-x11-forwarding,command=\"a\" {ED}\n"));
    assert!(good.line(1).unwrap().read(Target::Dropbear).entry().is_some());
}

#[test]
fn an_entry_knows_its_spans() {
    let text = format!("  restrict,pty\t{ED}  me@home \r\n");
    let file = file(&text);
    let line = file.line(1).unwrap();
    let reading = line.read(TARGET);
    let entry = reading.entry().unwrap();
    assert_eq!(&text[entry.options_span.clone().unwrap()], "restrict,pty");
    assert_eq!(&text[entry.key_span.clone()], ED);
    assert_eq!(entry.comment, b"me@home ");
    assert_eq!(entry.options.items[1].span, 11..14);
    assert_eq!((line.end(), line.content().len()), (&b"\r\n"[..], text.len() - 2));
}

#[test]
fn keys_are_values() {
    assert_eq!(key(ED).fingerprint(), "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4");
    assert_eq!(key(ED).to_string(), ED);
    assert_eq!(key(ED).bits(), 256);
    let number = |zeros: usize, byte: u8, length: usize| {
        let bytes = [vec![0; zeros], vec![byte; length]].concat();
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    };
    let blob =
        |zeros| [&b"\0\0\0\x07ssh-rsa"[..], &number(zeros, 3, 1), &number(zeros + 1, 0xf1, 256)].concat();
    let minimal = Key::from_blob(&blob(0), TARGET).unwrap();
    assert_eq!(minimal, Key::from_blob(&blob(3), TARGET).unwrap());
    assert_eq!((minimal.bits(), minimal.blob()), (2048, &blob(0)[..]));
    let short = [&b"\0\0\0\x07ssh-rsa"[..], &number(0, 3, 1), &number(0, 0x71, 96)].concat();
    assert_eq!(Key::from_blob(&short, TARGET), Err(BadKey::RsaTooShort(767)));
}

#[test]
fn the_finder_sees_through_what_sshd_cannot_read() {
    let utf16: Vec<u8> = ED.bytes().flat_map(|byte| [byte, 0]).collect();
    let broken = format!("{} {}", &ED[..50], &ED[50..]);
    for (bytes, place) in [
        (ED.as_bytes().to_vec(), Place::Entry),
        (format!("command=\"x {ED}").into_bytes(), Place::Dead),
        (format!("typo {ED}").into_bytes(), Place::Dead),
        (format!("{OTHER} me@home{ED}").into_bytes(), Place::Beside),
        (format!("{OTHER}{ED}").into_bytes(), Place::Dead),
        (format!("command=\"echo {ED}\" {OTHER}").into_bytes(), Place::Beside),
        ([b"\xe9\xff ", ED.as_bytes()].concat(), Place::Dead),
        ([b"\0\0\0", ED.as_bytes()].concat(), Place::Dead),
        (utf16, Place::Dead),
        (broken.into_bytes(), Place::Dead),
        (format!("# {ED}").into_bytes(), Place::Comment),
        ([DISABLED, ED.as_bytes()].concat(), Place::Disabled),
    ] {
        let file = file(&bytes);
        let found = file.find(&key(ED), TARGET);
        assert_eq!(
            found.iter().map(|found| found.place).collect::<Vec<_>>(),
            [place],
            "{}",
            bytes.escape_ascii()
        );
        assert!(file.find(&key(OTHER), TARGET).len() <= 1);
    }
    let glued = file(format!("{OTHER} me@home{ED} c"));
    let start = OTHER.len() + 8;
    assert_eq!(glued.find(&key(ED), TARGET)[0].span, start..start + ED.len());
}

#[test]
fn removing_a_key_leaves_the_rest_and_wakes_nothing() {
    let check = |text: String, expected: String, outcomes: &[Outcome]| {
        let before = file(&text);
        let removal = before.remove_key(&key(ED), TARGET);
        assert_eq!(text_of(&removal.patch.applied(&before)), expected, "{text:?}");
        let got: Vec<Outcome> = removal.places.into_iter().map(|removed| removed.outcome).collect();
        assert_eq!(got, outcomes, "{text:?}");
    };
    let line = || Outcome::Line { also: Vec::new() };
    check(format!("# a\n{ED} x\r\n{OTHER}\n"), format!("# a\n{OTHER}\n"), &[line()]);
    check(format!("oops {ED}\n{ED}"), String::new(), &[line(), line()]);
    check(format!("# {ED}\n"), format!("# {ED}\n"), &[Outcome::Kept]);
    // A hole that a crash has left, which somebody may mend.
    check(format!("{OTHER}\n\0\0 {ED} x\n"), format!("{OTHER}\n"), &[line()]);
    check(format!("{OTHER} me{ED} b\n"), format!("{OTHER} me b\n"), &[Outcome::Cut]);
    check(
        format!("{OTHER}{ED} b\n"),
        format!("{}{OTHER} b\n", String::from_utf8_lossy(DISABLED)),
        &[Outcome::CutAndDisabled],
    );
    let also = vec![key(OTHER)];
    check(format!("{ED} me{OTHER}\n"), String::new(), &[Outcome::Line { also }]);
    let inside = format!("command=\"echo {ED}\" {OTHER}\n");
    check(inside.clone(), inside, &[Outcome::Kept]);
}

#[test]
fn a_line_is_added_in_the_style_of_the_file() {
    for (before, after) in [
        ("", "KEY\n"),
        ("a\n", "a\nKEY\n"),
        ("a", "a\nKEY\n"),
        ("a\r\nb\r\n", "a\r\nb\r\nKEY\r\n"),
        ("a\r\nb", "a\r\nb\r\nKEY\r\n"),
    ] {
        let added = file(before).append(&[ED], TARGET).unwrap();
        assert_eq!(text_of(&added.applied(&file(before))), after.replace("KEY", ED));
    }
    let two = file("a").append(&[ED, OTHER], TARGET).unwrap();
    assert_eq!(text_of(&two.applied(&file("a"))), format!("a\n{ED}\n{OTHER}\n"));
    assert_eq!(file("a").append::<&str>(&[], TARGET), Ok(Patch::none()));
    let refuse = |line: String| file("").append(&[line], TARGET).unwrap_err();
    assert_eq!(refuse(format!("{ED}\n{OTHER}")), EditError::NotOneLine);
    assert!(matches!(refuse(format!("restrikt {ED}")), EditError::WouldBeDead(_)));
    assert_eq!(refuse(format!("# {ED}")), EditError::NoEntry);
}

#[test]
fn options_are_replaced_in_their_span_only() {
    let options = OptionList::restrict().command(b"/bin/true").unwrap();
    let replace = |text: &str, options: &OptionList| {
        let before = file(text);
        text_of(&before.replace_options(1, options, TARGET).unwrap().applied(&before))
    };
    assert_eq!(
        replace(&format!(" {ED}  c\r\n"), &options),
        format!(" restrict,command=\"/bin/true\" {ED}  c\r\n")
    );
    assert_eq!(replace(&format!("pty \t{ED}"), &options), format!("restrict,command=\"/bin/true\" \t{ED}"));
    assert_eq!(replace(&format!("pty \t{ED}"), &OptionList::none()), ED);
    assert_eq!(file(ED).replace_options(1, &OptionList::none(), TARGET), Ok(Patch::none()));
    assert_eq!(file("# x\n").replace_options(1, &options, TARGET), Err(EditError::NoKey(1)));
}

#[test]
fn written_options_read_back() {
    let moment: Timestamp = "2027-12-31T00:00:00Z".parse().unwrap();
    let options = OptionList::restrict().from(&["10.1.0.0/16", "!10.1.2.3"]).unwrap();
    let options = options.expires(moment).unwrap().command(br#"gate --grant "a b" \x"#).unwrap();
    let expected =
        r#"restrict,from="10.1.0.0/16,!10.1.2.3",expiry-time="20271231Z",command="gate --grant \"a b\" \x""#;
    assert_eq!(options.as_bytes(), expected.as_bytes());
    let line = key_line(&options, &key(ED), b"akeys:playground.chef1").unwrap();
    let file = file(line);
    let reading = file.line(1).unwrap().read(TARGET);
    let entry = reading.entry().unwrap();
    assert_eq!(entry.options.command.as_deref(), Some(&br#"gate --grant "a b" \x"#[..]));
    assert_eq!(entry.options.expiry.unwrap().moment(), Some(moment));
    assert!(!entry.options.pty && entry.options.restrict);

    let list = OptionList::restrict;
    assert_eq!(list().command(b"a\\"), Err(Unwritable::FinalBackslash("command")));
    assert_eq!(list().command(b"a\nb"), Err(Unwritable::ControlByte("command")));
    assert_eq!(list().from::<&str>(&[]), Err(Unwritable::EmptyFrom));
    for bad in ["", "10.1.2.3/8", "a b", "a,b", "[::1]", "!", "a\"b"] {
        assert_eq!(list().from(&[bad]), Err(Unwritable::BadFrom(bad.to_owned())), "{bad:?}");
    }
    assert_eq!(list().expires(Timestamp::UNIX_EPOCH), Err(Unwritable::BadMoment));
    assert!(key_line(&list(), &key(ED), b"a\nb").is_err());
    assert!(OptionList::parse(b"restrict,command=\"a b\"", TARGET).is_ok());
    for bad in [&b"restrict, pty"[..], b"restrict ", b"nope", b"command=\"a", b"a\nb", b" pty"] {
        assert!(OptionList::parse(bad, TARGET).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn the_first_line_that_passes_decides() {
    let text = format!(
        "# x\n{OTHER}\ntypo {ED}\nexpiry-time=\"20200101\" {ED}\nfrom=\"10.0.0.0/8\" {ED}\n\
         from=\"10.0.0.0/33\" {ED}\nprincipals=\"a\" {ED}\ncert-authority {ED}\npty {ED}\n{ED}\n"
    );
    let context = Context {
        rules: TARGET.into(),
        address: "127.0.0.1".parse().unwrap(),
        host: None,
        user: "u",
        now: "2026-11-20T00:00:00Z".parse().unwrap(),
        certificate: false,
    };
    let answer = file(&text).explain(&key(ED), &context);
    assert_eq!(answer.accepted_by, Some(9));
    assert_eq!(answer.matched().collect::<Vec<_>>(), [4, 5, 6, 7, 9]);
    let whys: Vec<Why> = answer.lines.into_iter().map(|(_, why)| why).collect();
    assert!(matches!(whys[..3], [Why::Comment, Why::OtherKey, Why::Dead(_)]));
    assert!(matches!(whys[3], Why::Refuses(Refusal::Expired(_))));
    assert_eq!(
        Refusal::NotFromHere.sshd_words(&context),
        "Authentication tried for u with correct key but not from a permitted host (host=127.0.0.1, ip=127.0.0.1)"
    );
    let rest = [Refusal::NotFromHere, Refusal::BadFromList, Refusal::Principals].map(Why::Refuses);
    assert_eq!(whys[4..7], rest);
    assert_eq!(whys[7..], [Why::OtherUse, Why::Accepts, Why::NotReached]);
}

#[test]
fn a_line_of_megabytes_is_read_in_one_pass() {
    let text = format!("command=\"{}\" {ED} {}", "\\\"A".repeat(1 << 20), "AAAAC3Nz".repeat(1 << 17));
    let file = file(text);
    assert!(file.line(1).unwrap().read(TARGET).entry().is_some());
    assert_eq!(file.find(&key(ED), TARGET).len(), 1);
}

/// Files made of the pieces that matter, glued anyhow.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            ED, OTHER, "\n", "\r\n", " ", "\t", "#", "restrict", ",", "command=\"", "\"", "\\", "pty ", "from=\"*\"",
            "=", "ssh-ed25519 ", "# akeys-disabled: ", "cert-authority ", "AAAA", "expiry-time=\"20990101Z\" ",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn live(file: &KeyFile) -> Vec<Key> {
    file.lines().filter_map(|line| line.read(TARGET).entry().map(|entry| entry.key.clone())).collect()
}

proptest! {
    #[test]
    fn lines_are_the_file(bytes in prop_oneof![files(), prop::collection::vec(any::<u8>(), 0..300)]) {
        let file = file(&bytes);
        prop_assert_eq!(file.lines().map(Line::raw).collect::<Vec<_>>().concat(), &bytes[..]);
        for target in [Target::OpenSsh9_2, Target::OpenSsh10_5, Target::Dropbear] {
            for line in file.lines() {
                if let Reading::Dead(dead) = line.read(target) {
                    prop_assert!((1..=line.raw().len() + 1).contains(&dead.column));
                }
            }
        }
        prop_assert_eq!(file.into_bytes(), bytes);
    }

    #[test]
    fn disabling_is_undone_byte_for_byte(bytes in files()) {
        let before = file(&bytes);
        for line in before.lines() {
            let Ok(disabled) = before.disable(line.number(), TARGET) else { continue };
            let disabled = disabled.applied(&before);
            prop_assert_eq!(disabled.line(line.number()).unwrap().read(TARGET), Reading::Comment);
            prop_assert_eq!(disabled.enable(line.number()).unwrap().applied(&disabled).into_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn an_added_line_is_live_and_comes_out_again(bytes in files()) {
        let before = file(&bytes);
        let after = before.append(&[OTHER], TARGET).unwrap().applied(&before);
        prop_assert!(after.bytes().starts_with(&bytes));
        prop_assert_eq!(live(&after), [live(&before), vec![key(OTHER)]].concat());
        let last = after.lines().len();
        let removed = after.remove_lines(&[last]).unwrap().applied(&after).into_bytes();
        prop_assert!(removed == bytes || removed == [&bytes[..], before.line_end()].concat());
    }

    #[test]
    fn a_removed_key_is_gone_and_no_other_came_to_life(bytes in files()) {
        let before = file(&bytes);
        let removal = before.remove_key(&key(ED), TARGET);
        let after = removal.patch.applied(&before);
        let expected: Vec<Key> = live(&before).into_iter().filter(|other| *other != key(ED)).collect();
        prop_assert_eq!(live(&after), expected);
        let kept = removal.places.iter().filter(|removed| removed.outcome == Outcome::Kept).count();
        let left = after.find(&key(ED), TARGET);
        prop_assert!(left.iter().all(|found| matches!(found.place, Place::Comment | Place::Beside)));
        prop_assert!(kept > 0 || left.is_empty());
    }

    #[test]
    fn a_command_reads_back_or_is_refused(command in prop::collection::vec(any::<u8>(), 0..40)) {
        match OptionList::restrict().command(&command) {
            Err(_) => prop_assert!(command.ends_with(b"\\") || command.iter().any(|b| matches!(b, 0 | b'\n' | b'\r'))),
            Ok(options) => {
                let file = file(key_line(&options, &key(ED), b"").unwrap());
                let reading = file.line(1).unwrap().read(TARGET);
                prop_assert_eq!(reading.entry().unwrap().options.command.as_deref(), Some(&command[..]));
            }
        }
    }
}
