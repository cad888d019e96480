//! Real rsync clients through the gate: what they transfer is what they transfer without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use support::{Account, picture, said};

/// A tree with something of everything that a user's directory may hold.
fn plant(root: &Path) {
    for directory in ["sub/deep", "empty", "sp ace", "prev", "list"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let names: [&[u8]; 14] = [
        b"f1",
        b"sub/s1",
        b"sub/deep/f2",
        b"sp ace/na me",
        b"q'uote",
        b"a*b",
        b"aXb",
        b"x[1]y",
        b"back\\slash",
        b"-dash",
        b"new\nline",
        "nb\u{a0}sp".as_bytes(),
        "ünï-日本".as_bytes(),
        b"latin1-\xe9",
    ];
    for (number, name) in names.iter().enumerate() {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, format!("{number} {}", "x".repeat(number * 3000))).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000 + number as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    fs::write(root.join("empty-file"), "").unwrap();
    fs::set_permissions(root.join("sub/s1"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(root.join("f1"), root.join("sub/hard")).unwrap();
    symlink("f1", root.join("link")).unwrap();
    symlink("../outside/secret", root.join("escape")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_400_000_000);
    sparse.set_modified(old).unwrap();
    fs::write(root.join("prev/f1"), "old f1").unwrap();
    fs::write(root.join("list/names"), "f1\nsub/s1\n").unwrap();
}

/// A destination that has something to update, to delete and to keep.
fn seed(root: &Path) {
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("f1"), "older and of another length").unwrap();
    fs::write(root.join("sub/extra"), "to be deleted").unwrap();
    fs::write(root.join("sub/s1"), "1 x").unwrap();
}

/// Option sets, and whether the receiver's old files go.
const MODES: &[&str] = &[
    "-a",
    "-r",
    "-rlt",
    "-av",
    "-avvv",
    "-ai",
    "-az",
    "-azz",
    "-a --zc=zstd --zl=3",
    "-a -z --zc=lz4",
    "-aH",
    "-aHAXS",
    "-aA",
    "-aX",
    "-aS",
    "-aR",
    "-aU",
    "-aO",
    "-aJ",
    "-aE",
    "-ax",
    "-ac",
    "-au",
    "-aI",
    "-aW",
    "-ay",
    "-an",
    "-aq",
    "-am",
    "-aC",
    "-ad",
    "-a --delete",
    "-a --delete-before",
    "-a --delete-during",
    "-a --delete-delay",
    "-a --delete-after",
    "-a --delete-excluded --exclude=s1",
    "-a --max-delete=1 --delete",
    "-a --force --delete",
    "-a --ignore-errors --delete",
    "-ab",
    "-ab --suffix=.old",
    "-ab --backup-dir=bak",
    "-ab --backup-dir=/bak",
    "-a --partial",
    "-a --partial-dir=.part",
    "-a --partial-dir=/part",
    "-a --delay-updates",
    "-a --temp-dir=/tmpd",
    "-a --inplace",
    "-a --append",
    "-a --append-verify",
    "-a --preallocate",
    "-a --fsync",
    "-a --numeric-ids",
    "-a --size-only",
    "-a --modify-window=1",
    "-a --existing",
    "-a --ignore-existing",
    "-a --remove-source-files",
    "-a --min-size=2k",
    "-a --max-size=10k",
    "-a --link-dest=/prev",
    "-a --copy-dest=/prev",
    "-a --compare-dest=/prev",
    "-a --link-dest=../prev",
    "-a --bwlimit=100m",
    "-a --timeout=20",
    "-a --block-size=1000",
    "-a --no-whole-file",
    "-a --checksum-choice=md5",
    "-a --checksum-seed=7",
    "-a --exclude=sub --include=*",
    "-a --filter=-_*.o",
    "-a -F",
    "-a --files-from=-",
    "-a --files-from=names",
    "-a --from0 --files-from=-",
    "-a -s",
    "-aR -s",
    "-as --delete",
    "-as --files-from=-",
    "-as --files-from=names",
    "-as --backup-dir=/bak -b",
    "-a --iconv=utf-8,utf-8",
    "-as --iconv=utf-8,utf-8",
    "-a --stats",
    "-a --progress",
    "-a --out-format=%n",
    "-a --no-specials",
    "-a --super",
    "-a --fake-super",
    "-a --safe-links",
    "-a --munge-links",
    "-a --no-implied-dirs -R",
    "-a --mkpath",
    "-a --list-only",
    "-a --protocol=29",
    "-a --protocol=30",
    "-a --old-compress -z",
    "-a --new-compress -z",
    "-a --skip-compress=gz -z",
    "-a --no-r -d",
    "-d",
    "-a --info=progress2",
    "-a --stderr=all",
    "-a --msgs2stderr",
    "-a --max-alloc=512m",
    "-a --compress-threads=2 -z --zc=zstd",
    "-a --open-noatime",
    "-a --chmod=u+w",
    "-a --old-args",
];

/// How the server is reached.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    /// Without a gate; the client has the server's rsync do more.
    Nothing(&'static str),
    /// Through the gate with these flags.
    Gate(&'static str),
}

/// What a transfer left on both sides, how it ended, and what was said.
struct Outcome {
    drawn: String,
    code: Option<i32>,
    said: String,
}

/// Runs one option set in one direction.
fn result(options: &str, push: bool, through: Through) -> Outcome {
    let account = Account::new();
    let client = account.root.join("client");
    let server = account.d("ws");
    for directory in ["bak", "part", "tmpd", "prev"] {
        fs::create_dir_all(account.d(directory)).unwrap();
    }
    fs::write(account.d("prev/f1"), "0 ").unwrap();
    let (source, destination) =
        if push { (client.join("src"), server.clone()) } else { (server.clone(), client.join("dst")) };
    fs::create_dir_all(&source).unwrap();
    fs::create_dir_all(&destination).unwrap();
    plant(&source);
    seed(&destination);
    fs::write(client.join("names"), "f1\nsub/s1\nmissing\n").unwrap();
    let (shell, more) = match through {
        Through::Gate(flags) => (account.shell(&format!("{flags} '{}'", account.d("").display())), ""),
        Through::Nothing(more) => (account.plain_shell(), more),
    };
    // Without a gate, and for the client's own options, the root of the tree is nowhere: paths from it are written out.
    let root = match through {
        Through::Gate(_) if push => String::new(),
        _ => account.d("").display().to_string().trim_end_matches('/').to_owned(),
    };
    let options = options.replace("=/", &format!("={root}/")).replace("-_", "- ");
    let mut args: Vec<String> =
        options.split(' ').map(|word| word.replace("--filter=-", "--filter=- ").trim().to_owned()).collect();
    args.retain(|word| !word.is_empty() && word != "*.o");
    args.extend(more.split_whitespace().map(str::to_owned));
    if push {
        args.extend(["src/".to_owned(), "h:ws/".to_owned()]);
    } else {
        args.extend(["h:ws/".to_owned(), "dst/".to_owned()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = account.rsync_with(&shell, &args);
    let drawn = [account.d(""), client].map(|tree| picture(&tree)).join("\n--\n");
    Outcome { drawn, code: output.status.code(), said: said(&output) }
}

/// Compares two ways for every case, and says where they differ.
fn compare(cases: &[(&str, bool)], gate: Through, plain: Through) {
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            let wrong = &wrong;
            scope.spawn(move || {
                for (mode, push) in half {
                    let with = result(mode, *push, gate);
                    let without = result(mode, *push, plain);
                    if with.drawn != without.drawn || with.code != without.code {
                        let only = |one: &Outcome, other: &Outcome| -> Vec<String> {
                            let lines = one.drawn.lines().filter(|line| !other.drawn.contains(line));
                            lines.map(str::to_owned).collect()
                        };
                        let direction = if *push { "push" } else { "pull" };
                        wrong.lock().unwrap().push(format!(
                            "{direction} {mode}: gate {:?}, plain {:?}\n only with the gate: {:#?}\n only without: {:#?}\n{}\nplain: {}",
                            with.code, without.code, only(&with, &without), only(&without, &with), with.said, without.said
                        ));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_mode_transfers_what_it_does_without_the_gate() {
    let cases: Vec<(&str, bool)> = MODES.iter().flat_map(|mode| [(*mode, false), (*mode, true)]).collect();
    compare(&cases, Through::Gate("-no-lock"), Through::Nothing(""));
}

/// Options that change what is told, or sent, and not how it is written. Where files are written in another way, they do not
/// matter.
const ABOUT_SENDING: &[&str] = &[
    "-av",
    "-ai",
    "-aq",
    "-az",
    "-am",
    "-aC",
    "-ax",
    "-aE",
    "--zc",
    "-z",
    "--bwlimit",
    "--timeout",
    "--checksum-",
    "--exclude",
    "--filter",
    "-F",
    "--files-from",
    "--iconv",
    "--stats",
    "--progress",
    "--out-format",
    "--info",
    "--stderr",
    "--msgs2stderr",
    "--max-alloc",
    "--open-noatime",
    "--chmod",
    "--old-args",
    "--list-only",
    "--safe-links",
    "--numeric-ids",
    "-size",
    "--mkpath",
    "--modify-window",
    "--no-r",
];

/// The option sets that matter to how files are written.
fn about_writing() -> impl Iterator<Item = &'static str> {
    let about_sending = |mode: &str| ABOUT_SENDING.iter().any(|option| mode.contains(option));
    MODES.iter().copied().filter(move |mode| mode.contains("delete") || !about_sending(mode))
}

/// Option sets that need what may not be read, and are refused.
const READ_BACK: &[&str] = &["-a --append", "-a --append-verify", "-a --block-size=1000"];

/// Without `-p`, rsync gives a file that it replaces the old one's mode, which it cannot see.
const MODE_OF_THE_OLD: &[&str] = &["-r", "-rlt"];

#[test]
fn every_mode_pushes_what_it_does_without_the_gate_where_nothing_is_read_back() {
    let modes = about_writing().filter(|mode| !READ_BACK.contains(mode) && !MODE_OF_THE_OLD.contains(mode));
    let cases: Vec<(&str, bool)> = modes.map(|mode| (mode, true)).collect();
    compare(&cases, Through::Gate("-wo -no-lock"), Through::Nothing(""));
    let some =
        ["-a", "-aHAXS", "-a --inplace", "-a --delete", "-ab", "-a --delay-updates", "-a --link-dest=/prev"];
    compare(
        &some.map(|mode| (mode, true)),
        Through::Gate("-wo -no-lock -namespace required"),
        Through::Nothing(""),
    );
}

/// Options that replace, continue or delete files, or change directories; and are refused.
const REPLACING: &[&str] = &[
    "-ab",
    "-as --backup-dir",
    "--delete",
    "--partial-dir",
    "--delay-updates",
    "--append",
    "-aA",
    "-aX",
    "-aHAXS",
];

#[test]
fn modes_that_a_key_cannot_have_are_refused_and_change_nothing() {
    let untouched = |mode| result(mode, true, Through::Gate("-ro")).drawn;
    let replacing = MODES.iter().filter(|mode| REPLACING.iter().any(|option| mode.contains(option)));
    let cases = READ_BACK.iter().map(|mode| (*mode, "-wo"));
    for (mode, flags) in cases.chain(replacing.map(|mode| (*mode, "-no-overwrite"))) {
        let outcome = result(mode, true, Through::Gate(flags));
        assert_eq!(outcome.code, Some(12), "{flags} {mode}: {}", outcome.said);
        assert_eq!(outcome.drawn, untouched(mode), "{flags} {mode}");
    }
}

#[test]
fn every_mode_adds_what_it_does_without_the_gate_where_nothing_is_replaced() {
    for flags in ["-no-overwrite -no-lock", "-wo -no-overwrite -no-lock"] {
        let modes = about_writing().filter(|mode| !REPLACING.iter().any(|option| mode.contains(option)));
        let modes = modes.filter(|mode| !flags.contains("-wo") || !READ_BACK.contains(mode));
        let cases: Vec<(&str, bool)> = modes.map(|mode| (mode, true)).collect();
        compare(&cases, Through::Gate(flags), Through::Nothing("-M--ignore-existing -M-O"));
    }
}
