//! `awatch status`: how the daemon and its workspaces are.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;
use serde_json::json;

use super::cli::Status as Args;
use super::daemon::ask;
use super::daemon::status::{Doing, Shown, Status};
use crate::common::exit::{Exit, Failure};
use crate::common::json;
use crate::common::live::live;
use crate::common::report::Report;

/// Shows how everything is, once or until it is interrupted.
pub(super) fn run(args: &Args, layout: &Layout) -> Result<Report, Failure> {
    if args.follow { live(|| report(args, layout)) } else { report(args, layout) }
}

fn report(args: &Args, layout: &Layout) -> Result<Report, Failure> {
    let all = ask::ask(layout).map_err(|error| Failure::new(Exit::Failed, format!("the daemon: {error}")))?;
    let Some(all) = all else {
        let failure = Failure::new(Exit::NoMatch, "no awatch is running for this account");
        return Err(failure.hint("systemctl --user start awatch, or awatch run"));
    };
    let chosen = chosen(all, args.name.as_ref())?;
    if args.json {
        let value = serde_json::to_value(&chosen).map_err(|error| Failure::new(Exit::Failed, error))?;
        return Ok(Report::data(json::ascii(&json!({ "workspaces": value }))));
    }
    let now = Timestamp::now();
    let mut out = String::new();
    for (index, status) in chosen.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        show(status, now, &mut out);
    }
    let well = chosen.iter().all(|status| matches!(status.doing, Doing::Watching | Doing::Comparing));
    let exit = if well { Exit::Done } else { Exit::Findings };
    Ok(Report { exit, ..Report::data(out) })
}

fn chosen(all: Vec<Status>, name: Option<&WorkspaceName>) -> Result<Vec<Status>, Failure> {
    let Some(name) = name else { return Ok(all) };
    let chosen: Vec<Status> = all.into_iter().filter(|status| status.workspace == *name).collect();
    if chosen.is_empty() {
        return Err(Failure::new(Exit::NoMatch, format!("no workspace {name} is watched")));
    }
    Ok(chosen)
}

fn show(status: &Status, now: Timestamp, out: &mut String) {
    let doing = match status.doing {
        Doing::Starting => "starting",
        Doing::Comparing => "comparing",
        Doing::Watching => "watching",
        Doing::Waiting => "WAITING",
        Doing::Failing => "FAILING",
    };
    let project = status.project.as_ref().map(|project| format!(" of {project}")).unwrap_or_default();
    let _ = writeln!(out, "{}{project}: {doing} {}", status.workspace, status.path);
    if let Some(why) = &status.why {
        let _ = writeln!(out, "  {why}");
    }
    let _ = write!(out, "  {} directories", status.directories);
    if status.unwatched > 0 {
        let _ = write!(out, ", {} of them cannot be watched and are compared", status.unwatched);
    }
    let lag = status
        .unsettled_since
        .map(|since| format!(", for {}", age(now.duration_since(since).unsigned_abs())));
    let _ = writeln!(out, "; {} names unsettled{}", status.unsettled, lag.unwrap_or_default());
    if let Some(cursor) = status.cursor {
        let _ = writeln!(out, "  cursor {cursor}");
    }
    if let Some(nats) = &status.nats {
        let _ = writeln!(out, "  {} has {}, {} wait", nats.server, nats.published, nats.queue);
        if let Some(trouble) = &nats.trouble {
            let _ = writeln!(out, "  {trouble}");
        }
    }
    for shown in &status.last {
        let _ = writeln!(out, "  {}", event(shown, now));
    }
}

/// `12 s ago  modified fig/data.csv`.
fn event(shown: &Shown, now: Timestamp) -> String {
    let from =
        shown.from.as_ref().map(|from| format!("{} to ", Escaped(from.as_bytes()))).unwrap_or_default();
    let age = format!("{} ago", age(now.duration_since(shown.time).unsigned_abs()));
    format!("{age:>10}  {} {from}{}", shown.reason, Escaped(shown.path.as_bytes()))
}

/// A time that has passed, in its largest unit.
pub(super) fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
