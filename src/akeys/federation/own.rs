//! A federation of this account's own: its file, which counts its changes, and the key that signs what is exported.

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;
use ssh_key::PrivateKey;

use super::pins;
use crate::akeys::bundle::{self, Bundle, PodKey, Received};
use crate::akeys::cli::{Export, SetFederation};
use crate::akeys::key_pair;
use crate::akeys::shelf::{Found, Shelf};
use crate::card::Destination;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::IfThere;
use crate::common::report::{Report, shown};

/// The federation `name`, which was made here.
pub(super) fn load(layout: &Layout, name: &Label) -> Result<Bundle, Failure> {
    match Shelf::Own.load(layout, name)? {
        Some(Received { bundle, .. }) => Ok(bundle),
        None => Err(Failure::new(Exit::NoMatch, format!("no federation {name} was made here"))
            .hint(format!("akeys federation new {name}, or akeys federation list"))),
    }
}

/// A change of a federation that is known to be sound, and not yet written.
#[derive(Debug)]
pub(super) struct Edition {
    /// What it says, its serial included.
    pub(super) bundle: Bundle,
    text: String,
}

impl Edition {
    /// `after` as the edition that follows `before`; `None` when it says the same.
    ///
    /// What no user could import is refused here, before anything is written.
    pub(super) fn after(before: &Bundle, mut after: Bundle) -> Result<Option<Self>, Failure> {
        if *before == after {
            return Ok(None);
        }
        let failure =
            |exit, what: &str| Failure::new(exit, format!("federation {}: {what}", before.federation));
        let serial = before.serial.checked_add(1).filter(|serial| i64::try_from(*serial).is_ok());
        after.serial = serial.ok_or_else(|| failure(Exit::Failed, "its serial cannot grow"))?;
        let text = bundle::render(&after);
        bundle::parse(&text).map_err(|error| failure(Exit::Conflict, &error.what))?;
        Ok(Some(Self { bundle: after, text }))
    }

    /// Keeps it.
    pub(super) fn store(&self, layout: &Layout) -> Result<(), Failure> {
        Shelf::Own.store(layout, &self.bundle.federation, &self.text, IfThere::Replace)?;
        Ok(())
    }

    /// What the pod's side does next.
    pub(super) fn next_step(&self) -> String {
        format!("for the users: akeys federation export {0} > {0}.toml", self.bundle.federation)
    }
}

/// The key that signs the bundles of `name`; `None` for a federation that has none.
pub(super) fn signer(layout: &Layout, name: &Label) -> Result<Option<PrivateKey>, Failure> {
    let path = key_pair::signer_path(layout, name);
    let Some(key) = key_pair::read(&path)? else { return Ok(None) };
    if key.is_encrypted() {
        let message = format!("{} has a passphrase", shown(layout, &path));
        return Err(Failure::new(Exit::Failed, message).hint(format!(
            "akeys federation export {name} --unsigned, and sign it as akeys-bundle(5) says"
        )));
    }
    Ok(Some(key))
}

/// The public half of that key, for a reader.
pub(super) fn signer_key(layout: &Layout, name: &Label) -> Option<PodKey> {
    let public = key_pair::public_path(&key_pair::signer_path(layout, name));
    std::fs::read_to_string(public).ok()?.trim_end().parse().ok()
}

/// Prints the bundle, with its signature.
pub(super) fn export(args: &Export, layout: &Layout) -> Result<Report, Failure> {
    let text = bundle::render(&load(layout, &args.name)?);
    if args.unsigned {
        return Ok(Report::data(text));
    }
    let Some(key) = signer(layout, &args.name)? else {
        let mut report = Report::data(text);
        report.note(format_args!(
            "the bundle is not signed: there is no {}",
            shown(layout, &key_pair::signer_path(layout, &args.name))
        ));
        return Ok(report);
    };
    Ok(Report::data(bundle::sign(&text, &key).map_err(key_pair::KeyPairError::from)?))
}

/// The text of a bundle that is believed here, signed, so that it can be believed elsewhere; `None` where there is no such
/// text, or nobody has the key without asking.
pub fn signed_text(found: &Found, layout: &Layout) -> Result<Option<String>, Failure> {
    if !found.trusted || found.received.signer.is_some() {
        return Ok(found.trusted.then(|| found.received.text.clone()));
    }
    let bundle = &found.received.bundle;
    let Some(key) = signer(layout, &bundle.federation).ok().flatten() else { return Ok(None) };
    Ok(Some(bundle::sign(&bundle::render(bundle), &key).map_err(key_pair::KeyPairError::from)?))
}

/// Changes what the bundle says about the federation's hubs.
pub(super) fn set(args: &SetFederation, layout: &Layout) -> Result<Report, Failure> {
    let name = &args.name;
    let _lock = Lock::acquire(layout)?;
    let before = load(layout, name)?;
    let mut after = before.clone();
    if let Some(nats) = &args.nats {
        after.nats.clone_from(&nats.0);
    }
    let missing = |what: String| Failure::new(Exit::NoMatch, format!("federation {name} has no {what}"));
    for hub in &args.remove_hub {
        let left: Vec<Destination> = after.hubs.iter().filter(|have| *have != hub).cloned().collect();
        if left.len() == after.hubs.len() {
            return Err(missing(format!("hub {hub}")));
        }
        after.hubs = left;
    }
    for hub in &args.add_hub {
        if !after.hubs.contains(hub) {
            after.hubs.push(hub.clone());
        }
    }
    for place in &args.remove_host_key {
        let there = after.host_keys.len();
        after.host_keys.retain(|key| key.place != *place);
        if after.host_keys.len() == there {
            return Err(missing(format!("host key of {place}")));
        }
    }
    for key in &args.add_host_key {
        if !after.host_keys.contains(key) {
            after.host_keys.push(key.clone());
        }
    }
    let mut report = Report::default();
    let Some(edition) = Edition::after(&before, after)? else {
        report.line(format_args!("federation {name} says that already; nothing changed"));
        return Ok(report);
    };
    // The pins first: when only they are written, the same words lead on from there.
    pins::settled(layout, Some(&before), &edition.bundle)?.store(layout, name)?;
    edition.store(layout)?;
    report.line(format_args!("changed federation {name}"));
    report.line(edition.next_step());
    Ok(report)
}
