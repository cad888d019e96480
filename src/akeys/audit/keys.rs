//! How good a key is, and how well it is looked after.

use std::collections::HashMap;

use crate::akeys::relation;
use crate::authkeys::{Algorithm, Entry, Key, Line};

use super::catalogue::Code;
use super::finding::{At, Basket};
use super::{Facts, usage};

/// Keys that are published with their private half: the end of the base64 text, the fingerprint, and where they are from.
/// The end is compared first, because it costs nothing.
const KNOWN: [(&[u8], &str, &str); 3] = [
    (b"c9WhQ==", "SHA256:1M4RzhMyWuFS/86uPY/ce2prh/dVTHW7iD2RhpquOZA", "Vagrant's insecure key"),
    (b"JOn5Y", "SHA256:WkvqjnyPAeC0cbPErYiGP9vqHdgL1MqqvPdIe3lvHgI", "Vagrant's insecure key"),
    (b"XdLk=", "SHA256:9prMbqhS4QteoFQ1ZRJDqSBLWoHXPyKB0iWR05Ghro4", "F5 BIG-IP, CVE-2012-1493"),
];

/// Puts what is wrong with the key of `entry` into the basket.
pub(super) fn judge(line: Line<'_>, entry: &Entry<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let at = || At::Line { number: line.number(), column: entry.key_span.start + 1 };
    let key = &entry.key;
    match key.algorithm() {
        Algorithm::Dsa => {
            basket.put(Code::WeakDsa, at(), || "a DSA key".to_owned());
        }
        Algorithm::Rsa => rsa(key, &at, facts, basket),
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521 => {
            basket.put(Code::Ecdsa, at(), || format!("{} bits", key.bits()));
        }
        Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaP256 | Algorithm::MlDsa44Ed25519 => {}
    }
    if !facts.accepts(key.algorithm()) {
        let message = || format!("sshd does not accept {} keys", key.algorithm());
        basket.put(Code::AlgorithmOff, at(), message).hint("PubkeyAcceptedAlgorithms in sshd_config(5)");
    }
    let text = line.raw()[entry.key_span.clone()].trim_ascii_end();
    for (_, fingerprint, origin) in KNOWN.iter().filter(|(end, ..)| text.ends_with(end)) {
        if key.fingerprint() == *fingerprint {
            basket.put(Code::KnownKey, at(), || (*origin).to_owned()).hint("remove it");
        }
    }
    if facts.revoked.has(key) {
        basket.put(Code::Revoked, at(), || "RevokedKeys has this key".to_owned()).hint("remove it");
    }
    if facts.weak.has(key) {
        let message = || "Debian's OpenSSL of 2006 to 2008 made this key".to_owned();
        basket.put(Code::WeakDebian, at(), message).hint("remove it");
    }
    usage::judge(entry, &at, facts, basket);
    if let Some(message) = facts.old.as_ref().and_then(|old| old.judge(entry)) {
        basket.put(Code::OldKey, at(), || message).hint("akeys rotate");
    }
    if facts.host_keys.contains(key) {
        basket.put(Code::HostKey, at(), || "this is a host key of this machine".to_owned());
    }
    if entry.options.cert_authority && facts.own_keys.contains(key) {
        let message = || "this is a key from ~/.ssh, which cannot log in as an authority".to_owned();
        basket
            .put(Code::CaFlagOnUserKey, at(), message)
            .hint("take cert-authority out, or list the authority's key");
    }
    if facts.authorities.contains(key) {
        trusted(entry, &at, facts, basket);
    }
    comment(line, entry, basket);
}

/// A key that sshd trusts as an authority for every account. Its certificates are looked for there when no line has let them in
/// (`user_key_allowed` in auth2-pubkey.c).
fn trusted(entry: &Entry<'_>, at: &dyn Fn() -> At, facts: &Facts<'_>, basket: &mut Basket) {
    let options = &entry.options;
    // There it may be for other names than here.
    let by_names = ["authorizedprincipalsfile", "authorizedprincipalscommand"]
        .iter()
        .any(|name| facts.server.and_then(|server| server.value(name)).is_some_and(|value| value != "none"));
    let limited = relation::conditional(options) || options.principals.is_some();
    if !options.cert_authority {
        let message = || "sshd trusts this key as an authority as well (TrustedUserCAKeys)".to_owned();
        basket.put(Code::CaAndPlain, at(), message);
    } else if limited || by_names && (options.restrict || options.command.is_some()) {
        let message = || {
            "TrustedUserCAKeys has this authority as well: a certificate that this line refuses may need none"
                .to_owned()
        };
        basket.put(Code::Fallthrough, at(), message);
    }
}

fn rsa(key: &Key, at: &dyn Fn() -> At, facts: &Facts<'_>, basket: &mut Basket) {
    let bits = key.bits();
    if bits < 2048 {
        basket.put(Code::WeakRsa, at(), || format!("{bits} bits")).hint("replace it: ssh-keygen -t ed25519");
    } else if bits < 3072 {
        basket.put(Code::Rsa3072, at(), || format!("{bits} bits")).hint("replace it: ssh-keygen -t ed25519");
    }
    if facts
        .server
        .and_then(|server| server.value("requiredrsasize")?.parse().ok())
        .is_some_and(|least: usize| bits < least)
    {
        basket.put(Code::RsaRequiredSize, at(), || format!("{bits} bits, below sshd's RequiredRSASize"));
    }
    let Some((exponent, modulus)) = numbers(key.blob()) else { return };
    // 35 is what ssh-keygen used until OpenSSH 5.4, 3 and 17 what others did.
    let usual = matches!(exponent, [1, 0, 1] | [35 | 17 | 3]);
    if !usual {
        basket.put(Code::RsaExponent, at(), || "an exponent that no known program uses".to_owned());
    }
    if let Some(factor) = small_factor(modulus) {
        basket
            .put(Code::RsaBroken, at(), || format!("the modulus can be divided by {factor}"))
            .hint("remove it");
    } else if has_the_mark_of_roca(modulus) {
        basket
            .put(Code::RsaRoca, at(), || "the modulus has the mark of CVE-2017-15361".to_owned())
            .hint("replace it");
    }
}

/// The exponent and the modulus in an RSA blob.
pub(super) fn numbers(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = blob;
    let mut field = || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (field, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = tail;
        Some(field.strip_prefix(&[0]).unwrap_or(field))
    };
    field()?;
    Some((field()?, field()?))
}

/// The odd primes below 168, from which the generator of CVE-2017-15361 builds its primes. The product of the first eight,
/// and of any four others, fits into 32 bits.
const PRIMES: [u64; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// A factor that no modulus has: then it was damaged, and is easy to take apart.
fn small_factor(modulus: &[u8]) -> Option<u64> {
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Some(2);
    }
    residues(modulus, &PRIMES[..8]).find(|(_, residue)| *residue == 0).map(|(prime, _)| prime)
}

/// Every prime of that generator is a power of 65537 modulo the small primes, and so is their product. Of other keys, one
/// in a hundred million is. Most are told apart by the first primes, so the others are tried only then.
fn has_the_mark_of_roca(modulus: &[u8]) -> bool {
    let (first, others) = PRIMES.split_at(8);
    std::iter::once(first).chain(others.chunks(4)).all(|primes| {
        residues(modulus, primes).all(|(prime, residue)| {
            let powers = std::iter::successors(Some(1), |power| Some(power * 65537 % prime));
            powers.take(usize::try_from(prime).unwrap_or_default()).any(|power| power == residue)
        })
    })
}

/// What is left of a modulus when it is divided by each of some primes whose product has 32 bits.
fn residues<'a>(modulus: &[u8], primes: &'a [u64]) -> impl Iterator<Item = (u64, u64)> + use<'a> {
    let product: u64 = primes.iter().product();
    let (head, words) = modulus.as_rchunks::<4>();
    let rest = head.iter().fold(0, |rest, byte| (rest << 8 | u64::from(*byte)) % product);
    let rest =
        words.iter().fold(rest, |rest, word| (rest << 32 | u64::from(u32::from_be_bytes(*word))) % product);
    primes.iter().map(move |&prime| (prime, rest % prime))
}

fn comment(line: Line<'_>, entry: &Entry<'_>, basket: &mut Basket) {
    const TELLING: [&str; 11] = [
        "revoked",
        "old",
        "tmp",
        "temp",
        "temporary",
        "delete",
        "deleteme",
        "unused",
        "obsolete",
        "expired",
        "retired",
    ];
    let comment = entry.comment;
    let at = |offset: usize| At::Line { number: line.number(), column: offset + 1 };
    if comment.is_empty() {
        basket.put(Code::NoComment, at(entry.key_span.end), || "it has no comment".to_owned());
        return;
    }
    if !basket.wants(Code::TellingComment) {
        return;
    }
    let words = comment.split(|byte| !byte.is_ascii_alphanumeric());
    for word in words {
        if let Some(telling) = TELLING.iter().find(|telling| word.eq_ignore_ascii_case(telling.as_bytes())) {
            let message = || format!("the comment says \"{telling}\"");
            basket.put(Code::TellingComment, at(entry.key_span.end + 1), message);
            return;
        }
    }
}

/// Comments and the first key that has each of them.
#[derive(Debug, Default)]
pub(super) struct Comments(HashMap<u64, (usize, u64)>);

impl Comments {
    /// Notes the comment of a live line, and says when a different key had it before.
    pub(super) fn note(
        &mut self,
        line: Line<'_>,
        entry: &Entry<'_>,
        comment: u64,
        key: u64,
        basket: &mut Basket,
    ) {
        if entry.comment.is_empty() || !basket.wants(Code::SharedComment) {
            return;
        }
        let (first, first_key) = *self.0.entry(comment).or_insert((line.number(), key));
        if first_key != key {
            let at = At::Line { number: line.number(), column: entry.key_span.end + 2 };
            basket.put(Code::SharedComment, at, || {
                format!("another key, on line {first}, has the same comment")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_roca() {
        // 1 modulo every prime, so a power of 65537 modulo every prime: the product of all of them, shifted, and one.
        let mut product = vec![1u8];
        for prime in PRIMES {
            let mut carry = 0;
            for digit in product.iter_mut().rev() {
                let value = u64::from(*digit) * prime + carry;
                *digit = value.to_le_bytes()[0];
                carry = value >> 8;
            }
            if carry > 0 {
                product.insert(0, carry.to_le_bytes()[0]);
            }
        }
        let mut modulus = [product, vec![0; 100]].concat();
        *modulus.last_mut().unwrap() = 1;
        assert!(has_the_mark_of_roca(&modulus));
        assert_eq!(small_factor(&modulus), None);
        // 3 is no power of 65537 modulo 11.
        *modulus.last_mut().unwrap() = 3;
        assert!(!has_the_mark_of_roca(&modulus));
        *modulus.last_mut().unwrap() = 0;
        assert_eq!(small_factor(&modulus), Some(2));
        assert_eq!(small_factor(&[0xff]), Some(3));
    }
}
