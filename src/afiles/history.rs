//! `afiles history`: what was transferred, by whom, from where.

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Transfer};
use super::cli::History;
use super::tell::size;
use crate::common::exit::{Exit, Failure};
use crate::common::json::{ascii, put_bytes};
use crate::common::report::{Report, shown};

/// Runs the subcommand.
pub fn run(args: &History, layout: &Layout) -> Result<Report, Failure> {
    let path = args.path.as_deref().map(super::destination::absolute).transpose()?;
    let transfers = Catalog::open(layout)?.transfers(path.as_deref(), args.last)?;
    let mut report = Report::default();
    if args.json {
        report.out = ascii(&transfers.iter().map(as_json).collect());
        return Ok(report);
    }
    for transfer in &transfers {
        let Transfer { remote, deed, who, .. } = transfer;
        let what = transfer.bytes.map_or_else(String::new, |bytes| format!(" {}", size(bytes)));
        let author =
            transfer.author.as_ref().map_or_else(String::new, |author| format!(", changed by {author}"));
        let path = shown(layout, &transfer.path);
        report.line(format_args!(
            "{} {:<13} {path} ({remote};{what} by {who}{author})",
            moment(transfer),
            deed.word()
        ));
    }
    if transfers.is_empty() && args.path.is_some() {
        report.exit = Exit::NoMatch;
    }
    Ok(report)
}

fn moment(transfer: &Transfer) -> Timestamp {
    let exact = Timestamp::from_nanosecond(transfer.time.into()).unwrap_or_default();
    // Nobody reads nanoseconds.
    Timestamp::from_millisecond(exact.as_millisecond()).unwrap_or(exact)
}

fn as_json(transfer: &Transfer) -> Value {
    let mut object = Map::new();
    let exact = Timestamp::from_nanosecond(transfer.time.into()).ok();
    object.insert("time".to_owned(), json!(exact));
    put_bytes(&mut object, "path", Some(transfer.path.as_os_str().as_encoded_bytes()));
    object.insert("remote".to_owned(), transfer.remote.clone().into());
    object.insert("deed".to_owned(), transfer.deed.word().into());
    object.insert("who".to_owned(), transfer.who.clone().into());
    object.insert(
        "author".to_owned(),
        transfer.author.as_ref().map(|author| Escaped(author.as_bytes()).to_string()).into(),
    );
    object.insert("bytes".to_owned(), transfer.bytes.into());
    object.insert("sha256".to_owned(), json!(transfer.sum));
    Value::Object(object)
}
