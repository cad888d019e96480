//! What one installation will be: the policy, and the key line that names it.
//!
//! The user's words decide. The bundle says who asks and for which tools; its `from` and its end hold unless the user
//! says others, because they only narrow; its workspaces and its access are suggestions and grant nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::confine::Isolation;
use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure::{self, Role};
use rrsync_rs::grant::{Access, Confine, Grant, Tool, Workspace, render};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, WorkspaceName};
use rrsync_rs::rules::Rules;

use crate::akeys::bundle::{Bundle, FromList, Offer, PodKey};
use crate::akeys::cli::Install;
use crate::akeys::directory;
use crate::akeys::failures::refuse_past;
use crate::akeys::gate::{self, Gate};
use crate::akeys::shelf::Found;
use crate::akeys::sub_path::{self, BadSubPath};
use crate::authkeys::{OptionList, Unwritable, key_line};
use crate::common::exit::{Exit, Failure};
use crate::common::moment::in_words;
use crate::common::report::{Report, shown};

/// One grant, ready to be written.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name.
    pub(super) name: GrantName,
    /// What it allows.
    pub(super) grant: Grant,
    /// The policy file's text.
    pub(super) policy: String,
    /// Whose key it is.
    pub(super) key: PodKey,
    /// Earlier keys, whose place it may take.
    pub(super) replaces: Vec<PodKey>,
    /// From where.
    from: Option<FromList>,
    /// The options of its line.
    pub(super) options: OptionList,
    /// The line of `authorized_keys`, without its end.
    pub(super) line: Vec<u8>,
}

impl Plan {
    /// Works out what `args` make of `offer`. Nothing is written; notes go to `report`.
    pub(super) fn make(
        args: &Install,
        found: &Found,
        offer: &Offer,
        gate: &Gate,
        ground: &impl Ground,
        layout: &Layout,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let bundle = &found.received.bundle;
        let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error);
        let name = bundle.grant_name(offer).map_err(|error| usage(&error))?;
        let workspaces = workspaces(args, bundle, ground)?;
        let expires = args.expires.or(offer.expires);
        refuse_past(expires)?;
        let tools = args.tools.as_ref().map_or_else(|| offer.tools.clone(), |tools| tools.0.clone());
        note_differences(args, offer, &workspaces, report);
        let grant = Grant {
            federation: bundle.federation.clone(),
            pod: offer.pod.clone(),
            tools,
            expires,
            confine: Confine::default(),
            namespace: Isolation::default(),
            rsync: None,
            record_end: false,
            learn: false,
            record_sha256: false,
            rules: Rules::default(),
            workspaces,
        };
        let policy = render(&grant, layout).ok_or_else(|| {
            Failure::new(Exit::Failed, "a workspace whose path is not UTF-8 cannot be written to a policy")
        })?;
        let from = args.from.as_ref().or(offer.from.as_ref()).cloned();
        let options = options(&name, from.as_ref(), expires, gate)?;
        let line =
            key_line(&options, offer.key.key(), format!("akeys:{name}").as_bytes()).map_err(unwritable)?;
        let replaces = if found.trusted { offer.replaces.clone() } else { Vec::new() };
        Ok(Self { name, grant, policy, key: offer.key.clone(), replaces, from, options, line })
    }

    /// What the key will be able to do.
    pub(super) fn words(&self, layout: &Layout) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{} may: {}\n", self.name, in_full(&self.grant, self.from.as_ref()));
        for (name, workspace) in &self.grant.workspaces {
            let _ = writeln!(text, "  {name} is {}", shown(layout, &workspace.path));
        }
        let _ = writeln!(text, "  key {}", self.key.fingerprint());
        text
    }
}

/// `rsync; read papers; from 10.1.0.0/16; until 2027-12-31`.
fn in_full(grant: &Grant, from: Option<&FromList>) -> String {
    let may = Grant { expires: None, ..grant.clone() }.summary();
    let from = from.map_or_else(String::new, |from| format!("; from {from}"));
    let until = grant.expires.map_or_else(String::new, |end| format!("; until {}", in_words(end)));
    format!("{may}{from}{until}")
}

/// `restrict,from="…",expiry-time="…Z",command="…"`.
fn options(
    name: &GrantName,
    from: Option<&FromList>,
    expires: Option<Timestamp>,
    gate: &Gate,
) -> Result<OptionList, Failure> {
    let mut options = OptionList::restrict();
    if let Some(from) = from {
        options = options.from(from.patterns()).map_err(unwritable)?;
    }
    if let Some(end) = expires {
        options = options.expires(end).map_err(unwritable)?;
    }
    options.command(gate.command(name)?.as_bytes()).map_err(unwritable)
}

fn unwritable(error: Unwritable) -> Failure {
    Failure::new(Exit::Failed, error)
}

/// The machine on which the directories are: this one, or another that was asked.
pub(super) trait Ground {
    /// The directory that `written` means, every symlink resolved, as a policy writes it.
    fn directory(&self, written: &Path) -> Result<PathBuf, Failure>;

    /// Whether `sub`, a path in `workspace`, can have an access of its own.
    fn sub_path(&self, name: &WorkspaceName, workspace: &Path, sub: &Path) -> Result<(), Failure>;
}

/// This machine.
pub(super) struct Here<'a> {
    /// The gate that will run.
    pub(super) gate: &'a Gate,
    /// The account.
    pub(super) layout: &'a Layout,
    /// Whether a hidden directory is meant.
    pub(super) hidden: bool,
}

impl Ground for Here<'_> {
    fn directory(&self, written: &Path) -> Result<PathBuf, Failure> {
        let real = directory::resolved(written, self.layout)?;
        let binaries = [self.gate.directory(), &gate::own_directory()];
        exposure::refuse(&real, self.hidden, self.layout, &binaries).map_err(|exposure| {
            let hint = match exposure.role {
                Role::Hidden if !self.hidden => "if that directory is meant, say --hidden",
                _ => "choose a directory that holds only what the other side shall have",
            };
            Failure::new(Exit::Failed, format!("refused as a workspace: {exposure}")).hint(hint)
        })?;
        Ok(directory::as_below_home(&real, self.layout))
    }

    fn sub_path(&self, name: &WorkspaceName, workspace: &Path, sub: &Path) -> Result<(), Failure> {
        // What is missing is made later, when everything else is known to be right.
        sub_path::exists(workspace, sub).map_err(|error| sub_path_failure(name, workspace, sub, &error))?;
        Ok(())
    }
}

fn workspaces(
    args: &Install,
    bundle: &Bundle,
    ground: &impl Ground,
) -> Result<BTreeMap<WorkspaceName, Workspace>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if args.workspaces.is_empty() {
        return Err(usage("no workspace: the key could do nothing".to_owned()).hint(suggested(bundle)));
    }
    let mut workspaces = BTreeMap::new();
    for word in &args.workspaces {
        let place = ground.directory(&word.dir)?;
        let name = word.name_or(&place).map_err(|error| {
            usage(error.to_string())
                .hint(format!("give it a name: --workspace {}:NAME", Escaped::os(&word.dir)))
        })?;
        let access = match word.access {
            Some(access) if args.read_only && access != Access::ReadOnly => {
                return Err(usage(format!("workspace {name} is {access}, and --read-only was given")));
            }
            said => said.unwrap_or(Access::ReadOnly),
        };
        let workspace = Workspace { hidden: args.hidden, ..Workspace::new(place, access) };
        if workspaces.insert(name.clone(), workspace).is_some() {
            return Err(usage(format!("two workspaces are named {name}")));
        }
    }
    for sub in &args.writable {
        let Some(workspace) = workspaces.get_mut(&sub.workspace) else {
            return Err(usage(format!("--writable names {}, which no --workspace does", sub.workspace)));
        };
        if workspace.access.may_write() {
            return Err(usage(format!("workspace {} is writable already", sub.workspace)));
        }
        ground.sub_path(&sub.workspace, &workspace.path, &sub.path)?;
        workspace.paths.insert(sub.path.clone(), Access::ReadWrite);
    }
    Ok(workspaces)
}

/// Why a sub-path cannot be granted.
pub(super) fn sub_path_failure(
    name: &WorkspaceName,
    workspace: &Path,
    sub: &Path,
    error: &BadSubPath,
) -> Failure {
    let path = workspace.join(sub);
    let message = format!("--writable {name}/{}: {} {error}", Escaped::os(sub), Escaped::os(&path));
    let failure = Failure::new(Exit::Failed, message);
    match error {
        BadSubPath::Elsewhere(_) => failure.hint("name the real place: a grant does not follow symlinks"),
        _ => failure,
    }
}

/// The bundle's suggestions, as options to type. They may be pasted into a shell, so a path that means more to a shell than
/// itself is not repeated.
fn suggested(bundle: &Bundle) -> String {
    let plain = |path: &Path| {
        let text = path.to_str()?;
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@~".contains(&b)).then(|| text.to_owned())
    };
    let mut options = Vec::new();
    for (name, suggestion) in &bundle.workspaces {
        let dir = suggestion.path.as_deref().and_then(plain).unwrap_or_else(|| "DIR".to_owned());
        let access = match suggestion.access {
            Access::ReadOnly => String::new(),
            other => format!("={other}"),
        };
        options.push(format!("--workspace {dir}:{name}{access}"));
        let subs = suggestion.writable.iter().filter_map(|sub| plain(sub));
        options.extend(subs.map(|sub| format!("--writable {name}/{sub}")));
    }
    if options.is_empty() {
        "--workspace DIR[:NAME[=ACCESS]]".to_owned()
    } else {
        format!("the bundle suggests: {}", options.join(" "))
    }
}

/// Says where the grant is wider or narrower than the bundle asks, as neither may pass unnoticed.
fn note_differences(
    args: &Install,
    offer: &Offer,
    workspaces: &BTreeMap<WorkspaceName, Workspace>,
    report: &mut Report,
) {
    let more: Vec<String> =
        args.tools.iter().flat_map(|tools| tools.0.difference(&offer.tools)).map(Tool::to_string).collect();
    if !more.is_empty() {
        report.note(format_args!("the bundle does not ask for {}", more.join(", ")));
    }
    for (name, workspace) in workspaces {
        if workspace.access.may_write() && !offer.access.may_write() {
            report.note(format_args!("{name} is writable; the bundle only asks to read"));
        }
        if !workspace.access.may_write() && workspace.paths.is_empty() && offer.access.may_write() {
            report.note(format_args!("{name} is read-only; the bundle asks to write ({})", offer.access));
        }
    }
}
