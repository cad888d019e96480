//! `akeys install --host`: what accounts and hosts are like. Files, login shells, banners, and hosts that are not the one
//! they were.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use crate::akeys_home::FOREIGN;
use crate::akeys_remote::{Laptop, PAPERS};
use crate::support::{Account, Sandbox, copy_program, find_program, has_program, our_program};

/// Lets the user log in by a key file of the host's, so that the account's own can be anything.
fn let_in_by_another_file(sandbox: &Sandbox) {
    let others = sandbox.path("etc/keys_of_the_host");
    fs::rename(sandbox.authorized_keys(), &others).unwrap();
    let own = format!("AuthorizedKeysFile \"{}\"", sandbox.authorized_keys().display());
    configure(sandbox, |config| config.replace(&own, &format!("{own} \"{}\"", others.display())));
}

fn configure(sandbox: &Sandbox, edit: impl FnOnce(String) -> String) {
    let path = sandbox.path("etc/sshd_config");
    let config = edit(fs::read_to_string(&path).unwrap());
    fs::write(path, config).unwrap();
}

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn an_account_without_a_key_file_gets_a_private_one() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let_in_by_another_file(&sandbox);
    fs::remove_dir(sandbox.home().join(".ssh")).unwrap();
    laptop.install(&PAPERS).succeeds();
    assert_eq!((mode(&sandbox.home().join(".ssh")), mode(&sandbox.authorized_keys())), (0o700, 0o600));
    laptop.works();
    laptop.card("host");
}

#[test]
fn a_key_file_keeps_what_it_is_like_and_a_second_run_changes_nothing() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let_in_by_another_file(&sandbox);
    let keys = sandbox.authorized_keys();
    for (before, bits, between, end) in [
        (String::new(), 0o600, "", "\n"),
        (format!("# mine\n{FOREIGN} me"), 0o600, "\n", "\n"),
        (format!("# mine\r\n{FOREIGN} me\r\n"), 0o644, "", "\r\n"),
        (format!("# mine\r\n{FOREIGN} me"), 0o600, "\r\n", "\r\n"),
        (format!("{FOREIGN} me\n"), 0o400, "", "\n"),
        ("garbage \"unterminated\n\u{0}\n".to_owned(), 0o444, "", "\n"),
    ] {
        fs::write(&keys, &before).unwrap();
        fs::set_permissions(&keys, Permissions::from_mode(bits)).unwrap();
        laptop.install(&PAPERS).succeeds();
        let after = fs::read_to_string(&keys).unwrap();
        let line = after.strip_prefix(&format!("{before}{between}")).unwrap();
        assert!(line.starts_with("restrict,") && line.ends_with(end), "{before:?}: {after:?}");
        assert_eq!(line.matches(['\r', '\n']).count(), end.len(), "{after:?}");
        assert_eq!(mode(&keys), bits, "{before:?}");
        let inode = keys.metadata().unwrap().ino();
        let again = laptop.install(&PAPERS).succeeds();
        assert!(again.stdout_text().contains("installed already; nothing changed\n"), "{again}");
        assert_eq!(
            (fs::read_to_string(&keys).unwrap(), keys.metadata().unwrap().ino()),
            (after, inode),
            "{before:?}"
        );
        fs::remove_file(&keys).unwrap();
    }
    fs::write(&keys, "").unwrap();
    laptop.install(&PAPERS).succeeds();
    laptop.works();
}

#[test]
fn a_key_file_behind_a_symlink_is_followed_by_akeys_and_refused_by_the_installer() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let keys = sandbox.authorized_keys();
    let real = sandbox.home().join("dotfiles_keys");
    fs::rename(&keys, &real).unwrap();
    symlink("../dotfiles_keys", &keys).unwrap();
    let before = laptop.account();
    laptop.install(&PAPERS).fails_with(1).says("authorized_keys is not a regular file");
    let kept: Vec<_> = laptop.account().into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
    assert_eq!(kept, before);
    laptop.provide("akeys");
    laptop.install(&PAPERS).succeeds();
    assert_eq!(fs::read_link(&keys).unwrap().to_str(), Some("../dotfiles_keys"));
    assert!(fs::read_to_string(&real).unwrap().contains(" akeys:playground.chef1\n"));
    laptop.works();
}

#[test]
fn a_host_whose_sshd_reads_another_file_says_so() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    // The machine's own sshd is not the one that answered; here it is a program that says what it was told.
    let said = "#!/bin/sh\necho 'port 22'\necho 'authorizedkeysfile /etc/ssh/keys/%u %h/.ssh/other'\n";
    fs::set_permissions(sandbox.write("fake/sshd", said), Permissions::from_mode(0o755)).unwrap();
    sandbox.write(".bashrc", format!("PATH={}:$PATH\n", sandbox.home().join("fake").display()));
    let done = laptop.install(&PAPERS).succeeds();
    let says = "host: sshd does not read this file for ";
    let read = format!("but /etc/ssh/keys/{} and ", Account::current().name);
    assert!(done.stderr_text().contains(says) && done.stderr_text().contains(&read), "{done}");
    // With the usual place in it there is nothing to say.
    sandbox.write("fake/sshd", said.replace("%h/.ssh/other", ".ssh/authorized_keys"));
    fs::remove_file(sandbox.home().join(".config/akeys/grants/playground.chef1.toml")).unwrap();
    let own = fs::read_to_string(sandbox.authorized_keys()).unwrap();
    fs::write(sandbox.authorized_keys(), own.lines().next().unwrap()).unwrap();
    let done = laptop.install(&PAPERS).succeeds();
    assert!(!done.stderr_text().contains("sshd does not read"), "{done}");
}

#[test]
fn a_home_that_others_can_write_is_told() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    fs::set_permissions(sandbox.home(), Permissions::from_mode(0o770)).unwrap();
    // Below it nobody may exchange the gate either.
    laptop.provide("rrsync-rs");
    laptop.install(&PAPERS).fails_with(1).says("home can be written by others");
    let elsewhere = sandbox.path("bin");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
    let gate = elsewhere.join("rrsync-rs");
    copy_program(&our_program("rrsync-rs"), &gate);
    let done = laptop.install(&[&PAPERS[..], &["--gate", gate.to_str().unwrap()]].concat()).succeeds();
    let says = format!("so sshd may ignore the keys: chmod go-w {}\n", sandbox.home().display());
    assert!(done.stderr_text().contains(&says), "{done}");
}

#[test]
fn whatever_the_login_shell_is_and_says_the_key_is_installed() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let applets = sandbox.path("applets");
    fs::create_dir(&applets).unwrap();
    if has_program("busybox") {
        let mut busybox = Command::new(find_program("busybox"));
        assert!(busybox.args(["--install", "-s"]).arg(&applets).status().unwrap().success());
        let _ = fs::remove_file(applets.join("flock"));
        symlink(find_program("flock"), applets.join("flock")).unwrap();
    }
    for file in [".cshrc", ".tcshrc", ".zshenv", ".config/fish/config.fish"] {
        sandbox.write(file, "echo 'noise \u{1b}[31m akeys begin'\n");
    }
    sandbox.write("banner", "\u{1b}[31mAuthorised use only\n");
    let whole = fs::read_to_string(sandbox.path("etc/sshd_config")).unwrap();
    let keys = fs::read_to_string(sandbox.authorized_keys()).unwrap();
    let banner = format!("Banner \"{}\"\n", sandbox.home().join("banner").display());
    let mut tried = 0;
    for (program, words) in [
        ("dash", "dash -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        ("tcsh", "tcsh -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        ("fish", "fish -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        ("zsh", "zsh -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        ("mksh", "mksh -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        ("busybox", "busybox ash -c \"$SSH_ORIGINAL_COMMAND\"".to_owned()),
        // A host on which sh itself, and every tool, is busybox's.
        ("busybox", format!("env PATH={0} {0}/sh -s", applets.display())),
    ] {
        if !has_program(program) {
            eprintln!("{program} is missing: it was not tried as a login shell");
            continue;
        }
        configure(&sandbox, |_| format!("{whole}{banner}ForceCommand exec {words}\n"));
        let done = laptop.install(&PAPERS).succeeds();
        assert!(done.stdout_text().contains("host: added one line to "), "{words}: {done}");
        assert!(!done.stdout_text().contains("noise") && !done.stderr_text().contains('\x1b'), "{done}");
        let again = laptop.install(&PAPERS).succeeds();
        assert!(again.stdout_text().contains("installed already; nothing changed\n"), "{words}: {again}");
        configure(&sandbox, |_| whole.clone());
        laptop.works();
        fs::write(sandbox.authorized_keys(), &keys).unwrap();
        tried += 1;
    }
    assert!(tried > 0, "there is no shell to try");
    // A shell that runs nothing is told as it says it.
    for (words, says) in [
        ("bash -r -c \"$SSH_ORIGINAL_COMMAND\"", "restricted"),
        ("sh -c 'echo This account is not available; exit 1'", "the answer is not whole"),
        ("sh -c 'printf \"\\033[31mno\\n\" >&2; exit 1'", "the answer is not whole (\\x1b[31mno)"),
    ] {
        configure(&sandbox, |_| format!("{whole}{banner}ForceCommand exec {words}\n"));
        let outcome = laptop.install(&PAPERS).fails_with(1).says("host cannot be asked: ").says(says);
        assert!(!outcome.stderr_text().contains('\x1b'), "{outcome}");
        assert_eq!(fs::read_to_string(sandbox.authorized_keys()).unwrap(), keys);
    }
}

#[test]
fn a_host_that_ssh_does_not_know_or_knows_otherwise_is_told_with_its_fingerprints() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let known = sandbox.path("etc/known_hosts");
    let right = fs::read_to_string(&known).unwrap();
    let print = |line: &str| {
        let file = sandbox.path("etc/one_key.pub");
        fs::write(&file, line).unwrap();
        let output = Command::new(find_program("ssh-keygen")).arg("-lf").arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let (own, other) = (print(right.strip_prefix("sandbox ").unwrap()), print(FOREIGN));
    let before = laptop.account();
    for (text, code, says) in [
        (
            String::new(),
            1,
            format!("host: ssh does not know this host\n  shown: {own} (ssh-ed25519)\nhint: "),
        ),
        (
            format!("sandbox {FOREIGN}\n"),
            3,
            format!(
                "host: ssh knows this host by another key\n  known: {other} (ssh-ed25519)\n  shown: {own} (ssh-ed25519)\nhint: nothing was changed"
            ),
        ),
    ] {
        fs::write(&known, text).unwrap();
        laptop.install(&PAPERS).fails_with(code).says(&says);
        assert_eq!(laptop.account(), before);
        assert!(!laptop.home().join(".config/akeys/issued").exists());
    }
    fs::write(&known, right).unwrap();
    laptop.install(&PAPERS).succeeds();
    laptop.works();
    laptop.card("host");
}
