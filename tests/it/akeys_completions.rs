//! `akeys completions`: each shell takes what is printed for it.

use std::process::{Command, Stdio};

use crate::akeys_home::Home;
use crate::support::{find_program, has_program};

#[test]
fn bash_completes_subcommands_and_options() {
    let home = Home::new();
    home.write("akeys.bash", &home.akeys(&["completions", "bash"]).ok().out);
    let script = r#"source akeys.bash
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _akeys akeys "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
complete_line akeys rot
complete_line akeys grant s
complete_line akeys add --restr
complete_line akeys format --only ke"#;
    let mut bash = Command::new(find_program("bash"));
    let output = home.settle(&mut bash).args(["-euc", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rotate\nshow set\n--restrict\nkeys\n", "{said}");
}

#[test]
fn each_shell_reads_its_own() {
    let home = Home::new();
    let mut unread = Vec::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.akeys(&["completions", shell]).ok().out;
        for word in ["federation", "rotate", "apply", "expire", "allow-lockout"] {
            assert!(script.contains(word), "{word} is not in the words for {shell}");
        }
        home.write("script", &script);
        if !has_program(shell) {
            unread.push(shell);
            continue;
        }
        let mut reader = Command::new(find_program(shell));
        let output = home.settle(&mut reader).args(["-n", "script"]).stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    }
    if !unread.is_empty() {
        eprintln!("not installed, so their words were not read by them: {}", unread.join(", "));
    }
    home.akeys(&["completions", "csh"]).fails(2, "invalid value 'csh'");
}
