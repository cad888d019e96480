//! `akeys audit`: what it finds only when it is asked, what a federation has to say about its keys, and the form of SARIF.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};

const FOREIGN_SHA: &str = "SHA256:QxD1k9j19KgeD1bG8fAToe8kvo767pRYBHtIio95tJY";
/// One more key.
const DAVE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILeWX0SUQqqc6xPN0kUdZIWpia+4lOiRlZFaklGPO/rH dave";

const TABLE: &str = include_str!("../data/audit.tsv");

/// Runs `akeys audit` with `text` on its standard input.
fn piped(home: &Home, text: &str, more: &[&str]) -> Ran {
    let mut command = home.command(&[&["audit", "--file", "-"], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Ran::from(&child.wait_with_output().unwrap())
}

/// The lines about one code.
fn about<'r>(ran: &'r Ran, code: &str) -> Vec<&'r str> {
    ran.out.lines().filter(|line| line.contains(&format!(" {code}: "))).collect()
}

#[test]
fn old_keys_are_found_by_their_comment_and_by_what_was_kept() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} alice 2020-02-29\n"));
    home.akeys(&["add", OTHER, "--comment", "carol"]).ok();
    home.akeys(&["add", "--restrict", DAVE]).ok();
    let plain = home.akeys(&["audit"]);
    assert!(about(&plain, "old-key").is_empty(), "{plain:?}");
    let ran = home.akeys(&["audit", "--older", "365"]);
    assert_eq!(about(&ran, "old-key").len(), 1, "{ran:?}");
    assert!(ran.out.contains(":1:1: medium old-key: its comment says 2020-02-29"), "{ran:?}");
    // What the second addition found there is from before it, by the name of the copy.
    let kept = home.names(".local/state/akeys/backups");
    let dir = home.path().join(".local/state/akeys/backups");
    let long_ago = "authorized_keys.20210101T000000.000000000Z";
    std::fs::rename(dir.join(kept.last().unwrap()), dir.join(long_ago)).unwrap();
    let ran = home.akeys(&["audit", "--older", "365"]);
    assert_eq!(about(&ran, "old-key").len(), 2, "{ran:?}");
    assert!(ran.out.contains(":2:1: medium old-key: it was in the file on 2021-01-01 already"), "{ran:?}");
}

#[test]
fn a_login_from_elsewhere_is_found_in_the_log() {
    let home = Home::new();
    let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let login = |day: u8, from: &str| {
        format!(
            "2026-11-{day}T12:00:00+00:00 host sshd[1]: Accepted publickey for {account} from {from} port 1 ssh2: ED25519 {FOREIGN_SHA}\n"
        )
    };
    home.write("log", &[login(20, "10.1.2.3"), login(21, "192.0.2.7"), login(22, "10.1.2.4")].concat());
    let write = |options: &str| home.write(".ssh/authorized_keys", &format!("{options}{FOREIGN} alice\n"));
    let found = |more: &[&str]| {
        let ran = home.akeys(&[&["audit", "--log", "log"], more].concat());
        about(&ran, "used-outside").join("\n")
    };
    write("");
    assert_eq!(found(&["--unused", "999"]), "");
    assert_eq!(found(&["--from", "10.0.0.0/8,192.0.2.0/24"]), "");
    let outside = found(&["--from", "10.0.0.0/8"]);
    assert!(outside.ends_with("used from 192.0.2.7, and nobody is expected there"), "{outside}");
    write("from=\"10.0.0.0/8\" ");
    let narrowed = found(&["--unused", "999"]);
    assert!(narrowed.ends_with("used from 192.0.2.7, and from does not let that in now"), "{narrowed}");
    // Whose name that was then, the log does not say.
    write("from=\"10.0.0.0/8,*.example.org\" ");
    assert_eq!(found(&["--unused", "999"]), "");
    home.akeys(&["audit", "--log", "log"]).fails(2, "--unused");
}

#[test]
fn keys_of_many_files_are_compared_for_shared_primes() {
    let home = Home::new();
    let key = |name: &str| {
        TABLE.lines().find_map(|line| line.strip_prefix(&format!("key\t{name}\t"))).unwrap().to_owned()
    };
    let text = format!("{} a\n{} b\n{} c\n", key("shared1"), key("rsa3072"), key("shared2"));
    let ran = piped(&home, &text, &["--primes"]);
    assert_eq!(
        about(&ran, "rsa-shared-prime"),
        [
            "-:1:1: high rsa-shared-prime: it shares a prime with the key on line 3",
            "-:3:1: high rsa-shared-prime: it shares a prime with the key on line 1"
        ]
    );
    assert!(about(&piped(&home, &text, &[]), "rsa-shared-prime").is_empty());
}

#[test]
fn a_federation_has_its_say_about_its_keys() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let line = home.keys();
    let audit = || home.akeys(&["audit"]);
    for code in ["grant-revoked", "grant-orphan", "policy-unused"] {
        assert!(about(&audit(), code).is_empty(), "{code}");
    }
    let (options, _) = line.split_once("ssh-ed25519").unwrap();
    home.write(".ssh/authorized_keys", &format!("{options}{FOREIGN} x\n"));
    let ran = audit();
    assert!(
        ran.out.contains("medium grant-orphan: playground has no such key for playground.chef1"),
        "{ran:?}"
    );
    home.write(".ssh/authorized_keys", &format!("# akeys-disabled: {line}"));
    assert!(about(&audit(), "policy-unused").is_empty());
    home.write(".ssh/authorized_keys", "");
    let ran = audit();
    assert!(
        ran.out.contains(
            "~/.config/akeys/grants/playground.chef1.toml: low policy-unused: no key line names the policy playground.chef1"
        ),
        "{ran:?}"
    );
    home.write(".ssh/authorized_keys", &line);
    home.akeys(&["federation", "revoke", "playground", "--pod", "chef1"]).ok();
    let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
    home.write("next.toml", &bundle);
    home.akeys(&["federation", "import", "next.toml"]).ok();
    let ran = audit();
    assert!(
        ran.out.contains("high grant-revoked: playground has revoked the key of playground.chef1")
            && ran.out.contains("hint: akeys federation update playground"),
        "{ran:?}"
    );
    home.akeys(&["federation", "update", "playground", "--allow-lockout"]).ok();
    let ran = audit();
    assert!(!ran.out.contains("grant-revoked") && !ran.out.contains("policy-unused"), "{ran:?}");
}

/// What the schema of SARIF 2.1.0 demands of an object: these properties and no others, the first of them always.
const OBJECTS: [(&str, usize, &[&str]); 9] = [
    ("sarifLog", 2, &["version", "runs", "$schema"]),
    ("run", 1, &["tool", "results", "columnKind"]),
    ("tool", 1, &["driver"]),
    ("toolComponent", 1, &["name", "version", "rules"]),
    (
        "reportingDescriptor",
        1,
        &["id", "shortDescription", "fullDescription", "defaultConfiguration", "properties"],
    ),
    ("text", 1, &["text"]),
    ("result", 1, &["message", "ruleId", "ruleIndex", "level", "locations"]),
    ("physicalLocation", 1, &["artifactLocation", "region"]),
    ("region", 1, &["startLine", "startColumn"]),
];

fn is_a(name: &str, value: &Value) {
    let (_, required, known) = OBJECTS.into_iter().find(|(object, ..)| *object == name).unwrap();
    let object = value.as_object().unwrap_or_else(|| panic!("{name}: {value}"));
    assert!(known[..required].iter().all(|property| object.contains_key(*property)), "{name}: {value}");
    assert!(object.keys().all(|property| known.contains(&property.as_str())), "{name}: {value}");
    if name == "text" {
        assert!(object["text"].is_string());
    }
}

#[test]
fn sarif_has_the_form_that_its_schema_demands() {
    let home = Home::new();
    let text = format!("\u{fc} {FOREIGN} a\ncomand=\"x\" {FOREIGN} \x1b\n{FOREIGN}\n{OTHER} b");
    home.write(".ssh/authorized_keys", &text);
    home.write(".ssh/authorized_keys.b%k ü", "");
    let levels = ["none", "note", "warning", "error"];
    for more in [&[][..], &["--severity", "info"], &["--file", "-"], &["--all-users", "--severity", "high"]] {
        let ran = match more {
            ["--file", "-"] => piped(&home, &text, &["--sarif"]),
            more => home.akeys(&[&["audit", "--sarif"], more].concat()),
        };
        let sarif: Value = serde_json::from_str(&ran.out).unwrap();
        is_a("sarifLog", &sarif);
        assert_eq!(sarif["version"], "2.1.0");
        for run in sarif["runs"].as_array().unwrap() {
            is_a("run", run);
            is_a("tool", &run["tool"]);
            is_a("toolComponent", &run["tool"]["driver"]);
            assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&run["columnKind"].as_str().unwrap()));
            let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
            for rule in rules {
                is_a("reportingDescriptor", rule);
                is_a("text", &rule["shortDescription"]);
                is_a("text", &rule["fullDescription"]);
                assert!(levels.contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
            }
            for result in run["results"].as_array().unwrap() {
                is_a("result", result);
                is_a("text", &result["message"]);
                assert!(levels.contains(&result["level"].as_str().unwrap()));
                let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
                assert_eq!(rules[rule]["id"], result["ruleId"]);
                let places = result["locations"].as_array().unwrap();
                assert_eq!(places.len(), 1, "{result}");
                let place = &places[0]["physicalLocation"];
                is_a("physicalLocation", place);
                let uri = place["artifactLocation"]["uri"].as_str().unwrap();
                assert!(uri.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|} ".contains(&b)), "{uri}");
                if let Some(region) = place.get("region") {
                    is_a("region", region);
                    assert!(
                        region["startLine"].as_u64() > Some(0) && region["startColumn"].as_u64() > Some(0)
                    );
                }
            }
        }
    }
}
