//! How the errors of the parts end the program, and what helps against them.

use super::get::GetError;
use super::receive::ReceiveError;
use super::sftp::SftpError;
use crate::common::exit::{Exit, Failure};

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

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Sftp(error) => error.into(),
            GetError::Receive(error) => error.into(),
        }
    }
}
