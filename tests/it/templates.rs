//! What is installed elsewhere: that every template is read by what it is for, and every script by small shells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::akeys_home::Home;
use crate::installer::{shells, template};
use crate::support::{find_program, has_program};

/// Every file below `dir`, as git has it.
fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files_below(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

#[test]
fn every_shell_script_is_read_by_small_shells_and_by_shellcheck() {
    let mut files = Vec::new();
    files_below(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
    assert!(files.len() >= 10, "{files:?}");
    for (name, shell, _) in shells() {
        for file in &files {
            let output = Command::new(&shell[0]).args(&shell[1..]).arg("-n").arg(file).output().unwrap();
            assert!(output.status.success(), "{name}: {}: {output:?}", file.display());
        }
    }
    if has_program("shellcheck") {
        let output = Command::new(find_program("shellcheck")).args(&files).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        eprintln!("shellcheck is missing: the scripts were only parsed");
    }
}

#[test]
fn every_template_is_explained() {
    let readme = fs::read_to_string(template("README.md")).unwrap();
    let mut files = Vec::new();
    files_below(&template(""), &mut files);
    for file in &files {
        let name = file.strip_prefix(template("")).unwrap().to_str().unwrap();
        assert!(name == "README.md" || readme.contains(&format!("`{name}`")), "{name} is not in README.md");
    }
}

#[test]
fn systemd_takes_the_units_and_their_commands_are_some() {
    for program in ["afiles", "awatch"] {
        systemd_takes(program);
    }
}

fn systemd_takes(program: &str) {
    let unit = template(&format!("systemd/{program}.service"));
    let text = fs::read_to_string(&unit).unwrap();
    let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=%h/.local/bin/")).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let ran =
        Command::new(crate::support::our_program(words[0])).args(&words[1..]).arg("--help").output().unwrap();
    assert!(ran.status.success(), "{command}");
    if !has_program("systemd-analyze") {
        return eprintln!("systemd-analyze is missing: the unit was not read by systemd");
    }
    let scratch = tempfile::tempdir().unwrap();
    let name = format!("{program}.service");
    let installed = scratch.path().join(&name);
    fs::write(&installed, text.replace(&format!("%h/.local/bin/{program}"), "/bin/true")).unwrap();
    let ran = Command::new(find_program("systemd-analyze"))
        .args(["verify", "--man=no"])
        .arg(&installed)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && !said.contains(&format!("{name}:")), "{said}");
}

#[test]
fn the_lines_of_the_template_are_restricted_keys() {
    let text = fs::read_to_string(template("authorized_keys")).unwrap();
    let keys = Home::new();
    let mut lines = text.clone();
    for number in 0..text.matches("AAAA...").count() {
        let name = format!("k{number}");
        keys.akeys(&["federation", "new", &name, "--pod", "pod"]).ok();
        let public = keys.read(&format!(".ssh/akeys/{name}.pod.pub"));
        lines = lines.replacen("AAAA...", public.split(' ').nth(1).unwrap(), 1);
    }
    keys.write("lines", &lines);
    let listed = keys.akeys(&["list", "--file", "lines", "--json"]).ok().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let found: Vec<_> =
        listed["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == "key").collect();
    assert_eq!(found.len(), 4, "{listed}");
    for line in found {
        assert_eq!(line["unrestricted"], false, "{line}");
    }
    let mut keygen = Command::new(find_program("ssh-keygen"));
    let output = keygen.args(["-lf", &keys.at("lines")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 4, "{output:?}");
}

#[test]
fn sshd_takes_the_template_of_its_configuration() {
    use crate::support::Account;
    let home = Home::new();
    let key = home.at("host_key");
    let mut keygen = Command::new(find_program("ssh-keygen"));
    assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status().unwrap().success());
    Account::current();
    let text = fs::read_to_string(template("sshd_config.d/akeys.conf")).unwrap();
    let user = &Account::current().name;
    home.write("akeys.conf", &text.replace("Match Group fileservers", &format!("Match User {user}")));
    home.write("sshd_config", &format!("HostKey {key}\nInclude {}\nPermitTTY yes\n", home.at("akeys.conf")));
    let sshd = |args: &[&str]| {
        let mut command = Command::new(find_program("sshd"));
        let output = command.args(["-f", &home.at("sshd_config")]).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    sshd(&["-t"]);
    let effective = |user: &str| sshd(&["-T", "-C", &format!("user={user},host=localhost,addr=127.0.0.1")]);
    let theirs = effective(user);
    for line in [
        "forcecommand /usr/local/bin/rrsync-rs -ro /srv/files\n",
        "exposeauthinfo yes\n",
        "disableforwarding yes\n",
        "permittty no\n",
        "permituserrc no\n",
        "authorizedkeysfile /etc/ssh/authorized_keys.d/%u\n",
    ] {
        assert!(theirs.contains(line), "{line}: {theirs}");
    }
    let others = effective("nobody");
    assert!(others.contains("forcecommand none\n") && others.contains("permittty yes\n"), "{others}");
}
