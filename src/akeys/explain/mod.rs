//! `akeys explain`: what sshd would do with a key, line by line, or what one line means, in words.
//!
//! With `--key` it answers a question about one login: `question` is what is asked, `login` puts it to the model of sshd
//! (`certificate` for what one adds), `json` and `text` tell the answer. Without it, it describes lines of the key file: `about` finds them, and `may` says what the
//! gate or the shell makes of each. Nothing is changed, and a question that could be answered is a success, whatever
//! the answer.

mod about;
mod certificate;
mod json;
mod login;
mod may;
mod question;
mod text;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::cli::Explain;
use crate::common::exit::{Exit, Failure};
use crate::common::report::{Report, shown};

use login::Login;
use question::Question;

/// Runs it.
pub fn run(args: &Explain, layout: &Layout) -> Result<Report, Failure> {
    let path = args.file.clone().unwrap_or_else(|| layout.authorized_keys());
    let bytes = read(&path, args.file.is_some())?;
    let question = Question::from_args(args)?;
    if let Some(which) = &args.which {
        return about::run(which, &path, bytes, &question, args.json, layout);
    }
    let login = Login::put(&question, bytes);
    let name = shown(layout, &path);
    let out = if args.json { json::login(&login, &question) } else { text::login(&login, &name) };
    Ok(Report::data(out))
}

/// The bytes of a key file; `-` is standard input. A file that nobody `named` may be missing, and is then empty. Nothing is
/// demanded of its owner or mode: the question is what it says.
pub(super) fn read(path: &Path, named: bool) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(Vec::new()),
        read => read.map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", Escaped::os(path)))),
    }
}
