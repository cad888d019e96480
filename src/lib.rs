//! The toolkit: programs that install, audit, watch and move, around the gate.

pub mod afiles;
pub mod akeys;
pub mod authkeys;
pub mod awatch;
pub mod card;
pub mod common;
pub mod event;
pub mod sys;
