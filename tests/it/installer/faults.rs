//! The installer killed at every step, on a full disk, and many of them at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{GRANT, command, install, prepared, shells, template};
use crate::akeys_home::{FOREIGN, Home, Ran};

/// Tools that count how often they were called, and kill the shell that called them at one of the calls.
fn deadly_tools(dir: &Path, path: &str, at: usize, after: bool) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).unwrap();
    let _ = fs::remove_file(dir.with_extension("count"));
    for tool in [
        "cp", "cat", "cmp", "mv", "ln", "rm", "sync", "wc", "grep", "tail", "head", "ls", "mkdir", "id",
        "flock",
    ] {
        let real = path.split(':').map(|dir| Path::new(dir).join(tool)).find(|tool| tool.exists()).unwrap();
        let real = real.to_str().unwrap();
        let count = dir.with_extension("count");
        let count = count.to_str().unwrap();
        let first = if after { format!("{real} \"$@\"") } else { String::new() };
        let script = format!(
            "#!/bin/sh\necho >>{count}\nif [ \"$(/usr/bin/wc -l <{count})\" -eq {at} ]; then\n{first}\nkill -9 $PPID\nexit 1\nfi\nexec {real} \"$@\"\n"
        );
        fs::write(dir.join(tool), script).unwrap();
        fs::set_permissions(dir.join(tool), Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn killed_at_any_step_the_installer_leaves_the_old_file_or_the_new_one() {
    let (pristine, words) = prepared();
    let before = format!("{FOREIGN} alice\n# no end");
    pristine.write(".ssh/authorized_keys", &before);
    let whole = format!("{before}\n{}\n", words.line);
    for (name, shell, path) in shells() {
        // Every call in one shell, before it and behind it; the others do the same, and are tried at a third of the calls.
        let (step, sides) = if name == "dash" { (1, &[false, true][..]) } else { (3, &[false][..]) };
        for after in sides {
            let mut kills = 0;
            for number in (1..=120).step_by(step) {
                let home = pristine.copy();
                let tools = home.around().join("tools");
                deadly_tools(&tools, &path, number, *after);
                let ran = install(&home, &shell, &format!("{}:{path}", tools.display()), &words);
                let at = format!("{name} {number} {after}: {ran:?}");
                let keys = home.keys();
                assert!(keys == before || keys == whole, "{at}: {keys}");
                // There is never a key without its policy.
                let policy = home.names(".config/akeys/grants").contains(&format!("{GRANT}.toml"));
                assert!(keys == before || policy, "{at}");
                install(&home, &shell, &path, &words).ok();
                assert_eq!(home.keys(), whole, "{at}");
                assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"], "{at}");
                assert_eq!(home.names(".config/akeys/grants"), [format!("{GRANT}.toml")], "{at}");
                let calls = fs::read_to_string(tools.with_extension("count")).unwrap().lines().count();
                if calls < number {
                    break;
                }
                kills += 1;
            }
            assert!((20..119).contains(&(kills * step)), "{name}: {kills} kills hit");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_installers_file_as_it_was() {
    let (pristine, words) = prepared();
    let before = format!("{FOREIGN} alice\n").repeat(40);
    for (name, shell, path) in shells() {
        let home = pristine.copy();
        home.write(".ssh/authorized_keys", &before);
        let mut command = Command::new("/bin/sh");
        let script = "ulimit -c 0; trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\"";
        home.settle(&mut command)
            .env("PATH", &path)
            .args(["-c", script])
            .args(&shell)
            .arg(template("install-key.sh"));
        let ran = Ran::from(&command.args([GRANT, &words.line, &words.policy]).output().unwrap());
        assert_ne!(ran.code, 0, "{name}: {ran:?}");
        assert_eq!(home.keys(), before, "{name}");
        assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"], "{name}");
        assert_eq!(home.names(".config/akeys/grants"), [""; 0], "{name}");
    }
}

#[test]
fn installers_and_akeys_at_once_lose_nothing() {
    let home = Home::new();
    home.make("papers");
    let mut words = Vec::new();
    for number in 0..6 {
        let name = format!("fed{number}");
        home.federation(&name, "pod");
        home.install(&["--federation", &name, "--workspace", "papers"]).ok();
        let line = home.keys().trim_end().to_owned();
        let policy = home.read(&format!(".config/akeys/grants/{name}.pod.toml"));
        home.akeys(&["remove", "--federation", &name]).ok();
        words.push((format!("{name}.pod"), line, policy));
    }
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} me\n"));
    let shells = shells();
    let mut running = Vec::new();
    for (number, (grant, line, policy)) in words.iter().enumerate() {
        let (_, shell, path) = &shells[number % 3];
        running
            .push(command(&home, shell, path, &[grant, line, policy]).stdout(Stdio::null()).spawn().unwrap());
    }
    for number in 6..9 {
        home.federation(&format!("fed{number}"), "pod");
        running.push(
            home.install_command(&["--federation", &format!("fed{number}"), "--workspace", "papers"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let keys = home.keys();
    assert_eq!(keys.lines().count(), 10, "{keys}");
    for (_, line, _) in &words {
        assert!(keys.contains(line.as_str()), "{line}");
    }
}
