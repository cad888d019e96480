//! The answer for people.

use std::fmt::Write as _;

use rrsync_rs::escape::Escaped;

use crate::authkeys::{Expiry, Options};
use crate::common::report::shortened;

use super::login::{Kind, Login, Row};

/// The answer to a question about one login; `file` is the key file's name as it is shown.
pub(super) fn login(login: &Login, file: &str) -> String {
    let mut out = match (login.line, &login.reason) {
        (Some(line), _) => format!("yes: {file}:{line} lets {} in\n", login.fingerprint),
        (None, Some(reason)) => format!("no: {reason} ({})\n", login.fingerprint),
        (None, None) => "no\n".to_owned(),
    };
    for line in login.options.iter().flat_map(effects) {
        out += "  ";
        out += &line;
        out.push('\n');
    }
    if login.needs.touch {
        out += "  FIDO            touch needed\n";
    }
    for row in &login.rows {
        out += &self::row(row);
    }
    out
}

/// One line of the file and, below it, what sshd logs and what was meant.
pub(super) fn row(row: &Row) -> String {
    let accepts = row.matches && row.reason.is_none();
    let told = match (&row.reason, row.column) {
        _ if accepts => "LETS IT IN".to_owned(),
        (Some(reason), Some(column)) => format!("column {column}: {reason}"),
        (Some(reason), None) => reason.clone(),
        (None, _) => String::new(),
    };
    let mut out = format!("{:>4}  {:<7}  {told}", row.line, row.kind.word()).trim_end().to_owned();
    out.push('\n');
    if let (Kind::Key | Kind::Dead, Some(logged)) = (row.kind, &row.logged) {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{:15}sshd logs: {}", "", Escaped(logged.as_bytes()));
    }
    if let Some(hint) = &row.hint {
        let _ = writeln!(out, "{:15}hint: {hint}", "");
    }
    out
}

/// What options come to, a line each.
pub(super) fn effects(options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match &options.command {
        Some(command) => format!("forced command  {}", Escaped(command)),
        None => "command         whatever the client asks for".to_owned(),
    });
    let ways = [
        (options.pty, "pty"),
        (options.port_forwarding, "port-forwarding"),
        (options.agent_forwarding, "agent-forwarding"),
        (options.x11_forwarding, "X11-forwarding"),
        (options.user_rc, "user-rc"),
    ];
    let list = |wanted: bool| {
        let names: Vec<&str> =
            ways.iter().filter(|(open, _)| *open == wanted).map(|(_, name)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
    };
    lines.push(format!("allowed         {}", list(true)));
    lines.push(format!("not allowed     {}", list(false)));
    for (name, values) in [
        ("environment", &options.environment),
        ("permitopen", &options.permitopen),
        ("permitlisten", &options.permitlisten),
    ] {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| Escaped(value).to_string()).collect();
            lines.push(format!("{name:<14}  {}", values.join(" ")));
        }
    }
    for (name, value) in [("from", &options.from), ("principals", &options.principals)] {
        lines.extend(value.iter().map(|value| format!("{name:<14}  {}", Escaped(value))));
    }
    lines.extend(options.expiry.and_then(Expiry::moment).map(|moment| format!("expires         {moment}")));
    if let Some(device) = options.tunnel {
        let any = device == Options::ANY_TUNNEL;
        lines.push(format!("tunnel          {}", if any { "any".to_owned() } else { device.to_string() }));
    }
    for (set, name) in [
        (options.no_touch_required, "no touch needed"),
        (options.verify_required, "user verification needed"),
    ] {
        lines.extend(set.then(|| format!("FIDO            {name}")));
    }
    lines.iter().map(|line| shortened(line).into_owned()).collect()
}
