//! JSON that is safe on a terminal and loses no byte.
//!
//! JSON knows only Unicode, a key file knows only bytes. A text that is UTF-8 stands as it is; any other stands twice:
//! lossily under its own name, and exactly, in base64, under that name with `_b64` behind it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::authkeys::base64;

/// Prints `value` with every character beyond ASCII escaped, so that none can mislead a reader; any JSON parser reads
/// the same value.
pub fn ascii(value: &Value) -> String {
    let mut out = String::new();
    escape(&format!("{value:#}\n"), &mut out);
    out
}

/// Prints `value` as [`ascii`] does, on one line and without its end.
pub fn line(value: &Value) -> String {
    let mut out = String::new();
    escape(&value.to_string(), &mut out);
    out
}

/// Prints whatever can be JSON as [`ascii`] does, on one line.
pub fn ascii_of(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut out = String::new();
    escape(&serde_json::to_string(value)?, &mut out);
    out.push('\n');
    Ok(out)
}

/// Prints an object with the fields of `head` and a list, one item a line. The items are made one by one, so a list of
/// hundreds of thousands takes no more memory than its text.
pub fn ascii_with_list(head: &[(&str, Value)], name: &str, items: impl Iterator<Item = Value>) -> String {
    let mut out = "{\n".to_owned();
    for (field, value) in head {
        escape(&format!("  {}: {value},\n", Value::from(*field)), &mut out);
    }
    let _ = write!(out, "  {}: [", Value::from(name));
    for (index, item) in items.enumerate() {
        out.push_str(if index == 0 { "\n    " } else { ",\n    " });
        escape(&item.to_string(), &mut out);
    }
    out.push_str("\n  ]\n}\n");
    out
}

fn escape(text: &str, out: &mut String) {
    if text.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        if c.is_ascii() && c != '\x7f' {
            out.push(c);
        } else {
            // Beyond ASCII, JSON text has characters only within strings.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// Puts `bytes` under `name`; `null` for none.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    object.insert(name.to_owned(), bytes.map(|bytes| String::from_utf8_lossy(bytes)).into());
    if let Some(bytes) = bytes.filter(|bytes| std::str::from_utf8(bytes).is_err()) {
        object.insert(format!("{name}_b64"), base64::encode(bytes).into());
    }
}

/// Puts a list of byte strings under `name`; if one of them is not UTF-8, all of them once more in base64.
pub fn put_list(object: &mut Map<String, Value>, name: &str, list: &[Vec<u8>]) {
    let lossy = list.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    object.insert(name.to_owned(), lossy.collect());
    if list.iter().any(|bytes| std::str::from_utf8(bytes).is_err()) {
        object.insert(format!("{name}_b64"), list.iter().map(|bytes| base64::encode(bytes)).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_stays_exact_and_shows_as_ascii() {
        let mut object = Map::new();
        put_bytes(&mut object, "plain", Some("\u{202e}\u{1f511}\x7f".as_bytes()));
        put_bytes(&mut object, "latin1", Some(b"caf\xe9"));
        put_bytes(&mut object, "none", None);
        put_list(&mut object, "list", &[b"a".to_vec(), b"\xff".to_vec()]);
        let text = ascii(&Value::Object(object));
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["plain"], "\u{202e}\u{1f511}\x7f");
        assert_eq!((&read["latin1"], &read["latin1_b64"]), (&"caf\u{fffd}".into(), &"Y2Fm6Q==".into()));
        assert_eq!(read["none"], Value::Null);
        assert_eq!(read["list_b64"], json!(["YQ==", "/w=="]));
    }

    #[test]
    fn a_long_list_is_the_same_json() {
        for items in [vec![], vec![json!({"a": "\u{fc}"}), json!(2)]] {
            let text =
                ascii_with_list(&[("file", "x\u{202e}".into())], "findings", items.clone().into_iter());
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, json!({"file": "x\u{202e}", "findings": items}));
            assert!(text.is_ascii());
        }
    }
}
