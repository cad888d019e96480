//! Cards: what an account tells a pod, what the pod believes, and which host keys it pins.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home};
use crate::support::{Account, Outcome, Run, Sandbox, find_program, run};

/// Another ed25519 key than [`FOREIGN`].
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChGEs0Qj7ZqdmgR6R4JgoIf7JYk6rQ6rZ5vL5X6n";

/// A pod with the federation `lab` of pod `pc`.
fn pod() -> Home {
    let pod = Home::new();
    pod.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    pod
}

fn card(user: &str, host: &str, key: &str) -> String {
    format!(
        "federation = \"lab\"\npod = \"pc\"\nuser = \"{user}\"\nhost = \"{host}\"\nworkspaces = [\"data\"]\nhost-keys = [\"{key}\"]\n"
    )
}

#[test]
fn an_installation_issues_a_card_and_keeps_what_it_was_told() {
    let home = Home::with_federation();
    home.write("host.pub", &format!("{FOREIGN} root@laptop\n"));
    let address = ["--address", "Laptop.example:2222", "--host-key", "host.pub", "--project", "thesis"];
    let papers = ["--federation", "playground", "--workspace", &home.at("papers")];
    let ran = home.install(&[&papers[..], &address].concat()).ok();
    let file = ".config/akeys/issued/playground.chef1.toml";
    let says = format!("card for the pod: ~/{file} (");
    assert!(
        ran.out.contains(&says) && ran.out.contains("@laptop.example:2222; papers; project thesis)\n"),
        "{ran:?}"
    );
    let issued = home.read(file);
    for line in ["host = \"laptop.example\"\nport = 2222\n", "workspaces = [\"papers\"]\n", FOREIGN] {
        assert!(issued.contains(line), "{issued}");
    }
    assert_eq!(home.path().join(file).metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    // Address and project are remembered, workspaces are what is granted now.
    home.make("notes");
    home.akeys(&["grant", "set", "playground.chef1", "--add-workspace", &home.at("notes")]).ok();
    let printed = home.akeys(&["federation", "card", "playground", "--host-key", "host.pub"]).ok().out;
    assert_eq!(printed, issued.replace("[\"papers\"]", "[\"notes\", \"papers\"]"));
    assert_eq!(home.read(file), printed);
    let moved =
        ["federation", "card", "playground", "--host-key", "host.pub", "--address", "[2001:db8::1]:22"];
    assert!(home.akeys(&moved).ok().out.contains("host = \"2001:db8::1\"\nproject"));
}

#[test]
fn what_is_wrong_with_a_cards_words_is_found_before_anything_is_installed() {
    let home = Home::with_federation();
    home.write("broken.pub", "ssh-ed25519 AAAA\n");
    let before = home.everything();
    for (args, code, says) in [
        (&["--address=-oProxyCommand=sh"][..], 2, "host \"-oProxyCommand=sh\" must be"),
        (&["--address", "laptop:0"], 2, "port \"0\" must be"),
        (&["--host-key", "nosuch.pub"], 4, "nosuch.pub: No such file"),
        (&["--host-key", "broken.pub"], 1, "broken.pub:1:1: not a host key"),
        (&["--project", "a b"], 2, "name \"a b\" must be"),
    ] {
        let papers = ["--federation", "playground", "--workspace", &home.at("papers")];
        home.install(&[&papers[..], args].concat()).fails(code, says);
    }
    assert_eq!(home.everything(), before);
    home.akeys(&["federation", "card", "playground"])
        .fails(4, "nothing is installed for federation playground");
}

#[test]
fn a_pod_meets_an_account_and_forgets_it() {
    let pod = pod();
    pod.write("anna.toml", &card("anna", "laptop", FOREIGN));
    let ran = pod.akeys(&["federation", "meet", "anna.toml"]).ok();
    assert!(ran.out.starts_with("met anna@laptop; data (pod pc)\n  host key SHA256:"), "{ran:?}");
    assert!(ran.err.contains("compare the fingerprints"), "{ran:?}");
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("laptop {FOREIGN}\n"));
    assert_eq!(pod.names(".config/akeys/cards/lab"), ["anna@laptop.toml"]);
    let before = pod.everything();
    let ran = pod.akeys(&["federation", "meet", "anna.toml"]).ok();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("anna@laptop was met before; nothing changed\n", ""));
    assert_eq!(pod.everything(), before);

    pod.write(
        "bob.toml",
        &card("bob", "laptop", FOREIGN).replace("workspaces", "project = \"p\"\nworkspaces"),
    );
    pod.akeys(&["federation", "meet", "bob.toml"]).ok();
    let listed = pod.akeys(&["federation", "list"]).ok().out;
    assert!(
        listed.contains("  knows anna@laptop; data (pod pc)\n  knows bob@laptop; data; project p (pod pc)\n"),
        "{listed}"
    );
    let listed = pod.akeys(&["federation", "list", "--json"]).ok().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["cards"][1]["user"], "bob");
    assert_eq!(listed[0]["cards"][1]["port"], 22);

    let ran = pod.akeys(&["federation", "forget", "anna@laptop"]).ok();
    assert_eq!(ran.out, "removed ~/.config/akeys/cards/lab/anna@laptop.toml\n");
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("laptop {FOREIGN}\n"), "bob is on that host");
    pod.akeys(&["federation", "forget", "anna@laptop"]).fails(4, "no card of anna@laptop is here");
    pod.akeys(&["federation", "forget", "../lab/bob@laptop"])
        .fails(4, "no card of ../lab/bob@laptop is here");
    let ran = pod.akeys(&["federation", "forget", "bob@laptop", "--federation", "lab"]).ok();
    assert!(ran.out.ends_with("the host keys of laptop are not pinned any more\n"), "{ran:?}");
    assert_eq!(pod.names(".ssh/akeys"), ["lab.pc", "lab.pc.pub", "signers"]);
    // A federation that is removed takes its cards along.
    pod.akeys(&["federation", "meet", "anna.toml"]).ok();
    pod.akeys(&["federation", "remove", "lab"]).ok();
    assert_eq!((pod.names(".ssh/akeys"), pod.names(".config/akeys/cards")), (vec![], vec![]));
}

#[test]
fn a_pinned_host_keeps_its_keys_until_somebody_says_otherwise() {
    let pod = pod();
    let meet = |text: &str, args: &[&str]| {
        pod.write("card.toml", text);
        pod.akeys(&[&["federation", "meet", "card.toml"], args].concat())
    };
    meet(&card("anna", "laptop", FOREIGN), &[]).ok();
    let before = pod.everything();
    let two = format!("{FOREIGN}\", \"{OTHER}");
    for text in [
        card("anna", "laptop", OTHER),
        card("mallory", "LAPTOP", OTHER),
        // One more key would do as well, for somebody in the middle.
        card("mallory", "laptop", &two),
        card("anna", "laptop", OTHER).replace("workspaces", "port = 2222\nworkspaces"),
    ] {
        let ran =
            meet(&text, &[]).fails(3, "has another host key than the one that is pinned\n  pinned: SHA256:");
        assert!(ran.err.contains("\n  new:    SHA256:") && ran.err.contains("--replace-host-key"), "{ran:?}");
        let changed: Vec<_> = pod.everything().into_iter().filter(|entry| !before.contains(entry)).collect();
        assert!(matches!(&changed[..], [(path, _)] if path.ends_with("card.toml")), "{changed:?}");
    }
    meet(&card("anna", "laptop", OTHER), &["--replace-host-key"]).ok();
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("laptop {OTHER}\n"));
    let ran = meet(&card("anna", "laptop", OTHER).replace("workspaces", "port = 2222\nworkspaces"), &[]).ok();
    assert!(ran.out.starts_with("met again anna@laptop:2222; data (pod pc)\n"), "{ran:?}");
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("[laptop]:2222 {OTHER}\n"));
}

#[test]
fn a_card_that_is_not_for_this_pod_is_refused() {
    let pod = pod();
    let before = pod.everything();
    for (from, to, code, says) in [
        ("\"lab\"", "\"other\"", 4, "the card is for federation other, which was not made here"),
        ("\"pc\"", "\"known_hosts\"", 4, "the card is for pod known_hosts of federation lab, which has pc"),
        ("\"anna\"", "\"-oProxyCommand=sh\"", 1, "card.toml:3:8: user \"-oProxyCommand=sh\" must be"),
        ("\"anna\"", "\"a/../../x\"", 1, "card.toml:3:8: user"),
        ("\"laptop\"", "\"-l\"", 1, "card.toml:4:8: host \"-l\" must be"),
        ("\"laptop\"", "\"x\\nevil ssh-ed25519 AAAA\"", 1, "card.toml:4:8: host \"x\\\\nevil"),
        ("\"laptop\"", "\"*\"", 1, "card.toml:4:8: host"),
        ("[\"data\"]", "[\"data\", \"\\u001b[31m\"]", 1, "card.toml:5:23: workspace name \"\\\\u{1b}[31m\""),
        ("host-keys", "host_keys", 1, "card.toml:6:1: unknown field `host_keys`"),
        (" AAAA", " BBBB", 1, "card.toml:6:14: not a host key"),
    ] {
        let text = card("anna", "laptop", FOREIGN);
        assert!(text.contains(from), "{from}");
        pod.write("card.toml", &text.replacen(from, to, 1));
        let ran = pod.akeys(&["federation", "meet", "card.toml"]).fails(code, says);
        assert!(!ran.err.contains('\x1b'), "{ran:?}");
    }
    fs::remove_file(pod.path().join("card.toml")).unwrap();
    assert_eq!(pod.everything(), before);
}

#[test]
fn a_card_that_others_can_write_is_not_believed() {
    let pod = pod();
    pod.write("card.toml", &card("anna", "laptop", FOREIGN));
    pod.akeys(&["federation", "meet", "card.toml"]).ok();
    let kept = pod.path().join(".config/akeys/cards/lab/anna@laptop.toml");
    fs::set_permissions(&kept, Permissions::from_mode(0o666)).unwrap();
    let ran = pod.akeys(&["federation", "list"]).ok();
    assert!(ran.err.contains("anna@laptop.toml can be written by group or others"), "{ran:?}");
    assert!(!ran.out.contains("knows"), "{ran:?}");
    // Met again, it is written anew.
    pod.akeys(&["federation", "meet", "card.toml"]).ok();
    assert!(pod.akeys(&["federation", "list"]).ok().out.contains("knows anna@laptop"));
}

#[test]
fn a_pod_cannot_be_named_as_the_file_of_pinned_keys_is() {
    let pod = Home::new();
    pod.akeys(&["federation", "new", "lab", "--pod", "known_hosts"]).fails(2, "no name for a pod");
    assert_eq!(pod.names("."), [""; 0]);
}

/// `ssh` as the pod would call it: with the federation's key and the pinned host keys, and nothing else.
fn log_in(sandbox: &Sandbox, port: u16) -> Outcome {
    let keys = sandbox.client_home().join(".ssh/akeys");
    let mut command = Command::new(find_program("ssh"));
    command.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", keys.join("playground.known_hosts").display()));
    command.args(["-o", "GlobalKnownHostsFile=none", "-o", "IdentityAgent=none"]);
    command.arg("-i").arg(keys.join("playground.chef1")).args(["-p", &port.to_string()]);
    run(command.args(["-l", &Account::current().name, "127.0.0.1", "true"]), &Run::default())
}

#[test]
fn ssh_connects_to_a_host_that_was_met_and_to_no_other() {
    let sandbox = Sandbox::new();
    let pod = sandbox.client_home();
    sandbox.akeys_in(&pod, &["federation", "new", "playground", "--pod", "chef1"]).succeeds();
    let bundle = sandbox.akeys_in(&pod, &["federation", "export", "playground"]).succeeds().stdout;
    sandbox.write("bundle.toml", bundle);
    sandbox.write("papers/draft", "draft\n");
    let known = fs::read_to_string(sandbox.path("etc/known_hosts")).unwrap();
    sandbox.write("host.pub", known.strip_prefix("sandbox ").unwrap());
    sandbox.write("other.pub", OTHER);
    let listener = sandbox.listen();
    let address = format!("127.0.0.1:{}", listener.port());
    let words = ["--workspace", "papers", "--address", &address, "--host-key"];
    let install = [&["install", "--bundle", "bundle.toml"], &words[..]].concat();
    sandbox.akeys(&[&install[..], &["other.pub"]].concat()).succeeds();
    let meet = |args: &[&str]| {
        let issued = sandbox.home().join(".config/akeys/issued/playground.chef1.toml");
        fs::copy(issued, pod.join("card.toml")).unwrap();
        sandbox.akeys_in(&pod, &[&["federation", "meet", "card.toml"], args].concat())
    };
    log_in(&sandbox, listener.port()).fails_with(255).says("Host key verification failed");
    meet(&[]).succeeds();
    log_in(&sandbox, listener.port()).fails_with(255).says("Host key verification failed");
    sandbox.akeys(&[&install[..], &["host.pub"]].concat()).succeeds();
    meet(&[]).fails_with(3).says("another host key");
    meet(&["--replace-host-key"]).succeeds();
    log_in(&sandbox, listener.port()).succeeds();
}
