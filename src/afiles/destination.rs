//! Where files are to arrive: a directory that may be written by what somebody else sends.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::layout::Layout;

use super::catalog::{Catalog, Copy, Way};
use super::words::Remote;
use crate::common::exit::{Exit, Failure};
use crate::common::private::{self, PrivateError};

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
            return Err(Failure::new(Exit::Conflict, format!("{} is there already", shown())));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(Exit::Failed, format!("{}: {error}", shown()))),
    }
    let name =
        path.file_name().ok_or_else(|| Failure::new(Exit::Usage, format!("{} is no name", shown())))?;
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

/// A directory that is a copy, or becomes one. Nobody else changes it as one meanwhile.
#[derive(Debug)]
pub struct Destination {
    real: PathBuf,
    _lock: File,
}

impl Destination {
    /// Opens the directory at `path`, and makes it if it is missing.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self, Failure> {
        if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let new = new_name(path, layout)?;
            fs::create_dir(new.path())
                .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", Escaped::os(path))))?;
        }
        let named = |error: io::Error| Failure::named(&error, format!("{}: {error}", Escaped::os(path)));
        let real = path.canonicalize().map_err(named)?;
        if !real.is_dir() {
            return Err(Failure::new(Exit::Failed, format!("{} is not a directory", Escaped::os(path))));
        }
        refuse(&real, layout)?;
        Ok(Self { _lock: lock(&real, layout)?, real })
    }

    /// Where it is, without symlinks.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// The copy of `source` that it is from now on.
    ///
    /// # Errors
    /// `Conflict` when it is a copy of something else, unless that is to be forgotten.
    pub fn copy_of(
        &self,
        source: &Remote,
        catalog: &Catalog,
        way: Way,
        forget: bool,
    ) -> Result<Copy, Failure> {
        let wanted = source.to_string();
        match catalog.copy_in(&self.real)? {
            Some(copy) if copy.source != wanted && !forget => {
                let message = format!("{} is a copy of {}", Escaped::os(&self.real), copy.source);
                Err(Failure::new(Exit::Conflict, message)
                    .hint("another directory, or --adopt, which forgets where its files came from"))
            }
            _ => Ok(catalog.adopt(&self.real, &wanted, way)?),
        }
    }
}

/// Whether somebody is changing the copy in `real` at the moment.
pub fn is_locked(real: &Path, layout: &Layout) -> bool {
    File::open(layout.copy_lock(real)).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn lock(real: &Path, layout: &Layout) -> Result<File, Failure> {
    let path = layout.copy_lock(real);
    private::directory(path.parent().unwrap_or(Path::new("/")))?;
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(PrivateError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(Exit::Conflict, format!("another afiles is at work in {}", Escaped::os(real)))
                .hint("afiles status"))
        }
        Err(TryLockError::Error(error)) => Err(PrivateError::io(&path)(error).into()),
    }
}

/// A path that somebody typed, as the catalog has it: absolute, its directory without symlinks. It need not exist.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| Failure::named(&error, format!("{}: {error}", Escaped::os(path)));
    let full = std::path::absolute(path).map_err(failed)?;
    if let Ok(real) = full.canonicalize()
        && real.is_dir()
    {
        return Ok(real);
    }
    match (full.parent(), full.file_name()) {
        (Some(parent), Some(name)) => {
            Ok(parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name))
        }
        _ => Ok(full),
    }
}
