//! `akeys format`: another spelling, the same meaning.

use crate::akeys_home::{FOREIGN, Home, OTHER};

#[test]
fn what_is_asked_is_spelled_anew_and_nothing_else() {
    let home = Home::new();
    let before = format!(
        "# top \r\n\tRESTRICT,,PTY  {FOREIGN}   me \r\ncomand=\"x\"   {OTHER} \n# akeys-disabled:   {OTHER} \r\n{OTHER}"
    );
    home.write(".ssh/authorized_keys", &before);
    let check = home.akeys(&["format", "--check"]);
    assert_eq!((check.code, home.keys()), (5, before.clone()), "{check:?}");
    assert!(check.out.contains(&format!("  + 2: restrict,pty {FOREIGN} me\n")), "{check:?}");
    assert_eq!(home.names(".local"), [""; 0]);
    home.akeys(&["format", "--only", "blanks", "2"]).ok();
    let second = format!("RESTRICT,,PTY {FOREIGN} me\r\n");
    let lines: Vec<&str> = before.split_inclusive('\n').collect();
    assert_eq!(home.keys(), [lines[0], &second, lines[2], lines[3], lines[4]].concat());
    home.akeys(&["format"]).ok();
    let after = format!(
        "# top \nrestrict,pty {FOREIGN} me\ncomand=\"x\"   {OTHER} \n# akeys-disabled:   {OTHER} \r\n{OTHER}\n"
    );
    assert_eq!(home.keys(), after);
    let again = home.akeys(&["format", "--check"]).ok();
    assert!(again.out.contains("nothing changed"), "{again:?}");
    home.akeys(&["format", "9"]).fails(4, "there is no line 9");
    home.akeys(&["format", "--only", "order"]).fails(2, "invalid value 'order'");
}
