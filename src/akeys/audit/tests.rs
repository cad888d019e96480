//! The table of fixtures: for each code that the bytes of a file can show, a file that has it and one that comes close and
//! has not. `tests/data/audit.tsv` explains itself. Codes about the file's place and about sshd are tested with their
//! judges.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use rrsync_rs::layout::Layout;

use super::*;
use crate::akeys::sshd::Settings;
use crate::authkeys::{Key, Target};

const TABLE: &str = include_str!("../../../tests/data/audit.tsv");

/// Codes that no table of bytes can show: `place`, `server` and the test below make them.
const ELSEWHERE: &[Code] = &[
    Code::StartupWritable,
    Code::StrictOwner,
    Code::Revoked,
    Code::RootKeyElsewhere,
    Code::KeyOfSeveralAccounts,
    Code::Unused,
    Code::UsedOutside,
    Code::OldKey,
    Code::WeakDebian,
    Code::PolicyUnused,
    Code::GrantRevoked,
    Code::GrantOrphan,
    Code::ClosedAccount,
    Code::StrictMode,
    Code::StrictDebianOnly,
    Code::AclWrite,
    Code::NotAFile,
    Code::SymlinkOutside,
    Code::HardLink,
    Code::Immutable,
    Code::ReadOnlyFs,
    Code::SelinuxType,
    Code::Unreadable,
    Code::SecondFile,
    Code::UnreadFile,
    Code::ServerStrictModesOff,
    Code::ServerSharedFile,
    Code::ServerTilde,
    Code::ServerRevokedMissing,
    Code::ServerKeysCommand,
    Code::ServerUserEnvironment,
    Code::ServerNotRead,
    Code::CommandMissing,
    Code::CommandRelative,
    Code::CommandWritable,
    Code::CommandInterpreter,
    Code::PolicyMissing,
    Code::PolicyRefused,
    Code::PolicyExpired,
    Code::WorkspaceExposed,
    Code::WorkspaceMissing,
];

#[test]
fn every_row_of_the_table() {
    let keys = keys();
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#') && !line.starts_with("key\t")) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [expected, context, text] = fields[..] else { panic!("{line}") };
        let found = found(&unescape(text, &keys), context);
        let (absent, expected) = expected.strip_prefix("not ").map_or((false, expected), |code| (true, code));
        if found.contains(expected) == absent {
            wrong.push(format!("{expected} {context} {text:.80}: got {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is found in a file, each as `CODE` and as `CODE@LINE:COLUMN`.
fn found(bytes: &[u8], context: &str) -> BTreeSet<String> {
    let has = |word: &str| context.split(' ').any(|own| own == word);
    let target = match (has("10.5"), has("dropbear")) {
        (true, _) => Target::OpenSsh10_5,
        (_, true) => Target::Dropbear,
        _ => Target::OpenSsh9_2,
    };
    let mut facts = Facts::of_text(target, Timestamp::from_second(1_794_700_000).unwrap());
    (facts.root, facts.nologin, facts.user_rc) = (has("root"), has("nologin"), has("rc"));
    let settings = context
        .split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| format!("{name} {value}\n"));
    let settings = Settings::parse(&settings.collect::<String>());
    facts.server = Some(&settings);
    let file = KeyFile::parse(bytes.to_vec());
    let first = || file.lines().find_map(|line| line.read(target).entry().map(|entry| entry.key.clone()));
    facts.primes = has("primes");
    if has("own-key") {
        facts.own_keys.extend(first());
    }
    if has("host-key") {
        facts.host_keys.extend(first());
    }
    if has("trusted-authority") {
        facts.authorities.extend(first());
    }
    let mut basket = Basket::new(Severity::Info);
    judge(&file, &facts, &mut basket);
    let findings = basket.sorted().into_iter().flat_map(|finding| {
        let code = finding.code.to_string();
        let place = match finding.at {
            At::Line { number, column } => format!("{code}@{number}:{column}"),
            _ => code.clone(),
        };
        [code, place]
    });
    findings.collect()
}

#[test]
fn every_code_has_a_fixture() {
    let rows: BTreeSet<&str> = TABLE
        .lines()
        .filter_map(|line| line.split(['\t', '@']).next())
        .filter(|code| !code.starts_with("not "))
        .collect();
    for rule in RULES {
        let elsewhere = ELSEWHERE.contains(&rule.code);
        assert_ne!(rows.contains(rule.word), elsewhere, "{}", rule.word);
    }
}

#[test]
fn programs_policies_and_workspaces() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir().unwrap();
    let home = scratch.path().join("home");
    let layout = Layout::new(&home).unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = write("bin/good", "#!/bin/sh\n", 0o755);
    let loose = write("bin/loose", "#!/bin/sh\n", 0o777);
    let script = write("bin/script", "#!/no/such/interpreter\n", 0o755);
    let policy = |path: &str, more: &str| {
        format!(
            "federation = \"a\"\npod = \"b\"\ntools = [\"rsync\"]\n{more}[workspace.w]\npath = \"{path}\"\naccess = \"ro\"\n"
        )
    };
    std::fs::create_dir_all(home.join("data")).unwrap();
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    write(".config/akeys/grants/a.good.toml", &policy("~/data", ""), 0o600);
    write(".config/akeys/grants/a.loose.toml", &policy("~/data", ""), 0o666);
    write(".config/akeys/grants/a.over.toml", &policy("~/data", "expires = 2020-01-01T00:00:00Z\n"), 0o600);
    write(".config/akeys/grants/a.ssh.toml", &policy("~/.ssh", ""), 0o600);
    write(".config/akeys/grants/a.gone.toml", &policy("~/gone", ""), 0o600);
    let gate = write("bin/rrsync-rs", "#!/bin/sh\n", 0o755);
    let grant = |name: &str| format!("{gate} --grant {name}");
    let key = keys()["ed"];
    for (command, code) in [
        (good, None),
        ("/no/such/program".to_owned(), Some(Code::CommandMissing)),
        ("borg serve".to_owned(), Some(Code::CommandRelative)),
        ("echo hello".to_owned(), None),
        (loose, Some(Code::CommandWritable)),
        (script, Some(Code::CommandInterpreter)),
        (grant("a.good"), None),
        (grant("a.none"), Some(Code::PolicyMissing)),
        (grant("a.loose"), Some(Code::PolicyRefused)),
        (grant("a.over"), Some(Code::PolicyExpired)),
        (grant("a.ssh"), Some(Code::WorkspaceExposed)),
        (grant("a.gone"), Some(Code::WorkspaceMissing)),
    ] {
        let file = KeyFile::parse(format!("restrict,command=\"{command}\" {key} me@home\n").into_bytes());
        let facts = Facts { disk: Some(&layout), ..Facts::of_text(Target::OpenSsh9_2, Timestamp::now()) };
        let mut basket = Basket::new(Severity::Low);
        judge(&file, &facts, &mut basket);
        let codes: Vec<Code> = basket.sorted().into_iter().map(|finding| finding.code).collect();
        // "borg" is looked for before it is found to be no shell's own word; "echo" is one.
        assert_eq!(codes, code.into_iter().collect::<Vec<_>>(), "{command}");
    }
}

/// A clean file is one about which nothing is said.
#[test]
fn a_clean_file_has_no_findings() {
    let key = keys()["ed"];
    let text = format!(
        "# mine\n\nrestrict,from=\"10.1.0.0/16\",expiry-time=\"20991231Z\",command=\"/bin/true\" {key} me@home\n"
    );
    assert_eq!(found(text.as_bytes(), ""), BTreeSet::new());
}

fn keys() -> BTreeMap<&'static str, &'static str> {
    TABLE.lines().filter_map(|line| line.strip_prefix("key\t")?.split_once('\t')).collect()
}

/// The bytes that the table's notation stands for.
fn unescape(text: &str, keys: &BTreeMap<&str, &str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        rest = match escape.as_bytes()[0] {
            b'k' => {
                let (name, after) = escape[2..].split_once('}').unwrap();
                out.extend_from_slice(keys[name].as_bytes());
                after
            }
            b'x' => {
                out.push(u8::from_str_radix(&escape[1..3], 16).unwrap());
                &escape[3..]
            }
            b'*' => {
                let (inner, after) = escape[2..].split_once('}').unwrap();
                let (count, unit) = inner.split_once(':').unwrap();
                out.extend_from_slice(unit.repeat(count.parse().unwrap()).replace('¶', "\n").as_bytes());
                after
            }
            other => {
                out.push(match other {
                    b'n' => b'\n',
                    b't' => b'\t',
                    other => other,
                });
                &escape[1..]
            }
        };
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Keys in the table are whole.
#[test]
fn the_tables_keys_are_keys() {
    for (name, text) in keys() {
        assert!(Key::from_public_line(text.as_bytes(), Target::OpenSsh9_2).is_some(), "{name}");
    }
}

/// Files made of the pieces that matter, glued anyhow.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let keys = keys();
    let mut pieces: Vec<String> =
        ["ed", "ca", "rsa1024", "padded", "sked"].map(|name| keys[name].to_owned()).into();
    pieces.extend(
        [
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "#",
            "restrict",
            ",",
            "command=\"",
            "\"",
            "\\",
            "pty ",
            "from=\"10.0.0.0/8\" ",
            "=",
            "cert-authority ",
            "expiry-time=\"20200101Z\" ",
            "permitopen=\"a:1\",",
            "\u{feff}",
            "\u{202e}",
            "\0",
        ]
        .map(str::to_owned),
    );
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_dead_line_has_a_finding_and_every_finding_a_place(bytes in files()) {
        let file = KeyFile::parse(bytes);
        for target in [Target::OpenSsh9_2, Target::OpenSsh10_5, Target::Dropbear] {
            let mut basket = Basket::new(Severity::Info);
            judge(&file, &Facts::of_text(target, Timestamp::UNIX_EPOCH), &mut basket);
            let findings = basket.sorted();
            for finding in &findings {
                if let At::Line { number, column } = finding.at {
                    let line = file.line(number).unwrap();
                    prop_assert!((1..=line.raw().len() + 1).contains(&column), "{:?}", finding);
                }
            }
            let utf16 = findings.iter().any(|finding| finding.code == Code::Utf16);
            for line in file.lines().filter(|line| matches!(line.read(target), Reading::Dead(_))) {
                prop_assert!(utf16 || findings.iter().any(|finding| finding.line() == Some(line.number())));
            }
        }
    }

    #[test]
    fn mending_lets_nobody_in_and_comes_to_an_end(bytes in files()) {
        let facts = Facts::of_text(Target::OpenSsh9_2, Timestamp::from_second(1_794_700_000).unwrap());
        let mut file = KeyFile::parse(bytes);
        for round in 0.. {
            let after = fix::mended(&file, &facts).unwrap();
            if after == file {
                break;
            }
            prop_assert!(round < 30);
            file = after;
        }
    }
}
