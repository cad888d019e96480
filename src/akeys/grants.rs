//! The policies of an account, by name.

use std::fs;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

/// The names of all policies, in order, whether they can be read or not.
pub fn names(layout: &Layout) -> Vec<GrantName> {
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok();
    let mut names: Vec<GrantName> =
        fs::read_dir(layout.grants_dir()).into_iter().flatten().flatten().filter_map(name).collect();
    names.sort();
    names
}

/// The federation and the pod in a grant's name: `FEDERATION.POD` or `FEDERATION.POD.SET`.
pub fn parts(name: &GrantName) -> Option<(Label, Label)> {
    let mut parts = name.as_str().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
