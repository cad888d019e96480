//! `akeys install --host`: in another account, over a real ssh; and what a hostile host can make of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Account, Key, Outcome, Run, Sandbox, copy_program, gate, our_program, run};

/// A user's laptop, from which another account is reached with the user's own, unrestricted key.
pub(crate) struct Laptop<'s> {
    sandbox: &'s Sandbox,
    ssh: PathBuf,
    pod: Key,
}

impl<'s> Laptop<'s> {
    pub(crate) fn new(sandbox: &'s Sandbox) -> Self {
        let own = sandbox.new_key("own");
        sandbox.authorize("", &own);
        sandbox.write("papers/draft", "draft\n");
        sandbox.write("papers/build/log", "log\n");
        let ssh = sandbox.client(&own).as_ssh();
        let laptop = Self { sandbox, ssh, pod: own };
        for dir in [laptop.home(), laptop.home().join(".local"), laptop.home().join(".local/bin")] {
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        }
        copy_program(&our_program("akeys"), &laptop.home().join(".local/bin/akeys"));
        copy_program(&gate(), &laptop.home().join(".local/bin/rrsync-rs"));
        laptop.akeys(&["federation", "new", "playground", "--pod", "chef1"]).succeeds();
        let pod = Sandbox::key_at(laptop.home().join(".ssh/akeys/playground.chef1"));
        Self { pod, ..laptop }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.sandbox.path("laptop")
    }

    /// The same laptop with another program for its ssh, which is still to be put into the directory.
    fn by(&self, ssh: PathBuf) -> Self {
        fs::create_dir(&ssh).unwrap();
        Self { sandbox: self.sandbox, ssh, pod: Sandbox::key_at(&self.pod.file) }
    }

    /// Runs akeys on the laptop; its ssh is the user's own.
    fn akeys(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(self.home().join(".local/bin/akeys"));
        command.args(args).current_dir(self.home()).env_clear().env("HOME", self.home());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.ssh.display()));
        run(&mut command, &Run { deadline: Some(Duration::from_mins(2)), ..Run::default() })
    }

    pub(crate) fn install(&self, args: &[&str]) -> Outcome {
        self.akeys(&[&["install", "--host", "host", "--federation", "playground"], args].concat())
    }

    /// Puts one of our programs into the account.
    pub(crate) fn provide(&self, program: &str) -> PathBuf {
        let bin = self.sandbox.home().join(".local/bin");
        fs::create_dir_all(&bin).unwrap();
        for dir in [&bin, bin.parent().unwrap()] {
            fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        }
        copy_program(&our_program(program), &bin.join(program));
        bin.join(program)
    }

    /// The pod pulls and pushes as it was granted.
    #[track_caller]
    pub(crate) fn works(&self) {
        let client = self.sandbox.client(&self.pod).hold();
        client.rsync(&["-a", "host:papers/draft", "copy"]).succeeds();
        assert_eq!(fs::read(self.sandbox.client_home().join("copy")).unwrap(), b"draft\n");
        client.rsync(&["-a", "copy", "host:papers/build/"]).succeeds();
        let refused = client.rsync(&["-a", "copy", "host:papers/new"]).says("rrsync-rs: ");
        assert!(!refused.status.success());
    }

    /// The card that was written here for the account on `host`. Its sshd is not the machine's, and the key on it is the
    /// one that it has shown.
    #[track_caller]
    pub(crate) fn card(&self, host: &str) -> String {
        let card = format!(".config/akeys/issued/{}@{host}/playground.chef1.toml", Account::current().name);
        let card = fs::read_to_string(self.home().join(card)).unwrap();
        let known = fs::read_to_string(self.sandbox.path("etc/known_hosts")).unwrap();
        let key: Vec<&str> = known.split_whitespace().skip(1).take(2).collect();
        assert!(card.contains(&format!("host-keys = [\n    \"{}\",\n]\n", key.join(" "))), "{card}");
        card
    }

    /// Everything in the account, by path.
    pub(crate) fn account(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut dirs = vec![self.sandbox.home()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    dirs.push(path);
                } else {
                    let content = fs::read(&path).unwrap_or_default();
                    found.push((path, content));
                }
            }
        }
        found.sort();
        found
    }
}

pub(crate) const PAPERS: [&str; 4] = ["--workspace", "papers:papers", "--writable", "papers/build"];

#[test]
fn an_account_that_has_only_the_gate_gets_the_key() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    let gate = laptop.provide("rrsync-rs");
    let before = fs::read_to_string(sandbox.authorized_keys()).unwrap();
    let dry = laptop.install(&[&PAPERS[..], &["--dry-run"]].concat()).succeeds();
    assert!(
        dry.stdout_text().contains("would add to authorized_keys on host:\n    restrict,command=\""),
        "{dry}"
    );
    assert_eq!(fs::read_to_string(sandbox.authorized_keys()).unwrap(), before);
    let address = ["--address", "laptop.example:2222", "--project", "thesis"];
    let done = laptop.install(&[&PAPERS[..], &address].concat()).succeeds();
    let says =
        "playground.chef1 may: rsync; read papers, read and write papers/build\n  papers is ~/papers\n";
    assert!(done.stdout_text().starts_with(says), "{done}");
    let line = fs::read_to_string(sandbox.authorized_keys()).unwrap();
    let line = line.strip_prefix(&before).unwrap();
    let gate = gate.canonicalize().unwrap();
    assert!(
        line.starts_with(&format!("restrict,command=\"{} --grant playground.chef1\" ", gate.display())),
        "{line}"
    );
    laptop.works();
    let again = laptop.install(&PAPERS).succeeds();
    assert!(again.stdout_text().contains("host: installed already; nothing changed\n"), "{again}");
    let card = laptop.card("laptop.example");
    assert!(card.contains("port = 2222\nproject = \"thesis\"\n"), "{card}");
}

#[test]
fn an_account_without_our_programs_gets_the_gate_when_that_is_asked() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    let before = laptop.account();
    laptop.install(&PAPERS).fails_with(4).says("host has no rrsync-rs\nhint: --with-gate copies it there");
    assert_eq!(laptop.account(), before);
    let done = laptop.install(&[&PAPERS[..], &["--with-gate"]].concat()).succeeds();
    assert!(done.stdout_text().contains("host: copied the gate to "), "{done}");
    let copied = sandbox.home().join(".local/bin/rrsync-rs");
    assert_eq!(fs::read(&copied).unwrap(), fs::read(laptop.home().join(".local/bin/rrsync-rs")).unwrap());
    assert_eq!(copied.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_dir(copied.parent().unwrap()).unwrap().count(), 1);
    laptop.works();
    let inode = copied.metadata().unwrap().ino();
    fs::set_permissions(&copied, Permissions::from_mode(0o777)).unwrap();
    let again = laptop.install(&[&PAPERS[..], &["--with-gate"]].concat()).succeeds();
    assert!(again.stdout_text().contains("host: this gate is there already: "), "{again}");
    let there = copied.metadata().unwrap();
    assert_eq!((there.ino(), there.permissions().mode() & 0o7777), (inode, 0o755));
    let other_name = sandbox.home().join("linked");
    fs::hard_link(&copied, &other_name).unwrap();
    for again in 0..2 {
        let done = laptop.install(&[&PAPERS[..], &["--with-gate"]].concat()).succeeds();
        assert!(done.stdout_text().contains("host: copied the gate to "), "{again}: {done}");
        assert_ne!(copied.metadata().unwrap().ino(), inode);
        fs::write(&copied, "another version").unwrap();
    }
    laptop.install(&[&PAPERS[..], &["--with-gate"]].concat()).succeeds();
    laptop.works();
}

#[test]
fn an_account_that_has_akeys_does_it_itself() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    laptop.provide("akeys");
    sandbox.write(".bashrc", "echo noise from a start-up file\n");
    fs::create_dir(sandbox.home().join("notes it's mine")).unwrap();
    let more = ["--workspace", "notes it's mine:notes=rw", "--from", "*", "--address", "laptop.example"];
    let done = laptop.install(&[&PAPERS[..], &more].concat()).succeeds();
    assert!(
        done.stdout_text().contains("host: playground.chef1 may: rsync; read and write notes, read papers"),
        "{done}"
    );
    assert!(
        done.stderr_text().contains("akeys: host: akeys: notes is writable; the bundle only asks to read\n"),
        "{done}"
    );
    assert!(!done.stdout_text().contains("noise"), "{done}");
    fs::remove_file(sandbox.home().join(".bashrc")).unwrap();
    laptop.works();
    assert!(laptop.card("laptop.example").contains("workspaces = [\"notes\", \"papers\"]\n"));
    // Its refusals are refusals here, with the same exit status.
    let other = laptop.install(&["--workspace", "papers"]).fails_with(3);
    other.says("akeys: host refused\n  akeys: ~/.config/akeys/grants/playground.chef1.toml: the grant");
    laptop.install(&["--workspace", "nowhere"]).fails_with(4).says("No such file");
    laptop.install(&["--workspace", ".:all"]).fails_with(1).says("refused as a workspace: ");
}

#[test]
fn a_directory_for_sockets_with_blanks_and_tokens_in_its_path_is_not_used() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    let odd = laptop.home().join("a %h");
    fs::create_dir(&odd).unwrap();
    let mut command = Command::new(laptop.home().join(".local/bin/akeys"));
    command.args(["install", "--host", "host", "--federation", "playground"]).args(PAPERS);
    command.env_clear().env("HOME", laptop.home()).env("TMPDIR", &odd);
    command.env("PATH", format!("{}:/usr/bin:/bin", laptop.ssh.display()));
    run(&mut command, &Run { deadline: Some(Duration::from_mins(2)), ..Run::default() }).succeeds();
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
    laptop.works();
}

#[test]
fn keys_that_change_and_keys_that_go_reach_an_account_elsewhere() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    laptop.provide("akeys");
    laptop.install(&PAPERS).succeeds();
    let keys = || fs::read_to_string(sandbox.authorized_keys()).unwrap();
    let before = keys();
    laptop.akeys(&["federation", "rotate", "playground"]).succeeds();
    let next = Sandbox::key_at(laptop.home().join(".ssh/akeys/next/playground.chef1"));
    let blob = |key: &Key| key.public.split(' ').nth(1).unwrap().to_owned();
    let update = |args: &[&str]| {
        laptop.akeys(&[&["federation", "update", "playground", "--host", "host"], args].concat())
    };
    let done = update(&[]).succeeds();
    assert!(
        done.stdout_text().starts_with("host: ~/.ssh/authorized_keys:2: playground.chef1 gets "),
        "{done}"
    );
    assert_eq!(keys(), before.replace(&blob(&laptop.pod), &blob(&next)));
    let again = update(&[]).succeeds();
    assert!(again.stdout_text().ends_with("playground is as its bundle says\n"), "{again}");
    // Installed again, before any update, the line has the new key too.
    fs::write(sandbox.authorized_keys(), &before).unwrap();
    let done = laptop.install(&PAPERS).succeeds();
    assert!(done.stdout_text().contains("put the new key into one line of "), "{done}");
    assert_eq!(keys(), before.replace(&blob(&laptop.pod), &blob(&next)));
    laptop.akeys(&["federation", "add", "playground", "--pod", "chef2"]).succeeds();
    laptop.akeys(&["federation", "revoke", "playground", "--pod", "chef1"]).succeeds();
    update(&["--dry-run"]).fails_with(2);
    let done = update(&["--allow-lockout"]).succeeds();
    assert!(done.stdout_text().contains(" goes: it was revoked\n"), "{done}");
    assert_eq!(keys(), before.lines().next().unwrap().to_owned() + "\n");
    // An account without akeys is not changed by half.
    fs::remove_file(sandbox.home().join(".local/bin/akeys")).unwrap();
    let before = laptop.account();
    update(&[]).fails_with(4).says("host has no akeys\nhint: install it there");
    assert_eq!(laptop.account(), before);
}

#[test]
fn what_cannot_be_granted_there_is_refused_and_nothing_is_left() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    symlink("build", sandbox.home().join("papers/link")).unwrap();
    fs::create_dir(sandbox.home().join("pap\ners")).unwrap();
    let before = laptop.account();
    for (args, code, says) in [
        (&["--workspace", "nowhere"][..], 4, "host: workspace nowhere: no such directory"),
        (&["--workspace", "papers/draft"], 4, "no such directory"),
        (&["--workspace", "~:home"], 1, "the gate refuses the policy"),
        (&["--workspace", ".ssh:keys"], 1, "the gate refuses the policy"),
        (
            &["--workspace", "papers", "--writable", "papers/nowhere"],
            4,
            "no such directory\nhint: make it there first",
        ),
        (&["--workspace", "papers", "--writable", "papers/link"], 1, "leads elsewhere, through a symlink"),
        (&["--workspace", "pap\ners:x"], 1, "host cannot be asked: the answer has a line"),
        (&["--workspace", "papers", "--gate", "/bin/cat"], 1, "is not named rrsync-rs"),
        (&["--workspace", "papers", "--gate", "/nowhere/rrsync-rs"], 1, "host refused"),
        (&[], 2, "no workspace"),
    ] {
        let outcome = laptop.install(args).fails_with(code).says(says);
        assert!(!outcome.stderr_text().contains('\x1b'));
        let kept: Vec<_> = laptop.account().into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
        assert_eq!(kept, before, "{args:?}");
    }
    laptop
        .akeys(&[
            "install",
            "--host=-oProxyCommand=sh",
            "--federation",
            "playground",
            "--workspace",
            "papers",
        ])
        .fails_with(2)
        .says("host \"-oProxyCommand=sh\" must be");
    laptop
        .akeys(&["install", "--with-gate", "--federation", "playground", "--workspace", "papers"])
        .fails_with(2)
        .says("--host");
}

#[test]
fn a_key_that_is_there_in_another_way_is_a_conflict_over_there_too() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    laptop.provide("rrsync-rs");
    sandbox.authorize("", &laptop.pod);
    let before = laptop.account();
    laptop
        .install(&PAPERS)
        .fails_with(3)
        .says("host refused\n  install-key.sh: ")
        .says("has this key with other options");
    let kept: Vec<_> = laptop.account().into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
    assert_eq!(kept, before);
}

/// An `ssh` that plays a host: `answer` is the shell script that it runs in place of what it was told to run.
fn play(dir: &Path, answer: &str) {
    let script = format!(
        "#!/bin/sh\ncase $1 in\n-G) printf 'user anna\\nhostname laptop\\nport 22\\n'; exit 0;;\n-O) exit 0;;\nesac\n{answer}\n"
    );
    fs::write(dir.join("ssh"), script).unwrap();
    fs::set_permissions(dir.join("ssh"), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_hostile_host_gets_no_word_past_the_terminal_and_no_card_for_another_host() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    let played = laptop.by(sandbox.path("played"));
    // The mark is the first word of the script that the host is sent.
    let mark = "read -r first; mark=${first#*\\'}; mark=${mark%%\\'*}; cat >/dev/null\n";
    let facts =
        "printf '\\n%s begin\\nhome /home/anna\\nuser evil\\nuid 1000\\nsystem Linux x86_64\\n' \"$mark\"\n";
    for (answer, says) in [
        ("exit 255".to_owned(), "host: exit status 255"),
        ("printf '\\033[31mred\\n' >&2; exit 255".to_owned(), "host: \\x1b[31mred"),
        ("exit 0".to_owned(), "host cannot be asked: the answer is not whole"),
        ("head -c 5000000 /dev/zero".to_owned(), "the answer is not whole"),
        (format!("{mark}{facts}printf 'dir \\033[31m\\n%s end\\n' \"$mark\""), "the answer has a line"),
        (format!("{mark}{facts}printf 'dir ../x\\n%s end\\n' \"$mark\""), "the answer has a line"),
        (format!("{mark}{facts}printf 'dir /x\"\\\\\\n%s end\\n' \"$mark\""), "host has no rrsync-rs"),
        (
            format!(
                "{mark}{facts}printf 'dir /x\\nrrsync-rs /x\",pty,command=\"/rrsync-rs\\n%s end\\n' \"$mark\""
            ),
            "a forced command takes only letters",
        ),
        (
            format!("{mark}{facts}printf 'dir /x\\nrrsync-rs /bin/sh\\n%s end\\n' \"$mark\""),
            "is not named rrsync-rs",
        ),
        (
            format!(
                "{mark}{facts}printf 'dir /x\\nrrsync-rs /rrsync-rs\\n%s end\\n' \"$mark\"; printf '\\033[2J' >&2; exit 3"
            ),
            "host refused\n  \\x1b[2J",
        ),
    ] {
        play(&played.ssh, &answer);
        let outcome = played.install(&["--workspace", "papers"]);
        assert!(!outcome.status.success(), "{answer}: {outcome}");
        let said = outcome.stderr_text();
        assert!(said.contains(says) && !said.contains('\x1b'), "{answer}: {outcome}");
        assert!(!outcome.stdout_text().contains('\x1b'), "{outcome}");
        assert!(!laptop.home().join(".config/akeys/issued").exists(), "{answer}");
    }
    // It may lie about its own keys; the account and the host are whom ssh has reached.
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";
    let card = format!(
        "printf 'federation = \"playground\"\\npod = \"chef1\"\\nuser = \"victim\"\\nhost = \"elsewhere\"\\nworkspaces = [\"w\"]\\nhost-keys = [\"{key}\"]\\n'"
    );
    // The second session is another script, in which the mark stands in another place.
    let second = "mark=$(sed -n \"s/.*begin.n' '\\(akeys-[0-9a-f]*\\)'.*/\\1/p\" | head -n 1)";
    let answer = format!(
        "if [ -f {asked} ]; then {second}\nprintf '\\n%s begin\\n\\033[31mdone\\n%s end\\n' \"$mark\" \"$mark\"; {card}\n\
         else touch {asked}\n{mark}{facts}printf 'dir /x\\nakeys /akeys\\n%s end\\n' \"$mark\"; fi",
        asked = sandbox.path("asked").display()
    );
    play(&played.ssh, &answer);
    let outcome = played.install(&["--workspace", "papers"]).succeeds();
    assert!(outcome.stdout_text().contains("host: \\x1b[31mdone\n"), "{outcome}");
    let issued = laptop.home().join(".config/akeys/issued");
    let names: Vec<_> = fs::read_dir(&issued).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["anna@laptop"]);
    let issued = fs::read_to_string(issued.join("anna@laptop/playground.chef1.toml")).unwrap();
    assert!(issued.contains("user = \"anna\"\nhost = \"laptop\"\n"), "{issued}");
}

#[test]
fn a_connection_that_breaks_in_the_middle_leaves_nothing_half_done() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox);
    let real = laptop.ssh.join("ssh");
    let before = laptop.account();
    let cut = laptop.by(sandbox.path("cut"));
    // The scripts are the probe, the gate, and the installer; each is cut in turn.
    for (session, bytes) in
        [(1, 300), (1, 1500), (2, 100), (2, 60_000), (2, 5_000_000), (3, 300), (3, 5000), (3, 12_000)]
    {
        let count = sandbox.path("count");
        let _ = fs::remove_file(&count);
        let script = format!(
            "#!/bin/sh\ncase $1 in -G|-O) exec {real} \"$@\";; esac\necho >>{count}\nif [ \"$(wc -l <{count})\" -eq {session} ]; then head -c {bytes} | {real} \"$@\"; exit 255; fi\nexec {real} \"$@\"\n",
            real = real.display(),
            count = count.display()
        );
        fs::write(cut.ssh.join("ssh"), script).unwrap();
        fs::set_permissions(cut.ssh.join("ssh"), Permissions::from_mode(0o755)).unwrap();
        let outcome = cut.install(&[&PAPERS[..], &["--with-gate"]].concat());
        assert!(!outcome.status.success(), "{session} {bytes}: {outcome}");
        let left: Vec<_> = laptop
            .account()
            .into_iter()
            .filter(|entry| !before.contains(entry))
            .map(|(path, _)| path)
            .collect();
        let gate = sandbox.home().join(".local/bin/rrsync-rs");
        assert!(left.iter().all(|path| session == 3 && *path == gate), "{session} {bytes}: {left:?}");
    }
    laptop.install(&[&PAPERS[..], &["--with-gate"]].concat()).succeeds();
    laptop.works();
}
