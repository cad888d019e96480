//! `akeys disable` and `akeys enable`: what comes back is what was there.

use crate::akeys_home::{FOREIGN, Home};

fn two_federations() -> Home {
    let home = Home::with_federation();
    home.federation("lab", "pc");
    home.write(".ssh/authorized_keys", &format!("# top\r\n\t{FOREIGN}  alice \r\n"));
    home.install_papers().ok();
    home.install(&["--federation", "lab", "--workspace", &home.at("papers")]).ok();
    home
}

fn fingerprint(home: &Home, line: usize) -> String {
    let listed = home.akeys(&["list", "--json"]).ok().out;
    let value: serde_json::Value = serde_json::from_str(&listed).unwrap();
    value["lines"][line - 1]["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn every_way_to_name_a_line_goes_there_and_back() {
    let home = two_federations();
    let before = home.keys();
    let alice = fingerprint(&home, 2);
    for (which, line) in [
        (&["--federation", "playground"][..], 3),
        (&["--federation", "lab", "--pod", "pc"], 4),
        (&["--fingerprint", &alice], 2),
        (&["--line", "2"], 2),
    ] {
        // Alice has the only key that opens a shell.
        let args = |command| [&[command, "--allow-lockout"], which].concat();
        let run = |command| home.akeys(&args(command)).ok();
        let dry = home.akeys(&[&args("disable")[..], &["--dry-run"]].concat()).ok();
        assert!(dry.out.starts_with(&format!("would disable ~/.ssh/authorized_keys:{line}: ")), "{dry:?}");
        assert_eq!(home.keys(), before);
        run("disable");
        let lines: Vec<&str> = before.split_inclusive('\n').collect();
        let expected: String = (1..)
            .zip(&lines)
            .map(
                |(number, text)| {
                    if number == line { format!("# akeys-disabled: {text}") } else { (*text).into() }
                },
            )
            .collect();
        assert_eq!(home.keys(), expected);
        let again = run("disable");
        assert!(again.out.contains("nothing changed"), "{again:?}");
        assert_eq!(home.keys(), expected);
        let dry = home.akeys(&[&["enable"], which, &["--dry-run"]].concat()).ok();
        assert!(dry.out.starts_with(&format!("would enable ~/.ssh/authorized_keys:{line}: ")), "{dry:?}");
        assert_eq!(home.keys(), expected);
        run("enable");
        assert_eq!(home.keys(), before);
        assert!(run("enable").out.contains("nothing changed"));
        assert_eq!(home.names(".config/akeys/grants").len(), 2);
    }
}

#[test]
fn what_is_no_key_line_is_left_alone() {
    let home = two_federations();
    let before = home.everything();
    home.akeys(&["disable", "--line", "1"]).fails(4, "line 1 holds no key");
    home.akeys(&["enable", "--line", "1"]).fails(4, "line 1 was not disabled");
    home.akeys(&["disable", "--line", "9"]).fails(4, "there is no line 9");
    home.akeys(&["disable", "--line", "0"]).fails(4, "there is no line 0");
    home.akeys(&["disable", "--federation", "other"]).fails(4, "there is no line of that");
    home.akeys(&["disable", "--fingerprint", "MD5:x"]).fails(2, "starts with SHA256:");
    home.akeys(&["disable"]).fails(2, "required");
    assert_eq!(home.everything(), before);
}

#[test]
fn dead_lines_sleep_too_and_a_shadowed_one_is_mentioned() {
    let home = Home::new();
    let dead = format!("comand=\"x\" {FOREIGN} dead");
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} one\n{dead}\nrestrict {FOREIGN} two"));
    let before = home.keys();
    let alice = fingerprint(&home, 1);
    home.akeys(&["disable", "--fingerprint", &alice]).fails(1, "no key would be left that opens a shell");
    assert_eq!(home.keys(), before);
    home.akeys(&["disable", "--fingerprint", &alice, "--allow-lockout"]).ok();
    assert!(home.keys().lines().all(|line| line.starts_with("# akeys-disabled: ")), "{}", home.keys());
    let enable = ["enable", "--fingerprint", &alice, "--allow-shadowed", "--allow-dead"];
    home.akeys(&enable[..4])
        .fails(1, "line 2 would be one that sshd passes over, at column 1: unknown option");
    home.akeys(&[&enable[..3], &enable[4..]].concat())
        .fails(1, "the options of line 3 would never apply: line 1 lets the same key in first");
    let ran = home.akeys(&enable).ok();
    assert!(ran.err.contains("line 2 is one that sshd passes over"), "{ran:?}");
    assert!(ran.err.contains("line 1 has the same key, and sshd looks at that one first"), "{ran:?}");
    assert_eq!(home.keys(), before);
}
