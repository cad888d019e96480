//! The proof by a login: ssh(1) with the new key and nothing else.
//!
//! No agent, no other identity, no certificate, no password and no shared connection may stand in for the key. The client
//! asks for no session, so a forced command does not run: it goes to the background as a master once it is let in, and is
//! sent away again.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::state::Rotation;
use crate::akeys::account::Account;
use crate::akeys::audit::public_keys;
use crate::akeys::cli::RotateKey;
use crate::authkeys::{Key, Target};
use crate::common::child;
use crate::common::exit::{Exit, Failure};

/// A login that takes longer is none.
const PATIENCE: Duration = Duration::from_mins(1);

/// The name under which this machine's own host keys are looked up.
const ALIAS: &str = "akeys-this-machine";

/// Logs in with the private key in the file `identity`.
pub(super) fn prove(
    identity: &Path,
    rotation: &Rotation,
    args: &RotateKey,
    layout: &Layout,
) -> Result<(), Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("the new key is not proven: {what}")).hint("the old one stays")
    };
    let public = public_half(identity)?;
    if public != rotation.new {
        let what = format!("{} holds {}, another key", Escaped::os(identity), public.fingerprint());
        return Err(failed(&what));
    }
    let scratch = tempfile::Builder::new().prefix("akeys-").tempdir().map_err(|error| failed(&error))?;
    let log = scratch.path().join("log");
    let ssh = |more: &[&str]| {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-S"]).arg(scratch.path().join("s")).args(more);
        command.env_remove("SSH_AUTH_SOCK");
        command
    };
    let mut login = ssh(&["-f", "-N", "-M", "-v", "-E"]);
    login.arg(&log);
    for option in options(identity, args, scratch.path(), layout).map_err(|error| failed(&error))? {
        login.arg("-o").arg(option);
    }
    let user = Account::of(nix::unistd::geteuid().as_raw()).name;
    login.arg("-l").arg(user).arg("--").arg(&args.host);
    let let_in = child::succeeds(&mut login, PATIENCE).map_err(|error| failed(&format!("ssh: {error}")))?;
    let told = fs::read(&log).unwrap_or_default();
    if !let_in {
        return Err(failed(&last_words(&told)));
    }
    let _ = child::succeeds(&mut ssh(&["-O", "exit", "--", &args.host]), PATIENCE);
    let by_key =
        |line: &[u8]| line.starts_with(b"Authenticated to ") && line.ends_with(b"using \"publickey\".");
    if told.split(|&byte| byte == b'\n').any(|line| by_key(line.trim_ascii_end())) {
        return Ok(());
    }
    Err(failed(&"the host let in without asking for the key"))
}

/// What ssh is told, one option each. Those that the user gives come first, and the first of a name counts.
fn options(
    identity: &Path,
    args: &RotateKey,
    scratch: &Path,
    layout: &Layout,
) -> std::io::Result<Vec<OsString>> {
    let quoted = |path: &Path| {
        let mut text = OsString::from("\"");
        text.push(path);
        text.push("\"");
        text
    };
    let mut options: Vec<OsString> = args.ssh_option.clone();
    let mut known = quoted(&layout.ssh_dir().join("known_hosts"));
    if args.host == "localhost" {
        let mut lines = String::new();
        for key in public_keys(Path::new("/etc/ssh"), "ssh_host_") {
            let _ = writeln!(lines, "{ALIAS} {key}");
        }
        let own = scratch.join("known_hosts");
        fs::write(&own, lines)?;
        options.push(format!("HostKeyAlias={ALIAS}").into());
        known = quoted(&own);
    }
    let mut with = |name: &str, value: OsString| {
        let mut option = OsString::from(name);
        option.push("=");
        option.push(value);
        options.push(option);
    };
    with("UserKnownHostsFile", known);
    with("IdentityFile", quoted(identity));
    for option in [
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "CertificateFile=none",
        "PubkeyAcceptedAlgorithms=-*-cert-v01@openssh.com",
        "PreferredAuthentications=publickey",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ClearAllForwardings=yes",
        "ControlPersist=no",
        "ConnectTimeout=20",
    ] {
        options.push(option.into());
    }
    Ok(options)
}

/// The public key of the file `identity`: what stands beside it, else what ssh-keygen makes of it without a passphrase.
fn public_half(identity: &Path) -> Result<Key, Failure> {
    let mut beside = identity.as_os_str().to_owned();
    beside.push(".pub");
    let line = if let Ok(line) = fs::read(&beside) {
        line
    } else {
        let mut keygen = Command::new("ssh-keygen");
        let made = keygen.args(["-y", "-P", "", "-f"]).arg(identity).stdin(Stdio::null()).output();
        made.map_err(|error| Failure::named(&error, format!("ssh-keygen: {error}")))?.stdout
    };
    Key::from_public_line(&line, Target::default()).ok_or_else(|| {
        let message = format!("{}: which key this is cannot be read", Escaped::os(identity));
        Failure::new(Exit::Failed, message).hint("name the private key, with its .pub beside it")
    })
}

/// What ssh said last that is not of its own making.
fn last_words(log: &[u8]) -> String {
    let mut lines = log.rsplit(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let plain = lines.find(|line| !line.is_empty() && !line.starts_with(b"debug"));
    plain.map_or_else(|| "ssh was refused".to_owned(), |line| Escaped(line).to_string())
}
