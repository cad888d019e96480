//! System calls that no crate wraps: the only place with `unsafe`.

pub mod lease;
pub mod writeback;
