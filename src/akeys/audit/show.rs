//! The findings for people, for programs, and for tools that collect findings (SARIF 2.1.0).

use std::fmt::Write as _;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value, json};

use crate::akeys::words::target_name;
use crate::authkeys::{KeyFile, Target};
use crate::common::json::{ascii, ascii_with_list};
use crate::common::report::{abbreviated, shown};

use super::catalogue::{RULES, Rule, Severity};
use super::finding::{At, Finding};

/// An audit to be shown.
pub(super) struct Shown<'a> {
    /// The key file.
    pub(super) path: &'a Path,
    /// Its lines.
    pub(super) file: &'a KeyFile,
    /// Whose reader judged it.
    pub(super) target: Target,
    /// What was found.
    pub(super) findings: &'a [Finding],
    /// Whose home is abbreviated.
    pub(super) layout: &'a Layout,
}

/// `FILE:LINE:COLUMN: SEVERITY CODE: MESSAGE`, as compilers do, and a hint below it.
pub(super) fn text(audit: &Shown<'_>) -> String {
    let name = shown(audit.layout, audit.path);
    let mut out = String::new();
    for finding in audit.findings {
        let at = match &finding.at {
            At::Line { number, column } => format!("{name}:{number}:{column}"),
            At::File => name.clone(),
            At::Path(path) => shown(audit.layout, path),
            At::Server => "sshd".to_owned(),
        };
        let message = abbreviated(audit.layout, &finding.message);
        // Writing to a String does not fail.
        let _ = writeln!(out, "{at}: {} {}: {message}", finding.severity(), finding.code);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(out, "  hint: {}", abbreviated(audit.layout, hint));
        }
    }
    out
}

/// `3 findings: 1 high, 2 low`.
pub(super) fn summary(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no findings".to_owned();
    }
    let levels = [Severity::High, Severity::Medium, Severity::Low, Severity::Info];
    let count = |level: Severity| findings.iter().filter(|finding| finding.severity() == level).count();
    let counts: Vec<String> = levels
        .into_iter()
        .filter_map(|level| {
            Some(count(level)).filter(|count| *count > 0).map(|count| format!("{count} {level}"))
        })
        .collect();
    let plural = if findings.len() == 1 { "" } else { "s" };
    format!("{} finding{plural}: {}", findings.len(), counts.join(", "))
}

/// One object, as akeys(1) documents it. Fields are only ever added.
pub(super) fn json(audit: &Shown<'_>) -> String {
    let head = [("file", audit.path.to_string_lossy().into()), ("target", target_name(audit.target).into())];
    ascii_with_list(&head, "findings", audit.findings.iter().map(object))
}

/// One finding for programs.
pub(in crate::akeys) fn object(finding: &Finding) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("code", finding.code.to_string().into());
    put("severity", finding.severity().to_string().into());
    put("title", finding.code.rule().title.into());
    put("message", finding.message.clone().into());
    put("hint", finding.hint.clone().into());
    put("fix", finding.fix.as_ref().map(|fix| fix.deed).into());
    put("line", finding.line().into());
    match &finding.at {
        At::Line { column, .. } => put("column", (*column).into()),
        At::Path(path) => put("path", path.to_string_lossy().into()),
        At::Server => put("path", "sshd".into()),
        At::File => {}
    }
    Value::Object(object)
}

/// SARIF 2.1.0: one run, one rule for every code that was found.
pub(super) fn sarif(audit: &Shown<'_>) -> String {
    let used = |rule: &&Rule| audit.findings.iter().any(|finding| finding.code == rule.code);
    let rules: Vec<&Rule> = RULES.iter().filter(used).collect();
    let index = |finding: &Finding| rules.iter().position(|rule| rule.code == finding.code);
    let described: Vec<Value> = rules.iter().map(|rule| sarif_rule(rule)).collect();
    let results: Vec<Value> = audit
        .findings
        .iter()
        .map(|finding| {
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

fn message(finding: &Finding) -> String {
    match &finding.hint {
        Some(hint) => format!("{} ({hint})", finding.message),
        None => finding.message.clone(),
    }
}

fn location(audit: &Shown<'_>, finding: &Finding) -> Value {
    let uri = |path: &Path| {
        let mut uri = String::new();
        for &byte in path.as_os_str().as_encoded_bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
        if uri.starts_with('/') { format!("file://{uri}") } else { uri }
    };
    match &finding.at {
        At::Line { number, column } => {
            let before =
                audit.file.line(*number).and_then(|line| line.raw().get(..column - 1)).unwrap_or_default();
            let column = String::from_utf8_lossy(before).chars().count() + 1;
            json!({
                "artifactLocation": { "uri": uri(audit.path) },
                "region": { "startLine": number, "startColumn": column },
            })
        }
        At::Path(path) => json!({ "artifactLocation": { "uri": uri(path) } }),
        At::File | At::Server => json!({ "artifactLocation": { "uri": uri(audit.path) } }),
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
pub(in crate::akeys) fn one(finding: &Finding) -> String {
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
