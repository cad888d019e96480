//! `akeys federation`: the trust relation, made on the pod's side, carried as a bundle, taken in on the user's side.
//!
//! `make` is the pod's side, `import` the user's; a `card` goes back from the user to the pod, which `meet`s it.

mod card;
mod import;
mod list;
mod make;
mod meet;
mod remove;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::bundle;
use super::cli::Federation;
use super::shelf::Shelf;
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;

pub use card::{Issued, issue, line as card_line, named_host_keys};

/// Runs one of its subcommands.
pub fn run(command: Federation, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Federation::New(new) => make::run(&new, layout),
        Federation::Export { name } => export(&name, layout),
        Federation::Import { bundle } => import::run(&bundle, layout),
        Federation::Card(args) => card::run(&args, layout),
        Federation::Meet(args) => meet::meet(&args, layout),
        Federation::Forget(args) => meet::forget(&args, layout),
        Federation::List { json } => Ok(list::run(json, layout)),
        Federation::Remove(args) => remove::run(&args, layout),
    }
}

fn export(name: &Label, layout: &Layout) -> Result<Report, Failure> {
    match Shelf::Own.load(layout, name)? {
        Some(bundle) => Ok(Report::data(bundle::render(&bundle))),
        None => Err(Failure::new(Exit::NoMatch, format!("no federation {name} was made here"))
            .hint(format!("akeys federation new {name}, or akeys federation list"))),
    }
}
