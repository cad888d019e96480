//! `akeys install --host`: the same installation in another account, over the user's own ssh.
//!
//! Where akeys is installed there, it does the work, with the bundle on its standard input. Where it is not, the policy and
//! the line are made here, from what the host says about its directories, and the installer of `templates/` writes them:
//! it reads the remote files and refuses what it is not sure of, and has the gate there judge the policy before any key can
//! use it. The host's answers are believed about its own account and about nothing else.

mod akeys_there;
mod installer;
mod known;
mod probe;
mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};
use ssh_key::rand_core::{OsRng, RngCore as _};

use super::{offers_of_one_pod, wanted_bundle};
use crate::akeys::bundle::Offer;
use crate::akeys::cli::Install;
use crate::akeys::federation::{self, named_host_keys};
use crate::akeys::guard::Allowed;
use crate::akeys::shelf;
use crate::akeys::words::WorkspaceWord;
use crate::card::{self, Card, Destination, HostPublicKey, Place};
use crate::common::child::Ended;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::{self, IfThere};
use crate::common::report::Report;

use probe::Facts;
use session::{Account, Session, path_word};

/// Runs it.
pub(super) fn run(args: &Install, host: &Destination, layout: &Layout) -> Result<Report, Failure> {
    let found = wanted_bundle(args, layout)?;
    let mut report = Report::default();
    let bundle = &found.received.bundle;
    let offers = offers_of_one_pod(bundle, args)?;
    let host_keys = named_host_keys(&args.card)?;
    let there = There::ask(host, asked(args))?;
    let known = match &there.facts.akeys {
        Some(akeys) => {
            if args.with_gate {
                report.note(format_args!("{host} has akeys already, and so a gate: none was copied"));
            }
            there.by_akeys(akeys, args, &found, offers[0], layout, &mut report)?
        }
        None => there.by_installer(args, &found, &offers, &mut report)?,
    };
    if !args.dry_run {
        let host_keys = match host_keys {
            named if named.is_empty() => there.host_keys(known.host_keys, &mut report),
            named => named,
        };
        let known = Known { host_keys, ..known };
        there.issue_card(args, offers[0], &bundle.federation, known, layout, &mut report)?;
    }
    Ok(report)
}

/// `akeys federation update --host`: what is installed there follows the bundle that is here.
pub(super) fn update(
    federation: &Label,
    allowed: Allowed,
    host: &Destination,
    layout: &Layout,
) -> Result<Report, Failure> {
    let found = shelf::find(layout, federation)?.ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("no federation {federation} was imported or made here"))
            .hint("akeys federation import BUNDLE")
    })?;
    let text = federation::signed_text(&found, layout)?.ok_or_else(|| {
        Failure::new(Exit::Failed, format!("the bundle of federation {federation} is not signed"))
            .hint("there, it would be no reason to change a key")
    })?;
    let there = There::ask(host, Vec::new())?;
    let akeys = there.facts.akeys.as_ref().ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("{host} has no akeys"))
            .hint("install it there; without it, keys are only added, and others are changed by hand")
    })?;
    let mut report = Report::default();
    there.update_by_akeys(akeys, federation, &text, &allowed.words(), &mut report)?;
    Ok(report)
}

/// Each directory of the command line that the host is asked for: one that was typed, and with the name and the sub-path one
/// that is to be writable.
fn asked(args: &Install) -> Vec<(PathBuf, Option<(WorkspaceName, PathBuf)>)> {
    let mut asked: Vec<_> = args.workspaces.iter().map(|word| (word.dir.clone(), None)).collect();
    for sub in &args.writable {
        let named = |word: &&WorkspaceWord| word.name_or(&word.dir).is_ok_and(|name| name == sub.workspace);
        let dir = args.workspaces.iter().find(named).map(|word| word.dir.join(&sub.path));
        asked.extend(dir.map(|dir| (dir, Some((sub.workspace.clone(), sub.path.clone())))));
    }
    asked
}

/// What the host says that goes on the card.
struct Known {
    workspaces: BTreeSet<WorkspaceName>,
    host_keys: BTreeSet<HostPublicKey>,
}

/// The other account.
struct There<'a> {
    host: &'a Destination,
    session: Session,
    account: Account,
    /// A word that nothing before it has said.
    mark: String,
    facts: Facts,
    /// What each of the facts' directories is: one that was typed, with the name and the sub-path for one that is writable.
    asked: Vec<(PathBuf, Option<(WorkspaceName, PathBuf)>)>,
}

impl<'a> There<'a> {
    fn ask(
        host: &'a Destination,
        asked: Vec<(PathBuf, Option<(WorkspaceName, PathBuf)>)>,
    ) -> Result<Self, Failure> {
        let mark = format!("akeys-{:016x}", OsRng.next_u64());
        let mut words = vec![mark.clone()];
        for (dir, _) in &asked {
            words.push(path_word(dir)?);
        }
        let session = Session::to(host)?;
        let account = session.account()?;
        let ended = session.run(&words, probe::SCRIPT)?;
        let facts = probe::parse(&ended.stdout, &mark, asked.len()).map_err(|error| {
            let what = Escaped(error.to_string().as_bytes()).to_string();
            Failure::new(Exit::Failed, format!("{host} cannot be asked: {what}{}", last_words(&ended)))
        })?;
        Ok(Self { host, session, account, mark, facts, asked })
    }

    /// Where a pod reaches the account: what was said, else where ssh connects to.
    fn place(&self, args: &Install) -> Place {
        match &args.card.address {
            Some(said) => {
                Place { host: said.host.clone(), port: said.port.unwrap_or(self.account.place.port) }
            }
            None => self.account.place.clone(),
        }
    }

    /// The keys that go on the card, of those that the host says it has: it is the host that ssh has reached only when ssh
    /// knows it by one of them. Else it speaks of another sshd than the one that answered, and ssh's word counts.
    fn host_keys(&self, told: BTreeSet<HostPublicKey>, report: &mut Report) -> BTreeSet<HostPublicKey> {
        let known = known::keys(&self.account);
        if known.is_empty() || !told.is_disjoint(&known) {
            return told;
        }
        if !told.is_empty() {
            report.note(format_args!(
                "{} says that it has other host keys; on the card are those by which ssh here knows it",
                self.host
            ));
        }
        known
    }

    /// Writes the card here, from which it goes to the pod.
    fn issue_card(
        &self,
        args: &Install,
        offer: &Offer,
        federation: &Label,
        known: Known,
        layout: &Layout,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if known.host_keys.is_empty() {
            report.note(format_args!(
                "no card for the pod was written: {} does not show its host keys; --host-key FILE names them",
                self.host
            ));
            return Ok(());
        }
        let card = Card {
            federation: federation.clone(),
            pod: offer.pod.clone(),
            // Whom ssh has logged in to, and where: nothing that the host says about that is believed.
            user: self.account.user.clone(),
            place: self.place(args),
            project: args.card.project.clone(),
            workspaces: known.workspaces,
            host_keys: known.host_keys,
        };
        let _lock = Lock::acquire(layout)?;
        let path = layout.issued_card_of(&card.account(), federation, &offer.pod);
        private::write(&path, card::render(&card).as_bytes(), 0o600, IfThere::Replace)?;
        report.line(federation::card_line(&card, &path, layout));
        Ok(())
    }

    /// The lines that were said between the marks, escaped, and what follows them.
    fn answer<'t>(&self, bytes: &'t [u8]) -> (Vec<String>, &'t str) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let begin = format!("\n{} begin\n", self.mark);
        let end = format!("{} end\n", self.mark);
        let said = text.split_once(&begin).map_or("", |(_, said)| said);
        let (said, rest) = said.split_once(&end).unwrap_or((said, ""));
        (lines(said.as_bytes()), rest)
    }

    /// How a refusal over there ends the program here. Its exit codes are ours.
    fn refused(&self, ended: &Ended, said: &[String]) -> Failure {
        let exit = match ended.code() {
            Some(2) => Exit::Usage,
            Some(3) => Exit::Conflict,
            Some(4) => Exit::NoMatch,
            _ => Exit::Failed,
        };
        Failure::new(
            exit,
            format!(
                "{} refused{}",
                self.host,
                said.iter().map(|line| format!("\n  {line}")).collect::<Vec<_>>().concat()
            ),
        )
    }
}

/// Somebody else's text, line by line, escaped.
fn lines(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    lines.filter(|line| !line.is_empty()).map(|line| Escaped(line).to_string()).collect()
}

fn last_words(ended: &Ended) -> String {
    let words = ended.last_words();
    if words.is_empty() { String::new() } else { format!(" ({})", Escaped(words)) }
}
