//! Keys that change and keys that go: two pods, two tool sets, through a real sshd; and what `update` may touch.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home, Ran};
use crate::support::{Outcome, Run, Sandbox, our_program, run};

/// Two machines, each with the keys of one pod for rsync and for scp. One speaks for both, and a user has let both in.
struct Lab<'s> {
    sandbox: &'s Sandbox,
}

impl<'s> Lab<'s> {
    fn new(sandbox: &'s Sandbox, port: u16) -> Self {
        let lab = Self { sandbox };
        sandbox.write("data/x", "x\n");
        let known = fs::read_to_string(sandbox.path("etc/known_hosts")).unwrap();
        sandbox.write("host.pub", known.strip_prefix("sandbox ").unwrap());
        sandbox.authorize("", &sandbox.new_key("own"));
        fs::create_dir(lab.home("mac")).unwrap();
        for pod in ["pc", "mac"] {
            let sets = ["--tools", "rsync", "--tools", "scp,sftp"];
            lab.pod(pod, &[&["federation", "new", "lab", "--pod", pod], &sets[..]].concat()).succeeds();
        }
        let mac = lab.pod("mac", &["federation", "export", "lab"]).succeeds().stdout;
        fs::write(lab.home("pc").join("mac.toml"), mac).unwrap();
        lab.pod("pc", &["federation", "admit", "mac.toml"]).succeeds();
        lab.publish();
        for pod in ["pc", "mac"] {
            lab.install(pod, port).succeeds();
            let card = sandbox.home().join(format!(".config/akeys/issued/lab.{pod}.toml"));
            fs::copy(card, lab.home(pod).join("card.toml")).unwrap();
            lab.pod(pod, &["federation", "meet", "card.toml"]).succeeds();
        }
        lab
    }

    fn home(&self, pod: &str) -> PathBuf {
        if pod == "pc" { self.sandbox.client_home() } else { self.sandbox.path(pod) }
    }

    fn pod(&self, pod: &str, args: &[&str]) -> Outcome {
        self.sandbox.akeys_in(&self.home(pod), args)
    }

    fn afiles(&self, pod: &str, args: &[&str]) -> Outcome {
        let mut command = Command::new(our_program("afiles"));
        command.args(args).current_dir(self.home(pod)).env_clear().env("HOME", self.home(pod));
        run(command.env("PATH", "/usr/bin:/bin"), &Run::default())
    }

    fn install(&self, pod: &str, port: u16) -> Outcome {
        let address = format!("127.0.0.1:{port}");
        let install = ["install", "--federation", "lab", "--pod", pod, "--workspace", "data"];
        self.sandbox.akeys(&[&install[..], &["--address", &address, "--host-key", "host.pub"]].concat())
    }

    /// The newest bundle reaches the user.
    fn publish(&self) -> Outcome {
        let bundle = self.pod("pc", &["federation", "export", "lab"]).succeeds().stdout;
        self.sandbox.write("lab.toml", bundle);
        self.sandbox.akeys(&["federation", "import", "lab.toml"]).succeeds()
    }

    /// What ssh makes of one of a pod's private keys.
    fn lets_in(&self, pod: &str, key: &str) -> bool {
        let key = Sandbox::key_at(self.home(pod).join(".ssh/akeys").join(key));
        let outcome = self.sandbox.client(&key).ssh(&["true"]);
        match outcome.status.code() {
            Some(0) => true,
            Some(255) if outcome.stderr_text().contains("Permission denied") => false,
            _ => panic!("{outcome}"),
        }
    }

    fn keys(&self) -> String {
        fs::read_to_string(self.sandbox.authorized_keys()).unwrap()
    }
}

#[test]
fn each_pod_and_each_tool_set_has_a_key_that_is_for_nothing_else() {
    let sandbox = Sandbox::new();
    let lab = Lab::new(&sandbox, 22);
    assert_eq!(lab.keys().lines().count(), 5);
    for pod in ["pc", "mac"] {
        let key = |set: &str| Sandbox::key_at(lab.home(pod).join(format!(".ssh/akeys/lab.{pod}.{set}")));
        let copied = |name: &str| fs::read(sandbox.client_home().join(name)).ok();
        let client = sandbox.client(&key("rsync")).hold();
        client.rsync(&["-a", "host:data/x", &format!("{pod}-rsync")]).succeeds();
        assert!(!client.sftp(&format!("get data/x {pod}-stolen\n")).status.success());
        let client = sandbox.client(&key("scp-sftp")).hold();
        client.scp(&["host:data/x", &format!("{pod}-scp")]).succeeds();
        assert!(!client.rsync(&["-a", "host:data/x", &format!("{pod}-stolen")]).status.success());
        assert_eq!(copied(&format!("{pod}-rsync")).unwrap(), copied(&format!("{pod}-scp")).unwrap());
        assert_eq!(copied(&format!("{pod}-stolen")), None);
    }
    let told: Vec<_> =
        sandbox.audit().iter().map(|record| record["grant"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told.iter().filter(|grant| *grant == "lab.mac.rsync").count(), 2, "{told:?}");
}

#[test]
fn a_pod_gets_new_keys_and_is_locked_out_at_no_moment() {
    let sandbox = Sandbox::new();
    let listener = sandbox.listen();
    let lab = Lab::new(&sandbox, listener.port());
    let before = lab.keys();
    let rotate = |args: &[&str]| lab.pod("pc", &[&["federation", "rotate", "lab"], args].concat());
    rotate(&["--finish"]).fails_with(4).says("no key of federation lab is being changed");
    // The keys of mac are elsewhere, so they stay.
    rotate(&[]).succeeds();
    assert!(rotate(&[]).succeeds().stdout_text().contains("has its new key already"));
    let dir = lab.home("pc").join(".ssh/akeys");
    for key in ["lab.pc.rsync", "next/lab.pc.rsync", "lab.pc.scp-sftp", "next/lab.pc.scp-sftp"] {
        assert!(dir.join(key).exists(), "{key}");
    }
    let imported = lab.publish();
    imported.says("to do it: akeys federation update lab\n");
    assert_eq!(lab.keys(), before, "an import changes nothing");
    let check = rotate(&["--check"]).fails_with(5).stdout_text();
    assert_eq!(check.matches(": takes only the old key of lab.pc.").count(), 2, "{check}");
    rotate(&["--finish"]).fails_with(1).says("an account would lose the pod");
    assert!(lab.lets_in("pc", "lab.pc.rsync") && !lab.lets_in("pc", "next/lab.pc.rsync"));

    sandbox.akeys(&["federation", "update", "lab"]).succeeds();
    let after = lab.keys();
    let differs: Vec<_> = before.lines().zip(after.lines()).filter(|(old, new)| old != new).collect();
    assert_eq!((differs.len(), before.lines().count()), (2, after.lines().count()));
    for (old, new) in differs {
        let split = |line: &str| line.split(" ssh-ed25519 ").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(split(old)[0], split(new)[0], "the options stay");
        assert!(new.ends_with(old.rsplit(' ').next().unwrap()), "the comment stays");
    }
    assert!(!lab.lets_in("pc", "lab.pc.rsync") && lab.lets_in("pc", "next/lab.pc.rsync"));
    // What connects by itself knows of both keys.
    let listed = lab.afiles("pc", &["ls", "data:"]).succeeds();
    assert!(listed.stdout_text().contains('x'), "{listed}");
    let check = rotate(&["--check"]).succeeds().stdout_text();
    assert_eq!(check.matches(": takes the new key of lab.pc.").count(), 2, "{check}");
    rotate(&["--finish"]).succeeds();
    assert!(lab.lets_in("pc", "lab.pc.rsync") && lab.lets_in("pc", "lab.pc.scp-sftp"));
    assert!(lab.lets_in("mac", "lab.mac.rsync"));
    assert_eq!(fs::read_dir(dir.join("next")).unwrap().count(), 0);
    let public = fs::read_to_string(dir.join("lab.pc.rsync.pub")).unwrap();
    assert_eq!(public.trim_end(), Sandbox::key_at(dir.join("lab.pc.rsync")).public);
    lab.publish();
    sandbox.akeys(&["federation", "update", "lab"]).succeeds();
    assert_eq!(lab.keys(), after);
    // Whoever installs now installs the new keys.
    assert!(
        lab.install("pc", listener.port())
            .succeeds()
            .stdout_text()
            .contains("installed already; nothing changed")
    );
}

#[test]
fn a_login_with_another_key_proves_nothing() {
    let sandbox = Sandbox::new();
    let listener = sandbox.listen();
    let lab = Lab::new(&sandbox, listener.port());
    let rotate = |args: &[&str]| lab.pod("pc", &[&["federation", "rotate", "lab"], args].concat());
    rotate(&[]).succeeds();
    let config = format!("IdentityFile {}\n", sandbox.path("etc/key_own").display());
    fs::write(lab.home("pc").join(".ssh/akeys/lab.ssh_config"), config).unwrap();
    let check = rotate(&["--check"]).fails_with(5).stdout_text();
    assert_eq!(check.matches(": takes only the old key of lab.pc.").count(), 2, "{check}");
    lab.publish();
    sandbox.akeys(&["federation", "update", "lab"]).succeeds();
    rotate(&["--finish"]).succeeds();
}

#[test]
fn an_account_that_cannot_be_asked_is_not_left_behind() {
    let sandbox = Sandbox::new();
    let listener = sandbox.listen();
    let lab = Lab::new(&sandbox, listener.port());
    drop(listener);
    let rotate = |args: &[&str]| lab.pod("pc", &[&["federation", "rotate", "lab"], args].concat());
    rotate(&[]).succeeds();
    let check = rotate(&["--check"]).fails_with(5).stdout_text();
    assert_eq!(check.matches(": cannot be asked: ").count(), 2, "{check}");
    rotate(&["--finish"]).fails_with(1).says("--unproven leaves them behind");
    rotate(&["--finish", "--unproven"]).succeeds();
}

#[test]
fn a_revoked_pod_is_out_once_the_user_says_so() {
    let sandbox = Sandbox::new();
    let lab = Lab::new(&sandbox, 22);
    let before = lab.keys();
    lab.pod("pc", &["federation", "revoke", "lab", "--pod", "mac"]).succeeds();
    lab.publish().says("to do it: akeys federation update lab\n");
    assert!(lab.lets_in("mac", "lab.mac.rsync"));
    assert_eq!(lab.keys(), before, "an import changes nothing");
    lab.install("mac", 22)
        .fails_with(1)
        .says("pod mac of federation lab was revoked\nhint: akeys federation update lab");
    let dry = sandbox.akeys(&["federation", "update", "lab", "--dry-run"]).succeeds();
    assert_eq!(dry.stdout_text().matches(" goes").count(), 4, "{dry}");
    assert_eq!(lab.keys(), before);
    sandbox.akeys(&["federation", "update", "lab"]).succeeds();
    assert!(!lab.lets_in("mac", "lab.mac.rsync") && !lab.lets_in("mac", "lab.mac.scp-sftp"));
    assert!(lab.lets_in("pc", "lab.pc.rsync"));
    let kept: Vec<&str> = before.lines().filter(|line| !line.contains("lab.mac")).collect();
    assert_eq!(lab.keys().lines().collect::<Vec<_>>(), kept);
    let grants = fs::read_dir(sandbox.home().join(".config/akeys/grants")).unwrap();
    assert_eq!(grants.count(), 2);
    assert!(
        sandbox
            .akeys(&["federation", "update", "lab"])
            .succeeds()
            .stdout_text()
            .contains("is as its bundle says")
    );
}

/// A home on both sides: it has made the federation `lab` of pod `pc`, imported it, and let it into `data`.
fn both_sides() -> Home {
    let home = Home::new();
    home.federation("lab", "pc");
    home.make("data");
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} me\n"));
    install(&home).ok();
    home
}

fn install(home: &Home) -> Ran {
    home.install(&["--federation", "lab", "--workspace", &home.at("data")])
}

fn publish(home: &Home) -> Ran {
    home.write("lab.toml", &home.akeys(&["federation", "export", "lab"]).ok().out);
    home.akeys(&["federation", "import", "lab.toml"])
}

fn public(home: &Home, name: &str) -> String {
    home.read(&format!(".ssh/akeys/{name}.pub")).rsplit_once(' ').unwrap().0.to_owned()
}

#[test]
fn an_installation_puts_the_new_key_in_the_place_of_the_old_one() {
    let home = both_sides();
    let before = home.keys();
    home.akeys(&["federation", "rotate", "lab"]).ok();
    publish(&home).ok();
    let (old, new) = (public(&home, "lab.pc"), public(&home, "next/lab.pc"));
    let ran = home.install(&["--federation", "lab", "--workspace", &home.at("data"), "--dry-run"]).ok();
    assert!(ran.out.contains("would put the new key into a line of ~/.ssh/authorized_keys:"), "{ran:?}");
    // Options that are others now are no matter of a new key.
    let other = ["--federation", "lab", "--workspace", &home.at("data"), "--from", "10.0.0.1"];
    home.install(&other)
        .fails(3, "the key that is to be replaced has other options\n  there: restrict,command=");
    assert_eq!(home.keys(), before);
    let ran = install(&home).ok();
    assert!(
        ran.out.ends_with("the policy was there; put the new key into one line of ~/.ssh/authorized_keys\n"),
        "{ran:?}"
    );
    assert_eq!(home.keys(), before.replace(&old, &new));
    // A disabled line with the old key is nobody's to wake.
    home.write(
        ".ssh/authorized_keys",
        &format!("{}# akeys-disabled: {}", home.keys(), before.lines().nth(1).unwrap()),
    );
    let ran = home.akeys(&["federation", "update", "lab"]).ok();
    assert!(
        ran.err.contains(":3: disabled, with an earlier key of lab.pc: akeys remove --line 3\n"),
        "{ran:?}"
    );
    // Both are there: the old one goes.
    home.write(".ssh/authorized_keys", &format!("{before}{}", home.keys().lines().nth(1).unwrap()));
    install(&home).ok();
    assert_eq!(home.keys(), before.replace(&old, &new).trim_end());
}

#[test]
fn only_a_signer_that_is_known_puts_one_key_in_the_place_of_another() {
    let home = both_sides();
    home.akeys(&["federation", "remove", "--imported", "lab"]).ok();
    home.akeys(&["federation", "rotate", "lab"]).ok();
    let bundle = home.akeys(&["federation", "export", "lab", "--unsigned"]).ok().out;
    home.write("lab.toml", &bundle);
    let before = home.keys();
    // Neither an unsigned bundle nor one whose signer is new.
    for text in [bundle, home.akeys(&["federation", "export", "lab"]).ok().out] {
        home.write("lab.toml", &text);
        let ran = home.install(&["--bundle", "lab.toml", "--workspace", &home.at("data")]);
        ran.fails(3, "the grant lab.pc is there for another key");
    }
    home.write("lab.toml", &home.akeys(&["federation", "export", "lab", "--unsigned"]).ok().out);
    home.akeys(&["federation", "import", "lab.toml"]).ok();
    let ran = home.akeys(&["federation", "update", "lab"]).ok();
    assert!(ran.err.contains("has another key in the bundle, which is not signed"), "{ran:?}");
    assert_eq!(home.keys(), before);
}

#[test]
fn an_update_touches_what_the_bundle_speaks_of_and_nothing_else() {
    let home = both_sides();
    let (old, line) = (public(&home, "lab.pc"), home.keys().lines().nth(1).unwrap().to_owned());
    // The same key gets in by itself, and by a grant of another federation; a comment speaks of it; a line is disabled.
    let foreign = line.replace("--grant lab.pc", "--grant other.pc");
    let file = format!(
        "# {line}\r\n{FOREIGN} me\n{line}\n# akeys-disabled: {line}\n{old} mine\n{foreign}\n\x00{line}"
    );
    home.write(".ssh/authorized_keys", &file);
    home.akeys(&["federation", "revoke", "lab", "--pod", "pc"]).ok();
    assert_eq!(home.names(".ssh/akeys"), ["signers"]);
    let ran = publish(&home).ok();
    assert!(ran.err.contains("not done yet: ~/.ssh/authorized_keys:3: lab.pc SHA256:"), "{ran:?}");
    assert_eq!(home.keys(), file);
    // The line that goes is what keeps the key from the whole account.
    let says = "with more than the key may do now";
    home.akeys(&["federation", "update", "lab"]).fails(1, says);
    assert_eq!(home.keys(), file);
    let ran = home.akeys(&["federation", "update", "lab", "--allow-wider"]).ok();
    for line in [5, 6] {
        let says = format!("line {line} lets the revoked key SHA256:");
        assert!(
            ran.err.contains(&says) && ran.err.contains(&format!("akeys remove --line {line}\n")),
            "{ran:?}"
        );
    }
    assert_eq!(home.keys(), format!("# {line}\r\n{FOREIGN} me\n{old} mine\n{foreign}\n\x00{line}"));
    assert_eq!(home.names(".config/akeys/grants"), [""; 0]);
    home.akeys(&["federation", "update", "nobody"]).fails(4, "no federation nobody was imported");
    home.akeys(&["federation", "revoke", "lab", "--pod", "nobody"])
        .fails(4, "federation lab has no pod nobody");
    let ran = home.akeys(&["federation", "revoke", "lab", "--pod", "pc"]).ok();
    assert_eq!(ran.out, "pod pc was revoked before; nothing changed\n");
    // The name is free again, the key is not.
    home.akeys(&["federation", "add", "lab", "--pod", "pc"]).ok();
    assert!(publish(&home).ok().out.contains("pod pc was revoked on"));
    assert_ne!(public(&home, "lab.pc"), old);
}

#[test]
fn a_new_key_that_is_there_in_another_way_is_a_conflict() {
    let home = both_sides();
    home.akeys(&["federation", "rotate", "lab"]).ok();
    publish(&home).ok();
    let file = format!("{}{} mine\n", home.keys(), public(&home, "next/lab.pc"));
    home.write(".ssh/authorized_keys", &file);
    home.akeys(&["federation", "update", "lab"]).fails(3, "~/.ssh/authorized_keys:3: the new key SHA256:");
    install(&home).fails(3, "~/.ssh/authorized_keys:3: this key is there with other options");
    assert_eq!(home.keys(), file);
}
