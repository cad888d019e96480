//! What sshd says when a key let somebody in (`auth_log` in auth.c):
//! `Accepted publickey for USER from ADDRESS port PORT ssh2: TYPE SHA256:…`, for a certificate with
//! ` ID NAME (serial N) CA TYPE SHA256:…` behind it.

/// A login with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// Whose account.
    pub account: &'a str,
    /// The client.
    pub address: &'a str,
    /// Its port.
    pub port: &'a str,
    /// The fingerprint of the key that was shown.
    shown: &'a str,
    /// That of the authority that signed it, if it was a certificate.
    authority: Option<&'a str>,
}

impl<'a> Accepted<'a> {
    /// Reads a message of sshd. Only what sshd itself puts at the start counts: names that clients send stand further back.
    pub fn read(message: &'a str) -> Option<Self> {
        let rest = message.strip_prefix("Accepted publickey for ")?;
        let (left, key) = rest.split_once(" ssh2: ")?;
        let (left, port) = left.rsplit_once(" port ")?;
        let (account, address) = left.rsplit_once(" from ")?;
        let mut words = key.split(' ');
        let (_, shown) = (words.next()?, words.next().filter(|word| is_fingerprint(word))?);
        let authority = key.rsplit_once(" CA ").and_then(|(_, authority)| authority.split(' ').nth(1));
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let sound = plain(account) && plain(address) && port.bytes().all(|byte| byte.is_ascii_digit());
        let authority = authority.filter(|authority| is_fingerprint(authority));
        sound.then_some(Self { account, address, port, shown, authority })
    }

    /// The key that a line of the key file has to be for: the authority's, where a certificate was shown.
    pub fn key(&self) -> &'a str {
        self.authority.unwrap_or(self.shown)
    }

    /// Every key that had a part in it.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        [Some(self.shown), self.authority].into_iter().flatten()
    }
}

fn is_fingerprint(word: &str) -> bool {
    let digest = word.strip_prefix("SHA256:").unwrap_or_default();
    digest.len() == 43 && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";
    const CA: &str = "SHA256:35s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";

    #[test]
    fn a_login_is_read_and_what_a_client_wrote_is_not() {
        let line = format!("Accepted publickey for anna from 192.0.2.7 port 50000 ssh2: ED25519 {ED}");
        let read = Accepted::read(&line).unwrap();
        assert_eq!((read.account, read.address, read.port, read.key()), ("anna", "192.0.2.7", "50000", ED));
        let line = format!(
            "Accepted publickey for anna from fe80::1%eth0 port 1 ssh2: ED25519-CERT {ED} ID \"x CA y\" (serial 0) CA ED25519 {CA}"
        );
        let read = Accepted::read(&line).unwrap();
        assert_eq!((read.key(), read.keys().collect::<Vec<_>>()), (CA, vec![ED, CA]));
        for line in [
            format!("Invalid user Accepted publickey for root from 192.0.2.7 port 1 ssh2: ED25519 {ED}"),
            "Accepted password for anna from 192.0.2.7 port 1 ssh2".to_owned(),
            "Accepted publickey for anna from 192.0.2.7 port 1 ssh2: ED25519 SHA256:short".to_owned(),
            format!("Accepted publickey for an na from x from 192.0.2.7 port 1 ssh2: ED25519 {ED}"),
            format!("Accepted publickey for anna from 192.0.2.7 port x ssh2: ED25519 {ED}"),
        ] {
            assert_eq!(Accepted::read(&line), None, "{line}");
        }
    }
}
