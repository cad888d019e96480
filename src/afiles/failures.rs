//! How the errors of the parts end the program, and what helps against them.

use super::catalog::CatalogError;
use super::receive::ReceiveError;
use super::rsync::RsyncError;
use super::sftp::SftpError;
use crate::common::exit::{Exit, Failure};
use crate::common::ssh::SshError;

/// Why files do not move any further.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The way to the host.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The SFTP server there, or the way to it.
    #[error(transparent)]
    Sftp(#[from] SftpError),
    /// rsync, here or there.
    #[error(transparent)]
    Rsync(#[from] RsyncError),
    /// The disk here.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// What is known of the copy.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<SftpError> for Failure {
    fn from(error: SftpError) -> Self {
        let failure = Self::new(if error.is_missing() { Exit::NoMatch } else { Exit::Failed }, &error);
        match error {
            // sshd passes on nothing of what a refused subsystem says.
            SftpError::Lost(said) if said.is_empty() => failure
                .hint("the key may not be for SFTP: ask the account's owner for akeys grant set GRANT --tools rsync,sftp,watch"),
            _ => failure,
        }
    }
}

impl From<RsyncError> for Failure {
    fn from(error: RsyncError) -> Self {
        let failure = Self::new(Exit::Failed, &error);
        match error {
            RsyncError::Start(error) if error.kind() == std::io::ErrorKind::NotFound => {
                failure.hint("install rsync")
            }
            _ => failure,
        }
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Directory(error) => error.into(),
            error => Self::new(Exit::Failed, error),
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Ssh(error) => error.into(),
            TransferError::Sftp(error) => error.into(),
            TransferError::Rsync(error) => error.into(),
            TransferError::Receive(error) => error.into(),
            TransferError::Catalog(error) => error.into(),
        }
    }
}
