//! What one key line allows, in words, and what is wrong with it.
//!
//! The words are what sshd and the gate will do, not what the line's author hoped: options are taken as sshd evaluates
//! them, a policy is read as the gate reads it, and a command that cannot be understood is shown, not guessed at.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rrsync_rs::cli::DropIn;
use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::grant::{Grant, load, verb};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use serde::{Deserialize, Serialize};

use super::Finding;
use super::policy::policy_findings;
use crate::akeys::forced::{self, Forced};
use crate::akeys::gate;
use crate::authkeys::{Entry, Expiry, FromMatch, Options};
use crate::common::moment::in_words;
use crate::common::report::abbreviated;

/// What one key line allows.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// Explains lines. What the disk says about a program or a policy is asked once, however many lines name it.
pub(in crate::akeys) struct Explainer {
    layout: Layout,
    now: Timestamp,
    programs: Mutex<HashMap<String, Vec<Finding>>>,
    grants: Mutex<HashMap<GrantName, Granted>>,
}

/// What a policy comes to.
#[derive(Debug, Clone)]
struct Granted {
    words: String,
    expires: Option<Timestamp>,
    findings: Vec<Finding>,
}

/// Programs and policies beyond this number are asked about each time.
const KEPT: usize = 4096;

impl Explainer {
    /// Explains lines of the account at home in `layout` as they work at `now`.
    pub(in crate::akeys) fn new(layout: &Layout, now: Timestamp) -> Self {
        Self { layout: layout.clone(), now, programs: Mutex::default(), grants: Mutex::default() }
    }

    /// Explains the line of `entry`.
    pub(in crate::akeys) fn entry(&self, entry: &Entry<'_>) -> Meaning {
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
            Some(command) => self.command_words(command, &mut meaning),
            None => shell_words(options, &mut meaning),
        };
        beside_the_command(options, &mut meaning);
        limits(options, self.now, &mut meaning);
        // A key that sshd refuses at every login is no danger while it does.
        let void = meaning.findings.iter().any(|finding| VOID.contains(&&*finding.code));
        meaning.unrestricted &= !void;
        for finding in &mut meaning.findings {
            finding.text = abbreviated(&self.layout, &finding.text);
        }
        meaning
    }

    /// What a forced command does.
    fn command_words(&self, command: &[u8], meaning: &mut Meaning) -> String {
        let shown = Escaped(command).to_string();
        match forced::read(command) {
            Forced::Grant { program, name } => {
                meaning.findings.extend(self.program_findings(&program));
                let granted = self.granted(&name);
                meaning.expires = [meaning.expires, granted.expires].into_iter().flatten().min();
                meaning.findings.extend(granted.findings);
                meaning.grant = Some(name);
                granted.words
            }
            Forced::DropIn { program, drop_in } => {
                meaning.findings.extend(self.program_findings(&program));
                drop_in_words(&drop_in, &self.layout, meaning)
            }
            Forced::Refused { program, error } => {
                meaning.findings.extend(self.program_findings(&program));
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
                meaning.findings.extend(self.program_findings(&program));
                format!("run \"{shown}\"")
            }
            Forced::Shell => format!("run \"{shown}\" in the login shell"),
        }
    }

    fn program_findings(&self, program: &str) -> Vec<Finding> {
        kept(&self.programs, &program.to_owned(), || program_findings(program, &self.layout))
    }

    fn granted(&self, name: &GrantName) -> Granted {
        kept(&self.grants, name, || granted(name, &self.layout))
    }
}

/// What was found out before, or is found out now.
fn kept<K: Clone + Eq + Hash, V: Clone>(
    cache: &Mutex<HashMap<K, V>>,
    key: &K,
    find: impl FnOnce() -> V,
) -> V {
    // A thread that panicked while it held this has left it whole.
    let known = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = known().get(key) {
        return value.clone();
    }
    let value = find();
    let mut known = known();
    if known.len() < KEPT {
        known.insert(key.clone(), value.clone());
    }
    value
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

/// What the policy `name` allows, as the gate will read it.
fn granted(name: &GrantName, layout: &Layout) -> Granted {
    match load(name, layout) {
        Ok(grant) => Granted {
            findings: policy_findings(&grant, layout),
            expires: grant.expires,
            words: Grant { expires: None, ..grant }.summary(),
        },
        Err(error) => {
            let finding = if error.is_missing() {
                Finding::new("no-policy", format!("there is no policy {name}"))
            } else {
                Finding::new("bad-policy", error.to_string())
            };
            let words = format!("nothing: the gate refuses {name}");
            Granted { words, expires: None, findings: vec![finding] }
        }
    }
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
    let verb = verb(drop_in.access, drop_in.overwrite, drop_in.delete);
    format!("rsync; {verb} {}", Escaped::os(&drop_in.dir))
}

/// Whether the program is there and is the account's own. One that `PATH` finds is whatever a start-up file makes it.
fn program_findings(program: &str, layout: &Layout) -> Vec<Finding> {
    let Some(path) = forced::expanded(program, layout) else {
        if forced::is_builtin(program) {
            return Vec::new();
        }
        let text = format!("{} is found through PATH", Escaped(program.as_bytes()));
        return vec![Finding::new("relative-program", text)];
    };
    match path.canonicalize() {
        Err(error) => vec![Finding::new("no-program", format!("{}: {error}", Escaped::os(&path)))],
        Ok(real) => gate::check(&real)
            .err()
            .map(|error| Finding::new("loose-program", error.to_string()))
            .into_iter()
            .collect(),
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
        let text = "an expiry-time before 1970: sshd 9.2 refuses the line, with 10.5 the key never ends";
        meaning.findings.push(Finding::new("bad-expiry", text));
    }
    if options.principals.is_some() && !options.cert_authority {
        let text = "principals without cert-authority: sshd refuses the key";
        meaning.findings.push(Finding::new("principals", text));
    }
}
