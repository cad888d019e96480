//! The keys that there shall be, as a file declares them.
//!
//! Nothing unknown is accepted: a misspelt word in a declaration would be a key that is not what its author meant.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::ValueEnum as _;
use serde::Deserialize;
use toml::Spanned;

use crate::akeys::add::{checked, option_list};
use crate::akeys::audit::misleading;
use crate::akeys::cli::{KeyOptions, Right};
use crate::authkeys::{Key, KeyFile, OptionList, Reading, Target};
use crate::common::exit::Failure;
use crate::common::moment;
use crate::common::toml_text::At;

/// What a file declares.
#[derive(Debug)]
pub(super) struct Declared {
    /// Keys that it does not name are to go.
    pub(super) exclusive: bool,
    /// The keys that it names, in its order.
    pub(super) keys: Vec<DeclaredKey>,
}

/// One declared key.
#[derive(Debug)]
pub(super) struct DeclaredKey {
    /// The key.
    pub(super) key: Key,
    /// What shall stand behind it; `None` leaves what is there.
    pub(super) comment: Option<Vec<u8>>,
    /// What it may do.
    pub(super) options: OptionList,
    /// How it shall be there.
    pub(super) state: State,
}

/// How a key shall be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It lets in.
    #[default]
    Present,
    /// Its lines are comments.
    Disabled,
    /// Nowhere.
    Absent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    key: Vec<KeyForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyForm {
    key: Spanned<String>,
    comment: Option<Spanned<String>>,
    #[serde(default)]
    state: State,
    options: Option<Spanned<String>>,
    restrict: Option<bool>,
    permit: Option<Spanned<Vec<String>>>,
    command: Option<Spanned<String>>,
    from: Option<Spanned<Vec<String>>>,
    expires: Option<Spanned<toml::value::Datetime>>,
    permitopen: Option<Vec<String>>,
    permitlisten: Option<Vec<String>>,
    environment: Option<Vec<String>>,
    cert_authority: Option<bool>,
    principals: Option<Vec<String>>,
}

/// Reads a declaration.
pub(super) fn parse(text: &str) -> Result<Declared, At> {
    let form: FileForm = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut keys = Vec::new();
    for (index, form) in form.key.iter().enumerate() {
        let declared = one(text, form)?;
        if let Some(first) = seen.insert(declared.key.blob().to_vec(), index + 1) {
            let what = format!("the same key as the one declared as number {first}");
            return Err(At::offset(text, form.key.span().start, what));
        }
        keys.push(declared);
    }
    Ok(Declared { exclusive: form.exclusive, keys })
}

fn one(text: &str, form: &KeyForm) -> Result<DeclaredKey, At> {
    let start = form.key.span().start;
    let file = KeyFile::parse(form.key.get_ref().clone().into_bytes());
    let mut entries = file.lines().map(|line| line.read(Target::default()));
    let entry = match (entries.next(), entries.next()) {
        (Some(Reading::Entry(entry)), None) => entry,
        (Some(Reading::Dead(dead)), _) => return Err(At::offset(text, start, dead.reason.to_string())),
        _ => return Err(At::offset(text, start, "not one public key")),
    };
    if entry.options_span.is_some() {
        return Err(At::offset(text, start, "options belong into the field options"));
    }
    let behind = (!entry.comment.is_empty()).then(|| entry.comment.to_vec());
    let comment = form.comment.as_ref().map(|comment| comment.get_ref().clone().into_bytes());
    if let (Some(written), Some(bytes)) = (&form.comment, &comment)
        && (misleading(bytes).is_some() || bytes.iter().any(u8::is_ascii_control))
    {
        return Err(At::offset(text, written.span().start, "a comment with control or direction characters"));
    }
    let options = options(text, form)?;
    Ok(DeclaredKey { key: entry.key.clone(), comment: comment.or(behind), options, state: form.state })
}

/// The options that a declaration says, as text or word by word.
fn options(text: &str, form: &KeyForm) -> Result<OptionList, At> {
    let start = form.options.as_ref().map_or(form.key.span().start, |options| options.span().start);
    let wrong = |failure: Failure| At::offset(text, start, failure.message);
    let said = words(text, form)?;
    let list = option_list(&said).map_err(wrong)?;
    match &form.options {
        Some(_) if !list.as_bytes().is_empty() => {
            Err(At::offset(text, start, "options are said once: as text or word by word"))
        }
        Some(options) => checked(options.get_ref().as_bytes()).map_err(wrong),
        None => Ok(list),
    }
}

fn words(text: &str, form: &KeyForm) -> Result<KeyOptions, At> {
    let os = |words: &Option<Vec<String>>| -> Vec<OsString> {
        words.iter().flatten().map(OsString::from).collect()
    };
    let mut permit = Vec::new();
    if let Some(words) = &form.permit {
        for word in words.get_ref() {
            let right = Right::from_str(word, true).map_err(|_| {
                At::offset(text, words.span().start, format!("{word:?} is nothing that restrict takes away"))
            })?;
            permit.push(right);
        }
    }
    let from = form.from.as_ref().map(|list| {
        let joined = list.get_ref().join(",");
        joined.parse().map_err(|error| At::offset(text, list.span().start, format!("{error}")))
    });
    let expires = form.expires.as_ref().map(|written| {
        moment::parse(&written.get_ref().to_string())
            .map_err(|error| At::offset(text, written.span().start, error.to_string()))
    });
    let principals = form.principals.as_ref().map(|names| OsString::from(names.join(",")));
    Ok(KeyOptions {
        restrict: form.restrict.unwrap_or(false),
        permit,
        command: form.command.as_ref().map(|command| OsString::from(command.get_ref())),
        from: from.transpose()?,
        expires: expires.transpose()?,
        permitopen: os(&form.permitopen),
        permitlisten: os(&form.permitlisten),
        environment: os(&form.environment),
        cert_authority: form.cert_authority.unwrap_or(false),
        principals,
        options: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

    #[test]
    fn a_declaration_is_read_word_by_word() {
        let text = format!(
            "exclusive = true\n[[key]]\nkey = \"{ED} me@home\"\nrestrict = true\npermit = [\"pty\", \"X11-forwarding\"]\n\
             from = [\"10.0.0.0/8\", \"!10.1.1.1\"]\nexpires = 2099-12-31\ncommand = 'a \"b\"'\n"
        );
        let declared = parse(&text).unwrap();
        assert!(declared.exclusive);
        let key = &declared.keys[0];
        assert_eq!(key.comment.as_deref(), Some(&b"me@home"[..]));
        let expected = r#"restrict,pty,X11-forwarding,from="10.0.0.0/8,!10.1.1.1",expiry-time="20991231Z",command="a \"b\"""#;
        assert_eq!(String::from_utf8_lossy(key.options.as_bytes()), expected);
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (fields, says) in [
            ("key = \"ED\"\nkeys = 1\n", "3:1: unknown field `keys`"),
            ("key = \"restrict ED\"\n", "2:7: options belong into the field options"),
            ("key = \"ssh-ed25519 AAAA\"\n", "2:7: the key is cut short"),
            ("key = \"\"\n", "2:7: not one public key"),
            ("key = \"ED\\nED\"\n", "2:7: not one public key"),
            ("key = \"ED\"\noptions = \"comand\"\n", "3:11: the options: at column 1: unknown option"),
            ("key = \"ED\"\noptions = \"pty\"\nrestrict = true\n", "3:11: options are said once"),
            (
                "key = \"ED\"\npermit = [\"all\"]\nrestrict = true\n",
                "3:10: \"all\" is nothing that restrict takes away",
            ),
            ("key = \"ED\"\nfrom = [\"10.0.0.1/8\"]\n", "3:8: \"10.0.0.1/8\" is not a CIDR block"),
            ("key = \"ED\"\ncomment = \"a\\nb\"\n", "3:11: a comment with control or direction characters"),
            ("key = \"ED\"\nstate = \"gone\"\n", "3:9: unknown variant `gone`"),
            ("key = \"ED\"\n[[key]]\nkey = \"ED\"\n", "4:7: the same key as the one declared as number 1"),
        ] {
            let text = format!("[[key]]\n{}", fields.replace("ED", ED));
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(says), "{fields}: {error}");
        }
    }
}
