//! What holds for every tree and every command: an accepted request stays inside, and nothing makes the gate crash.
//!
//! Trees have files, directories, odd names, and symlinks in and out, in chains and loops; commands follow the grammar of
//! a client, with mistakes in it. What the judge accepts is resolved again with `canonicalize`, none of the gate's own
//! code, and must lie inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use rrsync_rs::cli::{DropIn, Explain, Gate, Source};
use rrsync_rs::confine::Isolation;
use rrsync_rs::explain::explain;
use rrsync_rs::grant::{Access, Confine, Workspace};
use rrsync_rs::layout::Layout;
use rrsync_rs::policy::{Exposed, Keep, Policy};
use rrsync_rs::request::Request;
use rrsync_rs::rsync::RsyncFeatures;
use rrsync_rs::rsync::expand::{braces, glob};
use rrsync_rs::rsync::judge::{self, Arg, Direction, Plan, judge};
use rrsync_rs::rsync::options::{LONG, Takes};
use rrsync_rs::rsync::secluded;
use rrsync_rs::rsync::words::{Word, split};
use rrsync_rs::rules::Rules;
use rrsync_rs::session::Environment;

/// Names of entries, in the tree and in commands.
const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"sub",
    b"link",
    b".h",
    b"-d",
    b"a b",
    b"x*y",
    b"[x]",
    b"{p,q}",
    b"...",
    b"n\nl",
    b"\xff\xfe",
    b"~",
    b"back\\",
];

/// What a symlink says; `ROOT` stands for the absolute path of the exposed directory, `OUT` for one beside it.
const TARGETS: &[&str] = &[
    "a",
    "b",
    "sub",
    "sub/a",
    "link",
    ".",
    "..",
    "../..",
    "../D",
    "../D/sub",
    "../D-beside",
    "../outside",
    "../outside/f",
    "../outside/none",
    "ROOT",
    "ROOT/sub",
    "ROOT/a",
    "ROOT/none",
    "ROOT/../outside",
    "OUT",
    "OUT/f",
    "/",
    "/etc/passwd",
    "/proc/self/cwd",
    "/proc/self/root",
    "none",
    "none/x",
];

/// One entry of a tree.
#[derive(Debug, Clone)]
enum Entry {
    Dir(Vec<u8>),
    File(Vec<u8>),
    Link(Vec<u8>, String),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    select(NAMES).prop_map(<[u8]>::to_vec)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let path = || vec(name(), 1..4).prop_map(|parts| parts.join(&b'/'));
    let target = select(TARGETS).prop_map(str::to_owned);
    vec(
        prop_oneof![
            1 => path().prop_map(Entry::Dir),
            1 => path().prop_map(Entry::File),
            4 => (path(), target).prop_map(|(path, target)| Entry::Link(path, target)),
        ],
        0..14,
    )
}

/// A scratch directory with the exposed tree `D`, and what lies beside it.
struct Tree {
    scratch: PathBuf,
    root: PathBuf,
}

impl Tree {
    fn plant(entries: &[Entry]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("properties-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        for directory in ["D/sub", "D-beside", "outside/d", "home"] {
            fs::create_dir_all(scratch.join(directory)).unwrap();
        }
        let scratch = scratch.canonicalize().unwrap();
        fs::write(scratch.join("outside/f"), "secret").unwrap();
        let root = scratch.join("D");
        let at = |path: &[u8]| root.join(OsStr::from_bytes(path));
        // What does not fit (a directory where there is a file) is left out; what would follow a link out of the tree too.
        let inside =
            |path: &Path| path.parent().unwrap().canonicalize().is_ok_and(|dir| dir.starts_with(&root));
        for entry in entries {
            match entry {
                Entry::Dir(path) => {
                    let mut dir = root.clone();
                    for part in Path::new(OsStr::from_bytes(path)) {
                        dir.push(part);
                        if inside(&dir) {
                            let _ = fs::create_dir(&dir);
                        }
                    }
                }
                Entry::File(path) if inside(&at(path)) && at(path).symlink_metadata().is_err() => {
                    let _ = fs::write(at(path), "x");
                }
                Entry::Link(path, target) if inside(&at(path)) => {
                    let target = target.replace("ROOT", root.to_str().unwrap());
                    let _ =
                        symlink(target.replace("OUT", scratch.join("outside").to_str().unwrap()), at(path));
                }
                Entry::File(_) | Entry::Link(..) => {}
            }
        }
        Self { scratch, root }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// What else may stand between slashes.
const PIECES: &[&[u8]] =
    &[b"..", b".", b"", b"*", b"?*", b"l*", b"{a,sub}", b"{,link}", b"{..,a}", b"[a-z]*", b".*"];

/// How a path may begin; `DIR` stands for the exposed directory.
const STARTS: &[&[u8]] =
    &[b"", b"", b"/", b"./", b"//", b"///", b"~/", b"w/", b"w/", b"v/", b"DIR/", b"DIR/../"];

/// A path as a client might send it, escaped or not.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => (name(), any::<bool>()).prop_map(|(name, escape)| if escape { escaped(&name) } else { name }),
        1 => select(PIECES).prop_map(<[u8]>::to_vec),
    ];
    let start = select(STARTS);
    (start, vec(part, 0..4), any::<bool>()).prop_map(|(start, parts, slash)| {
        let slash = if slash { &b"/"[..] } else { b"" };
        [start, &parts.join(&b'/'), slash].concat()
    })
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    let rows: Vec<_> = LONG.iter().collect();
    let long = (select(rows), path(), any::<bool>()).prop_map(|(row, value, joined)| {
        let name = [b"--", row.name.as_bytes()].concat();
        match row.takes {
            Takes::Nothing => name,
            Takes::Path(_) if !joined => [name, b" ".to_vec(), value].concat(),
            Takes::Path(_) => [name, b"=".to_vec(), value].concat(),
            Takes::Text | Takes::Ignored(_) => [name, b"=1".to_vec()].concat(),
        }
    });
    let letters = vec(select(b"logDtprRnbKLkdHAXSWIucmvxzOJEC".as_slice()), 1..8);
    let cluster = letters.prop_map(|letters| [&b"-"[..], &letters, b"e.iLsfxCIvu"].concat());
    prop_oneof![2 => long, 1 => cluster]
}

/// A command of the grammar, sometimes with a mistake in it.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let mutation = (any::<prop::sample::Index>(), any::<u8>(), 0..3u8);
    (any::<bool>(), vec(option(), 0..4), vec(path(), 0..3), vec(mutation, 0..3), 0..3u8).prop_map(
        |(pull, options, paths, mutations, mutate)| {
            let mut words = vec![b"rsync --server".to_vec()];
            words.extend(pull.then(|| b"--sender".to_vec()));
            words.push(b"-logDtpre.iLsfxCIvu".to_vec());
            words.extend(options);
            words.push(b".".to_vec());
            words.extend(paths);
            let mut command = words.join(&b' ');
            for (at, byte, how) in mutations.into_iter().filter(|_| mutate == 0) {
                let at = at.index(command.len());
                match how {
                    0 => command.insert(at, byte.max(1)),
                    1 => command[at] = byte.max(1),
                    _ => drop(command.remove(at)),
                }
            }
            command
        },
    )
}

fn access() -> impl Strategy<Value = Access> {
    select(&[Access::ReadOnly, Access::WriteOnly, Access::ReadWrite, Access::None][..])
}

/// What is exposed: `D` alone, or `D` as `w` with sub-paths and `D/sub` as `v`.
#[derive(Debug, Clone)]
struct Setting {
    access: Access,
    sub: Option<Access>,
    link: Option<Access>,
    named: bool,
    absolute: bool,
    delete: bool,
    overwrite: bool,
    allow_links: bool,
    features: RsyncFeatures,
    isolation: Isolation,
}

fn setting() -> impl Strategy<Value = Setting> {
    let rights = (access(), proptest::option::of(access()), proptest::option::of(access()));
    let isolation = select(&[Isolation::Auto, Isolation::Required, Isolation::Off][..]);
    (rights, any::<(bool, bool, bool, bool, bool, bool)>(), isolation).prop_map(
        |((access, sub, link), (named, absolute, delete, overwrite, allow_links, new), isolation)| Setting {
            access,
            sub: sub.filter(|_| named),
            link: link.filter(|_| named),
            named,
            absolute,
            delete,
            overwrite,
            allow_links,
            features: RsyncFeatures { confine_root: new, drop_d: new },
            isolation,
        },
    )
}

impl Setting {
    /// None where a link brings contradictory rules to one place, which no session is given.
    fn policy(&self, root: &Path) -> Option<Policy> {
        let workspace = |path: &Path, access| {
            let mut workspace = Workspace::new(path, access);
            workspace.delete = self.delete;
            workspace.overwrite = self.overwrite;
            workspace
        };
        let mut whole = workspace(root, self.access);
        whole.paths.extend(self.sub.map(|access| (PathBuf::from("sub"), access)));
        whole.paths.extend(self.link.map(|access| (PathBuf::from("link"), access)));
        if !self.named {
            let exposed = vec![Exposed::open(None, whole, self.absolute).ok()?];
            return Some(Policy { exposed, missing: Vec::new() });
        }
        let part = workspace(&root.join("sub"), Access::ReadOnly);
        let open = |name: &str, workspace| Exposed::open(Some(name.parse().unwrap()), workspace, false).ok();
        Some(Policy { exposed: vec![open("w", whole)?, open("v", part)?], missing: Vec::new() })
    }

    fn rules(&self) -> Rules {
        let allow = if self.allow_links {
            vec!["copy-links".to_owned(), "keep-dirlinks".to_owned()]
        } else {
            Vec::new()
        };
        Rules { allow, ..Rules::default() }
    }
}

/// Where a path really is, as far as it exists; independent of the gate.
fn really(path: &Path) -> PathBuf {
    followed(path, 40)
}

/// [`really`], with so many links left to follow: some lead to themselves.
fn followed(path: &Path, links: usize) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(real) = above.canonicalize() {
            return real;
        }
        // A link to nothing: where it would be made, if something followed it.
        if let Ok(target) = above.read_link()
            && links > 0
        {
            return followed(&above.parent().unwrap().join(target), links - 1);
        }
    }
    PathBuf::from("/")
}

/// Where the file that a path names really is, its last component not followed when it is a link.
fn entry(path: &Path) -> PathBuf {
    let whole = path.as_os_str().as_bytes().ends_with(b"/") || path.as_os_str().as_bytes().ends_with(b"/.");
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !whole => really(parent).join(name),
        _ => really(path),
    }
}

fn open_at(fd: &std::os::fd::OwnedFd) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
}

/// The longest rule that covers a path of the workspace.
fn access_at(setting: &Setting, root: &Path, path: &Path) -> Access {
    for (name, access) in [("sub", setting.sub), ("link", setting.link)] {
        if let Some(access) = access
            && path.starts_with(root.join(name))
        {
            return access;
        }
    }
    setting.access
}

fn check(plan: &Plan, setting: &Setting, tree: &Tree) -> Result<(), TestCaseError> {
    let root = tree.root.as_path();
    // Sources that carry their workspace's name are named from the directory above, and only those.
    let cwd = open_at(&plan.cwd.fd);
    let above = setting.named && plan.direction == Direction::Pull;
    prop_assert!(cwd.starts_with(root) || above && Some(cwd.as_path()) == root.parent(), "cwd {cwd:?}");
    let inside = |path: &Path| path.starts_with(root);
    let separator = plan.args.iter().position(|arg| matches!(arg, Arg::Text(text) if text == "--")).unwrap();
    for (at, arg) in plan.args.iter().enumerate() {
        match arg {
            Arg::Pinned { prefix, fd, rest, .. } => {
                let start = open_at(fd);
                prop_assert!(inside(&start), "{prefix} starts at {start:?}");
                let named = PathBuf::from(OsString::from_vec(
                    [start.as_os_str().as_bytes(), rest.as_bytes()].concat(),
                ));
                let real = if at > separator { entry(&named) } else { really(&named) };
                prop_assert!(inside(&real), "{prefix}{named:?} is {real:?}");
            }
            Arg::Text(text) if at > separator + 1 => {
                prop_assert!(!text.as_bytes().split(|b| *b == b'/').any(|part| part == b".."), "{text:?}");
                prop_assert!(!Path::new(text).is_absolute(), "{text:?}");
                let named = PathBuf::from(OsString::from_vec(
                    [cwd.as_os_str().as_bytes(), b"/", text.as_bytes()].concat(),
                ));
                // A sender sends a link; a receiver replaces it.
                let real = entry(&named);
                prop_assert!(inside(&real), "{text:?} is {real:?}");
            }
            Arg::Text(text) => {
                if let Some(value) = text.as_bytes().strip_prefix(b"--partial-dir=") {
                    let real = really(&cwd.join(OsStr::from_bytes(value)));
                    prop_assert!(inside(&real), "{text:?} is {real:?}");
                }
            }
        }
    }
    prop_assert!(plan.parts.is_empty() || plan.isolation == Isolation::Required);
    for reach in &plan.reach {
        let real = open_at(&reach.dir);
        prop_assert!(inside(&real), "reaches {real:?}");
        let rights = reach.rights;
        // Named `v`, the same directory is read-only: what may be written there, `w` allows.
        let readable = |path: &Path| {
            access_at(setting, root, path).may_read() || setting.named && path.starts_with(root.join("sub"))
        };
        let writable = |path: &Path| access_at(setting, root, path).may_write();
        // What a namespace keeps apart is not reached: hidden, or, for what writes, unchanged.
        let apart = |path: &Path, reads: bool| {
            let hidden = |part: &judge::Part| part.keep == Keep::Hidden || !reads;
            plan.parts.iter().any(|part| path.starts_with(&part.real) && hidden(part))
        };
        let everywhere = |allowed: &dyn Fn(&Path) -> bool, reads: bool| {
            let below = ["sub", "link"].map(|name| root.join(name));
            let reached = |below: &&PathBuf| below.starts_with(&real) && below.symlink_metadata().is_ok();
            allowed(&real) && below.iter().filter(reached).all(|below| allowed(below) || apart(below, reads))
        };
        prop_assert!(!rights.read || everywhere(&readable, true), "reads {real:?}");
        prop_assert!(!rights.writes() || everywhere(&writable, false), "writes {real:?}");
        prop_assert!(setting.overwrite || !rights.change && !rights.remove, "changes {real:?}");
        prop_assert!(setting.overwrite || !rights.remove_directories, "removes directories in {real:?}");
        prop_assert!(!rights.special, "makes special files in {real:?}");
    }
    Ok(())
}

/// `safe_arg()` of a client, for any byte: a backslash before whatever a shell would take for something else.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in name {
        if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"/.-_".contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

/// A directory that may be read and written, with no further rules.
fn everything(directory: &Path) -> Exposed {
    Exposed::open(None, Workspace::new(directory, Access::ReadWrite), false).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_stays_inside(entries in entries(), commands in vec(command(), 8..24), setting in setting()) {
        let tree = Tree::plant(&entries);
        let Some(policy) = setting.policy(&tree.root) else { return Ok(()) };
        for command in commands {
            let directory = tree.root.as_os_str().as_bytes();
            let command = command.split(|b| *b == b'\0').next().unwrap();
            let text = String::from_utf8_lossy(command).replace("DIR", &String::from_utf8_lossy(directory));
            let command = if text.contains('\u{fffd}') { command } else { text.as_bytes() };
            let Ok(Request::Rsync(direction, parsed)) = Request::read(Some(OsStr::from_bytes(command))) else { continue };
            let paths = parsed.paths.clone().unwrap_or_default();
            let rules = setting.rules();
            let terms = judge::Setting { rules: &rules, features: setting.features, isolation: setting.isolation, confined: true };
            if let Ok(plan) = judge(direction, &parsed, &paths, &policy, terms) {
                check(&plan, &setting, &tree)
                    .map_err(|error| TestCaseError::fail(format!("{}: {error}", command.escape_ascii())))?;
            }
        }
    }

    #[test]
    fn explain_always_answers(command in prop_oneof![command(), vec(1u8.., 0..200)], access in access()) {
        // The arguments of -s come on standard input, which is not this test's to give.
        let secluded = matches!(
            Request::read(Some(OsStr::from_bytes(&command))),
            Ok(Request::Rsync(_, parsed)) if parsed.secluded
        );
        prop_assume!(!secluded);
        let tree = Tree::plant(&[Entry::Link(b"link".to_vec(), "../outside".to_owned())]);
        let options = DropIn {
            dir: tree.root.clone(),
            access,
            munge: false,
            absolute: false,
            delete: true,
            lock: true,
            overwrite: true,
            confine: Confine::Required,
            rules: Rules::default(),
            namespace: rrsync_rs::confine::Isolation::default(),
        };
        let command = OsStr::from_bytes(&command);
        let gate = Gate {
            source: Source::DropIn(options),
            rsync: None,
            within: false,
            explain: Some(Explain { command: Some(command.to_owned()), json: true }),
        };
        // One home for all, so that the installed rsync is asked once what it understands.
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("properties-home-{}", std::process::id()));
        let environment =
            Environment { command: None, client: "UNKNOWN".to_owned(), layout: Layout::new(home) };
        let answer = explain(&gate, Some(command), &environment);
        prop_assert_eq!(answer.allowed, answer.message.is_none());
        prop_assert!(!answer.rule.is_empty());
        let text = answer.to_string();
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&answer.to_json()).is_ok());
    }

    #[test]
    fn a_word_is_what_was_escaped(words in vec(vec(any::<u8>(), 1..20), 0..6)) {
        let line: Vec<Vec<u8>> = words.iter().map(|word| escaped(word)).collect();
        let read: Vec<Vec<u8>> = split(&line.join(&b' ')).iter().map(Word::unescaped).collect();
        prop_assert_eq!(read, words);
    }

    #[test]
    fn every_line_is_words_without_white_space_that_was_not_escaped(line in vec(any::<u8>(), 0..200)) {
        for word in split(&line) {
            prop_assert!(word.marked().iter().all(|(byte, escaped)| *escaped || !b" \t".contains(byte)));
        }
    }

    #[test]
    fn an_escaped_name_is_expanded_to_itself(name in vec(1u8.., 1..30)) {
        let word = &split(&escaped(&name))[0];
        let expanded = braces(word).unwrap();
        prop_assert_eq!(expanded.len(), 1);
        prop_assert_eq!(expanded[0].unescaped(), name);
    }

    #[test]
    fn alternatives_multiply(groups in vec(vec("[a-z]{0,3}", 2..4), 1..5)) {
        let text: Vec<String> = groups.iter().map(|group| format!("{{{}}}", group.join(","))).collect();
        let mut all = vec![String::new()];
        for group in &groups {
            all = all.iter().flat_map(|start| group.iter().map(move |end| format!("{start}{end}"))).collect();
        }
        let expanded = braces(&split(text.concat().as_bytes())[0]).unwrap();
        let expanded: Vec<String> = expanded.iter().map(|word| word.to_os().into_string().unwrap()).collect();
        prop_assert_eq!(expanded, all);
    }

    #[test]
    fn a_pattern_matches_what_is_there_and_stays_inside(entries in entries(), pattern in path()) {
        let tree = Tree::plant(&entries);
        let root = everything(&tree.root);
        // What a pattern is expanded beneath has no slash in front.
        let pattern = pattern.iter().position(|b| *b != b'/').map_or(&[][..], |start| &pattern[start..]);
        let Some(word) = split(pattern).into_iter().next() else { return Ok(()) };
        if word.unescaped().split(|b| *b == b'/').any(|part| part == b"..") {
            return Ok(());
        }
        for found in glob(&root, &word, &mut 10_000).unwrap().0 {
            let real = entry(&tree.root.join(&found));
            prop_assert!(real.starts_with(&tree.root), "{found:?} is {real:?}");
            prop_assert!(tree.root.join(&found).symlink_metadata().is_ok(), "{found:?}");
        }
    }

    #[test]
    fn a_name_matches_itself_and_its_beginning(names in vec(name(), 1..6), cut in any::<prop::sample::Index>()) {
        let tree = Tree::plant(&names.iter().map(|name| Entry::File(name.clone())).collect::<Vec<_>>());
        let root = everything(&tree.root);
        for name in &names {
            let start = cut.index(name.len()) + 1;
            let pattern = [&escaped(&name[..start]), &b"*"[..]].concat();
            let (found, _) = glob(&root, &split(&pattern)[0], &mut 10_000).unwrap();
            let matching: Vec<PathBuf> = found.into_iter().filter(|found| found.as_os_str().as_bytes() == name).collect();
            prop_assert_eq!(matching.len(), 1, "{}", pattern.escape_ascii());
        }
    }

    #[test]
    fn secluded_arguments_are_read_to_their_end(words in vec(vec(1u8.., 1..12), 0..6), rest in vec(any::<u8>(), 0..20)) {
        let mut input: Vec<u8> = words.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
        input.push(0);
        input.extend(&rest);
        let mut input = input.as_slice();
        prop_assert_eq!(secluded::read(&mut input).unwrap(), words);
        prop_assert_eq!(input, rest);
    }
}
