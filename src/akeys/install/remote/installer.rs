//! The installation where akeys is not installed: policies and lines are made here, and the installer of `templates/` writes
//! them there.

use std::fs;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::name::WorkspaceName;
use rrsync_rs::sha256::Sum;

use super::{Known, There, lines};
use crate::akeys::account::Account;
use crate::akeys::bundle::Offer;
use crate::akeys::cli::Install;
use crate::akeys::effect;
use crate::akeys::gate::Gate;
use crate::akeys::install::plan::{Ground, Plan};
use crate::akeys::shelf::Found;
use crate::authkeys::base64;
use crate::common::exit::{Exit, Failure};
use crate::common::private::PrivateError;
use crate::common::report::Report;

/// What the installer is.
const INSTALLER: &str = include_str!("../../../../templates/install-key.sh");

/// What puts the gate in place.
const GATE: &str = include_str!("gate.sh");

impl There<'_> {
    /// Makes the policies and the lines here, and has the installer write them there.
    pub(super) fn by_installer(
        &self,
        args: &Install,
        found: &Found,
        offers: &[&Offer],
        report: &mut Report,
    ) -> Result<Known, Failure> {
        let gate = self.gate(args)?;
        let mut plans = Vec::new();
        for offer in offers {
            plans.push(Plan::make(args, found, offer, &gate, self, &self.facts.layout, report)?);
        }
        if args.dry_run {
            self.preview(&plans, args.with_gate, report);
        } else {
            if args.with_gate {
                let verb =
                    if self.copy_gate()? { "copied the gate to" } else { "this gate is there already:" };
                report.line(format_args!("{}: {verb} {}", self.host, Escaped::os(gate.path())));
            }
            for plan in &plans {
                self.install(plan, report)?;
            }
            report.notes.extend(self.not_read().map(|note| format!("{}: {note}", self.host)));
        }
        let workspaces = plans.iter().flat_map(|plan| plan.grant.workspaces.keys().cloned()).collect();
        Ok(Known { workspaces, host_keys: self.facts.host_keys.clone() })
    }

    /// The gate that the lines will name.
    fn gate(&self, args: &Install) -> Result<Gate, Failure> {
        let path = match (&args.gate, args.with_gate, &self.facts.gate) {
            (None, true, _) => self.facts.layout.home().join(".local/bin/rrsync-rs"),
            (Some(path), ..) | (None, false, Some(path)) => path.clone(),
            (None, false, None) => {
                return Err(Failure::new(Exit::NoMatch, format!("{} has no rrsync-rs", self.host))
                    .hint("--with-gate copies it there; --gate PATH says where it is"));
            }
        };
        Ok(Gate::elsewhere(&path)?)
    }

    /// Puts the gate there; `false` when it is there already.
    fn copy_gate(&self) -> Result<bool, Failure> {
        let own = format!("Linux {}", std::env::consts::ARCH);
        if self.facts.system != own {
            let message = format!(
                "{} is {}, and the gate here is for {own}",
                self.host,
                Escaped(self.facts.system.as_bytes())
            );
            return Err(Failure::new(Exit::Failed, message).hint("install rrsync-rs there"));
        }
        let gate = Gate::find(None)?;
        let bytes = fs::read(gate.path()).map_err(PrivateError::io(gate.path()))?;
        let mut script = String::from("akeys_gate_text() {\ncat <<'akeys-gate-end'\n");
        let text = base64::encode(&bytes);
        for line in text.as_bytes().chunks(76) {
            script.push_str(&String::from_utf8_lossy(line));
            script.push('\n');
        }
        script.push_str("akeys-gate-end\n}\n");
        script.push_str(GATE);
        let words = [bytes.len().to_string(), Sum::of(&bytes).to_string()];
        let ended = self.session.run(&words, &script)?;
        if ended.code() != Some(0) {
            return Err(self.refused(&ended, &lines(&ended.stderr)));
        }
        Ok(lines(&ended.stdout).pop().is_none_or(|said| said != "the same"))
    }

    fn install(&self, plan: &Plan, report: &mut Report) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(&plan.line).into_owned();
        let words = [plan.name.to_string(), line, plan.policy.trim_end().to_owned()];
        let ended = self.session.run(&words, INSTALLER)?;
        if ended.code() != Some(0) {
            let mut failure = self.refused(&ended, &lines(&ended.stderr));
            if failure.exit == Exit::Conflict {
                failure = failure
                    .hint("nothing was changed; without akeys there, what is there is changed by hand");
            }
            // What was installed before it stays: running it again goes on from there.
            return Err(Failure { message: format!("{}{}", report.out, failure.message), ..failure });
        }
        report.out.push_str(&plan.words(&self.facts.layout));
        let last = lines(&ended.stdout).pop().unwrap_or_default();
        report.line(format_args!("{}: {last}", self.host));
        // What a banner says is no word of the installer.
        let said = lines(&ended.stderr);
        let notes = said.iter().filter_map(|line| line.strip_prefix("install-key.sh: "));
        report.notes.extend(notes.map(|note| format!("{}: {note}", self.host)));
        Ok(())
    }

    /// Whether sshd there passes over the file, as far as it says so.
    fn not_read(&self) -> Option<String> {
        let home = self.facts.layout.home();
        let account = Account {
            name: self.account.user.to_string(),
            uid: self.facts.uid,
            shell: PathBuf::new(),
            home: home.to_owned(),
        };
        let settings = self.facts.sshd.as_ref()?;
        effect::not_read(&self.facts.layout.authorized_keys(), settings, &account, |path| path)
    }

    fn preview(&self, plans: &[Plan], with_gate: bool, report: &mut Report) {
        if with_gate {
            report.line(format_args!("would copy the gate to {}:.local/bin/rrsync-rs", self.host));
        }
        for plan in plans {
            report.out.push_str(&plan.words(&self.facts.layout));
            report.line(format_args!("would write the policy {} on {}:", plan.name, self.host));
            for line in plan.policy.lines() {
                report.line(format!("    {}", Escaped(line.as_bytes())).trim_end());
            }
            report.line(format_args!("would add to authorized_keys on {}:", self.host));
            report.line(format_args!("    {}", Escaped(&plan.line)));
        }
        report.note("nothing was written (--dry-run)");
    }
}

impl Ground for There<'_> {
    fn directory(&self, written: &Path) -> Result<PathBuf, Failure> {
        let asked = self.asked.iter().position(|(dir, sub)| dir == written && sub.is_none());
        asked.and_then(|at| self.facts.dirs[at].clone()).ok_or_else(|| {
            let place = format!("{}: workspace {}", self.host, Escaped::os(written));
            Failure::new(Exit::NoMatch, format!("{place}: no such directory"))
                .hint("a relative directory is meant from the home there; quote '~/' from the shell here")
        })
    }

    fn sub_path(&self, name: &WorkspaceName, workspace: &Path, sub: &Path) -> Result<(), Failure> {
        let wanted = Some((name.clone(), sub.to_owned()));
        let asked = self.asked.iter().position(|(_, asked)| *asked == wanted);
        let place = format!("{}: --writable {name}/{}", self.host, Escaped::os(sub));
        match asked.and_then(|at| self.facts.dirs[at].as_deref()) {
            Some(real) if real == workspace.join(sub) => Ok(()),
            Some(_) => Err(Failure::new(Exit::Failed, format!("{place} leads elsewhere, through a symlink"))
                .hint("name the real place: a grant does not follow symlinks")),
            None => Err(Failure::new(Exit::NoMatch, format!("{place}: no such directory"))
                .hint("make it there first")),
        }
    }
}
