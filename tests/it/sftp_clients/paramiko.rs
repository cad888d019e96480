//! paramiko, the library behind most of Python's SFTP: see `paramiko.py`.

use std::fs;

use super::{Served, ends, installed, picture, say};
use crate::support::Account;

#[test]
fn paramiko_does_what_programs_ask_of_it() {
    // Debian's package is for Debian's Python, whichever another one stands first in PATH.
    let python = "/usr/bin/python3";
    if !installed(python) {
        return;
    }
    let served = Served::new();
    let python = || served.command(python);
    if !ends(python().args(["-c", "import paramiko"])).status.success() {
        return say("not tried: paramiko is not installed (scripts/packages.sh python3-paramiko)");
    }
    let listener = served.sandbox.listen();
    served.crowd("ro/many");
    let before = picture(&served.shelf("ro"));
    fs::write(served.local("script.py"), include_str!("paramiko.py")).unwrap();
    let mut command = python();
    command.arg("script.py").arg(listener.port().to_string()).arg(&Account::current().name);
    let outcome = ends(command.arg(&served.key.file).arg(listener.make_known())).succeeds();
    assert!(outcome.stdout_text().ends_with("done\n"), "{outcome}");
    assert!(picture(&served.shelf("ro")) == before);
    assert_eq!(
        fs::read(served.shelf("rw/from-a-stream")).unwrap(),
        fs::read(served.local("tree/big")).unwrap()
    );
}
