//! What happens while the tree is compared.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::dirs::Root;
use super::super::known::Memory;
use super::super::{Change, Rules, Setting, Watcher};
use super::{DEADLINE, Options, Scene, wait, words};

/// Leaves nothing out, and renames something when its name has been read from its directory, but nothing has been looked at.
#[derive(Default)]
struct Meddler(RefCell<Option<(PathBuf, PathBuf)>>);

impl Rules for Meddler {
    fn skips(&self, name: &[u8], _: impl FnOnce() -> Vec<u8>, _: bool) -> bool {
        let mut armed = self.0.borrow_mut();
        let is_it = |(from, _): &mut (PathBuf, PathBuf)| {
            from.file_name().is_some_and(|from| from == OsStr::from_bytes(name))
        };
        if let Some((from, to)) = armed.take_if(is_it) {
            fs::rename(from, to).unwrap();
        }
        false
    }
}

fn settled(watcher: &mut Watcher<Memory, Meddler>, mut told: Vec<Change>) -> Vec<String> {
    let until = Instant::now() + DEADLINE;
    loop {
        let now = Instant::now();
        assert!(now < until, "still unsettled, after {told:?}");
        watcher.read(now).unwrap();
        told.extend(watcher.settle(now).unwrap());
        let Some(next) = watcher.next() else { return told.iter().map(words).collect() };
        wait(watcher, next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    }
}

#[test]
fn a_rename_while_everything_is_compared_was_told_as_a_removal_and_a_creation() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let root = Root::Held(fs::File::open(scratch.path()).unwrap().into());
    let setting =
        Setting { root, store: Memory::default(), rules: Meddler::default(), options: Options::default() };
    let mut watcher = Watcher::begin(setting).unwrap();
    fs::create_dir_all(path("directory/sub")).unwrap();
    fs::write(path("directory/sub/full"), "f").unwrap();
    fs::write(path("file"), "f").unwrap();
    assert_eq!(settled(&mut watcher, Vec::new()).len(), 4);
    for name in ["directory", "file"] {
        let to = format!("other-{name}");
        watcher.rules().0.replace(Some((path(name), path(&to))));
        let told = watcher.compare(Instant::now()).unwrap();
        assert!(watcher.rules().0.take().is_none(), "nothing happened meanwhile");
        assert_eq!(settled(&mut watcher, told), [format!("renamed {name} -> {to}")]);
    }
}

#[test]
fn what_went_on_while_it_was_looked_for_was_told_as_a_removal_and_a_creation() {
    for name in ["directory", "file"] {
        for (seen, unseen) in [
            // To and fro, and away once more.
            (&["there", name][..], "there"),
            (&["there"], "elsewhere"),
            (&["there", "elsewhere"], "there"),
        ] {
            let mut scene = Scene::new(&["directory/inner", "file"]);
            let mut at = name;
            for to in seen {
                scene.mv(at, to);
                at = to;
            }
            scene.watcher.read(Instant::now()).unwrap();
            scene.mv(at, unseen);
            let later = Instant::now() + Duration::from_millis(150);
            let mut told = scene.watcher.settle(later).unwrap();
            told.extend(scene.changes());
            let told: Vec<String> = told.iter().map(words).collect();
            assert_eq!(told, [format!("renamed {name} -> {unseen}")]);
        }
    }
}
