//! Forced commands that this toolkit understands: its own, and the ones that it replaces.
//!
//! sshd hands `command="…"` to the login shell. Only a command whose every character means itself to any shell is read
//! here; anything else is some other command, and nothing is promised about it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rrsync_rs::cli::{self, Args, DropIn, Gate, Source};
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
        /// What its options say; the directory as it is written.
        drop_in: DropIn,
    },
    /// The gate with arguments that it refuses, so that every session ends at once.
    Refused {
        /// The gate.
        program: String,
        /// What the gate says about them.
        error: String,
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
    let rrsync = matches!(program.rsplit('/').next(), Some("rrsync" | "rrsync.py"));
    if !rrsync && !is_gate(&program) {
        return Forced::Program { program };
    }
    // The gate's own reader, so that what is said here is what it does.
    let gate = match cli::parse(arguments.iter().map(OsString::from)) {
        Ok(Args::Gate(gate)) => gate,
        Err(error) if !rrsync => return Forced::Refused { program, error: error.to_string() },
        Ok(Args::Help | Args::Version) | Err(_) => return Forced::Program { program },
    };
    match *gate {
        Gate { source: Source::Grant(name), explain: None, .. } if !rrsync => Forced::Grant { program, name },
        Gate { source: Source::DropIn(drop_in), explain: None, .. } => Forced::DropIn { program, drop_in },
        _ => Forced::Program { program },
    }
}

/// Whether a shell reads this word itself, so that no file is looked for.
pub fn is_builtin(word: &str) -> bool {
    const BUILTINS: [&str; 24] = [
        "echo", "printf", "exit", "test", "true", "false", "cd", "exec", "eval", "if", "case", "for",
        "while", "export", "set", "read", "umask", "ulimit", "trap", "return", ":", "[", "unset", "command",
    ];
    BUILTINS.contains(&word)
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
    use rrsync_rs::grant::{Access, Confine};

    #[test]
    fn our_own_commands_and_the_ones_they_replace() {
        let grant =
            |name: &str| Forced::Grant { program: "/usr/bin/rrsync-rs".into(), name: name.parse().unwrap() };
        let refused =
            |error: &str| Forced::Refused { program: "/usr/bin/rrsync-rs".into(), error: error.into() };
        let drop_in = |access, delete, overwrite, munge| Forced::DropIn {
            program: "/usr/bin/rrsync".into(),
            drop_in: DropIn {
                dir: "/srv/d".into(),
                access,
                munge,
                absolute: false,
                delete,
                lock: true,
                overwrite,
                confine: Confine::default(),
                rules: rrsync_rs::rules::Rules { setuid: true, ..Default::default() },
                namespace: rrsync_rs::confine::Isolation::default(),
            },
        };
        for (command, meant) in [
            ("/usr/bin/rrsync-rs --grant a.b", grant("a.b")),
            ("  /usr/bin/rrsync-rs  --grant\ta.b ", grant("a.b")),
            ("/usr/bin/rrsync /srv/d", drop_in(Access::ReadWrite, true, true, false)),
            ("/usr/bin/rrsync -ro /srv/d", drop_in(Access::ReadOnly, true, true, false)),
            ("/usr/bin/rrsync -wo -no-del -munge /srv/d", drop_in(Access::WriteOnly, false, true, true)),
            ("/usr/bin/rrsync -no-overwrite /srv/d", drop_in(Access::ReadWrite, true, false, false)),
            ("internal-sftp -R", Forced::InternalSftp),
            ("/usr/bin/rrsync-rs -ro", refused("the following arguments are required: DIR")),
            ("/usr/bin/rrsync-rs -r0 papers", refused("unrecognized arguments: -r0")),
            ("/usr/bin/rrsync-rs --version", Forced::Program { program: "/usr/bin/rrsync-rs".into() }),
            ("/usr/bin/rrsync --grant a.b", Forced::Program { program: "/usr/bin/rrsync".into() }),
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
