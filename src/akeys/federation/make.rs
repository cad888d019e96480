//! `akeys federation new` and `add`: the key pairs of a pod, and the file that says whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, PathBuf};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};

use super::own::{self, Edition};
use super::pins;
use crate::akeys::bundle::{self, Bundle, Offer, Suggestion};
use crate::akeys::cli::{AddPod, Asks, NewFederation};
use crate::akeys::failures::refuse_past;
use crate::akeys::key_pair;
use crate::akeys::shelf::Shelf;
use crate::akeys::words::{self, ToolSet};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::IfThere;
use crate::common::report::{Report, shown};

/// Makes the key pairs, then the file that says they are a federation. A failure takes back what was made.
pub(super) fn run(new: &NewFederation, layout: &Layout) -> Result<Report, Failure> {
    let name = &new.name;
    let pod = match &new.pod {
        Some(pod) => pod.clone(),
        None => host_label().ok_or_else(|| {
            Failure::new(Exit::Usage, "the host's name makes no pod name").hint("say it: --pod NAME")
        })?,
    };
    check(&pod, &new.asks)?;
    let mut bundle = Bundle {
        federation: name.clone(),
        serial: 1,
        hubs: new.hubs.clone(),
        nats: new.nats.clone(),
        host_keys: new.host_keys.clone(),
        workspaces: suggestions(new)?,
        offers: Vec::new(),
        revoked: Vec::new(),
    };
    let _lock = Lock::acquire(layout)?;
    let path = Shelf::Own.path(layout, name);
    if path.exists() {
        let message = format!("federation {name} exists already: {}", shown(layout, &path));
        return Err(Failure::new(Exit::Conflict, message).hint(format!(
            "akeys federation add {name} --pod POD for another pod, or akeys federation remove {name}"
        )));
    }
    let pins = pins::settled(layout, None, &bundle)?;
    let mut made = Vec::new();
    let stored = make_keys(&pod, &new.asks, layout, &mut bundle, &mut made).and_then(|()| {
        let signer = key_pair::signer_path(layout, name);
        let pair = key_pair::create(&signer, &format!("akeys:{name}"))?;
        made.push(signer);
        pins.store(layout, name)?;
        Shelf::Own.store(layout, name, &bundle::render(&bundle), IfThere::Refuse)?;
        Ok(pair.public)
    });
    let signer = stored.inspect_err(|_| take_back(&made))?;
    let mut report = Report::default();
    offers_in_words(&bundle.offers, &bundle, layout, &mut report)?;
    report.line(format_args!("bundles are signed by {}", signer.fingerprint()));
    report.line(format_args!("for the users: akeys federation export {name} > {name}.toml"));
    Ok(report)
}

/// `akeys federation add`: the same for one pod more.
pub(super) fn add(args: &AddPod, layout: &Layout) -> Result<Report, Failure> {
    check(&args.pod, &args.asks)?;
    let _lock = Lock::acquire(layout)?;
    let before = own::load(layout, &args.name)?;
    if before.pods().contains(&args.pod) {
        let message = format!("federation {} has a pod {} already", args.name, args.pod);
        let name = &args.name;
        return Err(Failure::new(Exit::Conflict, message).hint(format!(
            "a pod of another name takes other keys: akeys federation add {name} --pod POD; what there is: akeys federation list"
        )));
    }
    let mut after = before.clone();
    let mut made = Vec::new();
    let edition = make_keys(&args.pod, &args.asks, layout, &mut after, &mut made).and_then(|()| {
        let edition = Edition::after(&before, after)?;
        edition.as_ref().map_or(Ok(()), |edition| edition.store(layout))?;
        Ok(edition)
    });
    let edition = edition.inspect_err(|_| take_back(&made))?;
    let mut report = Report::default();
    if let Some(edition) = edition {
        let bundle = &edition.bundle;
        offers_in_words(&bundle.offers[before.offers.len()..], bundle, layout, &mut report)?;
        report.line(edition.next_step());
    }
    Ok(report)
}

fn check(pod: &Label, asks: &Asks) -> Result<(), Failure> {
    if bundle::is_taken(pod, None) {
        return Err(Failure::new(Exit::Usage, format!("{pod} is no name for a pod: a file has it"))
            .hint("say another: --pod NAME"));
    }
    refuse_past(asks.expires)
}

fn take_back(made: &[PathBuf]) {
    for key in made {
        let _ = key_pair::remove(key);
    }
}

/// What each of `offers`, whose keys are here, asks for.
fn offers_in_words(
    offers: &[Offer],
    bundle: &Bundle,
    layout: &Layout,
    report: &mut Report,
) -> Result<(), Failure> {
    for offer in offers {
        let grant = bundle.grant_name(offer).map_err(|error| Failure::new(Exit::Usage, error))?;
        report.line(format_args!("{grant} wants {}", offer.wants()));
        let key = shown(layout, &key_pair::path(layout, &grant));
        report.line(format_args!("  key {key} {}", offer.key.fingerprint()));
    }
    Ok(())
}

/// One key pair and one offer per tool set; the private keys that were made are in `made`, also when a later one fails.
fn make_keys(
    pod: &Label,
    asks: &Asks,
    layout: &Layout,
    bundle: &mut Bundle,
    made: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    for tools in &asks.tools {
        let set = (asks.tools.len() > 1).then(|| set_name(tools)).transpose()?;
        let grant = bundle.name_of(pod, set.as_ref()).map_err(|error| Failure::new(Exit::Usage, error))?;
        let pair = key_pair::create(&key_pair::path(layout, &grant), &format!("akeys:{grant}"))?;
        made.push(pair.path);
        bundle.offers.push(Offer {
            pod: pod.clone(),
            set,
            key: pair.public,
            replaces: Vec::new(),
            tools: tools.0.clone(),
            access: asks.access,
            from: asks.from.clone(),
            expires: asks.expires,
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
            access: word.access.unwrap_or(new.asks.access),
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
