//! The model of sshd and the sshd that is installed, side by side: the same files, the same key, a real login each.

use crate::support::Sandbox;

/// Files, with KEY for the key that logs in: each a trap for whoever reads the file otherwise than sshd. A login that
/// no command is forced on asks for `echo free`.
const FILES: [&[u8]; 30] = [
    b"KEY me@home\n",
    b"KEY",
    b"KEY\r\n",
    b"\t command=\"echo \\\"a b\\\"\" \t KEY\n",
    b"command=\"echo first\" KEY\ncommand=\"echo second\" KEY\n",
    b"expiry-time=\"20200101Z\",command=\"echo over\" KEY\ncommand=\"echo next\" KEY\n",
    b"expiry-time=\"20990230Z\",command=\"echo later\" KEY\n",
    b"expiry-time=\"2099\" KEY\n",
    b"from=\"192.0.2.0/24\",command=\"echo far\" KEY\nfrom=\"127.0.0.0/8\",command=\"echo near\" KEY\n",
    b"from=\"127.0.0.1/8\" KEY\n",
    b"from=\"*,!127.0.0.1\" KEY\n",
    b"from=\"127.1\",command=\"echo short\" KEY\n",
    b"comand=\"echo typo\" KEY\ncommand=\"echo ok\" KEY\n",
    b"restrict, pty KEY\n",
    b"restrict,pty=yes KEY\n",
    b"RESTRICT,,Command=\"echo capitals\", KEY\n",
    b"command=\"echo a\\\" KEY\n",
    b"command='echo single' KEY\n",
    b"command=\"echo twice\",command=\"echo twice\" KEY\n",
    b"command=\"echo #hash\" KEY # KEY\n",
    b"restrict,\\\nKEY\n",
    b"\xef\xbb\xbfKEY\n",
    b"\0KEY\n",
    b"KEY\0junk\n",
    b"# KEY\n",
    b"   # KEY\nKEY restrict,command=\"echo behind\"\n",
    b"cert-authority KEY\n",
    b"principals=\"root\" KEY\ncommand=\"echo after\" KEY\n",
    b"\xa0KEY\n",
    b"KEY\rKEY\n",
];

#[test]
fn what_the_model_says_is_what_the_installed_sshd_does() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("me");
    let public = key.public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let listener = sandbox.listen();
    let mut wrong = Vec::new();
    for file in FILES {
        let text = file.escape_ascii().to_string();
        let parts: Vec<&[u8]> = split(file, b"KEY");
        std::fs::write(sandbox.authorized_keys(), parts.join(public.as_bytes())).unwrap();
        let path = sandbox.authorized_keys();
        let asked = ["explain", "--file", path.to_str().unwrap(), "--key", &public, "--json"];
        let said: serde_json::Value =
            serde_json::from_str(&sandbox.akeys(&asked).succeeds().stdout_text()).unwrap();
        let login = listener.client(&key).ssh(&["echo free"]);
        let got = (login.status.success()).then(|| login.stdout_text().trim_end().to_owned());
        let command = said["forced_command"].as_str().unwrap_or("echo free");
        let expected = (said["accepted"] == true).then(|| shell(command));
        if got != expected {
            wrong.push(format!("{text}: the model {expected:?}, sshd {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), sandbox.sshd_log_text());
}

fn split<'f>(file: &'f [u8], word: &[u8]) -> Vec<&'f [u8]> {
    let mut parts = Vec::new();
    let mut rest = file;
    while let Some(at) = rest.windows(word.len()).position(|window| window == word) {
        parts.push(&rest[..at]);
        rest = &rest[at + word.len()..];
    }
    parts.push(rest);
    parts
}

/// What a shell prints for a command of the table.
fn shell(command: &str) -> String {
    let output = std::process::Command::new("/bin/sh").args(["-c", command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
