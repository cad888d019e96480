//! An editor that knows no lock saves the key file while akeys changes it: it is noticed, and neither change is lost.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc::{SYS_fsync, SYS_renameat2};

use crate::akeys_faults::may_trace;
use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::our_program;

/// What an editor saves.
const EDITED: &str = "# edited meanwhile";

/// Saves as most editors do: another file under the same name.
fn by_rename(home: &Home) {
    home.write("swap", &format!("{}{EDITED}\n", home.keys()));
    fs::rename(home.path().join("swap"), home.path().join(".ssh/authorized_keys")).unwrap();
}

/// Saves into the file, as `>>` does.
fn in_place(home: &Home) {
    let path = home.path().join(".ssh/authorized_keys");
    writeln!(fs::OpenOptions::new().append(true).open(path).unwrap(), "{EDITED}").unwrap();
}

/// The calls at which akeys waits: after it has written the new content, and after the last look at the old one.
const FSYNC: Call = Call { inject: "fsync:delay_enter=3000000:when=1", number: SYS_fsync, flags: None };
const RENAME: Call =
    Call { inject: "renameat2:delay_enter=3000000", number: SYS_renameat2, flags: Some("0x2") };

/// A system call, what makes it wait long enough for an editor, and its fifth argument, where that tells it from others.
struct Call {
    inject: &'static str,
    number: i64,
    flags: Option<&'static str>,
}

/// Whether the program that `tracer` runs is in this system call.
fn waits_at(tracer: u32, call: &Call) -> bool {
    let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap_or_default();
    children.split_whitespace().any(|child| {
        let now = fs::read_to_string(format!("/proc/{child}/syscall")).unwrap_or_default();
        let words: Vec<&str> = now.split(' ').collect();
        words[0] == call.number.to_string() && call.flags.is_none_or(|flags| words.get(5) == Some(&flags))
    })
}

/// Runs `akeys add`, which waits at the call `call` until the editor has saved.
fn add_while(home: &Home, call: &Call, save: fn(&Home)) -> Ran {
    let mut command = Command::new("strace");
    home.settle(&mut command).args(["-f", "-o", "/dev/null", "-e", &format!("inject={}", call.inject)]);
    command.arg(our_program("akeys")).args(["add", OTHER]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !waits_at(child.id(), call) {
        assert!(Instant::now() < deadline, "akeys did not come to {}", call.inject);
        std::thread::yield_now();
    }
    save(home);
    Ran::from(&child.wait_with_output().unwrap())
}

#[test]
fn what_an_editor_saves_before_the_last_look_stays_with_the_change() {
    if !may_trace() {
        return;
    }
    for save in [by_rename, in_place] {
        let home = Home::new();
        home.write(".ssh/authorized_keys", &format!("{FOREIGN} alice\n"));
        add_while(&home, &FSYNC, save).ok();
        assert_eq!(home.keys(), format!("{FOREIGN} alice\n{EDITED}\n{OTHER}\n"));
        assert_eq!(home.names(".ssh"), ["authorized_keys"]);
    }
}

#[test]
fn what_an_editor_saves_at_the_very_moment_of_the_rename_is_kept_and_told() {
    if !may_trace() {
        return;
    }
    for save in [by_rename, in_place] {
        let home = Home::new();
        let before = format!("{FOREIGN} alice\n");
        home.write(".ssh/authorized_keys", &before);
        let ran = add_while(&home, &RENAME, save).ok();
        assert!(ran.err.contains("another program saved the file at the same moment"), "{ran:?}");
        assert_eq!(home.keys(), format!("{before}{OTHER}\n"));
        assert_eq!(home.names(".ssh"), ["authorized_keys"]);
        home.akeys(&["undo", "--allow-lockout"]).ok();
        assert_eq!(home.keys(), format!("{before}{EDITED}\n"));
    }
}

#[test]
fn a_file_that_is_removed_meanwhile_is_not_brought_back_with_its_keys() {
    if !may_trace() {
        return;
    }
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} alice\n"));
    let remove = |home: &Home| fs::remove_file(home.path().join(".ssh/authorized_keys")).unwrap();
    add_while(&home, &RENAME, remove).ok();
    assert_eq!(home.keys(), format!("{OTHER}\n"));
}
