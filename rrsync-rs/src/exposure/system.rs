//! The system's own places, and what was there when somebody last looked.
//!
//! There are seventy, and looking at each takes longer than all else that the gate does to judge a workspace. None of them can be
//! changed by an ordinary account, let alone by a client; so what was there is remembered for as long as the directories that hold them
//! are unchanged, and never for more than an hour, since a mount changes nothing that could be seen in those.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::sight::Seen;
use super::{Reach, SYSTEM};
use crate::layout::Layout;
use crate::remembered;

/// Those of the system's directories whose entries are remembered. In `/run` and `/dev` something changes all the time.
const HOLDERS: [&str; 7] = ["/", "/usr", "/usr/local", "/var", "/var/lib", "/var/spool", "/etc"];

/// How long it is remembered, in seconds.
const AT_MOST: u64 = 3600;

/// How long ago the last change has to be, in seconds, so that another one has another time.
const SETTLED: u64 = 2;

/// What is at the system's places, as far as it is known already. By default nothing is, and everything is looked at when it is asked
/// about.
#[derive(Debug, Default)]
pub struct System {
    known: Vec<(PathBuf, Option<Seen>)>,
    /// Where the one that was asked about last stands: they are asked about in their order.
    last: Cell<usize>,
}

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// When it was looked at, in seconds since 1970.
    since: u64,
    /// The run of the kernel: other machines and other starts have other numbers for their disks.
    boot: String,
    holders: Vec<Option<State>>,
    places: Vec<(PathBuf, Option<Seen>)>,
}

/// A directory, and when its entries last changed: device, inode, and the times of content and inode with their nanoseconds.
type State = (u64, u64, (i64, i64), (i64, i64));

fn state(path: &Path) -> Option<State> {
    let found = path.metadata().ok()?;
    let times = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((found.dev(), found.ino(), times.0, times.1))
}

/// The system's places and how far the protection of each reaches, in the order in which they are looked at.
pub(super) fn places() -> impl Iterator<Item = (&'static Path, Reach)> {
    SYSTEM.iter().flat_map(|(reach, places)| places.split(' ').map(|place| (Path::new(place), *reach)))
}

/// The places whose directory is one of the [`HOLDERS`], and what is above them, each once.
fn held() -> Vec<&'static Path> {
    let is_held = |path: &Path| path.parent().and_then(Path::to_str).is_some_and(|at| HOLDERS.contains(&at));
    let mut all: Vec<&Path> = Vec::new();
    for (place, _) in places() {
        let new: Vec<&Path> = place.ancestors().filter(|path| is_held(path) && !all.contains(path)).collect();
        all.extend(new.into_iter().rev());
    }
    all
}

impl System {
    /// What is remembered of the system's places, else what is there now, which will be.
    pub fn recalled(layout: &Layout) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::recalled_from(&layout.state_dir().join("places.json"), &HOLDERS.map(Path::new), now, held)
    }

    fn recalled_from<'p>(
        file: &Path,
        holders: &[&Path],
        now: u64,
        held: impl FnOnce() -> Vec<&'p Path>,
    ) -> Self {
        // Before the places, so that what changes meanwhile is seen next time.
        let holders: Vec<Option<State>> = holders.iter().map(|holder| state(holder)).collect();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let holds = |memory: &Memory| {
            let age = now.checked_sub(memory.since);
            memory.boot == boot && memory.holders == holders && age.is_some_and(|age| age < AT_MOST)
        };
        let remembered = remembered::recall(file).filter(holds).map(|memory| memory.places);
        let known = remembered.unwrap_or_else(|| {
            let looked: Vec<_> = held().into_iter().map(|path| (path, Seen::look(path))).collect();
            let all_known = looked.iter().all(|(_, seen)| seen.is_ok());
            let is_settled = |(.., changed): &State| {
                u64::try_from(changed.0).is_ok_and(|changed| changed.saturating_add(SETTLED) < now)
            };
            let settled = holders.iter().flatten().all(is_settled);
            let places = looked.into_iter().map(|(path, seen)| (path.to_owned(), seen.ok().flatten()));
            let memory = Memory { since: now, boot, holders, places: places.collect() };
            if all_known && settled {
                remembered::remember(file, &memory);
            }
            memory.places
        });
        Self { known, last: Cell::new(0) }
    }

    /// What is at a path.
    pub(super) fn at(&self, path: &Path) -> Option<Seen> {
        let (before, behind) = self.known.split_at(self.last.get());
        let mut places = behind.iter().chain(before).enumerate();
        let found = places.find(|(_, (known, _))| known.as_os_str() == path.as_os_str());
        let Some((distance, (_, seen))) = found else { return Seen::at(path) };
        self.last.set((self.last.get() + distance) % self.known.len());
        *seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("system-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_place_is_known_or_looked_at() {
        let places = held();
        for place in ["/proc", "/usr", "/usr/bin", "/etc", "/etc/ssh", "/var/lib", "/var/lib/dpkg", "/lib64"]
        {
            assert!(places.contains(&Path::new(place)), "{place}");
        }
        assert!(!places.contains(&Path::new("/run/systemd")) && !places.contains(&Path::new("/")));
        let scratch = Scratch::new("known");
        let layout = Layout::new(&scratch.0).unwrap();
        let system = System::recalled(&layout);
        assert_eq!(system.known.len(), places.len());
        let others =
            [Path::new("/run/systemd"), Path::new("/"), Path::new("/no/such/place"), scratch.0.as_path()];
        for path in places.iter().rev().chain(&places).chain(&others) {
            assert_eq!(system.at(path), Seen::at(path), "{}", path.display());
        }
        assert_eq!(System::default().at(Path::new("/etc")), Seen::at(Path::new("/etc")));
    }

    /// How often it is looked, in a tree where things change.
    #[test]
    fn it_is_believed_while_nothing_changed_and_for_an_hour() {
        let scratch = Scratch::new("believed");
        let at = |name: &str| scratch.0.join(name);
        fs::create_dir_all(at("etc/ssh")).unwrap();
        let (holder, place, file) = (at("etc"), at("etc/ssh"), at("state/places.json"));
        let later = state(&holder).unwrap().3.0.unsigned_abs() + 60;
        let looked = |now: u64| {
            let mut looked = false;
            let system = System::recalled_from(&file, &[&holder], now, || {
                looked = true;
                vec![&place]
            });
            assert_eq!(system.at(&place), Seen::at(&place));
            looked
        };
        assert!(looked(later) && !looked(later) && !looked(later + AT_MOST - 1));
        assert!(looked(later + AT_MOST), "an hour has gone");
        assert!(!looked(later + AT_MOST));
        assert!(looked(later - 5), "the clock was set back");
        fs::rename(&place, at("etc/old")).unwrap();
        symlink(&scratch.0, &place).unwrap();
        assert!(looked(later), "a link has taken its place");
        assert!(!looked(later));
        for broken in ["", "{}", "[", "{\"since\":99999999999,\"boot\":\"\",\"holders\":[],\"places\":[]}"] {
            fs::write(&file, broken).unwrap();
            assert!(looked(later) && !looked(later), "{broken}");
        }
        let text = fs::read_to_string(&file).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&file, text.replace(boot.trim_end(), "another-start")).unwrap();
        assert!(looked(later) && !looked(later), "the machine was started again");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(looked(later), "somebody else may write it");
        let changed = state(&holder).unwrap().3.0.unsigned_abs();
        fs::remove_file(&file).unwrap();
        assert!(looked(changed + 1) && looked(changed + 1), "it may change once more in this very moment");
        fs::remove_dir_all(at("state")).unwrap();
        fs::write(at("state"), "").unwrap();
        assert!(looked(later) && looked(later), "it cannot be kept");
    }
}
