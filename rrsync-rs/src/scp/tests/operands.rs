//! What a command's operands stand for, and where nothing of them can be allowed.

use std::fs;

use crate::grant::Access;
use crate::policy::{Exposed, Policy};
use crate::rsync::expand::MAX_WORDS;
use crate::scp::Command;
use crate::scp::expand::expand;
use crate::sftp::tests::{Tree, mount};
use crate::vfs::{Options, Vfs};

#[test]
fn patterns_stand_for_what_a_shell_would_have_found() {
    let tree = Tree::new();
    let long = |letter: &str| letter.repeat(100);
    fs::create_dir(tree.path(&format!("box/{}", long("d")))).unwrap();
    fs::write(tree.path(&format!("box/{}/{}", long("d"), long("f"))), "").unwrap();
    fs::write(tree.path("box/.hidden"), "").unwrap();
    let vfs = Vfs::new(vec![mount("box", &tree.workspace(Access::ReadWrite))], Options::default());
    let found = |line: &str| {
        let command = Command::read(format!("-f {line}").as_bytes()).unwrap();
        let found = expand(&vfs, &command.operands).unwrap();
        found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>().join(" ")
    };
    let deep = format!("box/{}/{}", long("d"), long("f"));
    for (pattern, paths) in [
        ("box/.*", "box/.hidden"),
        ("box/*.txt", "box/in.txt"),
        ("/b*/sub/[df]*", "/box/sub/deep /box/sub/f"),
        ("~/box/s*", "/box/sub"),
        ("~", ""),
        ("box/none* box/in.*", "box/none* box/in.txt"),
        (&format!("box/d*/{}", long("f")), &deep),
        ("box/s*/none", "box/s*/none"),
    ] {
        assert_eq!(found(pattern), paths, "{pattern}");
    }
}

#[test]
fn patterns_stand_for_so_many_paths_and_no_more() {
    let tree = Tree::new();
    for (dir, count) in [("box/hundred", 100), ("box/more", 101), ("box/many", 200)] {
        fs::create_dir(tree.path(dir)).unwrap();
        (0..count).for_each(|number| fs::write(tree.path(&format!("{dir}/{number}")), "").unwrap());
    }
    let vfs = Vfs::new(vec![mount("box", &tree.workspace(Access::ReadWrite))], Options::default());
    let words = |count: usize| format!("x{{{}}}", ",".repeat(count - 1));
    for (line, found) in [
        (words(MAX_WORDS), Some(MAX_WORDS)),
        (format!("{} y", words(MAX_WORDS - 1)), Some(MAX_WORDS)),
        (format!("{} y", words(MAX_WORDS)), None),
        (format!("{} {}", words(MAX_WORDS - 5), words(10)), None),
        // Each name of the first directory is followed by all of the second.
        ("box/hundred/*/../../many/*".to_owned(), Some(20_000)),
        ("box/more/*/../../many/*".to_owned(), None),
        // However few names there are, their paths can be long.
        (format!("box/hundred/*/../../many/{}*", "./".repeat(80)), Some(20_000)),
        (format!("box/hundred/*/../../many/{}*", "./".repeat(100)), None),
        // What matches nothing was looked for all the same, and each look into a directory counts.
        ("box/many/*/z* ".repeat(100), Some(100)),
        ("box/many/*/z* ".repeat(240), None),
    ] {
        let command = Command::read(format!("-f {line}").as_bytes()).unwrap();
        let count = expand(&vfs, &command.operands).ok().map(|paths| paths.len());
        assert_eq!(count, found, "{line:.60}");
    }
}

#[test]
fn many_operands_filled_the_memory_where_one_was_refused() {
    let tree = Tree::new();
    let vfs = Vfs::new(vec![mount("box", &tree.workspace(Access::ReadWrite))], Options::default());
    let operand = format!("{}{{{}}} ", "x".repeat(3000), ",".repeat(599));
    for (times, found) in [(1, Some(600)), (2, Some(1200)), (3, None)] {
        let command = Command::read(format!("-f {}", operand.repeat(times)).as_bytes()).unwrap();
        assert_eq!(expand(&vfs, &command.operands).ok().map(|paths| paths.len()), found, "{times}");
    }
}

#[test]
fn a_command_is_refused_where_nothing_of_it_can_be_allowed() {
    let tree = Tree::new();
    let exposed = |name: &str, access, parts: &[(&str, Access)]| {
        let mut rules = tree.workspace(access);
        rules.paths = parts.iter().map(|(part, access)| ((*part).into(), *access)).collect();
        Exposed::open(Some(name.parse().unwrap()), rules, false).unwrap()
    };
    let ro = || exposed("ro", Access::ReadOnly, &[]);
    let wo = || exposed("wo", Access::WriteOnly, &[]);
    let part = || exposed("part", Access::ReadOnly, &[("sub", Access::WriteOnly)]);
    for (workspaces, line, refused) in [
        (vec![ro(), wo()], "-f ro", None),
        (vec![ro(), wo()], "-t ro/x", Some("ro")),
        (vec![ro(), wo()], "-t ~/ro", Some("ro")),
        (vec![ro(), wo()], "-t wo/x", None),
        (vec![ro(), wo()], "-f ro/x wo/x", Some("wo")),
        // Nobody can tell yet what a pattern, or no workspace at all, stands for.
        (vec![ro(), wo()], "-t r*/x", None),
        (vec![ro(), wo()], "-f other", None),
        (vec![ro()], "-t r*/x", Some("ro")),
        (vec![wo()], "-f .", Some("wo")),
        (vec![part()], "-t part/x", None),
        (vec![part()], "-f part/sub", None),
    ] {
        let command = Command::read(line.as_bytes()).unwrap();
        let policy = Policy { exposed: workspaces, missing: Vec::new() };
        let message = command.allowed(&policy).err().map(|refusal| refusal.message);
        assert_eq!(message.is_some(), refused.is_some(), "{line}: {message:?}");
        assert!(message.unwrap_or_default().contains(refused.unwrap_or_default()), "{line}");
    }
    let command = Command::read(b"-f 'a b' \\\x1b*").unwrap();
    assert_eq!(command.targets(), ["a b", "\\x1b*"]);
}
