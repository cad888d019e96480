//! Bytes as lower-case hexadecimal digits, two for each.

/// The digits of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(if four < 10 { b'0' + four } else { b'a' + four - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of `text`; `None` when it is not spelt as [`encode`] does.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        assert_eq!((encode(b"\0\xa9\xff"), encode(b"")), ("00a9ff".to_owned(), String::new()));
        assert_eq!((decode("00a9ff"), decode("")), (Some(b"\0\xa9\xff".to_vec()), Some(Vec::new())));
        for bad in ["0", "A9", "+1", "0x", "a 9", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
