//! The answer for programs, as akeys(1) documents it. Fields are only ever added.

use serde_json::{Map, Value, json};

use crate::akeys::words::target_name;
use crate::authkeys::Options;
use crate::common::clock;
use crate::common::json::{ascii_with_list, put_bytes, put_list};

use super::login::{Login, Row};
use super::question::Question;

/// The answer to a question about one login.
pub(super) fn login(login: &Login, question: &Question) -> String {
    let mut object = Map::new();
    object.insert("accepted".into(), login.line.is_some().into());
    object.insert("line".into(), login.line.into());
    let command = login.options.as_ref().and_then(|options| options.command.as_deref());
    put_bytes(&mut object, "forced_command", command);
    object.insert("options".into(), login.options.as_ref().map_or_else(|| json!({}), options));
    let needs = [(login.needs.touch, "touch"), (login.needs.verification, "verification")];
    let needs = needs.into_iter().filter(|(needed, _)| *needed);
    object.insert("needs".into(), needs.map(|(_, name)| name).collect::<Vec<_>>().into());
    object.insert("reason".into(), login.reason.clone().into());
    object.insert("fingerprint".into(), login.fingerprint.clone().into());
    object.insert("from".into(), question.address.to_string().into());
    object.insert("user".into(), question.user.clone().into());
    object.insert("at".into(), question.now.to_string().into());
    object.insert("target".into(), target_name(question.rules.target).into());
    let head: Vec<(&str, Value)> =
        object.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    ascii_with_list(&head, "lines", login.rows.iter().map(row))
}

/// One line.
pub(super) fn row(row: &Row) -> Value {
    let mut object = Map::new();
    object.insert("line".into(), row.line.into());
    object.insert("kind".into(), row.kind.word().into());
    object.insert("matches".into(), row.matches.into());
    object.insert("reason".into(), row.reason.clone().into());
    let rest = [
        ("sshd_logs", row.logged.clone().map(Value::from)),
        ("hint", row.hint.clone().map(Value::from)),
        ("column", row.column.map(Value::from)),
        ("fingerprint", row.fingerprint.clone().map(Value::from)),
    ];
    object.extend(rest.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(object)
}

/// What a line allows, by the names that sshd and its manual use.
pub(super) fn options(options: &Options) -> Value {
    let mut object = Map::new();
    let flags = [
        ("port-forwarding", options.port_forwarding),
        ("agent-forwarding", options.agent_forwarding),
        ("x11-forwarding", options.x11_forwarding),
        ("pty", options.pty),
        ("user-rc", options.user_rc),
        ("no-touch-required", options.no_touch_required),
        ("verify-required", options.verify_required),
        ("restrict", options.restrict),
        ("cert-authority", options.cert_authority),
        ("command", options.command.is_some()),
    ];
    object.extend(flags.into_iter().map(|(name, set)| (name.to_owned(), set.into())));
    for (name, list) in [
        ("environment", &options.environment),
        ("permitopen", &options.permitopen),
        ("permitlisten", &options.permitlisten),
    ] {
        put_list(&mut object, name, list);
    }
    put_bytes(&mut object, "from", options.from.as_deref());
    put_bytes(&mut object, "principals", options.principals.as_deref());
    object.insert("expires_at".into(), options.expiry.map(clock::as_logged).into());
    object.insert("expires_at_utc".into(), options.expiry.and_then(clock::in_utc).into());
    object.insert("tunnel".into(), options.tunnel.map(|device| device.to_string()).into());
    Value::Object(object)
}
