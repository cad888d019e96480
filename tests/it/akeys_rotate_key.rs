//! `akeys rotate`: at no moment does neither key get in, and the old one goes only when the new one is proven.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER};
use crate::support::{Key, Sandbox};

const ROTATIONS: &str = ".local/state/akeys/rotations";

/// A sandbox with an old key, and a new key pair that nobody knows yet.
fn two_keys(options: &str) -> (Sandbox, Key, Key) {
    let sandbox = Sandbox::new();
    let (old, new) = (sandbox.new_key("old"), sandbox.new_key("new"));
    sandbox.authorize(options, &old);
    (sandbox, old, new)
}

/// `akeys rotate 1 …`, with what it takes to reach the sandbox's sshd.
fn reaching(sandbox: &Sandbox, args: &[&str]) -> crate::support::Outcome {
    let proxy = format!("ProxyCommand={}", sandbox.proxy());
    let known = format!("UserKnownHostsFile={}", sandbox.path("etc/known_hosts").display());
    let reach = ["--ssh-option", &proxy, "--ssh-option", &known, "--ssh-option", "HostKeyAlias=sandbox"];
    sandbox.akeys(&[&["rotate"], args, &reach].concat())
}

fn keys(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.authorized_keys()).unwrap()
}

#[test]
fn a_login_with_the_new_key_alone_is_what_removes_the_old_one() {
    let (sandbox, old, new) = two_keys(r#"restrict,command="echo works; exit 3""#);
    let (public, private) = (new.file.with_extension("pub"), new.file.to_str().unwrap().to_owned());
    let public = public.to_str().unwrap();
    let before = keys(&sandbox);
    let begun = sandbox.akeys(&["rotate", "1", public]).succeeds();
    begun.says("both keys work now; next: akeys rotate SHA256:");
    let line = before.replacen(&old.public, &new.public, 1);
    assert_eq!(keys(&sandbox), format!("{before}{line}"));
    sandbox.client(&old).ssh(&["x"]).fails_with(3);
    // The old key's own login proves nothing, and neither does one that fails.
    reaching(&sandbox, &["1", "--prove-login", old.file.to_str().unwrap()])
        .fails_with(1)
        .says("another key\nhint: the old one stays");
    fs::write(sandbox.authorized_keys(), before.clone() + &line.replacen("ssh-ed25519", "ssh-ed25518", 1))
        .unwrap();
    assert_eq!(keys(&sandbox).lines().count(), 2);
    reaching(&sandbox, &["1", "--prove-login", &private]).fails_with(3).says("sshd cannot use for it");
    fs::write(sandbox.authorized_keys(), &before).unwrap();
    // The forced command does not run, so its exit status does not count; the line that is missing is added again.
    reaching(&sandbox, &["1", "--prove-login", &private]).succeeds();
    assert_eq!(keys(&sandbox), line);
    sandbox.client(&new).ssh(&["x"]).fails_with(3);
    sandbox.client(&old).ssh(&["x"]).fails_with(255);
    sandbox.akeys(&["rotate"]).succeeds().says("no rotation was begun");
}

#[test]
fn a_key_that_does_not_get_in_leaves_the_old_one() {
    let (sandbox, _, new) = two_keys(r#"restrict,from="192.0.2.0/24""#);
    let public = new.file.with_extension("pub");
    let args = ["1", public.to_str().unwrap(), "--prove-login", new.file.to_str().unwrap()];
    reaching(&sandbox, &args).fails_with(1).says("the new key is not proven: ").says("Permission denied");
    assert_eq!(keys(&sandbox).lines().count(), 2);
    let listed = sandbox.akeys(&["rotate", "--json"]).succeeds().stdout_text();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["old_there"], &listed[0]["new_there"]), (&true.into(), &true.into()));
}

#[test]
fn what_was_begun_goes_on_or_is_taken_back() {
    let home = Home::new();
    let before =
        format!("# mine\nfrom=\"10.0.0.0/8\",restrict {FOREIGN} me\r\ncomand=\"x\" {FOREIGN}\n# end");
    home.write(".ssh/authorized_keys", &before);
    let dry = home.akeys(&["rotate", "2", OTHER, "--prove-model", "--dry-run"]).ok();
    assert!(dry.out.contains("would add ~/.ssh/authorized_keys:3: from="), "{dry:?}");
    assert!(dry.out.contains("would remove SHA256:"), "{dry:?}");
    assert_eq!((home.keys(), home.names(ROTATIONS).len()), (before.clone(), 0));
    home.akeys(&["rotate", "2", OTHER]).ok();
    let both = home.keys();
    assert_eq!(both.lines().count(), 5);
    let again = home.akeys(&["rotate", "2", OTHER]).ok();
    assert!(again.out.contains("there already: ~/.ssh/authorized_keys:3: SHA256:"), "{again:?}");
    assert_eq!(home.keys(), both);
    let third = FOREIGN.replace("AAAAIJ", "AAAAIK");
    home.akeys(&["rotate", "2", &third]).fails(3, "a rotation of SHA256:");
    home.akeys(&["rotate", "2", "--abort"]).ok();
    assert_eq!(home.keys(), before);
    assert_eq!(home.names(ROTATIONS), [""; 0]);
    home.akeys(&["rotate", "2"]).fails(4, "no rotation of SHA256:");
    home.akeys(&["rotate", "2", FOREIGN]).fails(2, "the new key is the old one");
    home.akeys(&["rotate", "1", OTHER]).fails(4, "line 1 is a comment");
    home.akeys(&["rotate", "2", &format!("pty {OTHER}")]).fails(1, "options stand before the key: pty");
}

#[test]
fn the_model_proves_what_it_can_and_says_what_it_cannot() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} me\n# end\n"));
    let mode =
        |name: &str, mode| fs::set_permissions(home.path().join(name), Permissions::from_mode(mode)).unwrap();
    let rotate = || home.akeys(&["rotate", "1", &format!("{OTHER} mine"), "--prove-model"]);
    mode(".ssh/authorized_keys", 0o666);
    rotate().fails(1, "the new key is not proven: others can write ~/.ssh/authorized_keys");
    assert_eq!(home.keys(), format!("{FOREIGN} me\n{OTHER} mine\n# end\n"));
    for (name, bits) in [("", 0o755), (".ssh", 0o700), (".ssh/authorized_keys", 0o600)] {
        mode(name, bits);
    }
    let ran = rotate().ok();
    assert!(ran.err.contains("whether anybody holds its private half is not known"), "{ran:?}");
    assert_eq!(home.keys(), format!("{OTHER} mine\n# end\n"));
}

#[test]
fn a_grant_keeps_its_policy_and_gets_another_key() {
    let sandbox = Sandbox::new();
    let pod = sandbox.path("pod");
    fs::create_dir(&pod).unwrap();
    sandbox.akeys_in(&pod, &["federation", "new", "playground", "--pod", "chef1"]).succeeds();
    let bundle = sandbox.akeys_in(&pod, &["federation", "export", "playground"]).succeeds();
    sandbox.write("playground.toml", &bundle.stdout);
    sandbox.write("papers/draft", "text");
    let bundle = sandbox.home().join("playground.toml");
    let papers = sandbox.home().join("papers");
    sandbox
        .akeys(&["install", "--bundle", bundle.to_str().unwrap(), "--workspace", papers.to_str().unwrap()])
        .succeeds();
    let new = sandbox.new_key("new");
    let public = new.file.with_extension("pub");
    let args = ["playground.chef1", public.to_str().unwrap(), "--prove-login", new.file.to_str().unwrap()];
    reaching(&sandbox, &args).succeeds().says("playground.chef1 has a new key");
    let text = keys(&sandbox);
    assert_eq!(text.lines().count(), 1);
    assert!(text.trim_end().ends_with(" akeys:playground.chef1"), "{text}");
    sandbox.client(&new).hold().rsync(&["-a", "host:papers/", "copy/"]).succeeds();
    assert_eq!(fs::read(sandbox.client_home().join("copy/draft")).unwrap(), b"text");
}
