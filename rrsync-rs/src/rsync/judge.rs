//! The verdict on one rsync request, and the plan that carries it out.
//!
//! The judge looks at the tree (through [`crate::beneath`]) and changes nothing. What it returns names every
//! descriptor, argument and kernel rule of the session; whatever it cannot place is refused.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::RsyncFeatures;
use super::options::{Class, Given, Parsed, Role, Takes, letter};
use super::paths::{PathOption, Place, Target, destination, locate, path_option, sources};
use super::words::Word;
use crate::confine::{Isolation, Rights};
use crate::grant::{Access, Names, Pattern};
use crate::policy::{Exposed, Keep, Policy};
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
    /// Which names in it are not there for this key.
    pub names: Names,
}

impl Reach {
    /// A rule for everything in it.
    pub fn new(dir: OwnedFd, real: PathBuf, rights: Rights) -> Self {
        Self { dir, real, rights, names: Names::default() }
    }
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
    /// What is in that and has to be kept apart.
    pub parts: Vec<Part>,
    /// Whether what arrives is written in a directory of the session's own and moved from there: the kernel then lets nothing
    /// in the destination be read back, or changed, whatever rsync is told.
    pub staged: bool,
    /// Whether rsync looks for what it may delete, and must leave the session's own directory out.
    pub deletes: bool,
    /// Whether it gets a mount namespace: it has to where it follows links and this rsync does not confine itself, and it does
    /// better without where it sets attributes of what it may not read.
    pub isolation: Isolation,
    /// What is touched, as the client named it.
    pub targets: Vec<String>,
}

/// What a session is judged by, beside the policy and the request.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The key's rules about options.
    pub rules: &'a Rules,
    /// What the rsync that will run understands.
    pub features: RsyncFeatures,
    /// Whether there has to be a mount namespace.
    pub isolation: Isolation,
    /// Whether the kernel confines the session, or it does not happen.
    pub confined: bool,
}

/// How a push is held, beyond where it may write. A pull is held to none of it.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// What is there may not be replaced, changed or removed.
    adds_only: bool,
    /// What is there may not be read, or named.
    blind: bool,
    /// Nothing is written at all.
    dry: bool,
    /// What the client does not have is removed.
    deletes: bool,
}

impl Held {
    /// Whether what arrives is staged.
    fn staged(self) -> bool {
        (self.adds_only || self.blind) && !self.dry
    }
}

/// Judges a parsed request. `paths` are the words behind the dot.
pub fn judge(
    direction: Direction,
    parsed: &Parsed,
    paths: &[Word],
    policy: &Policy,
    setting: Setting<'_>,
) -> Result<Plan, Refusal> {
    let targets = locate(paths, policy)?;
    for target in &targets {
        options_allowed(direction, parsed, target.exposed, setting.rules)?;
    }
    let hidden = hidden(&targets, setting)?;
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
            let found = destination(target, parsed.has_letter(b'n'), &mut reach)?;
            let shown = vec![target.exposed.shown(&found.at)];
            (found.cwd, found.make, vec![Arg::Text(found.arg)], shown, Some(found.at))
        }
    };
    let strict = targets[0].exposed;
    let held = base.as_ref().map_or_else(Held::default, |at| held(parsed, strict, at));
    if held.blind && held.dry && held.deletes {
        let message = "a write-only server does not tell what it would delete";
        return Err(Refusal::new("rsync.dry-run-delete", message));
    }
    let mut args = vec![Arg::Text("--server".into())];
    if direction == Direction::Pull {
        args.push(Arg::Text("--sender".into()));
    }
    let mut verbose = false;
    for given in &parsed.options {
        let path = |option: &PathOption<'_>| path_option(option, policy, &mut reach);
        args.extend(passed_on(given, held, setting.rules, strict, base.as_deref(), &mut verbose, path)?);
    }
    if reach.copies {
        copied_from(&mut args);
    }
    let confined_root = confined_root(&targets, &args, setting);
    let isolation = if reach.parts.is_empty() {
        let follows = base.is_some() && confined_root.is_none() && parsed.has_class(Class::Implied);
        isolation(follows && !strict.is_everything(), setting, held)?
    } else if setting.isolation == Isolation::Off || strict.is_everything() {
        // Nothing else keeps apart what one rule reaches.
        return Err(strict.mixed(base.as_deref().unwrap_or(Path::new(""))));
    } else {
        Isolation::Required
    };
    let without_proc = careful(setting, held) && isolation == Isolation::Required;
    if without_proc {
        // The attributes of a file that is written in place could not be set afterwards.
        args.retain(|arg| !matches!(arg, Arg::Text(word) if word == "--inplace"));
    }
    args.extend(added(parsed, &targets, setting, held, base.is_some(), confined_root));
    args.extend(reach.parts.iter().map(|part| left_out(part, base.is_some())));
    args.extend(hidden.iter().map(|pattern| dashed(b"--filter=exclude ", &pattern.for_rsync())));
    args.extend(["--", "."].map(|word| Arg::Text(word.into())));
    args.extend(path_args);
    // Directories for partial files are removed when they are empty, also by who may delete nothing else.
    let partial = parsed.has_long("partial-dir") || parsed.has_long("delay-updates");
    reach.widen(Rights {
        // What is not there any more at the source has to be looked for; and attributes of directories are set by who may open
        // them, when there is no other way.
        list: held.deletes || without_proc,
        remove_directories: partial && !held.adds_only,
        ..Rights::default()
    });
    let (staged, deletes) = (held.staged(), held.deletes);
    let ReachSet { rules, parts, .. } = reach;
    Ok(Plan { direction, cwd, make, args, reach: rules, parts, staged, deletes, isolation, targets: shown })
}

/// The names that are not there for this key. rsync is told to leave them out, which a client could undo; that nothing under them is
/// read is up to the kernel. All sources are told the same.
fn hidden<'a>(targets: &[Target<'a>], setting: Setting<'_>) -> Result<&'a [Pattern], Refusal> {
    let of = |target: &Target<'a>| target.exposed.workspace.files.names.hide.as_slice();
    let hidden = of(&targets[0]);
    if !targets.iter().all(|target| of(target) == hidden) {
        let message = "these workspaces hide different names: ask for one at a time";
        return Err(Refusal::new("path.mixed", message));
    }
    if !hidden.is_empty() && !setting.confined {
        let message = "rsync may only come where names are hidden when the kernel has to confine it";
        return Err(Refusal::new("access.rules", message));
    }
    Ok(hidden)
}

/// How a push to `at` is held.
fn held(parsed: &Parsed, exposed: &Exposed, at: &Path) -> Held {
    Held {
        adds_only: !exposed.workspace.overwrite,
        blind: !exposed.workspace.access_to(at).may_read(),
        dry: parsed.has_letter(b'n') || parsed.has_long("only-write-batch"),
        deletes: parsed.has_class(Class::Deletes),
    }
}

/// Whether rsync sets the attributes of what it may not read through `/proc`, so that no symlink can be in between: since 3.5.0,
/// as it confines itself since.
fn careful(setting: Setting<'_>, held: Held) -> bool {
    held.blind && setting.features.confine_root
}

/// The directory that rsync is told to confine itself to, when it can and every path of the command is in it.
fn confined_root<'a>(targets: &[Target<'a>], args: &[Arg], setting: Setting<'_>) -> Option<&'a Path> {
    let exposed = targets[0].exposed;
    let root = exposed.root.real();
    let inside = |arg: &Arg| match arg {
        Arg::Text(_) => true,
        Arg::Pinned { real, .. } => real.starts_with(root),
    };
    let one = targets.iter().all(|target| std::ptr::eq(target.exposed, exposed)) && args.iter().all(inside);
    (setting.features.confine_root && one && !exposed.is_everything()).then_some(root)
}

/// Whether the session gets a mount namespace. `follows` tells whether it follows links, and nothing else confines rsync.
fn isolation(follows: bool, setting: Setting<'_>, held: Held) -> Result<Isolation, Refusal> {
    match setting.isolation {
        Isolation::Off if follows => {
            let message =
                "option --no-implied-dirs needs a newer rsync, or a mount namespace, on this server";
            Err(Refusal::new("rsync.option", message))
        }
        _ if follows => Ok(Isolation::Required),
        // There is no /proc in a namespace.
        Isolation::Auto if careful(setting, held) => Ok(Isolation::Off),
        isolation => Ok(isolation),
    }
}

/// Options that a receiver does without where it only adds. Modes of directories that are there are not the client's;
/// what is new is never written in place; and a partial file under the final name could not be completed any more.
const LEFT_OUT_WHERE_ADDED: &[&str] = &["perms", "inplace", "partial"];

/// What becomes of one of the client's options.
fn passed_on(
    given: &Given,
    held: Held,
    rules: &Rules,
    exposed: &Exposed,
    base: Option<&Path>,
    verbose: &mut bool,
    path: impl FnOnce(&PathOption<'_>) -> Result<Option<Arg>, Refusal>,
) -> Result<Option<Arg>, Refusal> {
    Ok(match given {
        Given::Cluster { letters, protocol } => {
            // Modes of directories that exist are not for a client that may only add: new files get theirs from the umask.
            // More than one v, and looking for similar files, tell what else is there. None of these letters changes the
            // protocol.
            let mut letters = letters.clone();
            letters.retain(|letter| match letter {
                b'p' => !held.adds_only,
                b'y' => !held.blind,
                b'v' => !held.blind || !std::mem::replace(verbose, true),
                _ => true,
            });
            let tail = protocol.as_ref().map(|protocol| [&b"e"[..], protocol].concat());
            let word = [letters, tail.unwrap_or_default()].concat();
            (!word.is_empty()).then(|| dashed(b"-", &word))
        }
        Given::Sized(size, digits) => Some(dashed(&[b'-', *size], digits)),
        Given::Long(row, _) if row.class == Class::Sender => None,
        Given::Long(row, _) if held.adds_only && LEFT_OUT_WHERE_ADDED.contains(&row.name) => None,
        Given::Long(row, _) if rules.force.iter().any(|forced| forced.replaces(row.name)) => None,
        Given::Long(row, _) if held.blind && matches!(row.name, "fuzzy" | "info") => None,
        Given::Long(row, value) => match (row.takes, value) {
            (Takes::Path(role), Some(value)) => {
                let arg = path(&PathOption { name: row.name, role, value, exposed, base })?;
                // What arrives is staged elsewhere; and a copy of what may not be read is sent instead.
                let unused = held.staged() && row.name == "temp-dir" || held.blind && row.name == "copy-dest";
                arg.filter(|_| !unused)
            }
            // The charset of the server's locale, which an account has and a session has not.
            (_, Some(value)) if row.name == "iconv" && value == b"." => Some(long(row.name, Some(b"UTF-8"))),
            (Takes::Ignored(word), _) => Some(long(row.name, Some(word.as_bytes()))),
            (_, value) => {
                let cut = rules.limits.cut(row.name, value.as_deref()).map(String::into_bytes);
                Some(long(row.name, cut.as_deref().or(value.as_deref())))
            }
        },
    })
}

/// The options that the gate adds behind the client's, so that they win.
fn added(
    parsed: &Parsed,
    targets: &[Target<'_>],
    setting: Setting<'_>,
    held: Held,
    push: bool,
    confined_root: Option<&Path>,
) -> Vec<Arg> {
    let Setting { rules, features, .. } = setting;
    let text = |word: &str| Arg::Text(word.into());
    let everything = targets.iter().all(|target| target.exposed.is_everything());
    let mut args = Vec::new();
    for (name, limit) in rules.limits.stated() {
        if let Some(limit) = limit.filter(|_| !parsed.has_long(name)) {
            args.push(long(name, Some(limit.to_string().as_bytes())));
        }
    }
    for forced in rules.force.iter().filter(|forced| forced.is_for(push, parsed)) {
        args.push(long(&forced.name, forced.value.as_ref().map(String::as_bytes)));
    }
    if push && !everything {
        args.extend(without_special_files(parsed, features));
    }
    if let Some(root) = confined_root {
        args.push(long("confine-root", Some(root.as_os_str().as_bytes())));
    }
    if targets.iter().any(|target| target.exposed.workspace.munge) {
        args.push(text("--munge-links"));
    }
    if !targets.iter().all(|target| target.exposed.workspace.overwrite) {
        args.push(text("--ignore-existing"));
    }
    if held.adds_only {
        args.push(text("-O"));
    }
    if held.blind {
        // Whole files only: block checksums of the destination would give its content away. Last, so it wins.
        args.push(text("-W"));
    }
    args
}

/// Every `--link-dest` as a `--copy-dest`.
fn copied_from(args: &mut [Arg]) {
    for arg in args {
        if let Arg::Pinned { prefix, .. } = arg
            && prefix == "--link-dest="
        {
            "--copy-dest=".clone_into(prefix);
        }
    }
}

/// What makes rsync pass over a part that is kept apart: it neither sends nor deletes it. The client's filters may undo that, and
/// then find that there is nothing, or nothing to be changed.
fn left_out(part: &Part, push: bool) -> Arg {
    let path = part.real.as_os_str().as_bytes();
    // A backslash means something only where there is a wildcard: rsync(1), "PATTERN MATCHING RULES".
    let escaped: Vec<u8> = if path.iter().any(|byte| b"*?[".contains(byte)) {
        path.iter().flat_map(|b| if b"*?[\\".contains(b) { vec![b'\\', *b] } else { vec![*b] }).collect()
    } else {
        path.to_vec()
    };
    let rule: &[u8] = if push { b"protect,/ " } else { b"exclude,/ " };
    dashed(b"--filter=", &[rule, &escaped].concat())
}

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
    // File capabilities are extended attributes, and make a program as powerful as the set-user-ID bit does.
    let empowers = push && !rules.setuid && nix::unistd::geteuid().is_root();
    let may_not = |name: &str, class: Class| {
        let followed = class == Class::FollowsLinks && listed(&rules.allow, name);
        listed(&rules.deny, name) || refuses(class) && !followed || empowers && name == "xattrs"
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

/// A part of such a directory that is kept apart.
#[derive(Debug)]
pub struct Part {
    /// Open (`O_PATH`).
    pub fd: OwnedFd,
    /// Its real path.
    pub real: PathBuf,
    /// How.
    pub keep: Keep,
}

/// The kernel rules of a session while they are collected; each directory once.
#[derive(Debug, Default)]
pub struct ReachSet {
    rules: Vec<Reach>,
    parts: Vec<Part>,
    /// Whether files of a basis are copied where the client wants them linked.
    copies: bool,
}

impl ReachSet {
    /// Lets the child use everything below `dir`, but for what `names` hide.
    pub fn allow(&mut self, dir: OwnedFd, real: PathBuf, rights: Rights, names: &Names) {
        if self.rules.iter().any(|known| real.starts_with(&known.real) && known.rights.cover(rights)) {
            return;
        }
        match self.rules.iter_mut().find(|known| known.real == real) {
            Some(known) => known.rights = known.rights.and(rights),
            None => self.rules.push(Reach { dir, real, rights, names: names.clone() }),
        }
    }

    /// Keeps a part of such a directory apart.
    pub fn keep(&mut self, fd: OwnedFd, real: PathBuf, keep: Keep) {
        match self.parts.iter_mut().find(|known| known.real == real) {
            // Hidden is hidden, also from what may not change it.
            Some(known) if keep == Keep::Hidden => known.keep = keep,
            Some(_) => {}
            None => self.parts.push(Part { fd, real, keep }),
        }
    }

    /// Has the files of every basis copied: rsync knows either links or copies.
    pub fn copy_from_bases(&mut self) {
        self.copies = true;
    }

    /// More rights to every directory that may be written.
    fn widen(&mut self, more: Rights) {
        for reach in self.rules.iter_mut().filter(|reach| reach.rights.add) {
            reach.rights = reach.rights.and(more);
        }
    }
}
