//! What another bundle of a federation that is here already may change.
//!
//! Nobody knows who sent it. An unsigned bundle therefore adds, and contradicts nothing. The first signature that is
//! taken in is the federation's from then on: what it signs later takes the place of what is here, as long as it is
//! newer, and nothing that is unsigned or signed by somebody else does. A key that was taken back never comes back.

use super::{Bundle, Offer, PodKey, Received, render};
use rrsync_rs::name::Label;

/// What becomes of the bundle that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Successor {
    /// It says the same.
    Same,
    /// This takes its place.
    Takes(Box<Received>),
}

/// Why a bundle does not take the place of the one that is here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSuccessor {
    /// It is signed by another key than the one that is here, or not at all.
    #[error("{}", signers(pinned, signer.as_ref()))]
    Signer {
        /// Who has signed what is here.
        pinned: PodKey,
        /// Who has signed the other.
        signer: Option<PodKey>,
    },
    /// It is an earlier edition.
    #[error("the bundle is of serial {there}, and serial {here} is here: it was sent before")]
    Older {
        /// The serial here.
        here: u64,
        /// The serial of the other.
        there: u64,
    },
    /// Two editions have one serial.
    #[error("the bundle is not what is here, and has the same serial {0}")]
    Twice(u64),
    /// It offers a key that was taken back.
    #[error("pod {pod} comes with the key {}, which was revoked", key.fingerprint())]
    Returns {
        /// The pod.
        pod: Label,
        /// The key.
        key: PodKey,
    },
    /// It contradicts what is here.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

fn signers(pinned: &PodKey, signer: Option<&PodKey>) -> String {
    let other = signer.map_or_else(|| "nobody".to_owned(), PodKey::fingerprint);
    format!("the bundle is not signed by the same key\n  here:   {}\n  bundle: {other}", pinned.fingerprint())
}

/// What becomes of `kept` when `comes` is taken in.
pub fn succeed(kept: Option<&Received>, comes: Received) -> Result<Successor, BadSuccessor> {
    let Some(kept) = kept else { return Ok(Successor::Takes(Box::new(comes))) };
    refuse_revoked(&kept.bundle, &comes.bundle)?;
    match (&kept.signer, &comes.signer) {
        (None, None) => {
            let mut merged = kept.bundle.clone();
            if merged.merge(comes.bundle)? == 0 {
                return Ok(Successor::Same);
            }
            let text = render(&merged);
            Ok(Successor::Takes(Box::new(Received { bundle: merged, signer: None, text })))
        }
        (None, Some(_)) => {
            kept.bundle.clone().merge(comes.bundle.clone())?;
            Ok(Successor::Takes(Box::new(comes)))
        }
        (Some(pinned), signer) if signer.as_ref() != Some(pinned) => {
            Err(BadSuccessor::Signer { pinned: pinned.clone(), signer: signer.clone() })
        }
        (Some(_), _) => by_serial(&kept.bundle, comes),
    }
}

/// Refuses a bundle that offers a key which the one that is here calls revoked, whoever has signed either.
pub fn refuse_revoked(kept: &Bundle, comes: &Bundle) -> Result<(), BadSuccessor> {
    for offer in &comes.offers {
        let mut keys = std::iter::once(&offer.key).chain(&offer.replaces);
        if let Some(key) = keys.find(|key| kept.revocation(key.key()).is_some()) {
            return Err(BadSuccessor::Returns { pod: offer.pod.clone(), key: key.clone() });
        }
    }
    Ok(())
}

/// The newer of two bundles of one signer.
fn by_serial(kept: &Bundle, comes: Received) -> Result<Successor, BadSuccessor> {
    let (here, there) = (kept.serial, comes.bundle.serial);
    match there.cmp(&here) {
        std::cmp::Ordering::Less => Err(BadSuccessor::Older { here, there }),
        std::cmp::Ordering::Equal if *kept == comes.bundle => Ok(Successor::Same),
        std::cmp::Ordering::Equal => Err(BadSuccessor::Twice(here)),
        std::cmp::Ordering::Greater => Ok(Successor::Takes(Box::new(comes))),
    }
}

impl Bundle {
    /// Takes in the offers of `other`, another bundle of the same federation (another pod's).
    ///
    /// Returns how many were new. Whatever contradicts what is here is an error: a bundle never replaces a key.
    pub fn merge(&mut self, other: Bundle) -> Result<usize, MergeError> {
        if self.nats != other.nats {
            return Err(MergeError::Setting("nats"));
        }
        if self.hubs != other.hubs {
            return Err(MergeError::Setting("hubs"));
        }
        if self.revoked != other.revoked {
            return Err(MergeError::Setting("revoked"));
        }
        if self.host_keys != other.host_keys {
            return Err(MergeError::Setting("host-keys"));
        }
        if self.workspaces != other.workspaces {
            return Err(MergeError::Setting("workspace"));
        }
        let before = self.offers.len();
        for offer in other.offers {
            let same = |mine: &&Offer| mine.pod == offer.pod && mine.set == offer.set;
            match self.offers.iter().find(same) {
                None => self.offers.push(offer),
                Some(mine) if *mine == offer => {}
                Some(mine) => {
                    return Err(MergeError::Offer {
                        pod: offer.pod.clone(),
                        here: Box::new(mine.clone()),
                        there: Box::new(offer),
                    });
                }
            }
        }
        Ok(self.offers.len() - before)
    }
}

/// Why two bundles of one federation do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A setting of the whole federation differs.
    #[error("{0} differs from what was imported before")]
    Setting(&'static str),
    /// The same pod and tool set with another key or other wishes.
    #[error("pod {pod} differs from what was imported before")]
    Offer {
        /// The pod.
        pod: Label,
        /// What is here.
        here: Box<Offer>,
        /// What the other bundle says.
        there: Box<Offer>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::bundle::{parse, receive, sign};
    use crate::authkeys::base64;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey};

    fn public(seed: u8) -> String {
        let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], &[seed; 32]].concat();
        format!("ssh-ed25519 {}", base64::encode(&blob))
    }

    fn text(serial: u64, pods: &[(&str, u8)], more: &str) -> String {
        let grant = |(pod, seed): &(&str, u8)| {
            format!("[[grant]]\npod = \"{pod}\"\nkey = \"{}\"\ntools = [\"rsync\"]\n", public(*seed))
        };
        let grants: String = pods.iter().map(grant).collect::<Vec<_>>().concat();
        format!("federation = \"lab\"\nserial = {serial}\n{grants}{more}")
    }

    fn signer() -> PrivateKey {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
    }

    #[test]
    fn who_may_follow_whom() {
        let (ours, theirs) = (signer(), signer());
        let one = text(3, &[("pc", 1)], "");
        let two = text(4, &[("pc", 2), ("mac", 3)], "");
        let plain = |text: &str| receive(text).unwrap();
        let signed = |text: &str, key: &PrivateKey| receive(&sign(text, key).unwrap()).unwrap();
        let takes = |received: Received| Ok(Successor::Takes(Box::new(received)));
        let same = || Ok(Successor::Same);
        let says = |what: &str| Err(what.to_owned());
        let revoked = |seed: u8| {
            format!("[[revoked]]\npod = \"pc\"\nkey = \"{}\"\nsince = 2026-01-01T00:00:00Z\n", public(seed))
        };
        let kept = signed(&one, &ours);
        let gone = signed(&text(4, &[], &revoked(1)), &ours);
        for (kept, comes, expected) in [
            (None, plain(&one), takes(plain(&one))),
            (None, kept.clone(), takes(kept.clone())),
            (Some(plain(&one)), plain(&one), same()),
            (Some(plain(&one)), plain(&two), says("pod pc differs")),
            (Some(plain(&one)), signed(&two, &ours), says("pod pc differs")),
            (Some(plain(&one)), kept.clone(), takes(kept.clone())),
            (Some(kept.clone()), kept.clone(), same()),
            (Some(kept.clone()), signed(&two, &ours), takes(signed(&two, &ours))),
            (Some(kept.clone()), signed(&two, &theirs), says("is not signed by the same key")),
            (Some(kept.clone()), plain(&two), says("  bundle: nobody")),
            (Some(kept.clone()), plain(&one), says("  bundle: nobody")),
            (Some(kept.clone()), signed(&text(2, &[("pc", 1)], ""), &ours), says("it was sent before")),
            (Some(kept.clone()), signed(&text(3, &[("pc", 2)], ""), &ours), says("has the same serial 3")),
            (Some(kept), gone.clone(), takes(gone.clone())),
            (Some(gone.clone()), signed(&text(5, &[("pc", 1)], ""), &ours), says("which was revoked")),
            (
                Some(gone),
                signed(&text(5, &[("pc", 2)], ""), &ours),
                takes(signed(&text(5, &[("pc", 2)], ""), &ours)),
            ),
        ] {
            let verdict = succeed(kept.as_ref(), comes).map_err(|error| error.to_string());
            match (&verdict, &expected) {
                (Err(error), Err(says)) => assert!(error.contains(says), "{error}"),
                _ => assert_eq!(verdict, expected),
            }
        }
    }

    #[test]
    fn another_pod_joins_and_another_key_does_not() {
        let mut mine = parse(&text(0, &[("pc", 1)], "")).unwrap();
        let mut other = mine.clone();
        other.offers[0].pod = "mac".parse().unwrap();
        assert_eq!(mine.merge(other.clone()), Ok(1));
        assert_eq!(mine.merge(other.clone()), Ok(0));
        other.offers[0].access = rrsync_rs::grant::Access::ReadWrite;
        assert!(mine.merge(other.clone()).is_err());
        other.nats = Some("nats://hub:4222".parse().unwrap());
        assert_eq!(mine.merge(other), Err(MergeError::Setting("nats")));
    }
}
