//! Where akeys is installed, it does the work, with the bundle on its standard input.
//!
//! A bundle whose signer is believed here is imported there first, so that what is installed can follow it later.

use std::collections::BTreeSet;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};

use super::session::{path_word, quoted};
use super::{Known, There};
use crate::akeys::bundle::Offer;
use crate::akeys::cli::Install;
use crate::akeys::federation;
use crate::akeys::shelf::Found;
use crate::card::{self, Address};
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;

impl There<'_> {
    /// Lets akeys do it there.
    pub(super) fn by_akeys(
        &self,
        akeys: &Path,
        args: &Install,
        found: &Found,
        offer: &Offer,
        layout: &Layout,
        report: &mut Report,
    ) -> Result<Known, Failure> {
        let federation = &found.received.bundle.federation;
        let akeys = quoted(&utf8(akeys)?);
        // A dry run imports nothing.
        let signed = if args.dry_run { None } else { federation::signed_text(found, layout)? };
        let install = if let Some(text) = &signed {
            let import = self.import(&akeys, text);
            format!("{import}{akeys} install --federation {federation} \"$@\" </dev/null || return\n")
        } else {
            let (end, text) = (self.end_of_text(), found.received.text.trim_end_matches('\n'));
            format!("{akeys} install --bundle - \"$@\" <<'{end}' || return\n{text}\n{end}\n")
        };
        // Behind the card there is nothing that could be taken for a part of it.
        let card = format!(
            "{akeys} federation card {federation} --pod {pod} </dev/null 2>/dev/null || :\n",
            pod = offer.pod
        );
        let card = self.tell(&self.words(args, &offer.pod)?, &install, &card, report)?;
        // Only what it says about itself is taken from its card.
        Ok(match card::parse(&card) {
            Ok(card) => Known { workspaces: card.workspaces, host_keys: card.host_keys },
            // An older akeys has no cards.
            Err(_) => Known { workspaces: named(args), host_keys: self.facts.host_keys.clone() },
        })
    }

    /// Lets akeys there take in `text`, a bundle of `federation`, and lets what is installed follow it.
    pub(super) fn update_by_akeys(
        &self,
        akeys: &Path,
        federation: &Label,
        text: &str,
        words: &[String],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let akeys = quoted(&utf8(akeys)?);
        let import = self.import(&akeys, text);
        let update = format!("{akeys} federation update {federation} \"$@\" </dev/null || return\n");
        self.tell(words, &(import + &update), "", report)?;
        Ok(())
    }

    /// The line behind a text that is written into a script; nothing that was written before is like it.
    fn end_of_text(&self) -> String {
        format!("{}-bundle", self.mark)
    }

    /// The commands that import `text` there. What that says is only of interest when it fails.
    fn import(&self, akeys: &str, text: &str) -> String {
        format!(
            "said=$({akeys} federation import - 2>&1 <<'{end}'\n{text}\n{end}\n) ||\n\
             {{ status=$?; printf '%s\\n' \"$said\" >&2; return \"$status\"; }}\n",
            end = self.end_of_text(),
            text = text.trim_end_matches('\n'),
        )
    }

    /// Runs `commands` there, reports what they say, and returns what `last` prints behind that.
    fn tell(
        &self,
        words: &[String],
        commands: &str,
        last: &str,
        report: &mut Report,
    ) -> Result<String, Failure> {
        let mark = quoted(&self.mark);
        let script = format!(
            "akeys_there() {{\n\
             cd || return\n\
             printf '\\n%s begin\\n' {mark}\n\
             printf '\\n%s begin\\n' {mark} >&2\n\
             {commands}\
             printf '%s end\\n' {mark}\n\
             printf '%s end\\n' {mark} >&2\n\
             {last}}}\n\
             akeys_there \"$@\"\n"
        );
        let ended = self.session.run(words, &script)?;
        let (said, rest) = self.answer(&ended.stdout);
        let (talk, _) = self.answer(&ended.stderr);
        if ended.code() != Some(0) {
            return Err(self.refused(&ended, &[said, talk].concat()));
        }
        for line in said {
            report.line(format_args!("{}: {line}", self.host));
        }
        report.notes.extend(talk.into_iter().map(|line| format!("{}: {line}", self.host)));
        Ok(rest.to_owned())
    }

    /// The words of the command line that are the other akeys' business.
    fn words(&self, args: &Install, pod: &Label) -> Result<Vec<String>, Failure> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.push(format!("--{name}={value}"));
        for word in &args.workspaces {
            let dir = path_word(&word.dir)?;
            let name = word.name_or(&word.dir).map_err(|error| Failure::new(Exit::Usage, error))?;
            let access = word.access.map_or_else(String::new, |access| format!("={access}"));
            option("workspace", format!("{dir}:{name}{access}"));
        }
        for sub in &args.writable {
            option("writable", format!("{}/{}", sub.workspace, utf8(&sub.path)?));
        }
        let tools = args
            .tools
            .as_ref()
            .map(|tools| tools.0.iter().map(Tool::to_string).collect::<Vec<_>>().join(","));
        let texts = [
            // What is known of the federation there may have more pods.
            ("pod", Some(pod.to_string())),
            ("tools", tools),
            ("from", args.from.as_ref().map(ToString::to_string)),
            ("expires", args.expires.map(|end| end.to_string())),
            ("gate", args.gate.as_deref().map(utf8).transpose()?),
            ("project", args.card.project.as_ref().map(ToString::to_string)),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                option(name, value);
            }
        }
        let place = self.place(args);
        option("address", Address { host: place.host, port: Some(place.port) }.to_string());
        words.extend(args.read_only.then(|| "--read-only".to_owned()));
        words.extend(args.hidden.then(|| "--hidden".to_owned()));
        words.extend(args.dry_run.then(|| "--dry-run".to_owned()));
        Ok(words)
    }
}

/// The names under which the directories are exposed, as far as the words say them.
fn named(args: &Install) -> BTreeSet<WorkspaceName> {
    args.workspaces.iter().filter_map(|word| word.name_or(&word.dir).ok()).collect()
}

fn utf8(path: &Path) -> Result<String, Failure> {
    let text =
        path.to_str().ok_or_else(|| Failure::new(Exit::Usage, format!("{}: not UTF-8", Escaped::os(path))));
    text.map(str::to_owned)
}
