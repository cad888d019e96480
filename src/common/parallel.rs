//! Work that falls into pieces, on all processors, with the results in their order.

use std::ops::Range;
use std::sync::mpsc;
use std::thread;

/// More threads than this gain nothing here.
const MOST: usize = 8;

/// Results that wait to be taken, for each thread: what bounds the memory.
const WAITING: usize = 2;

/// Hands the pieces of `0..count`, each of `size` or less, to `work`, and what comes of them to `take`, in order. What fits into one
/// piece is done right here. Ends early when `take` says so.
pub fn in_order<T: Send, E>(
    count: usize,
    size: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let pieces = count.div_ceil(size.max(1));
    let piece = |index: usize| index * size..count.min((index + 1) * size);
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = processors.min(MOST).min(pieces);
    if threads <= 1 {
        return (0..pieces).try_for_each(|index| take(work(piece(index))));
    }
    let work = &work;
    thread::scope(|scope| {
        let results: Vec<mpsc::Receiver<T>> = (0..threads)
            .map(|first| {
                let (done, result) = mpsc::sync_channel(WAITING);
                scope.spawn(move || {
                    // Nobody listens any more when the taker has ended early.
                    let _ =
                        (first..pieces).step_by(threads).try_for_each(|index| done.send(work(piece(index))));
                });
                result
            })
            .collect();
        for index in 0..pieces {
            // A thread that ended before its last piece has panicked, and the scope says so.
            let Ok(result) = results[index % threads].recv() else { break };
            take(result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_and_whole() {
        for (count, size) in [(0, 10), (1, 10), (10, 10), (11, 10), (1000, 7)] {
            let mut taken = Vec::new();
            let done: Result<(), ()> = in_order(count, size, Iterator::collect::<Vec<_>>, |piece| {
                taken.extend(piece);
                Ok(())
            });
            assert_eq!((done, taken), (Ok(()), (0..count).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn who_takes_no_more_ends_it() {
        let mut taken = 0;
        let done = in_order(
            1000,
            1,
            |piece| piece.start,
            |start| {
                taken += 1;
                if start == 5 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!((done, taken), (Err("enough"), 6));
    }
}
