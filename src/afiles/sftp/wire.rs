//! The bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02), as a client writes and reads them.
//!
//! The server may be hostile: whatever it says is bounded, and a reply that is too short is an error and nothing else.

use super::SftpError;

/// The longest packet that is read, without its length field. OpenSSH's server sends 256 KiB at most.
pub(super) const LONGEST_PACKET: usize = 256 * 1024 + 1024;

/// Packet types, section 3 of the draft.
pub(super) mod packet {
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const VERSION: u8 = 2;
    pub(in super::super) const OPEN: u8 = 3;
    pub(in super::super) const CLOSE: u8 = 4;
    pub(in super::super) const READ: u8 = 5;
    pub(in super::super) const OPENDIR: u8 = 11;
    pub(in super::super) const READDIR: u8 = 12;
    pub(in super::super) const REMOVE: u8 = 13;
    pub(in super::super) const RMDIR: u8 = 15;
    pub(in super::super) const STATUS: u8 = 101;
    pub(in super::super) const HANDLE: u8 = 102;
    pub(in super::super) const DATA: u8 = 103;
    pub(in super::super) const NAME: u8 = 104;
    pub(in super::super) const EXTENDED: u8 = 200;
    pub(in super::super) const EXTENDED_REPLY: u8 = 201;
    #[cfg(test)]
    pub(in super::super) const ATTRS: u8 = 105;
}

/// Which attributes follow, section 5 of the draft.
const SIZE: u32 = 0x1;
const UIDGID: u32 = 0x2;
const PERMISSIONS: u32 = 0x4;
const ACMODTIME: u32 = 0x8;
const EXTENDED: u32 = 0x8000_0000;

/// The attributes of a file, as far as the server gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Type and permission bits, `st_mode`.
    pub mode: Option<u32>,
    /// Last modification, in seconds since 1970.
    pub modified: Option<u32>,
}

/// A request or a reply that is being written.
#[derive(Debug, Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        let mut body = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        body.0.extend_from_slice(bytes);
        body
    }

    /// The whole packet, with its length and type and, but for the one that opens a session, its number.
    pub(super) fn packet(self, kind: u8, id: Option<u32>, out: &mut Vec<u8>) {
        let length = 1 + if id.is_some() { 4 } else { 0 } + self.0.len();
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        out.push(kind);
        out.extend(id.iter().flat_map(|id| id.to_be_bytes()));
        out.extend_from_slice(&self.0);
    }
}

/// The fields of a reply that have not been read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'p>(pub(super) &'p [u8]);

impl<'p> Fields<'p> {
    pub(super) fn u32(&mut self) -> Result<u32, SftpError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SftpError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'p [u8], SftpError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let (string, rest) =
            self.0.split_at_checked(length).ok_or(SftpError::Protocol("a reply is cut off"))?;
        self.0 = rest;
        Ok(string)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn attributes(&mut self) -> Result<Attributes, SftpError> {
        let flags = self.u32()?;
        let has = |bit| flags & bit != 0;
        let mut attributes = Attributes::default();
        if has(SIZE) {
            attributes.size = Some(self.u64()?);
        }
        if has(UIDGID) {
            self.array::<8>()?;
        }
        if has(PERMISSIONS) {
            attributes.mode = Some(self.u32()?);
        }
        if has(ACMODTIME) {
            self.u32()?;
            attributes.modified = Some(self.u32()?);
        }
        if has(EXTENDED) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SftpError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(SftpError::Protocol("a reply is cut off"))?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        Body::default().u32(7).u64(1 << 40).string(b"ab").packet(packet::READ, Some(9), &mut out);
        assert_eq!(out[..9], [0, 0, 0, 23, 5, 0, 0, 0, 9]);
        let mut fields = Fields(&out[9..]);
        assert_eq!((fields.u32().unwrap(), fields.u64().unwrap()), (7, 1 << 40));
        assert_eq!(fields.string().unwrap(), b"ab");
        assert!(fields.is_empty() && fields.u32().is_err());
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        for bytes in [&b"\xff\xff\xff\xffab"[..], b"\0\0\0\x03ab", b"\0\0", b""] {
            assert!(Fields(bytes).string().is_err(), "{bytes:?}");
        }
        // Four thousand million extended attributes.
        assert!(Fields(b"\x80\0\0\0\xff\xff\xff\xff").attributes().is_err());
        let all =
            [&b"\0\0\0\x0f"[..], &[0; 7], &[5], &[0; 8], b"\0\0\x81\xa4", &[0; 4], &[0, 0, 0, 9]].concat();
        let attributes = Fields(&all).attributes().unwrap();
        assert_eq!(attributes, Attributes { size: Some(5), mode: Some(0o100_644), modified: Some(9) });
    }
}
