//! The `authorized_keys` format: what a file says, what sshd makes of it, and edits that touch nothing else.
//!
//! A file is bytes, and stays bytes: [`KeyFile`] keeps them as they are and its lines are spans, so writing back what
//! was read is the identity. Over that lie two readers. The strict one, [`Line::read`], is a model of sshd's own, quirk
//! by quirk, for a given [`Target`]; what it calls an entry is what that sshd would use. The tolerant one,
//! [`KeyFile::find`], recognises a key in any broken line, so that junk never stands in the way of a revocation.
//!
//! Nothing here may loosen a line: an edit changes its own span only, and refuses what could not be read back as meant.

pub(crate) mod base64;
#[cfg(test)]
mod cases;
mod curve;
mod dead;
mod edit;
mod explain;
mod file;
mod find;
mod from;
mod key;
mod options;
mod patch;
mod read;
mod services;
#[cfg(test)]
mod table;
mod values;
mod write;

pub use dead::{Dead, Reason};
pub use edit::{DISABLED, EditError, Outcome, Removal, Removed};
pub use explain::{Answer, Context, Needs, Refusal, Why};
pub use file::{KeyFile, Line};
pub use find::{Found, Needle, Place, keys_in};
pub use from::FromMatch;
pub use key::{Algorithm, BadKey, Key};
pub use options::{OptionItem, Options};
pub use patch::{After, Patch, Touched};
pub use read::{Entry, Reading, Rules, Target};
pub use values::{Expiry, Zone};
pub use write::{OptionList, Unwritable, key_line};
