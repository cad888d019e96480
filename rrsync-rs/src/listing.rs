//! `host:` without a path: the names of a grant's workspaces, as a directory that rsync can list.
//!
//! The directory is the gate's own, in the state directory: one empty directory for each workspace, with nothing of the
//! workspaces themselves in it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::grant::{Access, Workspace};
use crate::policy::{Exposed, Policy};
use crate::rsync::options::Parsed;
use crate::rsync::words::Word;

/// Whether a pull asks for the names and for nothing that is in the workspaces.
///
/// Only a listing is answered so: a recursive copy of these directories would look like the workspaces, and be empty.
pub fn is_wanted(parsed: &Parsed, paths: &[Word], policy: &Policy) -> bool {
    let root = |word: &Word| matches!(word.unescaped().as_slice(), b"." | b"" | b"/" | b"./" | b"~" | b"~/");
    let named = policy.exposed.iter().all(|exposed| exposed.name.is_some());
    let recursive = parsed.has_letter(b'r') || parsed.has_long("recursive");
    named && !recursive && parsed.has_letter(b'd') && paths.iter().all(root)
}

/// Makes `directory` hold exactly the names of the policy's workspaces, and exposes it.
pub fn expose(directory: &Path, policy: &Policy) -> io::Result<Policy> {
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(directory)?;
    let names: Vec<&str> = policy
        .exposed
        .iter()
        .filter_map(|e| e.name.as_ref())
        .map(crate::name::WorkspaceName::as_str)
        .collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !names.iter().any(|name| entry.file_name() == *name) {
            fs::remove_dir(entry.path())?;
        }
    }
    for name in names {
        private.create(directory.join(name))?;
    }
    let exposed = vec![Exposed::open(None, Workspace::new(directory, Access::ReadOnly), false)?];
    Ok(Policy { exposed, missing: Vec::new() })
}
