//! What is wrong with a forced command: with its text, with the program that it names, and with what runs before it.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::grant::load;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use crate::akeys::forced::{self, Forced};
use crate::akeys::gate::{self, GateError};
use crate::akeys::source;
use crate::authkeys::{Entry, Line};

use super::Facts;
use super::catalogue::Code;
use super::finding::{At, Basket};

/// Programs that do whatever their input says.
const WHOLE_ACCOUNT: [&str; 30] = [
    "sh", "bash", "dash", "zsh", "ksh", "fish", "csh", "tcsh", "busybox", "env", "vi", "vim", "nano",
    "emacs", "ed", "less", "more", "man", "python", "python3", "perl", "ruby", "node", "rsync", "scp", "tar",
    "su", "sudo", "xargs", "screen",
];

/// Something wrong with a command: what, why, and what helps.
type Fault = (Code, String, Option<String>);

/// The commands that were judged, so that a file with a thousand lines for one script looks at it once.
#[derive(Debug, Default)]
pub(super) struct Commands {
    judged: HashMap<Vec<u8>, Vec<Fault>>,
    programs: HashMap<PathBuf, Vec<Fault>>,
}

impl Commands {
    /// Puts what is wrong with the command of `entry`, if it has one, into the basket.
    pub(super) fn judge(
        &mut self,
        line: Line<'_>,
        entry: &Entry<'_>,
        facts: &Facts<'_>,
        basket: &mut Basket,
    ) {
        let Some(command) = entry.options.command.as_deref() else { return };
        let item = entry.options.items.iter().find(|item| item.name == "command");
        let at = || {
            let start = item.map_or(entry.key_span.start, |item| item.span.start);
            At::Line { number: line.number(), column: start + 1 }
        };
        if !self.judged.contains_key(command) {
            let faults = self.faults(command, facts);
            self.judged.insert(command.to_vec(), faults);
        }
        for (code, message, hint) in self.judged.get(command).into_iter().flatten() {
            basket.put(*code, at(), || message.clone()).hint_from(|| hint.clone());
        }
        if entry.options.user_rc && facts.user_rc {
            let message = || "~/.ssh/rc runs before the command".to_owned();
            basket.put(Code::UserRcRuns, at(), message).hint("restrict, or no-user-rc");
        }
    }

    fn faults(&mut self, command: &[u8], facts: &Facts<'_>) -> Vec<Fault> {
        let chrooted = facts.server.and_then(|server| server.value("chrootdirectory"));
        let mut faults = text_faults(command, chrooted.is_some_and(|dir| dir != "none"));
        let Some(layout) = facts.disk else { return faults };
        let program = match forced::read(command) {
            Forced::Grant { program, name } => {
                faults.extend(policy_faults(&name, layout, facts.now));
                Some(program)
            }
            Forced::DropIn { program, drop_in } => {
                let written = drop_in.dir.to_string_lossy().into_owned();
                let dir =
                    forced::expanded(&written, layout).unwrap_or_else(|| layout.home().join(&drop_in.dir));
                faults.extend(workspace_fault("", &dir, false, layout));
                Some(program)
            }
            Forced::Program { program } | Forced::Refused { program, .. } => Some(program),
            Forced::InternalSftp => None,
            Forced::Shell => first_word(command),
        };
        if let Some(program) = program {
            match forced::expanded(&program, layout) {
                Some(path) => {
                    faults.extend(
                        self.programs.entry(path).or_insert_with_key(|path| program_faults(path)).clone(),
                    );
                }
                None if forced::is_builtin(&program) => {}
                None => faults.push((
                    Code::CommandRelative,
                    format!("{} is found through PATH", Escaped(program.as_bytes())),
                    Some("write the whole path".to_owned()),
                )),
            }
        }
        faults
    }
}

/// What the text of a command gives away; `chrooted` where sshd shows this account another root.
fn text_faults(command: &[u8], chrooted: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    if command.trim_ascii().is_empty() {
        faults.push((
            Code::CommandEmpty,
            "the command is empty".to_owned(),
            Some("akeys disable".to_owned()),
        ));
        return faults;
    }
    let text = String::from_utf8_lossy(command);
    if runs_original(&text) {
        let message = "the shell runs what the client sends (SSH_ORIGINAL_COMMAND)".to_owned();
        let hint = "let a program of its own judge the variable, as rrsync-rs does".to_owned();
        faults.push((Code::CommandOriginal, message, Some(hint)));
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let program = words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
    let rest = &words[1..];
    // A shell with a script or a command of its own runs that, and is judged by it.
    let is_shell = WHOLE_ACCOUNT[..8].contains(&program);
    let whole = WHOLE_ACCOUNT.contains(&program)
        && !(is_shell && rest.iter().any(|word| !word.starts_with('-') || *word == "-c"));
    let fixed_rsync = program == "rsync" && rest.contains(&"--server");
    if whole && !fixed_rsync && !(program.starts_with("python") || program == "perl") {
        let message = format!("{program} does whatever the client asks for");
        faults.push((
            Code::CommandShell,
            message,
            Some("restrict,command=\"…/rrsync-rs --grant NAME\"".to_owned()),
        ));
    } else if (program == "sftp-server" || program == "internal-sftp") && !chrooted {
        let hint = Some("rrsync-rs with the tool sftp".to_owned());
        faults.push(if rest.contains(&"-R") {
            (Code::CommandReads, format!("{program} reads every file of the account, private keys too"), hint)
        } else {
            let message = format!("{program} reaches every file of the account, this key file too");
            (Code::CommandShell, message, hint)
        });
    }
    faults
}

/// Whether the client's command reaches a shell: unquoted, behind `eval`, or as the argument of `sh -c`.
fn runs_original(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("SSH_ORIGINAL_COMMAND") {
        let before = rest[..at].trim_end_matches(['{', '$']);
        let dollar = rest[..at].ends_with('$') || rest[..at].ends_with("${");
        let before_quote = before.trim_end_matches('"').trim_end();
        let evaluated =
            before_quote.ends_with("eval") || before_quote.ends_with(" -c") || before_quote.ends_with("exec");
        if dollar && (evaluated || !before.ends_with('"')) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// The program of a command that only a shell can read, where its first word is plain.
fn first_word(command: &[u8]) -> Option<String> {
    let word = command
        .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b'&' | b'|'))
        .find(|word| !word.is_empty())?;
    let plain = word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+~$".contains(byte));
    if !plain || word.contains(&b'$') && !word.starts_with(b"$HOME/") {
        return None;
    }
    String::from_utf8(word.to_vec()).ok()
}

fn policy_faults(name: &GrantName, layout: &Layout, now: Timestamp) -> Vec<Fault> {
    let grant = match load(name, layout) {
        Ok(grant) => grant,
        Err(error) if error.is_missing() => {
            let hint = format!("akeys remove, or akeys install for {name}");
            return vec![(Code::PolicyMissing, format!("there is no policy {name}"), Some(hint))];
        }
        Err(error) => return vec![(Code::PolicyRefused, error.to_string(), None)],
    };
    let mut faults = Vec::new();
    if grant.expired(now) {
        faults.push((
            Code::PolicyExpired,
            format!("the policy {name} has ended"),
            Some("akeys remove".to_owned()),
        ));
    }
    for (workspace, exposed) in &grant.workspaces {
        faults.extend(workspace_fault(
            &format!("workspace {workspace}: "),
            &exposed.path,
            exposed.hidden,
            layout,
        ));
    }
    faults
}

fn workspace_fault(prefix: &str, dir: &Path, hidden: bool, layout: &Layout) -> Option<Fault> {
    match dir.canonicalize() {
        Ok(real) => {
            let exposure = exposure::refuse(&real, hidden, layout, &[&gate::own_directory()]).err()?;
            Some((Code::WorkspaceExposed, format!("{prefix}{exposure}"), None))
        }
        Err(error) => Some((Code::WorkspaceMissing, format!("{prefix}{}: {error}", Escaped::os(dir)), None)),
    }
}

/// Whether a program is there, and whether only this account and root can exchange it and its interpreter.
fn program_faults(path: &Path) -> Vec<Fault> {
    let checked = path.canonicalize().map_err(|source| GateError::Missing { path: path.to_owned(), source });
    let real = match checked.and_then(|real| gate::check(&real).map(|()| real)) {
        Ok(real) => real,
        Err(error) => return vec![fault_of(&error, Code::CommandMissing, Code::CommandWritable)],
    };
    let Some(interpreter) = interpreter(&real) else { return Vec::new() };
    let checked =
        interpreter.canonicalize().map_err(|source| GateError::Missing { path: interpreter, source });
    let error = checked.and_then(|real| gate::check(&real)).err();
    error
        .map(|error| fault_of(&error, Code::CommandInterpreter, Code::CommandInterpreter))
        .into_iter()
        .collect()
}

fn fault_of(error: &GateError, missing: Code, writable: Code) -> Fault {
    let code = match error {
        GateError::Untrusted { .. } => writable,
        _ => missing,
    };
    (code, error.to_string(), None)
}

/// The interpreter in the first line of a script.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut head = [0; 256];
    let length = source::open(program).ok()?.read(&mut head).ok()?;
    let line = head[..length].strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    (!word.is_empty()).then(|| std::ffi::OsString::from(String::from_utf8_lossy(word).into_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_run_what_the_client_sends() {
        for (command, code) in [
            ("$SSH_ORIGINAL_COMMAND", Some(Code::CommandOriginal)),
            ("/bin/sh -c \"$SSH_ORIGINAL_COMMAND\"", Some(Code::CommandOriginal)),
            ("eval \"${SSH_ORIGINAL_COMMAND}\"", Some(Code::CommandOriginal)),
            ("nice -n 10 $SSH_ORIGINAL_COMMAND", Some(Code::CommandOriginal)),
            ("/usr/bin/check \"$SSH_ORIGINAL_COMMAND\"", None),
            ("/bin/bash", Some(Code::CommandShell)),
            ("bash -l", Some(Code::CommandShell)),
            ("/bin/sh /usr/local/bin/backup", None),
            ("/usr/bin/env", Some(Code::CommandShell)),
            ("/usr/bin/rsync", Some(Code::CommandShell)),
            ("/usr/bin/rsync --server --sender -a . /srv", None),
            ("scp -t /srv", Some(Code::CommandShell)),
            ("/usr/lib/openssh/sftp-server", Some(Code::CommandShell)),
            ("internal-sftp -R", Some(Code::CommandReads)),
            ("", Some(Code::CommandEmpty)),
            ("/usr/bin/borg serve --restrict-to-path /srv", None),
        ] {
            let codes: Vec<Code> =
                text_faults(command.as_bytes(), false).into_iter().map(|fault| fault.0).collect();
            assert_eq!(codes.first().copied(), code, "{command}");
        }
    }
}
