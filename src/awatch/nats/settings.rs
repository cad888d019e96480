//! `[nats]` in a configuration: which server, and who is asking.
//!
//! Both configurations of an account may have it: that of its own workspaces, and that of the copies that it follows.

use std::path::{Component, PathBuf};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;
use serde::Deserialize;
use toml::Spanned;

use super::server::{Login, Server};
use crate::akeys::shelf;
use crate::common::exit::{Exit, Failure};
use crate::common::input;
use crate::common::toml_text::{At, value};

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Form {
    url: Spanned<String>,
    user: Option<Spanned<String>>,
    password_file: Option<Spanned<String>>,
    token_file: Option<Spanned<String>>,
    nkey: Option<Spanned<String>>,
    creds: Option<Spanned<String>>,
    ca: Option<Spanned<String>>,
    address: Option<Spanned<String>>,
    host_keys: Option<Vec<Spanned<String>>>,
}

/// A path that is absolute, or below the home.
pub fn absolute(text: &str, written: &Spanned<String>, layout: &Layout) -> Result<PathBuf, At> {
    let path = layout.expand(written.get_ref()).filter(|path| {
        !written.get_ref().contains('\0') && !path.components().any(|part| part == Component::ParentDir)
    });
    path.ok_or_else(|| {
        let what = format!("path {:?} must be absolute or start with \"~/\"", written.get_ref());
        At::offset(text, written.span().start, what)
    })
}

/// The server that the table says.
pub fn server(text: &str, form: &Form, layout: &Layout) -> Result<Server, At> {
    let path = |written: &Option<Spanned<String>>| {
        written.as_ref().map(|written| absolute(text, written, layout)).transpose()
    };
    let ways = [&form.password_file, &form.token_file, &form.nkey, &form.creds];
    let given: Vec<_> = ways.into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        return Err(At::offset(text, second.span().start, "a second way to log in"));
    }
    let login = match (&form.user, path(&form.password_file)?) {
        (Some(user), Some(file)) => Login::Password(user.get_ref().clone(), file),
        (Some(user), None) => return Err(At::offset(text, user.span().start, "user needs password-file")),
        (None, Some(_)) => {
            let start = form.password_file.as_ref().map_or(0, |written| written.span().start);
            return Err(At::offset(text, start, "password-file needs user"));
        }
        (None, None) => match (path(&form.token_file)?, path(&form.nkey)?, path(&form.creds)?) {
            (Some(file), ..) => Login::Token(file),
            (_, Some(file), _) => Login::Nkey(file),
            (.., Some(file)) => Login::Credentials(file),
            (None, None, None) => Login::None,
        },
    };
    let keys = form.host_keys.iter().flatten();
    Ok(Server {
        url: value(text, &form.url)?,
        login,
        authority: path(&form.ca)?,
        address: form.address.as_ref().map(|written| value(text, written)).transpose()?,
        host_keys: keys.map(|written| absolute(text, written, layout)).collect::<Result<_, _>>()?,
    })
}

/// What of a configuration says where events are published.
#[derive(Deserialize)]
struct Where {
    federation: Option<Label>,
    nats: Option<Form>,
}

/// The server of this account: that of its configurations, or of the federation that one of them names.
pub fn of_account(layout: &Layout) -> Result<Option<Server>, Failure> {
    for path in [layout.watch_file(), layout.follow_file()] {
        let read = input::own(&path, |text| {
            let form: Where = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
            let server = form.nats.map(|form| server(text, &form, layout)).transpose()?;
            Ok((server, form.federation))
        });
        match read {
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(Failure::new(Exit::Failed, &error)),
            Ok((Some(server), _)) => return Ok(Some(server)),
            Ok((None, Some(federation))) => return of_federation(&federation, layout),
            Ok((None, None)) => {}
        }
    }
    Ok(None)
}

/// The server that the bundle of a federation names.
pub fn of_federation(federation: &Label, layout: &Layout) -> Result<Option<Server>, Failure> {
    let found = shelf::find(layout, federation)
        .map_err(|error| Failure::new(Exit::Failed, error))?
        .ok_or_else(|| Failure::new(Exit::NoMatch, format!("there is no federation {federation} here")))?;
    let Some(url) = found.received.bundle.nats else { return Ok(None) };
    let url = url.to_string().parse().map_err(|error| {
        Failure::new(Exit::Failed, format!("the bundle of {federation} names {url}: {error}"))
    })?;
    Ok(Some(Server::new(url)))
}
