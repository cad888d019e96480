//! The bytes of the protocol: its numbers, and the fields of a request.
//!
//! A field is a slice of the packet that it stands in; a length that lies costs nothing and is a malformed request.

use crate::vfs::{Changes, Fault, VirtualPath};

/// The longest packet, without its length field (`SFTP_MAX_MSG_LENGTH` of sftp-common.h).
pub(super) const LONGEST_PACKET: usize = 256 * 1024;

/// The most data that one request reads or writes, leaving room for the fields around it (sftp-server.c
/// `process_extended_limits`).
pub(super) const MOST_DATA: usize = LONGEST_PACKET - 1024;

/// Packet types, section 3 of the draft.
pub(super) mod packet {
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const VERSION: u8 = 2;
    pub(in super::super) const OPEN: u8 = 3;
    pub(in super::super) const CLOSE: u8 = 4;
    pub(in super::super) const READ: u8 = 5;
    pub(in super::super) const WRITE: u8 = 6;
    pub(in super::super) const LSTAT: u8 = 7;
    pub(in super::super) const FSTAT: u8 = 8;
    pub(in super::super) const SETSTAT: u8 = 9;
    pub(in super::super) const FSETSTAT: u8 = 10;
    pub(in super::super) const OPENDIR: u8 = 11;
    pub(in super::super) const READDIR: u8 = 12;
    pub(in super::super) const REMOVE: u8 = 13;
    pub(in super::super) const MKDIR: u8 = 14;
    pub(in super::super) const RMDIR: u8 = 15;
    pub(in super::super) const REALPATH: u8 = 16;
    pub(in super::super) const STAT: u8 = 17;
    pub(in super::super) const RENAME: u8 = 18;
    pub(in super::super) const READLINK: u8 = 19;
    pub(in super::super) const SYMLINK: u8 = 20;
    pub(in super::super) const STATUS: u8 = 101;
    pub(in super::super) const HANDLE: u8 = 102;
    pub(in super::super) const DATA: u8 = 103;
    pub(in super::super) const NAME: u8 = 104;
    pub(in super::super) const ATTRS: u8 = 105;
    pub(in super::super) const EXTENDED: u8 = 200;
    pub(in super::super) const EXTENDED_REPLY: u8 = 201;
}

/// Which attributes follow, section 5 of the draft.
pub(super) mod attribute {
    pub(in super::super) const SIZE: u32 = 0x1;
    pub(in super::super) const UIDGID: u32 = 0x2;
    pub(in super::super) const PERMISSIONS: u32 = 0x4;
    pub(in super::super) const ACMODTIME: u32 = 0x8;
    pub(in super::super) const EXTENDED: u32 = 0x8000_0000;
}

/// How a file is to be opened, section 6.3 of the draft.
pub(super) mod flag {
    pub(in super::super) const READ: u32 = 0x01;
    pub(in super::super) const WRITE: u32 = 0x02;
    pub(in super::super) const APPEND: u32 = 0x04;
    pub(in super::super) const CREAT: u32 = 0x08;
    pub(in super::super) const TRUNC: u32 = 0x10;
    pub(in super::super) const EXCL: u32 = 0x20;
}

/// The fields of a packet that have not been read yet. What follows the last one is ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(packet: &'a [u8]) -> Self {
        Self(packet)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string: its length, then its bytes.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.u32()?).map_err(|_| Fault::Malformed)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(string)
    }

    /// A string that is a path.
    pub(super) fn path(&mut self) -> Result<VirtualPath, Fault> {
        VirtualPath::parse(self.string()?)
    }

    /// File attributes; extended ones are read over (sftp-common.c `decode_attrib`).
    pub(super) fn changes(&mut self) -> Result<Changes, Fault> {
        let flags = self.u32()?;
        let has = |bit| flags & bit != 0;
        let mut changes = Changes::default();
        if has(attribute::SIZE) {
            changes.size = Some(self.u64()?);
        }
        if has(attribute::UIDGID) {
            changes.owner = Some((self.u32()?, self.u32()?));
        }
        if has(attribute::PERMISSIONS) {
            changes.mode = Some(self.u32()?);
        }
        if has(attribute::ACMODTIME) {
            changes.times = Some((self.u32()?, self.u32()?));
        }
        if has(attribute::EXTENDED) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(changes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }
}
