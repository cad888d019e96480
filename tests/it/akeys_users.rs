//! `akeys users`: the keys of this account are among those of the machine.

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home};

#[test]
fn a_key_in_both_files_of_this_account() {
    let home = Home::new();
    let holder = "holder-of-this-test";
    home.write(".ssh/authorized_keys", &format!("restrict,command=\"a\\\"b\x1b\" {FOREIGN} {holder}\n"));
    home.write(".ssh/authorized_keys2", &format!("typo {FOREIGN} {holder}\n{FOREIGN} {holder}\n"));
    let ran = home.akeys(&["users", "--json"]).ok();
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    let own = answer["holders"].as_array().unwrap().iter().find(|own| own["comment"] == holder).unwrap();
    let places = own["keys"][0]["places"].as_array().unwrap();
    let shown: Vec<(&Value, &Value)> =
        places.iter().map(|place| (&place["line"], &place["unrestricted"])).collect();
    assert_eq!(shown, [(&1.into(), &false.into()), (&2.into(), &true.into())]);
    let access: Vec<&str> = places.iter().map(|place| place["access"].as_str().unwrap()).collect();
    assert!(access[0].contains("a\"b\\x1b") && access[1] == "whole account", "{access:?}");
    let text = home.akeys(&["users"]).ok().out;
    let block = text.split(&format!("{holder}\n")).nth(1).unwrap();
    assert!(block.starts_with("  SHA256:") && !text.contains('\x1b'), "{text}");
    assert!(block.contains("/.ssh/authorized_keys2:2  whole account"), "{text}");
}
