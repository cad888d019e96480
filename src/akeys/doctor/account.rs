//! The login shell, and what it does before a forced command runs.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rrsync_rs::escape::Escaped;

use super::check::Check;
use crate::akeys::account::Account;
use crate::akeys::strict::{self, FaultKind, quoted};

/// How long a login shell may take to do nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The checks of the account itself.
pub(super) fn checks(account: &Account) -> Vec<Check> {
    let mut checks = vec![shell(account)];
    checks.extend(startup(account));
    if !account.is_closed() && account.shell.is_file() {
        checks.push(quiet(account));
    }
    checks
}

/// sshd hands every forced command to the login shell (`do_child` in session.c).
fn shell(account: &Account) -> Check {
    let shell = Escaped::os(&account.shell).to_string();
    if account.shell.as_os_str().is_empty() {
        return Check::fail("shell", "this account is not listed, so nobody can log in to it");
    }
    if account.is_closed() {
        let message = format!("{shell} runs no command, so no forced command runs either");
        return Check::fail("shell", message).mend(format!("chsh -s /bin/sh {}", account.name));
    }
    match fs::metadata(&account.shell) {
        Err(error) => Check::fail("shell", format!("{shell}: {error}"))
            .mend(format!("chsh -s /bin/sh {}", account.name)),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Check::fail("shell", format!("{shell} is not executable"))
                .mend(format!("chsh -s /bin/sh {}", account.name))
        }
        Ok(_) => Check::pass("shell", format!("{shell} runs forced commands")),
    }
}

/// Files that run before every forced command: whoever can write one has the account.
fn startup(account: &Account) -> Vec<Check> {
    let rc = account.home.join(".ssh/rc");
    let mut checks = Vec::new();
    for path in account.startup_files() {
        let shown = Escaped::os(&path).to_string();
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let faults = fs::metadata(&real)
            .map(|metadata| strict::of_one(&real, &metadata, account.uid))
            .unwrap_or_default();
        let fault = faults.into_iter().find(|fault| !matches!(fault.kind, FaultKind::OwnGroup(_)));
        checks.push(match fault {
            Some(fault) => {
                let mend = fault.mend(&account.name);
                Check::fail(
                    "startup",
                    format!("{fault}, and {} runs it before every forced command", account.shell_name()),
                )
                .mend(mend)
            }
            None => Check::pass(
                "startup",
                format!(
                    "{} runs {shown} before every forced command; only this account can write it",
                    account.shell_name()
                ),
            ),
        });
    }
    if rc.exists() {
        let message = format!(
            "{} runs before forced commands of keys without restrict or no-user-rc",
            Escaped::os(&rc)
        );
        checks.push(Check::warn("startup", message).mend(format!("rm {}", quoted(&rc))));
    }
    checks
}

/// What the shell prints before a command is taken by rsync and scp for the other side's words, and the transfer fails.
fn quiet(account: &Account) -> Check {
    match output(account) {
        Ok(Some(bytes)) if bytes.is_empty() => {
            Check::pass("quiet", "the login shell prints nothing of its own")
        }
        Ok(Some(bytes)) => {
            let start = Escaped(&bytes[..bytes.len().min(60)]).to_string();
            let message = format!(
                "the login shell prints \"{start}\" before every command, which breaks rsync and scp"
            );
            let files: Vec<String> = account.startup_files().iter().map(|path| quoted(path)).collect();
            Check::fail("quiet", message)
                .mend(format!("case $- in *i*) ;; *) return ;; esac   # first in {}", files.join(" ")))
        }
        Ok(None) => Check::fail(
            "quiet",
            format!("the login shell takes more than {} seconds to start", PATIENCE.as_secs()),
        ),
        Err(error) => Check::fail("quiet", format!("{}: {error}", Escaped::os(&account.shell))),
    }
}

/// The stdout of the login shell that runs nothing, started as sshd starts it; `None` when it does not end in time.
fn output(account: &Account) -> io::Result<Option<Vec<u8>>> {
    let mut child = Command::new(&account.shell)
        .args(["-c", ":"])
        .env_clear()
        .env("HOME", &account.home)
        .env("USER", &account.name)
        .env("SHELL", &account.shell)
        .env("PATH", "/usr/bin:/bin")
        // bash takes this, and no SHLVL, for a sign of sshd.
        .env("SSH_CLIENT", "127.0.0.1 1 22")
        .env("SSH_CONNECTION", "127.0.0.1 1 127.0.0.1 22")
        .current_dir(&account.home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.by_ref().take(1 << 16).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
    }
    let answer = receiver.recv_timeout(PATIENCE);
    if answer.is_err() {
        child.kill()?;
    }
    child.wait()?;
    answer.ok().transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::doctor::check::State;

    fn account(home: &std::path::Path, shell: &str) -> Account {
        Account { shell: shell.into(), ..Account::own(home) }
    }

    #[test]
    fn a_shell_that_runs_nothing_fails() {
        let home = tempfile::tempdir().unwrap();
        for (path, state) in [
            ("/bin/sh", State::Pass),
            ("/usr/sbin/nologin", State::Fail),
            ("/no/such/shell", State::Fail),
            ("/etc/passwd", State::Fail),
            ("", State::Fail),
        ] {
            assert_eq!(shell(&account(home.path(), path)).state, state, "{path}");
        }
    }

    #[test]
    fn a_shell_that_talks_is_heard() {
        let home = tempfile::tempdir().unwrap();
        let shell = home.path().join("talker");
        let script = |text: &str| {
            fs::write(&shell, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
            quiet(&account(home.path(), shell.to_str().unwrap()))
        };
        assert_eq!(script(":").state, State::Pass);
        let loud = script("printf 'hello\\033[31m'");
        assert_eq!(loud.state, State::Fail);
        assert!(loud.message.contains("hello\\x1b[31m"), "{}", loud.message);
    }
}
