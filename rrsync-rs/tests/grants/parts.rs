//! Workspaces whose parts have another access, and other workspaces that a request names.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Account, GATE, picture, said};
use crate::tools::sftp;
use crate::{ends, granted, protocol, refused, rsync};

/// An account with one workspace `mix`: readable and writable, with the write-only `drop` in it.
fn mixed() -> Account {
    granted(
        &[("D/mix/drop/f.txt", "MIX-SECRET"), ("D/mix/pub/x", "x"), ("client/src/f.txt", "new")],
        "tools = [\"rsync\", \"scp\", \"sftp\"]\n\
         [workspace.mix]\npath = \"D/mix\"\naccess = \"rw\"\n[workspace.mix.paths]\ndrop = \"wo\"\n",
    )
}

#[test]
fn what_may_not_be_read_is_not_carried_to_where_it_may() {
    let account = mixed();
    refused(&account, &["-b", "--backup-dir=/mix/pub", "src/f.txt", "h:mix/drop/"], "path.mixed");
    refused(&account, &["-b", "--backup-dir=../pub", "src/f.txt", "h:mix/drop/"], "path.mixed");
    refused(&account, &["-ab", "src/", "h:mix/"], "path.mixed");
    refused(&account, &["-rnv", "--delete", "src/", "h:mix/"], "path.mixed");
    refused(&account, &["-a", "-M--copy-dest=/mix/drop", "src/", "h:mix/pub/"], "path.mixed");
    ends(&rsync(&account, &["-a", "src/f.txt", "h:mix/drop/g.txt"]), 0);
    ends(&rsync(&account, &["-ab", "--backup-dir=old", "src/", "h:mix/pub/"]), 0);
}

#[test]
fn a_pattern_tells_no_names_of_a_write_only_path() {
    let account = mixed();
    for pattern in ["f*", "z*", "?.txt"] {
        let output = rsync(&account, &["-a", &format!("h:mix/drop/{pattern}"), "got/"]);
        let text = said(&output).replace(pattern, "PATTERN");
        assert!(text.contains("reading from mix/drop/PATTERN is not allowed"), "{text}");
        // As a destination it is a name like any other, so nothing can be told from what becomes of it.
        ends(&rsync(&account, &["-an", "src/f.txt", &format!("h:mix/drop/{pattern}")]), 0);
    }
}

#[test]
fn a_rule_for_the_owners_link_holds_where_it_leads() {
    let account = mixed();
    fs::create_dir_all(account.d("mix/release/keep")).unwrap();
    symlink("release", account.d("mix/current")).unwrap();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replace("drop = \"wo\"", "\"current/keep\" = \"ro\"");
    account.grant("playground.chef1", &text);
    refused(&account, &["-a", "src/", "h:mix/release/keep/"], "access.write");
    refused(&account, &["-a", "src/", "h:mix/current/keep/"], "access.write");
    ends(&rsync(&account, &["-a", "src/", "h:mix/pub/"]), 0);
}

/// Asks for `words`, and is refused for what they stand for.
#[track_caller]
fn stands_for_too_much(account: &Account, words: &str) {
    let output = account.gate(
        &["--grant", "playground.chef1"],
        &format!("rsync --server --sender -re.LsfxCIvu . {words}"),
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(account.audit().pop().unwrap()["rule"], "rsync.expansion");
}

#[test]
fn a_short_request_does_not_cost_a_long_answer() {
    let account = mixed();
    let words = "mix/{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x} ".repeat(900);
    stands_for_too_much(&account, &words);
}

#[test]
fn a_short_request_cost_seconds_where_its_words_were_empty() {
    let account = mixed();
    stands_for_too_much(&account, &format!("{} ", "{,}".repeat(14)).repeat(3000));
}

#[test]
fn a_short_request_looked_through_a_directory_thousands_of_times() {
    let account = mixed();
    for number in 0..500 {
        fs::write(account.d(&format!("mix/pub/{number}")), "").unwrap();
    }
    let words = format!("mix/pub/{}q*", "{,}".repeat(12));
    stands_for_too_much(&account, &words);
}

#[test]
fn a_short_request_filled_the_memory_before_its_words_were_counted() {
    let account = mixed();
    for number in 0..3000 {
        fs::create_dir(account.d(&format!("mix/pub/{number}"))).unwrap();
    }
    let rsync = "rsync --server --sender -re.LsfxCIvu .";
    let long = "x".repeat(60_000);
    let group = format!("mix/{{{}}}{long}", ",".repeat(60_000));
    let deep = format!("mix/pub/*/{long}");
    // An scp says that it is ready, and that it goes on.
    let input = account.write("client/input", [0; 4]);
    for (command, code, says) in [
        (format!("{rsync} {group}"), 1, "a pattern stands for too many paths"),
        (format!("scp -f {group}"), 1, "the patterns match too much"),
        // What is too long to be there is as it was written, and not found.
        (format!("{rsync} {deep}"), 2, "protocol version mismatch"),
        (format!("scp -f {deep}"), 1, "xxx"),
    ] {
        let mut gate = Command::new("/bin/sh");
        gate.args(["-c", "ulimit -v 150000; exec \"$0\" --grant playground.chef1", GATE]).env_clear();
        gate.env("HOME", account.root.join("home")).env("SSH_ORIGINAL_COMMAND", command);
        let output = gate.stdin(fs::File::open(&input).unwrap()).output().unwrap();
        let said: String = said(&output).chars().take(200).collect();
        assert!(output.status.code() == Some(code) && said.contains(says), "{said}");
    }
}

#[test]
fn a_second_name_elsewhere_is_no_way_to_overwrite() {
    let account = granted(
        &[("D/keep/file", "kept"), ("D/desk/x", "x"), ("client/other", "other")],
        "tools = [\"sftp\"]\n\
         [workspace.keep]\npath = \"D/keep\"\naccess = \"rw\"\noverwrite = false\n\
         [workspace.desk]\npath = \"D/desk\"\naccess = \"rw\"\n",
    );
    ends(&sftp(&account, "ln keep/file desk/k\n"), 1);
    ends(&sftp(&account, "ln desk/x desk/y\nput other desk/z\n"), 0);
    assert!(!account.d("desk/k").exists());
    assert_eq!(account.read("D/keep/file"), "kept");
}

#[test]
fn another_workspace_is_written_by_its_own_rules() {
    for confine in ["required", "off"] {
        let account = granted(
            &[
                ("D/added/bak/f", "there"),
                ("D/kept/part/f", "there"),
                ("D/versioned/bak/f", "there"),
                ("D/desk/f", "there"),
                ("client/src/f", "sent"),
            ],
            &format!(
                "tools = [\"rsync\"]\nconfine = \"{confine}\"\n\
                 [workspace.added]\npath = \"D/added\"\naccess = \"rw\"\noverwrite = false\n\
                 [workspace.kept]\npath = \"D/kept\"\naccess = \"rw\"\ndelete = false\n\
                 [workspace.versioned]\npath = \"D/versioned\"\naccess = \"rw\"\nversions = true\n\
                 [workspace.desk]\npath = \"D/desk\"\naccess = \"rw\"\n"
            ),
        );
        for option in ["--backup-dir=/added/bak", "--partial-dir=/added/bak", "--temp-dir=/added/bak"] {
            refused(&account, &["-ab", option, "src/", "h:desk/"], "access.write");
        }
        refused(&account, &["-a", "-M--log-file=/added/bak/f", "src/", "h:desk/"], "access.write");
        // Nor is what rsync would replace there kept as a version.
        for option in
            ["--backup-dir=/versioned/bak", "--partial-dir=/versioned/bak", "--temp-dir=/versioned/bak"]
        {
            refused(&account, &["-ab", option, "src/", "h:desk/"], "access.rules");
        }
        refused(&account, &["-a", "-M--log-file=/versioned/bak/f", "src/", "h:desk/"], "access.rules");
        for options in [["-a"].as_slice(), &["-a", "--inplace"], &["-a", "--delete"], &["-ab"], &["-an"]] {
            refused(&account, &[options, &["src/", "h:versioned/bak/"]].concat(), "access.rules");
        }
        ends(&rsync(&account, &["-a", "--link-dest=/versioned/bak", "src/", "h:desk/"]), 0);
        ends(&rsync(&account, &["-a", "--partial-dir=/kept/part", "src/", "h:desk/"]), 0);
        assert_eq!(
            ["added/bak/f", "kept/part/f", "versioned/bak/f"].map(|path| account.read(&format!("D/{path}"))),
            ["there", "there", "there"]
        );
        assert_eq!(account.read("D/desk/f"), "sent");
    }
}

/// A workspace with a part that is not exposed, one that is read-only, and one that may only be written.
fn parted(how: &str) -> Account {
    granted(
        &[
            ("D/ws/one", "x"),
            ("D/ws/sub/two", "x"),
            ("D/ws/private/secret", "SECRET"),
            ("D/ws/sub/pri*[v]ate/secret", "SECRET"),
            ("D/ws/final/done", "x"),
            ("D/ws/key", "SECRET"),
        ],
        &format!(
            "tools = [\"rsync\"]\nnamespace = \"{how}\"\nprobes = true\n\
             [workspace.ws]\npath = \"D/ws\"\naccess = \"rw\"\n[workspace.ws.paths]\n\
             private = \"none\"\n\"sub/pri*[v]ate\" = \"none\"\nfinal = \"ro\"\nkey = \"none\"\nabsent = \"none\"\n"
        ),
    )
}

#[test]
fn a_part_that_is_not_exposed_is_not_there() {
    for how in ["auto", "required"] {
        let account = parted(how);
        let everything = ["one", "sub/two", "final/done"];
        for options in [
            ["-a"].as_slice(),
            &["-aR"],
            &["-a", "-s"],
            &["-a", "--exclude=nothing", "-F"],
            &["-a", "--filter=!"],
        ] {
            for (source, below) in
                [("h:ws/", ""), ("h:ws", "ws"), ("h:ws/*", ""), ("h:ws/./", ""), ("h:ws/sub", "")]
            {
                let _ = fs::remove_dir_all(account.root.join("client/got"));
                let output = rsync(&account, &[options, &[source, "got/"]].concat());
                ends(&output, 0);
                let got = picture(&account.root.join("client/got"));
                for hidden in ["private", "pri*", "key", "secret"] {
                    assert!(!got.contains(hidden), "{options:?} {source}: {got}");
                }
                if !source.ends_with("sub") && !options.contains(&"-aR") {
                    for path in everything {
                        let got = account.read(&format!("client/got/{below}/{path}"));
                        assert_eq!(got, "x", "{options:?} {source}");
                    }
                }
            }
        }
        // A client of its own kind can have the gate's filters forgotten, and finds an empty directory.
        for filters in [["!"].as_slice(), &["!", "+ *"], &["+ private/***", "+ key"]] {
            let heard = protocol::listing(
                &account,
                &["--grant", "playground.chef1"],
                "rsync --server --sender -r . ws/",
                filters,
            );
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.contains("two") && heard.contains("final"), "{heard:?}");
            assert!(!heard.contains("secret") && !heard.contains("SECRET"), "{heard:?}");
            assert_eq!(heard.contains("private"), filters[0] == "!", "{heard:?}");
        }
        for path in ["private", "private/secret", "private/nothing", "key", "absent", "sub/pri\\*\\[v\\]ate/"]
        {
            refused(&account, &["-a", &format!("h:ws/{path}"), "got/"], "access.read");
            refused(&account, &["-a", "src/", &format!("h:ws/{path}")], "access.write");
        }
    }
}

#[test]
fn a_push_around_a_part_that_it_may_not_change_leaves_it_as_it_is() {
    let account = parted("auto");
    // What is not there could be made, and not be kept apart.
    refused(&account, &["-a", "src/", "h:ws/"], "path.mixed");
    fs::create_dir(account.d("ws/absent")).unwrap();
    let kept = || {
        ["private", "sub/pri*[v]ate", "final", "key", "absent"]
            .map(|part| picture(&account.d("ws").join(part)))
    };
    let before = kept();
    account.write("client/src/new", "new");
    account.write("client/src/sub/two", "changed");
    ends(&rsync(&account, &["-a", "src/", "h:ws/"]), 0);
    assert_eq!((account.read("D/ws/new"), account.read("D/ws/sub/two")), ("new".into(), "changed".into()));
    ends(&rsync(&account, &["-a", "--delete", "src/", "h:ws/"]), 0);
    assert!(!account.d("ws/one").exists());
    for path in ["private/secret", "private/new", "final/done", "final/new", "key", "absent/new"] {
        account.write(&format!("client/src/{path}"), "forced");
    }
    for options in
        ["-a", "-aI --inplace", "-a --delete --filter=!", "-a --delete-before --force --filter=!", "-ab"]
    {
        let options: Vec<&str> = options.split(' ').collect();
        ends(&rsync(&account, &[&options[..], &["src/", "h:ws/"]].concat()), 23);
        assert_eq!(kept(), before, "{options:?}");
    }
}

#[test]
fn parts_that_only_a_namespace_keeps_apart_need_one() {
    let account = parted("off");
    refused(&account, &["-a", "h:ws/", "got/"], "path.mixed");
    refused(&account, &["-a", "src/", "h:ws/"], "path.mixed");
    ends(&rsync(&account, &["-a", "h:ws/one", "h:ws/final", "got/"]), 0);
}

#[test]
fn a_snapshot_that_may_only_be_read_is_a_basis_and_stays_what_it_is() {
    use std::os::unix::fs::MetadataExt as _;
    for confine in ["required", "off"] {
        for namespace in ["auto", "off"] {
            let files = ["D/snapshots/day1/f", "D/added/day1/f", "D/desk/day1/f", "client/src/f"];
            let account = granted(
                &files.map(|path| (path, "the same content")),
                &format!(
                    "tools = [\"rsync\"]\nconfine = \"{confine}\"\nnamespace = \"{namespace}\"\n\
                     [workspace.snapshots]\npath = \"D/snapshots\"\naccess = \"ro\"\n\
                     [workspace.added]\npath = \"D/added\"\naccess = \"rw\"\noverwrite = false\n\
                     [workspace.desk]\npath = \"D/desk\"\naccess = \"rw\"\n"
                ),
            );
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_400_000_000);
            for path in files {
                let file = fs::File::options().write(true).open(account.root.join(path)).unwrap();
                file.set_modified(long_ago).unwrap();
            }
            let inode = |path: &str| fs::metadata(account.d(path)).unwrap().ino();
            for (option, basis, linked) in [
                ("--link-dest", "snapshots", false),
                ("--link-dest", "added", false),
                ("--link-dest", "desk", true),
                ("--copy-dest", "snapshots", false),
            ] {
                let before = picture(&account.d(basis).join("day1"));
                let to = format!("h:desk/{basis}{option}/");
                let option = format!("{option}=/{basis}/day1");
                let output = rsync(&account, &["-a", "--stats", &option, "src/", &to]);
                ends(&output, 0);
                assert!(said(&output).contains("files transferred: 0"), "{option}: {}", said(&output));
                let copy = format!("{}f", to.strip_prefix("h:").unwrap());
                assert_eq!(account.read(&format!("D/{copy}")), "the same content");
                assert_eq!(
                    inode(&copy) == inode(&format!("{basis}/day1/f")),
                    linked,
                    "{confine} {namespace} {option}"
                );
                if !linked {
                    // A second name would be a way to write it.
                    account.write("client/src2/f", "other content of another length");
                    ends(&rsync(&account, &["-a", "--inplace", "src2/", &to]), 0);
                    assert_eq!(
                        picture(&account.d(basis).join("day1")),
                        before,
                        "{confine} {namespace} {option}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_is_carried_between_what_may_be_read_and_what_may_not() {
    let account = granted(
        &[
            ("D/ws/pub/f", "there"),
            ("D/ws/drop/f", "there"),
            ("D/ws/drop/bak/f", "there"),
            ("D/ws/pub/bak/f", "there"),
            ("client/src/f", "sent"),
        ],
        "tools = [\"rsync\"]\n\
         [workspace.ws]\npath = \"D/ws\"\naccess = \"rw\"\n[workspace.ws.paths]\ndrop = \"wo\"\n",
    );
    let before = picture(&account.d(""));
    for (to, other) in [("pub", "drop"), ("drop", "pub")] {
        for option in ["backup-dir", "partial-dir", "compare-dest", "copy-dest", "link-dest", "temp-dir"] {
            let value = format!("--{option}=/ws/{other}/bak");
            refused(&account, &["-ab", &value, "src/", &format!("h:ws/{to}/")], "path.mixed");
        }
        // Also where it would have to be made first; but what is not there is no basis for anything.
        for option in ["backup-dir", "partial-dir"] {
            let value = format!("--{option}=/ws/{other}/new");
            refused(&account, &["-ab", &value, "src/", &format!("h:ws/{to}/")], "path.mixed");
        }
    }
    assert_eq!(picture(&account.d("")), before);
    for (to, other) in [("pub", "drop"), ("drop", "pub")] {
        for option in ["compare-dest", "copy-dest", "link-dest"] {
            let value = format!("--{option}=/ws/{other}/new");
            ends(&rsync(&account, &["-a", &value, "src/", &format!("h:ws/{to}/{option}/")]), 0);
            assert_eq!(account.read(&format!("D/ws/{to}/{option}/f")), "sent");
        }
    }
}

#[test]
fn a_list_of_files_is_read_where_it_lies_and_only_where_it_may_be() {
    let account = granted(
        &[
            ("D/ws/one", "1"),
            ("D/ws/two", "2"),
            ("D/lists/names", "one\n"),
            ("D/lists/drop/names", "two\n"),
            ("D/unlisted/names", "two\n"),
        ],
        "tools = [\"rsync\"]\n\
         [workspace.ws]\npath = \"D/ws\"\naccess = \"ro\"\n\
         [workspace.lists]\npath = \"D/lists\"\naccess = \"ro\"\n[workspace.lists.paths]\ndrop = \"wo\"\n",
    );
    ends(&rsync(&account, &["-a", "--files-from=:/lists/names", "h:ws/", "got/"]), 0);
    assert_eq!((account.read("client/got/one"), account.read("client/got/two")), ("1".into(), String::new()));
    for (list, rule) in [
        ("/lists/drop/names", "rsync.files-from"),
        ("/lists/drop/missing", "rsync.files-from"),
        ("/unlisted/names", "path.workspace"),
        ("../unlisted/names", "path.dotdot"),
    ] {
        refused(&account, &["-a", &format!("--files-from=:{list}"), "h:ws/", "got/"], rule);
    }
}
