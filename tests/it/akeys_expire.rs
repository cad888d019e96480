//! `akeys expire`: another end for a key, and which keys end soon.

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER};

#[test]
fn an_end_is_set_changed_and_taken_away() {
    let home = Home::new();
    let content = format!("# top\n  {FOREIGN}  me \r\nrestrict,command=\"x\" {OTHER}");
    home.write(".ssh/authorized_keys", &content);
    let dry = home.akeys(&["expire", "2", "2099-01-01", "--dry-run"]).ok();
    assert!(dry.out.contains("  + 2: expiry-time=\"20990101Z\" SHA256:"), "{dry:?}");
    assert_eq!(home.keys(), content);
    home.akeys(&["expire", "2", "2099-01-01"]).ok();
    assert_eq!(home.keys(), content.replacen("  ssh", "  expiry-time=\"20990101Z\" ssh", 1));
    let again = home.akeys(&["expire", "2", "2099-01-01T00:00:00Z"]).ok();
    assert!(again.out.contains("nothing changed"), "{again:?}");
    home.akeys(&["expire", "3", "2098-01-01"]).ok();
    assert!(home.keys().contains("restrict,expiry-time=\"20980101Z\",command=\"x\" "), "{}", home.keys());
    home.akeys(&["expire", "2", "never"]).ok();
    home.akeys(&["expire", "3", "never"]).ok();
    assert_eq!(home.keys(), content);
    home.akeys(&["expire", "1", "never"]).fails(4, "line 1 is a comment: sshd does not use it");
    home.akeys(&["expire", "9", "never"]).fails(4, "there is no line 9");
    home.akeys(&["expire", "2", "2020-01-01"]).fails(1, "the key would have ended on 2020-01-01");
    home.akeys(&["expire", "2"]).fails(2, "WHEN");
    home.akeys(&["expire"]).fails(2, "required");
}

#[test]
fn the_end_of_a_grant_is_in_its_policy_too() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let there = home.keys();
    home.write(".ssh/authorized_keys2", &format!("\n{there}"));
    let ran = home.akeys(&["expire", "1", "2099-01-01"]).ok();
    assert!(
        ran.err.contains("~/.ssh/authorized_keys2:2 lets the key in as well, by its own options"),
        "{ran:?}"
    );
    assert!(ran.out.contains("playground.chef1 may:   rsync; read papers; until 2099-01-01"), "{ran:?}");
    assert!(home.keys().contains("expiry-time=\"20990101Z\""));
    assert!(
        home.read(".config/akeys/grants/playground.chef1.toml").contains("expires = 2099-01-01T00:00:00Z")
    );
}

#[test]
fn what_ends_soon_is_a_finding() {
    let home = Home::new();
    home.akeys(&["expire", "--within", "30"]).ok();
    let now = jiff::Timestamp::now();
    let day = |days: i64| {
        let moment = now.saturating_add(jiff::SignedDuration::from_hours(24 * days + 1)).unwrap();
        moment.strftime("%Y%m%d%H%M%SZ").to_string()
    };
    home.write(
        ".ssh/authorized_keys",
        &format!(
            "expiry-time=\"{}\" {FOREIGN} late\nexpiry-time=\"{}\" {OTHER} soon\nexpiry-time=\"20200101Z\" {OTHER} over\n",
            day(90),
            day(10)
        ),
    );
    let ran = home.akeys(&["expire", "--within", "30"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((ran.code, lines.len()), (5, 2), "{ran:?}");
    assert!(lines[0].contains(":3: SHA256:") && lines[0].ends_with(" over ended on 2020-01-01"), "{ran:?}");
    assert!(lines[1].contains(":2: SHA256:") && lines[1].ends_with(", in 10 days"), "{ran:?}");
    let json: Value =
        serde_json::from_str(&home.akeys(&["expire", "--within", "100", "--json"]).out).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 3);
    assert_eq!((&json["keys"][0]["line"], &json["keys"][0]["expired"]), (&3.into(), &true.into()));
}
