//! `akeys remove`: exactly those lines, and their policies.

use crate::akeys_home::{FOREIGN, Home};

fn two_federations() -> Home {
    let home = Home::with_federation();
    home.federation("lab", "pc");
    home.write(".ssh/authorized_keys", &format!("# top\n{FOREIGN} alice\n"));
    home.install_papers().ok();
    home.install(&["--federation", "lab", "--workspace", &home.at("papers")]).ok();
    home
}

#[test]
fn exactly_the_lines_of_a_federation_and_their_policies() {
    let home = two_federations();
    let before = home.keys();
    let lines: Vec<&str> = before.lines().collect();
    let ran = home.akeys(&["remove", "--federation", "playground", "--dry-run"]).ok();
    assert!(ran.out.contains("would remove ~/.ssh/authorized_keys:3: playground.chef1 SHA256:"), "{ran:?}");
    assert_eq!(home.keys(), before);
    let ran = home.akeys(&["remove", "--federation", "playground"]).ok();
    assert!(ran.out.contains("removed ~/.config/akeys/grants/playground.chef1.toml"), "{ran:?}");
    assert_eq!(home.keys(), format!("{}\n{}\n{}\n", lines[0], lines[1], lines[3]));
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.toml"]);
    home.akeys(&["remove", "--federation", "playground"]).fails(
        4,
        "nothing to remove: no key line and no policy is of federation playground\nhint: akeys list\n",
    );
    home.akeys(&["remove", "--federation", "lab", "--pod", "other"])
        .fails(4, "is of pod other of federation lab\n");
    home.akeys(&["remove", "--federation", "lab", "--pod", "pc"]).ok();
    assert_eq!(home.keys(), format!("# top\n{FOREIGN} alice\n"));
}

#[test]
fn a_key_goes_wherever_it_stands() {
    let home = Home::new();
    let before = format!("# top\n{FOREIGN} a\njunk \"x\ncomand=\"x\" {FOREIGN}\nrestrict {FOREIGN}\n# end");
    home.write(".ssh/authorized_keys", &before);
    let listed = home.akeys(&["list", "--json"]).ok().out;
    let value: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let fingerprint = value["lines"][1]["fingerprint"].as_str().unwrap();
    home.akeys(&["remove", "--fingerprint", fingerprint]).fails(1, "no key would be left that opens a shell");
    assert_eq!(home.keys(), before);
    home.akeys(&["remove", "--fingerprint", fingerprint, "--allow-lockout"]).ok();
    assert_eq!(home.keys(), "# top\njunk \"x\n# end");
    home.akeys(&["remove", "--fingerprint", fingerprint])
        .fails(4, &format!("no line holds the key {fingerprint}\n"));
    home.akeys(&["remove", "--fingerprint", "MD5:x"]).fails(2, "starts with SHA256:");
    // Only a dead line is left: its key is found all the same.
    home.write(".ssh/authorized_keys", &format!("comand=\"x\" {FOREIGN}\n"));
    home.akeys(&["remove", "--fingerprint", fingerprint]).ok();
    assert_eq!(home.keys(), "");
}

#[test]
fn a_line_goes_by_its_number_with_its_policy() {
    let home = two_federations();
    home.akeys(&["remove", "--line", "3"]).ok();
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.toml"]);
    home.akeys(&["remove", "--line", "1"]).ok();
    assert!(home.keys().starts_with(FOREIGN));
    home.akeys(&["remove", "--line", "9"]).fails(4, "there is no line 9");
    home.akeys(&["remove", "--line", "0"]).fails(4, "there is no line 0");
}

#[test]
fn junk_and_dead_lines_do_not_stand_in_the_way() {
    let home = two_federations();
    let ours = home.keys().lines().nth(2).unwrap().to_owned();
    let dead = ours.replacen("restrict", "restrikt", 1);
    let disabled = format!("# akeys-disabled: {ours}");
    let junk = "\u{0}\u{feff}\"\"\"\n\\\n";
    home.write(".ssh/authorized_keys", &format!("{junk}{dead}\n{disabled}\n{ours}\n{junk}"));
    home.akeys(&["remove", "--federation", "playground"]).ok();
    assert_eq!(home.keys(), format!("{junk}{junk}"));
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.toml"]);
}

#[test]
fn a_policy_stays_while_a_line_uses_it_and_goes_without_one() {
    let home = two_federations();
    let ours = home.keys().lines().nth(2).unwrap().to_owned();
    home.write(".ssh/authorized_keys", &format!("{ours}\n{ours}\n"));
    home.akeys(&["remove", "--line", "1"]).ok();
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.toml", "playground.chef1.toml"]);
    home.write(".ssh/authorized_keys", "");
    home.akeys(&["remove", "--federation", "playground"]).ok();
    assert_eq!(home.names(".config/akeys/grants"), ["lab.pc.toml"]);
}

#[test]
fn a_key_that_gets_in_otherwise_is_mentioned() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let public = home.read(".ssh/akeys/playground.chef1.pub");
    let keys = home.keys();
    home.write(".ssh/authorized_keys", &format!("{keys}{public}"));
    let says = "line 1 would let SHA256:";
    let refused = home.akeys(&["remove", "--federation", "playground"]).fails(1, says);
    assert!(refused.err.contains("with more than the key may do now"), "{refused:?}");
    assert!(refused.err.contains("hint: akeys remove --fingerprint SHA256:"), "{refused:?}");
    let ran = home.akeys(&["remove", "--federation", "playground", "--allow-wider"]).ok();
    assert!(ran.err.contains("line 2 lets a key of playground in by itself and stays"), "{ran:?}");
    assert_eq!(home.keys(), public);
    home.akeys(&["remove", "--federation", "playground"])
        .fails(4, "hint: line 1 lets a key of playground in");
}

#[test]
fn a_key_that_was_taken_back_still_got_in_by_the_next_file() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let line = home.keys();
    let key: Vec<&str> = line.split(' ').rev().take(3).collect();
    home.write(".ssh/authorized_keys2", &format!("# old\n{} {} pod\n", key[2], key[1]));
    let listed: serde_json::Value = serde_json::from_str(&home.akeys(&["list", "--json"]).ok().out).unwrap();
    let fingerprint = listed["lines"][0]["fingerprint"].as_str().unwrap();
    let told = "~/.ssh/authorized_keys2:2 still lets the key in";
    for words in [
        &["disable", "--federation", "playground", "--dry-run"][..],
        &["remove", "--line", "1", "--dry-run"],
        &["remove", "--fingerprint", fingerprint, "--dry-run"],
        &["remove", "--federation", "playground"],
    ] {
        let ran = home.akeys(words).ok();
        assert!(ran.err.contains(told), "{words:?}: {ran:?}");
    }
    // And where it is nowhere else.
    home.akeys(&["remove", "--fingerprint", fingerprint]).fails(4, told);
}
