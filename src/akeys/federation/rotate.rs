//! `akeys federation rotate`: a pod gets a new key without being locked out anywhere.
//!
//! First the new key is made beside the old one and the bundle offers it in the old one's place: from then on each user who
//! takes the newer bundle lets the new key in, and the pod has both. Then, when every account that is known lets the new
//! key in, which is tried and not assumed, it takes the old one's name. Killed anywhere, the same command goes on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

use super::own::{self, Edition};
use crate::akeys::bundle::{Bundle, Offer, PodKey};
use crate::akeys::cli::Rotate;
use crate::akeys::key_pair;
use crate::card::{self, Card};
use crate::common::child::{self, Ended};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};
use crate::common::ssh::Ssh;

/// How long one account may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs it.
pub(super) fn run(args: &Rotate, layout: &Layout) -> Result<Report, Failure> {
    let _lock = Lock::acquire(layout)?;
    let before = own::load(layout, &args.name)?;
    if let Some(pod) = args.pod.as_ref().filter(|pod| !before.pods().contains(pod)) {
        let message = format!("federation {} has no pod {pod}", args.name);
        return Err(Failure::new(Exit::NoMatch, message).hint("akeys federation list"));
    }
    if args.check || args.finish { second(args, &before, layout) } else { first(args, &before, layout) }
}

/// The grants of the pods that are meant, with the places of their offers.
fn meant(args: &Rotate, bundle: &Bundle) -> Result<Vec<(usize, GrantName)>, Failure> {
    let offers = bundle.offers.iter().enumerate();
    offers
        .filter(|(_, offer)| args.pod.as_ref().is_none_or(|pod| offer.pod == *pod))
        .map(|(at, offer)| {
            Ok((at, bundle.grant_name(offer).map_err(|error| Failure::new(Exit::Failed, error))?))
        })
        .collect()
}

/// Makes the new keys and offers them.
fn first(args: &Rotate, before: &Bundle, layout: &Layout) -> Result<Report, Failure> {
    let mut after = before.clone();
    let mut report = Report::default();
    let mut here = 0;
    for (at, grant) in meant(args, before)? {
        key_pair::tidy(layout, &grant)?;
        let offer = &mut after.offers[at];
        let next = key_pair::next_path(layout, &grant);
        let pair = match key_pair::resume(&next)? {
            Some(pair) if pair.public == offer.key => {
                here += 1;
                report.line(format_args!("{grant} has its new key already: {}", offer.key.fingerprint()));
                continue;
            }
            Some(pair) => pair,
            None if key_pair::path(layout, &grant).exists() => {
                key_pair::create(&next, &format!("akeys:{grant}"))?
            }
            None => continue,
        };
        here += 1;
        let old = std::mem::replace(&mut offer.key, pair.public);
        report.line(format_args!(
            "{grant} gets {} in place of {}",
            offer.key.fingerprint(),
            old.fingerprint()
        ));
        report.line(format_args!("  key {}, beside the old one", shown(layout, &next)));
        offer.replaces.push(old);
    }
    if here == 0 {
        let message = format!("no private key of federation {} that was meant is here", args.name);
        return Err(Failure::new(Exit::NoMatch, message).hint("rotate where the pod's keys are"));
    }
    let Some(edition) = Edition::after(before, after)? else {
        report.line(format_args!(
            "when every user has updated: akeys federation rotate {} --finish",
            args.name
        ));
        return Ok(report);
    };
    edition.store(layout)?;
    report.line(edition.next_step());
    report.note("until that is finished the pod has two keys, and ssh has to be told of both");
    Ok(report)
}

/// Asks the accounts that are known, and lets the new keys take the old ones' names.
fn second(args: &Rotate, bundle: &Bundle, layout: &Layout) -> Result<Report, Failure> {
    let mut changing = Vec::new();
    for (at, grant) in meant(args, bundle)? {
        key_pair::tidy(layout, &grant)?;
        let next = key_pair::resume(&key_pair::next_path(layout, &grant))?;
        if next.is_some_and(|pair| pair.public == bundle.offers[at].key) {
            changing.push((&bundle.offers[at], grant));
        }
    }
    if changing.is_empty() {
        let message = format!("no key of federation {} is being changed", args.name);
        return Err(
            Failure::new(Exit::NoMatch, message).hint(format!("akeys federation rotate {}", args.name))
        );
    }
    let mut report = Report::default();
    if !args.unproven {
        let open = ask_all(&args.name, &changing, layout, &mut report);
        if args.check {
            report.exit = if open == 0 { Exit::Done } else { Exit::Findings };
            return Ok(report);
        }
        if open > 0 {
            let accounts = if open == 1 { "an account".to_owned() } else { format!("{open} accounts") };
            let message = format!("{}{accounts} would lose the pod", report.out);
            return Err(Failure::new(Exit::Failed, message)
                .hint("nothing was changed; --unproven leaves them behind"));
        }
    }
    for (offer, grant) in &changing {
        key_pair::promote(layout, grant)?;
        let path = shown(layout, &key_pair::path(layout, grant));
        report.line(format_args!("{path} is now {}", offer.key.fingerprint()));
    }
    Ok(report)
}

/// What an account makes of a key.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It lets it in.
    Takes,
    /// It does not.
    Refuses,
    /// Nobody knows, and why.
    Silent(String),
}

/// Asks every account that is known; returns how many would lose the pod, or might. Nobody known is one: then nothing is
/// proven.
fn ask_all(name: &Label, changing: &[(&Offer, GrantName)], layout: &Layout, report: &mut Report) -> usize {
    let pods: BTreeSet<&Label> = changing.iter().map(|(offer, _)| &offer.pod).collect();
    let mut open = 0;
    let mut asked = 0;
    for card in card::all(layout, name) {
        let card = match card {
            Ok(card) if pods.contains(&card.pod) => card,
            Ok(_) => continue,
            Err(error) => {
                report.line(error);
                open += 1;
                continue;
            }
        };
        let mut lost = false;
        for (offer, grant) in changing.iter().filter(|(offer, _)| offer.pod == card.pod) {
            asked += 1;
            let (words, loses) = verdict(&card, grant, offer, layout);
            report.line(format_args!("{}: {words}", card.account()));
            lost |= loses;
        }
        open += usize::from(lost);
    }
    if asked == 0 && open == 0 {
        report.line(format_args!("no account of federation {name} is known here, so nothing can be proven"));
        return 1;
    }
    open
}

/// What one account has, in words, and whether it would lose the pod.
fn verdict(card: &Card, grant: &GrantName, offer: &Offer, layout: &Layout) -> (String, bool) {
    let silent = |why| (format!("cannot be asked: {why}"), true);
    let new = &offer.key;
    match ask(card, &key_pair::next_path(layout, grant), std::slice::from_ref(new), layout) {
        Answer::Takes => (format!("takes the new key of {grant}, {}", new.fingerprint()), false),
        Answer::Silent(why) => silent(why),
        Answer::Refuses => match ask(card, &key_pair::path(layout, grant), &offer.replaces, layout) {
            Answer::Takes => (format!("takes only the old key of {grant}"), true),
            // Nothing that works there now would stop working.
            Answer::Refuses => (format!("takes no key of {grant}"), false),
            Answer::Silent(why) => silent(why),
        },
    }
}

/// Logs in with one key, which is one of `keys`. The gate answers `true` by doing nothing; a refusal of it shows as well
/// that the key gets that far.
fn ask(card: &Card, path: &Path, keys: &[PodKey], layout: &Layout) -> Answer {
    let ended = match child::run(Ssh::to(card, path, layout).talkative().arg("true"), PATIENCE) {
        Ok(ended) => ended,
        Err(error) => return Answer::Silent(format!("ssh: {error}")),
    };
    let words = ended.last_words();
    match ended.code() {
        Some(255) if String::from_utf8_lossy(&ended.stderr).contains("Permission denied (") => {
            Answer::Refuses
        }
        Some(255) => Answer::Silent(Escaped(words).to_string()),
        // A configuration may name other keys, and one of those proves nothing.
        Some(_) if keys.iter().any(|key| accepted(&ended).contains(&key.fingerprint())) => Answer::Takes,
        Some(_) => Answer::Refuses,
        None => Answer::Silent("no answer within a minute".to_owned()),
    }
}

/// What ssh says of the key that it was let in with: `Server accepts key: PATH TYPE SHA256:…`.
fn accepted(ended: &Ended) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    let line = said.lines().filter_map(|line| line.strip_prefix("debug1: Server accepts key: ")).next_back();
    line.unwrap_or_default().to_owned()
}
