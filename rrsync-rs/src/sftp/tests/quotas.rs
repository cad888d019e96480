//! Quotas: how much there is in a workspace never becomes more than it may be, whatever its sessions do at once.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::super::wire::packet::*;
use super::bounds::{text, with};
use super::*;
use crate::grant::{FileRules, Quota};

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const PUT: u32 = 0x1a;
const FAILURE: u32 = 4;

#[test]
fn a_workspace_does_not_grow_beyond_its_quota() {
    // In the box there are in.txt with 6 bytes, sub, sub/deep and sub/f with 3 bytes.
    for atomic in [false, true] {
        let tree = Tree::new();
        let quota = Quota { bytes: Some(1000), files: Some(7) };
        let files = FileRules { atomic, quota, ..FileRules::default() };
        let mut client = with(&tree, files.clone());
        let full = "x".repeat(991);
        assert_eq!(client.put("box/a", &full), 0);
        assert_eq!(client.put("box/b", "y"), FAILURE, "not one byte more");
        assert_eq!(client.code(REMOVE, s("box/b")), if atomic { 2 } else { 0 });
        if atomic {
            assert_eq!(client.open("box/in.txt", WRITE_FILE), Err(FAILURE), "a copy does not fit");
        } else {
            let handle = client.open("box/in.txt", WRITE_FILE).unwrap();
            assert_eq!(client.write(&handle, 0, "inside"), 0, "what is there does not grow");
            assert_eq!(client.write(&handle, 0, "inside!"), FAILURE);
            assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(7)), FAILURE);
            assert_eq!(client.close(&handle), 0);
        }
        let copy_from = client.open("box/a", READ_FILE).unwrap();
        let copy_to = client.open("box/c", PUT).unwrap();
        let copied = client.code(EXTENDED, s("copy-data").s(&copy_from).q(0).q(0).s(&copy_to).q(0));
        let incomplete = if atomic { (FAILURE, 2) } else { (0, 0) };
        assert_eq!((copied, client.close(&copy_from)), (FAILURE, 0));
        assert_eq!((client.close(&copy_to), client.code(REMOVE, s("box/c"))), incomplete);
        assert_eq!(client.code(SETSTAT, s("box/a").n(1).q(0)), 0);
        assert_eq!(client.put("box/a", "fits again"), 0);
        assert_eq!(client.code(MKDIR, s("box/d1").n(0)), 0);
        assert_eq!(client.code(MKDIR, s("box/d2").n(0)), 0);
        for (kind, body) in
            [(MKDIR, s("box/d3").n(0)), (SYMLINK, s("in.txt").s("box/l")), (OPEN, s("box/f").n(PUT).n(0))]
        {
            assert_eq!(client.code(kind, body.clone()), FAILURE, "{kind} {body:?}");
        }
        assert_eq!(client.code(RMDIR, s("box/d1")), 0);
        assert_eq!(client.put("box/f", ""), 0);
        client.end();
        // Another session goes on from the same count.
        let mut other = with(&tree, files);
        assert_eq!(other.put("box/g", ""), FAILURE);
        assert_eq!(
            other.put("box/f", &"z".repeat(900)),
            if atomic { FAILURE } else { 0 },
            "an atomic upload is a file more"
        );
        other.end();
        let (_, bytes) = used(&tree.path("box"));
        assert!(bytes <= 1000, "{bytes}");
    }
}

/// Files, directories and bytes below a directory; a file with two names is one.
fn used(dir: &Path) -> (usize, u64) {
    fn add(dir: &Path, seen: &mut HashSet<u64>) -> u64 {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        entries.fold(0, |bytes, entry| {
            let metadata = entry.metadata().unwrap();
            let new = seen.insert(metadata.ino());
            let below = if metadata.is_dir() { add(&entry.path(), seen) } else { 0 };
            bytes + below + if new && metadata.is_file() { metadata.len() } else { 0 }
        })
    }
    let mut seen = HashSet::new();
    let bytes = add(dir, &mut seen);
    (seen.len(), bytes)
}

#[test]
fn sessions_at_once_keep_one_quota() {
    let tree = Tree::new();
    let quota = Quota { bytes: Some(3_000_000), files: None };
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let tree = &tree;
            scope.spawn(move || {
                let mut client = with(tree, FileRules { quota, ..FileRules::default() });
                for round in 0..40 {
                    let path = format!("box/{worker}-{round}");
                    let _ = client.put(&path, &"x".repeat(50_000));
                    if round % 4 == 3 {
                        assert_eq!(client.code(REMOVE, s(path)), 0);
                    }
                }
            });
        }
    });
    let (_, bytes) = used(&tree.path("box"));
    assert!((1_900_000..=3_000_000).contains(&bytes), "{bytes}");
}

/// Puts as much into the box as it takes, and tells how many bytes are there then.
fn fill(tree: &Tree, client: &mut Client) -> u64 {
    for round in 0..100 {
        if client.put(&format!("box/fill{round}"), &"x".repeat(100)) != 0 {
            break;
        }
    }
    used(&tree.path("box")).1
}

#[test]
fn a_file_that_was_emptied_through_many_handles_made_its_room_many_times() {
    let quota = Quota { bytes: Some(1000), files: None };
    let big = "x".repeat(400);
    let empty: [fn(&mut Client, &[u8]) -> u32; 4] = [
        |client, handle| client.code(FSETSTAT, s(handle).n(1).q(0)),
        |client, _| client.code(SETSTAT, s("box/big").n(1).q(0)),
        |client, _| client.open("box/big", WRITE_FILE | 0x10).map_or_else(|code| code, |_| 0),
        |client, _| client.open("box/big", READ_FILE | 0x10).map_or_else(|code| code, |_| 0),
    ];
    for (way, empty) in empty.into_iter().enumerate() {
        let tree = Tree::new();
        fs::write(tree.path("box/owner"), &big).unwrap();
        let mut client = with(&tree, FileRules { quota, ..FileRules::default() });
        assert_eq!(client.put("box/big", &big), 0);
        let handles: Vec<_> = (0..9).map(|_| client.open("box/big", WRITE_FILE).unwrap()).collect();
        for handle in &handles {
            assert_eq!(empty(&mut client, handle), 0, "{way}");
        }
        // A handle that knew the file when it was large.
        assert_eq!(client.write(&handles[0], 0, &big), 0, "{way}");
        let used = fill(&tree, &mut client);
        assert!((900..=1000).contains(&used), "{way}: {used}");
    }
}

#[test]
fn a_size_that_was_asked_for_in_vain_was_counted() {
    let tree = Tree::new();
    let quota = Quota { bytes: Some(1000), files: None };
    let mut client = with(&tree, FileRules { quota, ..FileRules::default() });
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    for _ in 0..3 {
        assert_ne!(client.code(FSETSTAT, s(&handle).n(1).q(900)), 0);
    }
    let used = fill(&tree, &mut client);
    assert!((900..=1000).contains(&used), "{used}");
}

#[test]
fn what_is_kept_counts_for_the_quota_and_the_free_space() {
    let tree = Tree::new();
    let quota = Quota { bytes: Some(1000), files: None };
    let files = FileRules { versions: true, quota, ..FileRules::default() };
    let mut client = with(&tree, files.clone());
    // Each is another content, so each is kept.
    let put = |client: &mut Client, round: usize| client.put("box/f", &format!("{round:300}"));
    let written = (0..10).take_while(|round| put(&mut client, *round) == 0).count();
    assert_eq!(written, 3, "and the versions of it are there as well");
    assert_eq!(text(&tree, "box/f").trim(), "2", "what is there stays");
    assert_eq!(client.code(REMOVE, s("box/f")), 0);
    assert_eq!(put(&mut client, 9), FAILURE, "a removed file is kept, and makes no room");
    client.end();
    let mut full = with(&tree, FileRules { min_free: Some(u64::MAX), quota: Quota::default(), ..files });
    assert_eq!(full.code(REMOVE, s("box/in.txt")), FAILURE);
    assert_eq!(text(&tree, "box/in.txt"), "inside", "what cannot be kept is not removed");
}

#[test]
fn an_upload_that_was_refused_made_the_count_smaller() {
    let tree = Tree::new();
    let quota = Quota { bytes: Some(1000), files: None };
    let mut client = with(&tree, FileRules { quota, atomic: true, ..FileRules::default() });
    assert_eq!(client.put("box/big", &"x".repeat(600)), 0);
    for _ in 0..5 {
        assert_eq!(client.open("box/big", WRITE_FILE), Err(FAILURE), "its copy does not fit");
    }
    let used = fill(&tree, &mut client);
    assert!((900..=1000).contains(&used), "{used}");
}

#[test]
fn sessions_that_exchange_what_each_other_removes_keep_one_quota() {
    for (atomic, versions) in [(false, false), (true, false), (true, true)] {
        let tree = Tree::new();
        let quota = Quota { bytes: Some(if versions { 2_000_000 } else { 20_000 }), files: Some(60) };
        let rules = FileRules { atomic, versions, quota, ..FileRules::default() };
        let big = "x".repeat(2000);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (tree, rules, big) = (&tree, rules.clone(), &big);
                scope.spawn(move || {
                    let mut client = with(tree, rules);
                    for round in 0..60 {
                        let own = format!("box/{worker}");
                        let _ = client.put(&own, if round % 2 == 0 { big } else { "small" });
                        let _ = client.code(RENAME, s(format!("box/{}", (worker + 1) % 4)).s("box/x"));
                        let _ = client.code(EXTENDED, s("posix-rename@openssh.com").s(&own).s("box/x"));
                        let _ = client.code(EXTENDED, s("hardlink@openssh.com").s("box/x").s(&own));
                        let _ = client.code(SETSTAT, s("box/x").n(1).q(0));
                        let _ = client.code(REMOVE, s("box/x"));
                    }
                });
            }
        });
        let mut client = with(&tree, rules);
        let filled = fill(&tree, &mut client);
        assert!(filled <= 20_000, "{atomic} {versions}: {filled}");
        for round in 0..100 {
            let _ = client.code(MKDIR, s(format!("box/d{round}")).n(0));
        }
        let (names, _) = used(&tree.path("box"));
        assert!(names <= 60, "{atomic} {versions}: {names}");
    }
}

#[test]
fn a_tree_that_cannot_be_counted_takes_nothing_more() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("box").join("d/".repeat(200))).unwrap();
    let quota = Quota { bytes: Some(1_000_000), files: None };
    let mut client = with(&tree, FileRules { quota, ..FileRules::default() });
    assert_ne!(client.put("box/new", "x"), 0);
    assert_eq!(client.code(REMOVE, s("box/in.txt")), 0, "but it can be made smaller");
    // Nor does a workspace whose count is nowhere kept.
    let rules = Workspace {
        files: FileRules { quota, ..FileRules::default() },
        ..Workspace::new(tree.path("box/sub"), Access::ReadWrite)
    };
    let mount = Mount::open("box".parse().unwrap(), &rules).unwrap();
    let vfs = Vfs::new(vec![mount], Options::default());
    let made = vfs.make_dir(&crate::vfs::VirtualPath::parse(b"box/d").unwrap(), 0o777);
    assert_eq!(made, Err(nix::errno::Errno::EDQUOT.into()));
}
