//! Which workspaces are watched: `~/.config/akeys/watch.toml`, awatch(1).
//!
//! Nothing unknown is accepted: a misspelt key would be a rule that does not hold.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};
use rrsync_rs::rules;
use serde::Deserialize;
use toml::Spanned;

use super::daemon::workspace::Setup;
use super::journal;
use super::nats::server::Server;
use super::nats::settings::{self, absolute};
use super::pass_over::Collected;
use super::record::Identity;
use super::watcher::Options;
use super::watcher::settle::Times;
use crate::common::toml_text::At;

/// Everything that the daemon does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The workspaces.
    pub workspaces: BTreeMap<WorkspaceName, Setup>,
    /// Where their events are published, if anywhere.
    pub nats: Option<Server>,
    /// The federation whose bundle names the server, where none is named here.
    pub federation: Option<Label>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigForm {
    federation: Option<Label>,
    nats: Option<settings::Form>,
    #[serde(default)]
    workspace: BTreeMap<WorkspaceName, WorkspaceForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceForm {
    path: Spanned<String>,
    project: Option<Label>,
    ignore: Option<Spanned<Vec<String>>>,
    settle: Option<u64>,
    quiet: Option<NonZeroU64>,
    scan: Option<NonZeroU64>,
    hash: Option<Spanned<String>>,
    retention: Option<Spanned<String>>,
}

/// The least that is kept: less would not last from one event to its reader.
const MIN_RETENTION: u64 = 1 << 16;

/// Reads the configuration. `author` is whose workspaces they are.
pub fn parse(text: &str, layout: &Layout, author: &str) -> Result<Config, At> {
    let form: ConfigForm = toml::from_str(text).map_err(|error| At::toml(text, &error))?;
    let mut workspaces = BTreeMap::new();
    for (name, form) in form.workspace {
        let setup = workspace(text, name.clone(), &form, layout, author)?;
        workspaces.insert(name, setup);
    }
    if workspaces.is_empty() {
        return Err(At {
            line: 1,
            column: 1,
            what: "no [workspace.NAME]: there is nothing to watch".to_owned(),
        });
    }
    let nats = form.nats.map(|form| settings::server(text, &form, layout)).transpose()?;
    Ok(Config { workspaces, nats, federation: form.federation })
}

fn workspace(
    text: &str,
    name: WorkspaceName,
    form: &WorkspaceForm,
    layout: &Layout,
    author: &str,
) -> Result<Setup, At> {
    let size = |written: &Option<Spanned<String>>| {
        let read = |word: &Spanned<String>| {
            rules::size(word.get_ref())
                .map_err(|error| At::offset(text, word.span().start, error.to_string()))
        };
        written.as_ref().map(read).transpose()
    };
    let mut check = Collected::default();
    let ignore = form.ignore.as_ref().map(|written| written.get_ref().clone()).unwrap_or_default();
    check.text("ignore", &ignore.join("\n"));
    if let Some(bad) = check.bad.first() {
        let start = form.ignore.as_ref().map_or(0, |written| written.span().start);
        return Err(At::offset(text, start, format!("rule {} of ignore: {}", bad.line, bad.problem)));
    }
    let retention = size(&form.retention)?.unwrap_or(journal::RETENTION);
    if retention < MIN_RETENTION {
        let start = form.retention.as_ref().map_or(0, |written| written.span().start);
        return Err(At::offset(text, start, "retention must be at least 64K"));
    }
    let usual = Options::default();
    let times = Times {
        settle: form.settle.map_or(usual.times.settle, Duration::from_millis),
        quiet: form.quiet.map(|seconds| Duration::from_secs(seconds.get())),
        ..usual.times
    };
    let options = Options {
        times,
        hash_limit: size(&form.hash)?.unwrap_or(usual.hash_limit),
        scan: form.scan.map_or(usual.scan, |seconds| Duration::from_secs(seconds.get())),
        ..usual
    };
    Ok(Setup {
        path: absolute(text, &form.path, layout)?,
        state: layout.watch_of(&name),
        identity: Identity { author: author.to_owned(), project: form.project.clone(), workspace: name },
        options,
        ignore,
        global_ignore: Some(layout.ignore_file()),
        retention,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awatch::nats::server::Login;
    use std::path::PathBuf;

    const TEXT: &str = r#"
federation = "playground"
[nats]
url = "tls://hub.example:4222"
creds = "~/.config/akeys/hub.creds"
[workspace.papers]
path = "~/papers"
project = "thesis"
ignore = ["*.o", "/build/"]
quiet = 30
hash = "1M"
[workspace.notes]
path = "/srv/notes"
"#;

    fn read(text: &str) -> Result<Config, String> {
        parse(text, &Layout::new("/home/u").unwrap(), "u@host").map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_manual_shows_is_read() {
        let config = read(TEXT).unwrap();
        let papers = &config.workspaces[&"papers".parse().unwrap()];
        assert_eq!(papers.path, PathBuf::from("/home/u/papers"));
        assert_eq!(papers.state, PathBuf::from("/home/u/.local/state/akeys/watch/papers"));
        assert_eq!(papers.options.times.quiet, Some(Duration::from_secs(30)));
        assert_eq!(papers.options.hash_limit, 1 << 20);
        assert_eq!(papers.identity.project, Some("thesis".parse().unwrap()));
        let notes = &config.workspaces[&"notes".parse().unwrap()];
        assert_eq!((notes.options, notes.retention), (Options::default(), journal::RETENTION));
        let nats = config.nats.unwrap();
        assert_eq!(nats.url.to_string(), "tls://hub.example:4222");
        assert_eq!(nats.login, Login::Credentials("/home/u/.config/akeys/hub.creds".into()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (from, to, says) in [
            ("project", "projekt", "8:1: unknown field `projekt`"),
            ("\"~/papers\"", "\"papers\"", "7:8: path \"papers\" must be absolute"),
            ("\"~/papers\"", "\"/srv/../etc\"", "7:8: path"),
            ("quiet = 30", "quiet = 0", "10:9: "),
            ("\"1M\"", "\"1X\"", "11:8: "),
            ("\"*.o\"", "\"[z-a]\"", "9:10: rule 1 of ignore"),
            ("hash = \"1M\"", "retention = \"1K\"", "11:13: retention must be at least 64K"),
            (
                "tls://hub.example:4222",
                "nats://u:secret@hub",
                "4:7: a password does not belong in the address",
            ),
            ("tls://hub.example:4222", "http://hub", "4:7: a server is nats://HOST:PORT"),
            ("creds = ", "nkey = \"/k\"\ncreds = ", "6:9: a second way to log in"),
            ("creds = ", "user = ", "5:8: user needs password-file"),
            ("[workspace.notes]", "[workspace.\"a/b\"]", "12:"),
            ("federation", "fed = 1\nfederation", "2:1: unknown field `fed`"),
        ] {
            let error = read(&TEXT.replacen(from, to, 1)).unwrap_err();
            assert!(error.starts_with(says), "{to}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
        assert!(read("federation = \"x\"\n").unwrap_err().contains("nothing to watch"));
    }
}
