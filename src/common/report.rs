//! What a program prints: stdout is data, stderr is talk.
//!
//! A subcommand builds its [`Report`] and prints nothing itself, so no half of an answer is ever written before an error
//! is known, and a closed pipe is handled in one place.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::exit::{Exit, Failure};

/// What writes an answer that is too long to be kept.
pub type Stream = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()>>;

/// What a subcommand has to say.
#[derive(Default)]
pub struct Report {
    /// For stdout, newline included.
    pub out: String,
    /// For stdout, behind that: written while it is made. Nothing can go wrong with it any more but the writing.
    pub stream: Option<Stream>,
    /// For stderr, one note each.
    pub notes: Vec<String>,
    /// How the program ends when all of it could be printed.
    pub exit: Exit,
}

impl Report {
    /// A report that is only data.
    pub fn data(out: String) -> Self {
        Self { out, ..Self::default() }
    }

    /// A report that is only data, and long.
    pub fn stream(stream: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + 'static) -> Self {
        Self { stream: Some(Box::new(stream)), ..Self::default() }
    }

    /// Adds a line to stdout.
    pub fn line(&mut self, line: impl std::fmt::Display) {
        use std::fmt::Write as _;
        let _ = writeln!(self.out, "{line}");
    }

    /// Adds a note to stderr.
    pub fn note(&mut self, note: impl std::fmt::Display) {
        self.notes.push(note.to_string());
    }
}

/// Prints what came out of `program` and turns it into its exit code.
pub fn finish(program: &str, outcome: Result<Report, Failure>) -> ExitCode {
    // Nobody is left to tell when stderr itself cannot be written.
    let talk = |text: String| drop(io::stderr().write_all(text.as_bytes()));
    match outcome {
        Ok(report) => {
            for note in &report.notes {
                talk(format!("{program}: {note}\n"));
            }
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(report.out.as_bytes()).and_then(|()| match report.stream {
                Some(stream) => stream(&mut stdout),
                None => Ok(()),
            });
            match written.and_then(|()| stdout.flush()) {
                Ok(()) => report.exit.into(),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => report.exit.into(),
                Err(error) => {
                    talk(format!("{program}: standard output: {error}\n"));
                    Exit::Failed.into()
                }
            }
        }
        Err(failure) => {
            talk(format!("{program}: {failure}\n"));
            failure.exit.into()
        }
    }
}

/// Whether stdout takes colours: a terminal that is not dumb, and no `NO_COLOR` (<https://no-color.org>).
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Text from outside as people read it, already escaped: what is longer than anybody reads is cut, and says how long it was.
pub fn shortened(text: &str) -> Cow<'_, str> {
    const ROOM: usize = 4096;
    if text.len() <= ROOM {
        return Cow::Borrowed(text);
    }
    let end = (0..=ROOM).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

/// A path as people read it: `~` for the home, everything foreign escaped.
pub fn shown(layout: &Layout, path: &Path) -> String {
    Escaped::os(&layout.abbreviate(path)).to_string()
}

/// `text`, already escaped, with `~` for the home wherever a path starts with it. Within a word the same bytes are part of
/// another path.
pub fn abbreviated(layout: &Layout, text: &str) -> String {
    let home = format!("{}/", Escaped::os(layout.home()));
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&home) {
        let (before, found) = rest.split_at(at);
        short.push_str(before);
        let starts_a_word =
            short.chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'(=".contains(c));
        short.push_str(if starts_a_word { "~/" } else { &home });
        rest = &found[home.len()..];
    }
    short + rest
}
