//! `akeys federation`: the trust relation, made on the pod's side, carried as a bundle, taken in on the user's side.
//!
//! On the pod's side `make` and `admit` say who is in it, `rotate` and `revoke` change keys, and `own` keeps and signs it. On the
//! user's side `import` takes it in, and `update` lets what is installed follow. A `card` goes back to the pod, which `meet`s it.

mod admit;
mod card;
mod import;
mod list;
mod make;
mod meet;
mod own;
mod pins;
mod remove;
mod revoke;
mod rotate;
mod update;
mod words;

use rrsync_rs::layout::Layout;

use super::cli::Federation;
use crate::common::exit::Failure;
use crate::common::report::Report;

pub use card::{Issued, issue, line as card_line, named_host_keys};
pub use own::signed_text;

/// Runs one of its subcommands.
pub fn run(command: Federation, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Federation::New(args) => make::run(&args, layout),
        Federation::Add(args) => make::add(&args, layout),
        Federation::Admit(args) => admit::run(&args, layout),
        Federation::Set(args) => own::set(&args, layout),
        Federation::Export(args) => own::export(&args, layout),
        Federation::Import(args) => import::run(&args, layout),
        Federation::Rotate(args) => rotate::run(&args, layout),
        Federation::Revoke(args) => revoke::run(&args, layout),
        Federation::Update(args) => update::run(&args, layout),
        Federation::Card(args) => card::run(&args, layout),
        Federation::Meet(args) => meet::meet(&args, layout),
        Federation::Forget(args) => meet::forget(&args, layout),
        Federation::List { json } => Ok(list::run(json, layout)),
        Federation::Remove(args) => remove::run(&args, layout),
    }
}
