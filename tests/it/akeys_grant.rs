//! `akeys grant set`: an installed key may do something else, and nothing else changes.

use crate::akeys_home::{FOREIGN, Home};

const POLICY: &str = ".config/akeys/grants/playground.chef1.toml";
const NAME: &str = "playground.chef1";

/// A home with a commented policy and a key file that others write to as well.
fn installed() -> Home {
    let home = Home::with_federation();
    home.make("data");
    home.write(".ssh/authorized_keys", &format!("# top\n{FOREIGN} alice\n"));
    home.install_papers().ok();
    let keys = home.keys();
    home.write(".ssh/authorized_keys", &format!("{keys}\n# end"));
    let policy = home.read(POLICY);
    home.write(POLICY, &format!("# see the wiki\n{policy}# nothing below\n"));
    home
}

#[test]
fn the_end_is_in_both_files_and_only_there() {
    let home = installed();
    let (keys, policy) = (home.keys(), home.read(POLICY));
    let before = home.everything();
    let set = |end: &str| home.akeys(&["grant", "set", NAME, "--expires", end]);
    let ran = home.akeys(&["grant", "set", NAME, "--expires", "2040-01-01", "--dry-run"]).ok();
    assert!(ran.out.contains("may:   rsync; read papers; until 2040-01-01T00:00:00Z"), "{ran:?}");
    assert_eq!(home.everything(), before);
    set("2040-01-01").ok();
    assert_eq!(home.keys(), keys.replacen("restrict,", "restrict,expiry-time=\"20400101Z\",", 1));
    assert_eq!(home.read(POLICY), policy.replacen("\n\n[", "\nexpires = 2040-01-01T00:00:00Z\n\n[", 1));
    let after = home.everything();
    let ran = set("2040-01-01").ok();
    assert!(ran.out.contains("nothing changed"), "{ran:?}");
    assert_eq!(home.everything(), after);
    set("2041-02-03T04:05:06Z").ok();
    assert!(home.keys().contains("restrict,expiry-time=\"20410203040506Z\",command="), "{}", home.keys());
    set("never").ok();
    assert_eq!((home.keys(), home.read(POLICY)), (keys, policy));
    set("2020-01-01").fails(1, "would have ended on 2020-01-01");
    set("soon").fails(2, "neither a date");
}

#[test]
fn addresses_are_in_the_key_line_only() {
    let home = installed();
    let (keys, policy) = (home.keys(), home.read(POLICY));
    let ran = home.akeys(&["grant", "set", NAME, "--from", "10.1.0.0/16,!10.1.2.3"]).ok();
    assert!(ran.out.contains("may:   rsync; read papers; from 10.1.0.0/16,!10.1.2.3"), "{ran:?}");
    assert_eq!(home.keys(), keys.replacen("restrict,", "restrict,from=\"10.1.0.0/16,!10.1.2.3\",", 1));
    assert_eq!(home.read(POLICY), policy);
    home.akeys(&["grant", "set", NAME, "--from", "10.1.0.1/16"]).fails(2, "not a CIDR block");
    let keys = home.keys();
    home.write(".ssh/authorized_keys", &keys.replacen("restrict", "# akeys-disabled: restrict", 1));
    home.akeys(&["grant", "set", NAME, "--from", "*"]).fails(4, "no line runs the gate for playground.chef1");
    let ran = home.akeys(&["grant", "set", NAME, "--expires", "2040-01-01"]).ok();
    assert!(ran.err.contains("line 3 names playground.chef1, is no live line"), "{ran:?}");
}

#[test]
fn workspaces_tools_and_access() {
    let home = installed();
    let policy = home.read(POLICY);
    let set = |args: &[&str]| home.akeys(&[&["grant", "set", NAME], args].concat());
    let data = format!("{}:data=wo", home.at("data"));
    let ran = set(&["--tools", "rsync,sftp", "--add-workspace", &data, "--access", "papers/build=rw"]).ok();
    assert!(ran.out.contains("might: rsync; read papers\n"), "{ran:?}");
    assert!(ran.err.contains("~/papers/build is not there"), "{ran:?}");
    let may = "may:   rsync, sftp; write only data, read papers, read and write papers/build\n";
    assert!(ran.out.contains(may), "{ran:?}");
    let expected = policy.replacen("[\"rsync\"]", "[\"rsync\", \"sftp\"]", 1).replacen(
        "# nothing below\n",
        "",
        1,
    ) + "[workspace.\"papers\".paths]\nbuild = \"rw\"\n\n[workspace.data]\npath = \"~/data\"\naccess = \"wo\"\n# nothing below\n";
    assert_eq!(home.read(POLICY), expected);
    let after = home.everything();
    set(&["--tools", "sftp,rsync", "--add-workspace", &data, "--access", "papers/build=rw"]).ok();
    assert_eq!(home.everything(), after);
    set(&["--access", "papers=rw", "--access", "papers=ro"]).ok();
    assert_eq!(home.everything(), after);
    set(&["--tools", "rsync", "--remove-workspace", "data", "--remove-path", "papers/build"]).ok();
    assert!(
        home.read(POLICY).starts_with(policy.trim_end_matches("# nothing below\n")),
        "{}",
        home.read(POLICY)
    );
    assert!(home.read(POLICY).ends_with("# nothing below\n"));
    assert_eq!(home.akeys(&["grant", "show", NAME]).ok().out.matches("workspace ").count(), 1);
    set(&["--learn", "on"]).ok();
    assert!(home.read(POLICY).contains("tools = [\"rsync\"]\nlearn = true\n"));
}

#[test]
fn what_install_refuses_is_refused() {
    let home = installed();
    let before = home.everything();
    let set = |args: &[&str]| home.akeys(&[&["grant", "set", NAME], args].concat());
    set(&["--add-workspace", &format!("{}:home", home.at(""))]).fails(1, "is the home directory");
    set(&["--add-workspace", &format!("{}:ssh", home.at(".ssh"))]).fails(1, "refused as a workspace: ");
    let bin = home.around().join("bin");
    set(&["--add-workspace", bin.to_str().unwrap()]).fails(1, "where the gate's programs are");
    set(&["--add-workspace", &home.at("gone")]).fails(4, "No such file");
    set(&["--add-workspace", &format!("{}:papers", home.at("data"))])
        .fails(3, "workspace papers is there already");
    set(&["--remove-workspace", "papers"]).fails(1, "no workspace would be left");
    set(&["--access", "gone=rw"]).fails(4, "there is no workspace gone");
    set(&["--remove-path", "gone/x"]).fails(4, "there is no workspace gone");
    std::os::unix::fs::symlink("/etc", home.at("papers/out")).unwrap();
    set(&["--access", "papers/out=rw"]).fails(1, "leads out of the workspace");
    std::fs::remove_file(home.at("papers/out")).unwrap();
    set(&["--access", "papers=x"]).fails(2, "unknown variant");
    set(&["--tools", "shell"]).fails(2, "unknown variant");
    set(&[]).fails(2, "nothing is to be changed");
    home.akeys(&["grant", "set", "lab.pc", "--learn", "on"])
        .fails(4, "no grant lab.pc; there are: playground.chef1");
    assert_eq!(home.everything(), before);
    // A name may move to another directory.
    set(&["--remove-workspace", "papers", "--add-workspace", &format!("{}:papers", home.at("data"))]).ok();
    assert!(home.read(POLICY).contains("path = \"~/data\""));
}

#[test]
fn the_policy_is_put_back_when_the_key_file_cannot_be_written() {
    let home = installed();
    let policy = home.read(POLICY);
    std::fs::hard_link(home.at(".ssh/authorized_keys"), home.at("other-name")).unwrap();
    home.akeys(&["grant", "set", NAME, "--expires", "2040-01-01"]).fails(1, "has another name");
    assert_eq!(home.read(POLICY), policy);
}

#[test]
fn rules_for_files_are_shown_in_words() {
    let home = installed();
    let policy = home.read(POLICY);
    let rules =
        "access = \"rw\"\nversions = true\nquota = \"10G\"\nquota-files = 1000\nmin-free = \"1500\"\n";
    let ruled = policy.replacen("access = \"ro\"\n", rules, 1);
    assert_ne!(ruled, policy);
    home.write(POLICY, &format!("{ruled}[workspace.papers.names]\nhide = [\".git\"]\n[workspace.papers.paths]\n\"in\" = \"drop\"\n"));
    home.make("papers/in");
    let shown = home.akeys(&["grant", "show", NAME]).ok().out;
    for words in [
        "papers/in is drop",
        "what is overwritten or removed is kept",
        "at most 10 GiB",
        "at most 1000 files",
        "1500 bytes stay free",
        "not seen: .git",
        "! rsync may not push into papers: it does not keep the rule \"versions\"; sftp and scp do",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let listed = home.akeys(&["list"]).ok().out;
    let listed = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        listed.contains("read and write papers (what is overwritten or removed is kept, at most 10 GiB,"),
        "{listed}"
    );
    assert!(listed.contains("drop into papers/in"), "{listed}");
    home.akeys(&["grant", "set", NAME, "--access", "papers=drop"]).ok();
    let shown = home.akeys(&["grant", "show", NAME]).ok().out;
    assert!(shown.contains("workspace papers is ~/papers, drop"), "{shown}");
}
