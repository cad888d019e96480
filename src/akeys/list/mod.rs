//! `akeys list`: every line of the key file, what it allows, and what is wrong with it.
//!
//! `survey` reads the file and judges each line through `explain`; `text` prints the answer for people and `json` for
//! programs. Nothing is changed, and nothing that is wrong in one line hides another.

mod all;
mod explain;
mod json;
mod policy;
mod survey;
mod text;

use std::borrow::Cow;

use rrsync_rs::layout::Layout;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::cli::List;
use super::source;
use super::used::Uses;
use crate::authkeys::KeyFile;
use crate::common::exit::Failure;
use crate::common::report::{Report, colours};

pub use policy::policy_findings;
pub(in crate::akeys) use survey::{KeyRow, Kind, Row, Survey};

/// Something that a reader should know about a line or the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word for programs, as akeys(1) lists them.
    pub code: Cow<'static, str>,
    /// The same for people; already escaped.
    pub text: String,
}

impl Finding {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

/// Runs it.
pub fn run(args: &List, layout: &Layout) -> Result<Report, Failure> {
    if args.all_users {
        return all::run(args, layout);
    }
    let own = layout.authorized_keys();
    let path = args.file.as_deref().unwrap_or(&own);
    // No file is an empty list, unless it was asked for by name.
    let bytes = if args.file.is_some() { source::named(path) } else { source::own(path) }?;
    let mut uses =
        args.last_used.then(|| Uses::of(&Account::own(layout.home()).name, args.log.as_deref(), layout));
    let notes = uses.as_mut().map(|uses| std::mem::take(&mut uses.logins.notes)).unwrap_or_default();
    let survey = Survey::of(path, KeyFile::parse(bytes), args.file.is_none(), layout).with_uses(uses);
    let (as_json, layout) = (args.json, layout.clone());
    let report = Report::stream(move |out| {
        if as_json { json::print(&survey, out) } else { text::print(&survey, &layout, colours(), out) }
    });
    Ok(Report { notes, ..report })
}
