//! The clients of putty-tools: psftp and pscp.

use std::fs;
use std::process::Command;

use super::{HARD_NAMES, Served, ends, installed, picture, same_files, with};
use crate::support::{Account, Listener, Outcome, Run, run};

pub(super) struct Putty<'s> {
    served: &'s Served,
    listener: Listener<'s>,
}

impl<'s> Putty<'s> {
    /// These clients have a format for keys of their own.
    #[track_caller]
    pub(super) fn new(served: &'s Served) -> Self {
        with(
            served.command("puttygen"),
            &[served.key.file.to_str().unwrap(), "-O", "private", "-o", "key.ppk"],
        )
        .succeeds();
        Self { served, listener: served.sandbox.listen() }
    }

    #[track_caller]
    fn command(&self, program: &str) -> Command {
        let key = with(
            self.served.command("ssh-keygen"),
            &["-lf".as_ref(), self.listener.make_known().as_os_str()],
        );
        let key = key.succeeds().stdout_text();
        let fingerprint = key.split(' ').nth(1).unwrap().to_owned();
        let mut command = self.served.command(program);
        command.args(["-batch", "-noagent", "-P", &self.listener.port().to_string(), "-i", "key.ppk"]);
        command.args(["-hostkey", &fingerprint]);
        command
    }

    #[track_caller]
    fn psftp(&self, batch: &str) -> Outcome {
        let mut command = self.command("psftp");
        command.args(["-b", "/dev/stdin", &format!("{}@127.0.0.1", Account::current().name)]);
        run(&mut command, &Run { stdin: batch.as_bytes(), ..Run::default() })
    }

    /// A remote path is written with a leading `host:`.
    #[track_caller]
    fn pscp(&self, args: &[&str]) -> Outcome {
        self.pscp_by("-sftp", args)
    }

    /// The same by one of the two protocols.
    #[track_caller]
    pub(super) fn pscp_by(&self, protocol: &str, args: &[&str]) -> Outcome {
        let host = format!("{}@127.0.0.1:", Account::current().name);
        let mut command = self.command("pscp");
        command.arg(protocol);
        with(command, &args.iter().map(|arg| arg.replace("host:", &host)).collect::<Vec<_>>())
    }
}

#[test]
fn psftp_does_all_its_commands() {
    if !installed("psftp") || !installed("puttygen") {
        return;
    }
    let served = Served::new();
    let putty = Putty::new(&served);
    let big = fs::read(served.local("tree/big")).unwrap();
    let entries = served.crowd("ro/many");
    let listed = putty.psftp("ls ro/many\n").succeeds().stdout_text();
    assert_eq!(listed.lines().filter(|line| line.contains(" 00000")).count(), entries);
    fs::write(served.local("part"), &big[..400_000]).unwrap();
    fs::copy(served.local("part"), served.shelf("rw/part")).unwrap();
    let said = putty
        .psftp(
            "pwd\ncd rw\npwd\nls\nls sub/*\nlpwd\nget big\nget sub/f f.back\nmget in.txt none\nreget big part\n\
             get -r sub got\nget \"sub/a name with blanks\"\nput tree/big new\nreput tree/big part\nput -r tree up\n\
             mput tree/*.txt\nmkdir d\nmkdir d/e\nmv new d\nren d/new d/renamed\nchmod 640 d/renamed\n\
             chmod u+x d/renamed\ndel none\nrmdir d/e\nhelp\nquit\n",
        )
        .succeeds()
        .stdout_text();
    assert!(said.contains("Remote directory is /rw") && said.contains("in.txt"), "{said}");
    for path in
        [served.local("big"), served.local("part"), served.shelf("rw/part"), served.shelf("rw/d/renamed")]
    {
        assert!(fs::read(&path).unwrap() == big, "{}", path.display());
    }
    same_files(&served.local("got"), &served.shelf("rw/sub"));
    same_files(&served.shelf("rw/up/sub"), &served.local("tree/sub"));
    assert_eq!(fs::read(served.local(HARD_NAMES[0])).unwrap(), HARD_NAMES[0].as_bytes());
    assert!(!served.shelf("rw/none").exists());
}

#[test]
fn pscp_copies_both_ways() {
    if !installed("pscp") || !installed("puttygen") {
        return;
    }
    let served = Served::new();
    let putty = Putty::new(&served);
    for args in [
        &["-p", "host:rw/big", "big"][..],
        &["-r", "host:ro/sub", "got"],
        &["host:rw/sub/a name with blanks", "blanks"],
        &["tree/big", "tree/in.txt", "host:rw/empty"],
        &["-r", "-p", "tree", "host:rw"],
        &["tree/in.txt", "host:wo/put"],
    ] {
        putty.pscp(args).succeeds();
    }
    assert!(putty.pscp(&["-ls", "host:rw/sub"]).succeeds().stdout_text().contains("deep"));
    same_files(&served.local("got"), &served.shelf("ro/sub"));
    same_files(&served.shelf("rw/tree/sub"), &served.local("tree/sub"));
    assert!(fs::read(served.local("big")).unwrap() == fs::read(served.shelf("rw/empty/big")).unwrap());
}

#[test]
fn access_is_kept_to() {
    if !installed("psftp") || !installed("pscp") || !installed("puttygen") {
        return;
    }
    let served = Served::new();
    let putty = Putty::new(&served);
    let before = picture(&served.shelf("ro"));
    for line in [
        "put tree/in.txt ro/new",
        "rm ro/in.txt",
        "mv ro/in.txt ro/x",
        "chmod 777 ro/in.txt",
        "mkdir ro/d",
        "get wo/in.txt stolen",
        "get rw/escape stolen",
        "get rw/escape-dir/secret stolen",
        "get /etc/passwd stolen",
        "put tree/in.txt rw/escape",
        "cd rw/escape-dir",
    ] {
        let outcome = putty.psftp(&format!("{line}\n"));
        assert!(!outcome.status.success(), "{outcome}");
    }
    for args in [
        &["tree/in.txt", "host:ro/new"][..],
        &["-r", "tree", "host:ro"],
        &["host:wo/in.txt", "stolen"],
        &["host:rw/escape", "stolen"],
    ] {
        let outcome = putty.pscp(args);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(picture(&served.shelf("ro")) == before);
    assert!(fs::metadata(served.local("stolen")).map_or(true, |stolen| stolen.len() == 0));
    ends(putty.command("psftp").args(["-b", "/dev/null", "127.0.0.1", "-l", &Account::current().name]))
        .succeeds();
}
