//! Forced commands that this toolkit understands: its own, and the ones that it replaces.
//!
//! sshd hands `command="…"` to the login shell. Only a command whose every character means itself to any shell is read
//! here; anything else is some other command, and nothing is promised about it.

use std::path::{Path, PathBuf};

use rrsync_rs::grant::Access;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

/// What a forced command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forced {
    /// `…/rrsync-rs --grant NAME`: what the policy of that name allows.
    Grant {
        /// The gate.
        program: String,
        /// The policy.
        name: GrantName,
    },
    /// `rrsync [-ro|-wo] … DIR`, or the gate in its place.
    DropIn {
        /// The program.
        program: String,
        /// What it may do in the directory.
        access: Access,
        /// Whether a push may delete.
        delete: bool,
        /// Whether a push may overwrite.
        overwrite: bool,
        /// The directory as it is written.
        dir: String,
    },
    /// OpenSSH's own SFTP server, in sshd itself: every file of the account, unless sshd confines it.
    InternalSftp,
    /// A program with its arguments, none of which a shell would change.
    Program {
        /// The program.
        program: String,
    },
    /// Something that only a shell can read.
    Shell,
}

/// Whether a program is the gate, by its name: `rrsync-rs`, possibly with a version behind it.
pub fn is_gate(program: &str) -> bool {
    program.rsplit('/').next().unwrap_or_default().starts_with("rrsync-rs")
}

/// Reads the value of `command="…"`.
pub fn read(command: &[u8]) -> Forced {
    let Ok(text) = std::str::from_utf8(command) else { return Forced::Shell };
    // `~` and `$HOME` at the start of a word are expanded by every shell in the same way.
    let plain = |word: &str| {
        let word = word.strip_prefix("$HOME/").or_else(|| word.strip_prefix("~/")).unwrap_or(word);
        word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@%,:=".contains(&b) || b >= 0x80)
    };
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let Some((program, arguments)) = words.split_first().filter(|_| words.iter().all(|word| plain(word)))
    else {
        return Forced::Shell;
    };
    let program = (*program).to_owned();
    if program == "internal-sftp" {
        return Forced::InternalSftp;
    }
    let base = program.rsplit('/').next().unwrap_or_default();
    match arguments {
        ["--grant", name] if is_gate(&program) => match name.parse() {
            Ok(name) => Forced::Grant { program, name },
            Err(_) => Forced::Program { program },
        },
        arguments if matches!(base, "rrsync" | "rrsync.py") || is_gate(&program) => drop_in(arguments)
            .map_or_else(
                || Forced::Program { program: program.clone() },
                |(access, delete, overwrite, dir)| Forced::DropIn {
                    program: program.clone(),
                    access,
                    delete,
                    overwrite,
                    dir,
                },
            ),
        _ => Forced::Program { program },
    }
}

/// rrsync(1): `[-ro|-wo] [-munge] [-no-del] [-no-lock] [-no-overwrite] DIR`; the gate adds flags of its own.
fn drop_in(arguments: &[&str]) -> Option<(Access, bool, bool, String)> {
    let (mut access, mut delete, mut overwrite, mut dir) = (Access::ReadWrite, true, true, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "-ro" | "--read-only" => access = Access::ReadOnly,
            "-wo" | "--write-only" => access = Access::WriteOnly,
            "-no-del" | "--no-del" => delete = false,
            "-no-overwrite" | "--no-overwrite" => overwrite = false,
            "-munge" | "--munge" | "-no-lock" | "--no-lock" | "-absolute" | "--absolute" => {}
            "-rsync" | "--rsync" => drop(arguments.next()?),
            flag if flag.starts_with('-') => return None,
            path if dir.is_none() => dir = Some(path.to_owned()),
            _ => return None,
        }
    }
    Some((access, delete, overwrite, dir?))
}

/// A path in a forced command, as the login shell of the account would expand it; `None` when it depends on `PATH` or on
/// the directory that the shell starts in.
pub fn expanded(word: &str, layout: &Layout) -> Option<PathBuf> {
    match word.strip_prefix("$HOME/") {
        Some(rest) => Some(layout.home().join(rest)),
        None => layout.expand(word).filter(|path| path.is_absolute() && Path::new(word) != Path::new("~")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_commands_and_the_ones_they_replace() {
        let grant =
            |name: &str| Forced::Grant { program: "/usr/bin/rrsync-rs".into(), name: name.parse().unwrap() };
        let drop_in = |access, delete, overwrite| Forced::DropIn {
            program: "/usr/bin/rrsync".into(),
            access,
            delete,
            overwrite,
            dir: "/srv/d".into(),
        };
        for (command, meant) in [
            ("/usr/bin/rrsync-rs --grant a.b", grant("a.b")),
            ("  /usr/bin/rrsync-rs  --grant\ta.b ", grant("a.b")),
            ("/usr/bin/rrsync /srv/d", drop_in(Access::ReadWrite, true, true)),
            ("/usr/bin/rrsync -ro /srv/d", drop_in(Access::ReadOnly, true, true)),
            ("/usr/bin/rrsync -wo -no-del -munge /srv/d", drop_in(Access::WriteOnly, false, true)),
            ("/usr/bin/rrsync -no-overwrite /srv/d", drop_in(Access::ReadWrite, true, false)),
            ("internal-sftp -R", Forced::InternalSftp),
            ("/usr/bin/rrsync-rs --grant ../x", Forced::Program { program: "/usr/bin/rrsync-rs".into() }),
            ("/usr/bin/rrsync -x /srv/d", Forced::Program { program: "/usr/bin/rrsync".into() }),
            ("/bin/date", Forced::Program { program: "/bin/date".into() }),
            ("/tmp/evil --grant a.b", Forced::Program { program: "/tmp/evil".into() }),
        ] {
            assert_eq!(read(command.as_bytes()), meant, "{command}");
        }
    }

    #[test]
    fn what_a_shell_would_change_is_only_for_the_shell() {
        for command in [
            "",
            "/usr/bin/rrsync-rs --grant a.b; sh",
            "/usr/bin/rrsync-rs --grant a.b\nsh",
            "/usr/bin/rrsync-rs --grant $(sh)",
            "/usr/bin/rrsync '/srv/d'",
            "sh -c \"$SSH_ORIGINAL_COMMAND\"",
            "/usr/bin/rrsync /srv/*",
            "/usr/bin/rrsync ~root/d",
        ] {
            assert_eq!(read(command.as_bytes()), Forced::Shell, "{command}");
        }
    }
}
