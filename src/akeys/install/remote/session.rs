//! One way to another account, by the user's own ssh: its configuration, agent and prompts.
//!
//! Every session runs `sh -s` and nothing else, so that no word of ours passes through a login shell, and its input is a
//! script that does nothing when it arrives cut short. The sessions share one connection, so that nobody is asked twice.
//! What comes back is somebody else's text: bounded, and not yet escaped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rrsync_rs::escape::Escaped;
use tempfile::TempDir;

use super::known;
use crate::akeys::acting;
use crate::card::{Destination, Place, User};
use crate::common::child::{self, Ended};
use crate::common::exit::{Exit, Failure};
use crate::common::ssh::SshError;

/// Somebody may have to type a password, and a gate to travel over a slow line.
const PATIENCE: Duration = Duration::from_mins(10);

/// The longest path of a socket, in `sockaddr_un`, less what ssh appends to it for a moment.
const MAX_SOCKET: usize = 108 - 20;

/// A way to an account.
pub(super) struct Session {
    destination: Destination,
    control: TempDir,
}

/// The account as ssh's configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Whose it is.
    pub(super) user: User,
    /// Where ssh connects to.
    pub(super) place: Place,
    /// The names under which ssh looks the host up in its `known_hosts` files, in its order.
    pub(super) known_as: Vec<String>,
    /// Those files.
    pub(super) known_hosts: Vec<PathBuf>,
}

impl Session {
    /// Makes ready. Nothing is connected yet.
    pub(super) fn to(destination: &Destination) -> Result<Self, Failure> {
        if acting::for_another() {
            return Err(acting::refusal());
        }
        // The path of the socket is short, and nothing in it means anything to ssh.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
        let fits = |dir: &Path| {
            dir.as_os_str().len() < MAX_SOCKET - 20 && dir.as_os_str().as_encoded_bytes().iter().all(plain)
        };
        let dir = Some(std::env::temp_dir()).filter(|dir| fits(dir)).unwrap_or_else(|| "/tmp".into());
        let control = tempfile::Builder::new().prefix("akeys-").tempdir_in(dir);
        let control = control.map_err(|error| Failure::new(Exit::Failed, format!("ssh: {error}")))?;
        Ok(Self { destination: destination.clone(), control })
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(options).arg("-o").arg(format!("ControlPath={}", self.socket().display()));
        if let Some(port) = self.destination.address.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.destination.user {
            command.args(["-l", user.as_str()]);
        }
        command.args(["--", self.destination.address.host.as_str()]);
        command
    }

    fn socket(&self) -> PathBuf {
        self.control.path().join("c")
    }

    /// What ssh's own configuration makes of the destination.
    pub(super) fn account(&self) -> Result<Account, Failure> {
        let ended = child::run(&mut self.command(&["-G"]), PATIENCE).map_err(|error| no_ssh(&error))?;
        if ended.code() != Some(0) {
            return Err(self.failure(&ended));
        }
        let text = String::from_utf8_lossy(&ended.stdout);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_default().to_owned()
        };
        let odd = |error| Failure::new(Exit::Failed, format!("{}: {error}", self.destination));
        let place = format!("[{}]:{}", value("hostname"), value("port"));
        let place: Place = place.parse().map_err(odd)?;
        let mut known_as = vec![place.known_as()];
        if !place.is_usual() {
            known_as.push(place.host.to_string());
        }
        let alias = value("hostkeyalias");
        if !alias.is_empty() && alias != "none" {
            known_as = vec![alias];
        }
        // Blanks in a path are printed as they are, so a file whose path has one is not found.
        let files = ["userknownhostsfile", "globalknownhostsfile"].map(value).join(" ");
        let known_hosts = files.split(' ').filter(|file| file.starts_with('/')).map(PathBuf::from).collect();
        Ok(Account { user: value("user").parse().map_err(odd)?, place, known_as, known_hosts })
    }

    /// Runs a script with these words. That it failed is for the caller to see; that it never ran is a failure.
    pub(super) fn run(&self, words: &[String], script: &str) -> Result<Ended, Failure> {
        const OPTIONS: [&str; 10] = [
            "-T",
            "-a",
            "-x",
            "-oControlMaster=auto",
            // Should this process be killed, the connection ends by itself.
            "-oControlPersist=60",
            "-oClearAllForwardings=yes",
            "-oPermitLocalCommand=no",
            "-oRemoteCommand=none",
            "-oRequestTTY=no",
            "-oServerAliveInterval=30",
        ];
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let input = format!("set -- {}\n{script}", words.join(" "));
        let mut command = self.command(&OPTIONS);
        command.arg("exec /bin/sh -s");
        let ended =
            child::run_with(&mut command, input.as_bytes(), PATIENCE).map_err(|error| no_ssh(&error))?;
        match ended.code() {
            Some(255) if SshError::is_about_host_key(&ended.stderr) => Err(self.another_host()),
            None | Some(255) => Err(self.failure(&ended)),
            Some(_) => Ok(ended),
        }
    }

    /// ssh has not let us to the host, because of its key. Which one that is only a talkative ssh says.
    fn another_host(&self) -> Failure {
        let mut ssh = self.command(&["-v", "-T", "-oBatchMode=yes", "-oControlMaster=no"]);
        let said = child::run(ssh.arg("exit"), PATIENCE).map(|ended| ended.stderr).unwrap_or_default();
        let shown = SshError::shown_host_key(&said).unwrap_or_else(|| "ssh did not say".to_owned());
        let known = self.account().map(|account| known::keys(&account)).unwrap_or_default();
        if known.is_empty() {
            let message = format!("{}: ssh does not know this host\n  shown: {shown}", self.destination);
            return Failure::new(Exit::Failed, message).hint(format!(
                "nothing was changed; log in once by yourself and compare the fingerprint with the host's owner: {}",
                self.destination.by_hand()
            ));
        }
        let known =
            known.iter().map(|key| format!("\n  known: {}", key.shown())).collect::<Vec<_>>().concat();
        let message =
            format!("{}: ssh knows this host by another key{known}\n  shown: {shown}", self.destination);
        Failure::new(Exit::Conflict, message).hint(
            "nothing was changed; somebody may be in between: ask the host's owner over another channel",
        )
    }

    /// Why nothing came of it, in ssh's last words.
    pub(super) fn failure(&self, ended: &Ended) -> Failure {
        let said = Escaped(ended.last_words()).to_string();
        let why = match ended.code() {
            None => "no answer in time".to_owned(),
            Some(code) if said.is_empty() => format!("exit status {code}"),
            Some(_) => said,
        };
        Failure::new(Exit::Failed, format!("{}: {why}", self.destination))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.socket().exists() {
            let _ = child::run(&mut self.command(&["-O", "exit"]), Duration::from_secs(10));
        }
    }
}

fn no_ssh(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("ssh: {error}"))
}

/// A word for a POSIX shell: in single quotes, where nothing means anything but the quote itself.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A path as a word that no program takes for an option; `~` stands for the home, from which the script starts.
pub(super) fn path_word(path: &Path) -> Result<String, Failure> {
    let not_utf8 = || Failure::new(Exit::Usage, format!("{}: not UTF-8", Escaped::os(path)));
    let text = path.to_str().ok_or_else(not_utf8)?;
    let below = match text.strip_prefix('~') {
        Some("") => ".",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => text,
    };
    let plain = if below.is_empty() { "." } else { below };
    Ok(if plain.starts_with('/') { plain.to_owned() } else { format!("./{plain}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_starts_from_the_home_and_is_no_option() {
        for (path, word) in [
            ("papers", "./papers"),
            ("~/papers", "./papers"),
            ("~", "./."),
            ("~//x", "./x"),
            ("~anna/x", "./~anna/x"),
            ("/srv/x", "/srv/x"),
            ("-x", "./-x"),
        ] {
            assert_eq!(path_word(Path::new(path)).unwrap(), word);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_one_word_to_a_shell(word in "[^\0]{0,24}|['\"$`\\\\!\n ]{0,12}") {
            let script = format!("printf '%s' {}", quoted(&word));
            let ended = child::run_with(Command::new("/bin/sh").arg("-s"), script.as_bytes(), PATIENCE).unwrap();
            prop_assert_eq!(String::from_utf8(ended.stdout).unwrap(), word);
        }
    }
}
