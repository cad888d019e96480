//! What somebody does to a tree, at random. Names are few, so that things happen to the same ones.
//!
//! The unit tests of the watcher and the end-to-end tests use the same.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sha2::{Digest as _, Sha256};

/// Something that somebody does.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Write(String, u8),
    Append(String),
    Replace(String, u8),
    /// Other bytes of the same length, and the time that it had before.
    Forge(String, u8),
    MakeDir(String),
    /// A directory that comes from elsewhere with something in it.
    BornFull(String, u8),
    Rename(String, String),
    Exchange(String, String),
    Remove(String),
    Link(String, String),
    Symlink(String, String),
    Mode(String, u32),
    Leave(String, u8),
    Enter(u8, String),
    /// A slow writer begins; the one before ends.
    Begin(String),
    /// The slow writer ends.
    End,
}

/// Always the same deeds, unless `PROPTEST_CASES` asks for so many others.
pub(crate) fn config() -> ProptestConfig {
    let more = std::env::var_os("PROPTEST_CASES").is_some();
    let config =
        ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() };
    if more { config } else { ProptestConfig { cases: 40, rng_seed: RngSeed::Fixed(11), ..config } }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::Write(path, content)),
        1 => path().prop_map(Deed::Append),
        2 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::Replace(path, content)),
        1 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::Forge(path, content)),
        3 => path().prop_map(Deed::MakeDir),
        1 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::BornFull(path, content)),
        4 => (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Deed::Exchange(one, other)),
        2 => path().prop_map(Deed::Remove),
        1 => (path(), path()).prop_map(|(from, to)| Deed::Link(from, to)),
        1 => (path(), path()).prop_map(|(to, at)| Deed::Symlink(to, at)),
        1 => (path(), prop_oneof![Just(0o600), Just(0o755)]).prop_map(|(path, mode)| Deed::Mode(path, mode)),
        1 => (path(), 0..3u8).prop_map(|(path, number)| Deed::Leave(path, number)),
        1 => (0..3u8, path()).prop_map(|(number, path)| Deed::Enter(number, path)),
        1 => path().prop_map(Deed::Begin),
        1 => Just(Deed::End),
    ]
}

/// Where it is done: a tree, and a directory beside it on the same file system.
pub(crate) struct Ground {
    tree: PathBuf,
    outside: PathBuf,
    writer: Option<File>,
    begun: u32,
    /// The sum of every content that was ever at rest in the tree.
    at_rest: HashSet<[u8; 32]>,
}

impl Ground {
    pub(crate) fn new(tree: PathBuf, outside: PathBuf) -> Self {
        Self { tree, outside, writer: None, begun: 0, at_rest: HashSet::new() }
    }

    /// Does it; what is not possible is not done.
    pub(crate) fn make(&mut self, deed: &Deed) {
        let _ = self.attempt(deed);
        self.note_rest(&self.tree.clone());
    }

    /// Whether a file in the tree ever had this content when nobody was writing it.
    pub(crate) fn was_at_rest(&self, sha256: &[u8; 32]) -> bool {
        self.at_rest.contains(sha256)
    }

    fn attempt(&mut self, deed: &Deed) -> io::Result<()> {
        let at = |path: &String| self.tree.join(path);
        let outside = |number: &u8| self.outside.join(number.to_string());
        match deed {
            Deed::Write(path, content) => fs::write(at(path), vec![*content; usize::from(*content)]),
            Deed::Append(path) => File::options().append(true).open(at(path))?.write_all(b"more"),
            Deed::Replace(path, content) => {
                let temporary = at(path).with_file_name("tmp");
                fs::write(&temporary, [*content])?;
                self.at_rest.insert(Sha256::digest([*content]).into());
                fs::rename(&temporary, at(path)).or_else(|_| fs::remove_file(&temporary))
            }
            Deed::Forge(path, content) => {
                let file = File::options().write(true).open(at(path))?;
                let before = file.metadata()?;
                (&file).write_all(&vec![*content; before.len().try_into().unwrap_or(0)])?;
                file.set_times(FileTimes::new().set_modified(before.modified()?))
            }
            Deed::MakeDir(path) => fs::create_dir_all(at(path)),
            Deed::BornFull(path, content) => {
                let full = self.outside.join("full");
                fs::create_dir_all(full.join("a/b"))?;
                fs::write(full.join("a/b/c"), [*content; 3])?;
                fs::rename(&full, at(path))
            }
            Deed::Rename(from, to) => fs::rename(at(from), at(to)),
            Deed::Exchange(one, other) => {
                let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                Ok(rustix::fs::renameat_with(cwd, at(one), cwd, at(other), exchange)?)
            }
            Deed::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
            Deed::Link(from, to) => fs::hard_link(at(from), at(to)),
            Deed::Symlink(to, path) => symlink(to, at(path)),
            Deed::Mode(path, mode) if at(path).is_file() && !at(path).is_symlink() => {
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
            }
            Deed::Mode(..) => Ok(()),
            Deed::Leave(path, number) => fs::rename(at(path), outside(number)),
            Deed::Enter(number, path) => fs::rename(outside(number), at(path)),
            Deed::Begin(path) => {
                let mut file = File::create(at(path))?;
                self.begun += 1;
                write!(file, "the first half of {}", self.begun)?;
                self.end()?;
                self.writer = Some(file);
                Ok(())
            }
            Deed::End => self.end(),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), |mut file| file.write_all(b", and the second"))
    }

    fn note_rest(&mut self, dir: &Path) {
        let writing = self.writer.as_ref().and_then(|file| file.metadata().ok()).map(|file| file.ino());
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                self.note_rest(&entry.path());
            } else if metadata.is_file() && Some(metadata.ino()) != writing {
                self.at_rest.insert(Sha256::digest(fs::read(entry.path()).unwrap()).into());
            }
        }
    }
}
