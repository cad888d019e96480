//! How the errors of the parts end the program, and what helps against them.

use jiff::Timestamp;
use nix::errno::Errno;
use rrsync_rs::escape::Escaped;
use rrsync_rs::name::Label;
use rrsync_rs::trusted::Distrust;

use super::bundle::{BadSuccessor, MergeError, PodKey, Received};
use super::gate::GateError;
use super::key_pair::KeyPairError;
use super::policy::{NotApplicable, PolicyError};
use super::safe_write::WriteError;
use super::shelf::ShelfError;
use super::strict::quoted;
use super::words::Fingerprint;
use crate::card::CardError;
use crate::common::exit::{Exit, Failure};
use crate::common::input::InputError;
use crate::common::moment::in_words;
use crate::common::private::PrivateError;

/// Refuses an end that is over already, for a key that is still to be made or installed.
pub(super) fn refuse_past(end: Option<Timestamp>) -> Result<(), Failure> {
    match end.filter(|end| *end <= Timestamp::now()) {
        Some(end) => {
            Err(Failure::new(Exit::Failed, format!("the key would have ended on {}", in_words(end)))
                .hint("say another end: --expires WHEN"))
        }
        None => Ok(()),
    }
}

/// Refuses a bundle that another key has signed than the one that was demanded.
pub(super) fn demand_signer(demanded: Option<&Fingerprint>, comes: &Received) -> Result<(), Failure> {
    let Some(demanded) = demanded else { return Ok(()) };
    let signer = comes.signer.as_ref().map(PodKey::fingerprint);
    if signer.as_ref() == Some(&demanded.0) {
        return Ok(());
    }
    let message = format!(
        "the bundle of federation {} is not signed by the key that was demanded\n  demanded: {}\n  bundle:   {}",
        comes.bundle.federation,
        demanded.0,
        signer.as_deref().unwrap_or("nobody")
    );
    Err(Failure::new(Exit::Conflict, message))
}

/// How a bundle that may not take the place of the one that is here ends the program.
pub(super) fn bundle_failure(error: &BadSuccessor, federation: &Label) -> Failure {
    let message = match error {
        BadSuccessor::Merge(MergeError::Offer { here, there, .. }) => format!(
            "federation {federation}: {error}\n  here:   {} {}\n  bundle: {} {}",
            here.key.fingerprint(),
            here.wants(),
            there.key.fingerprint(),
            there.wants()
        ),
        _ => format!("federation {federation}: {error}"),
    };
    let failure = Failure::new(Exit::Conflict, message);
    match error {
        BadSuccessor::Older { .. } | BadSuccessor::Twice(_) | BadSuccessor::Returns { .. } => {
            failure.hint("nothing was changed; ask the sender for the newest bundle")
        }
        BadSuccessor::Signer { .. } | BadSuccessor::Merge(_) => failure.hint(format!(
            "when the sender confirms it: akeys federation remove --imported {federation}, then import again"
        )),
    }
}

impl From<PrivateError> for Failure {
    fn from(error: PrivateError) -> Self {
        let exists = matches!(error, PrivateError::Exists { .. });
        let failure = Self::new(if exists { Exit::Conflict } else { Exit::Failed }, &error);
        match error {
            PrivateError::Untrusted { path, reason: Distrust::Mode } => {
                failure.hint(format!("chmod go-w {}", Escaped::os(&path)))
            }
            PrivateError::Busy { path } => {
                failure.hint(format!("nothing was changed; fuser -v {} shows which", Escaped::os(&path)))
            }
            _ => failure,
        }
    }
}

impl From<KeyPairError> for Failure {
    fn from(error: KeyPairError) -> Self {
        match error {
            KeyPairError::File(error @ PrivateError::Exists { .. }) => Self::from(error)
                .hint("a key is never overwritten: move it away, or choose another federation or pod name"),
            KeyPairError::File(error) => error.into(),
            other => Self::new(Exit::Failed, other),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::File(PrivateError::Io { ref source, .. }) => Self::named(source, &error),
            InputError::File(error) => error.into(),
            InputError::Invalid { .. } => Self::new(Exit::Failed, error),
        }
    }
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Input(error) => error.into(),
            ShelfError::Misnamed { .. } => Self::new(Exit::Failed, error),
        }
    }
}

impl From<CardError> for Failure {
    fn from(error: CardError) -> Self {
        match error {
            CardError::Input(error) => error.into(),
            CardError::Misplaced { .. } => Self::new(Exit::Failed, error),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let failure = Self::new(Exit::Failed, &error);
        match error {
            WriteError::Blocked { blocked, .. } => failure.hint(blocked.hint()),
            WriteError::Carry { path, what, .. } if what == "group" => failure
                .hint(format!("give it a group of this account: chgrp \"$(id -gn)\" {}", quoted(&path))),
            // What nobody may replace although they may write it has a flag of chattr(1).
            WriteError::Io { path, source } if source.raw_os_error() == Some(Errno::EPERM as i32) => {
                let both = format!("{} {}", quoted(&path), quoted(path.parent().unwrap_or(&path)));
                failure.hint(format!(
                    "is one of them immutable? lsattr -d {both}; root takes the flag off: chattr -ia"
                ))
            }
            _ => failure,
        }
    }
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        let hint = match &error {
            GateError::Missing { .. } => {
                "install rrsync-rs beside akeys, or say where it is: --gate PATH".to_owned()
            }
            GateError::Untrusted { path, reason: Distrust::Mode } => {
                format!("chmod go-w {}", Escaped::os(path))
            }
            GateError::NotExecutable { path } => format!("chmod +x {}", Escaped::os(path)),
            GateError::Name { .. } => "the gate's file name starts with rrsync-rs".to_owned(),
            GateError::Untrusted { .. } => {
                "name a gate that only you and root can exchange: --gate PATH".to_owned()
            }
            GateError::Path { .. } => {
                "install it under a plain path, such as ~/.local/bin/rrsync-rs or /usr/local/bin/rrsync-rs"
                    .to_owned()
            }
        };
        Self::new(Exit::Failed, error).hint(hint)
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Write(error) => error.into(),
            PolicyError::NotApplicable { source: NotApplicable::NoWorkspace(_), .. } => {
                Self::new(Exit::NoMatch, error)
            }
            PolicyError::NotApplicable { source: NotApplicable::Named(..), .. } => {
                Self::new(Exit::Conflict, error)
            }
            PolicyError::Otherwise { .. } => Self::new(Exit::Failed, error).hint("edit the file by hand"),
            other => Self::new(Exit::Failed, other),
        }
    }
}
