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

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use super::cli::Explain;
use super::source;
use crate::authkeys::Options;
use crate::common::exit::Failure;
use crate::common::report::{Report, shown};

pub(in crate::akeys) use certificate::Certificate;
use login::Login;
use question::Question;

/// What the options of one line let its key do now, as a sentence without a full stop.
pub(in crate::akeys) fn sentence(options: &Options, layout: &Layout) -> String {
    may::sentence(options, layout, Timestamp::now())
}

/// Runs it.
pub fn run(args: &Explain, layout: &Layout) -> Result<Report, Failure> {
    let path = args.file.clone().unwrap_or_else(|| layout.authorized_keys());
    let bytes = if args.file.is_some() { source::named(&path) } else { source::own(&path) }?;
    let question = Question::from_args(args)?;
    if let Some(which) = &args.which {
        return about::run(which, &path, bytes, &question, args.json, layout);
    }
    let login = Login::put(&question, bytes);
    let name = shown(layout, &path);
    let out = if args.json { json::login(&login, &question) } else { text::login(&login, &name) };
    Ok(Report::data(out))
}
