//! What the fuzz targets do with their bytes. Each function takes whatever a client, or a file, may hold, and panics when
//! something does not hold that must.
//!
//! They stand here so that three drivers share them: libFuzzer (`targets/`), a plain test (`tests/smoke.rs`) for where there
//! is none, and the tests of the programs, which try what was found before.

pub mod gate;
pub mod inputs;
#[cfg(feature = "akeys")]
pub mod keys;

use gate::Target;

#[cfg(feature = "akeys")]
const KEYS: &[Target] = &[("authorized_keys", keys::authorized_keys)];
#[cfg(not(feature = "akeys"))]
const KEYS: &[Target] = &[];

/// Every target.
pub fn targets() -> Vec<Target> {
    [gate::TARGETS, KEYS].concat()
}
