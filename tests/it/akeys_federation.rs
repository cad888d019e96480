//! `akeys federation`: from the pod's side to the user's, and what a bundle may not smuggle.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use crate::akeys_home::{Home, Ran};

fn mode(home: &Home, name: &str) -> u32 {
    home.path().join(name).metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_pod_makes_keys_and_hands_out_a_bundle() {
    let home = Home::new();
    let ran =
        home.akeys(&["federation", "new", "playground", "--pod", "chef1", "--tools", "rsync,watch"]).ok();
    assert!(ran.out.contains("playground.chef1 wants rsync, watch; read"), "{ran:?}");
    assert_eq!(mode(&home, ".ssh"), 0o700);
    assert_eq!(mode(&home, ".ssh/akeys"), 0o700);
    assert_eq!(mode(&home, ".ssh/akeys/playground.chef1"), 0o600);
    assert_eq!(mode(&home, ".ssh/akeys/playground.chef1.pub"), 0o644);
    assert_eq!(mode(&home, ".config/akeys/federations"), 0o700);
    assert_eq!(mode(&home, ".config/akeys/federations/playground.toml"), 0o600);
    let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
    let public = home.read(".ssh/akeys/playground.chef1.pub");
    let key = public.rsplit_once(' ').unwrap().0;
    assert!(bundle.contains(&format!("key = \"{key}\"")), "{bundle}");
    assert!(!bundle.contains("PRIVATE"));
    assert!(home.akeys(&["federation", "list"]).ok().out.starts_with("playground (own)\n"));
}

#[test]
fn a_key_is_never_overwritten() {
    let home = Home::new();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    let before = home.everything();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1"]).fails(3, "exists already");
    std::fs::remove_file(home.path().join(".config/akeys/federations/playground.toml")).unwrap();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1"])
        .fails(3, "hint: a key is never overwritten");
    home.akeys(&["federation", "import", "nosuch.toml"]).fails(4, "nosuch.toml: No such file");
    let key = |all: &[(std::path::PathBuf, Vec<u8>)]| {
        all.iter().find(|(path, _)| path.ends_with("playground.chef1")).unwrap().1.clone()
    };
    assert_eq!(key(&before), key(&home.everything()));
}

#[test]
fn a_key_that_would_be_over_is_not_made() {
    let home = Home::new();
    home.akeys(&["federation", "new", "playground", "--expires", "2020-01-01"])
        .fails(1, "the key would have ended on 2020-01-01");
    home.akeys(&["federation", "new", "playground", "--workspace", "~/papers=rw"])
        .fails(2, "hint: DIR:NAME=ACCESS, as in --workspace ~/papers:papers=rw\n");
    assert_eq!(home.names("."), [""; 0]);
}

#[test]
fn each_tool_set_has_a_key_of_its_own() {
    let home = Home::new();
    home.akeys(&["federation", "new", "lab", "--pod", "pc", "--tools", "rsync", "--tools", "scp,sftp"]).ok();
    assert_eq!(
        home.names(".ssh/akeys"),
        ["lab.pc.rsync", "lab.pc.rsync.pub", "lab.pc.scp-sftp", "lab.pc.scp-sftp.pub", "signers"]
    );
    home.make("data");
    let ran = home.install(&["--federation", "lab", "--workspace", &home.at("data")]).ok();
    assert!(ran.out.contains("lab.pc.rsync may: rsync; read data\n"), "{ran:?}");
    assert!(ran.out.contains("lab.pc.scp-sftp may: scp, sftp; read data\n"), "{ran:?}");
    assert_eq!(home.keys().lines().count(), 2);
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.rsync.toml", "lab.pc.scp-sftp.toml"]);
}

#[test]
fn the_pod_is_named_after_the_host() {
    let home = Home::new();
    let out = home.akeys(&["federation", "new", "playground"]).ok().out;
    let grant = out.split(' ').next().unwrap();
    assert!(home.names(".ssh/akeys").contains(&grant.to_owned()), "{out}");
}

#[test]
fn an_unsigned_bundle_is_imported_once_and_another_pod_joins_it() {
    let unsigned = |pod: &str| {
        let home = Home::new();
        home.akeys(&["federation", "new", "playground", "--pod", pod]).ok();
        home.akeys(&["federation", "export", "playground", "--unsigned"]).ok().out
    };
    let home = Home::new();
    home.write("playground.toml", &unsigned("chef1"));
    home.akeys(&["federation", "import", "playground.toml"]).ok();
    home.write("chef2.toml", &unsigned("chef2"));
    let import = |file: &str| home.akeys(&["federation", "import", &home.at(file)]);
    assert!(import("playground.toml").ok().out.contains("nothing changed"));
    assert!(import("chef2.toml").ok().out.contains("pod chef2 wants"));
    home.make("papers");
    let install = |pod: &[&str]| {
        home.install(&[&["--federation", "playground", "--workspace", &home.at("papers")], pod].concat())
    };
    install(&[]).fails(2, "several pods: chef1, chef2");
    install(&["--pod", "chef3"]).fails(4, "has no pod chef3");
    install(&["--pod", "chef2"]).ok();
    // Another key under a name that is known is what an attacker would send.
    home.write("forged.toml", &unsigned("chef1"));
    let before = home.everything();
    let ran = import("forged.toml").fails(3, "pod chef1 differs");
    assert_eq!(ran.err.matches("SHA256:").count(), 2, "{ran:?}");
    assert_eq!(home.everything(), before);
}

#[test]
fn a_bundle_comes_through_a_pipe() {
    let home = Home::new();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
    let mut command = home.command(&["federation", "import", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bundle.as_bytes()).unwrap();
    Ran::from(&child.wait_with_output().unwrap()).ok();
    assert_eq!(home.names(".config/akeys/bundles"), ["playground.toml"]);
}

#[test]
fn whatever_is_wrong_in_a_bundle_is_named_with_its_place() {
    let home = Home::new();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1", "--from", "10.1.0.0/16"]).ok();
    let bundle = home.akeys(&["federation", "export", "playground", "--unsigned"]).ok().out;
    let before = home.names(".config/akeys");
    for (from, to, says) in [
        ("pod = ", "podd = ", ":6:1: unknown field `podd`"),
        ("\"chef1\"", "\"chef1\\\",command=\\\"sh\"", ":6:7: name"),
        ("key = \"", "key = \"restrict,command=\\\"sh\\\" ", ":7:7: not a public key"),
        ("\"10.1.0.0/16\"", "\"10.1.0.0/16\\nssh-rsa\"", ":10:8: pattern"),
        ("[\"rsync\"]", "[\"rsync\", \"\\u001b[31m\"]", ":8:19: unknown variant `\\x1b[31m`"),
        ("serial = 1", "serial = -1", ":3:10: invalid value"),
        ("serial = 1", "serial = 99999999999999999999", ":3:10: "),
        ("serial = 1", "hubs = [\"-oProxyCommand=sh\"]", ":3:9: host"),
        ("serial = 1", "hubs = [\"u@h\", \"a\\nb@h\"]", ":3:16: user"),
        ("serial = 1", "host-keys = [\"* ssh-ed25519 AAAA\"]", ":3:14: not a host key"),
        ("federation = ", "federation ", ":2:12: "),
    ] {
        assert!(bundle.contains(from), "{from} in {bundle}");
        home.write("bad.toml", &bundle.replacen(from, to, 1));
        let ran = home.akeys(&["federation", "import", &home.at("bad.toml")]).fails(1, says);
        assert!(ran.err.starts_with("akeys: ~/bad.toml:"), "{ran:?}");
        assert!(!ran.err.contains('\x1b'), "{ran:?}");
        home.install(&["--bundle", &home.at("bad.toml"), "--workspace", "/"]).fails(1, says);
    }
    assert_eq!(home.names(".config/akeys"), before);
    assert_eq!(home.keys(), "");
}

#[test]
fn a_federation_is_forgotten_with_its_keys_and_a_bundle_without() {
    let home = Home::new();
    home.federation("playground", "chef1");
    home.akeys(&["federation", "remove", "playground"]).fails(2, "both your own and imported");
    let ran = home.akeys(&["federation", "remove", "playground", "--imported"]).ok();
    assert_eq!(ran.err, "", "nothing is installed");
    assert_eq!(home.names(".config/akeys/bundles"), [""; 0]);
    home.make("papers");
    home.install_papers().ok();
    assert_eq!(home.names(".ssh/akeys"), ["playground.chef1", "playground.chef1.pub", "signers"]);
    let ran = home.akeys(&["federation", "remove", "playground"]).ok();
    assert!(ran.err.contains("still work: akeys remove --federation playground\n"), "{ran:?}");
    assert_eq!(home.names(".ssh/akeys"), [""; 0]);
    home.akeys(&["federation", "remove", "playground"]).fails(4, "no such federation");
    home.akeys(&["federation", "export", "playground"]).fails(4, "no federation playground");
}

#[test]
fn a_home_without_federations_says_how_to_get_one() {
    let ran = Home::new().akeys(&["federation", "list"]).ok();
    assert_eq!(ran.out, "");
    assert_eq!(
        ran.err,
        "akeys: no federation is here: akeys federation new NAME, or akeys federation import BUNDLE\n"
    );
    assert_eq!(Home::new().akeys(&["federation", "list", "--json"]).ok().out, "[]\n");
}

#[test]
fn suggested_workspaces_are_shown_with_what_they_would_make_writable() {
    let home = Home::new();
    let new = ["federation", "new", "playground", "--pod", "chef1", "--workspace", "~/papers"];
    home.akeys(&[&new[..], &["--writable", "papers/build", "--writable", "papers/out"]].concat()).ok();
    let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
    home.write("playground.toml", &bundle);
    let says = "  suggests workspace papers at ~/papers (ro), writable papers/build, papers/out\n";
    for command in [&["federation", "import", "playground.toml"][..], &["federation", "list"]] {
        let out = home.akeys(command).ok().out;
        assert!(out.contains(says), "{out}");
    }
    let listed = home.akeys(&["federation", "list", "--json"]).ok().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["workspaces"][0]["writable"], serde_json::json!(["build", "out"]));
}

#[test]
fn a_bundle_with_thousands_of_entries_is_read_and_a_longer_one_refused() {
    let home = Home::new();
    home.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    let bundle = home.akeys(&["federation", "export", "playground", "--unsigned"]).ok().out;
    let many = (0..20_000).map(|number| format!("[workspace.w{number}]\naccess = \"ro\"\n"));
    let bundle = bundle + &many.collect::<Vec<_>>().concat();
    home.write("many.toml", &bundle);
    let ran = home.akeys(&["federation", "import", "many.toml"]).ok();
    assert_eq!(ran.out.matches("suggests workspace").count(), 20_000);
    home.write("long.toml", &format!("{bundle}{}", "#\n".repeat(1 << 19)));
    home.akeys(&["federation", "import", "long.toml"]).fails(1, "long.toml:1:1: larger than 1 MiB");
}
