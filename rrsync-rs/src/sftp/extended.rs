//! The extensions: those of OpenSSH's PROTOCOL file, section 4, and two of our own, see `fetch`.
//!
//! Two of them ask about accounts. They are answered so that the answer tells nothing: every home directory is `/`,
//! and no user or group has a name.

use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::handles;
use super::replies::Replies;
use super::session::{Request, Session};
use super::status::Failure;
use super::wire::{LONGEST_PACKET, MOST_DATA, packet};
use crate::vfs::{Fault, Vfs, VirtualPath};

/// Names and versions, in the order in which sftp-server announces them.
const EXTENSIONS: [(&str, &str); 13] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
    ("fetch@akeys", "1"),
    ("state@akeys", "1"),
];

/// Writes the list of extensions into the reply that opens the session.
pub(super) fn offer(replies: &mut Replies) {
    for (name, version) in EXTENSIONS {
        replies.string(name.as_bytes());
        replies.string(version.as_bytes());
    }
}

impl Session<'_> {
    /// `SSH_FXP_EXTENDED`
    pub(super) fn extended(
        &mut self,
        mut request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Failure> {
        match request.fields.string()? {
            b"posix-rename@openssh.com" => self.rename(request, replies, true),
            b"statvfs@openssh.com" => self.statvfs(request, replies),
            b"fstatvfs@openssh.com" => self.fstatvfs(request, replies),
            b"hardlink@openssh.com" => self.hardlink(request, replies),
            b"fsync@openssh.com" => self.fsync(request, replies),
            b"lsetstat@openssh.com" => self.setstat(request, replies, Vfs::set_link),
            b"limits@openssh.com" => {
                limits(request.id, replies);
                Ok(())
            }
            b"expand-path@openssh.com" => self.expand_path(request, replies),
            b"copy-data" => self.copy_data(request, replies),
            b"home-directory" => {
                request.fields.string()?;
                replies.name(request.id, b"/");
                Ok(())
            }
            b"users-groups-by-id@openssh.com" => nobody(request, replies),
            b"fetch@akeys" => self.fetch(request, replies),
            b"state@akeys" => self.state(request, replies),
            _ => Err(Failure::Unsupported),
        }
    }

    /// `~` and `~/…` are below `/`, where relative paths start too; `~user` is nobody's.
    fn expand_path(&mut self, mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
        let path = request.fields.string()?;
        let below_home = match path.strip_prefix(b"~") {
            None => path,
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            Some(_) => return Err(Failure::Fault(Fault::Os(nix::errno::Errno::ENOENT))),
        };
        self.resolve(request.id, &VirtualPath::parse(below_home)?, replies)
    }
}

/// sftp-server.c `process_extended_limits`
fn limits(id: u32, replies: &mut Replies) {
    replies.begin(packet::EXTENDED_REPLY, id);
    for limit in [LONGEST_PACKET, MOST_DATA, MOST_DATA, handles::MOST] {
        replies.u64(limit as u64);
    }
    replies.end();
}

/// As many empty names as were asked for (sftp-server.c `process_extended_get_users_groups_by_id`).
fn nobody(mut request: Request<'_>, replies: &mut Replies) -> Result<(), Failure> {
    let lists = [request.fields.string()?, request.fields.string()?];
    if lists.iter().any(|list| list.len() % 4 != 0) {
        return Err(Fault::Malformed.into());
    }
    replies.begin(packet::EXTENDED_REPLY, request.id);
    for list in lists {
        // An empty name is its length, 0, which is as long as the number that it answers.
        replies.string(&vec![0; list.len()]);
    }
    replies.end();
    Ok(())
}

impl Replies {
    /// A whole reply: `struct statvfs`, with its flags as PROTOCOL section 4.4 numbers them.
    pub(super) fn file_system(&mut self, id: u32, found: &StatVfs) {
        let flags = u64::from(found.f_flag.contains(StatVfsMountFlags::RDONLY))
            | u64::from(found.f_flag.contains(StatVfsMountFlags::NOSUID)) << 1;
        self.begin(packet::EXTENDED_REPLY, id);
        for field in [
            found.f_bsize,
            found.f_frsize,
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_favail,
            found.f_fsid,
            flags,
            found.f_namemax,
        ] {
            self.u64(field);
        }
        self.end();
    }
}
