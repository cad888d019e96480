//! The installer for hosts without akeys, in three shells: it does what akeys does.
//!
//! `doubts` is what it leaves alone, `faults` what happens when it is stopped half-way.

mod doubts;
mod faults;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home, Ran};
use crate::support::find_program;

/// Another ed25519 key than [`FOREIGN`].
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChGEs0Qj7ZqdmgR6R4JgoIf7JYk6rQ6rZ5vL5X6n";

/// A file of `templates/`.
pub(crate) fn template(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(name)
}

/// The shells that the installer has to run in, each with the tools that come with it. One that is missing is named.
pub(crate) fn shells() -> Vec<(&'static str, Vec<String>, String)> {
    let usual = "/usr/bin:/bin";
    let mut shells = Vec::new();
    for (name, args) in [("dash", &[][..]), ("bash", &["--posix"]), ("busybox", &["sh"])] {
        let dirs = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
        let Some(program) = dirs.into_iter().find(|program| program.exists()) else {
            eprintln!("{name} is missing: the installer was not tried in it");
            continue;
        };
        let program = program.to_str().unwrap().to_owned();
        let path = if name == "busybox" { applets(&program) } else { usual.to_owned() };
        let words = std::iter::once(program).chain(args.iter().map(|&arg| arg.to_owned()));
        shells.push((name, words.collect(), path));
    }
    assert!(!shells.is_empty(), "there is no shell to try the installer in");
    shells
}

/// A directory in which every tool is busybox's, but for flock(1), which Debian's busybox has not.
fn applets(busybox: &str) -> String {
    use std::sync::OnceLock;
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new(busybox).arg("--install").arg("-s").arg(dir.path()).status().unwrap().success());
        let _ = fs::remove_file(dir.path().join("flock"));
        symlink(find_program("flock"), dir.path().join("flock")).unwrap();
        dir
    });
    dir.path().to_str().unwrap().to_owned()
}

/// What the installer is told: a grant, its line and its policy, as akeys would install them.
#[derive(Clone)]
pub(crate) struct Words {
    /// The line.
    line: String,
    /// The policy.
    policy: String,
}

/// Its name.
const GRANT: &str = "playground.chef1";

/// A home in which nothing is installed, and what akeys would install there.
pub(crate) fn prepared() -> (Home, Words) {
    let home = Home::with_federation();
    home.install_papers().ok();
    let words = Words {
        line: home.keys().trim_end().to_owned(),
        policy: home.read(&format!(".config/akeys/grants/{GRANT}.toml")),
    };
    home.akeys(&["remove", "--federation", "playground"]).ok();
    fs::remove_file(home.path().join(".ssh/authorized_keys")).unwrap();
    (home, words)
}

/// The installer with these arguments, ready to be started.
pub(crate) fn command(home: &Home, shell: &[String], path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(&shell[0]);
    home.settle(&mut command).env("PATH", path).args(&shell[1..]).arg(template("install-key.sh")).args(args);
    command
}

/// Installs.
pub(crate) fn install(home: &Home, shell: &[String], path: &str, words: &Words) -> Ran {
    Ran::from(&command(home, shell, path, &[GRANT, &words.line, &words.policy]).output().unwrap())
}

#[test]
fn the_installer_does_what_akeys_does_byte_for_byte() {
    for (name, shell, path) in shells() {
        for before in [
            String::new(),
            format!("# mine\n\n{FOREIGN} alice\n"),
            FOREIGN.to_owned(),
            format!("{FOREIGN} a\r\n# b\r\n"),
            format!("{FOREIGN} a\r\n# b"),
            format!("{FOREIGN} a\n# b\r\n"),
            "garbage \"unterminated\n\x00\u{202e}\n".to_owned(),
            "\n\n\n".to_owned(),
            "no end but a \x00".to_owned(),
            format!("{}\n", "x".repeat(300_000)),
            "-n\n-e \\n\\c %s\n*\n".to_owned(),
        ] {
            let (home, words) = prepared();
            let ours = home.copy();
            for home in [&home, &ours] {
                home.write(".ssh/authorized_keys", &before);
                fs::set_permissions(home.path().join(".ssh/authorized_keys"), Permissions::from_mode(0o640))
                    .unwrap();
            }
            ours.akeys(&[
                "install",
                "--federation",
                "playground",
                "--workspace",
                "papers",
                "--gate",
                home.gate().to_str().unwrap(),
            ])
            .ok();
            let ran = install(&home, &shell, &path, &words).ok();
            assert!(ran.out.starts_with("added one line to "), "{name}: {ran:?}");
            let bytes = |home: &Home, file: &str| fs::read(home.path().join(file)).unwrap();
            let policy = format!(".config/akeys/grants/{GRANT}.toml");
            for file in [".ssh/authorized_keys", &policy] {
                assert_eq!(bytes(&home, file), bytes(&ours, file), "{name}: {before:?}");
            }
            let mode = |file: &str| home.path().join(file).metadata().unwrap().mode() & 0o7777;
            assert_eq!((mode(".ssh/authorized_keys"), mode(&policy)), (0o640, 0o600), "{name}");
            let after = home.everything();
            let ran = install(&home, &shell, &path, &words).ok();
            assert_eq!(ran.out, "installed already; nothing changed\n", "{name}");
            assert_eq!(home.everything(), after, "{name}");
            assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"], "{name}");
        }
    }
}

#[test]
fn an_account_without_anything_gets_private_directories() {
    for (name, shell, path) in shells() {
        let (home, words) = prepared();
        fs::remove_dir_all(home.path().join(".ssh")).unwrap();
        fs::remove_dir_all(home.path().join(".config")).unwrap();
        fs::remove_dir_all(home.path().join(".local")).unwrap();
        install(&home, &shell, &path, &words).ok();
        let mode = |file: &str| home.path().join(file).metadata().unwrap().mode() & 0o7777;
        for (file, expected) in [
            (".ssh", 0o700),
            (".ssh/authorized_keys", 0o600),
            (".config/akeys", 0o700),
            (".config/akeys/grants", 0o700),
            (".local/state/akeys", 0o700),
        ] {
            assert_eq!(mode(file), expected, "{name}: {file}");
        }
        assert_eq!(home.keys(), format!("{}\n", words.line));
        let listed = home.akeys(&["list"]).ok().out;
        assert!(listed.contains(GRANT) && !listed.contains("DEAD"), "{name}: {listed}");
        // And akeys finds nothing to do.
        home.akeys(&["federation", "list"]).ok();
    }
}
