//! The findings for people, for programs, and for tools that collect findings (SARIF 2.1.0).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value, json};

use crate::akeys::words::target_name;
use crate::authkeys::Target;
use crate::common::json::{ascii, ascii_with_list};
use crate::common::report::{abbreviated, shown};

use super::catalogue::{Code, RULES, Rule, Severity};
use super::finding::{SERVER, Told};

/// The audit of one file, to be shown.
pub(super) struct Shown<'a> {
    /// The key file.
    pub(super) path: &'a str,
    /// Whose reader judged it.
    pub(super) target: Target,
    /// What was found.
    pub(super) findings: &'a [Told],
    /// Whose home is abbreviated; nobody's, where several accounts are shown.
    pub(super) layout: Option<&'a Layout>,
}

impl Shown<'_> {
    fn place(&self, path: &str) -> String {
        self.layout
            .map_or_else(|| Escaped(path.as_bytes()).to_string(), |layout| shown(layout, Path::new(path)))
    }

    fn words(&self, text: &str) -> String {
        self.layout.map_or_else(|| text.to_owned(), |layout| abbreviated(layout, text))
    }
}

/// All findings, as [`lines`] tells each.
pub(super) fn text(audit: &Shown<'_>) -> String {
    audit.findings.iter().map(|finding| lines(audit, finding)).collect()
}

/// `FILE:LINE:COLUMN: SEVERITY CODE: MESSAGE`, as compilers do, and a hint below it.
pub(super) fn lines(audit: &Shown<'_>, finding: &Told) -> String {
    let at = match (finding.line, finding.column, finding.path.as_deref()) {
        (Some(line), Some(column), _) => format!("{}:{line}:{column}", audit.place(audit.path)),
        (_, _, Some(SERVER)) => SERVER.to_owned(),
        (_, _, Some(path)) => audit.place(path),
        _ => audit.place(audit.path),
    };
    let message = audit.words(&finding.message);
    let mut out = format!("{at}: {} {}: {message}\n", finding.severity(), finding.code);
    if let Some(hint) = &finding.hint {
        // Writing to a String does not fail.
        let _ = writeln!(out, "  hint: {}", audit.words(hint));
    }
    out
}

/// `3 findings: 1 high, 2 low`.
pub(in crate::akeys) fn summary(findings: impl Iterator<Item = Severity>) -> String {
    let found: Vec<Severity> = findings.collect();
    if found.is_empty() {
        return "no findings".to_owned();
    }
    let levels = [Severity::High, Severity::Medium, Severity::Low, Severity::Info];
    let count = |level: Severity| found.iter().filter(|own| **own == level).count();
    let counts: Vec<String> = levels
        .into_iter()
        .filter_map(|level| {
            Some(count(level)).filter(|count| *count > 0).map(|count| format!("{count} {level}"))
        })
        .collect();
    let plural = if found.len() == 1 { "" } else { "s" };
    format!("{} finding{plural}: {}", found.len(), counts.join(", "))
}

/// One object, as akeys(1) documents it. Fields are only ever added.
pub(super) fn json(audit: &Shown<'_>) -> String {
    let head = [("file", audit.path.into()), ("target", target_name(audit.target).into())];
    ascii_with_list(&head, "findings", audit.findings.iter().map(told))
}

/// One finding for programs.
pub(in crate::akeys) fn told(finding: &Told) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("code", finding.code.to_string().into());
    put("severity", finding.severity().to_string().into());
    put("title", finding.code.rule().title.into());
    put("message", finding.message.clone().into());
    put("hint", finding.hint.clone().into());
    put("fix", finding.fix.as_deref().into());
    put("line", finding.line.into());
    if let Some(column) = finding.column {
        put("column", column.into());
    }
    if let Some(path) = &finding.path {
        put("path", path.clone().into());
    }
    Value::Object(object)
}

/// SARIF 2.1.0: one run, one rule for every code that was found.
pub(super) fn sarif(audits: &[Shown<'_>]) -> String {
    let found = || audits.iter().flat_map(|audit| audit.findings.iter().map(move |finding| (audit, finding)));
    let used: BTreeSet<Code> = found().map(|(_, finding)| finding.code).collect();
    let rules: Vec<&Rule> = used.iter().map(|code| code.rule()).collect();
    let index = |finding: &Told| rules.binary_search_by_key(&finding.code, |rule| rule.code).ok();
    let described: Vec<Value> = rules.iter().map(|rule| sarif_rule(rule)).collect();
    let results: Vec<Value> = found()
        .map(|(audit, finding)| {
            json!({
                "ruleId": finding.code.to_string(),
                "ruleIndex": index(finding),
                "level": level(finding.severity()),
                "message": { "text": message(finding) },
                "locations": [{ "physicalLocation": location(audit, finding) }],
            })
        })
        .collect();
    ascii(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "akeys audit",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

fn sarif_rule(rule: &Rule) -> Value {
    // GitHub sorts by this number, which follows CVSS.
    let score = match rule.severity {
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    };
    json!({
        "id": rule.word,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.explanation },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "security-severity": score, "tags": ["security"] },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn message(finding: &Told) -> String {
    match &finding.hint {
        Some(hint) => format!("{} ({hint})", finding.message),
        None => finding.message.clone(),
    }
}

fn location(audit: &Shown<'_>, finding: &Told) -> Value {
    let uri = |path: &str| {
        let mut uri = String::new();
        for &byte in path.as_bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
        if uri.starts_with('/') { format!("file://{uri}") } else { uri }
    };
    let path = finding.path.as_deref().filter(|path| *path != SERVER).unwrap_or(audit.path);
    let artifact = json!({ "uri": uri(path) });
    match (finding.line, finding.character) {
        (Some(line), Some(column)) => json!({
            "artifactLocation": artifact,
            "region": { "startLine": line, "startColumn": column },
        }),
        _ => json!({ "artifactLocation": artifact }),
    }
}

/// The catalogue from `least` on.
pub(super) fn codes(least: Severity, as_json: bool) -> String {
    let rules = RULES.iter().filter(|rule| rule.severity >= least);
    if as_json {
        let rules: Vec<Value> = rules
            .map(|rule| {
                json!({
                    "code": rule.word,
                    "severity": rule.severity.to_string(),
                    "title": rule.title,
                    "explanation": rule.explanation,
                })
            })
            .collect();
        return ascii(&Value::Array(rules));
    }
    let mut out = String::new();
    for rule in rules {
        let _ = writeln!(out, "{:<32} {:<6}  {}", rule.word, rule.severity.to_string(), rule.title);
    }
    out
}

/// One finding without its place, for a reader who knows the line.
pub(in crate::akeys) fn one(finding: &Told) -> String {
    let text = format!("{} {}: {}", finding.severity(), finding.code, finding.message);
    match &finding.hint {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

/// The bytes of a line, safe to print; long ones are cut.
pub(super) fn line(bytes: &[u8]) -> String {
    const ROOM: usize = 200;
    let text = Escaped(&bytes[..bytes.len().min(ROOM)]).to_string();
    if bytes.len() > ROOM { format!("{text}…") } else { text }
}
