//! Whether the bytes of an ECDSA key are a point that sshd accepts: `sshbuf_get_ec` and `sshkey_ec_validate_public`.
//!
//! Only public data is handled, so nothing here is constant-time, and nothing signs or verifies. A curve library per
//! NIST curve would be a few thousand lines for this one equation.

use std::cmp::Ordering;
use std::sync::LazyLock;

/// Limbs of 64 bits, the least significant first; nine are enough for P-521.
type Number = [u64; 9];

/// A NIST prime curve, `y² = x³ - 3x + b` over the integers modulo `p`.
pub(super) struct Curve {
    /// The name inside a blob, RFC 5656 §10.1.
    pub(super) name: &'static str,
    /// Bits of the field.
    pub(super) bits: u32,
    order: Number,
    b: Number,
    field: &'static LazyLock<Field>,
}

static FIELD_256: LazyLock<Field> =
    LazyLock::new(|| Field::new(number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")));

/// The curve of `ecdsa-sha2-nistp256`.
pub(super) static P256: Curve = Curve {
    name: "nistp256",
    bits: 256,
    order: number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    b: number("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
    field: &FIELD_256,
};

static FIELD_384: LazyLock<Field> = LazyLock::new(|| {
    Field::new(number(
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    ))
});

/// The curve of `ecdsa-sha2-nistp384`.
pub(super) static P384: Curve = Curve {
    name: "nistp384",
    bits: 384,
    order: number(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    b: number(
        "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    ),
    field: &FIELD_384,
};

static FIELD_521: LazyLock<Field> = LazyLock::new(|| {
    Field::new(number(
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ))
});

/// The curve of `ecdsa-sha2-nistp521`.
pub(super) static P521: Curve = Curve {
    name: "nistp521",
    bits: 521,
    order: number(
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
    b: number(
        "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    ),
    field: &FIELD_521,
};

impl Curve {
    /// Whether `point` is an uncompressed point of the curve that sshd takes as a public key.
    pub(super) fn accepts(&self, point: &[u8]) -> bool {
        let width = self.bits.div_ceil(8) as usize;
        let [4, coordinates @ ..] = point else { return false };
        if coordinates.len() != 2 * width {
            return false;
        }
        let (x, y) = (from_bytes(&coordinates[..width]), from_bytes(&coordinates[width..]));
        // sshkey_ec_validate_public: neither coordinate may be small, nor reach the order minus one.
        let half = bit_length(&self.order) / 2;
        let mut limit = self.order;
        limit[0] -= 1;
        [x, y].iter().all(|n| bit_length(n) > half && less(n, &limit) && less(n, &self.field.modulus))
            && self.holds(&x, &y)
    }

    fn holds(&self, x: &Number, y: &Number) -> bool {
        let field = self.field;
        let (x, y, b) = (field.enter(x), field.enter(y), field.enter(&self.b));
        let cube = field.multiply(&field.multiply(&x, &x), &x);
        let right = field.add(&cube, &b);
        let triple = field.add(&field.add(&x, &x), &x);
        field.add(&field.multiply(&y, &y), &triple) == right
    }
}

/// Arithmetic modulo an odd number in Montgomery form, 2⁵⁷⁶ being the radix.
struct Field {
    modulus: Number,
    inverse: u64,
    square: Number,
}

impl Field {
    fn new(modulus: Number) -> Self {
        // Newton: each step doubles the number of correct low bits of modulus⁻¹ modulo 2⁶⁴.
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
        }
        let mut field = Self { modulus, inverse: inverse.wrapping_neg(), square: [0; 9] };
        // The square of the radix: 2^(576+s) by doubling, s = 9; each Montgomery squaring then doubles s, up to 576.
        let mut power = number("1");
        for _ in 0..576 + 9 {
            power = field.add(&power, &power);
        }
        for _ in 0..6 {
            power = field.multiply(&power, &power);
        }
        field.square = power;
        field
    }

    fn enter(&self, n: &Number) -> Number {
        self.multiply(n, &self.square)
    }

    fn add(&self, a: &Number, b: &Number) -> Number {
        let mut sum = [0; 9];
        let mut carry = 0u128;
        for i in 0..9 {
            carry += u128::from(a[i]) + u128::from(b[i]);
            sum[i] = low(carry);
            carry >>= 64;
        }
        // No modulus here has more than 521 of the 576 bits, so the sum never overflows.
        self.reduced(sum)
    }

    fn multiply(&self, a: &Number, b: &Number) -> Number {
        let mut t = [0u64; 11];
        for &limb in a {
            accumulate(&mut t, limb, b);
            let factor = t[0].wrapping_mul(self.inverse);
            accumulate(&mut t, factor, &self.modulus);
            t.copy_within(1.., 0);
            t[10] = 0;
        }
        let mut product = [0; 9];
        product.copy_from_slice(&t[..9]);
        self.reduced(product)
    }

    fn reduced(&self, mut n: Number) -> Number {
        if !less(&n, &self.modulus) {
            let mut borrow = false;
            for (limb, &m) in n.iter_mut().zip(&self.modulus) {
                let (difference, under) = limb.overflowing_sub(m);
                let (difference, again) = difference.overflowing_sub(u64::from(borrow));
                *limb = difference;
                borrow = under || again;
            }
        }
        n
    }
}

/// `t += factor · n`.
fn accumulate(t: &mut [u64; 11], factor: u64, n: &Number) {
    let mut carry = 0u128;
    for i in 0..9 {
        carry += u128::from(factor) * u128::from(n[i]) + u128::from(t[i]);
        t[i] = low(carry);
        carry >>= 64;
    }
    for limb in &mut t[9..] {
        carry += u128::from(*limb);
        *limb = low(carry);
        carry >>= 64;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(wide: u128) -> u64 {
    wide as u64
}

fn less(a: &Number, b: &Number) -> bool {
    a.iter().rev().cmp(b.iter().rev()) == Ordering::Less
}

fn bit_length(n: &Number) -> u32 {
    let top = (0..).zip(n).filter(|(_, limb)| **limb != 0).last();
    top.map_or(0, |(i, limb): (u32, _)| 64 * (i + 1) - limb.leading_zeros())
}

fn from_bytes(bytes: &[u8]) -> Number {
    let mut n = [0; 9];
    for (i, &byte) in bytes.iter().rev().enumerate() {
        n[i / 8] |= u64::from(byte) << (8 * (i % 8));
    }
    n
}

const fn number(hex: &str) -> Number {
    let digits = hex.as_bytes();
    let mut n = [0; 9];
    let mut i = 0;
    while i < digits.len() {
        let digit = digits[digits.len() - 1 - i];
        let value = if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        n[i / 16] |= (value as u64) << (4 * (i % 16));
        i += 1;
    }
    n
}
