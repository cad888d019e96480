//! `data/attacks.tsv`, and the box that the attacks are made on.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::Account;
use crate::text::{replace, unescape};

pub const TABLE: &str = include_str!("../data/attacks.tsv");

/// One attack.
pub struct Attack<'a> {
    pub name: &'a str,
    pub tool: &'a str,
    pub expect: &'a str,
    pub fixture: &'a str,
    pub command: &'a str,
}

impl<'a> Attack<'a> {
    /// Reads a line of the table.
    pub fn read(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, tool, expect, fixture, command] = fields.as_slice() else { panic!("{line}") };
        Self { name, tool, expect, fixture, command }
    }

    /// The command as the client sends it; `None` for one that asks for a shell.
    pub fn sent(&self, account: &Account) -> Option<Vec<u8>> {
        let bytes = match self.command {
            "-" => return None,
            "\"\"" => Vec::new(),
            text => unescape(text),
        };
        let bytes = replace(&bytes, b"<OUTSIDE>", account.root.join("outside").as_os_str().as_bytes());
        Some(replace(&bytes, b"<BOX>", account.d("").as_os_str().as_bytes()))
    }

    /// The gate's options: what the attack says that the key may do.
    #[allow(dead_code, reason = "each test binary uses its part")]
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = Vec::new();
        if self.fixture.contains("role=pull") {
            flags.push("-ro");
        }
        if self.fixture.contains("role=push") {
            flags.push("-wo");
        }
        if self.fixture.contains("nodelete") {
            flags.push("-no-del");
        }
        if self.fixture.contains("nooverwrite") {
            flags.push("-no-overwrite");
        }
        flags
    }
}

/// The box of an attack: everything that any of them needs to succeed.
pub fn lay_out() -> Account {
    let account = Account::new();
    account.write("D/in.txt", "in\n");
    account.write("D/sp ace", "sp\n");
    fs::create_dir_all(account.d("sub")).unwrap();
    let outside = account.root.join("outside");
    for name in ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "vd/x"] {
        account.write(&format!("outside/{name}"), "OUTSIDE-SECRET\n");
    }
    fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    for (target, link) in [
        ("../outside/secret", "lsec"),
        ("../outside", "ldir"),
        ("../outside/not-there", "dang"),
        ("../outside/v1", "l_v1"),
        ("/etc/passwd", "l_passwd"),
    ] {
        symlink(target, account.d(link)).unwrap();
    }
    let planted = format!("#!/bin/sh\necho pwned > '{}'\n", account.root.join("PWN").display());
    for name in ["p.sh", "scp", "rsync", "sftp-server", "uptime", "x"] {
        let program = account.write(&format!("D/{name}"), &planted);
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let hook = format!("[m]\npath = .\npre-xfer exec = {}\n", account.d("p.sh").display());
    account.write("D/rsyncd.conf", hook);
    let alias = format!("rsync exec --stats {0}\nrsync exec -v {0}\n", account.d("p.sh").display());
    account.write("D/.popt", &alias);
    account.write("home/.popt", &alias);
    nix::unistd::mkfifo(&account.d("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    account
}
