//! `akeys install`: one key line and its policy.
//!
//! Everything that can be wrong is found before anything is written. Then the policy goes first and the key line last, so
//! that a crash in between leaves a policy without a key, which grants nothing, and never a key without its policy. What
//! is there already is recognised and left alone, or it is a conflict that is shown; it is never changed. `remote` does the
//! same in an account of another host.

mod plan;
mod policy_file;
mod present;
mod remote;

use std::collections::BTreeSet;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};

use super::bundle::{Bundle, Offer, refuse_revoked, succeed};
use super::cli::Install;
use super::effect;
use super::failures::{bundle_failure, demand_signer};
use super::federation;
use super::gate::{Gate, GateError};
use super::guard::{Allowed, Guard};
use super::safe_write;
use super::shelf::{self, Found, Shelf};
use super::sub_path::{self, Made};
use crate::card::Destination;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere};
use crate::common::report::{Report, shown};

use plan::{Here, Plan};
use policy_file::Policy;
use present::{Edit, edited};

/// Runs it.
pub fn run(args: &Install, layout: &Layout) -> Result<Report, Failure> {
    if let Some(host) = &args.host {
        return remote::run(args, host, layout);
    }
    let found = wanted_bundle(args, layout)?;
    let bundle = &found.received.bundle;
    let mut report = Report::default();
    let offers = offers_of_one_pod(bundle, args)?;
    let gate = gate(args)?;
    federation::named_host_keys(&args.card)?;
    let here = Here { gate: &gate, layout, hidden: args.hidden };
    let mut plans = Vec::new();
    for offer in offers {
        plans.push(Plan::make(args, &found, offer, &gate, &here, layout, &mut report)?);
    }
    present::refuse_elsewhere(&plans, layout)?;
    if args.dry_run {
        return preview(&plans, layout, report);
    }
    let lock = Lock::acquire(layout)?;
    let policies = policies(&plans, layout)?;
    // Conflicts in the key file are found before a policy is written.
    let guard = Guard::new(Allowed::default(), layout);
    let file = safe_write::read(layout)?.unwrap_or_default();
    safe_write::judge(layout, &guard, &file, &edited(&file, &plans, layout)?.patch)?;
    let mut made = Vec::new();
    let mut written = Vec::new();
    let mut edit = Edit::default();
    let outcome = make_sub_paths(&plans, &mut made)
        .and_then(|()| write_policies(&plans, &policies, &mut written, layout))
        .and_then(|()| {
            safe_write::update(layout, &lock, &guard, |file| {
                edit = edited(file, &plans, layout)?;
                Ok::<_, Failure>(edit.patch.clone())
            })
        });
    if let Err(failure) = outcome {
        take_back(&written, layout);
        sub_path::take_back(&made);
        return Err(failure);
    }
    for plan in &plans {
        report.out.push_str(&plan.words(layout));
    }
    issue_card(args, &plans, layout, &lock, &mut report);
    for made in &made {
        report.line(format_args!("made {}", shown(layout, &made.path)));
    }
    report.line(summary(&edit, &written, layout));
    report.notes.extend(effect::notes(plans.iter().map(|plan| plan.key.key().algorithm()), layout));
    Ok(report)
}

/// Lets what is installed in another account follow the bundle that is here.
pub fn update_there(
    federation: &Label,
    allowed: Allowed,
    host: &Destination,
    layout: &Layout,
) -> Result<Report, Failure> {
    remote::update(federation, allowed, host, layout)
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

fn wanted_bundle(args: &Install, layout: &Layout) -> Result<Found, Failure> {
    if let Some(path) = &args.bundle {
        return bundle_in(path, args, layout);
    }
    let no_name = || Failure::new(Exit::Usage, "no federation: --federation NAME or --bundle FILE");
    let name = args.federation.as_ref().ok_or_else(no_name)?;
    shelf::find(layout, name)?.ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("no federation {name} was imported or made here"))
            .hint("akeys federation import BUNDLE, or --bundle FILE")
    })
}

/// A bundle that is not imported. Where a signed one of its name is, it must be one that could be imported now; and a key
/// that was revoked, as far as anything here says so, comes back by no bundle.
fn bundle_in(path: &Path, args: &Install, layout: &Layout) -> Result<Found, Failure> {
    let received = shelf::read(path)?;
    demand_signer(args.signer.as_ref(), &received)?;
    let federation = &received.bundle.federation;
    let refused = |error| bundle_failure(&error, federation);
    let imported = Shelf::Imported.load(layout, federation)?;
    for here in imported.iter().chain(&Shelf::Own.load(layout, federation)?) {
        refuse_revoked(&here.bundle, &received.bundle).map_err(refused)?;
    }
    let kept = imported.filter(|kept| kept.signer.is_some());
    if let Some(kept) = &kept {
        succeed(Some(kept), received.clone()).map_err(refused)?;
    }
    Ok(Found { trusted: kept.is_some(), received })
}

/// The offers of the pod that was named, or of the only one there is.
fn offers_of_one_pod<'a>(bundle: &'a Bundle, args: &Install) -> Result<Vec<&'a Offer>, Failure> {
    let pods = bundle.pods();
    let list = || pods.iter().map(|pod| pod.as_str()).collect::<Vec<_>>().join(", ");
    let pod = match &args.pod {
        Some(pod) if pods.contains(pod) => pod,
        Some(pod) if bundle.revoked.iter().any(|revoked| revoked.pod == *pod) => {
            let message = format!("pod {pod} of federation {} was revoked", bundle.federation);
            return Err(Failure::new(Exit::Failed, message)
                .hint(format!("akeys federation update {} takes its keys out", bundle.federation)));
        }
        Some(pod) => {
            let message = format!("federation {} has no pod {pod}; it has {}", bundle.federation, list());
            return Err(Failure::new(Exit::NoMatch, message));
        }
        None if pods.len() > 1 => {
            let message = format!("federation {} has several pods: {}", bundle.federation, list());
            return Err(Failure::new(Exit::Usage, message).hint("say which: --pod NAME"));
        }
        None => *pods.first().ok_or_else(|| {
            Failure::new(Exit::Failed, "the bundle offers no key: those that it had were revoked")
                .hint("ask the sender for a newer one")
        })?,
    };
    Ok(bundle.offers.iter().filter(|offer| offer.pod == *pod).collect())
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
            report.line(federation::card_line(&issued.card, &issued.path, layout));
            report.notes.extend(issued.notes);
        }
        Err(failure) => report.note(format_args!("no card for the pod was written: {failure}")),
    }
}

fn summary(edit: &Edit, written: &[&Plan], layout: &Layout) -> String {
    let keys = shown(layout, &layout.authorized_keys());
    let lines = |count| if count == 1 { "one line".to_owned() } else { format!("{count} lines") };
    let mut deeds = Vec::new();
    if edit.added > 0 {
        deeds.push(format!("added {} to {keys}", lines(edit.added)));
    }
    if edit.replaced > 0 {
        deeds.push(format!("put the new key into {} of {keys}", lines(edit.replaced)));
    }
    let wrote = if written.is_empty() { String::new() } else { format!("wrote {}", files(written, layout)) };
    match (deeds.is_empty(), written.is_empty()) {
        (true, true) => "installed already; nothing changed".to_owned(),
        (true, false) => format!("the key line was there; {wrote}"),
        (false, true) => format!("the policy was there; {}", deeds.join(", ")),
        (false, false) => format!("{}, and {wrote}", deeds.join(", ")),
    }
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
    let edit = edited(&file, plans, layout)?;
    safe_write::judge(layout, &guard, &file, &edit.patch)?;
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
        // One line is changed, or it is added.
        let verb = if edit.replaced > 0 { "would put the new key into a line of" } else { "would add to" };
        report.line(format_args!("{} {keys}:", if there { "there in" } else { verb }));
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
