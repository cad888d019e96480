//! What the holder of a key may do, in words: `may pull papers, may push papers/build, nothing else`.
//!
//! The words follow the line to what really decides: sshd's options, and behind a forced command of ours the policy, read
//! as the gate reads it. A command that cannot be understood is shown, never guessed at.

use std::path::Path;

use jiff::Timestamp;
use rrsync_rs::cli::DropIn;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{Access, Grant, Tool, Workspace, load};
use rrsync_rs::layout::Layout;

use crate::akeys::forced::{self, Forced};
use crate::authkeys::Options;
use crate::common::moment::in_words;

/// What the options of one line let its key do, as a sentence without a full stop.
pub(super) fn sentence(options: &Options, layout: &Layout, now: Timestamp) -> String {
    let mut deeds = deeds(options, layout, now);
    if !options.cert_authority {
        deeds.extend(beside(options));
    }
    let whole = options.command.is_none() && !options.cert_authority;
    match deeds.as_slice() {
        [] => "may do nothing".to_owned(),
        [nothing] if nothing.starts_with("may do nothing") => nothing.clone(),
        _ if whole => deeds.join(", "),
        _ => format!("{}, nothing else", deeds.join(", ")),
    }
}

/// What the command comes to.
fn deeds(options: &Options, layout: &Layout, now: Timestamp) -> Vec<String> {
    if options.cert_authority {
        let whom = match &options.principals {
            Some(names) => format!("any certificate for {} that it signed", Escaped(names)),
            None => "any certificate for this account that it signed".to_owned(),
        };
        return vec![format!("may let in {whom}")];
    }
    let Some(command) = &options.command else {
        return vec![
            "may run any command".to_owned(),
            "may read and write every file of the account".to_owned(),
        ];
    };
    match forced::read(command) {
        Forced::Grant { name, .. } => match load(&name, layout) {
            Ok(Grant { expires: Some(end), .. }) if end < now => {
                vec![format!("may do nothing since {}, when its policy ended", in_words(end))]
            }
            Ok(grant) => by_policy(&grant),
            Err(error) if error.is_missing() => {
                vec![format!("may do nothing while there is no policy {name}")]
            }
            Err(error) => vec![format!("may do nothing while its policy is refused ({error})")],
        },
        Forced::DropIn { drop_in, .. } => by_drop_in(&drop_in),
        Forced::Refused { error, .. } => {
            vec![format!("may do nothing: the gate refuses this command line ({error})")]
        }
        Forced::InternalSftp => {
            vec![
                "may read and write every file of the account through SFTP, unless sshd confines it"
                    .to_owned(),
            ]
        }
        Forced::Program { .. } | Forced::Shell => {
            vec![format!("may make the account run \"{}\", whatever that lets it do", Escaped(command))]
        }
    }
}

/// What a policy allows.
fn by_policy(grant: &Grant) -> Vec<String> {
    let mut deeds = Vec::new();
    let moves = grant.tools.iter().any(|tool| *tool != Tool::Watch);
    for (name, workspace) in &grant.workspaces {
        if moves {
            deeds.extend(
                reach(name.as_str(), workspace, Access::may_read).map(|what| format!("may pull {what}")),
            );
            let pushes = |access: Access| access.may_write() && access != Access::Drop;
            deeds.extend(reach(name.as_str(), workspace, pushes).map(|what| push(&what, workspace)));
            let drops = |access| access == Access::Drop;
            deeds.extend(
                reach(name.as_str(), workspace, drops).map(|what| format!("may drop new files into {what}")),
            );
        }
        if grant.tools.contains(&Tool::Watch) {
            deeds.extend(
                reach(name.as_str(), workspace, Access::may_read).map(|what| format!("may watch {what}")),
            );
        }
    }
    deeds
}

fn push(what: &str, workspace: &Workspace) -> String {
    match (workspace.overwrite, workspace.delete) {
        _ if workspace.files.append => {
            format!("may only add to {what} (new files, and at the end of others)")
        }
        (true, true) => format!("may push {what}"),
        (true, false) => format!("may push {what} without deleting"),
        (false, _) => format!("may add new files to {what}"),
    }
}

/// The parts of a workspace that `allowed` holds for: `papers`, `papers/build`, `papers but not papers/secret`.
fn reach(name: &str, workspace: &Workspace, allowed: fn(Access) -> bool) -> Option<String> {
    let shown = |path: &Path| format!("{name}/{}", Escaped::os(path));
    let mut within: Vec<String> = allowed(workspace.access).then(|| name.to_owned()).into_iter().collect();
    let mut without = Vec::new();
    for (path, access) in &workspace.paths {
        let around = workspace.access_to(path.parent().unwrap_or(Path::new("")));
        match (allowed(around), allowed(*access)) {
            (false, true) => within.push(shown(path)),
            (true, false) => without.push(shown(path)),
            _ => {}
        }
    }
    let (within, without) = (within.join(" and "), without.join(" or "));
    match (within.is_empty(), without.is_empty()) {
        (true, _) => None,
        (false, true) => Some(within),
        (false, false) => Some(format!("{within} but not {without}")),
    }
}

/// What `rrsync DIR` allows.
fn by_drop_in(drop_in: &DropIn) -> Vec<String> {
    let dir = Escaped::os(&drop_in.dir).to_string();
    let mut workspace = Workspace::new(&drop_in.dir, drop_in.access);
    (workspace.overwrite, workspace.delete) = (drop_in.overwrite, drop_in.delete);
    let pull = drop_in.access.may_read().then(|| format!("may pull {dir}"));
    let push = drop_in.access.may_write().then(|| push(&dir, &workspace));
    pull.into_iter().chain(push).collect()
}

/// What the options leave open beside the command.
fn beside(options: &Options) -> Vec<String> {
    let list = |values: &[Vec<u8>]| {
        let values: Vec<String> = values.iter().map(|value| Escaped(value).to_string()).collect();
        values.join(" ")
    };
    let mut ways = Vec::new();
    if options.port_forwarding {
        ways.push(match options.permitopen.as_slice() {
            [] => "may connect to any port through this host".to_owned(),
            some => format!("may connect to {} through this host", list(some)),
        });
        ways.push(match options.permitlisten.as_slice() {
            [] => "may listen on any port of this host".to_owned(),
            some => format!("may listen on {} of this host", list(some)),
        });
    }
    for (open, way) in [
        (options.pty, "may have a terminal"),
        (options.agent_forwarding, "may forward an agent"),
        (options.x11_forwarding, "may forward X11"),
        (options.tunnel.is_some(), "may have a tunnel device"),
    ] {
        ways.extend(open.then(|| way.to_owned()));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrsync_rs::grant::parse;

    fn words(policy: &str) -> String {
        let layout = Layout::new("/home/u").unwrap();
        let text = format!("federation = \"playground\"\npod = \"chef1\"\n{policy}");
        by_policy(&parse(&text, &layout).unwrap()).join(", ")
    }

    #[test]
    fn a_policy_in_words() {
        for (policy, expected) in [
            (
                "tools = [\"rsync\"]\n[workspace.papers]\npath = \"~/papers\"\naccess = \"ro\"\n[workspace.papers.paths]\n\"build\" = \"rw\"\n",
                "may pull papers, may push papers/build",
            ),
            (
                "tools = [\"rsync\", \"watch\"]\n[workspace.d]\npath = \"/srv/d\"\naccess = \"rw\"\n[workspace.d.paths]\n\"in\" = \"wo\"\n\"in/x\" = \"rw\"\n\"old\" = \"ro\"\n",
                "may pull d and d/in/x but not d/in, may push d but not d/old, may watch d and d/in/x but not d/in",
            ),
            ("tools = [\"watch\"]\n[workspace.d]\npath = \"/srv/d\"\naccess = \"rw\"\n", "may watch d"),
            (
                "tools = [\"scp\"]\n[workspace.d]\npath = \"/srv/d\"\naccess = \"wo\"\noverwrite = false\n",
                "may add new files to d",
            ),
            (
                "tools = [\"scp\"]\n[workspace.d]\npath = \"/srv/d\"\naccess = \"rw\"\nappend = true\n[workspace.d.paths]\n\"in\" = \"drop\"\n",
                "may pull d but not d/in, may only add to d but not d/in (new files, and at the end of others), may drop new files into d/in",
            ),
        ] {
            assert_eq!(words(policy), expected);
        }
    }
}
