//! The manual pages say what the program does.

use std::process::Command;

use rrsync_rs::layout::Layout;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::our_program;

const PROGRAM: &str = include_str!("../../man/akeys.1");
const FORMAT: &str = include_str!("../../man/akeys-grant.5");
const BUNDLE: &str = include_str!("../../man/akeys-bundle.5");
const CARD: &str = include_str!("../../man/akeys-card.5");
const AFILES: &str = include_str!("../../man/afiles.1");
const GATE: &str = include_str!("../../man/rrsync-rs.1");

#[test]
fn every_option_is_in_the_manual() {
    let home = Home::new();
    for command in [
        &["federation", "new"][..],
        &["federation", "add"],
        &["federation", "admit"],
        &["federation", "set"],
        &["federation", "export"],
        &["federation", "import"],
        &["federation", "rotate"],
        &["federation", "revoke"],
        &["federation", "update"],
        &["federation", "card"],
        &["federation", "meet"],
        &["federation", "forget"],
        &["federation", "list"],
        &["federation", "remove"],
        &["install"],
        &["list"],
        &["report"],
        &["explain"],
        &["audit"],
        &["doctor"],
        &["users"],
        &["add"],
        &["expire"],
        &["rotate"],
        &["apply"],
        &["format"],
        &["remove"],
        &["grant", "show"],
        &["grant", "set"],
        &["learn"],
        &["log"],
        &["diff"],
        &["undo"],
        &["completions"],
        &["disable"],
        &["enable"],
    ] {
        let help = home.akeys(&[command, &["--help"]].concat()).ok().out;
        assert!(PROGRAM.contains(&format!(".Cm {}", command.join(" "))), "{command:?}");
        let options = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        for option in options.map(|word| word.trim_end_matches([',', '.', ']', ';'])) {
            let documented = PROGRAM.contains(&format!("Fl -{option}"));
            assert!(documented || option == "help", "--{option} of {command:?}");
        }
    }
}

#[test]
fn every_option_of_afiles_is_in_its_manual_and_none_besides() {
    let help = |words: &[&str]| {
        let ran = Command::new(our_program("afiles")).args(words).arg("--help").output().unwrap();
        assert!(ran.status.success(), "{words:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let all = help(&[]);
    let commands: Vec<&str> = all
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    assert!(commands.len() >= 11, "{all}");
    let mut options = std::collections::BTreeSet::new();
    for command in commands {
        assert!(AFILES.contains(&format!(".It Cm {command}")), "{command}");
        let help = help(&[command]);
        let words =
            help.split_whitespace().filter_map(|word| word.trim_start_matches('[').strip_prefix("--"));
        options.extend(words.map(|word| word.trim_end_matches([',', '.', ']', ';']).to_owned()));
    }
    options.remove("help");
    for option in &options {
        assert!(AFILES.contains(&format!("Fl -{option}")), "--{option}");
    }
    for documented in AFILES.split("Fl -").skip(1) {
        let option = documented.split([' ', '\n']).next().unwrap();
        assert!(options.contains(option), "--{option} is no option");
    }
}

#[test]
fn usage_errors_are_told_like_all_others() {
    let home = Home::new();
    for (args, says) in [
        (&["list", "--files"][..], "akeys: unexpected argument '--files' found\n"),
        (&["federation", "new", "-x"], "akeys: unexpected argument '-x' found\n"),
        (&["federation", "new", "a b"], "akeys: invalid value 'a b' for '<NAME>': name \"a b\" must be"),
        (&["lst"], "akeys: unrecognized subcommand 'lst'\n"),
        (&[], "Let other machines move your files over SSH"),
    ] {
        let ran = home.akeys(args).fails(2, says);
        assert!(ran.err.starts_with(says) && ran.out.is_empty(), "{ran:?}");
    }
}

#[test]
fn every_forced_command_in_a_manual_is_an_absolute_path() {
    let mut help = std::process::Command::new(our_program("rrsync-rs"));
    let help = String::from_utf8(help.arg("--help").output().unwrap().stdout).unwrap();
    for text in [PROGRAM, FORMAT, GATE, &help] {
        for command in text.split("command=\"").skip(1).filter(|rest| rest.contains("rrsync-rs")) {
            let word = command.split([' ', '"']).next().unwrap();
            assert!(!word.ends_with("rrsync-rs") || word.starts_with('/'), "{command}");
        }
    }
    assert!(help.contains("command=\"/home/you/.local/bin/rrsync-rs "), "{help}");
}

/// The literal blocks of a page, as a reader sees them.
fn literal_blocks(page: &str) -> Vec<String> {
    let blocks = page.split(".Bd -literal -offset indent\n").skip(1);
    blocks.map(|block| block.split(".Ed").next().unwrap().replace("\\e", "\\")).collect()
}

#[test]
fn the_examples_of_the_format_are_read() {
    let blocks = literal_blocks(FORMAT);
    let [policy, inbox, files] = blocks.as_slice() else { panic!("{blocks:?}") };
    let layout = Layout::new("/home/u").unwrap();
    let (line, policy) = policy.split_once("\n\n").unwrap();
    let grant = rrsync_rs::grant::parse(policy, &layout).unwrap();
    assert_eq!(
        grant.summary(),
        "rsync; read papers, read and write papers/build; until 2028-01-01T00:00:00Z"
    );
    let line = line.replace(",\n", ",").replace('\n', " ").replace("ssh-ed25519 AAAA...", FOREIGN);
    let home = Home::new();
    home.write(".ssh/authorized_keys", &line);
    let listed = home.akeys(&["list"]).ok().out;
    assert!(listed.contains("playground.chef1") && !listed.contains("DEAD"), "{listed}");
    let head = policy.split("\n\n").next().unwrap();
    let grant = rrsync_rs::grant::parse(&format!("{head}\n{inbox}"), &layout).unwrap();
    assert!(grant.summary().starts_with("rsync; add only to inbox"), "{}", grant.summary());
    // What it says is tried beside the gate's own tests.
    let grant = rrsync_rs::grant::parse(files, &layout).unwrap();
    assert!(grant.summary().starts_with("scp; read and add to data"), "{}", grant.summary());
}

#[test]
fn the_examples_of_a_bundle_are_read_and_run() {
    let blocks = literal_blocks(BUNDLE);
    let [bundle, check, sign] = blocks.as_slice() else { panic!("{blocks:?}") };
    let home = Home::new();
    home.write("bundle.toml", &bundle.replace("ssh-ed25519 AAAA...", FOREIGN));
    home.akeys(&["federation", "import", "bundle.toml"]).ok();
    home.akeys(&["federation", "remove", "playground"]).ok();
    home.akeys(&["federation", "new", "playground"]).ok();
    let bin = our_program("akeys").parent().unwrap().to_owned();
    let shell = |script: &str| {
        let script = script.lines().filter_map(|line| line.strip_prefix("$ ")).collect::<Vec<_>>().join("\n");
        let mut command = std::process::Command::new("/bin/sh");
        home.settle(&mut command).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        Ran::from(&command.args(["-euc", &script]).output().unwrap()).ok()
    };
    shell(&sign.replace("KEY", ".ssh/akeys/signers/playground"));
    assert!(shell(check).out.contains("Good \"akeys-bundle\" signature with ED25519 key SHA256:"));
    let ran = home.akeys(&["federation", "import", "playground.toml"]).ok();
    assert!(ran.out.contains("  signed by SHA256:"), "{ran:?}");
}

#[test]
fn the_example_of_declared_keys_is_applied() {
    let third = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    let blocks = literal_blocks(PROGRAM);
    let declared = blocks.iter().find(|block| block.starts_with("[[key]]")).unwrap();
    let text = [FOREIGN, OTHER, third]
        .iter()
        .fold(declared.clone(), |text, key| text.replacen("ssh-ed25519 AAAA...", key, 1));
    let home = Home::new();
    home.write("keys.toml", &text);
    home.akeys(&["apply", "keys.toml"]).ok();
    let options = "restrict,from=\"10.1.0.0/16,!10.1.9.9\",expiry-time=\"20271231Z\",command=\"borg serve --append-only\"";
    assert_eq!(home.keys(), format!("{FOREIGN} anna@laptop\n{options} {OTHER} backup\n"));
}

#[test]
fn the_example_of_a_card_is_read() {
    let blocks = literal_blocks(CARD);
    let [card] = blocks.as_slice() else { panic!("{blocks:?}") };
    let card = akeys::card::parse(&card.replace("ssh-ed25519 AAAA...", FOREIGN)).unwrap();
    assert_eq!(card.account(), "anna@laptop.example.org");
}
