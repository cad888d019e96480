//! The list for programs. Fields are only ever added.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Finding;
use super::survey::{Kind, PIECE, Row, Survey};
use crate::akeys::grants;
use crate::common::json::line;
use crate::common::parallel;

/// Prints the survey as one object.
pub(super) fn print(survey: &Survey, out: &mut dyn Write) -> io::Result<()> {
    let file = Value::from(survey.path.to_string_lossy());
    write!(out, "{{\n  \"file\": {},\n  \"lines\": [", line(&file))?;
    let rows = |piece| {
        let rows = survey.piece(piece).map(|row| format!("\n    {}", line(&self::row(&row))));
        rows.collect::<Vec<_>>().join(",")
    };
    let mut first = true;
    parallel::in_order(survey.len(), PIECE, rows, |rows| {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        write!(out, "{comma}{rows}")
    })?;
    let findings = Value::from(findings(&survey.findings));
    writeln!(out, "\n  ],\n  \"findings\": {}\n}}", line(&findings))
}

/// One line.
pub(in crate::akeys) fn row(row: &Row) -> Value {
    match &row.kind {
        Kind::Blank => json!({ "line": row.line, "kind": "blank" }),
        Kind::Comment => json!({ "line": row.line, "kind": "comment" }),
        Kind::Disabled { key } => json!({
            "line": row.line,
            "kind": "disabled",
            "fingerprint": key.as_ref().map(|key| &key.fingerprint),
            "type": key.as_ref().map(|key| &key.algorithm),
            "bits": key.as_ref().map(|key| key.bits),
            "comment": key.as_ref().map(|key| &key.comment),
            "grant": key.as_ref().and_then(|key| key.grant.as_ref()),
        }),
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
                "type": key.algorithm,
                "bits": key.bits,
                "comment": key.comment,
                "grant": meaning.grant,
                "federation": federation,
                "pod": pod,
                "may": meaning.may,
                "unrestricted": meaning.unrestricted,
                "from": meaning.from,
                "expires": meaning.expires.map(|at| at.to_string()),
                "used": key.used,
                "findings": findings(&meaning.findings),
            })
        }
    }
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    findings.iter().map(|finding| json!({ "code": finding.code, "text": finding.text })).collect()
}
