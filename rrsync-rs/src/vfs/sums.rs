//! The sum of what a client has read from an open file, or written to it, for the record.
//!
//! Made as the content goes by, as long as it does so from the first byte to the last and in order, as it does with every
//! usual client.

use std::cell::RefCell;

use crate::sha256::{Sum, Summing};

/// A sum in the making.
#[derive(Debug, Default)]
pub(super) struct Run(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    summing: Summing,
    next: u64,
    broken: bool,
}

impl Run {
    /// `piece` has gone by at `offset`.
    pub(super) fn add(&self, piece: &[u8], offset: u64) {
        let mut state = self.0.borrow_mut();
        if offset != state.next {
            state.broken = true;
        }
        if !state.broken {
            state.summing.add(piece);
            state.next += piece.len() as u64;
        }
    }

    /// The content is not only what goes by here.
    pub(super) fn spoil(&self) {
        self.0.borrow_mut().broken = true;
    }

    /// The sum, if it is that of all `size` bytes.
    pub(super) fn of(&self, size: u64) -> Option<Sum> {
        let state = self.0.borrow();
        (!state.broken && state.next == size).then(|| state.summing.clone().finish())
    }
}
