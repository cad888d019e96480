//! Getting files over SFTP: many at once, each of them one content and no mixture of two.
//!
//! A small file is one request and one reply. A file whose last change, by the clock of its own host, is older than the
//! moment at which the host began to read it has not changed while it was read. One that is younger may have: it is believed
//! when its content has the sum that the watcher there has seen. Otherwise it is read once more, after a moment, and
//! believed when it has not changed since the first time.

use std::collections::VecDeque;
use std::time::Duration;

use nix::sys::stat::SFlag;
use rrsync_rs::sha256::Sum;

use super::failures::TransferError;
use super::find::Found;
use super::receive::{Attributes, Incoming, ReceiveError, Tree};
use super::sftp::{Fetched, LARGEST_FETCH, Sftp, SftpError, State, Ticket};
use super::tell::Teller;
use crate::event::EventPath;

/// Up to this size files come over SFTP, whole. Larger ones come by rsync: what is here already is a basis, and what was
/// interrupted goes on. See docs/following.md for where the two meet.
pub const LARGEST_BY_SFTP: u64 = 4 << 20;

/// How many files are asked for at once.
const FILES: usize = 256;

/// How many bytes may come back at once.
const BYTES: u64 = 2 << 20;

/// What one request for a piece of a large file asks for, and how many of those are under way.
const PIECE: u32 = 128 * 1024;
const PIECES: usize = 16;

/// How far the time of a change may lie behind the clock, in nanoseconds: a tick of the slowest kernels is 10 ms.
const TICK: i64 = 20_000_000;

/// How often a file that keeps changing is read again before others come first.
const ATTEMPTS: u32 = 8;

/// A path that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is called on the wire.
    pub wire: Vec<u8>,
    /// Where it is to be.
    pub path: EventPath,
    /// How large it is said to be.
    pub size: Option<u64>,
    /// The sum that its content is said to have.
    pub sum: Option<Sum>,
    /// The time that it is said to have. What has another by now has been changed since.
    pub as_of: Option<i64>,
}

impl Wanted {
    /// Whatever there is at `path` of what was found.
    pub fn of(found: &Found, path: EventPath) -> Self {
        Self { wire: found.wire(&path), path, size: None, sum: None, as_of: None }
    }

    /// Whether what was read is what was told. The state is from after the reading: with another time it is that of another content.
    fn is_told(&self, sum: impl FnOnce() -> Sum, state: &State) -> bool {
        self.as_of.is_some_and(|time| time == state.modified) && self.sum.is_some_and(|told| told == sum())
    }
}

/// What is at a path that was wanted.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is usually a file")]
pub enum Got<'t> {
    /// A regular file, complete, and not in its place yet.
    File(Incoming<'t>, State),
    /// A symlink, and what it says.
    Link(Vec<u8>, State),
    /// A directory.
    Directory(State),
    /// Something that cannot be transferred: a FIFO, a socket, a device.
    Special,
    /// Nothing.
    Missing,
    /// A regular file that is larger than the caller wants to get this way.
    Large,
    /// A regular file that has not stopped changing.
    Busy,
    /// Something that this pod may not read, and what the server said.
    Refused(String),
    /// A file that cannot be received.
    Failed(ReceiveError),
}

/// What a file was found to be, as far as it has been read.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is usually a file")]
enum Read<'t> {
    Got(Got<'t>),
    /// It may have changed meanwhile; its state at the end.
    Unsteady(State),
}

/// Gets what is wanted, in order, and hands each over by its number. `largest` is the size up to which files are wanted.
pub fn get<'t>(
    sftp: &mut Sftp,
    tree: &'t Tree,
    teller: &Teller,
    wanted: &[Wanted],
    largest: u64,
    each: &mut dyn FnMut(usize, Got<'t>) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let mut left: Vec<(usize, Option<State>)> = (0..wanted.len()).map(|index| (index, None)).collect();
    for attempt in 0..ATTEMPTS {
        let mut again = Vec::new();
        let mut under_way: VecDeque<(usize, Option<State>, Ticket, u64)> = VecDeque::new();
        let mut bytes = 0;
        let mut next = left.iter();
        loop {
            while under_way.len() < FILES
                && bytes < BYTES
                && let Some((index, earlier)) = next.next().copied()
                && let Some(want) = wanted.get(index)
            {
                let limit = limit(want);
                under_way.push_back((index, earlier, sftp.fetch(&want.wire, limit)?, limit.into()));
                bytes += u64::from(limit);
            }
            let Some((index, earlier, ticket, limit)) = under_way.pop_front() else { break };
            bytes -= limit;
            let Some(want) = wanted.get(index) else { continue };
            let fetched = sftp.fetched(ticket);
            match read(sftp, tree, teller, want, earlier, fetched, largest)? {
                Read::Got(got) => each(index, got)?,
                Read::Unsteady(state) => again.push((index, Some(state))),
            }
        }
        left = again;
        if left.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_nanos(TICK.unsigned_abs()) * (1 << attempt.min(4)));
    }
    left.into_iter().try_for_each(|(index, _)| each(index, Got::Busy))
}

/// How much of it is asked for at first: a little more than there should be, so that one request is enough.
fn limit(want: &Wanted) -> u32 {
    let size = want.size.map_or(LARGEST_FETCH, |size| u32::try_from(size).unwrap_or(LARGEST_FETCH));
    // Of a large file nothing yet: it is opened.
    if size > LARGEST_FETCH { 0 } else { size.saturating_add(1024).min(LARGEST_FETCH) }
}

fn read<'t>(
    sftp: &mut Sftp,
    tree: &'t Tree,
    teller: &Teller,
    want: &Wanted,
    earlier: Option<State>,
    fetched: Result<Fetched, SftpError>,
    largest: u64,
) -> Result<Read<'t>, TransferError> {
    let Fetched { content, state } = match fetched {
        Err(error) if error.is_final() => return Err(error.into()),
        Err(error) => return Ok(Read::Got(failed(&error))),
        Ok(fetched) => fetched,
    };
    let got = match SFlag::from_bits_truncate(state.mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFLNK => Got::Link(content, state),
        SFlag::S_IFDIR => Got::Directory(state),
        SFlag::S_IFREG if state.size > largest => Got::Large,
        SFlag::S_IFREG if state.size > content.len() as u64 => {
            return large(sftp, tree, teller, want, earlier);
        }
        SFlag::S_IFREG => {
            let steady =
                is_steady(state.clock, earlier, &state) || want.is_told(|| Sum::of(&content), &state);
            if !steady || state.size < content.len() as u64 {
                return Ok(Read::Unsteady(state));
            }
            match receive(tree, want, &content, &state) {
                Ok(incoming) => Got::File(incoming, state),
                Err(error) => Got::Failed(error),
            }
        }
        _ => Got::Special,
    };
    Ok(Read::Got(got))
}

/// Reads a file piece by piece through one handle.
fn large<'t>(
    sftp: &mut Sftp,
    tree: &'t Tree,
    teller: &Teller,
    want: &Wanted,
    earlier: Option<State>,
) -> Result<Read<'t>, TransferError> {
    let handle = match sftp.open_file(&want.wire) {
        Err(error) if error.is_final() => return Err(error.into()),
        Err(error) => return Ok(Read::Got(failed(&error))),
        Ok(handle) => handle,
    };
    let before = sftp.state(&handle).and_then(|ticket| sftp.stated(ticket))?;
    let mut incoming = match tree.begin(&want.path) {
        Ok(incoming) => incoming,
        Err(error) => {
            sftp.close(&handle)?;
            return Ok(Read::Got(Got::Failed(error)));
        }
    };
    let mut under_way = VecDeque::new();
    let (mut asked, mut complete_so_far) = (0, true);
    loop {
        while under_way.len() < PIECES && asked < before.size {
            under_way.push_back((asked, sftp.read(&handle, asked, PIECE)?));
            asked += u64::from(PIECE);
        }
        let Some((offset, ticket)) = under_way.pop_front() else { break };
        let wanted = usize::try_from((before.size - offset).min(PIECE.into())).unwrap_or(0);
        let data = sftp.data(ticket)?;
        complete_so_far &= data.len() == wanted;
        // What comes after a piece that is too short is not where it belongs; only its reply is taken.
        if complete_so_far {
            incoming.add(&data)?;
            teller.moving(incoming.size());
        }
    }
    let after = sftp.state(&handle).and_then(|ticket| sftp.stated(ticket))?;
    sftp.close(&handle)?;
    let same = complete_so_far && after.size == before.size;
    let steady = is_steady(before.clock, earlier, &after) || want.is_told(|| incoming.sum(), &after);
    if !(same && steady) {
        return Ok(Read::Unsteady(after));
    }
    complete(&mut incoming, &after)?;
    Ok(Read::Got(Got::File(incoming, after)))
}

/// Whether a file that is in this `state` now has not changed since its host's clock said `clock`, or since it was found in
/// an `earlier` one. A clock that was set back makes files of the future, which only the second can judge.
fn is_steady(clock: i64, earlier: Option<State>, state: &State) -> bool {
    let same = |earlier: State| {
        (earlier.changed, earlier.size, earlier.identity) == (state.changed, state.size, state.identity)
    };
    state.changed < clock.saturating_sub(TICK) || earlier.is_some_and(same)
}

fn receive<'t>(
    tree: &'t Tree,
    want: &Wanted,
    content: &[u8],
    state: &State,
) -> Result<Incoming<'t>, ReceiveError> {
    let mut incoming = tree.begin(&want.path)?;
    incoming.add(content)?;
    complete(&mut incoming, state)?;
    Ok(incoming)
}

fn complete(incoming: &mut Incoming<'_>, state: &State) -> Result<(), ReceiveError> {
    incoming.complete(Attributes { mode: state.mode, modified: state.modified })
}

fn failed<'t>(error: &SftpError) -> Got<'t> {
    if error.is_missing() { Got::Missing } else { Got::Refused(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_believed_with_its_own_time_only() {
        let told = |time, content: &[u8]| Wanted {
            wire: Vec::new(),
            path: EventPath::new(b"a".to_vec()).unwrap(),
            size: None,
            sum: Some(Sum::of(content)),
            as_of: time,
        };
        let state = State { clock: 0, mode: 0, links: 1, size: 1, modified: 7, changed: 7, identity: (0, 0) };
        for (time, content, believed) in
            [(Some(7), b"a", true), (Some(7), b"b", false), (Some(6), b"a", false), (None, b"a", false)]
        {
            assert_eq!(told(time, content).is_told(|| Sum::of(b"a"), &state), believed, "{time:?}");
        }
        assert!(!Wanted { sum: None, ..told(Some(7), b"a") }.is_told(|| Sum::of(b"a"), &state));
    }
}
