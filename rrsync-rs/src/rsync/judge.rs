//! The verdict on one rsync request, and the plan that carries it out.
//!
//! The judge looks at the tree (through [`crate::beneath`]) and changes nothing. What it returns names every
//! descriptor, argument and kernel rule of the session; whatever it cannot place is refused.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::RsyncFeatures;
use super::options::{Class, Given, Parsed, Role, Takes, letter};
use super::paths::{PathOption, Place, destination, locate, path_option, sources};
use super::words::Word;
use crate::confine::Rights;
use crate::grant::Access;
use crate::policy::{Exposed, Policy, Use};
use crate::rules::Rules;
use crate::verdict::{Change, Refusal};

/// Which way the files go, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The server sends (`--sender`).
    Pull,
    /// The server receives.
    Push,
}

impl Direction {
    /// The rule that allows it, for the record.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Pull => "rsync.pull",
            Self::Push => "rsync.push",
        }
    }
}

/// One argument of the command to run.
#[derive(Debug)]
pub enum Arg {
    /// Text as it stands.
    Text(OsString),
    /// A path that starts at a descriptor the child inherits: `{prefix}/proc/self/fd/{fd}{rest}`.
    Pinned {
        /// `--backup-dir=`, or empty.
        prefix: String,
        /// Inherited.
        fd: OwnedFd,
        /// The real path of `fd`, for people.
        real: PathBuf,
        /// What follows, with its leading slash, or empty.
        rest: OsString,
    },
}

/// A directory that the kernel will let the child use.
#[derive(Debug)]
pub struct Reach {
    /// Open (`O_PATH`).
    pub dir: OwnedFd,
    /// Its real path, for people.
    pub real: PathBuf,
    /// What it may be used for.
    pub rights: Rights,
}

/// Everything that running an allowed request takes.
#[derive(Debug)]
pub struct Plan {
    /// Which way.
    pub direction: Direction,
    /// The working directory.
    pub cwd: Place,
    /// A directory to make in `cwd`, and then to enter, before rsync starts: a missing destination.
    pub make: Option<OsString>,
    /// The arguments behind `rsync`.
    pub args: Vec<Arg>,
    /// What the kernel will allow.
    pub reach: Vec<Reach>,
    /// Whether what arrives is written in a directory of the session's own and moved from there: the kernel then lets nothing
    /// in the destination be read back, or changed, whatever rsync is told.
    pub staged: bool,
    /// Whether rsync looks for what it may delete, and must leave the session's own directory out.
    pub deletes: bool,
    /// Whether this may run in a mount namespace only: it follows links, and this rsync does not confine itself.
    pub isolate: bool,
    /// What is touched, as the client named it.
    pub targets: Vec<String>,
}

/// Judges a parsed request. `paths` are the words behind the dot.
pub fn judge(
    direction: Direction,
    parsed: &Parsed,
    paths: &[Word],
    policy: &Policy,
    rules: &Rules,
    features: RsyncFeatures,
) -> Result<Plan, Refusal> {
    let targets = locate(paths, policy)?;
    let changes = direction == Direction::Push || parsed.has_class(Class::DeletesSources);
    for target in &targets {
        target.exposed.kept_by_rsync(if changes { Use::Write } else { Use::Read })?;
        options_allowed(direction, parsed, target.exposed, rules)?;
    }
    let everything = targets.iter().all(|target| target.exposed.is_everything());
    let strict = targets[0].exposed;
    let mut reach = ReachSet::default();
    let (cwd, make, path_args, shown, base) = match direction {
        Direction::Pull => {
            let relative = parsed.has_letter(b'R') && !parsed.has_long("no-relative");
            let removes = parsed.has_class(Class::DeletesSources);
            let sources = sources(&targets, relative, removes, &mut reach)?;
            (sources.cwd, None, sources.args, sources.shown, None)
        }
        Direction::Push => {
            let [target] = targets.as_slice() else {
                return Err(Refusal::new("rsync.destinations", "a push has exactly one destination"));
            };
            let dry_run = parsed.has_letter(b'n');
            let found = destination(target, dry_run, &mut reach)?;
            (
                found.cwd,
                found.make,
                vec![Arg::Text(found.arg)],
                vec![target.exposed.shown(&found.at)],
                Some(found.at),
            )
        }
    };
    let adds_only = base.is_some() && !strict.workspace.overwrite;
    let returns_nothing = base.as_ref().is_some_and(|at| !strict.workspace.access_to(at).may_read());
    let dry = parsed.has_letter(b'n') || parsed.has_long("only-write-batch");
    let staged = adds_only || returns_nothing;
    if returns_nothing && dry && parsed.has_class(Class::Deletes) {
        let message = "a write-only server does not tell what it would delete";
        return Err(Refusal::new("rsync.dry-run-delete", message));
    }
    let mut verbose = false;
    let mut args = vec![Arg::Text("--server".into())];
    if direction == Direction::Pull {
        args.push(Arg::Text("--sender".into()));
    }
    for given in &parsed.options {
        match given {
            Given::Cluster { letters, protocol } => {
                // Modes of directories that exist are not for a client that may only add: new files get theirs from
                // the umask. The letter does not change the protocol.
                let mut letters: Vec<u8> =
                    letters.iter().copied().filter(|b| !(adds_only && *b == b'p')).collect();
                if returns_nothing {
                    // More than one v, and looking for similar files, tell what else is there.
                    letters.retain(|b| *b != b'y' && (*b != b'v' || !std::mem::replace(&mut verbose, true)));
                }
                if letters.is_empty() && protocol.is_none() {
                    continue;
                }
                let tail = protocol.as_ref().map(|protocol| [&b"e"[..], protocol].concat());
                args.push(dashed(b"-", &[letters.as_slice(), &tail.unwrap_or_default()].concat()));
            }
            Given::Sized(size, digits) => args.push(dashed(&[b'-', *size], digits)),
            Given::Long(row, _) if row.class == Class::Sender => {}
            Given::Long(row, _) if adds_only && LEFT_OUT_WHERE_ADDED.contains(&row.name) => {}
            Given::Long(row, _) if returns_nothing && matches!(row.name, "fuzzy" | "info") => {}
            Given::Long(row, value) => match (row.takes, value) {
                (Takes::Path(role), Some(value)) => {
                    let option =
                        PathOption { name: row.name, role, value, exposed: strict, base: base.as_deref() };
                    let arg = path_option(&option, policy, &mut reach)?;
                    // What arrives is staged elsewhere; and a copy of what may not be read is sent instead.
                    let unused =
                        staged && row.name == "temp-dir" || returns_nothing && row.name == "copy-dest";
                    args.extend(arg.filter(|_| !unused));
                }
                (Takes::Ignored(word), _) => args.push(long(row.name, Some(word.as_bytes()))),
                (_, value) => {
                    let cut = rules.limits.cut(row.name, value.as_deref()).map(String::into_bytes);
                    args.push(long(row.name, cut.as_deref().or(value.as_deref())));
                }
            },
        }
    }
    for (name, limit) in rules.limits.stated() {
        if let Some(limit) = limit.filter(|_| !parsed.has_long(name)) {
            args.push(long(name, Some(limit.to_string().as_bytes())));
        }
    }
    for forced in &rules.force {
        args.push(long(&forced.name, forced.value.as_ref().map(String::as_bytes)));
    }
    let writes = direction == Direction::Push;
    if writes && !everything {
        args.extend(without_special_files(parsed, features));
    }
    if !everything && features.confine_root && targets.iter().all(|t| std::ptr::eq(t.exposed, strict)) {
        args.push(long(
            "confine-root",
            Some(std::os::unix::ffi::OsStrExt::as_bytes(strict.root.real().as_os_str())),
        ));
    }
    if targets.iter().any(|target| target.exposed.workspace.munge) {
        args.push(Arg::Text("--munge-links".into()));
    }
    if !targets.iter().all(|target| target.exposed.workspace.overwrite) {
        args.push(Arg::Text("--ignore-existing".into()));
    }
    if adds_only {
        args.push(Arg::Text("-O".into()));
    }
    if returns_nothing {
        // Whole files only: block checksums of the destination would give its content away. Last, so it wins.
        args.push(Arg::Text("-W".into()));
    }
    args.push(Arg::Text("--".into()));
    args.push(Arg::Text(".".into()));
    args.extend(path_args);
    // Names are told to nobody, but what is not there any more at the source has to be looked for.
    let deletes = writes && parsed.has_class(Class::Deletes);
    // Directories for partial files are removed when they are empty, also by who may delete nothing else.
    let partial = parsed.has_long("partial-dir") || parsed.has_long("delay-updates");
    let remove_directories = partial && !adds_only;
    reach.widen(Rights { list: deletes, remove_directories, ..Rights::default() });
    let isolate = writes && !everything && !features.confine_root && parsed.has_class(Class::Implied);
    let staged = staged && !dry;
    Ok(Plan { direction, cwd, make, args, reach: reach.0, staged, deletes, isolate, targets: shown })
}

/// Options that a receiver does without where it only adds. Modes of directories that are there are not the client's;
/// what is new is never written in place; and a partial file under the final name could not be completed any more.
const LEFT_OUT_WHERE_ADDED: &[&str] = &["perms", "inplace", "partial"];

/// What makes a receiver leave special files out, and end with 0 all the same.
///
/// An rsync without `--drop-D` is told that it keeps no FIFOs and sockets. That desynchronises a file list before protocol
/// 31, which has a field more for each of them; so only clients are answered so that know 31. Devices have that field in
/// every version: the filter refuses those, as it refuses whatever else is special for the sake of an older client.
fn without_special_files(parsed: &Parsed, features: RsyncFeatures) -> Option<Arg> {
    if features.drop_d {
        Some(Arg::Text("--drop-D".into()))
    } else {
        let sends = parsed.has_letter(b'D') || parsed.has_long("specials");
        (sends && !parsed.has_long("no-specials") && parsed.knows_protocol_31())
            .then(|| Arg::Text("--no-specials".into()))
    }
}

fn dashed(start: &[u8], rest: &[u8]) -> Arg {
    use std::os::unix::ffi::OsStringExt as _;
    Arg::Text(OsString::from_vec([start, rest].concat()))
}

fn long(name: &str, value: Option<&[u8]>) -> Arg {
    match value {
        None => dashed(b"--", name.as_bytes()),
        Some(value) => dashed(format!("--{name}=").as_bytes(), value),
    }
}

/// Whether every option may be used with `exposed`. Options are judged in both directions: a server that disables one
/// does so whoever sends, as rrsync does; only what cannot matter to a sender is let through.
fn options_allowed(
    direction: Direction,
    parsed: &Parsed,
    exposed: &Exposed,
    rules: &Rules,
) -> Result<(), Refusal> {
    let workspace = &exposed.workspace;
    let push = direction == Direction::Push;
    // A read-only directory deletes nothing; whether this very path may be written is judged with the path.
    let may_delete = workspace.delete && (push || workspace.access.may_write());
    let refuses = |class: Class| match class {
        Class::Harmless | Class::Implied => false,
        // What is deleted can be uploaded anew, so never to overwrite is never to delete.
        Class::Deletes => !may_delete || push && !workspace.overwrite,
        Class::DeletesSources => !may_delete || !push && !workspace.overwrite,
        Class::DeletesInTheWay => push && !(may_delete && workspace.overwrite),
        Class::Replaces => !workspace.overwrite,
        Class::ReadsBack => push && !workspace.access.may_read(),
        Class::Appends => push && !(workspace.access.may_read() && workspace.overwrite),
        Class::FollowsLinks => !exposed.is_everything(),
        Class::ChangesDirectories => push && !workspace.overwrite,
        Class::Sender => push,
        Class::Never => true,
    };
    let listed =
        |list: &[String], name: &str| list.iter().any(|known| known == name || is_kind_of(name, known));
    let may_not = |name: &str, class: Class| {
        let followed = class == Class::FollowsLinks && listed(&rules.allow, name);
        listed(&rules.deny, name) || refuses(class) && !followed
    };
    for given in &parsed.options {
        let refused = match given {
            Given::Cluster { letters, .. } => letters.iter().find_map(|byte| {
                let (name, class) = letter(*byte).unwrap_or(("", Class::Never));
                may_not(name, class).then(|| (format!("-{}", char::from(*byte)), name, class))
            }),
            Given::Sized(b'B', _) => may_not("block-size", Class::ReadsBack)
                .then(|| ("-B".to_owned(), "block-size", Class::ReadsBack)),
            Given::Sized(..) => may_not("modify-window", Class::Harmless)
                .then(|| ("-@".to_owned(), "modify-window", Class::Harmless)),
            Given::Long(row, value) => {
                let log_of_a_reader =
                    row.takes == Takes::Path(Role::LogFile) && !workspace.access.may_write();
                let unlimited = row.name == "max-alloc" && is_zero(value.as_deref());
                let class = if log_of_a_reader || unlimited { Class::Never } else { row.class };
                may_not(row.name, class).then(|| (format!("--{}", row.name), row.name, class))
            }
        };
        if let Some((shown, name, class)) = refused {
            let message = format!("option {shown} is not allowed on this server");
            let change = change(name, class, exposed, listed(&rules.deny, name));
            return Err(Refusal::new("rsync.option", message).unless(change));
        }
    }
    Ok(())
}

/// Whether an option is a way of another: `delete-after` of `delete`, `old-compress` of `compress`.
fn is_kind_of(name: &str, family: &str) -> bool {
    let word = |rest: Option<&str>| rest.is_some_and(|rest| rest.starts_with('-') || rest.ends_with('-'));
    word(name.strip_prefix(family))
        || word(name.strip_suffix(family))
        || name.starts_with("remove-") && family.starts_with("remove-")
}

/// The change of the policy that would let an option through; there is none for what no policy can hold.
fn change(name: &str, class: Class, exposed: &Exposed, denied: bool) -> Option<Change> {
    let workspace = exposed.name.clone()?;
    match class {
        _ if denied => Some(Change::NotDeny(name.to_owned())),
        Class::FollowsLinks => Some(Change::Allow(name.to_owned())),
        Class::Replaces | Class::ChangesDirectories => Some(Change::Overwrite(workspace)),
        Class::Appends if !exposed.workspace.overwrite => Some(Change::Overwrite(workspace)),
        Class::Deletes | Class::DeletesSources | Class::DeletesInTheWay if !exposed.workspace.overwrite => {
            Some(Change::Overwrite(workspace))
        }
        Class::Deletes | Class::DeletesSources | Class::DeletesInTheWay if !exposed.workspace.delete => {
            Some(Change::Delete(workspace))
        }
        Class::Deletes
        | Class::DeletesSources
        | Class::DeletesInTheWay
        | Class::ReadsBack
        | Class::Appends => {
            Some(Change::Access { workspace, path: PathBuf::new(), access: Access::ReadWrite })
        }
        Class::Harmless | Class::Sender | Class::Implied | Class::Never => None,
    }
}

/// `--max-alloc=0` would lift rsync's own limit on what a peer can make it allocate.
fn is_zero(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| value.iter().all(|b| !b.is_ascii_digit() || *b == b'0'))
}

/// The kernel rules of a session while they are collected; each directory once.
#[derive(Debug, Default)]
pub struct ReachSet(Vec<Reach>);

impl ReachSet {
    /// Lets the child use everything below `dir`.
    pub fn allow(&mut self, dir: OwnedFd, real: PathBuf, rights: Rights) {
        if self.0.iter().any(|known| real.starts_with(&known.real) && known.rights.cover(rights)) {
            return;
        }
        match self.0.iter_mut().find(|known| known.real == real) {
            Some(known) => known.rights = known.rights.and(rights),
            None => self.0.push(Reach { dir, real, rights }),
        }
    }

    /// More rights to every directory that may be written.
    fn widen(&mut self, more: Rights) {
        for reach in self.0.iter_mut().filter(|reach| reach.rights.add) {
            reach.rights = reach.rights.and(more);
        }
    }
}
