//! Base64 by the rules of `b64_pton`, which are not RFC 4648's: blanks inside are skipped, padding must be exact, the
//! bits below the padding must be zero, and there is no URL-safe alphabet.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut value = 0u8;
    while value < 64 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// C's `isspace` in the C locale; it has VT, which Rust's `is_ascii_whitespace` has not.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The value of one character, also in the URL-safe alphabet, for readers that only want to recognise.
pub(super) fn tolerant_value(byte: u8) -> Option<u8> {
    match byte {
        b'-' => Some(62),
        b'_' => Some(63),
        _ => Some(VALUES[usize::from(byte)]).filter(|&value| value != INVALID),
    }
}

/// Decodes as `b64_pton` does; `Err` holds the offset of the byte where it gives up.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut at = 0;
    // Nearly every blob is whole groups of four; the slow path below takes over at the first byte that is not.
    for group in text.chunks_exact(4) {
        let values = [0, 1, 2, 3].map(|i| VALUES[usize::from(group[i])]);
        if values.contains(&INVALID) {
            break;
        }
        let word = values.iter().fold(0u32, |word, &value| word << 6 | u32::from(value));
        out.extend_from_slice(&word.to_be_bytes()[1..]);
        at += 4;
    }
    let (mut pending, mut count) = (0u32, 0u32);
    while let Some(&byte) = text.get(at) {
        let value = VALUES[usize::from(byte)];
        if value != INVALID {
            pending = pending << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                out.extend_from_slice(&pending.to_be_bytes()[1..]);
                (pending, count) = (0, 0);
            }
        } else if byte == b'=' {
            break;
        } else if !is_space(byte) {
            return Err(at);
        }
        at += 1;
    }
    let mut padding = 0;
    for (offset, &byte) in text[at..].iter().enumerate() {
        match byte {
            b'=' => padding += 1,
            _ if is_space(byte) => {}
            _ => return Err(at + offset),
        }
    }
    let [.., high, low] = pending.to_be_bytes();
    // What is left holds 0, 2 or 3 characters of 6 bits; those that belong to no whole byte must be zero.
    match (count, padding) {
        (0, 0) => {}
        (2, 2) if low.trailing_zeros() >= 4 => out.push(high << 4 | low >> 4),
        (3, 1) if low.trailing_zeros() >= 2 => {
            out.extend_from_slice(&(pending >> 2).to_be_bytes()[2..]);
        }
        _ => return Err(at),
    }
    Ok(out)
}

/// Encodes with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let index = (word >> (18 - 6 * place) & 0x3f) as usize;
            out.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[index]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_like_b64_pton() {
        for (text, expected) in [
            (&b""[..], Some(&b""[..])),
            (b"Zm9v", Some(b"foo")),
            (b"Zm9vYg==", Some(b"foob")),
            (b"Zm9vYmE=", Some(b"fooba")),
            (b"Zm\r9v\x0b", Some(b"foo")),
            (b"Zm9vYg=\n=\r", Some(b"foob")),
            (b"Zm9vYg=", None),
            (b"Zm9vYg", None),
            (b"Zm9vYh==", None),
            (b"Zm9vYmF=", None),
            (b"Zm9v=", None),
            (b"Zm9v====", None),
            (b"Zm9vYg==Zm9v", None),
            (b"Zm9-", None),
            (b"Zm9\xa0v", None),
        ] {
            assert_eq!(decode(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn encoding_is_the_inverse() {
        for length in 0..40u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()).unwrap(), bytes);
        }
    }
}
