//! The list for programs. Fields are only ever added.

use serde_json::{Value, json};

use super::Finding;
use super::survey::{Kind, Row, Survey};
use crate::akeys::grants;

/// Prints the survey as one object.
pub(super) fn print(survey: &Survey) -> String {
    let lines: Vec<Value> = survey.rows.iter().map(row).collect();
    let value = json!({
        "file": survey.path.to_string_lossy(),
        "lines": lines,
        "findings": findings(&survey.findings),
    });
    format!("{value:#}\n")
}

fn row(row: &Row) -> Value {
    match &row.kind {
        Kind::Blank => json!({ "line": row.line, "kind": "blank" }),
        Kind::Comment(disabled) => {
            json!({ "line": row.line, "kind": if *disabled { "disabled" } else { "comment" } })
        }
        Kind::Dead { column, findings: all } => {
            json!({ "line": row.line, "kind": "dead", "column": column, "findings": findings(all) })
        }
        Kind::Key(key) => {
            let meaning = &key.meaning;
            let parts = meaning.grant.as_ref().and_then(grants::parts);
            let (federation, pod) =
                parts.map_or((None, None), |(federation, pod)| (Some(federation), Some(pod)));
            json!({
                "line": row.line,
                "kind": "key",
                "fingerprint": key.fingerprint,
                "type": key.algorithm.name(),
                "bits": key.bits,
                "comment": key.comment,
                "grant": meaning.grant,
                "federation": federation,
                "pod": pod,
                "may": meaning.may,
                "unrestricted": meaning.unrestricted,
                "from": meaning.from,
                "expires": meaning.expires.map(|at| at.to_string()),
                "findings": findings(&meaning.findings),
            })
        }
    }
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    findings.iter().map(|finding| json!({ "code": finding.code, "text": finding.text })).collect()
}
