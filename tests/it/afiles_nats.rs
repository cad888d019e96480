//! A copy that follows by NATS, the registry that says where workspaces are, and those who would rather have it say something else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use akeys::awatch::daemon::status::Doing;
use akeys::awatch::nats::client::Client;
use akeys::awatch::nats::registry::{self, Entry};
use akeys::awatch::nats::subject;
use akeys::event::Cursor;

use crate::afiles_follow::{arrived, same};
use crate::support::{NatsServer, Outcome, Pod, Sandbox, Talk, our_program};

fn private(path: std::path::PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A pod that knows the server.
fn pod<'s>(sandbox: &'s Sandbox, server: &NatsServer) -> Pod<'s> {
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    private(pod.path(".config/akeys/afiles.toml"), &format!("[nats]\nurl = \"{}\"\n", server.url()));
    pod
}

/// A daemon that publishes papers, once it has announced it.
#[track_caller]
fn watch(sandbox: &Sandbox, server: &NatsServer) -> Talk {
    let config = format!(
        "[nats]\nurl = \"{}\"\nhost-keys = [\"~/host.pub\"]\n[workspace.papers]\npath = \"~/papers\"\nproject = \"thesis\"\n",
        server.url()
    );
    private(sandbox.home().join(".config/akeys/watch.toml"), &config);
    let mut command = Command::new(our_program("awatch"));
    command.arg("run").env_clear().env("HOME", sandbox.home()).current_dir(sandbox.home());
    let talk = Talk::start(&mut command);
    announced(server, 1);
    talk
}

/// What is announced, once it is so much.
#[track_caller]
fn announced(server: &NatsServer, count: usize) -> Vec<Entry> {
    let mut client = server.client();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let entries = registry::all(&mut client).unwrap();
        if entries.len() == count && entries.iter().all(|entry| entry.doing == Doing::Watching) {
            return entries;
        }
        assert!(Instant::now() < until, "{entries:?}");
    }
}

fn send(client: &mut Client, to: &str, content: &[u8]) {
    client.publish(to, None, &[], content).unwrap();
    client.request("what was sent before", "$JS.API.INFO", b"").unwrap();
}

#[test]
fn a_copy_follows_by_nats_and_goes_on_where_it_was() {
    let (sandbox, mut server) = (Sandbox::new(), NatsServer::start());
    sandbox.write("papers/draft", "one");
    sandbox.write("papers/dir/file", "file");
    let pod = pod(&sandbox, &server);
    let _daemon = watch(&sandbox, &server);
    let words = ["papers:", "copy", "--events", "nats"];
    let mut following = pod.follow(&words);
    following.in_sync();
    same(&pod, &sandbox);

    sandbox.write("papers/draft", "two");
    arrived(&mut following, "draft");
    fs::rename(sandbox.home().join("papers/dir"), sandbox.home().join("papers/moved")).unwrap();
    following.until(|kind, what| kind == "removed" && what == "dir");
    fs::remove_file(sandbox.home().join("papers/moved/file")).unwrap();
    following.until(|kind, what| kind == "removed" && what == "moved/file");
    same(&pod, &sandbox);

    // The server goes and comes back; what happened meanwhile arrives.
    server.kill();
    sandbox.write("papers/meanwhile", "x");
    server.again();
    arrived(&mut following, "meanwhile");
    same(&pod, &sandbox);
    following.kill();

    // What happened while nobody followed arrives, and nothing is compared for it.
    sandbox.write("papers/later", "x");
    fs::remove_file(sandbox.home().join("papers/draft")).unwrap();
    let mut following = pod.follow(&words);
    let told = following.until(|kind, what| kind == "removed" && what == "draft");
    assert!(!told.iter().any(|(kind, what)| kind == "state" && what == "comparing"), "{told:?}");
    same(&pod, &sandbox);
}

#[test]
fn what_strangers_send_removes_nothing_and_writes_nothing_elsewhere() {
    let (sandbox, server) = (Sandbox::new(), NatsServer::start());
    sandbox.write("papers/draft", "mine");
    sandbox.write("papers/dir/file", "file");
    let pod = pod(&sandbox, &server);
    let _daemon = watch(&sandbox, &server);
    let mut following = pod.follow(&["papers:", "copy", "--events", "nats"]);
    following.in_sync();
    private(pod.path("outside"), "untouched");

    let mut client = server.client();
    let entry = announced(&server, 1).remove(0);
    let (author, cursor) = (entry.author.clone(), entry.cursor.unwrap());
    let event = |number: u64, rest: &str| {
        let cursor = Cursor { sequence: cursor.sequence + number, ..cursor };
        format!(
            r#"{{"type":"event","cursor":"{cursor}","uuid":"{}","time":"2026-01-01T00:00:00Z","author":"{author}","workspace":"papers",{rest}}}"#,
            "00000000-0000-0000-0000-000000000000"
        )
    };
    let subject = subject::events(&entry.identity()).replace('>', "path.x");
    for content in [
        event(1, r#""reason":"removed","path":"draft","kind":"file""#),
        event(2, r#""reason":"removed","path":"dir","kind":"directory""#),
        event(3, r#""reason":"renamed","path":"gone","from":"draft","kind":"file""#),
        event(4, r#""reason":"renamed","path":"away","from":"dir","kind":"directory""#),
        event(5, r#""reason":"attributes","path":"draft","kind":"file","mode":0"#),
        event(6, r#""reason":"created","path":"invented","kind":"directory","mode":511"#),
        event(7, r#""reason":"created","path":"../outside","kind":"file""#),
        event(7, r#""reason":"removed","path":"../outside","kind":"file""#),
        event(u64::MAX - cursor.sequence, r#""reason":"created","path":"x","kind":"file""#),
        "not json".to_owned(),
        format!("{}1", "[".repeat(100_000)),
    ] {
        send(&mut client, &subject, content.as_bytes());
    }
    // What really happens still arrives.
    sandbox.write("papers/real", "real");
    arrived(&mut following, "real");
    same(&pod, &sandbox);
    assert_eq!(fs::read_to_string(pod.path("outside")).unwrap(), "untouched");
    assert!(!pod.path("copy/invented").exists() && pod.path("copy/draft").exists());
}

/// What is said by a program that does not do what it was asked to.
#[track_caller]
fn refusal(outcome: &Outcome) -> String {
    assert!(!outcome.status.success(), "{outcome}");
    outcome.stderr_text()
}

/// An announcement by whoever.
fn entry(workspace: &str, user: &str, host: &str, key: &str) -> Entry {
    Entry {
        workspace: workspace.parse().unwrap(),
        project: Some("thesis".parse().unwrap()),
        author: format!("{user}@{host}"),
        user: user.parse().unwrap(),
        host: host.parse().unwrap(),
        port: None,
        host_keys: [key.parse().unwrap()].into(),
        time: jiff::Timestamp::now(),
        doing: Doing::Watching,
        cursor: None,
    }
}

#[test]
fn the_registry_finds_what_the_card_does_not_name_and_leads_nowhere_else() {
    const STRANGE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";
    let (sandbox, server) = (Sandbox::new(), NatsServer::start());
    sandbox.write("papers/draft", "mine");
    let pod = pod(&sandbox, &server);
    let known = fs::read_to_string(sandbox.home().join("host.pub")).unwrap();
    let known = known.trim_end();
    let card = fs::read_to_string(sandbox.home().join(".config/akeys/issued/lab.chef.toml")).unwrap();
    let said = |name: &str| {
        let line = card.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (user, host) = (said("user = "), said("host = "));
    let mut client = server.client();
    registry::ensure(&mut client).unwrap();
    let announce = |client: &mut Client, entry: &Entry, gone: bool| {
        send(client, &subject::announcement(&entry.identity()), &entry.message(gone));
    };
    let ls = |word: &str| pod.afiles(&["ls", word]);
    let refused = |word: &str| refusal(&ls(word));

    assert!(refused("notes:").contains("no account that this pod knows has notes:"));
    // By its keys, whatever it calls itself; and its gate is asked.
    announce(&mut client, &entry("notes", &user, "elsewhere", known), false);
    for word in ["notes:".to_owned(), "thesis/notes:".to_owned(), format!("{user}@{host}/notes:")] {
        let said = refused(&word);
        assert!(!said.contains("no account"), "{word}: {said}");
    }
    announce(&mut client, &entry("notes", &user, "elsewhere", known), true);
    assert!(refused("notes:").contains("no account"));

    // A stranger leads nobody anywhere, and is not in the way of a card.
    announce(&mut client, &entry("secret", "mallory", "evil.example", STRANGE), false);
    let said = refused("secret:");
    assert!(said.contains("announced by mallory@evil.example, which this pod has no card of"), "{said}");
    announce(&mut client, &entry("papers", "mallory", "evil.example", STRANGE), false);
    assert!(ls("papers:").succeeds().stdout_text().contains("draft"));

    // A host with another key is a conflict, with both fingerprints.
    announce(&mut client, &entry("papers", &user, &host, STRANGE), false);
    let said = refused("papers:");
    assert!(said.contains("another host key") && said.matches("SHA256:").count() == 2, "{said}");
    announce(&mut client, &entry("papers", &user, &host, STRANGE), true);

    // Two accounts that this pod knows.
    let other =
        card.replacen(&format!("user = \"{user}\""), "user = \"second\"", 1).replace("papers", "data");
    private(pod.path(format!(".config/akeys/cards/lab/second@{host}.toml")), &other);
    announce(&mut client, &entry("papers", "second", &host, known), false);
    let said = refused("papers:");
    assert!(said.contains("papers: has 2 owners"), "{said}");
    assert!(ls(&format!("{user}@{host}/papers:")).succeeds().stdout_text().contains("draft"));
}

#[test]
fn without_the_server_the_cards_are_enough() {
    let (sandbox, server) = (Sandbox::new(), NatsServer::later());
    sandbox.write("papers/draft", "mine");
    let pod = pod(&sandbox, &server);
    assert!(pod.afiles(&["ls", "papers:"]).succeeds().stdout_text().contains("draft"));
    let said = refusal(&pod.afiles(&["ls", "notes:"]));
    assert!(said.contains("the registry on nats://127.0.0.1:"), "{said}");
}
