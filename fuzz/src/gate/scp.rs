//! The old protocol of scp, on the same tree: a client's command, and what it sends.
//!
//! The first byte is the access and the rules, then comes what follows `scp ` up to a NUL, then the client's side of the protocol.

use rrsync_rs::scp::{Command, Direction, serve};

use super::tree::{SECRET, Tree};

/// A copy of one client.
pub fn session(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let mut halves = rest.splitn(2, |byte| *byte == 0);
    let (line, stream) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let Ok(command) = Command::read(line) else { return };
    check(&command);
    let tree = Tree::unchanged();
    let (access, vfs) = tree.served(*how);
    let [input, output] = tree.streams(stream);
    let served = serve(&input, &output, &vfs, &command, &mut |event| {
        assert!(event.path.starts_with(b"/"));
    });
    let said = tree.output();
    assert!(!said.windows(SECRET.len()).any(|part| part == SECRET), "what is outside was sent");
    let gives = command.direction == Direction::Source && access.may_read();
    if !gives {
        let complaints = complaints(&said);
        assert!(command.direction == Direction::Sink || complaints == 0 || served != Ok(true));
    }
    let takes = command.direction == Direction::Sink && access.may_write();
    assert!(!tree.finish() || takes);
}

/// What stands in every accepted command.
pub fn check(command: &Command) {
    assert!(!command.operands.is_empty());
    assert!(command.direction == Direction::Source || command.operands.len() == 1);
    assert!(command.operands.iter().all(|operand| operand.shell_syntax().is_none()));
}

/// How many things went wrong, of answers that have no content among them: single zeros, and lines for a person.
fn complaints(mut said: &[u8]) -> usize {
    let mut found = 0;
    while let Some((kind, rest)) = said.split_first() {
        said = rest;
        if *kind != 0 {
            assert!(matches!(kind, 1 | 2), "an answer of kind {kind}");
            let end = said.iter().position(|byte| *byte == b'\n').expect("a line ends");
            assert!(!said[..end].iter().any(u8::is_ascii_control));
            said = &said[end + 1..];
            found += 1;
        }
    }
    found
}
