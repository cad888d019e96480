//! What a program says when its command line does not tell it what to do.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::exit::Exit;

/// Says why there is nothing to do, or what was asked of the command line itself.
pub fn nothing_to_do(program: &str, error: &clap::Error) -> ExitCode {
    // Help and version are data on stdout, everything else is talk; a closed pipe is no error in either.
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    let text = error.to_string();
    // Without a subcommand it is the help, and nothing is said to be wrong.
    let said = text.strip_prefix("error: ").map_or_else(|| text.clone(), |what| format!("{program}: {what}"));
    let _ = io::stderr().write_all(said.as_bytes());
    Exit::Usage.into()
}
