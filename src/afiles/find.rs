//! From a word to an account, a host and a key: the cards that this pod has been given say where a workspace is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::announced;
use super::words::{Owner, Remote};
use crate::awatch::nats::registry::Entry;
use crate::card::{self, Card};
use crate::common::exit::{Exit, Failure};
use crate::common::ssh::Ssh;
use crate::event::EventPath;

/// Where something in a workspace is.
#[derive(Debug, Clone)]
pub struct Found {
    /// What was asked for, with its owner.
    pub remote: Remote,
    /// The card of the account that has it.
    pub card: Card,
}

impl Found {
    /// How the account is reached to use `tool`.
    pub fn ssh(&self, tool: Tool, layout: &Layout) -> Result<Ssh, Failure> {
        Ok(Ssh::to(&self.card, &key(&self.card, tool, layout)?, layout))
    }

    /// What it is called on the wire: the workspace's name, and the path behind it.
    pub fn wire_path(&self) -> Vec<u8> {
        let mut path = self.remote.workspace.as_str().as_bytes().to_vec();
        if let Some(below) = &self.remote.path {
            path.push(b'/');
            path.extend_from_slice(below.as_bytes());
        }
        path
    }

    /// What `path` below it is called on the wire.
    pub fn wire(&self, path: &EventPath) -> Vec<u8> {
        [&self.wire_path()[..], b"/", path.as_bytes()].concat()
    }

    /// The origin of what this pod writes there: the name of its grant.
    pub fn origin(&self) -> String {
        format!("{}.{}", self.card.federation, self.card.pod)
    }
}

/// Finds the one account that has the workspace.
///
/// # Errors
/// `NoMatch` when nobody has it; `Conflict` when several have, and it was not said whose is meant.
pub fn find(remote: &Remote, layout: &Layout) -> Result<Found, Failure> {
    let (mut broken, mut unknown) = (Vec::new(), BTreeSet::new());
    let mut candidates: BTreeMap<String, Card> = BTreeMap::new();
    for federation in federations(layout) {
        for card in card::all(layout, &federation) {
            match card {
                Ok(card) if matches(&card, remote) => {
                    // One account may have been met through two federations; one that this pod has a key of will do.
                    let known = candidates.get(&card.account());
                    if known.is_none_or(|known| keys(known, layout).is_empty()) {
                        candidates.insert(card.account(), card);
                    }
                }
                Ok(_) => {}
                Err(error) => broken.push(error.to_string()),
            }
        }
    }
    match announced::all(layout) {
        Ok(entries) => announced_too(remote, layout, &entries, &mut candidates, &mut unknown)?,
        // The cards say enough.
        Err(_) if !candidates.is_empty() => {}
        Err(failure) => return Err(failure),
    }
    let mut accounts = candidates.into_values();
    match (accounts.next(), accounts.next()) {
        (Some(card), None) => {
            let owner = Owner::Account(card.user.clone(), card.place.host.clone());
            Ok(Found { remote: Remote { owner: Some(owner), ..remote.clone() }, card })
        }
        (Some(one), Some(other)) => {
            let all: Vec<String> =
                [one, other].into_iter().chain(accounts).map(|card| card.account()).collect();
            let message = format!("{remote} has {} owners: {}", all.len(), all.join(", "));
            let first = all.first().map_or("", String::as_str);
            Err(Failure::new(Exit::Conflict, message)
                .hint(format!("say whose: {first}/{}:", remote.workspace)))
        }
        (None, _) if !unknown.is_empty() => {
            let accounts: Vec<String> = unknown.into_iter().collect();
            let message =
                format!("{remote} is announced by {}, which this pod has no card of", accounts.join(", "));
            Err(Failure::new(Exit::NoMatch, message)
                .hint("akeys federation meet CARD, with the card that its owner has"))
        }
        (None, _) if broken.is_empty() => {
            Err(Failure::new(Exit::NoMatch, format!("no account that this pod knows has {remote}"))
                .hint("akeys federation meet CARD, with the card that its owner has"))
        }
        (None, _) => Err(Failure::new(Exit::Failed, broken.join("\n"))),
    }
}

/// Adds the accounts of which workspaces are announced that their cards do not name. Those without a card go to `unknown`.
fn announced_too(
    remote: &Remote,
    layout: &Layout,
    entries: &[Entry],
    candidates: &mut BTreeMap<String, Card>,
    unknown: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let cards = all(layout);
    for entry in entries {
        let mut its: Vec<&Card> = cards.iter().filter(|card| announced::is_of(entry, card)).collect();
        // The account may be asked for by the name on its card.
        let meant = announced::is_meant(entry, remote)
            || its.iter().any(|card| entry.workspace == remote.workspace && is_owner(card, remote));
        if !meant {
            continue;
        }
        // One that this pod has a key of will do.
        its.sort_by_key(|card| keys(card, layout).is_empty());
        match its.first() {
            None => drop(unknown.insert(entry.account())),
            Some(card) => {
                announced::check(entry, card, layout)?;
                candidates.entry(card.account()).or_insert_with(|| (*card).clone());
            }
        }
    }
    Ok(())
}

fn is_owner(card: &Card, remote: &Remote) -> bool {
    matches!(&remote.owner, Some(Owner::Account(user, host)) if card.user == *user && card.place.host == *host)
}

/// Every workspace that the cards name, by its account.
pub fn all(layout: &Layout) -> Vec<Card> {
    let federations = federations(layout);
    federations.iter().flat_map(|federation| card::all(layout, federation)).filter_map(Result::ok).collect()
}

fn federations(layout: &Layout) -> Vec<Label> {
    let entries = fs::read_dir(layout.cards_dir()).into_iter().flatten().flatten();
    let mut names: Vec<Label> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    names
}

fn matches(card: &Card, remote: &Remote) -> bool {
    let owned = match &remote.owner {
        None => true,
        Some(Owner::Project(project)) => card.project.as_ref() == Some(project),
        Some(Owner::Account(user, host)) => card.user == *user && card.place.host == *host,
    };
    owned && card.workspaces.contains(&remote.workspace)
}

/// The pod's private key for `tool`: the one that it has, or of several the one whose set of tools has it.
fn key(card: &Card, tool: Tool, layout: &Layout) -> Result<PathBuf, Failure> {
    let word = tool.to_string();
    let fits = |set: &str| set.is_empty() || set.split('-').any(|tool| tool == word);
    let own = keys(card, layout);
    // A pod that has keys is given no others under its name.
    let new = if own.is_empty() { card.pod.as_str() } else { "POD" };
    own.into_iter().find(|(set, _)| fits(set)).map(|(_, path)| path).ok_or_else(|| {
        let (federation, pod) = (&card.federation, &card.pod);
        let message = format!("pod {pod} has no key of federation {federation} for {word}");
        Failure::new(Exit::NoMatch, message)
            .hint(format!("akeys federation add {federation} --pod {new} --tools rsync,sftp,watch"))
    })
}

/// The pod's private keys, by their sets of tools; the only key of a pod has no set.
fn keys(card: &Card, layout: &Layout) -> BTreeMap<String, PathBuf> {
    let base = format!("{}.{}", card.federation, card.pod);
    let entries = fs::read_dir(layout.key_dir()).into_iter().flatten().flatten();
    let set = |name: &str| match name.strip_prefix(&base)? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('.').filter(|set| !set.contains('.') && *set != "pub").map(str::to_owned),
    };
    entries.filter_map(|entry| Some((set(entry.file_name().to_str()?)?, entry.path()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

    fn pod() -> (tempfile::TempDir, Layout) {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        for (user, extra) in [
            ("anna", "project = \"thesis\"\nworkspaces = [\"papers\", \"data\"]"),
            ("bob", "workspaces = [\"data\"]"),
        ] {
            let text = format!(
                "federation = \"lab\"\npod = \"pc\"\nuser = \"{user}\"\nhost = \"h\"\n{extra}\nhost-keys = [\"{KEY}\"]\n"
            );
            card::store(&layout, &card::parse(&text).unwrap()).unwrap();
        }
        (scratch, layout)
    }

    fn found(layout: &Layout, word: &str) -> Result<String, (Exit, String)> {
        let remote = Remote::read(OsStr::new(word)).unwrap();
        match find(&remote, layout) {
            Ok(found) => Ok(format!("{} {}", found.remote, String::from_utf8(found.wire_path()).unwrap())),
            Err(failure) => Err((failure.exit, failure.to_string())),
        }
    }

    #[test]
    fn a_workspace_has_one_owner() {
        let (_scratch, layout) = pod();
        for word in ["papers:a/b", "thesis/papers:a/b", "anna@h/papers:a/b"] {
            assert_eq!(found(&layout, word), Ok("anna@h/papers:a/b papers/a/b".to_owned()), "{word}");
        }
        assert_eq!(found(&layout, "bob@h/data:"), Ok("bob@h/data: data".to_owned()));
        let (exit, says) = found(&layout, "data:").unwrap_err();
        assert_eq!(exit, Exit::Conflict);
        assert_eq!(says, "data: has 2 owners: anna@h, bob@h\nhint: say whose: anna@h/data:");
        for nobody in ["nothing:", "bob@h/papers:", "other/papers:", "anna@h2/papers:"] {
            assert_eq!(found(&layout, nobody).unwrap_err().0, Exit::NoMatch, "{nobody}");
        }
    }

    #[test]
    fn each_tool_has_its_key() {
        let (_scratch, layout) = pod();
        let found = find(&Remote::read(OsStr::new("papers:")).unwrap(), &layout).unwrap();
        let key = |tool: Tool| {
            let key = key(&found.card, tool, &layout).map_err(|failure| failure.exit)?;
            Ok::<_, Exit>(key.file_name().unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(key(Tool::Rsync), Err(Exit::NoMatch));
        fs::create_dir_all(layout.key_dir()).unwrap();
        for name in ["lab.pc.rsync", "lab.pc.rsync.pub", "lab.pc.sftp-watch", "lab.pc2", "lab.pc2.sftp"] {
            fs::write(layout.key_dir().join(name), "").unwrap();
        }
        assert_eq!(key(Tool::Rsync).unwrap(), "lab.pc.rsync");
        assert_eq!(key(Tool::Sftp).unwrap(), "lab.pc.sftp-watch");
        assert_eq!(key(Tool::Watch).unwrap(), "lab.pc.sftp-watch");
        fs::write(layout.key_dir().join("lab.pc"), "").unwrap();
        assert_eq!(key(Tool::Sftp).unwrap(), "lab.pc");
    }

    #[test]
    fn a_broken_card_is_named_where_nothing_else_is_found() {
        let (_scratch, layout) = pod();
        let broken = layout.cards_dir().join("lab/carl@h.toml");
        fs::write(&broken, "x").unwrap();
        assert!(found(&layout, "papers:").is_ok());
        assert!(found(&layout, "other:").unwrap_err().1.contains("carl@h.toml:1:"));
    }
}
