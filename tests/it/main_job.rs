//! The whole chain with the real programs: a federation, an installed key, sshd, the gate, rsync, the audit file.

use std::fs;

use serde_json::Value;

use crate::support::{Client, Key, Run, Sandbox, SftpServer};

/// A sandbox whose owner has two directories and has imported the federation `playground` of pod `chef1`.
fn before_installation(sftp: SftpServer) -> (Sandbox, Key) {
    let sandbox = Sandbox::with_sftp(sftp);
    let pod = sandbox.client_home();
    sandbox.akeys_in(&pod, &["federation", "new", "playground", "--pod", "chef1"]).succeeds();
    let bundle = sandbox.akeys_in(&pod, &["federation", "export", "playground"]).succeeds().stdout;
    sandbox.write("bundle.toml", bundle);
    sandbox.akeys(&["federation", "import", "bundle.toml"]).succeeds();
    sandbox.write("papers/draft", "draft\n");
    sandbox.write("papers/build/log", "log\n");
    sandbox.write("papers-secret/diary", "secret\n");
    let key = Sandbox::key_at(pod.join(".ssh/akeys/playground.chef1"));
    (sandbox, key)
}

/// The same after `akeys install`: papers read-only, papers/build writable.
fn installed(extra: &[&str]) -> (Sandbox, Key) {
    let (sandbox, key) = before_installation(SftpServer::Internal);
    let mut args = vec!["install", "--federation", "playground"];
    args.extend(["--workspace", "papers:papers", "--writable", "papers/build"]);
    args.extend(extra);
    sandbox.akeys(&args).succeeds();
    (sandbox, key)
}

/// Verdict and rule of every record so far.
fn verdicts(sandbox: &Sandbox) -> Vec<(String, String)> {
    let text = |record: &Value, field: &str| record[field].as_str().unwrap().to_owned();
    sandbox.audit().iter().map(|record| (text(record, "verdict"), text(record, "rule"))).collect()
}

fn pull(client: &Client<'_>) {
    client.rsync(&["-a", "host:papers/", "copy/"]).succeeds();
}

#[test]
fn a_pod_gets_one_directory_and_nothing_else() {
    let (sandbox, key) = installed(&[]);
    let client = sandbox.client(&key).hold();
    let copy = sandbox.client_home().join("copy");

    pull(&client);
    assert_eq!(fs::read(copy.join("draft")).unwrap(), b"draft\n");
    assert_eq!(fs::read(copy.join("build/log")).unwrap(), b"log\n");
    let again = client.rsync(&["-ai", "host:papers/", "copy/"]).succeeds();
    assert!(again.stdout.is_empty(), "{again}");

    fs::write(copy.join("pdf"), "pdf\n").unwrap();
    client.rsync(&["-a", "copy/pdf", "host:papers/build/"]).succeeds();
    assert_eq!(fs::read(sandbox.home().join("papers/build/pdf")).unwrap(), b"pdf\n");

    client.ssh_with(&["-T"], &[] as &[&str], &Run::default()).fails_with(1).says("rrsync-rs: ");
    client.ssh(&["cat", "papers-secret/diary"]).fails_with(1).says("rrsync-rs: ");
    for source in ["papers-secret/", "papers/../papers-secret/", "/etc/passwd", "."] {
        let refused = client.rsync(&["-a", &format!("host:{source}"), "stolen/"]).says("rrsync-rs: ");
        assert!(!refused.status.success(), "{refused}");
        // A refusal does not say where things are on this server.
        let home = sandbox.home();
        assert!(!refused.stderr_text().contains(home.to_str().unwrap()), "{refused}");
    }
    assert!(!sandbox.client_home().join("stolen").exists());
    let refused = client.rsync(&["-a", "copy/pdf", "host:papers/"]).says("read-only");
    assert!(!refused.status.success(), "{refused}");
    assert!(!sandbox.home().join("papers/pdf").exists());

    let told: Vec<_> = verdicts(&sandbox).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(told, [["allow"; 3].as_slice(), &["refuse"; 7]].concat());
    for record in sandbox.audit() {
        assert_eq!(record["grant"], "playground.chef1");
        if record["verdict"] == "allow" {
            assert!(record["confinement"]["landlock"].as_u64().unwrap() > 0, "{record}");
            assert_eq!(record["confinement"]["seccomp"], true, "{record}");
            assert_eq!(record["argv"][0], "rsync", "{record}");
        }
    }
}

#[test]
fn a_key_that_was_taken_back_is_refused_and_so_is_the_next_request_of_an_open_connection() {
    let (sandbox, key) = before_installation(SftpServer::Internal);
    let own = sandbox.new_key("own");
    sandbox.authorize("", &own);
    let before = fs::read(sandbox.authorized_keys()).unwrap();
    sandbox.akeys(&["install", "--federation", "playground", "--workspace", "papers"]).succeeds();
    let held = sandbox.client(&key).hold();
    pull(&held);
    sandbox.akeys(&["remove", "--federation", "playground"]).succeeds();
    assert_eq!(fs::read(sandbox.authorized_keys()).unwrap(), before);
    sandbox.client(&key).ssh(&["true"]).fails_with(255).says("Permission denied (publickey)");
    let late =
        held.rsync(&["-a", "host:papers/", "late/"]).says("rrsync-rs: this key's grant cannot be used");
    assert!(!late.status.success(), "{late}");
    sandbox.client(&own).ssh(&["true"]).succeeds();
}

#[test]
fn from_binds_the_key_to_an_address_and_the_record_has_it() {
    let (sandbox, key) = installed(&["--from", "127.0.0.1"]);
    sandbox.client(&key).ssh(&["true"]).fails_with(255).says("Permission denied (publickey)");
    let listener = sandbox.listen();
    pull(&listener.client(&key));
    let records = sandbox.audit();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["client"], "127.0.0.1");
}

#[test]
fn an_expired_grant_is_void_whatever_the_key_line_says() {
    let (sandbox, key) = installed(&[]);
    let policy = sandbox.home().join(".config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, format!("expires = 2020-01-01T00:00:00Z\n{text}")).unwrap();
    let refused = sandbox.client(&key).rsync(&["-a", "host:papers/", "copy/"]);
    let refused = refused.says("rrsync-rs: this key's grant has expired");
    assert!(!refused.status.success(), "{refused}");
    assert_eq!(verdicts(&sandbox), [("refuse".to_owned(), "grant.expired".to_owned())]);
}

#[test]
fn a_key_for_rsync_is_for_rsync_only() {
    for server in [SftpServer::Internal, SftpServer::External] {
        let (sandbox, key) = before_installation(server);
        sandbox.akeys(&["install", "--federation", "playground", "--workspace", "papers"]).succeeds();
        let client = sandbox.client(&key).hold();
        for outcome in [
            client.scp(&["host:papers/draft", "draft"]),
            client.scp(&["-O", "host:papers/draft", "draft"]),
            client.sftp("get papers/draft draft\n"),
        ] {
            assert!(!outcome.status.success(), "{outcome}");
        }
        assert!(!sandbox.client_home().join("draft").exists());
        let told: Vec<_> = verdicts(&sandbox).into_iter().map(|(verdict, _)| verdict).collect();
        assert_eq!(told, ["refuse"; 3]);
    }
}

#[test]
fn a_key_for_sftp_serves_sftp_and_scp_in_the_same_bounds() {
    for server in [SftpServer::Internal, SftpServer::External] {
        let (sandbox, key) = before_installation(server);
        let papers = ["--workspace", "papers", "--writable", "papers/build", "--tools", "sftp,scp"];
        sandbox.akeys(&[&["install", "--federation", "playground"], papers.as_slice()].concat()).succeeds();
        let client = sandbox.client(&key).hold();
        client.sftp("get papers/draft by-sftp\n").succeeds();
        client.scp(&["host:papers/draft", "by-scp"]).succeeds();
        for copy in ["by-sftp", "by-scp"] {
            assert_eq!(fs::read(sandbox.client_home().join(copy)).unwrap(), b"draft\n");
        }
        client.scp(&["by-scp", "host:papers/build/new"]).succeeds();
        assert_eq!(fs::read(sandbox.home().join("papers/build/new")).unwrap(), b"draft\n");
        for batch in ["put by-sftp papers/new\n", "get papers-secret/diary\n", "get ../papers-secret/diary\n"]
        {
            client.sftp(batch).fails_with(1);
        }
        assert!(!sandbox.home().join("papers/new").exists());
        assert!(!sandbox.client_home().join("diary").exists());
        let refused = client.rsync(&["-a", "host:papers/", "copy/"]).says("rrsync-rs: ");
        assert!(!refused.status.success(), "{refused}");
    }
}

#[test]
fn one_word_turns_an_rrsync_line_into_ours() {
    let sandbox = Sandbox::new();
    let (reader, writer) = (sandbox.new_key("reader"), sandbox.new_key("writer"));
    sandbox.write("papers/draft", "draft\n");
    let papers = sandbox.home().join("papers");
    let line = |options: &str| {
        format!(r#"restrict,command="{} {options} {}""#, sandbox.gate().display(), papers.display())
    };
    sandbox.authorize(&line("-ro"), &reader);
    sandbox.authorize(&line("-wo"), &writer);
    let client = sandbox.client(&reader).hold();
    client.rsync(&["-a", "host:", "copy/"]).succeeds();
    assert_eq!(fs::read(sandbox.client_home().join("copy/draft")).unwrap(), b"draft\n");
    client.rsync(&["-a", "copy/", "host:"]).says("sending");
    let client = sandbox.client(&writer).hold();
    fs::write(sandbox.client_home().join("new"), "new\n").unwrap();
    client.rsync(&["-a", "new", "host:"]).succeeds();
    assert_eq!(fs::read(papers.join("new")).unwrap(), b"new\n");
    client.rsync(&["-a", "host:draft", "stolen"]).says("reading");
    assert!(!sandbox.client_home().join("stolen").exists());
}
