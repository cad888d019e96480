//! Extended attributes from one open file to another. POSIX ACLs are extended attributes, `system.posix_acl_access`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

use xattr::FileExt as _;

const ACCESS_ACL: &str = "system.posix_acl_access";

/// Gives `new` exactly the extended attributes of `old`. The error names the attribute that could not be set.
///
/// An attribute that is the same already (a label of SELinux that both got from the directory) is not set again, because
/// setting it may need a right that having it does not. Hashes of the content are not properties to carry over.
pub(super) fn copy(old: &File, new: &File) -> Result<(), (OsString, io::Error)> {
    let wanted = names(old)?;
    for name in names(new)? {
        // A default ACL of the directory: the old file does not have it.
        if !wanted.contains(&name) && !is_label(&name) {
            new.remove_xattr(&name).map_err(|error| (name, error))?;
        }
    }
    for name in wanted {
        if name == "security.ima" || name == "security.evm" {
            continue;
        }
        let value = old.get_xattr(&name).map_err(|error| (name.clone(), error))?;
        let same = new.get_xattr(&name).is_ok_and(|have| have == value);
        if let (Some(value), false) = (value, same) {
            new.set_xattr(&name, &value).map_err(|error| (name, error))?;
        }
    }
    Ok(())
}

/// Takes away an ACL that a new file got from its directory's default: nobody else was meant to read this file.
pub(super) fn drop_inherited_acl(new: &File) {
    let _ = new.remove_xattr(ACCESS_ACL);
}

fn names(file: &File) -> Result<Vec<OsString>, (OsString, io::Error)> {
    match file.list_xattr() {
        Ok(names) => Ok(names.collect()),
        // A file system without extended attributes has none to lose.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Vec::new()),
        Err(error) => Err((OsString::from("list of extended attributes"), error)),
    }
}

/// A label of a security module is not removed, only replaced.
fn is_label(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"security.")
}
