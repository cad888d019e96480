//! Named workspaces, sub-paths with another access, and every way not to have a grant.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{picture, said};
use crate::{account, ends, grant, refused, rsync};

#[test]
fn a_workspace_is_pulled_by_name() {
    let account = account();
    ends(&rsync(&account, &["-a", "h:papers/", "got/"]), 0);
    assert_eq!(
        picture(&account.d("papers")).lines().count(),
        picture(&account.root.join("client/got")).lines().count()
    );
    ends(
        &rsync(
            &account,
            &["-a", "h:/papers/fig/two", "h:~/papers/one", "some/"]
                .map(|a| a.replace("h:~", ":~"))
                .each_ref()
                .map(String::as_str),
        ),
        0,
    );
    assert_eq!(account.read("client/some/two"), "2");
    // The name alone is the directory of that name.
    ends(&rsync(&account, &["-a", "h:papers", ":notes", "whole/"]), 0);
    assert_eq!(account.read("client/whole/papers/one") + &account.read("client/whole/notes/n"), "1n");
    ends(&rsync(&account, &["-aR", "h:papers/fig/two", ":notes/n", "relative/"]), 0);
    assert_eq!(
        account.read("client/relative/papers/fig/two") + &account.read("client/relative/notes/n"),
        "2n"
    );
    ends(&rsync(&account, &["-aR", "h:papers/./fig/two", "dotted/"]), 0);
    assert_eq!(account.read("client/dotted/fig/two"), "2");
    // From two workspaces at once.
    ends(&rsync(&account, &["-a", "h:papers/one", ":notes/n", "both/"]), 0);
    assert_eq!(account.read("client/both/one") + &account.read("client/both/n"), "1n");
    ends(&rsync(&account, &["-a", "h:papers/fi*/t*", ":notes/?", "globbed/"]), 0);
    assert_eq!(account.read("client/globbed/two") + &account.read("client/globbed/n"), "2n");
}

#[test]
fn a_workspace_under_another_name_is_pulled_with_a_slash() {
    let account = account();
    grant(&account, "tools = [\"rsync\"]\n[workspace.articles]\npath = \"D/papers\"\naccess = \"ro\"\n");
    ends(&rsync(&account, &["-a", "h:articles/", "got/"]), 0);
    assert_eq!(account.read("client/got/one"), "1");
    ends(&rsync(&account, &["-aR", "h:articles/./fig/two", "dotted/"]), 0);
    assert_eq!(account.read("client/dotted/fig/two"), "2");
    refused(&account, &["-a", "h:articles", "got/"], "path.alias");
    refused(&account, &["-aR", "h:articles/fig", "got/"], "path.alias");
}

#[test]
fn a_host_without_a_path_lists_the_names() {
    let account = account();
    let output = rsync(&account, &["h:"]);
    ends(&output, 0);
    let text = said(&output);
    let named = ["papers", "notes", "inbox"].iter().all(|name| text.lines().any(|line| line.ends_with(name)));
    assert!(named && !text.contains("secret"), "{text}");
    refused(&account, &["-a", "h:", "got/"], "path.workspace");
    refused(&account, &["-a", "h:nothing/x", "got/"], "path.workspace");
}

#[test]
fn what_may_be_written_is_written_and_nothing_else() {
    let account = account();
    ends(&rsync(&account, &["-a", "--delete", "src/", "h:papers/build/"]), 0);
    assert_eq!(account.read("D/papers/build/new"), "new");
    assert!(!account.d("papers/build/old").exists());
    ends(&rsync(&account, &["-a", "src/", "h:papers/build/deeper/"]), 0);
    refused(&account, &["-a", "src/", "h:papers/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/fig/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/builder/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/build/../"], "path.dotdot");
    refused(&account, &["-a", "src/", "h:papers-secret/"], "path.workspace");
    refused(&account, &["-a", "h:papers-secret/", "got/"], "path.workspace");
    refused(&account, &["-a", "h:papers/../papers-secret/", "got/"], "path.dotdot");
    refused(&account, &["-a", "--backup-dir=/papers/fig", "-b", "src/", "h:papers/build/"], "access.write");
    refused(&account, &["-a", "--backup-dir=/papers/..", "-b", "src/", "h:papers/build/"], "path.dotdot");
    ends(&rsync(&account, &["-a", "--link-dest=/papers/fig", "src/", "h:papers/build/linked/"]), 0);
}

#[test]
fn the_kernel_writes_nothing_outside_the_writable_sub_path() {
    let account = account();
    symlink("../one", account.d("papers/build/up")).unwrap();
    symlink("../fig", account.d("papers/build/dir")).unwrap();
    account.write("client/src/up", "replaced");
    let before = (account.read("D/papers/one"), picture(&account.d("papers/fig")));
    // rsync replaces the link; through it, nothing can be written.
    ends(&rsync(&account, &["-a", "src/up", "h:papers/build/up"]), 0);
    refused(&account, &["-a", "src/new", "h:papers/build/dir/"], "access.write");
    assert_eq!(before, (account.read("D/papers/one"), picture(&account.d("papers/fig"))));
}

#[test]
fn a_directory_with_a_part_that_may_not_be_written_is_a_destination_but_for_that() {
    let account = account();
    // What is not there could be made, and cannot be kept apart.
    refused(&account, &["-a", "src/", "h:notes/"], "path.mixed");
    fs::create_dir(account.d("notes/locked")).unwrap();
    ends(&rsync(&account, &["-a", "src/", "h:notes/"]), 0);
    assert_eq!(account.read("D/notes/new"), "new");
    refused(&account, &["-a", "src/", "h:notes/locked/"], "access.write");
    fs::create_dir(account.d("notes/open")).unwrap();
    ends(&rsync(&account, &["-a", "src/", "h:notes/open/"]), 0);
    refused(&account, &["-a", "--delete", "src/", "h:notes/open/"], "rsync.option");
}

#[test]
fn a_drop_takes_what_is_new_and_gives_nothing() {
    let account = account();
    ends(&rsync(&account, &["-a", "src/", "h:inbox/"]), 0);
    account.write("client/src/there", "replaced");
    ends(&rsync(&account, &["-a", "src/", "h:inbox/"]), 0);
    assert_eq!(account.read("D/inbox/there"), "x");
    refused(&account, &["-a", "h:inbox/there", "got/"], "access.read");
    refused(&account, &["--list-only", "h:inbox/"], "access.read");
    refused(&account, &["-a", "-B700", "src/", "h:inbox/"], "rsync.option");
}

#[test]
fn a_grant_that_others_could_write_is_no_grant() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let directory = file.parent().unwrap();
    let pull = ["-a", "h:papers/one", "got/"];
    for (path, mode, good) in
        [(file.as_path(), 0o666, 0o600), (file.as_path(), 0o620, 0o600), (directory, 0o777, 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&account, &pull, "grant.invalid");
        fs::set_permissions(path, fs::Permissions::from_mode(good)).unwrap();
    }
    let elsewhere = account.root.join("client/grant.toml");
    fs::rename(&file, &elsewhere).unwrap();
    refused(&account, &pull, "grant.missing");
    symlink(&elsewhere, &file).unwrap();
    refused(&account, &pull, "grant.invalid");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    refused(&account, &pull, "grant.invalid");
    fs::remove_file(&file).unwrap();
    let good = fs::read_to_string(&elsewhere).unwrap();
    for (from, to, rule) in [
        ("pod = ", "colour = \"red\"\npod = ", "grant.invalid"),
        ("\"ro\"", "\"read\"", "grant.invalid"),
        ("tools = [\"rsync\"]", "tools = [\"rsync\"]\nexpires = 2020-01-01T00:00:00Z", "grant.expired"),
        ("tools = [\"rsync\"]", "tools = [\"sftp\"]", "tool.rsync"),
        ("/papers\"", "/gone\"", "workspace.missing"),
    ] {
        account.grant("playground.chef1", &good.replacen(from, to, 1));
        refused(&account, &pull, rule);
    }
    account.grant("playground.chef1", &good);
    ends(&rsync(&account, &pull), 0);
}

#[test]
fn a_workspace_that_has_gone_takes_nothing_from_the_others() {
    let account = account();
    fs::rename(account.d("notes"), account.d("elsewhere")).unwrap();
    ends(&rsync(&account, &["-a", "h:papers/one", "got/"]), 0);
    assert!(
        account.audit().pop().unwrap()["warnings"][0]
            .as_str()
            .unwrap()
            .contains("workspace notes is left out")
    );
    refused(&account, &["-a", "h:notes/n", "got/"], "workspace.missing");
}

#[test]
fn a_workspace_that_hands_over_the_account_is_refused_at_every_session() {
    let account = account();
    let home = account.root.join("home");
    fs::create_dir_all(home.join("dotfiles")).unwrap();
    for path in ["~", "~/.ssh", "~/.config", "~/.local", "~/.."] {
        let path = if path == "~/.." { account.root.display().to_string() } else { path.to_owned() };
        fs::create_dir_all(home.join(".ssh")).unwrap();
        grant(
            &account,
            &format!("tools = [\"rsync\"]\n[workspace.papers]\npath = \"{path}\"\naccess = \"ro\"\n"),
        );
        refused(&account, &["-a", "h:papers/", "got/"], "workspace.exposure");
    }
    grant(&account, "tools = [\"rsync\"]\n[workspace.papers]\npath = \"~/dotfiles\"\naccess = \"rw\"\n");
    ends(&rsync(&account, &["-a", "src/", "h:papers/"]), 0);
    symlink("dotfiles/bashrc", home.join(".bashrc")).unwrap();
    refused(&account, &["-a", "src/", "h:papers/"], "workspace.exposure");
}

#[test]
fn a_session_that_cannot_be_recorded_is_refused() {
    let account = account();
    let state = account.root.join("home/.local/state");
    fs::create_dir_all(&state).unwrap();
    account.write("home/.local/state/akeys", "a file where the directory belongs");
    if std::path::Path::new("/dev/log").exists() {
        // syslog takes the record instead.
        return;
    }
    let output = rsync(&account, &["-a", "h:papers/one", "got/"]);
    ends(&output, 12);
    assert!(said(&output).contains("cannot be recorded"), "{}", said(&output));
}
