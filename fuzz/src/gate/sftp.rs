//! The SFTP server, on a small tree of its own: requests as a client could send them.
//!
//! The first byte is the access and the rules. Then each request is its length in two bytes, its type, its number and its fields. What
//! does not fit that is sent as it is, which is how packets with wrong lengths come about.

use rrsync_rs::grant::Access;
use rrsync_rs::sftp::serve;

use super::tree::Tree;

/// A session of one client.
pub fn session(data: &[u8]) {
    let Some((how, requests)) = data.split_first() else { return };
    let tree = Tree::unchanged();
    let (access, vfs) = tree.served(*how);
    let (packets, sent) = packets(requests);
    let [input, output] = tree.streams(&packets);
    let (summary, _) = serve(&input, &output, &vfs, &mut |event| {
        assert!(event.path.starts_with(b"/"));
    });
    let answered = replies(&tree.output());
    // One answer for each request, in their order, as long as they can be told apart.
    assert!(summary.requests <= answered.len() as u64);
    assert!(answered.iter().zip(&sent).all(|(reply, request)| request.is_none_or(|id| *reply == id)));
    assert!(!tree.finish() || access != Access::ReadOnly);
}

/// The client's bytes, and the number of each of its requests up to the first that is none.
fn packets(mut requests: &[u8]) -> (Vec<u8>, Vec<Option<u32>>) {
    const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut packets = INIT.to_vec();
    let mut sent = vec![Some(3)];
    while let Some(([high, low], rest)) = requests.split_first_chunk::<2>() {
        let length = u16::from_be_bytes([*high, *low]);
        let Some((packet, rest)) = rest.split_at_checked(length.into()) else { break };
        packets.extend(u32::from(length).to_be_bytes());
        packets.extend(packet);
        // Opening the session again is answered with the version where others have their number.
        let number = packet.get(1..5).map(|id| u32::from_be_bytes(id.try_into().unwrap()));
        sent.push(number.map(|id| if packet[0] == 1 { 3 } else { id }));
        requests = rest;
    }
    packets.extend(requests);
    (packets, sent)
}

/// The numbers of the replies, which must be whole and no longer than a client takes.
fn replies(mut bytes: &[u8]) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!((5..=256 * 1024).contains(&length), "a reply of {length} bytes");
        let (reply, rest) = rest.split_at_checked(length).expect("a reply ends where it says");
        assert!([2, 101, 102, 103, 104, 105, 201].contains(&reply[0]), "a reply of type {}", reply[0]);
        numbers.push(u32::from_be_bytes(reply[1..5].try_into().unwrap()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a reply");
    numbers
}
