//! The TOML form of a card, akeys-card(5).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::str::FromStr;

use rrsync_rs::name::Label;
use serde::Deserialize;
use toml::Spanned;

use super::{Card, Host, Place, User};
use crate::common::toml_text::{At, array, quoted, value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CardForm {
    federation: Label,
    pod: Label,
    user: User,
    host: Host,
    port: Option<NonZeroU16>,
    project: Option<Label>,
    workspaces: Spanned<Vec<Spanned<String>>>,
    host_keys: Spanned<Vec<Spanned<String>>>,
}

/// Reads a card. Nothing unknown is accepted, and every value is a checked type afterwards.
pub fn parse(text: &str) -> Result<Card, At> {
    let form: CardForm = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    let usual = Place::usual(form.host);
    if form.host_keys.get_ref().len() > MAX_HOST_KEYS {
        let what = format!("more than {MAX_HOST_KEYS} host-keys: no host has so many");
        return Err(At::offset(text, form.host_keys.span().start, what));
    }
    Ok(Card {
        federation: form.federation,
        pod: form.pod,
        user: form.user,
        place: Place { port: form.port.unwrap_or(usual.port), host: usual.host },
        project: form.project,
        workspaces: set(text, &form.workspaces, "workspaces is empty")?,
        host_keys: set(text, &form.host_keys, "host-keys is empty: the host could be anybody")?,
    })
}

/// More keys than any host has. Each is shown to a person, and kept.
const MAX_HOST_KEYS: usize = 32;

/// The values of a list that has at least one; `empty` says what is wrong otherwise.
fn set<T>(text: &str, list: &Spanned<Vec<Spanned<String>>>, empty: &str) -> Result<BTreeSet<T>, At>
where
    T: Ord + FromStr<Err: std::fmt::Display>,
{
    if list.get_ref().is_empty() {
        return Err(At::offset(text, list.span().start, empty));
    }
    list.get_ref().iter().map(|written| value(text, written)).collect()
}

/// Writes a card. `parse(render(c)) == c`.
pub fn render(card: &Card) -> String {
    let mut text = String::from(
        "# Where a pod finds workspaces, akeys-card(5). `akeys federation meet` reads it on the pod.\n",
    );
    // Writing to a String does not fail.
    let _ = writeln!(text, "federation = {}", quoted(card.federation.as_str()));
    let _ = writeln!(text, "pod = {}", quoted(card.pod.as_str()));
    let _ = writeln!(text, "user = {}", quoted(card.user.as_str()));
    let _ = writeln!(text, "host = {}", quoted(card.place.host.as_str()));
    if !card.place.is_usual() {
        let _ = writeln!(text, "port = {}", card.place.port);
    }
    if let Some(project) = &card.project {
        let _ = writeln!(text, "project = {}", quoted(project.as_str()));
    }
    let _ = writeln!(text, "workspaces = {}", array(&card.workspaces));
    text.push_str("host-keys = [\n");
    for key in &card.host_keys {
        let _ = writeln!(text, "    {},", quoted(&key.to_string()));
    }
    text.push_str("]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r#"federation = "playground"
pod = "chef1"
user = "anna"
host = "laptop.example"
port = 2222
project = "thesis"
workspaces = ["papers", "notes"]
host-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5 root@laptop"]
"#;

    #[test]
    fn reads_and_writes_itself() {
        let card = parse(TEXT).unwrap();
        assert_eq!(card.account(), "anna@laptop.example");
        assert_eq!(card.place.known_as(), "[laptop.example]:2222");
        let written = render(&card);
        assert_eq!(parse(&written).unwrap(), card);
        assert!(!written.contains("root@laptop"), "{written}");
        let usual = TEXT.replace("port = 2222\n", "").replace("project = \"thesis\"\n", "");
        let usual = parse(&usual).unwrap();
        assert_eq!((usual.place.to_string().as_str(), usual.project.as_ref()), ("laptop.example", None));
        assert_eq!(parse(&render(&usual)).unwrap(), usual);
    }

    #[test]
    fn whatever_is_wrong_is_named_with_line_and_column() {
        for ((from, to), line, column, says) in [
            (("pod = ", "podd = "), 2, 1, "unknown field `podd`"),
            (("\"chef1\"", "\"a.b\""), 2, 7, "name \"a.b\" must be"),
            (("\"anna\"", "\"-lroot\""), 3, 8, "user \"-lroot\" must be"),
            (("\"laptop.example\"", "\"-oProxyCommand=sh\""), 4, 8, "host \"-oProxyCommand=sh\" must be"),
            (("\"laptop.example\"", "\"a\\nb\""), 4, 8, "must be"),
            (("\"laptop.example\"", "\"*\""), 4, 8, "must be"),
            (("2222", "0"), 5, 8, "nonzero"),
            (("2222", "65536"), 5, 8, "65536"),
            (("2222", "\"22\""), 5, 8, "invalid type"),
            (("\"thesis\"", "\"\""), 6, 11, "must be"),
            (("\"papers\"", "\"../x\""), 7, 15, "workspace name"),
            (("[\"papers\", \"notes\"]", "[]"), 7, 14, "workspaces is empty"),
            (("\"ssh-ed25519", "\"command=\\\"x\\\" ssh-ed25519"), 8, 14, "not a host key"),
            (("2rSU5 root", "2rSU5\\n* ssh-rsa AAAA"), 8, 14, "not a host key"),
            (("AAAAC3", "AAAAC4"), 8, 14, "not a host key"),
            (("user = \"anna\"\n", ""), 1, 1, "missing field `user`"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            let error = parse(&text).unwrap_err();
            assert!(error.to_string().contains(says), "{from}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{from}: {error}");
        }
        let none = format!("{}host-keys = []\n", &TEXT[..TEXT.find("host-keys").unwrap()]);
        assert!(parse(&none).unwrap_err().to_string().contains("host-keys is empty"));
        let keys: Vec<String> = (0..33).map(|number| format!("\"{}\"", ed25519(&[number; 32]))).collect();
        let many = |keys: &[String]| none.replace("[]", &format!("[{}]", keys.join(", ")));
        assert!(parse(&many(&keys)).unwrap_err().to_string().contains("8:13: more than 32 host-keys"));
        assert_eq!(parse(&many(&keys[1..])).unwrap().host_keys.len(), 32);
    }

    #[test]
    fn thousands_of_workspaces_are_read_in_no_time() {
        let many: Vec<String> = (0..20_000).map(|number| format!("\"w{number}\"")).collect();
        let card = parse(&TEXT.replace("\"papers\", \"notes\"", &many.join(", "))).unwrap();
        assert_eq!(card.workspaces.len(), 20_000);
        assert_eq!(parse(&render(&card)).unwrap(), card);
    }

    fn cards() -> impl Strategy<Value = Card> {
        let label = || "[a-z0-9][a-z0-9_-]{0,8}".prop_map(|word| word.parse::<Label>().unwrap());
        let host = prop_oneof![
            "[a-z0-9]([a-z0-9_-]{0,5}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,2}",
            any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from_bits(bits).to_string()),
        ];
        let names = proptest::collection::btree_set("[a-z0-9][a-z0-9_-]{0,8}", 1..5);
        let keys = proptest::collection::btree_set(any::<[u8; 32]>(), 1..4);
        let place = (host, 1..=u16::MAX);
        (label(), label(), "[a-z_][a-z0-9_.@+-]{0,8}", place, proptest::option::of(label()), names, keys)
            .prop_map(|(federation, pod, user, (host, port), project, names, keys)| Card {
                federation,
                pod,
                user: user.parse().unwrap(),
                place: Place { host: host.parse().unwrap(), port: port.try_into().unwrap() },
                project,
                workspaces: names.iter().map(|name| name.parse().unwrap()).collect(),
                host_keys: keys.iter().map(|bytes| ed25519(bytes).parse().unwrap()).collect(),
            })
    }

    fn ed25519(bytes: &[u8; 32]) -> String {
        let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], bytes].concat();
        format!("ssh-ed25519 {}", crate::authkeys::base64::encode(&blob))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(card in cards()) {
            prop_assert_eq!(parse(&render(&card)).unwrap(), card);
        }

        #[test]
        fn a_damaged_card_is_refused_or_still_a_card(at in 0..TEXT.len(), byte in any::<u8>()) {
            let mut bytes = TEXT.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes)
                && let Ok(card) = parse(&text)
            {
                prop_assert!(!card.account().starts_with('-'));
                prop_assert!(!card.account().contains(['/', '\n', ' ']));
                prop_assert_eq!(parse(&render(&card)).unwrap(), card);
            }
        }
    }
}
