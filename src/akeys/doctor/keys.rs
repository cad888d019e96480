//! The key file and the policies behind it.

use std::fs;
use std::io;

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::load;
use rrsync_rs::layout::Layout;

use super::check::Check;
use crate::akeys::account::Account;
use crate::akeys::grants;
use crate::akeys::source;
use crate::akeys::strict::{self, FaultKind, quoted};

/// The checks of the files that decide who may do what.
pub(super) fn checks(account: &Account, layout: &Layout) -> Vec<Check> {
    let mut checks = key_file(account, layout);
    checks.extend(policies(layout));
    checks
}

/// `StrictModes`, for the file or, while it is missing, for its directory.
fn key_file(account: &Account, layout: &Layout) -> Vec<Check> {
    let file = layout.authorized_keys();
    let ssh = layout.ssh_dir();
    let nowhere = file.symlink_metadata().is_ok() && file.metadata().is_err();
    if let Some(error) = source::regular(&file)
        .err()
        .filter(|error| nowhere || error.kind() == io::ErrorKind::PermissionDenied)
    {
        // sshd opens it with the rights of the account.
        let message = format!("{}: {error}: sshd cannot read it either", Escaped::os(&file));
        return vec![Check::fail("strict-modes", message).mend(format!("ls -lL {}", quoted(&file)))];
    }
    let (place, faults) = match fs::metadata(&file) {
        Ok(_) => (file.clone(), strict::faults(&file, layout.home(), account.uid)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && ssh.is_dir() => {
            let faults = strict::faults(&ssh, layout.home(), account.uid);
            (
                ssh,
                faults.map(|all| all.into_iter().filter(|fault| fault.kind != FaultKind::NotAFile).collect()),
            )
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let home = layout.home().to_owned();
            let faults = fs::metadata(&home).map(|metadata| strict::of_one(&home, &metadata, account.uid));
            (home, faults)
        }
        Err(error) => return vec![Check::fail("strict-modes", format!("{}: {error}", Escaped::os(&file)))],
    };
    match faults {
        Err(error) => vec![Check::fail("strict-modes", format!("{}: {error}", Escaped::os(&place)))],
        Ok(faults) if faults.is_empty() => {
            let missing = if place == file { "" } else { "; no key file yet" };
            vec![Check::pass(
                "strict-modes",
                format!("only this account can write {}{missing}", Escaped::os(&place)),
            )]
        }
        Ok(faults) => faults
            .into_iter()
            .map(|fault| {
                let mend = fault.mend(&account.name);
                match fault.kind {
                    FaultKind::OwnGroup(_) => Check::warn(
                        "strict-modes",
                        format!("{fault}: only the sshd of Debian and Ubuntu still reads the keys"),
                    ),
                    FaultKind::Acl(_) => Check::fail("strict-modes", format!("{fault}, and so add keys")),
                    _ => Check::fail("strict-modes", format!("{fault}: sshd ignores every key")),
                }
                .mend(mend)
            })
            .collect(),
    }
}

/// Every policy as the gate would read it.
fn policies(layout: &Layout) -> Vec<Check> {
    let names = grants::names(layout);
    let broken: Vec<Check> = names
        .iter()
        .filter_map(|name| load(name, layout).err().map(|error| (name, error)))
        .map(|(name, error)| {
            let path = layout.grant_file(name);
            Check::fail("policy", format!("the gate refuses {name}: {error}"))
                .mend(format!("chmod go-w {}", quoted(&path)))
        })
        .collect();
    if broken.is_empty() && !names.is_empty() {
        return vec![Check::pass("policy", format!("the gate can read all {} policies", names.len()))];
    }
    broken
}
