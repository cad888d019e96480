//! Who has which number: accounts and groups by name and id.
//!
//! The programs are static, and getpwnam(3) in a static program loads what nsswitch.conf(5) names into a process that was
//! not built for it, which ends badly. So the files are read here, and for whatever is not in them (LDAP, systemd) getent(1)
//! is asked, which is a program like any other.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use jiff::Timestamp;
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

/// The account that this process has become.
static BECOME: OnceLock<Passwd> = OnceLock::new();

/// Keeps what is known about `account`, which this process is about to become, and asks no program from then on: the account could
/// trace it.
pub fn remember(account: &Passwd) {
    let _ = BECOME.set(account.clone());
}

/// The account with this number.
pub fn account(uid: u32) -> Option<Passwd> {
    // Another name may stand before it with the same number.
    if let Some(own) = BECOME.get().filter(|own| own.uid == uid) {
        return Some(own.clone());
    }
    passwd_file()
        .into_iter()
        .find(|account| account.uid == uid)
        .or_else(|| parse_passwd(&getent("passwd", &uid.to_string())?))
}

/// The account with this name.
pub fn by_name(name: &str) -> Option<Passwd> {
    let listed = passwd_file().into_iter().find(|account| account.name == name);
    listed.or_else(|| parse_passwd(&getent("passwd", name)?).filter(|account| account.name == name))
}

/// Every account that the system lists; those of a directory that does not list its accounts are not among them.
pub fn all() -> Vec<Passwd> {
    let output = Command::new(GETENT).arg("passwd").env_clear().stdin(Stdio::null()).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let mut accounts: Vec<Passwd> =
        String::from_utf8_lossy(&text).lines().filter_map(parse_passwd).chain(passwd_file()).collect();
    let mut seen = std::collections::BTreeSet::new();
    accounts.retain(|account| seen.insert(account.name.clone()));
    accounts
}

/// The numbers of the groups that a login of this account would have.
pub fn groups_of(account: &Passwd) -> Vec<u32> {
    // `NAME GID GID …`; initgroups(3) would load what nsswitch.conf names into this process.
    let told = getent("initgroups", &account.name).unwrap_or_default();
    let mut groups: Vec<u32> =
        told.split_ascii_whitespace().skip(1).filter_map(|gid| gid.parse().ok()).collect();
    groups.push(account.gid);
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// What shadow(5) says about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing that keeps its keys out.
    Open,
    /// Its password is locked: `LOCKED_PASSWD_PREFIX` of sshd (`allowed_user` in auth.c, later `platform_locked_account`), which
    /// lets such an account in by a key only with `UsePAM` yes. A `*` is no lock.
    Locked,
    /// Its time is over.
    Expired,
    /// This process may not look.
    Unknown,
}

impl Standing {
    /// That of the account `name` on the day `today` after 1970.
    pub fn of(name: &str, today: i64) -> Self {
        match fs::read("/etc/shadow") {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                text.lines().find_map(|line| Self::by(line, name, today)).unwrap_or(Self::Open)
            }
            // Where nobody has such a file, no password is locked by it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Open,
            Err(_) => Self::Unknown,
        }
    }

    fn by(line: &str, name: &str, today: i64) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [own, password, _, _, _, _, _, expires, ..] = fields[..] else { return None };
        if own != name {
            return None;
        }
        if expires.parse().is_ok_and(|day: i64| day >= 0 && day < today) {
            return Some(Self::Expired);
        }
        Some(if password.starts_with('!') { Self::Locked } else { Self::Open })
    }

    /// Why nobody can log in although the keys are there.
    pub fn closed(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Unknown => None,
            Self::Locked => Some("has a locked password"),
            Self::Expired => Some("has expired"),
        }
    }
}

/// The day after 1970, by which shadow(5) counts.
pub fn today() -> i64 {
    Timestamp::now().as_second().div_euclid(86_400)
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

/// The program that knows what nsswitch.conf(5) says.
const GETENT: &str = "/usr/bin/getent";

fn getent(database: &str, key: &str) -> Option<String> {
    if BECOME.get().is_some() {
        return None;
    }
    let output = Command::new(GETENT).args([database, key]).env_clear().stdin(Stdio::null()).output().ok()?;
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
    fn why_an_account_is_closed() {
        for (line, standing) in [
            ("u:$y$x:20000:0:99999:7:::", Some(Standing::Open)),
            ("u:*:20000:0:99999:7:::", Some(Standing::Open)),
            ("u:!$y$x:20000:0:99999:7:::", Some(Standing::Locked)),
            ("u:!:20000:0:99999:7:::", Some(Standing::Locked)),
            ("u:$y$x:20000:0:99999:7::20100:", Some(Standing::Expired)),
            ("u:$y$x:20000:0:99999:7::20600:", Some(Standing::Open)),
            ("v:!:20000:0:99999:7:::", None),
        ] {
            assert_eq!(Standing::by(line, "u", 20_500), standing, "{line}");
        }
    }

    #[test]
    fn root_is_root() {
        assert_eq!(account(0).unwrap().name, "root");
        assert_eq!(by_name("root").unwrap().uid, 0);
        assert!(groups_of(&by_name("root").unwrap()).contains(&0));
        assert!(all().iter().any(|account| account.name == "root"));
        assert_eq!(by_name("no such account"), None);
        assert!(group(0).is_some());
        assert_eq!(account_shown(4_000_000_001), "uid 4000000001");
    }
}
