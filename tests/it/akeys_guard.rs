//! What a change of the key file may not do unasked, seen from outside: no shell without a key, no session without its own.

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::Sandbox;

fn in_session(home: &Home, told: &str, args: &[&str]) -> Ran {
    let mut command = home.command(args);
    command.env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22").env("SSH_USER_AUTH", told);
    Ran::from(&command.output().unwrap())
}

#[test]
fn the_key_of_the_session_is_not_taken_away_unasked() {
    let home = Home::new();
    let content = format!("{FOREIGN} mine\n{OTHER} spare\n");
    home.write(".ssh/authorized_keys", &content);
    home.write("auth", &format!("publickey {FOREIGN}\n"));
    let auth = home.at("auth");
    let remove = |told: &str, line: &str| in_session(&home, told, &["remove", "--line", line]);
    let refused = remove(&auth, "1").fails(1, "this session came in by SHA256:");
    assert!(
        refused.err.contains("hint: log in with another key first, or say --allow-lockout"),
        "{refused:?}"
    );
    in_session(&home, &auth, &["remove", "--line", "1", "--dry-run"]).fails(1, "this session came in by");
    in_session(&home, &auth, &["disable", "--line", "1"]).fails(1, "this session came in by");
    assert_eq!(home.keys(), content);
    assert_eq!(home.names(".local/state/akeys/backups"), [""; 0]);
    // Another key may go.
    let ran = remove(&auth, "2").ok();
    assert!(!ran.err.contains("not known"), "{ran:?}");
    remove(&auth, "1").fails(1, "no key would be left that opens a shell");
}

#[test]
fn what_is_not_known_about_the_session_is_said() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} mine\n{OTHER} spare\n"));
    let ran = in_session(&home, &home.at("nothing"), &["remove", "--line", "1"]).ok();
    let says =
        "which key this session came in by is not known (the file that SSH_USER_AUTH names cannot be read)";
    assert!(ran.err.contains(says), "{ran:?}");
    assert_eq!(home.keys(), format!("{OTHER} spare\n"));
}

#[test]
fn an_sshd_that_says_it_keeps_its_session_in() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("etc/sshd_config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "ExposeAuthInfo yes\n").unwrap();
    let (mine, spare) = (sandbox.new_key("mine"), sandbox.new_key("spare"));
    sandbox.authorize("", &mine);
    sandbox.authorize("", &spare);
    sandbox.gate();
    sandbox.akeys(&["list"]).succeeds();
    let akeys = sandbox.home().join(".local/bin/akeys");
    let akeys = akeys.to_str().unwrap();
    let client = sandbox.client(&mine).hold();
    client.ssh(&[akeys, "remove", "--line", "1"]).fails_with(1).says("this session came in by SHA256:");
    client.ssh(&[akeys, "remove", "--line", "2"]).succeeds();
    client
        .ssh(&[akeys, "remove", "--line", "1"])
        .fails_with(1)
        .says("no key would be left that opens a shell");
    client.ssh(&[akeys, "remove", "--line", "1", "--allow-lockout"]).succeeds();
    assert_eq!(std::fs::read(sandbox.authorized_keys()).unwrap(), b"");
}

#[test]
fn a_second_key_file_keeps_the_door_open() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} mine\n"));
    home.write(".ssh/authorized_keys2", &format!("restrict,command=\"/bin/true\" {OTHER}\n"));
    home.akeys(&["remove", "--line", "1"]).fails(1, "no key would be left that opens a shell");
    home.write(".ssh/authorized_keys2", &format!("{OTHER} spare\n"));
    home.akeys(&["remove", "--line", "1"]).ok();
    assert_eq!(home.keys(), "");
}
