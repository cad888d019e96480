//! The file system as a workspace lies in it: every place compared by name, and by device and inode.
//!
//! Nothing here decides; it says how a directory lies to a place, whatever symlinks are on the way to that place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Reach, Relation, System};

/// A directory, however it is spelt: its device and inode.
type Identity = (u64, u64);

/// The file system during one call, as seen from one workspace. Each path is looked at once, and is compared as bytes:
/// the gate asks at every login, and a client waits for it.
pub(super) struct Sight<'a> {
    system: &'a System,
    seen: RefCell<BTreeMap<OsString, Option<Seen>>>,
    walk: RefCell<Walk>,
    /// The workspace and every directory above it.
    workspace: Vec<(&'a OsStr, Option<Identity>)>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    identity: Identity,
    is_link: bool,
}

impl Seen {
    pub(super) fn at(path: &Path) -> Option<Self> {
        Self::look(path).ok().flatten()
    }

    /// What is there, `None` when nothing is; or why that cannot be known.
    pub(super) fn look(path: &Path) -> io::Result<Option<Self>> {
        match path.symlink_metadata() {
            Ok(found) => Ok(Some(Self { identity: (found.dev(), found.ino()), is_link: found.is_symlink() })),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<'a> Sight<'a> {
    pub(super) fn of(workspace: &'a Path, system: &'a System) -> Self {
        let (seen, walk) = (RefCell::default(), RefCell::default());
        let mut sight = Self { system, seen, walk, workspace: Vec::new() };
        let identity = |path: &'a Path| (path.as_os_str(), sight.at(path).map(|seen| seen.identity));
        sight.workspace = workspace.ancestors().map(identity).collect();
        sight
    }

    fn at(&self, path: &Path) -> Option<Seen> {
        if let Some(seen) = self.seen.borrow().get(path.as_os_str()) {
            return *seen;
        }
        // Nothing is beneath what is not there.
        let in_nothing = path
            .parent()
            .is_some_and(|parent| matches!(self.seen.borrow().get(parent.as_os_str()), Some(None)));
        let seen = if in_nothing { None } else { self.system.at(path) };
        self.seen.borrow_mut().insert(path.as_os_str().to_owned(), seen);
        seen
    }

    /// How the workspace lies to the place that `path` names from `from`, when it lies in a way that `reach` forbids.
    ///
    /// `from` is resolved, and either `/` or a place that was asked about before.
    pub(super) fn relation(&self, from: &Path, path: &Path, reach: Reach) -> Option<Relation> {
        match self.walk.borrow_mut().to(from, path, self.system) {
            Some(steps) => self.straight(from, steps, reach),
            None => self.winding(from, path, reach),
        }
    }

    /// [`Sight::relation`] where no symlink is on the way: `steps` are the place and what is above it up to `from`.
    fn straight(&self, from: &Path, steps: &Walk, reach: Reach) -> Option<Relation> {
        let is = |(place, seen): (&[u8], Option<Seen>), (path, identity): &(&OsStr, Option<Identity>)| {
            path.as_bytes() == place || seen.is_some_and(|seen| Some(seen.identity) == *identity)
        };
        let workspace = self.workspace.first()?;
        let place = steps.last()?;
        if is(place, workspace) {
            return Some(Relation::Is);
        }
        let root = from.as_os_str() == "/" && workspace.0 == "/";
        if root || steps.above().any(|above| is(above, workspace)) {
            return Some(Relation::Contains);
        }
        let inside = reach == Reach::AboveAndInside && self.workspace.iter().any(|above| is(place, above));
        inside.then_some(Relation::LiesInside)
    }

    /// [`Sight::relation`] where symlinks are on the way, each of which is a place too.
    fn winding(&self, from: &Path, path: &Path, reach: Reach) -> Option<Relation> {
        let stops = self.stops(from, path);
        let is = |place: &Path, (path, identity): &(&OsStr, Option<Identity>)| {
            *path == place.as_os_str()
                || identity
                    .is_some_and(|identity| self.at(place).is_some_and(|seen| seen.identity == identity))
        };
        let workspace = self.workspace.first()?;
        for stop in &stops {
            if is(stop, workspace) {
                return Some(Relation::Is);
            }
            // What is above `from` was looked at with `from` itself.
            let above = stop
                .ancestors()
                .skip(1)
                .take_while(|above| above.as_os_str() != from.as_os_str() || from.as_os_str() == "/");
            if above.into_iter().any(|above| is(above, workspace)) {
                return Some(Relation::Contains);
            }
        }
        let end = stops.last()?;
        let inside = reach == Reach::AboveAndInside && self.workspace.iter().any(|above| is(end, above));
        inside.then_some(Relation::LiesInside)
    }

    /// How the workspace lies to the entry `name` of the directory `home`, if it is that or inside; `inode` is the entry's.
    pub(super) fn within(&self, home: &Path, name: &Path, inode: u64) -> Option<Relation> {
        let place = home.join(name);
        let device = self.at(home).map(|seen| seen.identity.0);
        let found = self.workspace.iter().position(|(path, identity)| {
            *path == place.as_os_str()
                || identity.is_some_and(|(dev, ino)| Some(dev) == device && ino == inode)
        })?;
        Some(if found == 0 { Relation::Is } else { Relation::LiesInside })
    }

    /// Every place that decides what `path` is: each symlink on the way from `from`, and where it ends. What does not exist
    /// yet is taken as it is written.
    fn stops(&self, from: &Path, path: &Path) -> Vec<PathBuf> {
        // path_resolution(7): the kernel gives up after 40 links.
        const MAX_LINKS: usize = 40;
        let parts = |path: &Path| -> Vec<OsString> {
            path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
        };
        let mut stops = Vec::new();
        let mut pending = parts(path);
        let mut at = from.to_owned();
        while let Some(part) = pending.pop() {
            match Path::new(&part).components().next() {
                Some(Component::ParentDir) => {
                    at.pop();
                }
                Some(Component::Normal(name)) => {
                    let here = at.join(name);
                    let link = self.at(&here).is_some_and(|seen| seen.is_link) && stops.len() < MAX_LINKS;
                    match link.then(|| here.read_link().ok()).flatten() {
                        Some(target) => {
                            pending.extend(parts(&target));
                            stops.push(here);
                        }
                        None => at = here,
                    }
                }
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::CurDir | Component::Prefix(_)) | None => {}
            }
        }
        stops.push(at);
        stops
    }
}

/// The way to the place that was asked about last. Places are listed by directory, so the next one begins with most of it.
#[derive(Default)]
struct Walk {
    from: PathBuf,
    path: Vec<u8>,
    /// Where each component ends in `path`, and what is there.
    steps: Vec<(usize, Option<Seen>)>,
}

impl Walk {
    /// Goes to `path`, or stops where a symlink is on the way, or something that is no name.
    fn to(&mut self, from: &Path, path: &Path, system: &System) -> Option<&Self> {
        if self.from != from {
            from.clone_into(&mut self.from);
            self.steps.clear();
        }
        let root = if from.as_os_str() == "/" { &[] } else { from.as_os_str().as_bytes() };
        let (mut known, mut start) = (0, root.len());
        for part in path.components().filter(|part| *part != Component::RootDir) {
            let Component::Normal(name) = part else { return None };
            let same = self.steps.get(known).is_some_and(|(end, _)| {
                self.path.get(start + 1..*end).is_some_and(|here| here == name.as_bytes())
            });
            if !same {
                self.steps.truncate(known);
                self.path.truncate(start);
                if known == 0 {
                    self.path.clear();
                    self.path.extend_from_slice(root);
                }
                self.path.push(b'/');
                self.path.extend_from_slice(name.as_bytes());
                let seen = match self.steps.last() {
                    // Nothing is beneath what is not there.
                    Some((_, None)) => None,
                    _ => system.at(Path::new(OsStr::from_bytes(&self.path))),
                };
                self.steps.push((self.path.len(), seen));
            }
            let (end, seen) = *self.steps.get(known)?;
            if seen.is_some_and(|seen| seen.is_link) {
                return None;
            }
            (known, start) = (known + 1, end);
        }
        self.steps.truncate(known);
        Some(self)
    }

    /// The place.
    fn last(&self) -> Option<(&[u8], Option<Seen>)> {
        self.steps.last().map(|(end, seen)| (self.path.get(..*end).unwrap_or_default(), *seen))
    }

    /// What is above the place.
    fn above(&self) -> impl Iterator<Item = (&[u8], Option<Seen>)> {
        let above = self.steps.len().saturating_sub(1);
        self.steps.iter().take(above).map(|(end, seen)| (self.path.get(..*end).unwrap_or_default(), *seen))
    }
}
