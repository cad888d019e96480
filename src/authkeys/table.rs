//! The table of real logins: what sshd did with a file, this reader must say. `tests/data/authkeys.tsv` explains itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::*;

const TABLE: &str = include_str!("../../tests/data/authkeys.tsv");

/// The middle of November 2026, when the logins were made.
const NOW: i64 = 1_794_700_000;

struct Row<'a> {
    id: &'a str,
    key: &'a str,
    context: Vec<&'a str>,
    answers: [&'a str; 2],
    file: Vec<u8>,
}

#[test]
fn every_login_ends_as_with_openssh_9_2() {
    check(Target::OpenSsh9_2, 0);
}

#[test]
fn every_login_ends_as_with_openssh_10_5() {
    check(Target::OpenSsh10_5, 1);
}

fn check(target: Target, column: usize) {
    let keys = keys();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for row in rows(&keys) {
        let expected = match row.answers[column] {
            "?" => continue,
            "=" => row.answers[0],
            answer => answer,
        };
        checked += 1;
        let expected: Vec<Vec<u8>> = expected.split('|').map(|part| unescape(part, &keys)).collect();
        let expected: Vec<String> = expected.iter().map(|part| latin1(part)).collect();
        let (expected, got) = compare(&row, &keys, target, &expected);
        if expected != got {
            wrong.push(format!("{}: expected {expected:?}, got {got:?}", row.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 400, "only {checked} rows");
}

/// The expectation and what the reader says, both as sorted words.
fn compare(
    row: &Row<'_>,
    keys: &BTreeMap<&str, &str>,
    target: Target,
    expected: &[String],
) -> (BTreeSet<String>, BTreeSet<String>) {
    let word = |name: &str| row.context.iter().find_map(|word| word.strip_prefix(name));
    let zone = word("zone=").map_or(Zone::UTC, |text| Zone::east_of_utc(text.parse().unwrap()));
    let address: IpAddr = word("addr=").unwrap_or("127.0.0.1").parse().unwrap();
    let certificate = row.context.contains(&"certificate");
    let rules = Rules { target, zone };
    let now = Timestamp::from_second(NOW).unwrap();
    let context = Context { rules, address, host: word("host="), user: "akoracle", now, certificate };
    let file = KeyFile::parse(row.file.clone());
    assert_eq!(file.bytes(), row.file);

    // A key whose type this sshd does not know cannot be presented to it.
    let login = keys[row.key].as_bytes();
    let key = Key::from_public_line(login, target).filter(|key| key.algorithm().accepted_by_default());
    let answer = key.map(|key| file.explain(&key, &context));
    let matched = answer.iter().flat_map(Answer::matched).map(|n| n.to_string()).collect::<Vec<_>>();
    let accepted_by = answer.and_then(|answer| answer.accepted_by);
    let mut got = BTreeSet::new();
    got.insert(format!("lines {}", if matched.is_empty() { "-".to_owned() } else { matched.join(",") }));
    let mut want = BTreeSet::from([format!("lines {}", expected[1])]);
    // What stands in a certificate comes after the file.
    if !certificate || expected[0] == "accept" {
        let options = |number| file.line(number)?.read(rules).entry().map(|entry| entry.options.clone());
        let proven = |options: Options| {
            let key = Key::from_public_line(login, target).unwrap();
            let (needs, server) = (options.needs(key.algorithm()), word("server=").unwrap_or_default());
            let touch = needs.touch || server == "touch-required";
            let verification = needs.verification || server == "verify-required";
            (!touch || !row.context.contains(&"untouched")) && !verification
        };
        let accepted = accepted_by.and_then(options).is_some_and(proven);
        want.insert(expected[0].clone());
        got.insert(if accepted { "accept" } else { "refuse" }.to_owned());
    }
    if let Some(number) = accepted_by.filter(|_| expected[0] == "accept" && !certificate) {
        let reading = file.line(number).unwrap().read(rules);
        let command = expected.iter().find(|word| word.starts_with("command#"));
        got.extend(words(&reading.entry().unwrap().options, &row.context, command));
        for word in &expected[2..] {
            // Where the log was cut, the word stands for any that begins like it.
            let full = word.split_once("^=").and_then(|(name, start)| {
                let start = format!("{name}={start}");
                got.iter().find(|word| word.starts_with(&start))
            });
            want.insert(full.unwrap_or(word).clone());
        }
    }
    (want, got)
}

/// The options in the words of the table.
fn words(options: &Options, context: &[&str], command: Option<&String>) -> Vec<String> {
    let flags = [
        ("no-pty", !options.pty),
        ("no-port", !options.port_forwarding),
        ("no-agent", !options.agent_forwarding),
        ("no-x11", !options.x11_forwarding),
        ("no-rc", !options.user_rc),
        ("no-touch", options.no_touch_required),
        ("verify", options.verify_required),
    ];
    let mut words: Vec<String> =
        flags.into_iter().filter(|(_, set)| *set).map(|(word, _)| word.to_owned()).collect();
    if let Some(expiry) = options.expiry {
        let moment = if expiry.wrapped() { "wrapped".to_owned() } else { expiry.seconds().to_string() };
        words.push(format!("expires={moment}"));
    }
    words.extend(options.tunnel.map(|device| format!("tunnel={device}")));
    let lists = [
        ("environment", &options.environment, "skip-environment"),
        ("permitopen", &options.permitopen, "skip-permits"),
        ("permitlisten", &options.permitlisten, "skip-permits"),
    ];
    for (name, list, skip) in lists {
        if !list.is_empty() && !context.contains(&skip) {
            words.push(format!("{name}={}", latin1(&list.join(&0x1f))));
        }
    }
    if let Some(text) = &options.command {
        words.push(match command {
            Some(word) if word == "command#" => word.clone(),
            Some(_) => format!("command#{}", text.len()),
            None => format!("command={}", latin1(text)),
        });
    }
    words
}

fn keys() -> BTreeMap<&'static str, &'static str> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("key\t"));
    lines.map(|line| line.split_once('\t').unwrap()).collect()
}

fn rows<'a>(keys: &'a BTreeMap<&'a str, &'a str>) -> impl Iterator<Item = Row<'a>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.starts_with("key\t"));
    lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, key, context, first, second, file] = fields[..] else { panic!("{line}") };
        let context = context.split(' ').collect();
        Row { id, key, context, answers: [first, second], file: unescape(file, keys) }
    })
}

/// The bytes that the table's notation stands for.
fn unescape(text: &str, keys: &BTreeMap<&str, &str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let braced = || escape[1..].trim_start_matches('{').split_once('}').unwrap();
        rest = match escape.as_bytes()[0] {
            b'n' => push(&mut out, b"\n", &escape[1..]),
            b't' => push(&mut out, b"\t", &escape[1..]),
            b'x' => push(&mut out, &[u8::from_str_radix(&escape[1..3], 16).unwrap()], &escape[3..]),
            b'k' => push(&mut out, keys[braced().0].as_bytes(), braced().1),
            b'{' => {
                let (inner, after) = escape[1..].split_once('}').unwrap();
                let (count, unit) = inner.split_once(':').unwrap();
                push(&mut out, &unescape(unit, keys).repeat(count.parse().unwrap()), after)
            }
            other => push(&mut out, &[other], &escape[1..]),
        };
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn push<'a>(out: &mut Vec<u8>, bytes: &[u8], rest: &'a str) -> &'a str {
    out.extend_from_slice(bytes);
    rest
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The files of the table.
pub(super) fn files() -> impl Iterator<Item = KeyFile> {
    let keys = keys();
    let files: Vec<KeyFile> = rows(&keys).map(|row| KeyFile::parse(row.file)).collect();
    files.into_iter()
}
