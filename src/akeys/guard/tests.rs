//! Changes and what the guard says to them.

use super::*;
use crate::authkeys::Key;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";
const GATE: &str = "restrict,command=\"/usr/bin/rrsync-rs --grant a.b\"";

/// What the guard says to a change, in a few words; nothing when it is allowed.
fn said(before: &str, after: &str, allowed: Allowed) -> String {
    let text = |text: &str| {
        let text = text.replace("GATE", GATE).replace("ED", ED).replace("OTHER", OTHER);
        text.replace('|', "\n").into_bytes()
    };
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::new(home.path()).unwrap();
    let file = KeyFile::parse(text(before));
    let patch = Patch::between(file.bytes(), &text(after));
    match Guard::new(allowed, &layout).check(&file, &patch) {
        Ok(_) => String::new(),
        Err(Blocked::Dead { number, .. }) => format!("dead {number}"),
        Err(Blocked::Shadowed { earlier, later }) => format!("shadowed {earlier} {later}"),
        Err(Blocked::Fallthrough { earlier, later }) => format!("fallthrough {earlier} {later}"),
        Err(Blocked::Wider { number, .. }) => format!("wider {number}"),
        Err(Blocked::LastKey(way)) => format!("last {way:?}"),
        Err(Blocked::Session(_)) => "session".to_owned(),
    }
}

#[test]
fn what_nobody_asked_for_is_refused() {
    for (before, after, expected) in [
        // Adding, and adding what does nothing.
        ("", "ED|", ""),
        ("ED|", "ED|OTHER|", ""),
        ("ED|", "ED|comand=\"x\" OTHER|", "dead 2"),
        ("comand=\"x\" ED|", "comand=\"x\" ED|OTHER|", ""),
        ("comand=\"x\" EDOTHER|", "comand=\"x\" ED|", ""),
        // One key, two lines.
        ("ED|", "ED|restrict ED|", "shadowed 1 2"),
        ("ED|# |", "# |ED|restrict ED|", "shadowed 2 3"),
        ("restrict ED|", "restrict ED|ED|", ""),
        ("from=\"10.0.0.0/8\" ED|", "from=\"10.0.0.0/8\" ED|ED|", "fallthrough 1 2"),
        ("ED|restrict ED|", "ED|restrict ED|OTHER|", ""),
        ("ED|restrict ED|", "ED|restrict ED x|", ""),
        ("ED a|", "ED a|ED b|", ""),
        // A line that sshd never came to takes over.
        ("OTHER|GATE ED|ED|", "OTHER|ED|", "wider 2"),
        ("OTHER|ED|GATE ED|", "OTHER|GATE ED|", ""),
        ("OTHER|from=\"10.0.0.0/8\",GATE ED|ED|", "OTHER|ED|", ""),
        ("OTHER|expiry-time=\"20200101\" ED|ED|", "OTHER|ED|", ""),
        ("OTHER|GATE ED|ED|", "OTHER|", ""),
        ("OTHER|GATE ED|restrict ED|", "OTHER|# GATE ED|restrict ED|", "wider 3"),
        // The last way in.
        ("ED|", "", "last Shell"),
        ("ED|", "# ED|", "last Shell"),
        ("ED|ED|", "ED|", ""),
        ("ED|OTHER|", "OTHER|", ""),
        ("ED|GATE OTHER|", "GATE OTHER|", "last Shell"),
        ("command=\"tmux attach\" ED|", "", "last Command"),
        ("GATE ED|", "", ""),
        ("expiry-time=\"20200101\" ED|", "", ""),
        ("ED|expiry-time=\"20200101\" OTHER|", "expiry-time=\"20200101\" OTHER|", "last Shell"),
        ("ED|GATE OTHER|OTHER|", "GATE OTHER|OTHER|", "last Shell"),
        ("ED|", "GATE ED|", "last Shell"),
        ("ED|", "GATE ED|ED|", "last Shell"),
        ("# ED|", "", ""),
    ] {
        assert_eq!(said(before, after, Allowed::default()), expected, "{before} -> {after}");
    }
}

#[test]
fn each_refusal_has_its_flag() {
    let none = Allowed::default();
    for (before, after, allowed) in [
        ("ED|", "ED|comand=\"x\" OTHER|", Allowed { allow_dead: true, ..none }),
        ("ED|", "ED|restrict ED|", Allowed { allow_shadowed: true, ..none }),
        ("OTHER|GATE ED|ED|", "OTHER|ED|", Allowed { allow_wider: true, ..none }),
        ("ED|", "", Allowed { allow_lockout: true, ..none }),
    ] {
        assert_ne!(said(before, after, none), "");
        assert_eq!(said(before, after, allowed), "", "{before} -> {after}");
    }
}

#[test]
fn the_key_of_the_session_stays_what_it_is() {
    let key =
        |text: &str| Key::from_public_line(text.as_bytes(), crate::authkeys::Target::default()).unwrap();
    let session = |text: &str, certificate| session::Session::Key {
        fingerprint: key(text).fingerprint(),
        from: session::From::at("10.1.1.1"),
        as_authority: Some(certificate),
    };
    let now = Timestamp::now();
    for (before, after, session, refused) in [
        ("ED|OTHER|", "OTHER|", session(ED, false), true),
        ("ED|OTHER|", "ED|", session(ED, false), false),
        ("ED|ED|OTHER|", "ED|OTHER|", session(ED, false), false),
        ("ED|OTHER|", "GATE ED|OTHER|", session(ED, false), true),
        ("ED|OTHER|", "from=\"192.0.2.0/24\" ED|OTHER|", session(ED, false), true),
        ("ED|OTHER|", "from=\"10.0.0.0/8\" ED|OTHER|", session(ED, false), false),
        ("cert-authority ED|OTHER|", "OTHER|", session(ED, true), true),
        ("cert-authority ED|OTHER|", "OTHER|", session(ED, false), false),
        ("ED|OTHER|", "OTHER|", session::Session::None, false),
    ] {
        let text = |text: &str| {
            let text = text.replace("GATE", GATE).replace("ED", ED).replace("OTHER", OTHER);
            KeyFile::parse(text.replace('|', "\n").into_bytes())
        };
        let (before, after) = (text(before), text(after));
        let patch = Patch::between(before.bytes(), after.bytes());
        let scan = Scan::of(&patch.touched(&before), now);
        let answer = loss::refuse_session(&scan, &session, now);
        assert!(answer.is_ok() || loss::any(&scan, now));
        assert_eq!(answer.is_err(), refused, "{}", String::from_utf8_lossy(after.bytes()));
    }
    let file = KeyFile::parse(format!("{ED}\n{OTHER}\n").into_bytes());
    let patch = file.remove_lines(&[1]).unwrap();
    let scan = Scan::of(&patch.touched(&file), now);
    let unknown = session::Session::Unknown("nothing says so");
    assert_eq!(loss::refuse_session(&scan, &unknown, now).unwrap().len(), 1);
}
