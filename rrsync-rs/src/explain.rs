//! `--explain`: what would happen, in words and as JSON, and nothing happens.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::cli::Gate;
use crate::confine::{self, Files, Level};
use crate::escape::Escaped;
use crate::exposure::System;
use crate::gate;
use crate::grant::{Access, Confine};
use crate::request::Request;
use crate::serve::Protocol;
use crate::session::{Environment, Named, NoTerms, Terms};
use crate::watch;

/// The answer to one question.
#[derive(Debug, Serialize)]
pub struct Exposition {
    /// Whether the request would be served.
    pub allowed: bool,
    /// The rule that decides.
    pub rule: String,
    /// What a refused client would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the record would say beyond that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The paths that the request is about, as the client names them.
    pub targets: Vec<String>,
    /// What would run.
    pub argv: Vec<String>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The directories that the kernel would let it read.
    pub reads: Vec<String>,
    /// The directories that the kernel would let it read and write.
    pub writes: Vec<String>,
    /// What else holds in the workspaces, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// What this kernel enforces.
    pub confinement: Level,
    /// What the policy demands of it.
    pub confine: Option<Confine>,
    /// What is questionable about the setting.
    pub warnings: Vec<String>,
}

/// Judges `command` as a session of `gate` would.
pub fn explain(gate: &Gate, command: Option<&OsStr>, environment: &Environment) -> Exposition {
    let mut exposition = Exposition {
        allowed: false,
        rule: String::new(),
        message: None,
        detail: None,
        targets: Vec::new(),
        argv: Vec::new(),
        cwd: None,
        reads: Vec::new(),
        writes: Vec::new(),
        rules: Vec::new(),
        confinement: confine::probe(),
        confine: None,
        warnings: Vec::new(),
    };
    if let Err(refused) = fill(&mut exposition, gate, command, environment) {
        refused.refusal.rule.clone_into(&mut exposition.rule);
        exposition.detail = (refused.detail != refused.refusal.message).then_some(refused.detail);
        exposition.message = Some(refused.refusal.message);
    }
    exposition
}

fn fill(
    exposition: &mut Exposition,
    gate: &Gate,
    command: Option<&OsStr>,
    environment: &Environment,
) -> Result<(), NoTerms> {
    let layout = environment.layout.as_ref();
    let terms = Named::read(gate, layout)?.open(gate, layout, &System::default())?;
    exposition.warnings.clone_from(&terms.warnings);
    exposition.confine = Some(terms.confine);
    match Request::read(command)? {
        Request::Probe => "probe".clone_into(&mut exposition.rule),
        Request::Sftp(subsystem) => files(exposition, &Protocol::Sftp(subsystem), &terms)?,
        Request::Scp(command) => {
            exposition.targets = command.targets();
            files(exposition, &Protocol::Scp(command), &terms)?;
        }
        Request::Watch(asked) => {
            let stream = watch::judge(&asked, &terms, environment.layout.as_ref())?;
            "watch".clone_into(&mut exposition.rule);
            exposition.argv = gate::shown_stream(&stream);
            exposition.cwd = Some(Escaped::os(&stream.root.real).to_string());
            exposition.reads =
                stream.reach.iter().map(|reach| Escaped::os(&reach.real).to_string()).collect();
            exposition.targets = vec![stream.target];
        }
        Request::Exists(wanted, path) => {
            let yes = gate::exists(wanted, &path, &terms)?;
            "probe.exists".clone_into(&mut exposition.rule);
            exposition.detail = Some(if yes { "the answer is yes" } else { "the answer is no" }.to_owned());
        }
        Request::Rsync(direction, parsed) => {
            let parsed = gate::complete(parsed, &mut String::new())?;
            let allowed = gate::decide(direction, &parsed, &terms, environment)?;
            direction.rule().clone_into(&mut exposition.rule);
            exposition.argv = gate::shown(&allowed.plan);
            // A missing destination is made and entered first.
            let cwd = &allowed.plan.cwd.real;
            let cwd = allowed.plan.make.as_ref().map_or_else(|| cwd.clone(), |name| cwd.join(name));
            exposition.cwd = Some(Escaped::os(&cwd).to_string());
            exposition.confinement.namespace &= isolates(&allowed);
            for reach in &allowed.plan.reach {
                let list = if reach.rights.writes() { &mut exposition.writes } else { &mut exposition.reads };
                list.push(Escaped::os(&reach.real).to_string());
            }
            exposition.targets = allowed.plan.targets;
        }
    }
    exposition.allowed = true;
    Ok(())
}

/// What a session that the gate serves itself would be allowed.
fn files(exposition: &mut Exposition, protocol: &Protocol, terms: &Terms) -> Result<(), NoTerms> {
    gate::files_allowed(protocol, terms)?;
    protocol.rule().clone_into(&mut exposition.rule);
    for exposed in &terms.policy.exposed {
        for (path, access) in exposed.workspace.places().filter(|(_, access)| *access != Access::None) {
            let list = if access.may_write() { &mut exposition.writes } else { &mut exposition.reads };
            list.push(Escaped::os(&exposed.root.real_of(path)).to_string());
        }
        let rules = exposed.workspace.files.words();
        exposition.rules.extend(
            rules
                .iter()
                .map(|rule| format!("{}: {}", exposed.shown(Path::new("")), Escaped(rule.as_bytes()))),
        );
    }
    Ok(())
}

/// Whether the session would ask for a mount namespace of its own.
fn isolates(allowed: &gate::Allowed) -> bool {
    let (reach, names_users) = (allowed.plan.reach.as_slice(), allowed.names_users);
    confine::isolates(
        &Files { reach, programs: &[], libraries: &[], parts: &[], names_users },
        allowed.plan.isolation,
    )
}

impl Exposition {
    /// One JSON object and a newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict:     {}", if self.allowed { "allow" } else { "refuse" })?;
        writeln!(f, "rule:        {}", self.rule)?;
        for (label, text) in [("client told:", &self.message), ("because:    ", &self.detail)] {
            if let Some(text) = text {
                writeln!(f, "{label} {text}")?;
            }
        }
        if !self.targets.is_empty() {
            writeln!(f, "paths:       {}", self.targets.join(", "))?;
        }
        if !self.argv.is_empty() {
            writeln!(f, "runs:        {}", self.argv.join(" "))?;
        }
        if let Some(cwd) = &self.cwd {
            writeln!(f, "in:          {cwd}")?;
        }
        for (label, list) in [("may read:   ", &self.reads), ("may write:  ", &self.writes)] {
            if !list.is_empty() {
                writeln!(f, "{label} {}", list.join(", "))?;
            }
        }
        for rule in &self.rules {
            writeln!(f, "holds in     {rule}")?;
        }
        writeln!(f, "confinement: {}", self.confinement)?;
        for warning in &self.warnings {
            writeln!(f, "warning:     {warning}")?;
        }
        Ok(())
    }
}
