//! What one key line allows, in words, and what is wrong with it.
//!
//! The words are what sshd and the gate will do, not what the line's author hoped: options are taken as sshd evaluates
//! them, a policy is read as the gate reads it, and a command that cannot be understood is shown, not guessed at.

use jiff::Timestamp;
use rrsync_rs::cli::DropIn;
use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::grant::{Access, Grant, load};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::Finding;
use super::policy::policy_findings;
use crate::akeys::forced::{self, Forced};
use crate::akeys::gate;
use crate::authkeys::{Entry, Expiry, FromMatch, Options};
use crate::common::moment::in_words;
use crate::common::report::abbreviated;

/// What one key line allows.
pub(in crate::akeys) struct Meaning {
    /// In words: `rsync; read papers; from 10.1.0.0/16; until 2027-12-31`.
    pub(in crate::akeys) may: String,
    /// Whether the key is a login like any other: a shell, forwarding, everything.
    pub(in crate::akeys) unrestricted: bool,
    /// The policy that the line names.
    pub(in crate::akeys) grant: Option<GrantName>,
    /// The addresses that it may come from, escaped.
    pub(in crate::akeys) from: Option<String>,
    /// When it ends; the earlier of the line's end and its policy's.
    pub(in crate::akeys) expires: Option<Timestamp>,
    /// What is wrong.
    pub(in crate::akeys) findings: Vec<Finding>,
}

/// Explains the line of `entry` as it works at `now`.
pub(in crate::akeys) fn entry(entry: &Entry<'_>, layout: &Layout, now: Timestamp) -> Meaning {
    let options = &entry.options;
    let mut meaning = Meaning {
        may: String::new(),
        unrestricted: false,
        grant: None,
        from: options.from.as_deref().map(|from| Escaped(from).to_string()),
        expires: options.expiry.and_then(Expiry::moment),
        findings: Vec::new(),
    };
    meaning.may = match &options.command {
        Some(command) => command_words(command, layout, &mut meaning),
        None => shell_words(options, &mut meaning),
    };
    beside_the_command(options, &mut meaning);
    limits(options, now, &mut meaning);
    // A key that sshd refuses at every login is no danger while it does.
    let void = meaning.findings.iter().any(|finding| VOID.contains(&finding.code));
    meaning.unrestricted &= !void;
    for finding in &mut meaning.findings {
        finding.text = abbreviated(layout, &finding.text);
    }
    meaning
}

/// Findings after which sshd refuses every login with the key.
const VOID: [&str; 3] = ["expired", "bad-from", "principals"];

/// A key without a forced command runs whatever its client asks for.
fn shell_words(options: &Options, meaning: &mut Meaning) -> String {
    let mut find = |code, text: &str| meaning.findings.push(Finding::new(code, text));
    if options.cert_authority {
        find("authority", "every certificate that this key signs may log in");
        return match &options.principals {
            Some(names) => format!("sign certificates for {}", Escaped(names)),
            None => "sign certificates for this account".to_owned(),
        };
    }
    // Also with `restrict`: a shell needs no terminal, and SFTP reaches every file.
    meaning.unrestricted = true;
    find("unrestricted", "this key has the whole account");
    let open = open_ways(options);
    match open.len() {
        0 => "unrestricted: any command, every file; no terminal, no forwarding".to_owned(),
        4 => "unrestricted: shell, forwarding, everything".to_owned(),
        _ => format!("unrestricted: any command, every file; {}", open.join(", ")),
    }
}

/// What the options leave open besides the command.
fn open_ways(options: &Options) -> Vec<&'static str> {
    let ways = [
        (options.pty, "terminal"),
        (options.port_forwarding, "port forwarding"),
        (options.agent_forwarding, "agent forwarding"),
        (options.x11_forwarding, "X11 forwarding"),
    ];
    ways.into_iter().filter_map(|(open, way)| open.then_some(way)).collect()
}

/// What a forced command does.
fn command_words(command: &[u8], layout: &Layout, meaning: &mut Meaning) -> String {
    let shown = Escaped(command).to_string();
    match forced::read(command) {
        Forced::Grant { program, name } => {
            program_findings(&program, layout, meaning);
            let words = grant_words(&name, layout, meaning);
            meaning.grant = Some(name);
            words
        }
        Forced::DropIn { program, drop_in } => {
            program_findings(&program, layout, meaning);
            drop_in_words(&drop_in, layout, meaning)
        }
        Forced::Refused { program, error } => {
            program_findings(&program, layout, meaning);
            let text = format!("the gate refuses this command line: {error}");
            meaning.findings.push(Finding::new("bad-command", text));
            format!("nothing: the gate refuses \"{shown}\"")
        }
        Forced::InternalSftp => {
            let text = "every file of the account, through SFTP";
            meaning.findings.push(Finding::new("any-file", text));
            format!("sftp ({shown})")
        }
        Forced::Program { program } => {
            program_findings(&program, layout, meaning);
            format!("run \"{shown}\"")
        }
        Forced::Shell => format!("run \"{shown}\" in the login shell"),
    }
}

/// What the policy `name` allows, as the gate will read it.
fn grant_words(name: &GrantName, layout: &Layout, meaning: &mut Meaning) -> String {
    let grant = match load(name, layout) {
        Ok(grant) => grant,
        Err(error) => {
            let (code, text) = if error.is_missing() {
                ("no-policy", format!("there is no policy {name}"))
            } else {
                ("bad-policy", error.to_string())
            };
            meaning.findings.push(Finding::new(code, text));
            return format!("nothing: the gate refuses {name}");
        }
    };
    meaning.findings.extend(policy_findings(&grant, layout));
    meaning.expires = [meaning.expires, grant.expires].into_iter().flatten().min();
    Grant { expires: None, ..grant }.summary()
}

/// What `rrsync DIR` allows, or the gate in its place. It obeys any DIR, so an exposure is only a warning.
fn drop_in_words(drop_in: &DropIn, layout: &Layout, meaning: &mut Meaning) -> String {
    let written = drop_in.dir.to_string_lossy();
    // rrsync takes a relative DIR from where sshd starts it, the home.
    let dir = forced::expanded(&written, layout).unwrap_or_else(|| layout.home().join(&drop_in.dir));
    match dir.canonicalize() {
        Ok(real) => {
            if let Err(exposure) = exposure::refuse(&real, false, layout, &[&gate::own_directory()]) {
                meaning.findings.push(Finding::new("exposure", exposure.to_string()));
            }
        }
        Err(error) => {
            let text = format!("{}: {error}", Escaped::os(&dir));
            meaning.findings.push(Finding::new("no-workspace", text));
        }
    }
    let verb = match (drop_in.access, drop_in.overwrite, drop_in.delete) {
        (Access::ReadOnly, ..) => "read",
        (Access::WriteOnly, true, true) => "write only",
        (Access::WriteOnly, true, false) => "write only, without deleting,",
        (Access::WriteOnly, false, _) => "add only to",
        (Access::ReadWrite, true, true) => "read and write",
        (Access::ReadWrite, true, false) => "read and write, without deleting,",
        (Access::ReadWrite, false, _) => "read and add to",
        (Access::None, ..) => "nothing in",
        (Access::Drop, ..) => "drop into",
    };
    format!("rsync; {verb} {}", Escaped::os(&drop_in.dir))
}

/// Whether the program is there and is the account's own. One that `PATH` finds is whatever a start-up file makes it.
fn program_findings(program: &str, layout: &Layout, meaning: &mut Meaning) {
    let mut find = |code, text| meaning.findings.push(Finding::new(code, text));
    let Some(path) = forced::expanded(program, layout) else {
        let text = format!("{} is found through PATH", Escaped(program.as_bytes()));
        return find("relative-program", text);
    };
    match path.canonicalize() {
        Err(error) => find("no-program", format!("{}: {error}", Escaped::os(&path))),
        Ok(real) => {
            if let Err(error) = gate::check(&real) {
                find("loose-program", error.to_string());
            }
        }
    }
}

/// A forced command binds only the command: without `restrict`, forwarding and a terminal stay.
fn beside_the_command(options: &Options, meaning: &mut Meaning) {
    let open = open_ways(options);
    if options.command.is_some() && !open.is_empty() {
        let text = format!("not restricted: {} beside the command", open.join(", "));
        meaning.findings.push(Finding::new("open-ways", text));
    }
    if options.command.is_some() && options.user_rc {
        meaning.findings.push(Finding::new("user-rc", "~/.ssh/rc runs before the command"));
    }
    if options.tunnel.is_some() {
        meaning.findings.push(Finding::new("tunnel", "may ask for a tunnel device"));
    }
}

/// From where and until when.
fn limits(options: &Options, now: Timestamp, meaning: &mut Meaning) {
    if let Some(from) = &options.from {
        meaning.may += "; from ";
        meaning.may += &Escaped(from).to_string();
        if !FromMatch::is_valid(from) {
            meaning
                .findings
                .push(Finding::new("bad-from", "sshd cannot read the from list and lets nobody in"));
        }
    }
    if let Some(end) = meaning.expires {
        meaning.may += "; until ";
        meaning.may += &in_words(end);
        if end < now {
            meaning.findings.push(Finding::new("expired", format!("ended on {}", in_words(end))));
        }
    }
    if options.expiry.is_some_and(Expiry::wrapped) {
        let text = "an expiry-time before 1970: sshd 9 refuses the line, sshd 10 lets the key never end";
        meaning.findings.push(Finding::new("bad-expiry", text));
    }
    if options.principals.is_some() && !options.cert_authority {
        let text = "principals without cert-authority: sshd refuses the key";
        meaning.findings.push(Finding::new("principals", text));
    }
}
