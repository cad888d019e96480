//! Bundles and cards by somebody who means harm: nothing in them reaches a key line, a command line, a terminal or a path, and
//! what was taken back does not come back. And several people who change one federation at once.

use std::fs;
use std::process::Stdio;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};

/// A bundle that anybody can write, with one thing in it exchanged.
fn bundle(from: &str, to: &str) -> String {
    let text = format!(
        "federation = \"lab\"\nserial = 3\nhubs = [\"files@hub\"]\nnats = \"nats://hub:4222\"\nhost-keys = [\"hub {OTHER}\"]\n\
         [[grant]]\npod = \"pc\"\nset = \"one\"\nkey = \"{FOREIGN} a comment\"\ntools = [\"rsync\"]\naccess = \"ro\"\nfrom = [\"10.1.0.0/16\"]\n\
         expires = 2127-12-31T00:00:00Z\n[workspace.data]\npath = \"~/data\"\nwritable = [\"build\"]\n"
    );
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// What a home has in it, but for the file that was tried and the lock.
fn kept(home: &Home) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let tried = |path: &std::path::Path| path.ends_with("tried.toml") || path.ends_with("lock");
    home.everything().into_iter().filter(|(path, content)| !tried(path) && !content.is_empty()).collect()
}

#[test]
fn nothing_is_smuggled_in_by_a_bundle() {
    let home = Home::new();
    home.make("data");
    home.write(".ssh/authorized_keys", "# mine\n");
    let before = kept(&home);
    let mut bad: Vec<String> = [
        ("\"lab\"", "\"../x\""),
        ("\"lab\"", "\"../../.ssh/authorized_keys\""),
        ("\"lab\"", "\"/etc/passwd\""),
        ("\"lab\"", "\".\""),
        ("\"lab\"", "\"\""),
        ("\"lab\"", "\"a\\nb\""),
        ("\"lab\"", "\"a\\u0000\""),
        ("\"lab\"", "\"-x\""),
        ("\"lab\"", "\"l\\u0430b\""),
        ("serial = 3", "serial = -1"),
        ("serial = 3", "serial = 18446744073709551616"),
        ("serial = 3", "serial = \"3\""),
        ("\"files@hub\"", "\"-oProxyCommand=sh@hub\""),
        ("\"files@hub\"", "\"files@-oProxyCommand=sh\""),
        ("nats://hub:4222", "nats://user:secret@hub:4222"),
        ("nats://hub:4222", "nats://hub:4222\\u001b[31m"),
        ("\"hub ssh", "\"* ssh"),
        ("\"hub ssh", "\"@cert-authority * ssh"),
        ("\"hub ssh", "\"hub\\nother ssh"),
        ("pod = \"pc\"", "pod = \"pc\\\",command=\\\"sh\""),
        ("pod = \"pc\"", "pod = \"pc --grant other\""),
        ("pod = \"pc\"", "pod = \"..\""),
        ("pod = \"pc\"", "pod = \"known_hosts\""),
        ("pod = \"pc\"", "pod = \"ssh_config\""),
        ("set = \"one\"", "set = \"pub\""),
        ("set = \"one\"", "set = \"../../x\""),
        ("a comment\"", "\\nssh-ed25519 AAAA\""),
        ("a comment\"", "\\r\\nssh-ed25519 AAAA\""),
        ("key = \"ssh", "key = \"command=\\\"sh\\\" ssh"),
        ("key = \"ssh", "key = \"# ssh"),
        ("tools = [\"rsync\"]", "tools = [\"shell\"]"),
        ("\"10.1.0.0/16\"", "\"*\\\",pty,from=\\\"*\""),
        ("\"10.1.0.0/16\"", "\"10.1.0.0/16\\n\""),
        ("\"10.1.0.0/16\"", "\"10.1.0.0/16,*\""),
        ("\"10.1.0.0/16\"", "\"\""),
        ("expires = 2127-12-31T00:00:00Z", "expires = 2127-12-31"),
        ("expires = 2127-12-31T00:00:00Z", "expires = \"never\",command=\"sh\""),
        ("~/data", "../data"),
        ("~/data", "~/../root"),
        ("~/data", "/a\\nb"),
        ("\"build\"", "\"../../.ssh\""),
        ("\"build\"", "\"/\""),
        ("[workspace.data]", "[workspace.\"../x\"]"),
        ("[workspace.data]", "[workspace.data]\ncommand = \"sh\""),
    ]
    .map(|(from, to)| bundle(from, to))
    .into();
    bad.extend([
        String::new(),
        "\u{feff}".to_owned(),
        "federation = \"lab\"\n".to_owned(),
        "[".repeat(100_000),
    ]);
    for text in &bad {
        home.write("tried.toml", text);
        for command in [
            &["federation", "import", "tried.toml"][..],
            &["federation", "admit", "tried.toml"],
            &["install", "--bundle", "tried.toml", "--workspace", "data"],
        ] {
            let ran = home.akeys(command);
            assert_eq!(ran.code, 1, "{command:?}: {text:.600}: {ran:?}");
            assert!(ran.err.starts_with("akeys: tried.toml:"), "{command:?}: {text:.600}: {ran:?}");
            assert!(!ran.err.contains(['\x1b', '\0', '\r']), "{ran:?}");
        }
        assert_eq!(kept(&home), before, "{text:.600}");
    }
    // All that was exchanged is fine as it was, and becomes one line with nothing else in it.
    home.write("tried.toml", &bundle("a comment", "\\\"x\\\" a  comment"));
    home.install(&["--bundle", "tried.toml", "--workspace", "data"]).ok();
    let keys = home.keys();
    let (options, rest) = keys.strip_prefix("# mine\n").unwrap().split_once(" ssh-ed25519 ").unwrap();
    let gate = home.gate().canonicalize().unwrap();
    let command = format!("command=\"{} --grant lab.pc.one\"", gate.display());
    assert_eq!(options, format!("restrict,from=\"10.1.0.0/16\",expiry-time=\"21271231Z\",{command}"));
    assert_eq!(rest, format!("{} akeys:lab.pc.one\n", FOREIGN.split(' ').nth(1).unwrap()));
}

#[test]
fn a_key_that_was_revoked_comes_back_by_no_older_bundle() {
    let (maker, user) = (Home::new(), Home::new());
    user.make("data");
    maker.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    maker.akeys(&["federation", "add", "lab", "--pod", "mac"]).ok();
    let export = |args: &[&str]| maker.akeys(&[&["federation", "export", "lab"], args].concat()).ok().out;
    let (signed, unsigned) = (export(&[]), export(&["--unsigned"]));
    maker.akeys(&["federation", "revoke", "lab", "--pod", "mac"]).ok();
    let refused = |home: &Home, text: &str, says: &str| {
        home.make("data");
        home.write("tried.toml", text);
        let before = kept(home);
        home.akeys(&["federation", "import", "tried.toml"]).fails(3, says);
        for pod in ["mac", "pc"] {
            home.install(&["--bundle", "tried.toml", "--pod", pod, "--workspace", "data"]).fails(3, says);
        }
        assert_eq!(kept(home), before);
    };
    let returns = "pod mac comes with the key SHA256:";
    // Whether the bundle that says so is signed or not, and wherever it is kept.
    user.write("new.toml", &export(&[]));
    user.akeys(&["federation", "import", "new.toml"]).ok();
    refused(&user, &signed, returns);
    refused(&user, &unsigned, returns);
    let ran = user.akeys(&["federation", "remove", "lab"]).ok();
    assert!(ran.err.contains("an older bundle would be believed again"), "{ran:?}");
    user.write("new.toml", &export(&["--unsigned"]));
    user.akeys(&["federation", "import", "new.toml"]).ok();
    refused(&user, &signed, returns);
    refused(&user, &unsigned, returns);
    // In the account that has revoked it, no import is needed to know.
    maker.make("data");
    maker.write("tried.toml", &signed);
    maker.install(&["--bundle", "tried.toml", "--pod", "mac", "--workspace", "data"]).fails(3, returns);
    maker
        .akeys(&["federation", "admit", "tried.toml"])
        .fails(3, "a revoked key of pod mac is used elsewhere");
}

#[test]
fn no_clock_decides_which_bundle_is_the_newer_one() {
    let user = Home::new();
    let revoked = |serial: u32, since: &str| {
        format!(
            "federation = \"lab\"\nserial = {serial}\n[[grant]]\npod = \"pc\"\nkey = \"{FOREIGN}\"\ntools = [\"rsync\"]\n\
             [[revoked]]\npod = \"mac\"\nkey = \"{OTHER}\"\nsince = {since}\n"
        )
    };
    // Whatever the clock of the one who signs said, the key is revoked.
    for since in ["0001-01-01T00:00:00Z", "2026-06-30T23:59:59-11:00", "9999-12-30T00:00:00Z"] {
        user.make("data");
        user.write("new.toml", &revoked(3, since));
        user.akeys(&["federation", "import", "new.toml"]).ok();
        user.write(
            "old.toml",
            &format!(
                "federation = \"lab\"\n[[grant]]\npod = \"mac\"\nkey = \"{OTHER}\"\ntools = [\"rsync\"]\n"
            ),
        );
        let old = ["--bundle", "old.toml", "--workspace", "data"];
        user.install(&old).fails(3, "which was revoked");
        user.akeys(&["federation", "remove", "lab"]).ok();
    }
    for since in ["0000-00-00T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-01", "1e9"] {
        user.write("new.toml", &revoked(3, since));
        user.akeys(&["federation", "import", "new.toml"]).fails(1, "akeys: new.toml:");
    }
    // An end that is over by this account's clock is seen before anything is installed.
    let ended = format!(
        "federation = \"lab\"\n[[grant]]\npod = \"pc\"\nkey = \"{FOREIGN}\"\ntools = [\"rsync\"]\nexpires = 2001-01-01T00:00:00Z\n"
    );
    user.write("new.toml", &ended);
    user.akeys(&["federation", "import", "new.toml"]).ok();
    let before = kept(&user);
    user.install(&["--federation", "lab", "--workspace", "data"])
        .fails(1, "the key would have ended on 2001-01-01");
    assert_eq!(kept(&user), before);
}

#[test]
fn nothing_is_smuggled_in_by_a_card() {
    let home = Home::new();
    home.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    let card = |from: &str, to: &str| {
        let text = format!(
            "federation = \"lab\"\npod = \"pc\"\nuser = \"anna\"\nhost = \"laptop\"\nport = 2222\nworkspaces = [\"data\"]\nhost-keys = [\"{FOREIGN}\"]\n"
        );
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    };
    let thousands = format!("\"{FOREIGN}\", ").repeat(5000);
    let before = kept(&home);
    for (from, to) in [
        ("\"lab\"", "\"../lab\""),
        ("\"pc\"", "\"pc.one\""),
        ("\"anna\"", "\"anna b\""),
        ("\"anna\"", "\"-lroot\""),
        ("\"anna\"", "\"../../x\""),
        ("\"anna\"", "\"anna\\n\""),
        ("\"anna\"", "\"%h\""),
        ("\"laptop\"", "\"-oProxyCommand=sh\""),
        ("\"laptop\"", "\"laptop -oProxyCommand=sh\""),
        ("\"laptop\"", "\"$(sh)\""),
        ("\"laptop\"", "\"a/b\""),
        ("\"laptop\"", "\"*\""),
        ("2222", "0"),
        ("2222", "65536"),
        ("2222", "-1"),
        ("[\"data\"]", "[\"../..\"]"),
        ("[\"data\"]", "[\"data\\nx\"]"),
        ("[\"data\"]", "[]"),
        ("\"ssh-ed25519", "\"* ssh-ed25519"),
        ("\"ssh-ed25519", "\"\\nother ssh-ed25519"),
        ("[\"ssh-ed25519", &format!("[{thousands}\"ssh-ed25519")),
    ] {
        home.write("tried.toml", &card(from, to));
        let ran = home.akeys(&["federation", "meet", "tried.toml"]);
        assert_eq!(ran.code, 1, "{to:.200}: {ran:?}");
        assert!(ran.err.starts_with("akeys: tried.toml:") && !ran.err.contains('\x1b'), "{to:.200}: {ran:?}");
        assert_eq!(kept(&home), before, "{to:.200}");
    }
    home.write("tried.toml", &card("\"laptop\"", "\"laptop\""));
    home.akeys(&["federation", "meet", "tried.toml"]).ok();
    assert_eq!(home.read(".ssh/akeys/lab.known_hosts"), format!("[laptop]:2222 {FOREIGN}\n"));
}

fn all_at_once(home: &Home, commands: &[Vec<String>]) -> Vec<Ran> {
    let children: Vec<_> = commands
        .iter()
        .map(|words| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            home.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children.into_iter().map(|child| Ran::from(&child.wait_with_output().unwrap())).collect()
}

#[test]
fn two_admins_at_once_lose_no_change_of_each_other() {
    let home = Home::new();
    home.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    let words = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands = Vec::new();
    for number in 0..5 {
        let card = format!(
            "federation = \"lab\"\npod = \"pc\"\nuser = \"u{number}\"\nhost = \"h{number}\"\nworkspaces = [\"w\"]\nhost-keys = [\"{FOREIGN}\"]\n"
        );
        home.write(&format!("card{number}.toml"), &card);
        commands.push(words(&format!("federation add lab --pod p{number}")));
        commands.push(words(&format!("federation set lab --add-hub hub{number}")));
        commands.push(words(&format!("federation meet card{number}.toml")));
    }
    for (ran, command) in all_at_once(&home, &commands).into_iter().zip(&commands) {
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    }
    // Each change was an edition of its own.
    let text = home.read(".config/akeys/federations/lab.toml");
    assert!(text.contains("serial = 11\n"), "{text}");
    for number in 0..5 {
        assert!(text.contains(&format!("pod = \"p{number}\"")) && text.contains(&format!("\"hub{number}\"")));
    }
    assert_eq!(home.read(".ssh/akeys/lab.known_hosts").lines().count(), 5);
    assert_eq!(home.names(".config/akeys/cards/lab").len(), 5);

    // Both revoke, and both rotate: one does it, the other sees that it was done.
    let commands = vec![words("federation revoke lab --pod p0"); 4];
    let done = all_at_once(&home, &commands);
    assert!(done.iter().all(|ran| ran.code == 0), "{done:?}");
    assert_eq!(done.iter().filter(|ran| ran.out.contains("revoked before; nothing changed")).count(), 3);
    let commands = vec![words("federation rotate lab --pod pc"); 4];
    let done = all_at_once(&home, &commands);
    assert_eq!(done.iter().filter(|ran| ran.out.contains("has its new key already")).count(), 3, "{done:?}");
    assert!(home.read(".config/akeys/federations/lab.toml").contains("serial = 13\n"));
}

#[test]
fn two_machines_with_one_signing_key_are_noticed_when_they_part() {
    let (one, user) = (Home::new(), Home::new());
    one.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    let two = one.copy();
    one.akeys(&["federation", "add", "lab", "--pod", "mac"]).ok();
    two.akeys(&["federation", "add", "lab", "--pod", "tablet"]).ok();
    for (home, file) in [(&one, "one.toml"), (&two, "two.toml")] {
        user.write(file, &home.akeys(&["federation", "export", "lab"]).ok().out);
    }
    user.akeys(&["federation", "import", "one.toml"]).ok();
    let before = kept(&user);
    user.akeys(&["federation", "import", "two.toml"])
        .fails(3, "the bundle is not what is here, and has the same serial 2");
    assert_eq!(kept(&user), before);
    // One of them takes in what the other has, and is the newer one from then on.
    one.write("two.toml", &user.read("two.toml"));
    one.akeys(&["federation", "admit", "two.toml"]).ok();
    user.write("one.toml", &one.akeys(&["federation", "export", "lab"]).ok().out);
    user.akeys(&["federation", "import", "one.toml"]).ok();
    assert!(
        fs::read_to_string(user.path().join(".config/akeys/bundles/lab.toml")).unwrap().contains("tablet")
    );
}
