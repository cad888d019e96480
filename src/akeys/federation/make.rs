//! `akeys federation new`: the key pairs of a pod, and the file that says whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Component;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label, WorkspaceName};

use crate::akeys::bundle::{Bundle, Offer, Suggestion};
use crate::akeys::cli::NewFederation;
use crate::akeys::failures::refuse_past;
use crate::akeys::key_pair;
use crate::akeys::shelf::Shelf;
use crate::akeys::words::{self, ToolSet};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::IfThere;
use crate::common::report::{Report, shown};

/// What the file of pinned host keys is called behind the federation's name, where a pod's private key has the pod's.
const PINS: &str = "known_hosts";

/// Makes the key pairs, then the file that says they are a federation. A failure takes back what was made.
pub(super) fn run(new: &NewFederation, layout: &Layout) -> Result<Report, Failure> {
    let pod = match &new.pod {
        Some(pod) => pod.clone(),
        None => host_label().ok_or_else(|| {
            Failure::new(Exit::Usage, "the host's name makes no pod name").hint("say it: --pod NAME")
        })?,
    };
    if pod.as_str() == PINS {
        return Err(Failure::new(Exit::Usage, format!("{pod} is no name for a pod: a file has it"))
            .hint("say another: --pod NAME"));
    }
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
