//! What is installed elsewhere: the installer for hosts without akeys, in three shells; and that every template is read.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::akeys_home::{FOREIGN, Home, Ran};
use crate::support::{find_program, has_program};

/// Another ed25519 key than [`FOREIGN`].
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChGEs0Qj7ZqdmgR6R4JgoIf7JYk6rQ6rZ5vL5X6n";

fn template(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(name)
}

/// The shells that the installer has to run in, each with the tools that come with it. One that is missing is named.
fn shells() -> Vec<(&'static str, Vec<String>, String)> {
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
struct Words {
    line: String,
    policy: String,
}

const GRANT: &str = "playground.chef1";

/// A home in which nothing is installed, and what akeys would install there.
fn prepared() -> (Home, Words) {
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

fn command(home: &Home, shell: &[String], path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(&shell[0]);
    home.settle(&mut command).env("PATH", path).args(&shell[1..]).arg(template("install-key.sh")).args(args);
    command
}

fn install(home: &Home, shell: &[String], path: &str, words: &Words) -> Ran {
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
fn systemd_takes_the_unit_for_copies_and_its_command_is_one() {
    let unit = template("systemd/afiles.service");
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
    let installed = scratch.path().join("afiles.service");
    fs::write(&installed, text.replace("%h/.local/bin/afiles", "/bin/true")).unwrap();
    let ran = Command::new(find_program("systemd-analyze"))
        .args(["verify", "--man=no"])
        .arg(&installed)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && !said.contains("afiles.service:"), "{said}");
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
