//! `StrictModes`: whether sshd may read a key file, judged as `safe_path()` in its misc.c does, and beyond where that
//! function is blind.
//!
//! The file and every directory above its real path, up to the home or the root, must be owned by the account or root
//! and writable by nobody else. Debian's sshd lets a group write whose only member is the owner; and as a POSIX ACL shows
//! its mask in the group's bits, that same sshd lets through an ACL that lets others write. So ACLs are read here.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;

use super::names;

/// Something about a file or directory that keeps sshd from reading the key file, or should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: FaultKind,
}

/// What is wrong with a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Somebody else owns it.
    Owner(String),
    /// It is not a regular file.
    NotAFile,
    /// Everybody may write it.
    World,
    /// A directory that everybody may write, as `/tmp` is: nothing that sshd shall read can lie below it.
    Shared,
    /// A group may write it, and has other members than the owner.
    Group(String),
    /// A group may write it whose only member is the owner: Debian's and Ubuntu's sshd let that pass, others do not.
    OwnGroup(String),
    /// An ACL lets others write it.
    Acl(Vec<String>),
}

impl Fault {
    /// The command that mends it, for a shell.
    pub fn mend(&self, account: &str) -> String {
        let path = quoted(&self.path);
        match &self.kind {
            FaultKind::Owner(_) => format!("chown {account} {path}"),
            FaultKind::NotAFile => format!("ls -ld {path}"),
            FaultKind::World => format!("chmod go-w {path}"),
            FaultKind::Shared => format!("keep the file elsewhere: {path} is for everybody"),
            FaultKind::Group(_) | FaultKind::OwnGroup(_) => format!("chmod g-w {path}"),
            FaultKind::Acl(_) => format!("setfacl -b {path} && chmod go-w {path}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Escaped::os(&self.path);
        match &self.kind {
            FaultKind::Owner(owner) => write!(f, "{path} is owned by {owner}"),
            FaultKind::NotAFile => write!(f, "{path} is not a regular file"),
            FaultKind::World | FaultKind::Shared => write!(f, "{path} can be written by everybody"),
            FaultKind::Group(group) => write!(f, "{path} can be written by group {group}"),
            FaultKind::OwnGroup(group) => {
                write!(f, "{path} can be written by group {group}, which has no other member")
            }
            FaultKind::Acl(who) => write!(f, "the ACL of {path} lets {} write", who.join(" and ")),
        }
    }
}

/// Every fault of `file` and the directories above its real path, up to `home` or the root.
pub fn faults(file: &Path, home: &Path, uid: u32) -> io::Result<Vec<Fault>> {
    let real = file.canonicalize()?;
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let mut faults = Vec::new();
    for path in real.ancestors() {
        let metadata = path.metadata()?;
        if path == real && !metadata.is_file() {
            faults.push(Fault { path: path.to_owned(), kind: FaultKind::NotAFile });
        }
        faults.extend(of_one(path, &metadata, uid));
        if path == home && path != real {
            break;
        }
    }
    Ok(faults)
}

/// The faults of one file or directory.
pub fn of_one(path: &Path, metadata: &fs::Metadata, uid: u32) -> Vec<Fault> {
    let fault = |kind| Fault { path: path.to_owned(), kind };
    let mut faults = Vec::new();
    if metadata.uid() != uid && metadata.uid() != 0 {
        faults.push(fault(FaultKind::Owner(names::account_shown(metadata.uid()))));
    }
    if metadata.is_dir() && metadata.mode() & 0o1002 == 0o1002 {
        faults.push(fault(FaultKind::Shared));
        return faults;
    }
    if metadata.mode() & 0o002 != 0 {
        faults.push(fault(FaultKind::World));
    }
    let acl = Acl::of(path);
    let others = acl.writers(metadata.uid());
    if !others.is_empty() {
        faults.push(fault(FaultKind::Acl(others)));
    }
    if metadata.mode() & 0o020 != 0 && acl.group_writes() {
        let (gid, owner) = (metadata.gid(), metadata.uid());
        let name = names::group_shown(gid);
        let kind =
            if has_other_members(gid, owner) { FaultKind::Group(name) } else { FaultKind::OwnGroup(name) };
        faults.push(fault(kind));
    }
    faults
}

/// Whether a group has a member besides `owner`: in its list, or by somebody's primary group.
fn has_other_members(gid: u32, owner: u32) -> bool {
    let Some(account) = names::account(owner) else { return true };
    let Some(group) = names::group(gid) else { return true };
    // sshd walks the accounts with getpwent(3); the file is the part of them that needs no network.
    let others = || names::passwd_file().iter().any(|listed| listed.gid == gid && listed.uid != owner);
    group.members.iter().any(|member| *member != account.name) || others()
}

/// A POSIX access ACL; empty where there is none.
#[derive(Debug, Default)]
struct Acl(Vec<AclEntry>);

#[derive(Debug, Clone, Copy)]
struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

impl Acl {
    // <linux/posix_acl.h>
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const WRITE: u16 = 2;

    fn of(path: &Path) -> Self {
        let value = xattr::get_deref(path, "system.posix_acl_access").ok().flatten();
        value.map_or_else(Self::default, |value| Self::parse(&value))
    }

    /// `<linux/posix_acl_xattr.h>`: a version, then entries of tag, permissions and id, all little-endian.
    fn parse(value: &[u8]) -> Self {
        let entries = value.get(4..).unwrap_or_default().as_chunks::<8>().0;
        let entry = |bytes: &[u8; 8]| AclEntry {
            tag: u16::from_le_bytes([bytes[0], bytes[1]]),
            permissions: u16::from_le_bytes([bytes[2], bytes[3]]),
            id: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        Self(entries.iter().map(entry).collect())
    }

    fn mask(&self) -> u16 {
        self.0.iter().find(|entry| entry.tag == Self::MASK).map_or(u16::MAX, |mask| mask.permissions)
    }

    /// The users and groups beside the file's own that it lets write.
    fn writers(&self, owner: u32) -> Vec<String> {
        let writes = |entry: &&AclEntry| entry.permissions & self.mask() & Self::WRITE != 0;
        let name = |entry: &AclEntry| match entry.tag {
            Self::USER if entry.id != owner && entry.id != 0 => {
                Some(format!("user {}", names::account_shown(entry.id)))
            }
            Self::GROUP => Some(format!("group {}", names::group_shown(entry.id))),
            _ => None,
        };
        self.0.iter().filter(writes).filter_map(name).collect()
    }

    /// Whether the file's own group may write, where the mode's group bits are an ACL's mask.
    fn group_writes(&self) -> bool {
        let own = self.0.iter().find(|entry| entry.tag == Self::GROUP_OBJ);
        own.is_none_or(|own| own.permissions & self.mask() & Self::WRITE != 0)
    }
}

/// A path as one word of a shell command.
pub fn quoted(path: &Path) -> String {
    let text = Escaped::os(path).to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=~".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        Acl::parse(&value)
    }

    #[test]
    fn an_acl_is_read_through_its_mask() {
        let (own, other) = (4_000_000_001, 4_000_000_002);
        let open =
            acl(&[(1, 6, 0), (2, 6, other), (2, 6, own), (4, 4, 0), (8, 4, 7), (16, 6, 0), (32, 0, 0)]);
        assert_eq!(open.writers(own), ["user uid 4000000002"]);
        assert!(!open.group_writes());
        let masked = acl(&[(2, 6, other), (4, 6, 0), (16, 4, 0)]);
        assert!(masked.writers(own).is_empty() && !masked.group_writes());
        assert!(Acl::default().group_writes());
        assert!(Acl::parse(&[2, 0]).writers(own).is_empty());
    }

    #[test]
    fn modes_are_judged_up_to_the_home() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("home");
        let file = home.join(".ssh/authorized_keys");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        // Above the home nothing counts.
        mode(scratch.path(), 0o777);
        mode(&home, 0o755);
        mode(&file, 0o600);
        let uid = nix::unistd::geteuid().as_raw();
        let told = || {
            faults(&file, &home, uid)
                .unwrap()
                .into_iter()
                .map(|fault| (fault.path, fault.kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(), []);
        mode(&file, 0o602);
        mode(&home, 0o757);
        let real = |path: &Path| path.canonicalize().unwrap();
        assert_eq!(told(), [(real(&file), FaultKind::World), (real(&home), FaultKind::World)]);
        mode(&home, 0o1777);
        assert_eq!(told()[1], (real(&home), FaultKind::Shared));
        mode(&file, 0o620);
        assert!(matches!(told()[0].1, FaultKind::Group(_) | FaultKind::OwnGroup(_)));
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("/home/u/.ssh")), "/home/u/.ssh");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
