//! What the installer is not sure of, it leaves alone.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{GRANT, OTHER, Words, command, install, prepared, shells, template};
use crate::akeys_home::{FOREIGN, Home, Ran};

/// What is odd, how that ends, what is said, and how it is made.
type Refusal<'a> = (&'a str, i32, &'a str, &'a dyn Fn(&Home));

#[test]
fn what_the_installer_is_not_sure_of_it_leaves_alone() {
    let (pristine, words) = prepared();
    let key = words.line.rsplit(' ').nth(1).unwrap().to_owned();
    let cases: &[Refusal<'_>] = &[
        ("symlink", 1, "authorized_keys is not a regular file", &|home| {
            home.write("elsewhere", "");
            symlink("../elsewhere", home.path().join(".ssh/authorized_keys")).unwrap();
        }),
        ("symlink to nothing", 1, "authorized_keys is not a regular file", &|home| {
            symlink("nowhere", home.path().join(".ssh/authorized_keys")).unwrap();
        }),
        ("directory", 1, "authorized_keys is not a regular file", &|home| home.make(".ssh/authorized_keys")),
        ("fifo", 1, "authorized_keys is not a regular file", &|home| {
            nix::unistd::mkfifo(&home.path().join(".ssh/authorized_keys"), nix::sys::stat::Mode::S_IRWXU)
                .unwrap();
        }),
        ("hard link", 1, "has another name (a hard link)", &|home| {
            home.write(".ssh/authorized_keys", FOREIGN);
            fs::hard_link(home.path().join(".ssh/authorized_keys"), home.path().join("other")).unwrap();
        }),
        ("open directory", 1, ".ssh can be written by others", &|home| {
            fs::set_permissions(home.path().join(".ssh"), Permissions::from_mode(0o770)).unwrap();
        }),
        ("directory elsewhere", 1, ".ssh is not a directory", &|home| {
            fs::rename(home.path().join(".ssh"), home.path().join("ssh")).unwrap();
            symlink("ssh", home.path().join(".ssh")).unwrap();
        }),
        ("grants elsewhere", 1, "grants is not a directory", &|home| {
            fs::remove_dir_all(home.path().join(".config/akeys/grants")).unwrap();
            symlink("/tmp", home.path().join(".config/akeys/grants")).unwrap();
        }),
        ("lock elsewhere", 1, "lock is a symlink", &|home| {
            fs::remove_file(home.path().join(".local/state/akeys/lock")).unwrap();
            symlink("/dev/null", home.path().join(".local/state/akeys/lock")).unwrap();
        }),
        ("other options", 3, "has this key with other options", &|home| {
            home.write(".ssh/authorized_keys", &format!("ssh-ed25519 {key} me\n"));
        }),
        ("a comment with the key", 3, "has this key with other options", &|home| {
            home.write(".ssh/authorized_keys", &format!("# ssh-ed25519 {key}\n"));
        }),
        ("a carriage return in the key", 3, "has this key with other characters in it", &|home| {
            let (start, end) = key.split_at(30);
            home.write(".ssh/authorized_keys", &format!("ssh-ed25519 {start}\x0b\r{end} me\n"));
        }),
        ("the key in the next file", 3, "authorized_keys2 has this key", &|home| {
            home.write(".ssh/authorized_keys2", &format!("ssh-ed25519 {key} me\n"));
        }),
        ("twice", 3, "has this key more than once", &|home| {
            home.write(".ssh/authorized_keys", &format!("{0}\n{0}\n", words.line));
        }),
        ("another key for the grant", 3, "has the grant playground.chef1 for another key", &|home| {
            home.write(".ssh/authorized_keys", &words.line.replace(&format!("ssh-ed25519 {key}"), OTHER));
        }),
        ("another policy", 3, "playground.chef1.toml is there, and says something else", &|home| {
            home.write(".config/akeys/grants/playground.chef1.toml", "# mine\n");
            let policy = home.path().join(".config/akeys/grants/playground.chef1.toml");
            fs::set_permissions(policy, Permissions::from_mode(0o600)).unwrap();
        }),
        ("an open policy", 1, "is not a file that only its owner can write", &|home| {
            home.write(".config/akeys/grants/playground.chef1.toml", &words.policy);
            let policy = home.path().join(".config/akeys/grants/playground.chef1.toml");
            fs::set_permissions(policy, Permissions::from_mode(0o666)).unwrap();
        }),
        ("extended attributes", 1, "has extended attributes", &|home| {
            home.write(".ssh/authorized_keys", FOREIGN);
            xattr::set(home.path().join(".ssh/authorized_keys"), "user.note", b"x").unwrap();
        }),
    ];
    let getfattr = Path::new("/usr/bin/getfattr").exists();
    for (name, shell, path) in shells() {
        for (case, code, says, prepare) in cases {
            let home = pristine.copy();
            prepare(&home);
            // Without getfattr(1) nobody can tell.
            if *case == "extended attributes" && (!getfattr || name == "busybox") {
                continue;
            }
            let before = home.everything();
            install(&home, &shell, &path, &words).fails(*code, says);
            assert_eq!(home.everything(), before, "{name}: {case}");
        }
    }
}

#[test]
fn a_gate_that_is_not_safe_or_says_no_gets_no_key() {
    for (name, shell, path) in shells() {
        let (home, words) = prepared();
        let gate = home.gate();
        let mode = |mode| fs::set_permissions(&gate, Permissions::from_mode(mode)).unwrap();
        let before = home.everything();
        for (bits, says) in [(0o775, "rrsync-rs can be written by others"), (0o644, "is not executable")] {
            mode(bits);
            install(&home, &shell, &path, &words).fails(1, says);
        }
        mode(0o755);
        let bin = home.around().join("bin");
        fs::set_permissions(&bin, Permissions::from_mode(0o777)).unwrap();
        install(&home, &shell, &path, &words).fails(1, "bin can be written by others");
        fs::set_permissions(&bin, Permissions::from_mode(0o755)).unwrap();
        fs::write(&gate, "#!/bin/sh\necho 'workspace papers may not be exposed' >&2\nexit 1\n").unwrap();
        let ran = install(&home, &shell, &path, &words).fails(1, "the gate refuses the policy");
        assert!(ran.err.contains("workspace papers may not be exposed"), "{ran:?}");
        fs::rename(&gate, bin.join("away")).unwrap();
        symlink("away", &gate).unwrap();
        install(&home, &shell, &path, &words).fails(1, "rrsync-rs is not a regular file");
        assert_eq!(home.everything(), before, "{name}");
    }
}

#[test]
fn words_that_are_no_restricted_line_are_refused() {
    let (home, words) = prepared();
    let before = home.everything();
    let (name, shell, path) = shells().remove(0);
    let line = &words.line;
    for bad in [
        String::new(),
        FOREIGN.to_owned(),
        line.replace("restrict,", ""),
        line.replace("restrict,", "restrict,pty,"),
        line.replace("restrict,", "restrict,environment=\"A=b\","),
        line.replace("restrict,", "restrict,from=\"10.0.0.1\",pty,"),
        line.replace("restrict,", "restrict,from=\"$(id)\","),
        line.replace("restrict,", "restrict,expiry-time=\"never\","),
        line.replace("restrict,", "restrict,command=\"/bin/sh\","),
        line.replace("/rrsync-rs --grant", "/sh --grant"),
        line.replace("command=\"/", "command=\"/bin/sh -c "),
        line.replace("/rrsync-rs", "/;rrsync-rs"),
        line.replace("--grant playground.chef1\"", "--grant playground.chef2\""),
        line.replace(" akeys:", " other:"),
        line.replace(" akeys:", "\n akeys:"),
        format!("{line}\n{FOREIGN}"),
        format!("{FOREIGN}\n{line}"),
        line.replace("ssh-ed25519 AAAA", "ssh-ed25519 %%%%"),
        line.replace("ssh-ed25519 ", "ssh-ed25519 extra "),
    ] {
        let ran = Ran::from(&command(&home, &shell, &path, &[GRANT, &bad, &words.policy]).output().unwrap());
        assert_eq!(ran.code, 2, "{name}: {bad}: {ran:?}");
    }
    for grant in ["", "../x", ".x", "a b", "a..b", "playground.chef1\n", "*"] {
        let line = line.replace(GRANT, grant);
        let ran = Ran::from(&command(&home, &shell, &path, &[grant, &line, &words.policy]).output().unwrap());
        assert_eq!(ran.code, 2, "{grant:?}: {ran:?}");
    }
    let ran = Ran::from(&command(&home, &shell, &path, &[GRANT, line]).output().unwrap());
    ran.fails(2, "usage: ");
    assert_eq!(home.everything(), before);
    // All that akeys writes is taken.
    let full = [
        "--federation",
        "playground",
        "--workspace",
        &home.at("papers"),
        "--from",
        "10.1.0.0/16,!*.example.org,::1",
    ];
    home.install(&[&full[..], &["--expires", "2127-12-31T10:20:30Z"]].concat()).ok();
    let words = Words { line: home.keys().trim_end().to_owned(), ..words };
    let policy = home.read(&format!(".config/akeys/grants/{GRANT}.toml"));
    home.write(".ssh/authorized_keys", "");
    for (_, shell, path) in shells() {
        install(&home, &shell, &path, &Words { policy: policy.clone(), ..words.clone() }).ok();
        assert_eq!(home.keys(), format!("{}\n", words.line));
        home.write(".ssh/authorized_keys", "");
    }
}

#[test]
fn a_script_that_arrives_cut_short_does_nothing() {
    let text = fs::read_to_string(template("install-key.sh")).unwrap();
    for (name, shell, path) in shells() {
        let (home, words) = prepared();
        let quoted = |word: &str| format!("'{word}'");
        let input = format!("set -- {GRANT} {} {}\n{text}", quoted(&words.line), quoted(&words.policy));
        let before = home.everything();
        let run = |input: &str| {
            let mut command = Command::new(&shell[0]);
            home.settle(&mut command).env("PATH", &path).args(&shell[1..]).arg("-s");
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            Ran::from(&child.wait_with_output().unwrap())
        };
        let last = input.rfind("install_key \"$@\"").unwrap();
        let starts: Vec<usize> =
            (0..last).step_by(input.len() / 40).chain([last - 1, last, last + 5]).collect();
        for end in starts.into_iter().filter(|end| input.is_char_boundary(*end)) {
            run(&input[..end]);
            assert_eq!(home.everything(), before, "{name}: {end} of {}", input.len());
        }
        run(&input).ok();
        assert_eq!(home.keys(), format!("{}\n", words.line), "{name}");
    }
}
