//! The TOML form of a bundle, akeys-bundle(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::name::{Label, WorkspaceName};
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::{Bundle, FromList, Offer, Received, Revoked, Suggestion, is_taken, signature};
use crate::common::toml_text::{At, array, quoted, value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BundleForm {
    federation: Label,
    #[serde(default)]
    serial: u64,
    #[serde(default)]
    hubs: Vec<Spanned<String>>,
    nats: Option<Spanned<String>>,
    #[serde(default)]
    host_keys: Vec<Spanned<String>>,
    #[serde(default)]
    workspace: BTreeMap<WorkspaceName, SuggestionForm>,
    #[serde(default)]
    grant: Vec<Spanned<OfferForm>>,
    #[serde(default)]
    revoked: Vec<Spanned<RevokedForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuggestionForm {
    path: Option<Spanned<String>>,
    #[serde(default = "read_only")]
    access: Access,
    #[serde(default)]
    writable: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferForm {
    pod: Label,
    set: Option<Label>,
    key: Spanned<String>,
    #[serde(default)]
    replaces: Vec<Spanned<String>>,
    tools: Spanned<BTreeSet<Tool>>,
    #[serde(default = "read_only")]
    access: Access,
    from: Option<Spanned<Vec<String>>>,
    expires: Option<Spanned<Datetime>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedForm {
    pod: Label,
    set: Option<Label>,
    key: Spanned<String>,
    since: Spanned<Datetime>,
}

const fn read_only() -> Access {
    Access::ReadOnly
}

/// Reads a bundle with its signature, if it has one.
pub fn receive(text: &str) -> Result<Received, At> {
    let (said, signer) = signature::open(text)?;
    Ok(Received { bundle: parse(said)?, signer, text: text.to_owned() })
}

/// Reads a bundle. Nothing unknown is accepted, and every value is a checked type afterwards.
pub fn parse(text: &str) -> Result<Bundle, At> {
    let form: BundleForm = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    let mut workspaces = BTreeMap::new();
    for (name, form) in form.workspace {
        workspaces.insert(name, suggestion(text, form)?);
    }
    let mut bundle = Bundle {
        federation: form.federation,
        serial: form.serial,
        hubs: form.hubs.iter().map(|hub| value(text, hub)).collect::<Result<_, _>>()?,
        nats: form.nats.map(|url| value(text, &url)).transpose()?,
        host_keys: form.host_keys.iter().map(|key| value(text, key)).collect::<Result<_, _>>()?,
        workspaces,
        offers: Vec::new(),
        revoked: Vec::new(),
    };
    if form.grant.is_empty() && form.revoked.is_empty() {
        return Err(At { line: 1, column: 1, what: "no [[grant]]: the bundle offers no key".to_owned() });
    }
    let mut keys = BTreeSet::new();
    for form in form.grant {
        let start = form.span().start;
        let offer = offer(text, form.into_inner())?;
        let at = |what: String| Err(At::offset(text, start, what));
        if let Err(error) = bundle.grant_name(&offer) {
            return at(error.to_string());
        }
        if is_taken(&offer.pod, offer.set.as_ref()) {
            return at(format!("{} is no name for a pod or its tool set: a file has it", named(&offer)));
        }
        let twice = bundle.offers.iter().find(|other| other.pod == offer.pod && other.set == offer.set);
        if twice.is_some() {
            return at(format!("pod {} is named twice; give each key a set of its own", offer.pod));
        }
        // An earlier key of one pod that is a key of another would give that other one's grant away.
        for key in std::iter::once(&offer.key).chain(&offer.replaces) {
            if !keys.insert(key.key().clone()) {
                return at(format!("a key of pod {} is used twice", offer.pod));
            }
        }
        bundle.offers.push(offer);
    }
    for form in form.revoked {
        let start = form.span().start;
        let revoked = revoked(text, form.into_inner())?;
        if let Err(error) = bundle.name_of(&revoked.pod, revoked.set.as_ref()) {
            return Err(At::offset(text, start, error.to_string()));
        }
        if is_taken(&revoked.pod, revoked.set.as_ref()) {
            let what = format!("{} is no name for a pod or its tool set: a file has it", revoked.pod);
            return Err(At::offset(text, start, what));
        }
        if !keys.insert(revoked.key.key().clone()) {
            let what = format!("a revoked key of pod {} is used elsewhere, or revoked twice", revoked.pod);
            return Err(At::offset(text, start, what));
        }
        bundle.revoked.push(revoked);
    }
    Ok(bundle)
}

fn named(offer: &Offer) -> String {
    offer.set.as_ref().map_or_else(|| offer.pod.to_string(), |set| format!("{}.{set}", offer.pod))
}

fn revoked(text: &str, form: RevokedForm) -> Result<Revoked, At> {
    let key = value(text, &form.key)?;
    Ok(Revoked { pod: form.pod, set: form.set, key, since: moment(text, "since", &form.since)? })
}

fn moment(text: &str, name: &str, written: &Spanned<Datetime>) -> Result<Timestamp, At> {
    written.get_ref().to_string().parse().map_err(|_| {
        let what = format!("{name} must be a moment with an offset, such as 2027-12-31T00:00:00Z");
        At::offset(text, written.span().start, what)
    })
}

fn offer(text: &str, form: OfferForm) -> Result<Offer, At> {
    if form.tools.get_ref().is_empty() {
        return Err(At::offset(text, form.tools.span().start, "tools is empty: the key could do nothing"));
    }
    let from = form.from.map(|list| {
        let joined = list.get_ref().join(",");
        // An entry with a comma in it would be two patterns for sshd.
        let entries = joined.split(',').count() == list.get_ref().len();
        match joined.parse::<FromList>() {
            Ok(from) if entries => Ok(from),
            Ok(_) => Err(At::offset(text, list.span().start, "a pattern has a comma in it")),
            Err(error) => Err(At::offset(text, list.span().start, error.to_string())),
        }
    });
    let expires = form.expires.map(|written| moment(text, "expires", &written));
    Ok(Offer {
        pod: form.pod,
        set: form.set,
        key: value(text, &form.key)?,
        replaces: form.replaces.iter().map(|key| value(text, key)).collect::<Result<_, _>>()?,
        tools: form.tools.into_inner(),
        access: form.access,
        from: from.transpose()?,
        expires: expires.transpose()?,
    })
}

fn suggestion(text: &str, form: SuggestionForm) -> Result<Suggestion, At> {
    let at = |written: &Spanned<String>, what: &str| At::offset(text, written.span().start, what);
    let path = form.path.map(|written| {
        let path = PathBuf::from(written.get_ref());
        let clean = !path.components().any(|part| part == Component::ParentDir)
            && !written.get_ref().chars().any(char::is_control)
            && (path.is_absolute() || path.starts_with("~"));
        if clean { Ok(path) } else { Err(at(&written, "path must be absolute or start with \"~/\"")) }
    });
    let mut writable = BTreeSet::new();
    for written in form.writable {
        let sub = Path::new(written.get_ref());
        let plain = sub.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || written.get_ref().is_empty() || written.get_ref().chars().any(char::is_control) {
            return Err(at(&written, "a sub-path is relative to the workspace, without \".\" and \"..\""));
        }
        writable.insert(sub.components().collect());
    }
    Ok(Suggestion { path: path.transpose()?, access: form.access, writable })
}

/// Writes a bundle. `parse(render(b)) == b`.
pub fn render(bundle: &Bundle) -> String {
    let mut text = String::from(
        "# The public half of a federation, akeys-bundle(5). `akeys federation import` reads it.\n",
    );
    // Writing to a String does not fail.
    let _ = writeln!(text, "federation = {}", quoted(bundle.federation.as_str()));
    if bundle.serial > 0 {
        let _ = writeln!(text, "serial = {}", bundle.serial);
    }
    if !bundle.hubs.is_empty() {
        let _ = writeln!(text, "hubs = {}", array(&bundle.hubs));
    }
    if let Some(nats) = &bundle.nats {
        let _ = writeln!(text, "nats = {}", quoted(&nats.to_string()));
    }
    if !bundle.host_keys.is_empty() {
        let _ = writeln!(text, "host-keys = {}", array(&bundle.host_keys));
    }
    for offer in &bundle.offers {
        let _ = write!(text, "\n[[grant]]\npod = {}\n", quoted(offer.pod.as_str()));
        if let Some(set) = &offer.set {
            let _ = writeln!(text, "set = {}", quoted(set.as_str()));
        }
        let _ = writeln!(text, "key = {}", quoted(&offer.key.to_string()));
        if !offer.replaces.is_empty() {
            let _ = writeln!(text, "replaces = {}", array(&offer.replaces));
        }
        let _ = writeln!(text, "tools = {}", array(&offer.tools));
        let _ = writeln!(text, "access = {}", quoted(&offer.access.to_string()));
        if let Some(from) = &offer.from {
            let _ = writeln!(text, "from = {}", array(from.patterns()));
        }
        if let Some(expires) = offer.expires {
            let _ = writeln!(text, "expires = {expires}");
        }
    }
    for revoked in &bundle.revoked {
        let _ = write!(text, "\n[[revoked]]\npod = {}\n", quoted(revoked.pod.as_str()));
        if let Some(set) = &revoked.set {
            let _ = writeln!(text, "set = {}", quoted(set.as_str()));
        }
        let _ = writeln!(text, "key = {}", quoted(&revoked.key.to_string()));
        let _ = writeln!(text, "since = {}", revoked.since);
    }
    for (name, workspace) in &bundle.workspaces {
        let _ = write!(text, "\n[workspace.{}]\n", quoted(name.as_str()));
        if let Some(path) = &workspace.path {
            let _ = writeln!(text, "path = {}", quoted(&path.to_string_lossy()));
        }
        let _ = writeln!(text, "access = {}", quoted(&workspace.access.to_string()));
        if !workspace.writable.is_empty() {
            let _ =
                writeln!(text, "writable = {}", array(workspace.writable.iter().map(|sub| sub.display())));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"federation = "playground"
nats = "nats://hub.example:4222"
host-keys = ["hub.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5"]

[[grant]]
pod = "chef1"
key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5 chef"
tools = ["rsync", "watch"]
access = "ro"
from = ["10.1.0.0/16", "!10.1.9.9"]
expires = 2027-12-31T00:00:00Z

[workspace.papers]
path = "~/papers"
writable = ["build"]
"#;

    #[test]
    fn reads_and_writes_itself() {
        let bundle = parse(TEXT).unwrap();
        assert_eq!(
            bundle.offers[0].wants(),
            "rsync, watch; read; from 10.1.0.0/16,!10.1.9.9; until 2027-12-31"
        );
        assert_eq!(bundle.grant_name(&bundle.offers[0]).unwrap().as_str(), "playground.chef1");
        assert_eq!(parse(&render(&bundle)).unwrap(), bundle);
    }

    #[test]
    fn whatever_is_wrong_is_named_with_line_and_column() {
        for (edit, line, column, says) in [
            (("nats =", "nat ="), 2, 1, "unknown field `nat`"),
            (("\"playground\"", "\"play.ground\""), 1, 14, "name \"play.ground\" must be"),
            (("\"playground\"", "7"), 1, 14, "invalid type"),
            (("\"playground\"", "\"a\\nb\""), 1, 14, "must be"),
            (("nats://", "http://"), 2, 8, "not a NATS URL"),
            (("\"hub.example ssh", "\"hub,example ssh"), 3, 14, "not a host key"),
            (("pod = \"chef1\"", "pod = \"chef 1\""), 6, 7, "must be"),
            (("pod = \"chef1\"", "pod = \"known_hosts\""), 5, 1, "a file has it"),
            (("pod = \"chef1\"", "pod = \"chef1\"\nset = \"pub\""), 5, 1, "chef1.pub is no name"),
            (("key = \"ssh", "key = \"restrict ssh"), 7, 7, "not a public key"),
            (("2rSU5 chef", "2rSU5\\nssh-rsa AAAA"), 7, 7, "not a public key"),
            (("\"rsync\"", "\"shell\""), 8, 10, "unknown variant `shell`"),
            (("[\"rsync\", \"watch\"]", "[]"), 8, 9, "tools is empty"),
            (("\"ro\"", "\"root\""), 9, 10, "unknown variant `root`"),
            (("!10.1.9.9", "10.1.9.9\\\",command=\\\"sh"), 10, 8, "a character other than"),
            (("\", \"!10.1.9.9", ",10.2.0.0/16"), 10, 8, "a comma"),
            (("2027-12-31T00:00:00Z", "\"2027-12-31\""), 11, 11, "invalid type"),
            (("2027-12-31T00:00:00Z", "2027-12-31"), 11, 11, "moment"),
            (("~/papers", "papers"), 14, 8, "absolute"),
            (("\"build\"", "\"../x\""), 15, 13, "sub-path"),
            (("[workspace.papers]", "[workspace.\"a/b\"]"), 13, 12, "workspace name"),
        ] {
            let text = TEXT.replacen(edit.0, edit.1, 1);
            assert_ne!(text, TEXT, "{edit:?}");
            let error = parse(&text).unwrap_err();
            assert!(error.to_string().contains(says), "{edit:?}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{edit:?}: {error}");
        }
    }

    #[test]
    fn two_keys_of_a_pod_have_two_sets() {
        let grant = &TEXT[TEXT.find("[[grant]]").unwrap()..TEXT.find("\n[workspace").unwrap()];
        let twice = TEXT.replacen(grant, &format!("{grant}\n{grant}"), 1);
        assert!(parse(&twice).unwrap_err().to_string().contains("named twice"));
        let same_key = TEXT.replacen(grant, &format!("{grant}set = \"a\"\n{grant}"), 1);
        assert!(parse(&same_key).unwrap_err().to_string().contains("is used twice"));
    }
}
