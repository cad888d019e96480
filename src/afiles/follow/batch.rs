//! Many events, and what is to be done about them: the last word on each path counts.
//!
//! The stream's events are in an order in which each can be made after the one before. Renames keep that order. Of everything
//! else only the end matters: what a path is to be is looked up at the source, so an event that is older than what is there
//! does no harm, and one that was sent twice none either.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nix::sys::stat::SFlag;
use rrsync_rs::sha256::Sum;

use crate::afiles::receive::Known;
use crate::event::{Event, EventPath, Kind, Reason};

/// What an event says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// It is there, and is to be like this.
    Like(Hint),
    /// It is there with everything below it, of which nothing was said.
    Whole,
    /// Something is said to have happened to it: what, the source says itself.
    Look(Hint),
    /// It is gone, a directory with everything below it.
    Gone {
        /// Whether it was one.
        directory: bool,
    },
}

/// What something is to be like, as far as its event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: Option<u64>,
    /// Time of the last modification, in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// The sum of the content.
    pub sum: Option<Sum>,
    /// Who changed it.
    pub author: String,
    /// Whether it was put off once already.
    pub put_off: bool,
}

/// One step. Those of a batch are made in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What is at the first path is at the second, a file like this.
    Rename(EventPath, EventPath, Option<Hint>),
    /// Each path is to become what is wanted of it, whichever comes first.
    Become(BTreeMap<EventPath, Want>),
}

/// The part of a workspace that is followed, and the events of it that have come.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What is followed of the workspace; `None` for all of it.
    below: Option<EventPath>,
    /// What of it goes the other way.
    own: Vec<EventPath>,
    /// Whether somebody else than the source may have said it.
    hearsay: bool,
    steps: Vec<Step>,
    /// What comes after everything else.
    last: BTreeMap<EventPath, Want>,
}

/// What a batch has left for the next.
#[derive(Debug, Default)]
pub struct PutOff {
    /// Steps that were not made.
    pub rest: Vec<Step>,
    /// The old name of the rename among them that the source contradicts.
    pub contradicted: Option<EventPath>,
    /// What is to be made when everything else has been.
    pub last: BTreeMap<EventPath, Want>,
}

impl Batch {
    /// Nothing yet, of what is `below` in the workspace and is not this pod's `own`. Of `hearsay` nothing counts but where to look.
    pub fn new(below: Option<EventPath>, own: Vec<EventPath>, hearsay: bool) -> Self {
        Self { below, own, hearsay, steps: Vec::new(), last: BTreeMap::new() }
    }

    /// Takes in an event.
    pub fn add(&mut self, event: &Event) {
        let from = event.from.as_ref().and_then(|from| self.inside(from));
        let directory = event.kind == Kind::Directory;
        if self.hearsay {
            let hint = Hint::of(event);
            if let Some(from) = from {
                self.want(from, Want::Look(hint.clone()));
            }
            if let Some(path) = self.inside(&event.path) {
                let moved = event.reason == Reason::Renamed && directory;
                self.want(path, if moved { Want::Whole } else { Want::Look(hint) });
            }
            return;
        }
        let Some(path) = self.inside(&event.path) else {
            // It has left what is followed.
            if let Some(from) = from {
                self.want(from, Want::Gone { directory });
            }
            return;
        };
        let hint = Hint::of(event);
        match (event.reason, from) {
            (Reason::Removed, _) => self.want(path, Want::Gone { directory }),
            // Where it leads may not be here yet, so it is made where its turn is, and not moved.
            (Reason::Renamed, Some(from)) if event.kind == Kind::Symlink => {
                self.want(from, Want::Gone { directory });
                self.want(path, Want::Like(hint));
            }
            (Reason::Renamed, Some(from)) => {
                let file = (event.kind == Kind::File).then_some(hint);
                self.steps.push(Step::Rename(from, path.clone(), file.clone()));
                // Its content may be another, too. A directory brings everything with it.
                if let Some(hint) = file {
                    self.want(path, Want::Like(hint));
                }
            }
            (Reason::Renamed, None) if directory => self.want(path, Want::Whole),
            _ => self.want(path, Want::Like(hint)),
        }
    }

    /// Takes in what was put off; nothing else has come yet.
    pub fn put_off(&mut self, put_off: PutOff) {
        (self.steps, self.last) = (put_off.rest, put_off.last);
    }

    /// An empty one, of the same part of the workspace.
    pub fn next(&self) -> Self {
        Self::new(self.below.clone(), self.own.clone(), self.hearsay)
    }

    /// What is to be done, in order.
    pub fn steps(self) -> Vec<Step> {
        let Self { mut steps, last, .. } = self;
        if last.is_empty() {
            return steps;
        }
        let gone: Vec<&EventPath> =
            last.iter().filter(|(_, want)| matches!(want, Want::Gone { .. })).map(|(path, _)| path).collect();
        // What is there again by now has to go before that.
        if steps.iter().any(|step| gone.iter().any(|gone| step.touches(gone))) {
            steps.insert(0, Step::Become(last));
        } else if let Some(Step::Become(paths)) = steps.last_mut() {
            for (path, want) in last {
                paths.entry(path).or_insert(want);
            }
        } else {
            steps.push(Step::Become(last));
        }
        steps
    }

    /// How many paths it is about.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        let paths = |step: &Step| if let Step::Become(paths) = step { paths.len() } else { 1 };
        self.steps.iter().map(paths).sum::<usize>() + self.last.len()
    }

    fn want(&mut self, path: EventPath, want: Want) {
        let open = match self.steps.last() {
            // What was in the directory has to go before something else can be there.
            Some(Step::Become(paths)) => paths.get(&path) != Some(&Want::Gone { directory: true }),
            _ => false,
        };
        if !open {
            self.steps.push(Step::Become(BTreeMap::new()));
        }
        let Some(Step::Become(paths)) = self.steps.last_mut() else { return };
        if matches!(want, Want::Gone { .. }) {
            // What was said of anything below it does not count any more.
            let below: Vec<EventPath> = path.below(paths).map(|(inner, _)| inner.clone()).collect();
            for inner in below {
                paths.remove(&inner);
            }
        }
        paths.insert(path, want);
    }

    /// Where a path of the workspace is below what is followed; `None` when it is elsewhere.
    fn inside(&self, path: &EventPath) -> Option<EventPath> {
        let path = match &self.below {
            None => path.clone(),
            Some(below) => {
                let rest = path.as_bytes().strip_prefix(below.as_bytes())?.strip_prefix(b"/")?;
                EventPath::new(rest.to_owned()).ok()?
            }
        };
        let own = self.own.iter().any(|own| path.as_path().starts_with(own.as_path()));
        (!own).then_some(path)
    }
}

impl PutOff {
    /// Whether everything has been made.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.last.is_empty()
    }
}

impl Step {
    /// At which paths something is by it.
    pub fn makes(&self) -> impl Iterator<Item = &EventPath> {
        let (renamed, become_so) = self.parts();
        let there = |(path, want)| (!matches!(want, &Want::Gone { .. })).then_some(path);
        renamed.map(|[_, to]| to).into_iter().chain(become_so.filter_map(there))
    }

    /// Of which paths it says what they are now, and whether it says so of all that is below them.
    pub fn explains(&self) -> impl Iterator<Item = (&EventPath, bool)> {
        let (renamed, become_so) = self.parts();
        let with_all_below = |(path, want)| (path, matches!(want, &(Want::Gone { .. } | Want::Whole)));
        renamed.into_iter().flatten().map(|path| (path, true)).chain(become_so.map(with_all_below))
    }

    /// Both names of a rename, or what is to become of which paths.
    fn parts(&self) -> (Option<[&EventPath; 2]>, impl Iterator<Item = (&EventPath, &Want)>) {
        let (renamed, become_so) = match self {
            Self::Rename(from, to, _) => (Some([from, to]), None),
            Self::Become(paths) => (None, Some(paths)),
        };
        (renamed, become_so.into_iter().flatten())
    }

    /// Whether it is about `path` or something below it.
    fn touches(&self, path: &EventPath) -> bool {
        let inside = |other: &EventPath| other.as_path().starts_with(path.as_path());
        match self {
            Self::Rename(from, to, _) => inside(from) || inside(to),
            Self::Become(paths) => paths.contains_key(path) || path.below(paths).next().is_some(),
        }
    }
}

impl Hint {
    /// What a file with the size and the time that were said is known as.
    pub fn file(&self) -> Option<Known> {
        let (size, modified) = self.size.zip(self.modified)?;
        Some(Known { kind: SFlag::S_IFREG, size, modified })
    }

    fn of(event: &Event) -> Self {
        let nanoseconds = |moment: Timestamp| i64::try_from(moment.as_nanosecond()).ok();
        Self {
            kind: event.kind,
            size: event.size,
            modified: event.mtime.and_then(nanoseconds),
            mode: event.mode,
            sum: event.sha256.as_ref().and_then(|sum| sum.parse().ok()),
            author: event.author.clone(),
            put_off: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(reason: Reason, kind: Kind, path: &str, from: Option<&str>) -> Event {
        let at = |path: &str| EventPath::new(path.into()).unwrap();
        Event {
            uuid: Uuid::nil(),
            time: Timestamp::UNIX_EPOCH,
            author: "you@laptop".to_owned(),
            project: None,
            workspace: "papers".parse().unwrap(),
            reason,
            path: at(path),
            from: from.map(at),
            kind,
            size: None,
            mtime: None,
            mode: None,
            sha256: None,
            origin: None,
            text: None,
        }
    }

    fn shown(batch: &Batch) -> Vec<String> {
        let text = |path: &EventPath| String::from_utf8_lossy(path.as_bytes()).into_owned();
        let want = |(path, want): (&EventPath, &Want)| match want {
            Want::Like(_) => text(path),
            Want::Whole => format!("{}/**", text(path)),
            Want::Look(_) => format!("?{}", text(path)),
            Want::Gone { .. } => format!("-{}", text(path)),
        };
        let step = |step: &Step| match step {
            Step::Rename(from, to, _) => format!("{}>{}", text(from), text(to)),
            Step::Become(paths) => paths.iter().map(want).collect::<Vec<_>>().join(" "),
        };
        batch.clone().steps().iter().map(step).collect()
    }

    #[test]
    fn what_was_put_off_comes_last_unless_it_is_there_again() {
        use Kind::{Directory, File, Symlink};
        use Reason::{Created, Removed};
        let at = |path: &str| EventPath::new(path.into()).unwrap();
        let link = Hint { put_off: true, ..Hint::of(&event(Created, Symlink, "current", None)) };
        for (events, steps) in [
            (vec![], vec!["current -v1"]),
            (vec![event(Created, File, "v2/x", None)], vec!["current -v1 v2/x"]),
            (vec![event(Reason::Renamed, Directory, "v3", Some("v2"))], vec!["v2>v3", "current -v1"]),
            (vec![event(Created, Directory, "v1", None)], vec!["current -v1", "v1"]),
            (vec![event(Created, File, "v1/x", None)], vec!["current -v1", "v1/x"]),
            (vec![event(Removed, Directory, "v2", None)], vec!["current -v1 -v2"]),
        ] {
            let mut batch = Batch::new(None, Vec::new(), false);
            let last = BTreeMap::from([
                (at("current"), Want::Like(link.clone())),
                (at("v1"), Want::Gone { directory: true }),
            ]);
            batch.put_off(PutOff { last, ..PutOff::default() });
            for event in &events {
                batch.add(event);
            }
            assert_eq!(shown(&batch), steps);
        }
    }

    #[test]
    fn the_last_word_on_each_path_counts() {
        use Kind::{Directory, File};
        use Reason::{Created, Modified, Removed, Renamed};
        let all = |events: &[Event], below: Option<&str>| {
            let at = |path: &str| EventPath::new(path.into()).unwrap();
            let mut batch = Batch::new(below.map(at), vec![at("own")], false);
            for event in events {
                batch.add(event);
            }
            shown(&batch)
        };
        for (events, below, steps) in [
            (vec![event(Created, File, "a", None), event(Modified, File, "a", None)], None, vec!["a"]),
            (vec![event(Created, File, "a", None), event(Removed, File, "a", None)], None, vec!["-a"]),
            (vec![event(Removed, File, "a", None), event(Created, File, "a", None)], None, vec!["a"]),
            (
                vec![
                    event(Removed, Directory, "d", None),
                    event(Created, Directory, "d", None),
                    event(Created, File, "d/x", None),
                ],
                None,
                vec!["-d", "d d/x"],
            ),
            (
                vec![
                    event(Created, File, "d/x", None),
                    event(Created, File, "d-e", None),
                    event(Created, File, "d.e", None),
                    event(Created, File, "d0", None),
                    event(Removed, Directory, "d", None),
                ],
                None,
                vec!["-d d-e d.e d0"],
            ),
            (
                vec![
                    event(Modified, File, "a", None),
                    event(Renamed, File, "b", Some("a")),
                    event(Created, File, "a", None),
                    event(Renamed, Directory, "e", Some("d")),
                    event(Modified, File, "e/x", None),
                ],
                None,
                vec!["a", "a>b", "a b", "d>e", "e/x"],
            ),
            (
                vec![
                    event(Created, File, "v2/x", None),
                    event(Created, Kind::Symlink, "next", None),
                    event(Renamed, Kind::Symlink, "current", Some("next")),
                    event(Removed, Directory, "v1", None),
                ],
                None,
                vec!["current -next -v1 v2/x"],
            ),
            (
                vec![
                    event(Created, File, "sub/a", None),
                    event(Created, File, "sub/own/a", None),
                    event(Created, File, "subway", None),
                    event(Created, File, "other", None),
                    event(Renamed, File, "sub/b", Some("other")),
                    event(Renamed, Directory, "sub/d", Some("d")),
                    event(Renamed, File, "gone", Some("sub/c")),
                    event(Renamed, File, "sub/f", Some("sub/e")),
                    event(Removed, Directory, "sub", None),
                ],
                Some("sub"),
                vec!["a b -c d/**", "e>f", "f"],
            ),
        ] {
            assert_eq!(all(&events, below), steps);
        }
    }

    #[test]
    fn hearsay_says_where_to_look_and_nothing_else() {
        use Kind::{Directory, File};
        use Reason::{Attributes, Modified, Removed, Renamed};
        let own = EventPath::new(b"own".to_vec()).unwrap();
        let mut batch = Batch::new(None, vec![own], true);
        for event in [
            event(Removed, Directory, "d", None),
            event(Removed, File, "a", None),
            event(Attributes, Directory, "m", None),
            event(Modified, File, "own/x", None),
            event(Renamed, File, "b", Some("c")),
            event(Renamed, Directory, "to", Some("from")),
        ] {
            batch.add(&event);
        }
        assert_eq!(shown(&batch.next()), Vec::<String>::new());
        assert_eq!(shown(&batch), ["?a ?b ?c ?d ?from ?m to/**"]);
    }
}
