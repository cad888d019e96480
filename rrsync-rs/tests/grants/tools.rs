//! One key for several tools, and for one alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;

use crate::support::{self, Account, picture, said};
use crate::{account, ends, rsync};

/// A program for `sftp -D` and `scp -D`: the gate with the grant, asked for the SFTP subsystem.
fn subsystem(account: &Account, line: &str) -> String {
    let script = account.root.join("subsystem");
    let home = account.root.join("home");
    let text = format!(
        "#!/bin/sh\nSSH_ORIGINAL_COMMAND='{line}' HOME='{}' exec '{}' --grant playground.chef1\n",
        home.display(),
        support::GATE
    );
    fs::write(&script, text).unwrap();
    format!("/bin/sh {}", script.display())
}

pub(crate) fn sftp(account: &Account, batch: &str) -> Output {
    let commands = account.write("batch", batch);
    // A gate that refuses is gone before sftp has said anything: that is to be an error, as it is behind ssh, and no signal.
    let mut sftp = std::process::Command::new("sh");
    sftp.args(["-c", "trap '' PIPE; exec sftp \"$@\"", "sftp"]);
    sftp.arg("-b").arg(commands).arg("-D").arg(subsystem(account, "/usr/lib/openssh/sftp-server -l INFO"));
    sftp.current_dir(account.root.join("client")).output().expect("openssh-client is installed")
}

#[test]
fn sftp_sees_the_workspaces_and_nothing_else() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replace("\"rsync\"", "\"sftp\"");
    account.grant("playground.chef1", &text);
    symlink("../papers-secret/key", account.d("papers/outer")).unwrap();
    let outside = picture(&account.d("papers-secret"));
    let output = sftp(
        &account,
        "ls -1\nget papers/fig/two\nput src/new papers/build/new\nrename papers/build/old papers/build/kept\n",
    );
    ends(&output, 0);
    let text = said(&output);
    assert!(
        ["papers", "notes", "inbox"].iter().all(|name| text.contains(name)) && !text.contains("secret"),
        "{text}"
    );
    assert_eq!(
        account.read("client/two")
            + &account.read("D/papers/build/new")
            + &account.read("D/papers/build/kept"),
        "2newold"
    );
    for batch in [
        "put src/new papers/fig/new",
        "get papers/../papers-secret/key",
        "get /etc/passwd",
        "get papers/outer",
        "rm papers/one",
        "chmod 777 papers/one",
        "get inbox/there",
        "ls inbox",
        "rename papers/one papers/build/one",
        "ln papers/one papers/build/one",
        "ls ../..",
        "mkdir papers-secret/x",
    ] {
        let output = sftp(&account, &format!("{batch}\n"));
        if batch != "ls ../.." {
            ends(&output, 1);
        }
        assert!(
            !said(&output).contains("OUTSIDE") && !said(&output).contains("root:"),
            "{batch}: {}",
            said(&output)
        );
    }
    assert_eq!(picture(&account.d("papers-secret")), outside);
    assert!(account.d("papers/one").exists() && !account.d("papers/build/one").exists());
    let audit = account.audit();
    let session = audit.iter().find(|record| record["rule"] == "sftp").unwrap();
    assert_eq!(session["confinement"]["seccomp"], true);
    let read = audit.iter().find(|record| record["file"] == "read").unwrap();
    assert_eq!(
        (&read["path"], &read["bytes"], &read["result"]),
        (&"/papers/fig/two".into(), &1.into(), &"done".into())
    );
    assert!(audit.iter().any(|record| record["file"] == "rename" && record["to"] == "/papers/build/kept"));
}

#[test]
fn a_key_for_one_tool_is_no_key_for_another() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap();
    for (tools, rsync_code, sftp_code) in
        [("\"rsync\"", 0, 255), ("\"sftp\"", 12, 0), ("\"scp\"", 12, 0), ("\"watch\"", 12, 255)]
    {
        account.grant("playground.chef1", &text.replace("\"rsync\"", tools));
        ends(&rsync(&account, &["-a", "h:papers/one", "got/"]), rsync_code);
        ends(&sftp(&account, "ls papers\n"), sftp_code);
    }
}
