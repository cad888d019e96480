//! The signature under a bundle: SSHSIG, as ssh-keygen(1) makes and checks it (`-Y sign`, OpenSSH's PROTOCOL.sshsig).
//!
//! It stands behind the bundle in the same file, as comments, so that one file is all that travels and any TOML reader
//! takes it. What is signed is every byte before it. Nothing may follow it, and nothing in it is read as a part of the bundle.

use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::PodKey;
use crate::common::toml_text::At;

/// What the signature is for, so that one which was made for something else is worth nothing here.
const NAMESPACE: &str = "akeys-bundle";

/// The line with which the signature begins.
const BEGIN: &str = "# -----BEGIN SSH SIGNATURE-----\n";

/// What is left of the signature's first line or its last one when the other has suffered.
const TRACE: &str = "SSH SIGNATURE-";

/// Takes a text apart: the bundle, and the key that has signed it; `None` where nothing is signed.
///
/// A signature that is there and does not fit is an error, never the same as none.
pub fn open(text: &str) -> Result<(&str, Option<PodKey>), At> {
    let Some(start) = begins(text) else { return unsigned(text) };
    let (bundle, block) = text.split_at(start);
    let wrong = |what: String| At::offset(text, start, what);
    let armor: Option<String> =
        block.lines().map(|line| Some(line.strip_prefix("# ")?.to_owned() + "\n")).collect();
    let armor =
        armor.ok_or_else(|| wrong("something other than the signature follows the bundle".to_owned()))?;
    let signature: SshSig =
        armor.parse().map_err(|error| wrong(format!("the signature cannot be read: {error}")))?;
    let key = PublicKey::from(signature.public_key().clone());
    key.verify(NAMESPACE, bundle.as_bytes(), &signature).map_err(|error| {
        wrong(match error {
            ssh_key::Error::Namespace => "the signature was made for something else than a bundle".to_owned(),
            ssh_key::Error::AlgorithmUnsupported { .. } => {
                "the signature is by another kind of key than ed25519, and cannot be checked".to_owned()
            }
            _ => "the signature does not fit: the bundle is not as it was signed".to_owned(),
        })
    })?;
    let unreadable =
        |error: &dyn std::fmt::Display| wrong(format!("the signature's key cannot be read: {error}"));
    let written = key.to_openssh().map_err(|error| unreadable(&error))?;
    Ok((bundle, Some(written.parse().map_err(|error| unreadable(&error))?)))
}

/// A text without a signature. One of which only a part is left, or whose line ends are others by now, was signed.
fn unsigned(text: &str) -> Result<(&str, Option<PodKey>), At> {
    match text.find(TRACE) {
        None => Ok((text, None)),
        Some(at) => Err(At::offset(
            text,
            at,
            "there was a signature, which is damaged: let the file be sent as it is",
        )),
    }
}

/// Where the signature begins, at the start of a line.
fn begins(text: &str) -> Option<usize> {
    text.match_indices(BEGIN).map(|(at, _)| at).find(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
}

/// The text of a bundle, which ends in a line end, with its signature behind it.
pub fn sign(bundle: &str, key: &PrivateKey) -> Result<String, ssh_key::Error> {
    let signature = key.sign(NAMESPACE, HashAlg::Sha512, bundle.as_bytes())?;
    let mut text = bundle.to_owned();
    for line in signature.to_pem(LineEnding::LF)?.lines() {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::Algorithm;
    use ssh_key::rand_core::OsRng;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
    }

    #[test]
    fn what_was_signed_is_known_to_be_that() {
        let key = key();
        let text = sign("federation = \"lab\"\n", &key).unwrap();
        let (bundle, signer) = open(&text).unwrap();
        assert_eq!(bundle, "federation = \"lab\"\n");
        assert_eq!(signer.unwrap().to_string(), key.public_key().to_openssh().unwrap().trim_end());
        assert_eq!(open(bundle).unwrap(), (bundle, None));
    }

    #[test]
    fn a_byte_more_or_less_or_another_is_noticed() {
        let text = sign("federation = \"lab\"\n", &key()).unwrap();
        for at in 0..text.len() {
            for changed in [
                format!("{}{}", &text[..at], &text[at + 1..]),
                format!("{}x{}", &text[..at], &text[at + 1..]),
                format!("{}\n{}", &text[..at], &text[at..]),
            ] {
                if let Ok((bundle, signer)) = open(&changed) {
                    // The end of the armour can be written in more than one way.
                    assert_eq!(bundle, "federation = \"lab\"\n", "{at}: {changed}");
                    assert!(signer.is_some(), "{at}: {changed}");
                }
            }
        }
        for (tail, says) in [
            ("nats = \"nats://evil:4222\"\n", "something other than the signature follows"),
            ("\n", "something other than the signature follows"),
            ("# more\n", "cannot be read"),
        ] {
            let error = open(&format!("{text}{tail}")).unwrap_err();
            assert!(error.what.contains(says), "{error}");
            assert_eq!((error.line, error.column), (2, 1));
        }
        let cut = &text[..text.len() - 20];
        assert!(open(cut).unwrap_err().what.contains("cannot be read"), "{cut}");
    }

    #[test]
    fn a_bundle_that_came_with_other_line_ends_was_taken_for_an_unsigned_one() {
        let text = sign("federation = \"lab\"\n", &key()).unwrap().replace('\n', "\r\n");
        assert!(open(&text).unwrap_err().what.starts_with("there was a signature, which is damaged"));
    }

    #[test]
    fn a_signature_for_something_else_is_none_for_a_bundle() {
        let bundle = "federation = \"lab\"\n";
        let mail = key().sign("file", HashAlg::Sha512, bundle.as_bytes()).unwrap();
        let pem = mail.to_pem(LineEnding::LF).unwrap();
        let block = pem.lines().map(|line| format!("# {line}\n")).collect::<Vec<_>>().concat();
        let error = open(&format!("{bundle}{block}")).unwrap_err();
        assert_eq!(error.what, "the signature was made for something else than a bundle");
    }
}
