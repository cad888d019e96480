//! `akeys federation`: the trust relation, made on the pod's side, carried as a bundle, taken in on the user's side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Component, Path};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label, WorkspaceName};
use serde_json::json;

use super::bundle::{self, Bundle, MergeError, Offer, Suggestion};
use super::cli::{Federation, NewFederation, RemoveFederation};
use super::failures::refuse_past;
use super::key_pair;
use super::remove;
use super::shelf::{self, Shelf};
use super::words::{self, ToolSet};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere};
use crate::common::report::{Report, shown};

/// Runs one of its subcommands.
pub fn run(command: Federation, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Federation::New(new) => create(&new, layout),
        Federation::Export { name } => export(&name, layout),
        Federation::Import { bundle } => import(&bundle, layout),
        Federation::List { json } => Ok(list(json, layout)),
        Federation::Remove(remove) => forget(&remove, layout),
    }
}

/// Makes the key pairs, then the file that says they are a federation. A failure takes back what was made.
fn create(new: &NewFederation, layout: &Layout) -> Result<Report, Failure> {
    let pod = match &new.pod {
        Some(pod) => pod.clone(),
        None => host_label().ok_or_else(|| {
            Failure::new(Exit::Usage, "the host's name makes no pod name").hint("say it: --pod NAME")
        })?,
    };
    let workspaces = suggestions(new)?;
    refuse_past(new.expires)?;
    let _lock = Lock::acquire(layout)?;
    let path = Shelf::Own.path(layout, &new.name);
    if path.exists() {
        let message = format!("federation {} exists already: {}", new.name, shown(layout, &path));
        return Err(Failure::new(Exit::Conflict, message)
            .hint(format!("akeys federation export {0}, or akeys federation remove {0}", new.name)));
    }
    let mut bundle = Bundle {
        federation: new.name.clone(),
        nats: new.nats.clone(),
        host_keys: new.host_keys.clone(),
        workspaces,
        offers: Vec::new(),
    };
    let mut made = Vec::new();
    let stored = make_keys(new, &pod, layout, &mut bundle, &mut made)
        .and_then(|()| Ok(Shelf::Own.store(layout, &bundle, IfThere::Refuse)?));
    if let Err(failure) = stored {
        for grant in &made {
            let _ = key_pair::remove(layout, grant);
        }
        return Err(failure);
    }
    let mut report = Report::default();
    for (offer, grant) in bundle.offers.iter().zip(&made) {
        report.line(format_args!("{grant} wants {}", offer.wants()));
        let key = shown(layout, &key_pair::path(layout, grant));
        report.line(format_args!("  key {key} {}", offer.key.fingerprint()));
    }
    report.line(format_args!("for the users: akeys federation export {0} > {0}.toml", new.name));
    Ok(report)
}

/// One key pair and one offer per tool set.
fn make_keys(
    new: &NewFederation,
    pod: &Label,
    layout: &Layout,
    bundle: &mut Bundle,
    made: &mut Vec<GrantName>,
) -> Result<(), Failure> {
    let base: GrantName = match format!("{}.{pod}", new.name).parse() {
        Ok(base) => base,
        Err(error) => return Err(Failure::new(Exit::Usage, error)),
    };
    for tools in &new.tools {
        let set = (new.tools.len() > 1).then(|| set_name(tools)).transpose()?;
        let grant = match &set {
            None => base.clone(),
            Some(set) => format!("{base}.{set}").parse().map_err(|error| Failure::new(Exit::Usage, error))?,
        };
        let pair = key_pair::create(layout, &grant)?;
        made.push(grant);
        bundle.offers.push(Offer {
            pod: pod.clone(),
            set,
            key: pair.public,
            tools: tools.0.clone(),
            access: new.access,
            from: new.from.clone(),
            expires: new.expires,
        });
    }
    Ok(())
}

/// The name of a tool set: its tools, with '-' between them.
fn set_name(tools: &ToolSet) -> Result<Label, Failure> {
    let words: Vec<String> = tools.0.iter().map(ToString::to_string).collect();
    words.join("-").parse().map_err(|error| Failure::new(Exit::Usage, error))
}

fn suggestions(new: &NewFederation) -> Result<BTreeMap<WorkspaceName, Suggestion>, Failure> {
    let usage = |message: String| Err(Failure::new(Exit::Usage, message));
    let mut workspaces = BTreeMap::new();
    for word in &new.workspaces {
        let dir = &word.dir;
        let clean = (dir.is_absolute() || dir.starts_with("~"))
            && dir.to_str().is_some_and(|text| !text.chars().any(char::is_control))
            && !dir.components().any(|part| part == Component::ParentDir);
        if !clean {
            return usage(
                "a suggested directory is absolute or starts with '~/', quoted from the shell".to_owned(),
            );
        }
        let name = word.name_or(dir).map_err(|error| {
            let failure = Failure::new(Exit::Usage, error);
            match words::taken_for_name(dir) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        let suggestion = Suggestion {
            path: Some(dir.clone()),
            access: word.access.unwrap_or(new.access),
            writable: BTreeSet::new(),
        };
        if workspaces.insert(name.clone(), suggestion).is_some() {
            return usage(format!("two workspaces are named {name}"));
        }
    }
    for sub in &new.writable {
        match workspaces.get_mut(&sub.workspace) {
            Some(workspace) => workspace.writable.insert(sub.path.clone()),
            None => return usage(format!("--writable names {}, which no --workspace does", sub.workspace)),
        };
    }
    Ok(workspaces)
}

/// The host's name up to its first dot, with '-' for whatever a label does not take.
fn host_label() -> Option<Label> {
    let host = nix::unistd::gethostname().ok()?.into_string().ok()?;
    label_of(&host)
}

fn label_of(host: &str) -> Option<Label> {
    let first = host.split('.').next()?;
    let plain: String = first
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    plain.trim_start_matches(['-', '_']).chars().take(32).collect::<String>().parse().ok()
}

fn export(name: &Label, layout: &Layout) -> Result<Report, Failure> {
    match Shelf::Own.load(layout, name)? {
        Some(bundle) => Ok(Report::data(bundle::render(&bundle))),
        None => Err(Failure::new(Exit::NoMatch, format!("no federation {name} was made here"))
            .hint(format!("akeys federation new {name}, or akeys federation list"))),
    }
}

/// Keeps a bundle. Another pod of a federation that is here already joins it; nothing is ever replaced.
fn import(path: &Path, layout: &Layout) -> Result<Report, Failure> {
    let bundle = shelf::read(path)?;
    let federation = bundle.federation.clone();
    let _lock = Lock::acquire(layout)?;
    let (kept, news) = match Shelf::Imported.load(layout, &federation)? {
        None => (bundle, true),
        Some(mut kept) => {
            let news = kept.merge(bundle).map_err(|error| merge_failure(&error, &federation))?;
            (kept, news > 0)
        }
    };
    let mut report = Report::default();
    if news {
        Shelf::Imported.store(layout, &kept, IfThere::Replace)?;
        report.line(format_args!("imported federation {federation}; nothing is granted yet"));
    } else {
        report.line(format_args!("federation {federation} was imported before; nothing changed"));
    }
    for offer in &kept.offers {
        report.line(format_args!("  pod {} wants {}", offer.pod, offer.wants()));
        report.line(format_args!("    key {}", offer.key.fingerprint()));
    }
    suggestions_in_words(&kept, layout, &mut report);
    report.note(format_args!("compare the fingerprints with the sender before you install"));
    Ok(report)
}

/// What the bundle would like to see; nothing is exposed because of it.
fn suggestions_in_words(bundle: &Bundle, layout: &Layout, report: &mut Report) {
    for (name, suggestion) in &bundle.workspaces {
        let path =
            suggestion.path.as_ref().map_or_else(String::new, |path| format!(" at {}", shown(layout, path)));
        let subs: Vec<String> =
            suggestion.writable.iter().map(|sub| format!("{name}/{}", Escaped::os(sub))).collect();
        let writable =
            if subs.is_empty() { String::new() } else { format!(", writable {}", subs.join(", ")) };
        report.line(format_args!("  suggests workspace {name}{path} ({}){writable}", suggestion.access));
    }
}

fn merge_failure(error: &MergeError, federation: &Label) -> Failure {
    let message = match error {
        MergeError::Setting(_) => format!("federation {federation}: {error}"),
        MergeError::Offer { here, there, .. } => format!(
            "federation {federation}: {error}\n  here:   {} {}\n  bundle: {} {}",
            here.key.fingerprint(),
            here.wants(),
            there.key.fingerprint(),
            there.wants()
        ),
    };
    let hint = format!(
        "when the sender confirms it: akeys federation remove --imported {federation}, then import again"
    );
    Failure::new(Exit::Conflict, message).hint(hint)
}

fn list(json: bool, layout: &Layout) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for shelf in [Shelf::Own, Shelf::Imported] {
        for name in shelf.names(layout) {
            // One broken file must not hide the others.
            match shelf.load(layout, &name) {
                Ok(Some(bundle)) => rows.push((shelf, bundle)),
                Ok(None) => {}
                Err(error) => report.note(error),
            }
        }
    }
    if json {
        let value = |(shelf, bundle): &(Shelf, Bundle)| {
            let offer = |offer: &Offer| {
                json!({
                    "pod": offer.pod,
                    "set": offer.set,
                    "key": offer.key.to_string(),
                    "fingerprint": offer.key.fingerprint(),
                    "tools": offer.tools,
                    "access": offer.access,
                    "from": offer.from.as_ref().map(ToString::to_string),
                    "expires": offer.expires.map(|at| at.to_string()),
                })
            };
            let offers: Vec<_> = bundle.offers.iter().map(offer).collect();
            let suggestion = |(name, suggestion): (&WorkspaceName, &Suggestion)| {
                json!({
                    "name": name,
                    "path": suggestion.path,
                    "access": suggestion.access,
                    "writable": suggestion.writable,
                })
            };
            let workspaces: Vec<_> = bundle.workspaces.iter().map(suggestion).collect();
            json!({
                "federation": bundle.federation,
                "kind": shelf.word(),
                "grants": offers,
                "workspaces": workspaces,
            })
        };
        let all: Vec<_> = rows.iter().map(value).collect();
        report.line(format_args!("{:#}", serde_json::Value::Array(all)));
        return report;
    }
    for (shelf, bundle) in &rows {
        let _ = writeln!(report.out, "{} ({})", bundle.federation, shelf.word());
        for offer in &bundle.offers {
            let _ = writeln!(report.out, "  pod {} wants {}", offer.pod, offer.wants());
            let _ = writeln!(report.out, "    key {}", offer.key.fingerprint());
        }
        suggestions_in_words(bundle, layout, &mut report);
    }
    report
}

/// Forgets a bundle, or a federation with its keys. What was installed from it stays installed, and is mentioned.
fn forget(args: &RemoveFederation, layout: &Layout) -> Result<Report, Failure> {
    let _lock = Lock::acquire(layout)?;
    let name = &args.name;
    let there = |shelf: Shelf| shelf.path(layout, name).exists();
    let shelf = match (there(Shelf::Own), there(Shelf::Imported)) {
        (true, true) if !args.own && !args.imported => {
            let message = format!("federation {name} is both your own and imported");
            return Err(Failure::new(Exit::Usage, message).hint("say which: --own or --imported"));
        }
        (true, _) if !args.imported => Shelf::Own,
        (_, true) if !args.own => Shelf::Imported,
        _ => return Err(Failure::new(Exit::NoMatch, format!("no such federation: {name}"))),
    };
    let mut report = Report::default();
    if shelf == Shelf::Own {
        // Without its file nobody would know which keys these are, so the keys go first.
        let bundle = shelf.load(layout, name)?;
        for offer in bundle.iter().flat_map(|bundle| &bundle.offers) {
            let Some(grant) = bundle.as_ref().and_then(|bundle| bundle.grant_name(offer).ok()) else {
                continue;
            };
            if key_pair::remove(layout, &grant)? {
                report.line(format_args!("removed {}", shown(layout, &key_pair::path(layout, &grant))));
            }
        }
    }
    let path = shelf.path(layout, name);
    private::remove(&path)?;
    report.line(format_args!("removed {}", shown(layout, &path)));
    if remove::is_installed(name, layout) {
        report.note(format_args!(
            "keys that were installed from it still work: akeys remove --federation {name}"
        ));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_labels() {
        for (host, label) in [
            ("chef1.example.org", Some("chef1")),
            ("my host", Some("my-host")),
            ("-x", Some("x")),
            ("", None),
            ("...", None),
        ] {
            assert_eq!(label_of(host).as_ref().map(Label::as_str), label, "{host}");
        }
    }
}
