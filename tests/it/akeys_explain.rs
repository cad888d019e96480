//! `akeys explain`: the answers of real logins, and lines in words.

use std::process::Command;

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, Ran};

/// Rows of `tests/data/authkeys.tsv` that a shell can carry: file, login key, target, and the answer.
const SAMPLE: &[&str] = &[
    "plain-rsa3072",
    "ws-leading-tab",
    "ws-crlf-nocomment",
    "case-mixed-command",
    "case-upper-from",
    "ord-restrict-tunnel",
    "dup-tunnel",
    "plain-dsa-default",
    "exp-02-20990101z",
    "exp-19-99991231",
    "ca-flag-on-userkey",
];

const TABLE: &str = include_str!("../data/authkeys.tsv");

fn json(ran: Ran) -> Value {
    serde_json::from_str(&ran.ok().out).unwrap()
}

fn key(name: &str) -> &'static str {
    let start = format!("key\t{name}\t");
    TABLE.lines().find_map(|line| line.strip_prefix(&start)).unwrap()
}

/// The file of a row that has only the simple escapes.
fn unescape(text: &str) -> Vec<u8> {
    let mut text = text.to_owned();
    while let Some(at) = text.find("\\k{") {
        let end = at + text[at..].find('}').unwrap();
        let name = text[at + 3..end].to_owned();
        text.replace_range(at..=end, key(&name));
    }
    text.replace("\\n", "\n").replace("\\t", "\t").replace("\\x0d", "\r").into_bytes()
}

#[test]
fn a_sample_of_real_logins() {
    let home = Home::new();
    for id in SAMPLE {
        let row = TABLE.lines().find(|line| line.starts_with(&format!("{id}\t"))).unwrap();
        let fields: Vec<&str> = row.split('\t').collect();
        let [_, login, _, answer, _, file] = fields[..] else { panic!("{row}") };
        std::fs::write(home.path().join("keys"), unescape(file)).unwrap();
        let args = ["explain", "--file", "keys", "--key", key(login), "--target", "openssh-9.2", "--json"];
        let got = json(home.akeys(&args));
        let expected: Vec<&str> = answer.split('|').collect();
        assert_eq!(got["accepted"], expected[0] == "accept", "{id}: {got}");
        let lines = got["lines"].as_array().unwrap();
        let matched: Vec<String> = lines
            .iter()
            .filter(|line| line["matches"] == true)
            .map(|line| line["line"].to_string())
            .collect();
        let matched = if matched.is_empty() { "-".to_owned() } else { matched.join(",") };
        assert_eq!(matched, expected[1], "{id}");
        if let Some(command) = expected.iter().find_map(|word| word.strip_prefix("command=")) {
            assert_eq!(got["forced_command"], command, "{id}");
        }
    }
}

#[test]
fn every_line_has_its_part() {
    let home = Home::new();
    let other = key("ca");
    let text = format!(
        "# a comment\n\ncomand=\"x\" {FOREIGN}\n{other} b\nfrom=\"10.0.0.0/8\" {FOREIGN} c\nrestrict,command=\"caf\u{e9}\" {FOREIGN}\npty {FOREIGN}\n"
    );
    home.write("keys", &text);
    let ask = |more: &[&str]| {
        let args = ["explain", "--file", "keys", "--key", FOREIGN, "--target", "openssh-10.5", "--json"];
        json(home.akeys(&[&args, more].concat()))
    };
    let got = ask(&[]);
    assert_eq!((&got["accepted"], &got["line"]), (&true.into(), &6.into()));
    assert_eq!(got["forced_command"], "caf\u{e9}");
    assert_eq!((&got["options"]["pty"], &got["options"]["restrict"]), (&false.into(), &true.into()));
    let kinds: Vec<&str> =
        got["lines"].as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["comment", "blank", "dead", "key", "key", "key", "key"]);
    let line = |number: usize| &got["lines"][number - 1];
    assert_eq!(line(1)["reason"], Value::Null);
    assert_eq!(line(3)["reason"], "unknown option \"comand\"");
    assert_eq!(line(3)["sshd_logs"], "bad key options: unknown key option");
    assert_eq!(line(3)["hint"], "did you mean \"command\"?");
    assert_eq!(line(4)["reason"], "another key");
    assert_eq!(line(5)["matches"], true);
    assert!(line(5)["sshd_logs"].as_str().unwrap().contains("not from a permitted host"));
    assert_eq!(line(6)["reason"], Value::Null);
    assert!(line(7)["reason"].as_str().unwrap().contains("stops at line 6"));

    let inside = ask(&["--from", "10.1.2.3"]);
    assert_eq!((&inside["line"], &inside["forced_command"]), (&5.into(), &Value::Null));
    let text = home.akeys(&["explain", "--file", "keys", "--key", FOREIGN]).ok().out;
    assert!(text.starts_with("yes: keys:6 lets SHA256:"), "{text}");
    assert!(text.contains("   6  key      LETS IT IN"), "{text}");
}

#[test]
fn bytes_that_are_no_text_are_there_twice() {
    let home = Home::new();
    let bytes = [b"command=\"caf\xe9\" ", FOREIGN.as_bytes(), b"\n"].concat();
    std::fs::write(home.path().join("keys"), bytes).unwrap();
    let got = json(home.akeys(&["explain", "--file", "keys", "--key", FOREIGN, "--json"]));
    assert_eq!(got["forced_command"], "caf\u{fffd}");
    assert_eq!(got["forced_command_b64"], "Y2Fm6Q==");
}

#[test]
fn a_moment_and_a_zone_decide() {
    let home = Home::new();
    home.write("keys", &format!("expiry-time=\"20300101\" {FOREIGN}\n"));
    for (at, zone, accepted) in [
        ("2029-12-31T23:30:00Z", "UTC", true),
        ("2029-12-31T23:30:00Z", "Europe/Berlin", false),
        ("2030-01-01T00:00:01Z", "UTC", false),
    ] {
        let args = ["explain", "--file", "keys", "--key", FOREIGN, "--at", at, "--json"];
        let got = json(Ran::from(&home.command(&args).env("TZ", zone).output().unwrap()));
        assert_eq!(got["accepted"], accepted, "{at} {zone}");
    }
}

#[test]
fn a_certificate_and_the_line_of_its_authority() {
    let home = Home::new();
    let keygen = |args: &[&str]| {
        let mut command = Command::new("ssh-keygen");
        let output = home.settle(&mut command).arg("-q").args(args).output().expect("ssh-keygen is needed");
        assert!(output.status.success(), "{output:?}");
    };
    for name in ["ca", "key"] {
        keygen(&["-t", "ed25519", "-N", "", "-f", name]);
    }
    let certificate = |more: &[&str]| {
        keygen(&[&["-s", "ca", "-I", "id"], more, &["key.pub"]].concat());
        home.read("key-cert.pub")
    };
    let (authority, own) = (home.read("ca.pub"), home.read("key.pub"));
    let line = |options: &str| format!("cert-authority{options} {authority}");
    for (options, signed, answer) in [
        (line(""), &["-n", "u"][..], ""),
        (line(""), &["-n", "v"], "Certificate invalid: name is not a listed principal"),
        (line(",principals=\"v,w\""), &["-n", "w"], ""),
        (line(",principals=\"v,,w\""), &["-n", "w"], "Certificate does not contain an authorized principal"),
        (line(""), &["-n", "u", "-V", "20200101:20210101"], "Certificate invalid: expired"),
        (line(""), &["-n", "u", "-V", "20990101:20990201"], "Certificate invalid: not yet valid"),
        (line(""), &["-n", "u", "-O", "source-address=10.0.0.0/8"], "not from a permitted source address"),
        (
            line(",command=\"a\""),
            &["-n", "u", "-O", "force-command=b"],
            "forced command options do not match",
        ),
        (line(""), &["-n", "u", "-O", "critical:x@example.org=y"], "Invalid certificate options"),
        (line(""), &[], "Certificate lacks principal list"),
        (line("") + &line(",principals=\"w\""), &["-n", "w"], ""),
        (authority.clone(), &["-n", "u"], "without cert-authority"),
        (own.clone(), &["-n", "nobody"], ""),
    ] {
        home.write("keys", &options);
        let shown = certificate(signed);
        let args = [
            "explain",
            "--file",
            "keys",
            "--key",
            &shown,
            "--user",
            "u",
            "--target",
            "openssh-10.5",
            "--json",
        ];
        let got = json(home.akeys(&args));
        assert_eq!(got["accepted"], answer.is_empty(), "{options} {signed:?}: {got}");
        assert!(got.to_string().contains(answer), "{options} {signed:?}: {got}");
    }
    home.write("keys", &line(",no-pty"));
    let shown = certificate(&["-n", "u", "-O", "force-command=/bin/x", "-O", "no-port-forwarding"]);
    let got = json(home.akeys(&["explain", "--file", "keys", "--key", &shown, "--user", "u", "--json"]));
    assert_eq!(got["forced_command"], "/bin/x");
    for (name, allowed) in [("pty", false), ("port-forwarding", false), ("agent-forwarding", true)] {
        assert_eq!(got["options"][name], allowed, "{name}");
    }
    let shown = certificate(&["-h", "-n", "u"]);
    let got = json(home.akeys(&["explain", "--file", "keys", "--key", &shown, "--json"]));
    assert_eq!(
        (&got["accepted"], &got["reason"]),
        (&false.into(), &"this is a certificate for a host".into())
    );
}

#[test]
fn a_line_in_words_through_the_policy() {
    let home = Home::with_federation();
    home.install(&[
        "--federation",
        "playground",
        "--workspace",
        &home.at("papers"),
        "--writable",
        "papers/build",
    ])
    .ok();
    let told = home.akeys(&["explain", "1"]).ok().out;
    assert!(told.contains("may pull papers, may push papers/build, nothing else\n"), "{told}");
    assert!(told.starts_with("~/.ssh/authorized_keys:1: ssh-ed25519 SHA256:"), "{told}");
    let fingerprint = told.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
    assert_eq!(home.akeys(&["explain", fingerprint]).ok().out, told);
    let got = json(home.akeys(&["explain", fingerprint, "--json"]));
    assert_eq!(got[0]["may"], "may pull papers, may push papers/build, nothing else");
    std::fs::remove_file(home.path().join(".config/akeys/grants/playground.chef1.toml")).unwrap();
    let told = home.akeys(&["explain", "1"]).ok().out;
    assert!(told.contains("may do nothing while there is no policy playground.chef1\n"), "{told}");
    assert!(told.contains("! high policy-missing:"), "{told}");
}

#[test]
fn lines_that_are_no_keys_and_words_that_are_none() {
    let home = Home::new();
    let text = format!("# {FOREIGN}\ncomand=\"x\" {FOREIGN}\n{FOREIGN} \x1b[31mred\n");
    home.write(".ssh/authorized_keys", &text);
    let told = home.akeys(&["explain", "2"]).ok().out;
    assert!(told.contains(":2: DEAD") && told.contains("column 1: unknown option \"comand\""), "{told}");
    let told = home.akeys(&["explain", "3"]).ok().out;
    assert!(
        told.contains("may run any command, may read and write every file") && !told.contains('\x1b'),
        "{told}"
    );
    home.akeys(&["explain", "4"]).fails(4, "the file has 3 lines");
    home.akeys(&["explain", &format!("SHA256:{}", "A".repeat(43))]).fails(4, "no line holds that key");
    home.akeys(&["explain", "x"]).fails(2, "neither the number of a line nor a fingerprint");
    home.akeys(&["explain"]).fails(2, "required");
    home.akeys(&["explain", "--key", "ssh-ed25519 AAAA"]).fails(2, "this is no public key");
    home.akeys(&["explain", "--key", FOREIGN, "--file", "nothing"]).fails(4, "nothing: No such file");
    home.akeys(&["explain", "--key", FOREIGN, "--target", "openssh-1"]).fails(2, "openssh-9.2");
}
