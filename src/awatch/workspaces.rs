//! `awatch workspaces`: which workspaces are announced, and since when each is silent.

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;
use serde_json::{Value, json};

use super::cli::Workspaces;
use super::daemon::status::Doing;
use super::nats::registry::{self, DEAD, Entry};
use super::nats::server::Server;
use super::nats::settings;
use super::status::age;
use crate::common::exit::{Exit, Failure};
use crate::common::json;
use crate::common::report::Report;

/// Lists them.
pub(super) fn run(args: &Workspaces, layout: &Layout) -> Result<Report, Failure> {
    let server = server(args, layout)?.ok_or_else(|| {
        Failure::new(Exit::NoMatch, "no configuration names a NATS server").hint("name it: --nats URL")
    })?;
    let asked = registry::ask(&server, "awatch workspaces");
    let mut entries =
        asked.map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", server.url)))?;
    entries.retain(|entry| args.project.is_none() || args.project == entry.project);
    entries.sort_by_key(|entry| (entry.project.clone(), entry.workspace.clone(), entry.account()));
    let now = Timestamp::now();
    if args.json {
        let list: Vec<Value> = entries.iter().map(|entry| object(entry, now)).collect();
        return Ok(Report::data(json::ascii(&json!({ "workspaces": list }))));
    }
    Ok(Report::data(table(&entries, now)))
}

fn server(args: &Workspaces, layout: &Layout) -> Result<Option<Server>, Failure> {
    match (&args.nats, &args.federation) {
        (Some(url), _) => Ok(Some(Server::new(url.clone()))),
        (None, Some(federation)) => settings::of_federation(federation, layout),
        (None, None) => settings::of_account(layout),
    }
}

/// What an entry says of itself, or its silence does.
fn state(entry: &Entry, now: Timestamp) -> &'static str {
    match entry.doing {
        _ if entry.age(now) > DEAD => "dead",
        Doing::Starting => "starting",
        Doing::Comparing => "comparing",
        Doing::Watching => "watching",
        Doing::Waiting => "waiting",
        Doing::Failing => "failing",
    }
}

fn object(entry: &Entry, now: Timestamp) -> Value {
    json!({
        "project": entry.project,
        "workspace": entry.workspace,
        "user": entry.user.as_str(),
        "host": entry.host.as_str(),
        "port": entry.port,
        "host_keys": entry.host_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": state(entry, now),
        "heard": entry.time,
        "age": entry.age(now).as_secs(),
        "cursor": entry.cursor,
    })
}

/// A line for each, in columns. Every word is a checked type, so nothing in it has to be escaped.
fn table(entries: &[Entry], now: Timestamp) -> String {
    let row = |entry: &Entry| {
        let project = entry.project.as_ref().map_or("-", Label::as_str).to_owned();
        [project, entry.workspace.to_string(), entry.account()]
    };
    let rows: Vec<[String; 3]> = entries.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let line = |([project, workspace, account], entry): (&[String; 3], &Entry)| {
        let heard = age(entry.age(now));
        match state(entry, now) {
            "dead" => format!(
                "{project:first$}  {workspace:second$}  {account:third$}  DEAD, last heard {heard} ago\n"
            ),
            state => {
                format!("{project:first$}  {workspace:second$}  {account:third$}  {state}, {heard} ago\n")
            }
        }
    };
    rows.iter().zip(entries).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn who_is_silent_is_dead() {
        let entry = |workspace: &str, project: Option<&str>, second| Entry {
            author: "anna@laptop".to_owned(),
            workspace: workspace.parse().unwrap(),
            project: project.map(|project| project.parse().unwrap()),
            user: "anna".parse().unwrap(),
            host: "laptop".parse().unwrap(),
            port: None,
            host_keys: BTreeSet::new(),
            time: Timestamp::from_second(second).unwrap(),
            doing: Doing::Watching,
            cursor: None,
        };
        let now = Timestamp::from_second(1000).unwrap();
        let entries = [entry("papers", Some("thesis"), 990), entry("n", None, 100)];
        assert_eq!(
            table(&entries, now),
            "thesis  papers  anna@laptop  watching, 10 s ago\n-       n       anna@laptop  DEAD, last heard 15 min ago\n"
        );
        assert_eq!(
            (object(&entries[1], now)["state"].as_str(), object(&entries[0], now)["age"].as_u64()),
            (Some("dead"), Some(10))
        );
    }
}
