//! Who has which number: accounts and groups by name and id.
//!
//! The programs are static, and getpwnam(3) in a static program loads what nsswitch.conf(5) names into a process that was
//! not built for it, which ends badly. So the files are read here, and for whatever is not in them (LDAP, systemd) getent(1)
//! is asked, which is a program like any other.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rrsync_rs::escape::Escaped;

/// One line of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passwd {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The home.
    pub home: PathBuf,
    /// The login shell; sshd takes an empty one for `/bin/sh`.
    pub shell: PathBuf,
}

/// One line of group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The members that have another group for their own.
    pub members: Vec<String>,
}

/// The account with this number.
pub fn account(uid: u32) -> Option<Passwd> {
    passwd_file()
        .into_iter()
        .find(|account| account.uid == uid)
        .or_else(|| parse_passwd(&getent("passwd", &uid.to_string())?))
}

/// Every account that is listed in the file.
pub fn passwd_file() -> Vec<Passwd> {
    let text = fs::read("/etc/passwd").unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(parse_passwd).collect()
}

/// The group with this number.
pub fn group(gid: u32) -> Option<Group> {
    let text = fs::read("/etc/group").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let listed = text.lines().find_map(|line| parse_group(line).filter(|(own, _)| *own == gid));
    listed.or_else(|| parse_group(&getent("group", &gid.to_string())?)).map(|(_, group)| group)
}

/// An account's name to be shown, or `uid N`.
pub fn account_shown(uid: u32) -> String {
    account(uid).map_or_else(|| format!("uid {uid}"), |account| Escaped(account.name.as_bytes()).to_string())
}

/// A group's name to be shown, or `gid N`.
pub fn group_shown(gid: u32) -> String {
    group(gid).map_or_else(|| format!("gid {gid}"), |group| Escaped(group.name.as_bytes()).to_string())
}

fn parse_passwd(line: &str) -> Option<Passwd> {
    let fields: Vec<&str> = line.trim_end().split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    Some(Passwd {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.into(),
        shell: if shell.is_empty() { "/bin/sh".into() } else { shell.into() },
    })
}

fn parse_group(line: &str) -> Option<(u32, Group)> {
    let fields: Vec<&str> = line.trim_end().split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some((gid.parse().ok()?, Group { name: name.to_owned(), members }))
}

fn getent(database: &str, key: &str) -> Option<String> {
    let output = Command::new("/usr/bin/getent")
        .args([database, key])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_two_files() {
        let read = parse_passwd("u:x:1000:1001:U,,,:/home/u:\n").unwrap();
        assert_eq!((read.uid, read.gid, read.shell.to_str().unwrap()), (1000, 1001, "/bin/sh"));
        assert_eq!(parse_passwd("broken:x:1"), None);
        let (gid, group) = parse_group("staff:x:50:a,b").unwrap();
        assert_eq!((gid, group.members.len()), (50, 2));
        assert_eq!(parse_group("u:x:1000:").unwrap().1.members, [""; 0]);
    }

    #[test]
    fn root_is_root() {
        assert_eq!(account(0).unwrap().name, "root");
        assert!(group(0).is_some());
        assert_eq!(account_shown(4_000_000_001), "uid 4000000001");
    }
}
