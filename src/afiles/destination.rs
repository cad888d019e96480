//! Where files are to arrive: a directory that may be written by what somebody else sends.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::layout::Layout;

use crate::common::exit::{Exit, Failure};

/// A name that is to be made: the real path of its directory, and the name.
#[derive(Debug)]
pub struct NewName {
    /// The directory, which exists.
    pub parent: PathBuf,
    /// One component.
    pub name: Vec<u8>,
}

impl NewName {
    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.parent.join(OsStr::from_bytes(&self.name))
    }
}

/// Checks that `path` can be a new name.
pub fn new_name(path: &Path, layout: &Layout) -> Result<NewName, Failure> {
    let shown = || Escaped::os(path).to_string();
    match path.symlink_metadata() {
        Ok(_) => {
            return Err(Failure::new(Exit::Conflict, format!("{} is there already", shown()))
                .hint("afiles pull brings a directory up to date"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(Exit::Failed, format!("{}: {error}", shown()))),
    }
    let name = path.file_name().ok_or_else(|| Failure::new(Exit::Usage, format!("{} is no name", shown())))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent
        .canonicalize()
        .map_err(|error| Failure::named(&error, format!("{}: {error}", Escaped::os(parent))))?;
    refuse(&parent.join(name), layout)?;
    Ok(NewName { parent, name: name.as_bytes().to_owned() })
}

/// Refuses a directory in which what others send would decide what this account runs, or who may log in to it.
pub fn refuse(real: &Path, layout: &Layout) -> Result<(), Failure> {
    let program = std::env::current_exe().ok();
    let binaries: Vec<&Path> = program.as_deref().and_then(Path::parent).into_iter().collect();
    exposure::refuse(real, true, layout, &binaries).map_err(|exposure| {
        Failure::new(Exit::Failed, format!("nothing may arrive there: {exposure}"))
            .hint("choose a directory that holds nothing else")
    })
}
