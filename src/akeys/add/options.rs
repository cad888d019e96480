//! What was said on the command line about what a key may do, as the options of its line.

use std::ffi::OsStr;

use crate::akeys::cli::{KeyOptions, Right};
use crate::authkeys::{OptionList, Target, Unwritable};
use crate::common::exit::{Exit, Failure};

impl Right {
    /// The option that gives it back.
    fn option(self) -> &'static str {
        match self {
            Self::Pty => "pty",
            Self::PortForwarding => "port-forwarding",
            Self::AgentForwarding => "agent-forwarding",
            Self::X11Forwarding => "X11-forwarding",
            Self::UserRc => "user-rc",
        }
    }
}

/// The options that were said, `restrict` first and the command last.
pub fn option_list(said: &KeyOptions) -> Result<OptionList, Failure> {
    if let Some(text) = &said.options {
        return checked(text.as_encoded_bytes());
    }
    let forwards = !said.restrict || said.permit.contains(&Right::PortForwarding);
    if !forwards && (!said.permitopen.is_empty() || !said.permitlisten.is_empty()) {
        let message =
            "permitopen and permitlisten limit forwarding, which restrict forbids: they would do nothing";
        return Err(Failure::new(Exit::Usage, message).hint("permit port-forwarding as well"));
    }
    let list = build(said).map_err(|error| Failure::new(Exit::Usage, error))?;
    checked(list.as_bytes())
}

/// Options as they are written; what some sshd would not read is refused.
pub fn checked(text: &[u8]) -> Result<OptionList, Failure> {
    let mut list = OptionList::none();
    for target in Target::OPENSSH {
        list = OptionList::parse(text, target).map_err(|error| {
            let failure = Failure::new(Exit::Usage, format!("the options: {error}"));
            match &error {
                Unwritable::BadOption(dead) => match dead.reason.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                },
                _ => failure,
            }
        })?;
    }
    Ok(list)
}

fn build(said: &KeyOptions) -> Result<OptionList, Unwritable> {
    let mut list = OptionList::none();
    if said.cert_authority {
        list = list.flag("cert-authority");
    }
    if said.restrict {
        list = list.flag("restrict");
    }
    for right in &said.permit {
        list = list.flag(right.option());
    }
    if let Some(from) = &said.from {
        list = list.from(from.patterns())?;
    }
    if let Some(end) = said.expires {
        list = list.expires(end)?;
    }
    let values = |name: &'static str, words: &[_]| -> Vec<(&'static str, Vec<u8>)> {
        words.iter().map(|word: &std::ffi::OsString| (name, OsStr::as_encoded_bytes(word).to_vec())).collect()
    };
    let mut rest = values("principals", said.principals.as_slice());
    rest.extend(values("permitopen", &said.permitopen));
    rest.extend(values("permitlisten", &said.permitlisten));
    rest.extend(values("environment", &said.environment));
    rest.extend(values("command", said.command.as_slice()));
    rest.into_iter().try_fold(list, |list, (name, value)| list.value(name, &value))
}
