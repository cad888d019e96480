//! The gate, the rsync that it runs, and what the kernel enforces on it.

use rrsync_rs::confine;
use rrsync_rs::escape::Escaped;
use rrsync_rs::rsync::program;

use super::check::Check;
use crate::akeys::gate::{self, Gate, GateError};
use crate::akeys::strict::quoted;

/// The checks of what runs behind a forced command.
pub(super) fn checks() -> Vec<Check> {
    vec![gate(), rsync(), kernel()]
}

/// The gate beside this program: the one that `akeys install` would write into a key line.
fn gate() -> Check {
    match Gate::find(None) {
        Ok(gate) => {
            Check::pass("gate", format!("{} can be exchanged by nobody else", Escaped::os(gate.path())))
        }
        Err(error) => {
            let mend = match &error {
                GateError::Missing { .. } | GateError::Name { .. } => {
                    format!("install -m 755 rrsync-rs {}", quoted(&gate::own_directory()))
                }
                GateError::Untrusted { path, .. } => format!("chmod go-w {}", quoted(path)),
                GateError::NotExecutable { path } => format!("chmod 755 {}", quoted(path)),
                GateError::Path { .. } => "move the programs to a directory with a plain name".to_owned(),
            };
            Check::fail("gate", error.to_string()).mend(mend)
        }
    }
}

fn rsync() -> Check {
    // Without a place to remember the answer, nothing is written.
    match program::find(None, None) {
        Ok(found) => {
            let confined =
                if found.features.confine_root { ", and confines itself too (--confine-root)" } else { "" };
            let message = format!("{} can be run under confinement{confined}", Escaped::os(&found.path));
            Check::pass("rsync", message)
        }
        Err(error @ program::ProgramError::Missing) => {
            Check::warn("rsync", error.to_string()).mend("apt install rsync")
        }
        Err(error) => Check::fail("rsync", Escaped(error.to_string().as_bytes()).to_string()),
    }
}

fn kernel() -> Check {
    let level = confine::probe();
    let message = format!("the kernel enforces {level}");
    match (level.landlock, level.seccomp) {
        (0, _) => Check::fail("kernel", format!("{message}; grants with confine = \"required\" are refused"))
            .mend("Linux 5.13 or newer with landlock in its lsm= list"),
        (_, false) => {
            Check::fail("kernel", format!("{message}; grants with confine = \"required\" are refused"))
                .mend("a kernel with CONFIG_SECCOMP_FILTER")
        }
        (1 | 2, true) => Check::warn("kernel", format!("{message}; truncation is stopped by seccomp only"))
            .mend("Linux 6.2 or newer"),
        (_, true) => Check::pass("kernel", message),
    }
}
