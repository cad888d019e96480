//! RSA keys that share a prime: whoever has the public halves of both computes the private half of each.
//!
//! Machines with poor random numbers make such keys, so each one looks sound by itself. Each modulus is compared with the
//! product of those before it: a multiplication for each pair, a greatest common divisor for each key.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;

use crate::authkeys::{Algorithm, Entry, Line};
use crate::common::parallel;

use super::catalogue::Code;
use super::finding::{At, Basket};
use super::keys::numbers;

/// A number, its lowest digit first.
type Digits = Vec<u64>;

/// How many moduli are one piece of work.
const PIECE: usize = 16;

/// The moduli of a file, each with the place of its first key.
#[derive(Debug, Default)]
pub(super) struct Moduli(HashMap<Digits, (usize, usize)>);

impl Moduli {
    /// Notes the key of a live line.
    pub(super) fn note(&mut self, line: Line<'_>, entry: &Entry<'_>) {
        if entry.key.algorithm() != Algorithm::Rsa {
            return;
        }
        let Some((_, modulus)) = numbers(entry.key.blob()) else { return };
        let modulus = digits(modulus);
        // An even one is no modulus, which is said elsewhere.
        if modulus.first().is_some_and(|lowest| lowest % 2 == 1) {
            self.0.entry(modulus).or_insert((line.number(), entry.key_span.start + 1));
        }
    }

    /// Puts every pair that shares a prime into the basket, at both lines.
    pub(super) fn judge(self, basket: &mut Basket) {
        if !basket.wants(Code::RsaSharedPrime) {
            return;
        }
        let (moduli, places): (Vec<Digits>, Vec<(usize, usize)>) = sorted(self.0).into_iter().unzip();
        for (first, second) in pairs(&moduli) {
            for (one, other) in [(first, second), (second, first)] {
                let ((number, column), (other, _)) = (places[one], places[other]);
                let message = || format!("it shares a prime with the key on line {other}");
                basket.put(Code::RsaSharedPrime, At::Line { number, column }, message).hint("remove both");
            }
        }
    }
}

/// The shorter first: then what a modulus is compared with is never longer than itself.
fn sorted(moduli: HashMap<Digits, (usize, usize)>) -> Vec<(Digits, (usize, usize))> {
    let mut moduli: Vec<_> = moduli.into_iter().collect();
    moduli.sort_by_key(|(modulus, place)| (modulus.len(), *place));
    moduli
}

/// The pairs among `moduli` that have a factor in common.
fn pairs(moduli: &[Digits]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let suspects = |piece: Range<usize>| {
        let shares = |index: &usize| shares_with_one_of(&moduli[*index], &moduli[..*index]);
        piece.filter(shares).collect::<Vec<_>>()
    };
    let _: Result<(), Infallible> = parallel::in_order(moduli.len(), PIECE, suspects, |suspects| {
        for second in suspects {
            let with = |first: &usize| !is_one(&common_divisor(moduli[*first].clone(), &moduli[second]));
            found.extend((0..second).filter(with).map(|first| (first, second)));
        }
        Ok(())
    });
    found
}

/// Whether `modulus` has a factor in common with the product of `others`.
fn shares_with_one_of(modulus: &Digits, others: &[Digits]) -> bool {
    let mut product = vec![0; modulus.len()];
    product[0] = 1;
    let inverse = negative_inverse(modulus[0]);
    let mut room = vec![0; modulus.len() + 2];
    for other in others {
        multiply(&mut product, other, modulus, inverse, &mut room);
    }
    !is_one(&common_divisor(product, modulus))
}

fn is_one(number: &[u64]) -> bool {
    number.split_first().is_some_and(|(lowest, rest)| *lowest == 1 && rest.iter().all(|digit| *digit == 0))
}

/// What makes 0 of 1 when the product with `odd` is added, modulo 2^64: Newton's iteration doubles the bits that are right.
fn negative_inverse(odd: u64) -> u64 {
    let doubled = |inverse: u64| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
    (0..6).fold(1, |inverse, _| doubled(inverse)).wrapping_neg()
}

/// `product * factor`, divided by a power of two, modulo `modulus` (Montgomery's multiplication). The modulus is odd, so that
/// power has no factor in common with it and does not matter here. `factor` has no more digits than `modulus`.
fn multiply(product: &mut [u64], factor: &[u64], modulus: &[u64], inverse: u64, room: &mut [u64]) {
    let length = modulus.len();
    room.fill(0);
    for &digit in factor {
        let mut carry = 0;
        for (slot, &own) in room.iter_mut().zip(product.iter()) {
            (*slot, carry) = own.carrying_mul_add(digit, carry, *slot);
        }
        let (sum, over) = room[length].overflowing_add(carry);
        (room[length], room[length + 1]) = (sum, u64::from(over));
        // As many moduli are added as make the lowest digit 0, which is then left out.
        let times = room[0].wrapping_mul(inverse);
        let (_, mut carry) = times.carrying_mul_add(modulus[0], 0, room[0]);
        for index in 1..length {
            (room[index - 1], carry) = times.carrying_mul_add(modulus[index], carry, room[index]);
        }
        let (sum, over) = room[length].overflowing_add(carry);
        (room[length - 1], room[length]) = (sum, room[length + 1] + u64::from(over));
    }
    let (low, high) = room.split_at_mut(length);
    if high[0] != 0 || !is_less(low, modulus) {
        subtract(low, modulus);
    }
    product.copy_from_slice(low);
}

fn is_less(one: &[u64], other: &[u64]) -> bool {
    one.iter().rev().lt(other.iter().rev())
}

/// Takes `other` away from `from`, which has as many digits.
fn subtract(from: &mut [u64], other: &[u64]) {
    let mut borrow = false;
    for (digit, &other) in from.iter_mut().zip(other) {
        let (rest, first) = digit.overflowing_sub(other);
        let (rest, second) = rest.overflowing_sub(u64::from(borrow));
        (*digit, borrow) = (rest, first || second);
    }
}

/// The greatest common divisor of a number and an odd one with at least as many digits, by halving and subtracting.
fn common_divisor(mut one: Digits, odd: &[u64]) -> Digits {
    let mut other = odd.to_vec();
    one.resize(other.len(), 0);
    while halve(&mut one) {
        if is_less(&one, &other) {
            std::mem::swap(&mut one, &mut other);
        }
        subtract(&mut one, &other);
        // What is 0 at the top of both stays so.
        while other.len() > 1 && other.last() == Some(&0) && one.last() == Some(&0) {
            other.pop();
            one.pop();
        }
    }
    other
}

/// Divides by two until the number is odd; `false` when it is 0.
fn halve(number: &mut [u64]) -> bool {
    let Some(zeros) = number.iter().position(|digit| *digit != 0) else { return false };
    number.copy_within(zeros.., 0);
    let length = number.len();
    number[length - zeros..].fill(0);
    let shift = number[0].trailing_zeros();
    if shift > 0 {
        for index in 0..length {
            let next = number.get(index + 1).copied().unwrap_or_default();
            number[index] = number[index] >> shift | next << (64 - shift);
        }
    }
    true
}

/// The digits of a number in the network's order, without zeros at the top.
fn digits(bytes: &[u8]) -> Digits {
    let (head, words) = bytes.as_rchunks::<8>();
    let head = head.iter().fold(0, |digit, byte| digit << 8 | u64::from(*byte));
    let mut digits: Digits = words.iter().rev().map(|word| u64::from_be_bytes(*word)).collect();
    digits.push(head);
    while digits.len() > 1 && digits.last() == Some(&0) {
        digits.pop();
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Primes of Mersenne: 2^N - 1.
    fn mersenne(bits: usize) -> Digits {
        let mut digits = vec![u64::MAX; bits / 64];
        digits.push((1 << (bits % 64)) - 1);
        digits
    }

    fn times(one: &[u64], other: &[u64]) -> Digits {
        let mut out = vec![0; one.len() + other.len()];
        for (at, &digit) in other.iter().enumerate() {
            let mut carry = 0;
            for (slot, &own) in out[at..].iter_mut().zip(one.iter().chain([&0])) {
                (*slot, carry) = own.carrying_mul_add(digit, carry, *slot);
            }
        }
        while out.last() == Some(&0) {
            out.pop();
        }
        out
    }

    #[test]
    fn a_shared_prime_is_found_among_keys_of_all_sizes() {
        let prime = [521, 607, 1279, 2203, 2281, 3217].map(mersenne);
        let mut moduli = vec![
            times(&prime[0], &prime[1]),
            times(&prime[2], &prime[3]),
            times(&prime[4], &prime[1]),
            times(&prime[5], &[0xffff_ffff_ffff_ffc5]),
            times(&prime[5], &prime[3]),
        ];
        moduli.sort_by_key(Vec::len);
        let shares = |one: &Digits, other: &Digits| !is_one(&common_divisor(one.clone(), other));
        let found = pairs(&moduli);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|&(first, second)| shares(&moduli[first], &moduli[second])));
        assert_eq!(pairs(&[times(&prime[0], &prime[1]), times(&prime[2], &prime[3])]), []);
    }

    #[test]
    fn the_digits_of_a_number() {
        assert_eq!(digits(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), [2, 1]);
        assert_eq!(digits(&[0, 0, 7]), [7]);
    }

    fn small_divisor(mut one: u128, mut other: u128) -> u128 {
        while one != 0 {
            (one, other) = (other % one, one);
        }
        other
    }

    fn wide(number: u128) -> Digits {
        digits(&number.to_be_bytes())
    }

    proptest! {
        #[test]
        fn the_greatest_common_divisor(one: u128, other: u128, factor: u32) {
            let factor = u128::from(factor | 1);
            let (one, other) = ((one >> 33) * factor, ((other >> 33) | 1) * factor);
            let mut odd = wide(other);
            odd.resize(2, 0);
            let mut found = common_divisor(wide(one), &odd);
            found.resize(2, 0);
            let mut expected = wide(small_divisor(one, other));
            expected.resize(2, 0);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_product_keeps_what_is_shared(shared: u32, one: u32, other: u32) {
            let (shared, one, other) = (u64::from(shared | 1), u64::from(one | 1), u64::from(other | 1));
            let (modulus, factor) = (vec![shared * one], vec![shared * other]);
            let expected = small_divisor(u128::from(modulus[0]), u128::from(factor[0])) != 1;
            prop_assert_eq!(shares_with_one_of(&modulus, &[vec![0xffff_ffff_ffff_ffc5], factor]), expected);
        }
    }
}
