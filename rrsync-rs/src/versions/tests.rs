use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A scratch home with the workspace `w`.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("versions-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join("w/sub")).unwrap();
        Self(fs::canonicalize(home).unwrap())
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.0).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(&self.layout(), &self.0.join("w")).unwrap()
    }

    /// Writes a file of the workspace and opens it.
    fn file(&self, path: &str, content: &str) -> File {
        fs::write(self.0.join("w").join(path), content).unwrap();
        File::open(self.0.join("w").join(path)).unwrap()
    }

    fn contents(&self) -> Vec<PathBuf> {
        let content = self.layout().versions_of(&self.0.join("w")).join("content");
        fs::read_dir(content).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn log(&self) -> PathBuf {
        self.layout().versions_of(&self.0.join("w")).join("log.jsonl")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn loss(path: &str) -> Loss<'_> {
    Loss { path: Path::new(path), reason: Reason::Removed, origin: Some("playground.chef1") }
}

fn text(store: &Store, version: &Version) -> String {
    let Kept::File { sha256, .. } = version.what else { panic!("{version:?}") };
    io::read_to_string(store.content(sha256).unwrap()).unwrap()
}

#[test]
fn what_a_path_loses_can_be_had_again() {
    let home = Home::new();
    let store = home.store();
    let file = home.file("sub/f", "first");
    fs::set_permissions(home.0.join("w/sub/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let modified = Timestamp::new(1_700_000_000, 5).unwrap();
    file.set_modified(SystemTime::from(modified)).unwrap();
    let version = store.keep(&file, &loss("sub/f")).unwrap();
    fs::remove_file(home.0.join("w/sub/f")).unwrap();
    store.keep(home.file("other", "other"), &loss("other")).unwrap();
    store.keep_link(Path::new("../x"), &loss("l")).unwrap();

    let store = home.store();
    let history = store.list(None).unwrap();
    assert_eq!((history.versions.len(), history.unreadable), (3, 0));
    assert_eq!(history.versions[0], version);
    assert_eq!(history.versions[2].what, Kept::Symlink { target: "../x".into() });
    let sha256 = Sum::of(b"first");
    assert_eq!(version.what, Kept::File { size: 5, mtime: modified, mode: 0o640, sha256 });
    assert_eq!(store.list(Some(Path::new("sub/f"))).unwrap().versions, std::slice::from_ref(&version));
    assert_eq!(text(&store, &version), "first");
    assert_eq!(Store::workspaces(&home.layout()).unwrap(), [home.0.join("w")]);
    let line = fs::read_to_string(home.log()).unwrap().lines().next().unwrap().to_owned();
    let told = r#""path":"sub/f","reason":"removed","origin":"playground.chef1","kind":"file","size":5,"mtime":"2023-11-14T22:13:20.000000005Z","mode":416,"sha256":"#;
    assert!(line.contains(told), "{line}");
}

#[test]
fn a_content_is_there_once_and_nobody_else_has_it() {
    let home = Home::new();
    let store = home.store();
    store.keep(home.file("one", "same"), &loss("one")).unwrap();
    store.keep(home.file("two", "same"), &loss("two")).unwrap();
    assert_eq!(home.contents().len(), 1);
    assert_eq!(fs::metadata(&home.contents()[0]).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(store.directories()[1].1.as_path()).unwrap().count(), 0);
    assert_eq!(store.list(None).unwrap().versions.len(), 2);
}

#[test]
fn what_was_kept_could_be_changed_by_who_still_had_the_file_open() {
    let home = Home::new();
    let store = home.store();
    let file = home.file("f", "kept");
    let writer = File::options().write(true).open(home.0.join("w/f")).unwrap();
    fs::hard_link(home.0.join("w/f"), home.0.join("w/second")).unwrap();
    let version = store.keep(&file, &loss("f")).unwrap();
    fs::remove_file(home.0.join("w/f")).unwrap();
    (&writer).write_all(b"changed by its writer").unwrap();
    assert_eq!(text(&store, &version), "kept");
    fs::write(home.0.join("w/second"), "changed by another name").unwrap();
    assert_eq!(text(&store, &version), "kept");
    store.keep(home.file("g", "kept"), &loss("g")).unwrap();
}

#[test]
fn a_content_that_has_changed_is_neither_given_out_nor_relied_on() {
    let home = Home::new();
    let store = home.store();
    let version = store.keep(home.file("f", "kept"), &loss("f")).unwrap();
    fs::write(&home.contents()[0], "changed in the store").unwrap();
    let Kept::File { sha256, .. } = version.what else { panic!() };
    assert!(matches!(store.content(sha256), Err(StoreError::Damaged(sum)) if sum == sha256));
    let again = store.keep(home.file("g", "kept"), &loss("g"));
    assert!(matches!(again, Err(StoreError::Damaged(_))), "{again:?}");
    assert_eq!(store.list(None).unwrap().versions.len(), 1, "what is not kept has no line");
}

#[test]
fn a_hole_took_the_room_of_what_it_could_hold_when_it_was_kept() {
    let home = Home::new();
    let store = home.store();
    for (name, content, length) in
        [("empty", "", 0), ("hole", "", 1 << 24), ("both", "some content", 1 << 24)]
    {
        let file = home.file(name, content);
        let into = File::options().write(true).open(home.0.join("w").join(name)).unwrap();
        into.set_len(length).unwrap();
        store.keep(&file, &loss(name)).unwrap();
        let kept = store.list(Some(Path::new(name))).unwrap().versions.swap_remove(0);
        let Kept::File { size, sha256, .. } = kept.what else { panic!() };
        assert_eq!(size, length, "{name}");
        let stored = store.content(sha256).unwrap();
        let mut start = [0; 12];
        assert!(length == 0 || (&stored).read_exact(&mut start).is_ok());
        assert_eq!(&start[..content.len()], content.as_bytes(), "{name}");
        // A file system without holes has room for them anyway.
        let filled = |file: &File| file.metadata().unwrap().blocks();
        assert!(filled(&stored) <= filled(&file) + 64, "{name}: {} {}", filled(&stored), filled(&file));
    }
}

#[test]
fn a_line_that_was_cut_short_takes_no_other_with_it() {
    let home = Home::new();
    let store = home.store();
    store.keep(home.file("f", "1"), &loss("f")).unwrap();
    let whole = fs::read(home.log()).unwrap();
    fs::write(home.log(), [whole.as_slice(), &whole[..20]].concat()).unwrap();
    store.keep(home.file("f", "2"), &loss("f")).unwrap();
    let history = store.list(None).unwrap();
    assert_eq!((history.versions.len(), history.unreadable), (2, 1));
    for hostile in [r#""path":"../f""#, r#""path":"/etc/passwd""#, r#""path":"""#, r#""path":{"hex":"2e2e"}"#]
    {
        let line = String::from_utf8(whole.clone()).unwrap().replace(r#""path":"f""#, hostile);
        fs::write(home.log(), line).unwrap();
        assert_eq!(store.list(None).unwrap().unreadable, 1, "{hostile}");
    }
    for path in ["", "/f", "../f", "a/../b", "a\0b"] {
        let kept = store.keep(home.file("f", "3"), &loss(path));
        assert!(matches!(kept, Err(StoreError::BadPath)), "{path:?}: {kept:?}");
    }
}

#[test]
fn any_name_is_kept_as_it_is() {
    let home = Home::new();
    let store = home.store();
    for bytes in [&b"latin1-\xe9"[..], b"new\nline", b"\xff/x", "ünï \u{202e}".as_bytes()] {
        let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
        let lost = Loss { path, ..loss("") };
        store.keep_link(path, &lost).unwrap();
        let version = store.list(Some(path)).unwrap().versions.swap_remove(0);
        assert_eq!(version.what, Kept::Symlink { target: path.to_owned() });
    }
}

#[test]
fn many_may_keep_at_once() {
    let home = Home::new();
    let store = home.store();
    let keep = |worker: u32| {
        let store = home.store();
        for round in 0..20 {
            // Some contents are the same as those of others.
            let path = format!("f{worker}");
            let file = home.file(&path, &(round % 5 + worker / 2).to_string());
            store.keep(file, &loss(&path)).unwrap();
            fs::remove_file(home.0.join("w").join(path)).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || keep(worker));
        }
    });
    let history = store.list(None).unwrap();
    assert_eq!((history.versions.len(), history.unreadable), (120, 0));
    for version in &history.versions {
        text(&store, version);
    }
}

#[test]
fn a_copy_of_a_process_that_is_gone_is_swept() {
    let home = Home::new();
    let store = home.store();
    let incoming = store.directories()[1].1.clone();
    fs::write(incoming.join("gone"), "half").unwrap();
    let alive = File::create(incoming.join("alive")).unwrap();
    alive.lock().unwrap();
    symlink("/etc", incoming.join("link")).unwrap();
    home.store();
    assert!(!incoming.join("gone").exists() && incoming.join("alive").exists());
    assert!(Path::new("/etc").is_dir());
}

#[test]
fn what_is_let_go_is_what_only_old_versions_have_and_the_log_stays() {
    let home = Home::new();
    let store = home.store();
    let keep = |path: &str, content: &str| store.keep(home.file(path, content), &loss(path)).unwrap();
    keep("a", "old");
    keep("sub/b", "old too");
    keep("shared", "both");
    let limit = Timestamp::now();
    keep("later", "both");
    keep("a", "new");
    let forgotten = store.forget(Path::new("sub"), limit).unwrap();
    assert_eq!(forgotten, Forgotten { contents: 1, bytes: 7 });
    let forgotten = store.forget(Path::new(""), limit).unwrap();
    assert_eq!(forgotten, Forgotten { contents: 1, bytes: 3 });
    assert_eq!(store.forget(Path::new(""), limit).unwrap(), Forgotten::default());
    let versions = store.list(None).unwrap().versions;
    let kept = |version: &Version| match version.what {
        Kept::File { sha256, .. } => store.is_kept(sha256),
        Kept::Symlink { .. } => true,
    };
    let all: Vec<_> = versions.iter().map(|it| (it.path.to_str().unwrap(), kept(it))).collect();
    assert_eq!(all, [("a", false), ("sub/b", false), ("shared", true), ("later", true), ("a", true)]);
    // What was let go and is lost once more is kept once more.
    let again = keep("a", "old");
    assert_eq!(text(&store, &again), "old");
}

#[test]
fn what_is_kept_while_old_versions_are_let_go_is_kept() {
    let home = Home::new();
    let store = home.store();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forgetting = scope.spawn(|| {
            let other = home.store();
            while !stop.load(Ordering::Acquire) {
                // Everything is old but for what is being kept just now.
                let before = other.list(None).unwrap().versions.last().map(|last| last.time);
                if let Some(before) = before {
                    other.forget(Path::new(""), before).unwrap();
                }
            }
        });
        let file = home.file("a", "always the same");
        for _ in 0..50 {
            let version = store.keep(&file, &loss("a")).unwrap();
            assert_eq!(text(&store, &version), "always the same");
        }
        stop.store(true, Ordering::Release);
        forgetting.join().unwrap();
    });
}
