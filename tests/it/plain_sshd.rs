//! What sshd and the stock clients do by themselves. The toolkit builds on these facts, and the environment of all
//! other tests is proven by them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Account, Run, Sandbox, SftpServer, find_program, run};

#[test]
fn a_forced_command_runs_in_the_scratch_home_and_sees_what_was_asked() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("pod");
    sandbox.authorize(r#"restrict,command="printf '%s\n' \"$SSH_ORIGINAL_COMMAND\" \"$HOME\"; cat""#, &key);
    let input = Run { stdin: b"bytes \xff\x00 through", ..Run::default() };
    let outcome = sandbox.client(&key).ssh_with(&["-T"], &["rm -rf", "/"], &input).succeeds();
    let mut expected = format!("rm -rf /\n{}\n", sandbox.home().display()).into_bytes();
    expected.extend_from_slice(input.stdin);
    assert_eq!(outcome.stdout, expected, "{outcome}");
}

#[test]
fn a_key_that_is_not_in_the_file_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.authorize("restrict", &sandbox.new_key("friend"));
    let stranger = sandbox.new_key("stranger");
    sandbox.client(&stranger).ssh(&["true"]).fails_with(255).says("Permission denied (publickey)");
}

#[test]
fn an_expired_key_is_refused() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("pod");
    sandbox.authorize(r#"restrict,expiry-time="20200101""#, &key);
    sandbox.client(&key).ssh(&["true"]).fails_with(255).says("Permission denied (publickey)");
    assert!(sandbox.sshd_log_text().contains("expired"));
}

#[test]
fn from_holds_the_key_to_the_address_of_the_peer() {
    let sandbox = Sandbox::new();
    let (near, far) = (sandbox.new_key("near"), sandbox.new_key("far"));
    sandbox.authorize(r#"restrict,from="127.0.0.0/8",command="echo $SSH_CONNECTION""#, &near);
    sandbox.authorize(r#"restrict,from="192.0.2.0/24""#, &far);
    let listener = sandbox.listen();
    let outcome = listener.client(&near).ssh(&["true"]).succeeds();
    let end = format!(" 127.0.0.1 {}\n", listener.port());
    assert!(outcome.stdout_text().starts_with("127.0.0.1 "), "{outcome}");
    assert!(outcome.stdout_text().ends_with(&end), "{outcome}");
    listener.client(&far).ssh(&["true"]).fails_with(255).says("Permission denied (publickey)");
    // Over a pipe there is no address, so `from=` refuses.
    sandbox.client(&near).ssh(&["true"]).fails_with(255);
}

#[test]
fn restrict_refuses_forwarding_that_a_plain_key_may_do() {
    let sandbox = Sandbox::new();
    let (open, restricted) = (sandbox.new_key("open"), sandbox.new_key("restricted"));
    sandbox.authorize("", &open);
    sandbox.authorize(r#"restrict,command="true""#, &restricted);
    let listener = sandbox.listen();
    let target = format!("127.0.0.1:{}", listener.port());
    let forward = ["-W", target.as_str()];
    let reached = listener.client(&open).ssh_with(&forward, &[] as &[&str], &Run::default());
    assert!(reached.stdout.starts_with(b"SSH-2.0-"), "{reached}");
    let refused = listener.client(&restricted).ssh_with(&forward, &[] as &[&str], &Run::default());
    assert!(refused.stdout.is_empty(), "{refused}");
    refused.fails_with(255).says("administratively prohibited");
    let remote = ["-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1"];
    let refused = listener.client(&restricted).ssh_with(&remote, &["true"], &Run::default());
    refused.fails_with(255).says("remote port forwarding failed");
}

#[test]
fn a_held_connection_carries_many_commands_on_one_login() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("pod");
    sandbox.authorize(r#"restrict,command="echo $SSH_ORIGINAL_COMMAND""#, &key);
    let client = sandbox.client(&key).hold();
    for command in ["one", "two", "three"] {
        let outcome = client.ssh(&[command]).succeeds();
        assert_eq!(outcome.stdout_text(), format!("{command}\n"));
    }
    assert_eq!(sandbox.sshd_log_text().matches("Accepted publickey").count(), 1);
}

#[test]
fn scp_and_sftp_say_no_more_than_the_subsystem() {
    for server in [SftpServer::Internal, SftpServer::External] {
        let sandbox = Sandbox::with_sftp(server);
        let (open, forced) = (sandbox.new_key("open"), sandbox.new_key("forced"));
        sandbox.authorize("", &open);
        sandbox.authorize(
            r#"restrict,command="echo $SSH_ORIGINAL_COMMAND >> \"$HOME/asked\"; exit 1""#,
            &forced,
        );
        sandbox.write("papers/draft", "text");
        let remote = format!("host:{}/papers/draft", sandbox.home().display());
        let client = sandbox.client(&open).hold();
        client.scp(&[remote.as_str(), "copied"]).succeeds();
        client.sftp(&format!("get {}/papers/draft got\n", sandbox.home().display())).succeeds();
        for name in ["copied", "got"] {
            assert_eq!(fs::read(sandbox.client_home().join(name)).unwrap(), b"text");
        }
        let client = sandbox.client(&forced).hold();
        client.scp(&["host:papers/draft", "refused"]).fails_with(255);
        client.sftp("ls\n").fails_with(255);
        let asked = fs::read_to_string(sandbox.home().join("asked")).unwrap();
        assert_eq!(asked, format!("{0}\n{0}\n", server.command()));
    }
}

#[test]
fn rrsync_restricts_rsync_as_its_manual_says() {
    if !Path::new("/usr/bin/rrsync").exists() {
        eprintln!("skipped: /usr/bin/rrsync is not installed");
        return;
    }
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("pod");
    sandbox.write("papers/draft", "text");
    sandbox.write("papers-secret/diary", "secret");
    let papers = sandbox.home().join("papers");
    sandbox.authorize(&format!(r#"restrict,command="/usr/bin/rrsync -ro {}""#, papers.display()), &key);
    let client = sandbox.client(&key).hold();
    client.rsync(&["-a", "host:", "copy/"]).succeeds();
    assert_eq!(fs::read(sandbox.client_home().join("copy/draft")).unwrap(), b"text");
    client.rsync(&["-a", "copy/", "host:"]).says("sending to read-only server is not allowed");
    client.rsync(&["-a", "host:../papers-secret/", "stolen/"]).says("do not use ..");
    assert!(!sandbox.client_home().join("stolen/diary").exists());
}

#[test]
#[should_panic(expected = "still running after 50ms")]
fn a_command_that_hangs_is_ended_at_its_deadline() {
    let mut command = Command::new(find_program("tail"));
    command.args(["-f", "/dev/null"]);
    run(&mut command, &Run { deadline: Some(Duration::from_millis(50)), ..Run::default() });
}

#[test]
fn the_account_is_the_one_that_sshd_logs_in() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("owner");
    sandbox.authorize("", &key);
    let outcome = sandbox.client(&key).ssh(&["id", "-un"]).succeeds();
    assert_eq!(outcome.stdout_text().trim_end(), Account::current().name);
}
