//! The directory that a user means by a word: where it really is, and how a policy writes it.

use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::words;
use crate::common::exit::{Exit, Failure};

/// The directory with every symlink resolved: what is granted must not change because a link does.
pub fn resolved(written: &Path, layout: &Layout) -> Result<PathBuf, Failure> {
    let written = written.to_str().and_then(|text| layout.expand(text)).unwrap_or_else(|| written.to_owned());
    let place = format!("workspace {}", Escaped::os(&written));
    let real = written.canonicalize().map_err(|error| {
        let failure = Failure::named(&error, format!("{place}: {error}"));
        match words::taken_for_name(&written) {
            Some(hint) if failure.exit == Exit::NoMatch => failure.hint(hint),
            _ => failure,
        }
    })?;
    if !real.is_dir() {
        return Err(Failure::new(Exit::Failed, format!("{place}: is not a directory")));
    }
    Ok(real)
}

/// The real path, but below the home as `HOME` has it, so that policies keep reading `~/papers` where the home itself is
/// reached through a symlink.
pub fn as_below_home(real: &Path, layout: &Layout) -> PathBuf {
    let home = layout.home().canonicalize();
    let below = home.ok().and_then(|home| Some(layout.home().join(real.strip_prefix(home).ok()?)));
    below.unwrap_or_else(|| real.to_owned())
}
