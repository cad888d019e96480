//! MD4, RFC 1320: the checksum of whole files in protocols 27 to 29.

/// The digest of `data`.
pub fn md4(data: &[u8]) -> [u8; 16] {
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((data.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let words: Vec<u32> =
            block.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        state = round(state, &words);
    }
    let mut digest = [0; 16];
    for (part, word) in digest.chunks_exact_mut(4).zip(state) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// The order of the words in each of the three rounds.
const ORDER: [[usize; 16]; 3] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
    [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15],
];
const TURNS: [[u32; 4]; 3] = [[3, 7, 11, 19], [3, 5, 9, 13], [3, 9, 11, 15]];
const ADDED: [u32; 3] = [0, 0x5a82_7999, 0x6ed9_eba1];

fn round(before: [u32; 4], words: &[u32]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = before;
    for number in 0..48 {
        let (round, step) = (number / 16, number % 16);
        let mixed = match round {
            0 => (b & c) | (!b & d),
            1 => (b & c) | (b & d) | (c & d),
            _ => b ^ c ^ d,
        };
        let sum = a.wrapping_add(mixed).wrapping_add(words[ORDER[round][step]]).wrapping_add(ADDED[round]);
        (a, d, c, b) = (d, c, b, sum.rotate_left(TURNS[round][step % 4]));
    }
    [a, b, c, d]
        .iter()
        .zip(before)
        .map(|(now, was)| now.wrapping_add(was))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[test]
fn the_digests_of_the_rfc() {
    for (text, digest) in [
        ("", 0x31d6_cfe0_d16a_e931_b73c_59d7_e0c0_89c0_u128),
        ("abc", 0xa448_017a_af21_d852_5fc1_0ae8_7aa6_729d),
        ("abcdefghijklmnopqrstuvwxyz", 0xd79e_1c30_8aa5_bbcd_eea8_ed63_df41_2da9),
    ] {
        assert_eq!(md4(text.as_bytes()), digest.to_be_bytes(), "{text}");
    }
}
