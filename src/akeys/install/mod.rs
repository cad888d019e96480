//! `akeys install`: one key line and its policy.
//!
//! Everything that can be wrong is found before anything is written. Then the policy goes first and the key line last, so
//! that a crash in between leaves a policy without a key, which grants nothing, and never a key without its policy. What
//! is there already is recognised and left alone, or it is a conflict that is shown; it is never changed.

mod plan;
mod policy_file;
mod present;

use std::collections::BTreeSet;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;

use super::bundle::{Bundle, Offer};
use super::cli::Install;
use super::effect;
use super::federation;
use super::gate::{Gate, GateError};
use super::guard::{Allowed, Guard};
use super::safe_write::{self, Outcome};
use super::shelf;
use super::sub_path::{self, Made};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere};
use crate::common::report::{Report, shown};

use plan::Plan;
use policy_file::Policy;
use present::add_lines;

/// Runs it.
pub fn run(args: &Install, layout: &Layout) -> Result<Report, Failure> {
    let bundle = wanted_bundle(args, layout)?;
    let mut report = Report::default();
    let offers = served(&bundle, offers_of_one_pod(&bundle, args)?, args, &mut report)?;
    let gate = gate(args)?;
    federation::named_host_keys(&args.card)?;
    let mut plans = Vec::new();
    for offer in offers {
        plans.push(Plan::make(args, &bundle, offer, &gate, layout, &mut report)?);
    }
    if args.dry_run {
        return preview(&plans, layout, report);
    }
    let lock = Lock::acquire(layout)?;
    let policies = policies(&plans, layout)?;
    // Conflicts in the key file are found before a policy is written.
    let guard = Guard::new(Allowed::default(), layout);
    let file = safe_write::read(layout)?.unwrap_or_default();
    safe_write::judge(layout, &guard, &file, &add_lines(&file, &plans, layout)?)?;
    let mut made = Vec::new();
    let mut written = Vec::new();
    let outcome = make_sub_paths(&plans, &mut made)
        .and_then(|()| write_policies(&plans, &policies, &mut written, layout))
        .and_then(|()| safe_write::update(layout, &lock, &guard, |file| add_lines(file, &plans, layout)));
    let outcome = match outcome {
        Ok(done) => done.outcome,
        Err(failure) => {
            take_back(&written, layout);
            sub_path::take_back(&made);
            return Err(failure);
        }
    };
    for plan in &plans {
        report.out.push_str(&plan.words(layout));
    }
    issue_card(args, &plans, layout, &lock, &mut report);
    for made in &made {
        report.line(format_args!("made {}", shown(layout, &made.path)));
    }
    report.line(summary(outcome, &written, &plans, layout));
    report.notes.extend(effect::loose_places(layout));
    Ok(report)
}

fn gate(args: &Install) -> Result<Gate, Failure> {
    Gate::find(args.gate.as_deref()).map_err(|error| {
        // Without --gate nobody named what is missing.
        let exit = match &error {
            GateError::Missing { source, .. } if args.gate.is_some() => Failure::named(source, "").exit,
            _ => Exit::Failed,
        };
        Failure { exit, ..error.into() }
    })
}

fn wanted_bundle(args: &Install, layout: &Layout) -> Result<Bundle, Failure> {
    if let Some(path) = &args.bundle {
        return Ok(shelf::read(path)?);
    }
    let no_name = || Failure::new(Exit::Usage, "no federation: --federation NAME or --bundle FILE");
    let name = args.federation.as_ref().ok_or_else(no_name)?;
    shelf::find(layout, name)?.ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("no federation {name} was imported or made here"))
            .hint("akeys federation import BUNDLE, or --bundle FILE")
    })
}

/// The offers of the pod that was named, or of the only one there is.
fn offers_of_one_pod<'a>(bundle: &'a Bundle, args: &Install) -> Result<Vec<&'a Offer>, Failure> {
    let pods = bundle.pods();
    let list = || pods.iter().map(|pod| pod.as_str()).collect::<Vec<_>>().join(", ");
    let pod = match &args.pod {
        Some(pod) if pods.contains(pod) => pod,
        Some(pod) => {
            let message = format!("federation {} has no pod {pod}; it has {}", bundle.federation, list());
            return Err(Failure::new(Exit::NoMatch, message));
        }
        None if pods.len() > 1 => {
            let message = format!("federation {} has several pods: {}", bundle.federation, list());
            return Err(Failure::new(Exit::Usage, message).hint("say which: --pod NAME"));
        }
        None => *pods.first().ok_or_else(|| Failure::new(Exit::Failed, "the bundle offers no key"))?,
    };
    Ok(bundle.offers.iter().filter(|offer| offer.pod == *pod).collect())
}

/// The offers for which the gate serves anything. A key that could do nothing is not installed.
fn served<'a>(
    bundle: &Bundle,
    offers: Vec<&'a Offer>,
    args: &Install,
    report: &mut Report,
) -> Result<Vec<&'a Offer>, Failure> {
    let (served, useless): (Vec<_>, Vec<_>) =
        offers.into_iter().partition(|offer| plan::is_served(args, offer));
    if served.is_empty() {
        let message = "the gate does not serve watch yet, so the key could do nothing";
        return Err(Failure::new(Exit::Failed, message).hint("name other tools: --tools rsync"));
    }
    for offer in useless {
        let name = bundle.grant_name(offer).map_err(|error| Failure::new(Exit::Usage, error))?;
        report.note(format_args!("{name} is left out: the gate does not serve watch yet"));
    }
    Ok(served)
}

fn policies(plans: &[Plan], layout: &Layout) -> Result<Vec<Policy>, Failure> {
    plans.iter().map(|plan| policy_file::compare(plan, layout)).collect()
}

/// Makes the writable sub-paths that are missing: the gate can let a push only into what exists.
fn make_sub_paths(plans: &[Plan], made: &mut Vec<Made>) -> Result<(), Failure> {
    for (name, workspace, sub) in sub_paths(plans) {
        sub_path::make(workspace, sub, made)
            .map_err(|error| plan::sub_path_failure(name, workspace, sub, &error))?;
    }
    Ok(())
}

/// The writable sub-paths, each once: every grant of a pod has the same workspaces.
fn sub_paths(plans: &[Plan]) -> BTreeSet<(&WorkspaceName, &Path, &Path)> {
    let workspaces = plans.iter().flat_map(|plan| &plan.grant.workspaces);
    workspaces
        .flat_map(|(name, workspace)| {
            workspace.paths.keys().map(move |sub| (name, workspace.path.as_path(), sub.as_path()))
        })
        .collect()
}

/// Writes the policies that are missing, and adds them to `written`, also when a later one fails.
fn write_policies<'a>(
    plans: &'a [Plan],
    policies: &[Policy],
    written: &mut Vec<&'a Plan>,
    layout: &Layout,
) -> Result<(), Failure> {
    for (plan, policy) in plans.iter().zip(policies) {
        if *policy == Policy::Same {
            continue;
        }
        let path = layout.grant_file(&plan.name);
        private::write(&path, plan.policy.as_bytes(), 0o600, IfThere::Refuse)?;
        written.push(plan);
    }
    Ok(())
}

/// Removes the policies that this run wrote, unless a key line made it into the file after all.
fn take_back(written: &[&Plan], layout: &Layout) {
    let there = safe_write::read(layout).ok().flatten().unwrap_or_default();
    for plan in written {
        if !present::holds_line(&there, &plan.line) {
            let _ = private::remove(&layout.grant_file(&plan.name));
        }
    }
}

/// Writes the card for the pod. Without it the grant holds all the same, so nothing is taken back.
fn issue_card(args: &Install, plans: &[Plan], layout: &Layout, lock: &Lock, report: &mut Report) {
    let Some(plan) = plans.first() else { return };
    match federation::issue(&plan.grant.federation, &plan.grant.pod, &args.card, layout, lock) {
        Ok(issued) => {
            report.line(federation::card_line(&issued, layout));
            report.notes.extend(issued.notes);
        }
        Err(failure) => report.note(format_args!("no card for the pod was written: {failure}")),
    }
}

fn summary(outcome: Outcome, written: &[&Plan], plans: &[Plan], layout: &Layout) -> String {
    let keys = shown(layout, &layout.authorized_keys());
    match (outcome, written.is_empty()) {
        (Outcome::Unchanged, true) => "installed already; nothing changed".to_owned(),
        (Outcome::Unchanged, false) => format!("the key line was there; wrote {}", files(written, layout)),
        (Outcome::Replaced, true) => format!("the policy was there; added {} to {keys}", count(plans.len())),
        (Outcome::Replaced, false) => {
            format!("added {} to {keys}, and wrote {}", count(plans.len()), files(written, layout))
        }
    }
}

fn count(lines: usize) -> String {
    if lines == 1 { "one line".to_owned() } else { format!("{lines} lines") }
}

fn files(plans: &[&Plan], layout: &Layout) -> String {
    let files: Vec<String> = plans.iter().map(|plan| shown(layout, &layout.grant_file(&plan.name))).collect();
    files.join(", ")
}

/// What would be written, with the same checks, and not even a lock.
fn preview(plans: &[Plan], layout: &Layout, mut report: Report) -> Result<Report, Failure> {
    let policies = policies(plans, layout)?;
    let file = safe_write::read(layout)?.unwrap_or_default();
    let guard = Guard::new(Allowed::default(), layout);
    safe_write::judge(layout, &guard, &file, &add_lines(&file, plans, layout)?)?;
    for (plan, policy) in plans.iter().zip(policies) {
        report.out.push_str(&plan.words(layout));
        let path = layout.grant_file(&plan.name);
        match policy {
            Policy::Same => report.line(format_args!("policy {} is there", shown(layout, &path))),
            Policy::Absent => {
                report.line(format_args!("would write {}:", shown(layout, &path)));
                for line in plan.policy.lines() {
                    report.line(format!("    {}", Escaped(line.as_bytes())).trim_end());
                }
            }
        }
        let keys = shown(layout, &layout.authorized_keys());
        let there = present::holds_line(&file, &plan.line);
        report.line(format_args!("{} {keys}:", if there { "there in" } else { "would add to" }));
        report.line(format_args!("    {}", String::from_utf8_lossy(&plan.line)));
    }
    for (name, workspace, sub) in sub_paths(plans) {
        let there = sub_path::exists(workspace, sub)
            .map_err(|error| plan::sub_path_failure(name, workspace, sub, &error))?;
        if !there {
            report.line(format_args!("would make {}", shown(layout, &workspace.join(sub))));
        }
    }
    report.note("nothing was written (--dry-run)");
    Ok(report)
}
