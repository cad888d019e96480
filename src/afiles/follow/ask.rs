//! What the source is asked before anything here makes way for what an event says. An event may be late, come twice, or be wrong,
//! and what is right already stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::stat::SFlag;

use super::batch::{Step, Want};
use crate::afiles::failures::TransferError;
use crate::afiles::find::Found;
use crate::afiles::receive::{Known, ReceiveError, Tree};
use crate::afiles::sftp::Sftp;
use crate::event::EventPath;

/// How many questions are under way at once.
const QUESTIONS: usize = 256;

/// Whoever is asked, and the copy for whose sake.
pub struct Ask<'a> {
    /// The source.
    pub sftp: &'a mut Sftp,
    /// What it is called there.
    pub found: &'a Found,
    /// The copy.
    pub tree: &'a Tree,
}

impl Ask<'_> {
    /// Of paths that are said to be gone, those that are, and those that are there.
    pub fn gone(&mut self, paths: Vec<EventPath>) -> Result<(Vec<EventPath>, Vec<EventPath>), TransferError> {
        let mut here = BTreeSet::new();
        for path in &paths {
            if self.tree.look(path)?.is_some() {
                here.insert(path.clone());
            }
        }
        let there = self.kinds(here)?;
        Ok(paths.into_iter().partition(|path| there.get(path).is_none_or(Option::is_none)))
    }

    /// Of the steps, the renames whose old name is there, and not by a step behind.
    pub fn contradicted(&mut self, steps: &[Step]) -> Result<BTreeSet<usize>, TransferError> {
        let mut renames = BTreeMap::new();
        let mut made_behind: BTreeSet<&Path> = BTreeSet::new();
        for (index, step) in steps.iter().enumerate().rev() {
            if let Step::Rename(from, ..) = step
                && !from.as_path().ancestors().any(|path| made_behind.contains(path))
            {
                renames.insert(index, from.clone());
            }
            made_behind.extend(step.makes().map(EventPath::as_path));
        }
        let there = self.kinds(renames.values().cloned().collect())?;
        renames.retain(|_, from| there.get(from).is_none_or(Option::is_some));
        Ok(renames.into_keys().collect())
    }

    /// Leaves out what is said to be in a directory, where something else is both here and there, and answers with that.
    pub fn without_blocked(
        &mut self,
        paths: &mut BTreeMap<EventPath, Want>,
    ) -> Result<Vec<EventPath>, TransferError> {
        let mut blocked = BTreeMap::new();
        for path in paths.keys() {
            if let Some(by) = obstacle(self.tree, path)? {
                blocked.insert(path.clone(), by);
            }
        }
        let there = self.kinds(blocked.values().cloned().collect())?;
        let makes_way = |by: &EventPath| there.get(by) == Some(&Some(SFlag::S_IFDIR));
        blocked.retain(|_, by| !makes_way(by));
        paths.retain(|path, _| !blocked.contains_key(path));
        Ok(blocked.into_keys().collect())
    }

    /// What each path is there; `None` for nothing. What may not be looked at may be anything.
    fn kinds(
        &mut self,
        paths: BTreeSet<EventPath>,
    ) -> Result<BTreeMap<EventPath, Option<SFlag>>, TransferError> {
        let mut kinds = BTreeMap::new();
        let mut paths = paths.into_iter();
        let mut under_way = VecDeque::new();
        loop {
            while under_way.len() < QUESTIONS
                && let Some(path) = paths.next()
            {
                let ticket = self.sftp.fetch(&self.found.wire(&path), 0)?;
                under_way.push_back((path, ticket));
            }
            let Some((path, ticket)) = under_way.pop_front() else { return Ok(kinds) };
            let kind = match self.sftp.fetched(ticket) {
                Ok(fetched) => Some(SFlag::from_bits_truncate(fetched.state.mode & SFlag::S_IFMT.bits())),
                Err(error) if error.is_missing() => None,
                Err(error) if error.is_final() => return Err(error.into()),
                Err(_) => Some(SFlag::empty()),
            };
            kinds.insert(path, kind);
        }
    }
}

/// What is here on the way to `path` and is no directory.
fn obstacle(tree: &Tree, path: &EventPath) -> Result<Option<EventPath>, ReceiveError> {
    let parent = path.as_path().parent().unwrap_or(Path::new(""));
    if tree.has_directory(parent) {
        return Ok(None);
    }
    let mut way: Vec<&Path> = parent.ancestors().filter(|path| *path != Path::new("")).collect();
    way.reverse();
    for path in way {
        let Ok(path) = EventPath::new(path.as_os_str().as_bytes().to_owned()) else { return Ok(None) };
        match tree.look(&path)? {
            None => return Ok(None),
            Some(stat) if Known::of(&stat).kind == SFlag::S_IFDIR => {}
            Some(_) => return Ok(Some(path)),
        }
    }
    Ok(None)
}
