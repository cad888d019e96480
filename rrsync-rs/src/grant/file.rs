//! The TOML form of a grant, akeys-grant(5): `~/.config/akeys/grants/NAME.toml`.
//!
//! Nothing unknown is accepted: a misspelt key in a policy is a policy that does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Component, Path};

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::workspace::{self, WorkspaceForm};
use super::{Confine, Grant, Tool, Workspace};
use crate::confine::Isolation;
use crate::layout::Layout;
use crate::name::{Label, WorkspaceName};
use crate::rules::{self, BadRule, Limits, Rules};

/// Where in a policy file something is wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct GrantError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in bytes, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.problem)
    }
}

/// What can be wrong in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML, an unknown key, a missing key or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A workspace path that is neither absolute nor below `~`.
    #[error("path {0:?} must be absolute or start with \"~/\"")]
    RelativePath(String),
    /// A sub-path that is absolute, empty or has `.` or `..` in it.
    #[error("sub-path {0:?} must be relative to the workspace, without \".\" and \"..\"")]
    BadSubPath(String),
    /// Not an RFC 3339 moment with an offset.
    #[error("expires must be a moment with an offset, such as 2027-12-31T00:00:00Z")]
    BadMoment,
    /// A rule about options, or a limit, that means nothing.
    #[error("{0}")]
    Rule(BadRule),
    /// A pattern for names that none could match.
    #[error("{0:?} is not a pattern for a name")]
    BadPattern(String),
    /// Not permission bits.
    #[error("{0:?} is not a mode: up to four octal digits, at most \"0777\"")]
    BadMode(String),
    /// A stream of changes would tell hidden names.
    #[error("workspace {0} hides names, which the tool watch would tell")]
    Hidden(WorkspaceName),
    /// A rule that no request could ever meet.
    #[error("{0}")]
    Contradiction(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    federation: Label,
    pod: Label,
    tools: Spanned<BTreeSet<Tool>>,
    expires: Option<Spanned<toml::value::Datetime>>,
    #[serde(default)]
    confine: Confine,
    #[serde(default)]
    namespace: Isolation,
    rsync: Option<Spanned<String>>,
    #[serde(default, rename = "record-end")]
    record_end: bool,
    #[serde(default)]
    learn: bool,
    #[serde(default, rename = "record-sha256")]
    record_sha256: bool,
    #[serde(default)]
    probes: bool,
    #[serde(default)]
    setuid: bool,
    #[serde(default)]
    options: OptionsForm,
    #[serde(default)]
    limits: LimitsForm,
    #[serde(default)]
    workspace: BTreeMap<WorkspaceName, WorkspaceForm>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OptionsForm {
    allow: Vec<Spanned<String>>,
    deny: Vec<Spanned<String>>,
    force: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LimitsForm {
    sessions: Option<NonZeroU32>,
    timeout: Option<NonZeroU32>,
    bwlimit: Option<NonZeroU32>,
    compress_threads: Option<NonZeroU32>,
    max_alloc: Option<Spanned<String>>,
    file_size: Option<Spanned<String>>,
}

/// Where in the text a value stands, and what is wrong with it.
pub(super) type Misplaced<'a> = &'a dyn Fn(usize, Problem) -> GrantError;

/// Reads every word of a list by `read`.
fn each<T>(
    words: &[Spanned<String>],
    at: Misplaced<'_>,
    read: impl Fn(&str) -> Result<T, BadRule>,
) -> Result<Vec<T>, GrantError> {
    words
        .iter()
        .map(|word| read(word.get_ref()).map_err(|error| at(word.span().start, Problem::Rule(error))))
        .collect()
}

fn rules(form: &FileForm, at: Misplaced<'_>) -> Result<Rules, GrantError> {
    let rules = Rules {
        allow: each(&form.options.allow, at, rules::allowable)?,
        deny: each(&form.options.deny, at, rules::deniable)?,
        force: each(&form.options.force, at, str::parse)?,
        limits: limits(&form.limits, at)?,
        setuid: form.setuid,
        probes: form.probes,
    };
    if let Some(word) = form.options.allow.iter().find(|word| rules.deny.contains(word.get_ref())) {
        return Err(at(word.span().start, Problem::Contradiction("this option is both allowed and denied")));
    }
    Ok(rules)
}

fn limits(form: &LimitsForm, at: Misplaced<'_>) -> Result<Limits, GrantError> {
    let size = |written: &Option<Spanned<String>>| {
        written
            .as_ref()
            .map(|word| {
                rules::size(word.get_ref()).map_err(|error| at(word.span().start, Problem::Rule(error)))
            })
            .transpose()
    };
    let usual = Limits::default();
    Ok(Limits {
        sessions: form.sessions.map(NonZeroU32::get),
        timeout: form.timeout.map(NonZeroU32::get),
        bwlimit: form.bwlimit.map(NonZeroU32::get),
        compress_threads: form.compress_threads.map_or(usual.compress_threads, NonZeroU32::get),
        max_alloc: size(&form.max_alloc)?.unwrap_or(usual.max_alloc),
        file_size: size(&form.file_size)?,
    })
}

/// Reads a policy file's text. Paths are expanded against `layout`, and not looked at.
pub fn parse(text: &str, layout: &Layout) -> Result<Grant, GrantError> {
    let at = |offset: usize, problem| {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line = before.split(|b| *b == b'\n').count();
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        GrantError { line, column, problem }
    };
    let form: FileForm = toml::from_str(text).map_err(|error| {
        at(error.span().map_or(0, |span| span.start), Problem::Syntax(error.message().replace('\n', "; ")))
    })?;
    if form.tools.get_ref().is_empty() {
        let problem = Problem::Contradiction("tools is empty: the key could do nothing");
        return Err(at(form.tools.span().start, problem));
    }
    let absolute = |written: &Spanned<String>| {
        layout
            .expand(written.get_ref())
            .filter(|path| {
                !written.get_ref().contains('\0') && !path.components().any(|c| c == Component::ParentDir)
            })
            .ok_or_else(|| at(written.span().start, Problem::RelativePath(written.get_ref().clone())))
    };
    let expires = match &form.expires {
        None => None,
        Some(moment) => Some(
            moment
                .get_ref()
                .to_string()
                .parse::<Timestamp>()
                .map_err(|_| at(moment.span().start, Problem::BadMoment))?,
        ),
    };
    let rules = rules(&form, &at)?;
    let mut workspaces = BTreeMap::new();
    for (name, form) in &form.workspace {
        workspaces.insert(name.clone(), form.read(absolute(&form.path)?, &at)?);
    }
    let tools = form.tools.get_ref();
    if tools.contains(&Tool::Watch)
        && let Some(name) = hiding(&workspaces)
    {
        let (tools, name) = (form.tools.span().start, name.clone());
        return Err(at(tools, Problem::Hidden(name)));
    }
    Ok(Grant {
        federation: form.federation,
        pod: form.pod,
        tools: form.tools.into_inner(),
        expires,
        confine: form.confine,
        namespace: form.namespace,
        rsync: form.rsync.as_ref().map(absolute).transpose()?,
        record_end: form.record_end,
        learn: form.learn,
        record_sha256: form.record_sha256,
        rules,
        workspaces,
    })
}

/// A workspace that does not show everything that is in it.
fn hiding(workspaces: &BTreeMap<WorkspaceName, Workspace>) -> Option<&WorkspaceName> {
    workspaces.iter().find(|(_, workspace)| !workspace.files.names.hide.is_empty()).map(|(name, _)| name)
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes a grant as a policy file. `parse(render(g)) == g` for every grant whose paths are UTF-8; `None` for others.
pub fn render(grant: &Grant, layout: &Layout) -> Option<String> {
    use std::fmt::Write as _;
    let path = |path: &Path| Some(quoted(layout.abbreviate(path).to_str()?));
    let tools: Vec<String> = grant.tools.iter().map(|tool| quoted(&tool.to_string())).collect();
    let mut text = format!(
        "federation = {}\npod = {}\ntools = [{}]\n",
        quoted(grant.federation.as_str()),
        quoted(grant.pod.as_str()),
        tools.join(", ")
    );
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    if let Some(at) = grant.expires {
        line("expires", at.to_string());
    }
    match grant.confine {
        Confine::Required => {}
        Confine::BestEffort => line("confine", quoted("best-effort")),
        Confine::Off => line("confine", quoted("off")),
    }
    match grant.namespace {
        Isolation::Auto => {}
        Isolation::Required => line("namespace", quoted("required")),
        Isolation::Off => line("namespace", quoted("off")),
    }
    if let Some(rsync) = &grant.rsync {
        line("rsync", path(rsync)?);
    }
    if grant.record_end {
        text.push_str("record-end = true\n");
    }
    if grant.learn {
        text.push_str("learn = true\n");
    }
    if grant.record_sha256 {
        text.push_str("record-sha256 = true\n");
    }
    rules_text(&grant.rules, &mut text);
    for (name, workspace) in &grant.workspaces {
        let key = quoted(name.as_str());
        workspace::render(&key, &path(&workspace.path)?, workspace, &mut text)?;
    }
    Some(text)
}

fn rules_text(rules: &Rules, text: &mut String) {
    use std::fmt::Write as _;
    for (key, on) in [("setuid", rules.setuid), ("probes", rules.probes)] {
        if on {
            let _ = writeln!(text, "{key} = true");
        }
    }
    let list = |words: Vec<String>| toml::Value::from(words).to_string();
    let force: Vec<String> = rules.force.iter().map(ToString::to_string).collect();
    let lists = [("allow", rules.allow.clone()), ("deny", rules.deny.clone()), ("force", force)];
    if lists.iter().any(|(_, words)| !words.is_empty()) {
        text.push_str("\n[options]\n");
    }
    for (key, words) in lists.into_iter().filter(|(_, words)| !words.is_empty()) {
        let _ = writeln!(text, "{key} = {}", list(words));
    }
    let (limits, usual) = (&rules.limits, Limits::default());
    if *limits != usual {
        text.push_str("\n[limits]\n");
    }
    let threads = (limits.compress_threads != usual.compress_threads).then_some(limits.compress_threads);
    for (key, number) in [
        ("sessions", limits.sessions),
        ("timeout", limits.timeout),
        ("bwlimit", limits.bwlimit),
        ("compress-threads", threads),
    ] {
        if let Some(number) = number {
            let _ = writeln!(text, "{key} = {number}");
        }
    }
    let alloc = (limits.max_alloc != usual.max_alloc).then_some(limits.max_alloc);
    for (key, bytes) in [("max-alloc", alloc), ("file-size", limits.file_size)] {
        if let Some(bytes) = bytes {
            let _ = writeln!(text, "{key} = \"{bytes}\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Access;

    const TEXT: &str = r#"
federation = "playground"
pod = "chef1"
tools = ["rsync", "watch"]
expires = 2027-12-31T00:00:00Z

[workspace.papers]
path = "~/papers"
access = "ro"
[workspace.papers.paths]
"build" = "rw"
"#;

    fn layout() -> Layout {
        Layout::new("/home/u").unwrap()
    }

    #[test]
    fn reads_what_the_manual_shows() {
        let grant = parse(TEXT, &layout()).unwrap();
        assert_eq!(
            grant.summary(),
            "rsync, watch; read papers, read and write papers/build; until 2027-12-31T00:00:00Z"
        );
        let papers = &grant.workspaces[&"papers".parse().unwrap()];
        assert_eq!(papers.path, Path::new("/home/u/papers"));
        assert_eq!(papers.access_to(Path::new("build/deep/file")), Access::ReadWrite);
        assert_eq!(papers.access_to(Path::new("builder")), Access::ReadOnly);
        assert_eq!(papers.access_to(Path::new("")), Access::ReadOnly);
        for namespace in [Isolation::Auto, Isolation::Required, Isolation::Off] {
            let grant = Grant { namespace, ..grant.clone() };
            assert_eq!(parse(&render(&grant, &layout()).unwrap(), &layout()).unwrap(), grant);
        }
    }

    #[test]
    fn a_part_can_be_left_out_and_everything_but_a_part() {
        for (whole, part, summary) in [
            ("ro", "none", "read papers, see nothing of papers/build"),
            ("none", "ro", "see nothing of papers, read papers/build"),
        ] {
            let text = TEXT.replacen("\"ro\"", &format!("\"{whole}\""), 1);
            let text = text.replacen("\"rw\"", &format!("\"{part}\""), 1);
            let grant = parse(&text, &layout()).unwrap();
            assert!(grant.summary().contains(summary), "{}", grant.summary());
            assert_eq!(parse(&render(&grant, &layout()).unwrap(), &layout()).unwrap(), grant);
        }
        let text = TEXT.replacen("\"ro\"", "\"none\"", 1).replacen("\"rw\"", "\"none\"", 1);
        let error = parse(&text, &layout()).unwrap_err();
        assert_eq!((error.line, error.column), (9, 10), "{error}");
    }

    #[test]
    fn rules_are_read_and_written() {
        let text = TEXT.replacen(
            "\n[workspace.papers]",
            "record-end = true\nlearn = true\nsetuid = true\nprobes = true\n[options]\nallow = [\"copy-links\"]\ndeny = [\"owner\"]\nforce = [\"fsync\", \"min-size=1k\"]\n\
             [limits]\nsessions = 2\ntimeout = 60\nbwlimit = 1000\ncompress-threads = 1\nmax-alloc = \"1G\"\nfile-size = \"2T\"\n\
             [workspace.papers]",
            1,
        );
        let grant = parse(&text, &layout()).unwrap();
        assert_eq!(grant.rules.limits.file_size, Some(2 << 40));
        assert_eq!(parse(&render(&grant, &layout()).unwrap(), &layout()).unwrap(), grant);
        for (from, to, says) in [
            ("\"copy-links\"", "\"owner\"", "cannot be allowed"),
            ("deny = [\"owner\"]", "deny = [\"copy-links\"]", "both allowed and denied"),
            ("\"fsync\"", "\"rsh=sh\"", "not an option"),
            ("\"fsync\"", "\"owner\"", "cannot be forced"),
            ("\"1G\"", "\"1.5G\"", "not a size"),
            ("sessions = 2", "sessions = 0", "nonzero"),
            ("timeout = 60", "timout = 60", "unknown field"),
        ] {
            let error = parse(&text.replacen(from, to, 1), &layout()).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_named_with_line_and_column() {
        for (edit, line, column, says) in [
            (("pod = ", "podd = "), 3, 1, "unknown field `podd`"),
            (("\"rsync\", ", "\"rsh\", "), 4, 10, "unknown variant `rsh`"),
            (("[\"rsync\", \"watch\"]", "[]"), 4, 9, "tools is empty"),
            (("2027-12-31T00:00:00Z", "2027-12-31"), 5, 11, "moment"),
            (("expires =", "namespace = \"on\"\nexpires ="), 5, 13, "unknown variant `on`"),
            (("~/papers", "papers"), 8, 8, "absolute"),
            (("~/papers", "~/a/../.ssh"), 8, 8, "absolute"),
            (("\"ro\"", "\"r\""), 9, 10, "unknown variant `r`"),
            (("\"build\"", "\"a/../b\""), 11, 1, "sub-path"),
            (("\"build\"", "\"/build\""), 11, 1, "sub-path"),
            (("\"build\"", "\"a/./b\""), 11, 1, "sub-path"),
            (("\"build\"", "\"a/.\""), 11, 1, "sub-path"),
            (("\"build\"", "\"\""), 11, 1, "sub-path"),
            (("\"build\"", "\"a\\u0000\""), 11, 1, "sub-path"),
            (("\"build\"", "\"build/\" = \"ro\"\n\"build\""), 11, 1, "named twice"),
            (("~/papers", "~/a\\u0000"), 8, 8, "absolute"),
            (("access = \"ro\"", "access = \"rw\"\noverwrite = false\ndelete = true"), 11, 10, "contradicts"),
        ] {
            let text = TEXT.replacen(edit.0, edit.1, 1);
            let error = parse(&text, &layout()).unwrap_err();
            assert!(error.to_string().contains(says), "{edit:?}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{edit:?}: {error}");
        }
    }
}
