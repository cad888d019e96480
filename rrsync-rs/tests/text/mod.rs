//! The escapes of the tables below `data/`.

/// `\n`, `\t`, `\\`, `\x2e`, `\u{a0}`, and `\{300:ab}` for a repetition.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let [kind, tail @ ..] = rest else { panic!("{text}") };
        rest = tail;
        match kind {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            b'u' => {
                let end = rest.iter().position(|b| *b == b'}').unwrap();
                let code = std::str::from_utf8(&rest[1..end]).unwrap();
                let c = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
                bytes.extend(c.to_string().bytes());
                rest = &rest[end + 1..];
            }
            b'{' => {
                let end = rest.iter().position(|b| *b == b'}').unwrap();
                let (count, unit) = std::str::from_utf8(&rest[..end]).unwrap().split_once(':').unwrap();
                bytes.extend(unit.repeat(count.parse().unwrap()).bytes());
                rest = &rest[end + 1..];
            }
            _ => panic!("{text}"),
        }
    }
    bytes
}

/// Every `from` in `bytes` replaced.
pub fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut done = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            done.extend_from_slice(to);
            at += from.len();
        } else {
            done.push(bytes[at]);
            at += 1;
        }
    }
    done
}
