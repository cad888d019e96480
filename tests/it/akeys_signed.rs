//! Signed bundles: who is believed, what may follow what, and that ssh-keygen agrees.

use std::fs;
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home, Ran};
use crate::support::find_program;

/// Another ed25519 key than [`FOREIGN`].
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChGEs0Qj7ZqdmgR6R4JgoIf7JYk6rQ6rZ5vL5X6n";

/// A pod's home with the federation `lab` of pod `pc`.
fn maker() -> Home {
    let home = Home::new();
    home.akeys(&["federation", "new", "lab", "--pod", "pc"]).ok();
    home
}

fn export(home: &Home) -> String {
    home.akeys(&["federation", "export", "lab"]).ok().out
}

fn import(home: &Home, text: &str, args: &[&str]) -> Ran {
    home.write("bundle.toml", text);
    home.akeys(&[&["federation", "import", "bundle.toml"], args].concat())
}

/// The fingerprint of the key that signs for `lab`, as ssh-keygen prints it.
fn signer(home: &Home) -> String {
    let path = home.at(".ssh/akeys/signers/lab.pub");
    let output = Command::new(find_program("ssh-keygen")).args(["-lf", &path]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn ssh_keygen_checks_what_was_exported() {
    let home = maker();
    let text = export(&home);
    let (bundle, block) = text.split_at(text.find("# -----BEGIN SSH SIGNATURE-----\n").unwrap());
    home.write("bundle", bundle);
    home.write("bundle.sig", &block.replace("# ", ""));
    let check = |namespace: &str, bundle: &str| {
        let mut command = Command::new(find_program("ssh-keygen"));
        command.args(["-Y", "check-novalidate", "-n", namespace, "-s", &home.at("bundle.sig")]);
        command.stdin(fs::File::open(home.path().join(bundle)).unwrap());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, says) = check("akeys-bundle", "bundle");
    assert!(good && says.contains(&signer(&home)), "{says}");
    assert!(!check("file", "bundle").0);
    home.write("other", &bundle.replace("read", "write").replace("pc", "pd"));
    assert!(!check("akeys-bundle", "other").0);
    // The same signature every time: nothing else than the federation decides what is exported.
    assert_eq!(export(&home), text);
}

#[test]
fn what_ssh_keygen_signs_is_imported() {
    let home = maker();
    let text = home.akeys(&["federation", "export", "lab", "--unsigned"]).ok().out;
    assert!(!text.contains("SIGNATURE"));
    home.write("plain.toml", &text);
    let key = home.at(".ssh/akeys/signers/lab");
    let sign = |namespace: &str| {
        let _ = fs::remove_file(home.path().join("plain.toml.sig"));
        let mut command = Command::new(find_program("ssh-keygen"));
        let plain = home.at("plain.toml");
        let output =
            command.args(["-q", "-Y", "sign", "-n", namespace, "-f", &key, &plain]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let block: Vec<String> =
            home.read("plain.toml.sig").lines().map(|line| format!("# {line}\n")).collect();
        format!("{text}{}", block.concat())
    };
    let user = Home::new();
    import(&user, &sign("email"), &[]).fails(1, "was made for something else than a bundle");
    let ran = import(&user, &sign("akeys-bundle"), &["--signer", &signer(&home)]).ok();
    assert!(ran.out.contains(&format!("  signed by {}, serial 1\n", signer(&home))), "{ran:?}");
    // A passphrase is nobody's business but its owner's.
    let mut command = Command::new(find_program("ssh-keygen"));
    assert!(
        command.args(["-q", "-p", "-P", "", "-N", "secret", "-f", &key]).output().unwrap().status.success()
    );
    home.akeys(&["federation", "export", "lab"])
        .fails(1, "signers/lab has a passphrase\nhint: akeys federation export lab --unsigned");
}

#[test]
fn the_first_signer_is_believed_and_nobody_else() {
    let (home, mallory, user) = (maker(), maker(), Home::new());
    let first = export(&home);
    let ran = import(&user, &first, &["--signer", &signer(&mallory)]);
    let ran = ran.fails(3, "is not signed by the key that was demanded");
    assert!(ran.err.contains(&signer(&home)) && ran.err.contains(&signer(&mallory)), "{ran:?}");
    let ran = import(&user, &first, &[]).ok();
    assert!(ran.err.contains("compare the signer's fingerprint"), "{ran:?}");
    let kept = user.everything();
    let refused = |text: &str, says: &str| {
        let ran = import(&user, text, &[]).fails(3, says);
        user.make("data");
        let install = ["--bundle", "bundle.toml", "--workspace", "data"];
        user.install(&install).fails(3, says);
        let changed: Vec<_> = user.everything().into_iter().filter(|entry| !kept.contains(entry)).collect();
        assert!(
            changed.iter().all(|(path, _)| path.ends_with("bundle.toml") || path.ends_with("data")),
            "{changed:?}"
        );
        ran
    };
    let ran = refused(&export(&mallory), "is not signed by the same key\n  here:   SHA256:");
    assert!(ran.err.contains(&signer(&home)) && ran.err.contains(&signer(&mallory)), "{ran:?}");
    refused(&mallory.akeys(&["federation", "export", "lab", "--unsigned"]).ok().out, "  bundle: nobody\n");
    refused(&home.akeys(&["federation", "export", "lab", "--unsigned"]).ok().out, "  bundle: nobody\n");

    // A newer one takes the place of the older one, and never the other way round.
    home.akeys(&["federation", "add", "lab", "--pod", "mac", "--tools", "scp", "--tools", "rsync"]).ok();
    let second = export(&home);
    let ran = import(&user, &second, &["--signer", &signer(&home)]).ok();
    assert!(ran.out.contains("serial 2\n") && ran.out.contains("pod mac wants scp; read\n"), "{ran:?}");
    assert_eq!(ran.err, "", "whoever was believed before is believed now");
    let kept = user.everything();
    assert!(import(&user, &second, &[]).ok().out.contains("nothing changed"));
    assert_eq!(user.everything(), kept);
    let ran = import(&user, &first, &[]).fails(3, "the bundle is of serial 1, and serial 2 is here");
    assert!(ran.err.contains("hint: nothing was changed; ask the sender for the newest bundle"), "{ran:?}");
    assert_eq!(user.read(".config/akeys/bundles/lab.toml"), second);
    let listed = user.akeys(&["federation", "list", "--json"]).ok().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["serial"], &listed[0]["signer"]), (&2.into(), &signer(&home).into()));
}

#[test]
fn a_kept_bundle_that_was_changed_is_not_used() {
    let (home, user) = (maker(), Home::new());
    import(&user, &export(&home), &[]).ok();
    let kept = ".config/akeys/bundles/lab.toml";
    user.write(kept, &user.read(kept).replace("\"rsync\"", "\"sftp\""));
    user.make("data");
    let says = "~/.config/akeys/bundles/lab.toml:10:1: the signature does not fit";
    user.install(&["--federation", "lab", "--workspace", "data"]).fails(1, says);
    import(&user, &export(&home), &[]).fails(1, says);
    assert!(
        user.akeys(&["federation", "list"]).ok().err.contains("lab.toml:10:1: the signature does not fit")
    );
    user.akeys(&["federation", "remove", "lab"]).ok();
    import(&user, &export(&home), &[]).ok();
}

#[test]
fn the_pods_of_another_machine_are_admitted() {
    let (home, other, user) = (maker(), Home::new(), Home::new());
    other.akeys(&["federation", "new", "lab", "--pod", "mac", "--tools", "sftp"]).ok();
    home.write("mac.toml", &export(&other));
    let ran = home.akeys(&["federation", "admit", "mac.toml"]).ok();
    assert!(ran.out.starts_with("pod mac wants sftp; read\n  key SHA256:"), "{ran:?}");
    assert!(ran.err.contains("compare the fingerprints with the pod's owner"), "{ran:?}");
    assert!(
        home.akeys(&["federation", "admit", "mac.toml"]).ok().out.contains("is in federation lab already")
    );
    let ran = import(&user, &export(&home), &[]).ok();
    assert!(ran.out.contains("pod pc wants") && ran.out.contains("pod mac wants"), "{ran:?}");
    // The same pod with another key is somebody else until its owner says so.
    let again = Home::new();
    again.akeys(&["federation", "new", "lab", "--pod", "mac", "--tools", "sftp"]).ok();
    home.write("mac.toml", &export(&again));
    let before = home.everything();
    let ran = home.akeys(&["federation", "admit", "mac.toml"]).fails(3, "pod mac comes with another key");
    assert_eq!(ran.err.matches("SHA256:").count(), 2, "{ran:?}");
    assert_eq!(home.everything(), before);
    home.akeys(&["federation", "admit", "mac.toml", "--replace"]).ok();
    let ran = import(&user, &export(&home), &[]).ok();
    assert!(ran.out.contains("    in place of SHA256:"), "{ran:?}");
    home.akeys(&["federation", "add", "lab", "--pod", "mac"]).fails(3, "has a pod mac already");
    home.write("elsewhere.toml", &export(&other).replace("\"lab\"", "\"other\""));
    home.akeys(&["federation", "admit", "elsewhere.toml"]).fails(1, "the signature does not fit");
    home.akeys(&["federation", "admit", "nosuch.toml"]).fails(4, "No such file");
}

#[test]
fn hubs_are_named_and_their_keys_pinned_on_both_sides() {
    let (home, user) = (Home::new(), Home::new());
    let new = ["federation", "new", "lab", "--pod", "pc", "--nats", "nats://hub.example:4222"];
    let hub = ["--hub", "files@Hub.example:2222", "--host-key", &format!("[hub.example]:2222 {FOREIGN}")];
    home.akeys(&[&new[..], &hub].concat()).ok();
    let pins = ".ssh/akeys/lab.known_hosts";
    let pinned = format!("[hub.example]:2222 {FOREIGN}\n");
    let ran = import(&user, &export(&home), &[]).ok();
    for says in [
        "  hub files@hub.example:2222\n",
        "  events by nats://hub.example:4222\n",
        "  host hub.example:2222 has SHA256:",
    ] {
        assert!(ran.out.contains(says), "{ran:?}");
    }
    assert_eq!((home.read(pins), user.read(pins)), (pinned.clone(), pinned));
    // Another hub, and a new key for the first: whoever was believed about the one is believed about the other.
    let set = ["federation", "set", "lab", "--nats", "none", "--add-hub", "hub2.example"];
    let keys =
        ["--remove-host-key", "hub.example:2222", "--add-host-key", &format!("[hub.example]:2222 {OTHER}")];
    let more = ["--add-host-key", &format!("hub2.example {FOREIGN}")];
    home.akeys(&[&set[..], &keys, &more].concat()).ok();
    let ran = home.akeys(&["federation", "set", "lab", "--add-hub", "hub2.example"]).ok();
    assert_eq!(ran.out, "federation lab says that already; nothing changed\n");
    let pinned = format!("[hub.example]:2222 {OTHER}\nhub2.example {FOREIGN}\n");
    assert_eq!(home.read(pins), pinned);
    let ran = import(&user, &export(&home), &[]).ok();
    assert!(ran.out.contains("  hub hub2.example\n") && !ran.out.contains("nats"), "{ran:?}");
    assert_eq!(user.read(pins), pinned);
    home.akeys(&[
        "federation",
        "set",
        "lab",
        "--remove-hub",
        "hub2.example",
        "--remove-host-key",
        "hub2.example",
    ])
    .ok();
    import(&user, &export(&home), &[]).ok();
    assert_eq!(user.read(pins), format!("[hub.example]:2222 {OTHER}\n"));
    for (args, code, says) in [
        (["--remove-hub", "hub2.example"], 4, "federation lab has no hub hub2.example"),
        (["--remove-host-key", "hub2.example"], 4, "federation lab has no host key of hub2.example"),
        (["--add-hub=-l", "--nats=none"], 2, "host \"-l\" must be"),
    ] {
        home.akeys(&[&["federation", "set", "lab"], &args[..]].concat()).fails(code, says);
    }
    user.akeys(&["federation", "remove", "lab"]).ok();
    assert!(!user.path().join(pins).exists());
}

#[test]
fn a_hub_that_was_pinned_otherwise_is_a_conflict() {
    let (home, user) = (Home::new(), Home::new());
    user.write(".ssh/akeys/lab.known_hosts", &format!("hub.example {FOREIGN}\n"));
    fs::set_permissions(user.path().join(".ssh/akeys"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    home.akeys(&["federation", "new", "lab", "--host-key", &format!("hub.example {OTHER}")]).ok();
    let ran = import(&user, &export(&home), &[])
        .fails(3, "hub.example has another host key than the one that is pinned");
    assert_eq!(ran.err.matches("SHA256:").count(), 2, "{ran:?}");
    assert_eq!(user.names(".config/akeys/bundles"), [""; 0]);
}

#[test]
fn a_bundle_does_not_change_the_keys_of_a_host_that_a_card_speaks_of() {
    let (home, pod) = (Home::new(), Home::new());
    home.akeys(&["federation", "new", "lab", "--pod", "pc", "--host-key", &format!("laptop {FOREIGN}")]).ok();
    pod.akeys(&["federation", "new", "lab", "--pod", "mac"]).ok();
    import(&pod, &export(&home), &[]).ok();
    let card = format!(
        "federation = \"lab\"\npod = \"mac\"\nuser = \"anna\"\nhost = \"laptop\"\nworkspaces = [\"w\"]\nhost-keys = [\"{FOREIGN}\"]\n"
    );
    pod.write("card.toml", &card);
    pod.akeys(&["federation", "meet", "card.toml"]).ok();
    let set = ["federation", "set", "lab", "--remove-host-key", "laptop", "--add-host-key"];
    home.akeys(&[&set[..], &[&format!("laptop {OTHER}")]].concat()).ok();
    import(&pod, &export(&home), &[]).fails(3, "laptop has another host key than the one that is pinned");
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("laptop {FOREIGN}\n"));
    // A bundle that speaks of the host no more leaves it to the card.
    home.akeys(&["federation", "set", "lab", "--remove-host-key", "laptop"]).ok();
    import(&pod, &export(&home), &[]).ok();
    assert_eq!(pod.read(".ssh/akeys/lab.known_hosts"), format!("laptop {FOREIGN}\n"));
}
