//! What rrsync breaks or gives up: names, patterns, bases, charsets, lists of files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::ends;
use crate::support::{self, Account, said};

#[test]
fn one_file_is_updated_by_name_again_and_again() {
    let account = Account::new();
    for content in ["one", "two and more", "three"] {
        account.write("client/f", content);
        ends(&account.rsync("", &["-a", "-I", "f", "h:target"]), 0);
        assert_eq!(account.read("D/target"), content);
        ends(&account.rsync("", &["-ab", "-I", "f", "h:target"]), 0);
    }
}

#[test]
fn a_missing_source_is_reported_and_the_others_come() {
    let account = Account::new();
    account.write("D/here", "x");
    let output = account.rsync("-ro", &["-a", "h:here", ":missing", "got/"]);
    ends(&output, 23);
    assert_eq!(account.read("client/got/here"), "x");
    ends(&account.rsync("-ro", &["-a", "--ignore-missing-args", "h:here", ":missing", "got/"]), 0);
    ends(&account.rsync("-ro", &["-a", "h:missing/deep/er", "got/"]), 23);
}

#[test]
fn a_name_of_any_bytes_can_be_named() {
    let account = Account::new();
    let names: [&[u8]; 8] = [
        "nb\u{a0}sp".as_bytes(),
        "id\u{3000}sp".as_bytes(),
        b"new\nline",
        b"a*b",
        b"x[1]y",
        b"latin1-\xe9",
        b"back\\slash",
        b"br{a,b}c",
    ];
    account.write("D/aXb", "not asked for");
    account.write("D/x1y", "not asked for");
    for options in [["-a"].as_slice(), &["-a", "-s"]] {
        let _ = fs::remove_dir_all(account.root.join("client"));
        fs::create_dir_all(account.root.join("client")).unwrap();
        for name in names {
            let name = OsStr::from_bytes(name);
            fs::write(account.d("").join(name), name.as_bytes()).unwrap();
            // A wildcard is the user's request unless it is escaped, as for a remote shell.
            let mut typed = b"h:".to_vec();
            for byte in name.as_bytes() {
                if b"*?[]".contains(byte) {
                    typed.push(b'\\');
                }
                typed.push(*byte);
            }
            let shell = account.shell(&format!("-ro '{}'", account.d("").display()));
            let mut command = std::process::Command::new(support::client());
            command.args(options).arg("-e").arg(&shell).arg(OsStr::from_bytes(&typed)).arg("got/");
            command.current_dir(account.root.join("client")).env("LC_ALL", "C.UTF-8");
            let output = command.output().unwrap();
            ends(&output, 0);
            assert_eq!(
                fs::read(account.root.join("client/got").join(name)).unwrap(),
                name.as_bytes(),
                "{options:?}"
            );
        }
        assert!(!account.root.join("client/got/aXb").exists());
        assert!(!account.root.join("client/got/x1y").exists());
    }
}

#[test]
fn a_link_that_leads_outside_is_pulled_as_a_link() {
    let account = Account::new();
    symlink("../outside/secret", account.d("escape")).unwrap();
    symlink("../outside/dir", account.d("escape-dir")).unwrap();
    account.write("D/plain/f", "x");
    ends(&account.rsync("-ro", &["-a", "h:escape", "got/"]), 0);
    assert_eq!(
        fs::read_link(account.root.join("client/got/escape")).unwrap().to_str(),
        Some("../outside/secret")
    );
    ends(&account.rsync("-ro", &["-a", "h:*", "all/"]), 0);
    assert!(account.root.join("client/all/escape-dir").is_symlink());
    // With a slash it would be followed; a pattern passes over it, a name is refused.
    ends(&account.rsync("-ro", &["-a", "h:*/", "dirs/"]), 0);
    assert!(!account.root.join("client/dirs/loot").exists());
    ends(&account.rsync("-ro", &["-a", "h:escape-dir/", "dirs/"]), 12);
    // What copy-links would follow, it may not.
    ends(&account.rsync("-ro", &["-aL", "h:escape", "got/"]), 12);
}

#[test]
fn five_thousand_directories_match_one_pattern() {
    let account = Account::new();
    for number in 0..5000 {
        fs::create_dir(account.d(&format!("d{number}"))).unwrap();
    }
    account.write("D/d4999/f", "x");
    ends(&account.rsync("-ro", &["-r", "h:*/", "got/"]), 0);
    assert_eq!(account.read("client/got/f"), "x");
}

#[test]
fn a_directory_with_a_pattern_for_a_name_is_itself() {
    let account = Account::new();
    account.write("D/data[1]/f", "right");
    account.write("D/data1/f", "wrong");
    let shell = account.shell(&format!("-ro '{}'", account.d("data[1]").display()));
    ends(&account.rsync_with(&shell, &["-a", "h:/f", "h:f*", "got/"]), 0);
    assert_eq!(account.read("client/got/f"), "right");
}

#[test]
fn a_basis_beside_the_destination_is_found() {
    let account = Account::new();
    account.write("client/src/f", "content");
    ends(&account.rsync("", &["-a", "src/", "h:one/"]), 0);
    for (basis, to) in [("../one", "two"), ("/one", "three"), ("../../one", "sub/four")] {
        fs::create_dir_all(account.d("sub")).unwrap();
        ends(&account.rsync("", &["-a", &format!("--link-dest={basis}"), "src/", &format!("h:{to}/")]), 0);
        let same = |path: &str| {
            use std::os::unix::fs::MetadataExt as _;
            fs::metadata(account.d(path)).unwrap().ino()
        };
        assert_eq!(same("one/f"), same(&format!("{to}/f")), "{basis}");
    }
    let absolute = format!("--link-dest={}", account.d("one").display());
    ends(&account.rsync("-absolute", &["-a", &absolute, "src/", "h:five/"]), 0);
    ends(&account.rsync("", &["-a", "--link-dest=../../outside", "src/", "h:six/"]), 12);
}

#[test]
fn a_new_name_behind_a_link_that_stays_inside_is_made() {
    let account = Account::new();
    account.write("client/src/f", "content");
    fs::create_dir(account.d("sub")).unwrap();
    symlink(account.d("sub"), account.d("absolute")).unwrap();
    symlink("../D/sub", account.d("out-and-back")).unwrap();
    ends(&account.rsync("", &["-a", "src/f", "h:absolute/new"]), 0);
    ends(&account.rsync("", &["-a", "src/", "h:out-and-back/dir/"]), 0);
    assert_eq!(account.read("D/sub/new") + &account.read("D/sub/dir/f"), "contentcontent");
    symlink("../outside/nothing", account.d("away")).unwrap();
    ends(&account.rsync("", &["-a", "src/f", "h:away"]), 12);
    ends(&account.rsync("", &["-a", "src/f", "h:away/new"]), 12);
}

#[test]
fn explain_shows_the_directory_that_a_push_makes_and_enters() {
    let account = Account::new();
    let directory = account.d("").display().to_string();
    let command = "rsync --server -logDtpre.iLsfxCIvu . new/";
    let output = account.gate(&["--explain", "--json", &directory, "--", command], "", b"");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["cwd"], account.d("new").display().to_string());
    assert!(!account.d("new").exists());
}

#[test]
fn a_temporary_directory_is_found_where_rsync_looks_and_where_rrsync_did() {
    let account = Account::new();
    account.write("client/src/f", "content");
    for directory in ["scratch", "in"] {
        fs::create_dir(account.d(directory)).unwrap();
    }
    ends(&account.rsync("", &["-a", "--temp-dir=scratch", "src/", "h:in/"]), 0);
    assert_eq!(account.audit()[0]["argv"][3], format!("--temp-dir={}", account.d("scratch").display()));
    fs::create_dir(account.d("in/scratch")).unwrap();
    ends(&account.rsync("", &["-aI", "--temp-dir=scratch", "src/", "h:in/"]), 0);
    assert_eq!(account.audit()[1]["argv"][3], format!("--temp-dir={}", account.d("in/scratch").display()));
    ends(&account.rsync("", &["-aI", "--temp-dir=nowhere", "src/", "h:in/"]), 12);
}

#[test]
fn an_empty_alternative_names_nothing() {
    let account = Account::new();
    account.write("D/f", "wanted");
    account.write("D/other", "not asked for");
    // The options of clients before 3.2.4: what the user typed reaches the server as it is.
    ends(&account.rsync("-ro", &["-a", "--old-args", "h:{,f}", "got/"]), 0);
    assert_eq!(
        (account.read("client/got/f"), account.read("client/got/other")),
        ("wanted".into(), String::new())
    );
}

#[test]
fn names_are_converted_from_any_charset_that_the_server_has() {
    let account = Account::new();
    for charset in ["latin1", "iso-8859-15", "cp1252"] {
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        fs::write(account.d("").join(name), "x").unwrap();
        let to = format!("{charset}/");
        let iconv = format!("--iconv=utf-8,{charset}");
        ends(&account.rsync("-ro", &["-a", &iconv, "h:", &to]), 0);
        assert_eq!(account.read(&format!("client/{charset}/caf\u{e9}")), "x");
        ends(&account.rsync("", &["-a", &iconv, &to, &format!("h:{to}")]), 0);
        assert!(account.d(&to).join(name).exists(), "{charset}");
    }
}

#[test]
fn with_s_the_names_that_are_asked_for_are_converted_as_rsync_converts_them() {
    let account = Account::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(account.d("").join(name), "latin1").unwrap();
    account.write("D/caf\u{e9}", "utf-8");
    account.write("client/src/f", "sent");
    account.write("client/names", "caf\u{e9}\n");
    for (charset, content) in
        [("latin1", "latin1"), ("ISO-8859-1", "latin1"), ("utf-8", "utf-8"), (".", "utf-8")]
    {
        let iconv = format!("--iconv=utf-8,{charset}");
        let listed = ["-as", "--files-from=names", "h:"];
        for source in [["-as", "h:caf\u{e9}"].as_slice(), &listed, &["-a", "--files-from=names", "h:"]] {
            // What stands in a list is converted by rsync, and without -s by nobody.
            let converts = content == "utf-8" || source[1] == "h:caf\u{e9}";
            let output = account.rsync("-ro", &[&[iconv.as_str()], source, &["got/"]].concat());
            ends(
                &output,
                if converts {
                    0
                } else if source == listed {
                    12
                } else {
                    4
                },
            );
            if converts {
                assert_eq!(account.read("client/got/caf\u{e9}"), content, "{charset} {source:?}");
                fs::remove_file(account.root.join("client/got/caf\u{e9}")).unwrap();
            }
        }
        let to = if content == "latin1" {
            account.d("").join(std::ffi::OsStr::from_bytes(b"n\xe9"))
        } else {
            account.d("n\u{e9}")
        };
        ends(&account.rsync("", &["-as", &iconv, "src/f", "h:n\u{e9}/"]), 0);
        assert_eq!(fs::read(to.join("f")).unwrap(), b"sent", "{charset}");
    }
    let cannot = account.rsync("-ro", &["-as", "--iconv=utf-8,cp1252", "h:caf\u{e9}", "got/"]);
    ends(&cannot, 12);
    assert!(said(&cannot).contains("leave -s out"), "{}", said(&cannot));
    ends(&account.rsync("-ro", &["-as", "--iconv=utf-8,latin1", "h:\u{20ac}", "got/"]), 12);
    ends(&account.rsync("-ro", &["-as", "--iconv=utf-8,cp1252", "h:client", "got/"]), 23);
}

#[test]
fn a_list_of_files_tells_nothing_of_what_is_behind_a_link_that_leads_outside() {
    let account = Account::new();
    account.write("D/in.txt", "inside");
    symlink("../outside", account.d("esc")).unwrap();
    account.write("client/names", "esc/secret\n../outside/secret\nesc/dir/loot\nin.txt\n");
    let confines = support::features().confine_root;
    // SECURITY.md says what an rsync tells that does not confine itself.
    for flags in ["-ro -namespace required", if confines { "-ro" } else { "-namespace required" }] {
        for options in ["--list-only", "--no-implied-dirs", "-n"] {
            let output = account.rsync(flags, &["-ai", options, "--files-from=names", "h:", "got/"]);
            ends(&output, 23);
            // What is there is told on standard output, what is not on the other.
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!told.contains("secret") && !told.contains("loot"), "{flags} {options}: {told}");
        }
    }
    account.rsync("-ro", &["-a", "--files-from=names", "h:", "got/"]);
    assert_eq!(
        (account.read("client/got/in.txt"), account.read("client/got/esc/secret")),
        ("inside".into(), String::new())
    );
}

#[test]
fn what_is_known_about_an_rsync_holds_for_that_file_and_comes_from_nobody_else() {
    let account = Account::new();
    let rsync = account.root.join("rsync");
    fs::copy(rrsync_rs::rsync::program::usual().unwrap(), &rsync).unwrap();
    let command = "rsync --server -logDtpre.iLsfxCIvu . new/";
    let confines = || {
        let flags = ["-rsync", rsync.to_str().unwrap(), "--explain", "-namespace", "off"];
        let directory = account.d("");
        let flags = [flags.as_slice(), &[directory.to_str().unwrap(), "--", command]].concat();
        let answer = account.gate(&flags, "", b"");
        String::from_utf8_lossy(&answer.stdout).contains("--confine-root=")
    };
    let really = support::features().confine_root;
    assert_eq!(confines(), really);
    let known = account.root.join("home/.local/state/akeys/rsync.json");
    let text = fs::read_to_string(&known).unwrap();
    let other = text.replace(&format!("\"confine_root\":{really}"), &format!("\"confine_root\":{}", !really));
    assert_ne!(text, other);
    fs::write(&known, &other).unwrap();
    // It is not asked again.
    assert_eq!(confines(), !really);
    // But where anybody could have written that; and when it is another file.
    fs::set_permissions(&known, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(confines(), really);
    fs::write(&known, &other).unwrap();
    fs::set_permissions(&known, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&rsync, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(confines(), really);
}

#[test]
fn a_read_only_directory_with_a_writable_one_takes_a_missing_basis() {
    let account = Account::new();
    account.write("client/src/f", "content");
    fs::create_dir(account.d("w")).unwrap();
    fs::set_permissions(account.d(""), fs::Permissions::from_mode(0o555)).unwrap();
    let output = account.rsync("", &["-a", "--link-dest=/missing", "src/", "h:w/"]);
    fs::set_permissions(account.d(""), fs::Permissions::from_mode(0o755)).unwrap();
    ends(&output, 0);
    assert_eq!(account.read("D/w/f"), "content");
}

#[test]
fn what_has_been_pulled_is_removed_for_who_asks_and_may() {
    for (flags, code, stays) in [("", 0, false), ("-no-del", 12, true), ("-ro", 12, true)] {
        let account = Account::new();
        account.write("D/f", "x");
        account.write("D/other", "x");
        ends(&account.rsync(flags, &["-a", "--remove-source-files", "h:f", "got/"]), code);
        assert_eq!((account.d("f").exists(), account.d("other").exists()), (stays, true), "{flags}");
    }
}
