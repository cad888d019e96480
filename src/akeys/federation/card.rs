//! `akeys federation card`: what this account tells a pod about itself, so that the pod finds it and knows its host.
//!
//! The card follows from what is installed. What it was told once, the address and the project, holds until something else
//! is said: the last card that was issued keeps it.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rrsync_rs::grant::load;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label, WorkspaceName};

use crate::akeys::account::Account;
use crate::akeys::cli::{CardWords, PrintCard};
use crate::akeys::grants;
use crate::akeys::host::{self, Server};
use crate::card::{self, Address, Card, HostPublicKey, Place};
use crate::common::exit::{Exit, Failure};
use crate::common::input;
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere};
use crate::common::report::{Report, shown};

/// A card that was written down here.
#[derive(Debug)]
pub struct Issued {
    /// The card.
    pub card: Card,
    /// Where it is kept.
    pub path: PathBuf,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Where a card leads, and to what.
pub(super) fn summary(card: &Card) -> String {
    let names: Vec<&str> = card.workspaces.iter().map(WorkspaceName::as_str).collect();
    let project = card.project.as_ref().map_or_else(String::new, |project| format!("; project {project}"));
    format!("{}@{}; {}{project}", card.user, card.place, names.join(", "))
}

/// Runs it.
pub(super) fn run(args: &PrintCard, layout: &Layout) -> Result<Report, Failure> {
    let pod = pod(args, layout)?;
    let lock = Lock::acquire(layout)?;
    let issued = issue(&args.name, &pod, &args.words, layout, &lock)?;
    let mut report = Report::data(card::render(&issued.card));
    report.notes = issued.notes;
    Ok(report)
}

/// The pod that was named, or the only one for which something is installed.
fn pod(args: &PrintCard, layout: &Layout) -> Result<Label, Failure> {
    let parts = grants::names(layout).into_iter().filter_map(|name| grants::parts(&name));
    let pods: BTreeSet<Label> = parts.filter(|(of, _)| *of == args.name).map(|(_, pod)| pod).collect();
    let list = || pods.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
    match &args.pod {
        Some(pod) if pods.contains(pod) => Ok(pod.clone()),
        None if pods.len() > 1 => {
            let message = format!("several pods of federation {} are installed: {}", args.name, list());
            Err(Failure::new(Exit::Usage, message).hint("say which: --pod NAME"))
        }
        None if !pods.is_empty() => Ok(pods.into_iter().next().unwrap_or_else(|| args.name.clone())),
        _ => {
            let of = args.pod.as_ref().map_or_else(String::new, |pod| format!("pod {pod} of "));
            let message = format!("nothing is installed for {of}federation {}", args.name);
            Err(Failure::new(Exit::NoMatch, message).hint("akeys install, then the card"))
        }
    }
}

/// Makes the card for `pod` from what is installed, and writes it down where it changed.
pub fn issue(
    federation: &Label,
    pod: &Label,
    words: &CardWords,
    layout: &Layout,
    _held: &Lock,
) -> Result<Issued, Failure> {
    let path = layout.issued_card(federation, pod);
    let before = match input::own(&path, card::parse) {
        Err(error) if error.is_missing() => None,
        before => Some(before?),
    };
    let mut notes = Vec::new();
    let workspaces = workspaces(federation, pod, layout, &mut notes);
    if workspaces.is_empty() {
        let message = format!("nothing is installed for pod {pod} of federation {federation}");
        return Err(Failure::new(Exit::NoMatch, message));
    }
    let user = Account::own(layout.home()).name;
    // sshd is only asked for what nobody has said.
    let server = LazyCell::new(|| Server::of_this_machine(&user));
    let card = Card {
        federation: federation.clone(),
        pod: pod.clone(),
        user: user.parse().map_err(|error| Failure::new(Exit::Failed, error))?,
        place: place(words, before.as_ref(), &server)?,
        project: words.project.clone().or_else(|| before.as_ref()?.project.clone()),
        workspaces,
        host_keys: host_keys(words, &server)?,
    };
    if before.as_ref() != Some(&card) {
        private::write(&path, card::render(&card).as_bytes(), 0o600, IfThere::Replace)?;
    }
    Ok(Issued { card, path, notes })
}

/// The workspaces of every grant of the pod: its tool sets may see different ones.
fn workspaces(
    federation: &Label,
    pod: &Label,
    layout: &Layout,
    notes: &mut Vec<String>,
) -> BTreeSet<WorkspaceName> {
    let of_pod = |name: &GrantName| grants::parts(name).is_some_and(|(f, p)| f == *federation && p == *pod);
    let mut workspaces = BTreeSet::new();
    for name in grants::names(layout).into_iter().filter(of_pod) {
        match load(&name, layout) {
            Ok(grant) => workspaces.extend(grant.workspaces.into_keys()),
            Err(error) => notes.push(format!("left out of the card: {error}")),
        }
    }
    workspaces
}

fn place<F: FnOnce() -> Server>(
    words: &CardWords,
    before: Option<&Card>,
    server: &LazyCell<Server, F>,
) -> Result<Place, Failure> {
    let address = match (&words.address, before) {
        (Some(said), _) => said.clone(),
        (None, Some(before)) => return Ok(before.place.clone()),
        (None, None) => host::own_name().map(|host| Address { host, port: None }).ok_or_else(|| {
            Failure::new(Exit::Failed, "this machine's name is no host name")
                .hint("say where the pod reaches it: --address HOST[:PORT]")
        })?,
    };
    let usual = Place::usual(address.host);
    Ok(Place { port: address.port.or_else(|| server.port).unwrap_or(usual.port), ..usual })
}

fn host_keys<F: FnOnce() -> Server>(
    words: &CardWords,
    server: &LazyCell<Server, F>,
) -> Result<BTreeSet<HostPublicKey>, Failure> {
    let named = named_host_keys(words)?;
    if !named.is_empty() {
        return Ok(named);
    }
    if server.keys.is_empty() {
        let why =
            if server.notes.is_empty() { String::new() } else { format!(": {}", server.notes.join("; ")) };
        return Err(Failure::new(Exit::Failed, format!("no host key of this machine can be read{why}"))
            .hint("name its .pub file: --host-key FILE"));
    }
    Ok(server.keys.clone())
}

/// The host keys that were named on the command line.
pub fn named_host_keys(words: &CardWords) -> Result<BTreeSet<HostPublicKey>, Failure> {
    words.host_keys.iter().map(|path| host::public_key(path)).collect()
}

/// The line that says where a card is, for whoever has installed something.
pub fn line(card: &Card, path: &Path, layout: &Layout) -> String {
    format!("card for the pod: {} ({})", shown(layout, path), summary(card))
}
