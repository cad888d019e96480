//! A public key as sshd holds it: decoded, checked, compared by value.
//!
//! Two texts of one key are one key: sshd drops the leading zeros of RSA numbers, takes several words for some types,
//! and skips blanks in the base64. So a [`Key`] keeps the blob that sshd would write, and equality compares that.

use std::fmt;

use sha2::{Digest, Sha256};

use super::base64;
use super::curve::{Curve, P256, P384, P521};
use super::read::{Reading, Target};

/// The kinds of public key that some sshd reads from `authorized_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `ssh-ed25519`, RFC 8709.
    Ed25519,
    /// `ssh-rsa`, RFC 4253 §6.6; also under its signature names `rsa-sha2-256` and `rsa-sha2-512`.
    Rsa,
    /// `ecdsa-sha2-nistp256`, RFC 5656.
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`, RFC 5656.
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`, RFC 5656.
    EcdsaP521,
    /// `sk-ssh-ed25519@openssh.com`, a FIDO key, OpenSSH's PROTOCOL.u2f.
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`, a FIDO key; also under its `webauthn-` signature name.
    SkEcdsaP256,
    /// `ssh-dss`: off by default since OpenSSH 7.0, its parser removed in 10.1.
    Dsa,
    /// `ssh-mldsa44-ed25519@openssh.com`, the experimental post-quantum composite of OpenSSH 10.4.
    MlDsa44Ed25519,
}

/// The words that may stand for a type in a line; `sshkey_type_from_name` and the table `keyimpls` in sshkey.c.
pub(super) const WORDS: [(&str, Algorithm); 12] = [
    ("ssh-ed25519", Algorithm::Ed25519),
    ("ssh-rsa", Algorithm::Rsa),
    ("rsa-sha2-256", Algorithm::Rsa),
    ("rsa-sha2-512", Algorithm::Rsa),
    ("ecdsa-sha2-nistp256", Algorithm::EcdsaP256),
    ("ecdsa-sha2-nistp384", Algorithm::EcdsaP384),
    ("ecdsa-sha2-nistp521", Algorithm::EcdsaP521),
    ("sk-ssh-ed25519@openssh.com", Algorithm::SkEd25519),
    ("sk-ecdsa-sha2-nistp256@openssh.com", Algorithm::SkEcdsaP256),
    ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", Algorithm::SkEcdsaP256),
    ("ssh-dss", Algorithm::Dsa),
    ("ssh-mldsa44-ed25519@openssh.com", Algorithm::MlDsa44Ed25519),
];

impl Algorithm {
    /// The name that sshd writes for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::Rsa => "ssh-rsa",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
            Self::Dsa => "ssh-dss",
            Self::MlDsa44Ed25519 => "ssh-mldsa44-ed25519@openssh.com",
        }
    }

    /// Whether a login with such a key gets as far as the key file under the target's default
    /// `PubkeyAcceptedAlgorithms`.
    pub fn accepted_by_default(self) -> bool {
        !matches!(self, Self::Dsa | Self::MlDsa44Ed25519)
    }

    /// The type that a word at the start of a key stands for; exact and case-sensitive.
    pub(super) fn from_word(word: &[u8], target: Target) -> Option<Self> {
        let algorithm = WORDS.iter().find(|(name, _)| name.as_bytes() == word)?.1;
        target.knows(algorithm, word).then_some(algorithm)
    }

    /// The type that the string inside a blob stands for. Up to OpenSSH 9.8 `sshkey_type_from_name` also took the
    /// short names, in any case; those of ECDSA then fail because they name no curve.
    pub(super) fn from_inner(name: &[u8], target: Target) -> Option<Self> {
        Self::from_word(name, target).or_else(|| {
            let short =
                |word: &str| target == Target::OpenSsh9_2 && name.eq_ignore_ascii_case(word.as_bytes());
            [
                ("ED25519", Self::Ed25519),
                ("RSA", Self::Rsa),
                ("DSA", Self::Dsa),
                ("ED25519-SK", Self::SkEd25519),
            ]
            .into_iter()
            .find_map(|(word, algorithm)| short(word).then_some(algorithm))
        })
    }

    fn curve(self) -> Option<&'static Curve> {
        match self {
            Self::EcdsaP256 | Self::SkEcdsaP256 => Some(&P256),
            Self::EcdsaP384 => Some(&P384),
            Self::EcdsaP521 => Some(&P521),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a word is the type of a certificate: sshd parses such a line, but no login can match it.
pub(super) fn is_certificate_word(word: &[u8]) -> bool {
    word.strip_suffix(b"-cert-v01@openssh.com").is_some_and(|stem| {
        WORDS.iter().any(|(name, _)| {
            let name = name.strip_suffix("@openssh.com").unwrap_or(name);
            name.as_bytes() == stem
        })
    })
}

/// Why the bytes of a blob are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The blob ends before the key does.
    #[error("the key is cut short")]
    Truncated,
    /// Bytes follow the key inside the blob.
    #[error("bytes follow the key inside the base64 text")]
    TrailingBytes,
    /// The type named inside the blob is unknown to the target.
    #[error("the base64 text holds no key of a known type")]
    UnknownType,
    /// The word in front of the base64 text and the type inside differ.
    #[error("the word says {word}, the base64 text holds {inner}")]
    OtherType {
        /// The type that the line claims.
        word: Algorithm,
        /// The type that the blob is.
        inner: Algorithm,
    },
    /// A number in the blob is negative or too large.
    #[error("a number in the key is negative or too large")]
    BadNumber,
    /// An RSA modulus below 1024 bits (`SSH_RSA_MINIMUM_MODULUS_SIZE`).
    #[error("an RSA key of {0} bits; sshd takes 1024 to 16384")]
    RsaTooShort(usize),
    /// A fixed-length part has another length.
    #[error("a part of the key has the wrong length")]
    BadLength,
    /// The curve inside the blob is not the one of the type.
    #[error("the key is on another curve than its type says")]
    OtherCurve,
    /// The point is not one of the curve, or one that sshd refuses.
    #[error("the key is not a point of its curve")]
    BadPoint,
}

/// A public key; equal when sshd takes the two for the same key (`sshkey_equal`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    algorithm: Algorithm,
    bits: usize,
    blob: Vec<u8>,
}

impl Key {
    /// Decodes a blob as `sshkey_from_blob` does.
    ///
    /// # Errors
    /// Why the target's sshd would not take it for a key.
    pub fn from_blob(blob: &[u8], target: Target) -> Result<Self, BadKey> {
        let (key, rest) = Self::from_prefix(blob, target)?;
        if rest.is_empty() { Ok(key) } else { Err(BadKey::TrailingBytes) }
    }

    /// The same for a blob that is kept, as nearly every one can be: it is what sshd would write.
    pub(super) fn from_owned(blob: Vec<u8>, target: Target) -> Result<Self, BadKey> {
        let mut out = Out::Comparing(&blob);
        let (algorithm, bits, rest) = parts(&blob, target, &mut out)?;
        if !rest.is_empty() {
            return Err(BadKey::TrailingBytes);
        }
        match out {
            Out::Comparing([]) => Ok(Self { algorithm, bits, blob }),
            Out::Comparing(_) | Out::Differs => Self::from_blob(&blob, target),
            Out::Writing(blob) => Ok(Self { algorithm, bits, blob }),
        }
    }

    /// Reads a key as it stands in a `.pub` file: one line, without options. `None` when it is not that.
    pub fn from_public_line(line: &[u8], target: Target) -> Option<Self> {
        match super::read::read_line(line, 1, target.into()) {
            Reading::Entry(entry) if entry.options_span.is_none() => Some(entry.key),
            _ => None,
        }
    }

    /// Decodes the key at the start of `blob`, and returns what follows it.
    pub(super) fn from_prefix(blob: &[u8], target: Target) -> Result<(Self, &[u8]), BadKey> {
        let mut out = Out::Writing(Vec::with_capacity(blob.len()));
        let (algorithm, bits, rest) = parts(blob, target, &mut out)?;
        let blob = match out {
            Out::Writing(blob) => blob,
            Out::Comparing(_) | Out::Differs => Vec::new(),
        };
        Ok((Self { algorithm, bits, blob }, rest))
    }

    /// The kind of key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's size as `ssh-keygen -l` counts it.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The blob as sshd would write it: the base64 text of a normal line, decoded.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// `SHA256:` and the base64 of the blob's digest without padding, as `ssh-keygen -l` and sshd's log show it.
    pub fn fingerprint(&self) -> String {
        let digest = base64::encode(&Sha256::digest(&self.blob));
        format!("SHA256:{}", digest.trim_end_matches('='))
    }
}

/// The key as a line has it: type word, blank, base64 text.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, base64::encode(&self.blob))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.algorithm, self.fingerprint())
    }
}

/// Decodes the key at the start of `blob`: its kind, its size and what follows it. What sshd would write for it goes to `out`.
fn parts<'a>(
    blob: &'a [u8],
    target: Target,
    out: &mut Out<'_>,
) -> Result<(Algorithm, usize, &'a [u8]), BadKey> {
    let mut fields = Fields(blob);
    let inner = fields.text()?;
    let algorithm = Algorithm::from_inner(inner, target).ok_or(BadKey::UnknownType)?;
    out.put(algorithm.name().as_bytes());
    let bits = match algorithm {
        Algorithm::Ed25519 => fields.exactly(32, out)?,
        Algorithm::SkEd25519 => {
            let bits = fields.exactly(32, out)?;
            out.put(fields.text()?);
            bits
        }
        Algorithm::MlDsa44Ed25519 => fields.exactly(1312 + 32, out).map(|_| 256)?,
        Algorithm::Rsa => {
            out.put_number(fields.number()?);
            let modulus = fields.number()?;
            let bits = bit_length(modulus);
            if bits < 1024 {
                return Err(BadKey::RsaTooShort(bits));
            }
            out.put_number(modulus);
            bits
        }
        Algorithm::Dsa => {
            let prime = fields.number()?;
            out.put_number(prime);
            for _ in 0..3 {
                out.put_number(fields.number()?);
            }
            bit_length(prime)
        }
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521 | Algorithm::SkEcdsaP256 => {
            let curve = algorithm.curve().ok_or(BadKey::OtherCurve)?;
            let name = fields.text()?;
            if name != curve.name.as_bytes() {
                return Err(BadKey::OtherCurve);
            }
            let point = fields.string()?;
            if !curve.accepts(point) {
                return Err(BadKey::BadPoint);
            }
            out.put(name);
            out.put(point);
            if algorithm == Algorithm::SkEcdsaP256 {
                out.put(fields.text()?);
            }
            curve.bits as usize
        }
    };
    Ok((algorithm, bits, fields.0))
}

/// Where the blob goes that sshd would write: into a buffer, or against one that it probably is.
enum Out<'a> {
    /// It is written.
    Writing(Vec<u8>),
    /// It is compared with what is left of this.
    Comparing(&'a [u8]),
    /// It is another one.
    Differs,
}

impl Out<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a field is a part of a blob whose own fields have 32-bit lengths"
    )]
    fn put(&mut self, field: &[u8]) {
        self.bytes(&(field.len() as u32).to_be_bytes());
        self.bytes(field);
    }

    /// Writes a number without leading zeros, with the one zero byte that keeps it positive.
    #[expect(clippy::cast_possible_truncation, reason = "as above")]
    fn put_number(&mut self, number: &[u8]) {
        let sign = number.first().is_some_and(|first| first & 0x80 != 0);
        self.bytes(&(number.len() as u32 + u32::from(sign)).to_be_bytes());
        self.bytes(if sign { &[0] } else { &[] });
        self.bytes(number);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Writing(out) => out.extend_from_slice(bytes),
            Self::Comparing(rest) => match rest.strip_prefix(bytes) {
                Some(after) => *rest = after,
                None => *self = Self::Differs,
            },
            Self::Differs => {}
        }
    }
}

/// What is left of a blob, RFC 4251 §5.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn string(&mut self) -> Result<&'a [u8], BadKey> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(BadKey::Truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BadKey::Truncated)?;
        let (field, rest) = rest.split_at_checked(length).ok_or(BadKey::Truncated)?;
        self.0 = rest;
        Ok(field)
    }

    /// `sshbuf_get_cstring`: no NUL but for one at the end, which then does not count.
    fn text(&mut self) -> Result<&'a [u8], BadKey> {
        let field = self.string()?;
        let text = field.strip_suffix(b"\0").unwrap_or(field);
        if text.contains(&0) { Err(BadKey::UnknownType) } else { Ok(text) }
    }

    fn exactly(&mut self, length: usize, out: &mut Out<'_>) -> Result<usize, BadKey> {
        let field = self.string()?;
        if field.len() != length {
            return Err(BadKey::BadLength);
        }
        out.put(field);
        Ok(length * 8)
    }

    /// `sshbuf_get_bignum2_bytes_direct`: negative or above 16384 bits refused, leading zeros dropped.
    fn number(&mut self) -> Result<&'a [u8], BadKey> {
        let field = self.string()?;
        let first = field.first().copied().unwrap_or(0);
        if first & 0x80 != 0 || field.len() > 2049 || field.len() == 2049 && first != 0 {
            return Err(BadKey::BadNumber);
        }
        let zeros = field.iter().take_while(|&&byte| byte == 0).count();
        Ok(&field[zeros..])
    }
}

fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
