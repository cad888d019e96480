//! Sessions with the account that has a workspace.

use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;

use super::find::{Found, find};
use super::sftp::Sftp;
use super::words::Remote;
use crate::common::exit::Failure;
use crate::common::ssh::Connection;

/// A workspace that was found, and how it is reached.
#[derive(Debug)]
pub struct Workspace {
    /// Where it is.
    pub found: Found,
    layout: Layout,
}

impl Workspace {
    /// Finds the workspace that `remote` is in.
    pub fn find(remote: &Remote, layout: &Layout) -> Result<Self, Failure> {
        Ok(Self { found: find(remote, layout)?, layout: layout.clone() })
    }

    /// The held connection with the key for `tool`.
    pub fn connect(&self, tool: Tool) -> Result<Connection, Failure> {
        Ok(Connection::hold(&self.found.ssh(tool, &self.layout)?, &self.layout)?)
    }

    /// A new SFTP session.
    pub fn sftp(&self) -> Result<Sftp, Failure> {
        Ok(Sftp::open(self.connect(Tool::Sftp)?.subsystem("sftp"))?)
    }
}
