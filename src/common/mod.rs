//! What the programs share: how they end, what they print, and how they keep private files.

pub mod child;
pub mod clock;
pub mod command_line;
pub mod exit;
pub mod input;
pub mod json;
pub mod live;
pub mod lock;
pub mod moment;
pub mod parallel;
pub mod private;
pub mod report;
pub mod ssh;
pub mod toml_text;
