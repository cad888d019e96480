//! The fuzz targets without a fuzzer: every seed, all that was found before, and seeded mutations of both, for a bounded time.
//!
//! `FUZZ_SECONDS` is the time for each target (2 unless told), `FUZZ_SEED` the start of the random numbers. What fails
//! prints its bytes.

use std::path::Path;
use std::time::{Duration, Instant};

use akeys_fuzz::inputs::{self, attempt};
use akeys_fuzz::targets;

/// xorshift64*, enough to pick positions and bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// One of the seeds, changed in a few places: bytes set, cut out, doubled, or taken from another seed.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(12)).min(data.len());
        match random.below(6) {
            0 => data.insert(at, random.next() as u8),
            1 if at < data.len() => data[at] = random.next() as u8,
            2 if at < data.len() => data[at] ^= 1 << random.below(8),
            3 => drop(data.drain(at..end)),
            4 => {
                let piece = data[at..end].to_vec();
                let times = 1 + random.below(4);
                data.splice(at..at, piece.repeat(times));
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(24)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    data.truncate(1 << 16);
    data
}

#[test]
fn no_target_fails() {
    let seconds = Duration::from_secs(number("FUZZ_SECONDS", 2));
    for (name, run) in targets() {
        let seeds = inputs::of(Path::new(env!("CARGO_MANIFEST_DIR")), name);
        seeds.iter().for_each(|seed| attempt(name, run, seed));
        let mut random = Random(number("FUZZ_SEED", 1).max(1));
        let until = Instant::now() + seconds;
        let mut tried = seeds.len();
        while Instant::now() < until {
            attempt(name, run, &mutated(&seeds, &mut random));
            tried += 1;
        }
        println!("{name}: {tried} inputs");
    }
}
