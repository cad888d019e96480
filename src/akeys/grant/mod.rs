//! `akeys grant`: the policies of installed keys, shown and changed.

mod key_line;
mod set;
pub mod words;

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{Confine, LoadError, load};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::cli::{Grant, GrantSet};
use super::grants;
use super::list::policy_findings;
use crate::common::exit::{Exit, Failure};
use crate::common::moment::in_words;
use crate::common::report::{Report, abbreviated, shown};

/// Runs one of its subcommands.
pub fn run(command: &Grant, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Grant::Show { name } => show(name, layout),
        Grant::Set(args) => set(args, layout),
    }
}

/// Changes an installed key.
pub(super) fn set(args: &GrantSet, layout: &Layout) -> Result<Report, Failure> {
    set::run(args, layout)
}

fn show(name: &GrantName, layout: &Layout) -> Result<Report, Failure> {
    let grant = load(name, layout).map_err(|error| unreadable(&error, name, layout))?;
    let mut report = Report::default();
    report.line(format_args!("{name}: federation {}, pod {}", grant.federation, grant.pod));
    report.line(format_args!("  policy    {}", shown(layout, &layout.grant_file(name))));
    let tools: Vec<String> = grant.tools.iter().map(ToString::to_string).collect();
    report.line(format_args!("  tools     {}", tools.join(", ")));
    if let Some(end) = grant.expires {
        report.line(format_args!("  until     {}", in_words(end)));
    }
    let confine = match grant.confine {
        Confine::Required => "required: what the kernel cannot enforce is refused",
        Confine::BestEffort => "best effort: as far as the kernel can",
        Confine::Off => "OFF: argument checks only",
    };
    report.line(format_args!("  confined  {confine}"));
    if grant.record_sha256 {
        report.line("  records   every file that sftp or scp reads or writes, with the sum of its content");
    }
    for (workspace_name, workspace) in &grant.workspaces {
        let path = shown(layout, &workspace.path);
        report.line(format_args!("  workspace {workspace_name} is {path}, {}", workspace.access));
        for (sub, access) in &workspace.paths {
            report.line(format_args!("            {workspace_name}/{} is {access}", Escaped::os(sub)));
        }
        for (stated, rule) in [
            (!workspace.overwrite && !workspace.files.append, "a push may not replace what is there"),
            (workspace.overwrite && !workspace.delete, "a push may not delete"),
            (workspace.munge, "symlinks are stored munged"),
        ] {
            if stated {
                report.line(format_args!("            {rule}"));
            }
        }
        for rule in workspace.files.words() {
            report.line(format_args!("            {}", Escaped(rule.as_bytes())));
        }
    }
    if let Some(end) = grant.expires.filter(|_| grant.expired(Timestamp::now())) {
        report.line(format_args!("  ! ended on {}", in_words(end)));
    }
    for finding in policy_findings(&grant, layout) {
        report.line(format_args!("  ! {}", abbreviated(layout, &finding.text)));
    }
    Ok(report)
}

/// Why a grant cannot be used; for one that is not there, those that are.
pub(super) fn unreadable(error: &LoadError, name: &GrantName, layout: &Layout) -> Failure {
    if !error.is_missing() {
        return Failure::new(Exit::Failed, error);
    }
    let names: Vec<String> = grants::names(layout).iter().map(ToString::to_string).collect();
    let there = if names.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::new(Exit::NoMatch, format!("no grant {name}; {there}"))
}
