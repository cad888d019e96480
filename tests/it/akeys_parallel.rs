//! Many programs at once on one key file: every one that says it is done has its effect, and nothing else changed.

use std::process::{Child, Stdio};

use crate::akeys_home::{FOREIGN, Home, Ran};

#[test]
fn fifty_installs_and_removes_at_once() {
    const HALF: usize = 25;
    let home = Home::new();
    home.make("papers");
    let papers = home.at("papers");
    let foreign = format!("# top\n{FOREIGN} alice\n\n");
    home.write(".ssh/authorized_keys", &foreign);
    let name = |kind: &str, n: usize| format!("{kind}{n}");
    for n in 0..HALF {
        home.federation(&name("old", n), "pod");
        home.federation(&name("new", n), "pod");
        home.install(&["--federation", &name("old", n), "--workspace", &papers]).ok();
    }
    home.write(".ssh/authorized_keys", &(home.keys() + "# bottom"));
    let start = |mut command: std::process::Command| -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut running = Vec::new();
    for n in 0..HALF {
        let install = ["--federation", &name("new", n), "--workspace", &papers];
        running.push(start(home.install_command(&install)));
        running.push(start(home.command(&["remove", "--federation", &name("old", n)])));
    }
    for child in running {
        Ran::from(&child.wait_with_output().unwrap()).ok();
    }
    let keys = home.keys();
    assert!(keys.starts_with(&foreign), "{keys}");
    let rest = &keys[foreign.len()..];
    assert_eq!(rest.lines().filter(|line| *line == "# bottom").count(), 1);
    let mut expected: Vec<String> = (0..HALF).map(|n| format!("{}.pod", name("new", n))).collect();
    expected.sort();
    let mut installed: Vec<&str> =
        rest.lines().filter_map(|line| line.rsplit_once(" akeys:")).map(|l| l.1).collect();
    installed.sort_unstable();
    assert_eq!(installed, expected);
    assert_eq!(rest.lines().count(), HALF + 1, "{rest}");
    let files: Vec<String> = expected.iter().map(|name| format!("{name}.toml")).collect();
    assert_eq!(home.names(".config/akeys/grants"), files);
    assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"]);
}
