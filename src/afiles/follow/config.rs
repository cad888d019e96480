//! Which copies are followed when none is named: `~/.config/akeys/afiles.toml`, afiles(1).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;
use serde::Deserialize;
use toml::Spanned;

use super::{Setting, Source};
use crate::afiles::receive::{Durability, Symlinks};
use crate::afiles::words::{Push, Remote};
use crate::awatch::nats::settings;
use crate::common::exit::{Exit, Failure};
use crate::common::input;
use crate::common::toml_text::At;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// Where events and the registry are; read where they are used, and checked here.
    nats: Option<settings::Form>,
    #[serde(rename = "federation")]
    _federation: Option<Label>,
    #[serde(default)]
    follow: BTreeMap<Label, CopyForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CopyForm {
    source: Spanned<String>,
    target: Spanned<String>,
    #[serde(default)]
    durability: Durability,
    #[serde(default)]
    outside_links: Symlinks,
    #[serde(default)]
    keep_versions: bool,
    on_change: Option<String>,
    #[serde(default)]
    push: Vec<Spanned<String>>,
    #[serde(default)]
    events: Source,
}

/// The copies of the file, by their names; with `only`, that one.
pub fn load(layout: &Layout, only: Option<&Label>, json: bool) -> Result<Vec<Setting>, Failure> {
    let path = layout.follow_file();
    let all = match input::own(&path, |text| parse(text, layout, json)) {
        Err(error) if error.is_missing() => BTreeMap::new(),
        all => all.map_err(|error| Failure { exit: error.exit(), ..error.into() })?,
    };
    let found: Vec<Setting> = match only {
        None => all.into_values().collect(),
        Some(name) => {
            all.into_iter().filter(|(known, _)| known == name).map(|(_, setting)| setting).collect()
        }
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let path = crate::common::report::shown(layout, &path);
    let message = match only {
        Some(name) => format!("{path} has no [follow.{name}]"),
        None => format!("nothing is named to be followed, here or in {path}"),
    };
    Err(Failure::new(Exit::NoMatch, message)
        .hint("afiles follow SRC DST; afiles(1) has the form of the file"))
}

fn parse(text: &str, layout: &Layout, json: bool) -> Result<BTreeMap<Label, Setting>, At> {
    let form: Form = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    form.nats.map(|nats| settings::server(text, &nats, layout)).transpose()?;
    form.follow
        .into_iter()
        .map(|(name, copy)| {
            let target = layout.expand(copy.target.get_ref()).ok_or_else(|| {
                At::offset(text, copy.target.span().start, "target must be absolute, or start with ~/")
            })?;
            let setting = Setting {
                source: read(text, &copy.source, Remote::read)?,
                target,
                durability: copy.durability,
                links: copy.outside_links,
                keep_versions: copy.keep_versions,
                on_change: copy.on_change.map(OsString::from),
                push: copy.push.iter().map(|push| read(text, push, Push::read)).collect::<Result<_, _>>()?,
                adopt: false,
                events: copy.events,
                json,
            };
            Ok((name, setting))
        })
        .collect()
}

fn read<T, E: fmt::Display>(
    text: &str,
    written: &Spanned<String>,
    parse: impl FnOnce(&OsStr) -> Result<T, E>,
) -> Result<T, At> {
    parse(OsStr::new(written.get_ref()))
        .map_err(|error| At::offset(text, written.span().start, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[follow.papers]
source = "papers:"
target = "~/papers"
on-change = "make -s"
push = ["build=papers:build"]
durability = "file"

[follow.data]
source = "anna@laptop/data:2027"
target = "/srv/data"
keep-versions = true
outside-links = "refuse"
"#;

    fn layout() -> Layout {
        Layout::new("/home/u").unwrap()
    }

    #[test]
    fn every_copy_is_read() {
        let all: Vec<Setting> = parse(TEXT, &layout(), true).unwrap().into_values().collect();
        let [data, papers] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            (papers.source.to_string().as_str(), papers.target.to_str().unwrap()),
            ("papers:", "/home/u/papers")
        );
        assert_eq!((papers.durability, papers.push.len()), (Durability::File, 1));
        assert_eq!(papers.on_change.as_ref().unwrap(), "make -s");
        assert_eq!((data.durability, data.links), (Durability::Batch, Symlinks::Refuse));
        assert!(data.keep_versions && !papers.keep_versions && data.json);
    }

    #[test]
    fn whatever_is_wrong_is_named_with_line_and_column() {
        for (from, to, line, column, says) in [
            ("papers:\"", "papers\"", 2, 10, "is here: say WORKSPACE"),
            ("papers:\"", "../papers:\"", 2, 10, "must be"),
            ("~/papers", "papers", 3, 10, "target must be absolute"),
            ("on-change", "onchange", 4, 1, "unknown field `onchange`"),
            ("build=", "/build=", 5, 9, "DIR=WORKSPACE"),
            ("\"file\"", "\"disk\"", 6, 14, "unknown variant `disk`"),
            ("follow.data", "follow.\"a b\"", 8, 9, "must be"),
            ("[follow.data]", "[fellow.data]", 8, 2, "unknown field `fellow`"),
            ("true", "1", 11, 17, "invalid type"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            let error = parse(&text, &layout(), false).unwrap_err();
            assert!(error.to_string().contains(says), "{from}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{from}: {error}");
        }
    }
}
