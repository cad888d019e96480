//! `authorized_keys`, which is edited by hand, and by programs of others.

use akeys::authkeys::{KeyFile, Line, Reading, Target};

/// The file, read and changed.
pub fn authorized_keys(data: &[u8]) {
    let file = KeyFile::parse(data.to_vec());
    assert_eq!(file.lines().map(Line::raw).collect::<Vec<_>>().concat(), data);
    for target in [Target::OpenSsh9_2, Target::OpenSsh10_5, Target::Dropbear] {
        for line in file.lines() {
            if let Reading::Dead(dead) = line.read(target) {
                assert!((1..=line.raw().len() + 1).contains(&dead.column));
                let _ = (dead.to_string(), dead.reason.hint());
            }
        }
    }
    for line in file.lines() {
        if let Ok(disabled) = file.disable(line.number(), Target::OpenSsh9_2) {
            let disabled = disabled.applied(&file);
            assert!(matches!(
                disabled.line(line.number()).unwrap().read(Target::OpenSsh9_2),
                Reading::Comment
            ));
            assert_eq!(disabled.enable(line.number()).unwrap().applied(&disabled).bytes(), data);
        }
    }
}
