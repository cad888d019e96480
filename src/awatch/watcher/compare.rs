//! What has changed about a file that is still the same one.

use super::known::{Detail, Known};
use super::look::Stat;
use super::settle::Evidence;
use crate::event::Kind;

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that anybody is told of.
    Same,
    /// Its mode, its owner or its times are others.
    Attributes,
    /// Its content is another.
    Modified,
    /// Its content may be another: only reading it tells.
    Doubt,
}

/// Compares what is known with what is there. `begun` is when the watch began: what was only listed then has not
/// changed since if its change time lies before.
pub fn compare(known: &Known, now: &Stat, evidence: Evidence, begun: i64) -> Verdict {
    match (&known.detail, now.kind) {
        (Some(detail), Kind::File) => file(detail, now, evidence),
        (Some(detail), Kind::Directory) => {
            let same = (detail.stat.mode, detail.stat.owner) == (now.mode, now.owner);
            if same { Verdict::Same } else { Verdict::Attributes }
        }
        // Where no birth is told, it may be another one by now.
        (Some(detail), Kind::Symlink)
            if now.identity.born == 0 && (detail.stat.changed != now.changed || now.is_coarse()) =>
        {
            Verdict::Modified
        }
        (Some(detail), Kind::Symlink | Kind::Other) => attributes(&detail.stat, now),
        (None, _) if now.changed_by() < begun => Verdict::Same,
        // It is changed by whatever is made or removed in it.
        (None, Kind::Directory) if !evidence.attributes => Verdict::Same,
        (None, Kind::File) if evidence.wrote || evidence.closed || evidence.compared => Verdict::Modified,
        (None, _) if evidence.attributes || evidence.compared => Verdict::Attributes,
        (None, _) => Verdict::Same,
    }
}

fn file(detail: &Detail, now: &Stat, evidence: Evidence) -> Verdict {
    let old = &detail.stat;
    if old.size != now.size {
        return Verdict::Modified;
    }
    let (times, changed) = (old.modified != now.modified, old.changed != now.changed || now.is_coarse());
    match evidence {
        // Two writes within one tick of the clock leave the same times, and a time that is set alone is reported as a write.
        Evidence { wrote: true, .. } => Verdict::Doubt,
        // A mapped file is written without a report. Whoever sets the time afterwards does not hide that.
        Evidence { closed: true, .. } | Evidence { compared: true, .. } if times || changed => Verdict::Doubt,
        _ => attributes(old, now),
    }
}

/// The change time is not compared: another name for the file changes it too.
fn attributes(old: &Stat, now: &Stat) -> Verdict {
    let same = (old.mode, old.owner, old.modified) == (now.mode, now.owner, now.modified);
    if same { Verdict::Same } else { Verdict::Attributes }
}

/// The verdict in a case of doubt, once the content has been read.
pub fn resolve(known: &Known, now: &Stat, sha256: Option<[u8; 32]>) -> Verdict {
    match &known.detail {
        Some(Detail { stat, sha256: Some(old) }) if Some(*old) == sha256 => attributes(stat, now),
        _ => Verdict::Modified,
    }
}
