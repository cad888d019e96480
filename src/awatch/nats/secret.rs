//! Who is asking: what the files of a login say, and what of it is sent to a server.
//!
//! A secret is read when it is needed, from a file that is nobody else's, and is in no message. A private key signs what the
//! server has made up, and stays here.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::trusted::{self, Distrust, Kind};
use serde_json::{Map, Value};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, SigningKey};

use super::server::Login;
use crate::authkeys::base64;

/// No such file is longer.
const MAX_BYTES: u64 = 64 * 1024;

/// Why nobody can say who is asking.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{}: {source}", Escaped::os(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else can read or write it.
    #[error("{} {reason}", Escaped::os(path))]
    Shared {
        /// The file.
        path: PathBuf,
        /// Which check failed.
        reason: String,
    },
    /// It is something else.
    #[error("{} is no {what}", Escaped::os(path))]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
}

/// The fields of the client's greeting that say who is asking. `nonce` is what the server wants to have signed.
pub fn fields(login: &Login, nonce: Option<&str>) -> Result<Map<String, Value>, SecretError> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: String| drop(fields.insert(name.to_owned(), value.into()));
    match login {
        Login::None => {}
        Login::Password(user, path) => {
            put("user", user.clone());
            put("pass", line(path)?);
        }
        Login::Token(path) => put("auth_token", line(path)?),
        Login::Nkey(path) => {
            let seed = Seed::read(&line(path)?).ok_or_else(|| form(path, "nkey seed"))?;
            put("nkey", seed.public());
            put("sig", seed.sign(nonce).ok_or_else(|| form(path, "nkey seed"))?);
        }
        Login::Credentials(path) => {
            let text = read(path)?;
            let part = |title| section(&text, title).ok_or_else(|| form(path, "credentials file"));
            let seed = Seed::read(part("USER NKEY SEED")?).ok_or_else(|| form(path, "credentials file"))?;
            put("jwt", part("NATS USER JWT")?.to_owned());
            put("sig", seed.sign(nonce).ok_or_else(|| form(path, "credentials file"))?);
        }
    }
    Ok(fields)
}

fn form(path: &Path, what: &'static str) -> SecretError {
    SecretError::Form { path: path.to_owned(), what }
}

/// The text of a file that only this account can read.
fn read(path: &Path) -> Result<String, SecretError> {
    let io = |source| SecretError::Io { path: path.to_owned(), source };
    let shared = |reason: String| SecretError::Shared { path: path.to_owned(), reason };
    let file: File = trusted::open(path, Kind::File).map_err(|reason| match reason {
        Distrust::Io(source) => io(source),
        reason => shared(reason.to_string()),
    })?;
    if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
        return Err(shared("can be read by group or others".to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// The one line of such a file.
fn line(path: &Path) -> Result<String, SecretError> {
    let text = read(path)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\r', '\n']) {
        Err(form(path, "line of text"))
    } else {
        Ok(line.to_owned())
    }
}

/// The line below `BEGIN title` in a credentials file.
fn section<'t>(text: &'t str, title: &str) -> Option<&'t str> {
    let mut lines = text.lines().skip_while(|line| !(line.contains("BEGIN ") && line.contains(title)));
    lines.nth(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('-'))
}

/// A private key in the form of nk(1): two bytes that say what it is for, the key, and a sum.
struct Seed(Ed25519Keypair);

/// The kinds of keys, as nkeys has them: a seed, and a user's public key.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

impl Seed {
    fn read(text: &str) -> Option<Self> {
        let bytes = base32_decode(text)?;
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        let [first, second, key @ ..] = body else { return None };
        let kind = (first & 7) << 5 | second >> 3;
        let fits = first & 0xf8 == SEED && kind == USER && u16::from_le_bytes(*sum) == crc16(body);
        let key: &[u8; 32] = key.try_into().ok()?;
        fits.then(|| Self(Ed25519Keypair::from_seed(key)))
    }

    fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(&self.0.public.0);
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        base32_encode(&bytes)
    }

    /// The signature of what the server has made up; `None` where that failed. A server that demands none gets that of nothing.
    fn sign(&self, nonce: Option<&str>) -> Option<String> {
        let signature = sign(&PrivateKey::from(self.0.clone()), nonce.unwrap_or_default().as_bytes())?;
        let text = base64::encode(&signature).replace('+', "-").replace('/', "_");
        Some(text.trim_end_matches('=').to_owned())
    }
}

fn sign(key: &impl SigningKey, message: &[u8]) -> Option<Vec<u8>> {
    Some(key.try_sign(message).ok()?.as_bytes().to_owned())
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648, without padding.
fn base32_decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut pending, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let value = BASE32.iter().position(|known| *known == byte)?;
        pending = (pending << 5 | u32::try_from(value).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

fn base32_encode(bytes: &[u8]) -> String {
    let (mut text, mut pending, mut bits) = (String::new(), 0_u32, 0);
    for byte in bytes {
        pending = (pending << 8 | u32::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(pending >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(BASE32[(pending << (5 - bits) & 31) as usize]));
    }
    text
}

/// CRC-16/XMODEM, as nkeys has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// The pair in the documentation of NATS.
    const SEED_TEXT: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_is_read_as_nk_writes_it() {
        assert_eq!(Seed::read(SEED_TEXT).unwrap().public(), PUBLIC);
        assert_eq!(Seed::read(SEED_TEXT).unwrap().sign(Some("x")).unwrap().len(), 86);
        for bad in ["", "S", PUBLIC, &SEED_TEXT[1..], &SEED_TEXT.replace('3', "4"), &SEED_TEXT.to_lowercase()]
        {
            assert!(Seed::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_a_file_that_nobody_else_reads() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("secret");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let fields = |login: &Login| {
            fields(login, Some("n")).map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(" "))
        };
        let token = Login::Token(path.clone());
        assert!(fields(&token).unwrap_err().to_string().contains("No such file"));
        for (text, mode, says) in
            [("s3cret", 0o640, "can be read by"), ("", 0o600, "is no line"), ("a\nb", 0o600, "is no line")]
        {
            write(text, mode);
            let error = fields(&token).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
        write("s3cret\n", 0o600);
        assert_eq!(fields(&token).unwrap(), "auth_token");
        assert_eq!(fields(&Login::Password("anna".to_owned(), path.clone())).unwrap(), "pass user");
        assert!(fields(&Login::Nkey(path.clone())).unwrap_err().to_string().ends_with("is no nkey seed"));
        write(SEED_TEXT, 0o400);
        assert_eq!(fields(&Login::Nkey(path.clone())).unwrap(), "nkey sig");
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n-----BEGIN USER NKEY SEED-----\n{SEED_TEXT}\n------END USER NKEY SEED------\n"
        );
        fs::remove_file(&path).unwrap();
        for (text, outcome) in [
            (creds.clone(), Some("jwt sig")),
            (creds.replace("eyJ0\n", ""), None),
            (creds.replace("SEED", ""), None),
        ] {
            write(&text, 0o600);
            assert_eq!(fields(&Login::Credentials(path.clone())).ok().as_deref(), outcome);
        }
    }
}
