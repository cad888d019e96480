//! Where the paths of an rsync request lead: each is placed beneath an exposed root, or refused.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::expand::{TooMany, braces, glob, has_wildcard};
use super::judge::{Arg, ReachSet};
use super::options::Role;
use super::words::Word;
use crate::beneath::{Held, Last, split_last};
use crate::policy::{Exposed, Policy, Use};
use crate::verdict::Refusal;

/// An open directory and its real path, for people.
#[derive(Debug)]
pub struct Place {
    /// The descriptor (`O_PATH`).
    pub fd: OwnedFd,
    /// Absolute.
    pub real: PathBuf,
}

/// A client's path: the root it belongs to, and the rest.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Whose root.
    pub(super) exposed: &'a Exposed,
    /// The path below it, wildcards still in it; no leading slash, no `./`.
    pub(super) word: Word,
    /// Whether the client wrote the workspace's name and nothing behind it.
    bare: bool,
    /// Whether the client wrote `/./`, where the names that `-R` sends begin.
    dotted: bool,
}

/// The sources of a pull.
pub(super) struct Sources {
    /// The working directory.
    pub(super) cwd: Place,
    /// One argument per source.
    pub(super) args: Vec<Arg>,
    /// The sources as the client named them.
    pub(super) shown: Vec<String>,
}

/// The destination of a push.
pub(super) struct Destination {
    /// The working directory.
    pub(super) cwd: Place,
    /// A directory to make in it and to enter.
    pub(super) make: Option<OsString>,
    /// What rsync is given.
    pub(super) arg: OsString,
    /// Where it is beneath the root.
    pub(super) at: PathBuf,
}

fn outside(shown: &str) -> Refusal {
    Refusal::new("path.outside", format!("{shown} leads outside of what this key may use"))
}

fn too_many(_: TooMany) -> Refusal {
    Refusal::new("rsync.expansion", "a pattern stands for too many paths")
}

fn shown(word: &Word) -> String {
    crate::escape::Escaped(&word.unescaped()).to_string()
}

/// Finds the root of each path of a request; no path at all stands for `.`.
pub(super) fn locate<'a>(paths: &[Word], policy: &'a Policy) -> Result<Vec<Target<'a>>, Refusal> {
    if paths.is_empty() {
        return locate(&[Word::literal(b".")], policy);
    }
    let mut targets = Vec::new();
    for word in paths {
        for word in braces(word).map_err(too_many)? {
            targets.push(target(&word, policy)?);
        }
    }
    Ok(targets)
}

/// A bare `;` or quote is for a shell, and clients put a backslash before one that belongs to a name.
fn refuse_shell_syntax(word: &Word) -> Result<(), Refusal> {
    match word.shell_syntax() {
        None => Ok(()),
        Some(byte) => {
            let message = format!("{} has a bare {:?}: no shell runs here", shown(word), char::from(byte));
            Err(Refusal::new("rsync.shell-syntax", message))
        }
    }
}

fn target<'a>(word: &Word, policy: &'a Policy) -> Result<Target<'a>, Refusal> {
    let bytes = word.unescaped();
    let dotted = bytes.windows(3).any(|three| three == b"/./");
    let mut bare = false;
    let (exposed, rest) = match policy.exposed.as_slice() {
        [only] if only.name.is_none() => (only, from_root(word, only)),
        named => {
            let word = from_home(word);
            let marked = word.marked();
            let end = marked.iter().position(|(byte, _)| *byte == b'/').unwrap_or(marked.len());
            let first: Vec<u8> = marked[..end].iter().map(|(byte, _)| *byte).collect();
            let exposed = named
                .iter()
                .find(|exposed| exposed.name.as_ref().is_some_and(|name| name.as_str().as_bytes() == first))
                .ok_or_else(|| no_such_workspace(&first, named))?;
            let rest = Word::from_marked(marked[end..].to_vec());
            bare = end == marked.len();
            (exposed, below(&rest).unwrap_or_else(|| Word::literal(b".")))
        }
    };
    refuse_dotdot(&rest, exposed)?;
    Ok(Target { exposed, word: rest, bare, dotted })
}

fn no_such_workspace(first: &[u8], named: &[Exposed]) -> Refusal {
    let names: Vec<&str> =
        named.iter().filter_map(|e| e.name.as_ref()).map(crate::name::WorkspaceName::as_str).collect();
    let message = if matches!(first, b"" | b"." | b"..") {
        format!("name a workspace: {}", names.join(", "))
    } else {
        format!(
            "there is no workspace {:?}; there are: {}",
            crate::escape::Escaped(first).to_string(),
            names.join(", ")
        )
    };
    Refusal::new("path.workspace", message)
}

/// A word without a leading `~/`, `./` or slash: a grant's workspaces are all there is at home.
fn from_home(word: &Word) -> Word {
    match word.marked() {
        [(b'~', false)] => Word::literal(b"."),
        [(b'~', false), (b'/', _), ..] => from_home(&Word::from_marked(word.marked()[2..].to_vec())),
        _ => below(word).unwrap_or_else(|| Word::literal(b".")),
    }
}

/// A word as a path from the root of a drop-in directory. With `-absolute`, the server's own spelling of that
/// directory in front is dropped, whether written with or without its symlinks.
fn from_root(word: &Word, exposed: &Exposed) -> Word {
    if exposed.absolute && word.marked().first().is_some_and(|(byte, _)| *byte == b'/') {
        let bytes = word.unescaped();
        let ends = (1..=bytes.len()).filter(|end| *end == bytes.len() || bytes[*end] == b'/');
        for end in ends {
            let start = Path::new(OsStr::from_bytes(&bytes[..end]));
            let same = |dir: &Path| start.components().eq(dir.components());
            if same(exposed.root.real()) || same(&exposed.workspace.path) {
                let rest = Word::from_marked(word.marked()[end..].to_vec());
                let directory = rest.marked().is_empty();
                return below(&rest).unwrap_or_else(|| Word::literal(if directory { b"." } else { b"./" }));
            }
        }
    }
    let slash = word.marked().last().is_some_and(|(byte, _)| *byte == b'/');
    below(word).unwrap_or_else(|| Word::literal(if slash { b"./" } else { b"." }))
}

/// A word without leading slashes and `./`; `None` when nothing is left.
fn below(word: &Word) -> Option<Word> {
    let mut marked = word.marked();
    loop {
        marked = match marked {
            [] | [(b'.', _)] => return None,
            [(b'/', _), rest @ ..] | [(b'.', _), (b'/', _), rest @ ..] => rest,
            rest => return Some(Word::from_marked(rest.to_vec())),
        }
    }
}

/// `..` in a path is refused outright, as rrsync does: a client can always say the same from the root.
fn refuse_dotdot(word: &Word, exposed: &Exposed) -> Result<(), Refusal> {
    let bytes = word.unescaped();
    if !exposed.is_everything() && bytes.split(|b| *b == b'/').any(|part| part == b"..") {
        let message = format!("{} has \"..\" in it; write the path from the root instead", shown(word));
        return Err(Refusal::new("path.dotdot", message));
    }
    Ok(())
}

/// Opens the uniform directory around `at` for the kernel's rules.
fn allow(exposed: &Exposed, at: &Path, wanted: Use, reach: &mut ReachSet) -> Result<(), Refusal> {
    let scope = exposed.scope(at, wanted)?;
    let missing = |_| {
        let message =
            format!("{} does not exist, and its surroundings may not be written", exposed.shown(at));
        Refusal::new("path.missing", message)
    };
    let held = exposed.root.hold(&scope, Last::Follow).map_err(missing)?;
    let real = exposed.root.real().join(&held.at);
    reach.allow(held.fd, real, wanted == Use::Write);
    Ok(())
}

/// Places the sources of a pull. A source that is missing or unreadable is left for rsync to report, as a plain server
/// does; one that leads outside is refused.
pub(super) fn sources(
    targets: &[Target<'_>],
    relative: bool,
    removes: bool,
    reach: &mut ReachSet,
) -> Result<Sources, Refusal> {
    let mut found: Vec<(&Exposed, PathBuf)> = Vec::new();
    for target in targets {
        let paths = if has_wildcard(&target.word) {
            glob(&target.exposed.root, &target.word).map_err(too_many)?.0
        } else {
            Vec::new()
        };
        if paths.is_empty() {
            let path = PathBuf::from(target.word.to_os());
            // Clients before 3.2.4 escape nothing, so a name that is there is meant as it stands.
            if target.exposed.root.hold(&path, Last::Keep).is_err() {
                refuse_shell_syntax(&target.word)?;
            }
            found.push((target.exposed, path));
        }
        found.extend(paths.into_iter().map(|path| (target.exposed, path)));
    }
    let mut directories: Vec<Option<Place>> = Vec::new();
    let mut shown = Vec::new();
    for (exposed, path) in &found {
        let (at, directory) = source(exposed, path)?;
        allow(exposed, &at, Use::Read, reach)?;
        if removes {
            allow(exposed, &at, Use::Write, reach)?;
        }
        shown.push(exposed.shown(path));
        directories
            .push(directory.map(|held| Place { real: exposed.root.real().join(&held.at), fd: held.fd }));
    }
    if targets
        .iter()
        .any(|target| target.exposed.name.is_some() && !target.dotted && (relative || target.bare))
    {
        return named_sources(&found, shown);
    }
    let one_root = found.iter().all(|(exposed, _)| std::ptr::eq(*exposed, found[0].0));
    if one_root && !relative && same_directory(&directories) {
        // Every source lies in one directory: that directory, held open, is where rsync works, and each source is a
        // bare name in it. Nothing above it can be exchanged any more.
        let args = found.iter().map(|(_, path)| Arg::Text(bare_name(path))).collect();
        let cwd = directories.swap_remove(0).ok_or_else(|| outside("the source"))?;
        return Ok(Sources { cwd, args, shown });
    }
    let held = |exposed: &Exposed| {
        exposed.root.try_clone().map_err(|error| Refusal::new("system.descriptor", error.to_string()))
    };
    let root = held(found[0].0)?;
    let cwd = Place { real: root.real().to_owned(), fd: root.dir().try_clone().map_err(descriptor)? };
    if one_root {
        let args = found.iter().map(|(_, path)| Arg::Text(path.clone().into_os_string())).collect();
        return Ok(Sources { cwd, args, shown });
    }
    let mut args = Vec::new();
    for (exposed, path) in &found {
        let root = held(exposed)?;
        // With -R, names in the file list start behind `/./`.
        let mut rest = OsString::from(if relative { "/./" } else { "/" });
        rest.push(path);
        let fd = root.dir().try_clone().map_err(descriptor)?;
        args.push(Arg::Pinned { prefix: String::new(), fd, real: root.real().to_owned(), rest });
    }
    Ok(Sources { cwd, args, shown })
}

/// Sources that have to be sent under their workspace's name, as `host:papers` and `-R host:papers/fig` have: rsync then
/// works in the directory that holds the workspace, and the client refuses any other name. Every workspace must lie in
/// that one directory, under the name by which it is exposed.
fn named_sources(found: &[(&Exposed, PathBuf)], shown: Vec<String>) -> Result<Sources, Refusal> {
    let above = found[0].0.root.real().parent().unwrap_or(Path::new("/")).to_owned();
    let mut args = Vec::new();
    for (exposed, path) in found {
        let name = exposed.name.as_ref().map(crate::name::WorkspaceName::as_str).unwrap_or_default();
        if exposed.root.real() != above.join(name) {
            let message = format!("{name} is another directory's name here: write {name}/ or {name}/./PATH");
            return Err(Refusal::new("path.alias", message));
        }
        let mut arg = OsString::from(name);
        if path.as_os_str() != "." {
            arg.push("/");
            arg.push(path);
        }
        args.push(Arg::Text(arg));
    }
    let fd = found[0].0.root.parent().map_err(descriptor)?;
    Ok(Sources { cwd: Place { fd, real: above }, args, shown })
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn descriptor(error: std::io::Error) -> Refusal {
    Refusal::new("system.descriptor", error.to_string())
}

fn same_directory(directories: &[Option<Place>]) -> bool {
    let first = directories.first().and_then(Option::as_ref);
    first.is_some_and(|first| directories.iter().all(|d| d.as_ref().is_some_and(|d| d.real == first.real)))
}

/// Whether a path names what is *in* a directory: it ends with a slash or `/.`, or is the root itself.
fn names_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.is_empty() || bytes == b"." || bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

/// What a source is called in its directory.
fn bare_name(path: &Path) -> OsString {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        OsString::from("./")
    } else if names_content(path) {
        OsString::from(".")
    } else {
        path.file_name().unwrap_or(OsStr::new(".")).to_owned()
    }
}

/// Where a source is (or would be), and the open directory that `bare_name` is relative to, if it could be opened.
fn source(exposed: &Exposed, path: &Path) -> Result<(PathBuf, Option<Held>), Refusal> {
    let refused = || outside(&exposed.shown(path));
    if names_content(path) {
        return match exposed.root.hold(path, Last::Follow) {
            Ok(held) if held.is_dir() => Ok((held.at.clone(), Some(held))),
            Ok(held) => Ok((held.at, None)),
            Err(Errno::EXDEV) => Err(refused()),
            Err(_) => Ok((lexical(path), None)),
        };
    }
    let (parent, name) = split_last(path);
    let Some(name) = name else {
        // Ends in `..`, which only the root `/` gets this far with.
        return Ok((lexical(path), None));
    };
    match exposed.root.hold(&parent, Last::Follow) {
        Ok(held) => {
            // A symlink is sent as a symlink, wherever it points; only what it is called can lead anywhere.
            let at = held.at.join(name);
            Ok((at, held.is_dir().then_some(held)))
        }
        Err(Errno::EXDEV) => Err(refused()),
        Err(_) => Ok((lexical(path), None)),
    }
}

/// A path without `.` and empty components; `..` removes the one before it.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// Places the one destination of a push.
pub(super) fn destination(
    target: &Target<'_>,
    dry_run: bool,
    reach: &mut ReachSet,
) -> Result<Destination, Refusal> {
    let exposed = target.exposed;
    refuse_shell_syntax(&target.word)?;
    let mut path = PathBuf::from(target.word.to_os());
    if has_wildcard(&target.word) {
        let (mut matched, leads_outside) = glob(&exposed.root, &target.word).map_err(too_many)?;
        if leads_outside {
            return Err(outside(&exposed.shown(&path)));
        }
        if matched.len() > 1 {
            return Err(Refusal::new("rsync.destinations", "a push has exactly one destination"));
        }
        path = matched.pop().unwrap_or(path);
    }
    let refused = || outside(&exposed.shown(&path));
    let place = |held: Held| Place { real: exposed.root.real().join(&held.at), fd: held.fd };
    match exposed.root.hold(&path, Last::Follow) {
        Ok(held) if held.is_dir() => {
            let at = held.at.clone();
            allow(exposed, &at, Use::Write, reach)?;
            return Ok(Destination { cwd: place(held), make: None, arg: ".".into(), at });
        }
        Err(Errno::EXDEV) => return Err(refused()),
        Err(errno @ (Errno::ELOOP | Errno::ENAMETOOLONG)) => {
            let message = format!("{} cannot be opened: {}", exposed.shown(&path), errno.desc());
            return Err(Refusal::new("path.open", message));
        }
        Ok(_) | Err(_) => {}
    }
    // A file, or something that does not exist yet: work in the deepest directory that does.
    let (held, rest) = deepest(exposed, &path).map_err(|errno| match errno {
        Errno::EXDEV => refused(),
        _ => Refusal::new("path.open", format!("{} cannot be opened", exposed.shown(&path))),
    })?;
    let at = held.at.join(lexical(&rest));
    allow(exposed, &at, Use::Write, reach)?;
    let trailing = path.as_os_str().as_bytes().ends_with(b"/");
    let single = rest.components().count() == 1;
    if trailing && single && !dry_run {
        // rsync would make this directory by name. Made and entered here, it cannot be exchanged for a link between.
        let name = rest.file_name().unwrap_or_default().to_owned();
        return Ok(Destination { cwd: place(held), make: Some(name), arg: ".".into(), at });
    }
    let mut arg = rest.into_os_string();
    if trailing {
        arg.push("/");
    }
    Ok(Destination { cwd: place(held), make: None, arg, at })
}

/// The deepest directory on the way along `path` that exists, and the rest of the path.
fn deepest(exposed: &Exposed, path: &Path) -> Result<(Held, PathBuf), Errno> {
    let mut rest = PathBuf::new();
    let mut left = lexical(path);
    loop {
        let name = left.file_name().unwrap_or_default().to_owned();
        left.pop();
        rest = if rest.as_os_str().is_empty() { PathBuf::from(&name) } else { Path::new(&name).join(&rest) };
        match exposed.root.hold(&left, Last::Follow) {
            Ok(held) if held.is_dir() => return Ok((held, rest)),
            Ok(_) => return Err(Errno::ENOTDIR),
            Err(Errno::ENOENT) if !left.as_os_str().is_empty() => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A path option of a request.
pub(super) struct PathOption<'a> {
    /// Its name, without dashes.
    pub(super) name: &'a str,
    /// What it is for.
    pub(super) role: Role,
    /// Its value.
    pub(super) value: &'a [u8],
    /// The root that relative values belong to.
    pub(super) exposed: &'a Exposed,
    /// The destination beneath it; `None` on a pull.
    pub(super) base: Option<&'a Path>,
}

/// The argument for a path option; nothing when a sender would never look at it.
///
/// A receiver's directories are relative to the destination, as rsync has it; a basis that is not there is looked for
/// where rrsync looked, in the root. Files that a server opens first of all are relative to the root. Whatever rsync
/// would look up, and whatever rrsync would have, must not lead outside.
pub(super) fn path_option(
    option: &PathOption<'_>,
    policy: &Policy,
    reach: &mut ReachSet,
) -> Result<Option<Arg>, Refusal> {
    let PathOption { name, role, value, base, .. } = *option;
    let prefix = format!("--{name}=");
    if value.is_empty() || role == Role::FilesFrom && value == b"-" {
        // An empty value is rsync's own way to switch an option off.
        return Ok(Some(Arg::Text(OsString::from_vec([prefix.as_bytes(), value].concat()))));
    }
    let anchored = value.starts_with(b"/");
    let Target { exposed, word, .. } = option_target(option, policy)?;
    let path = PathBuf::from(word.to_os());
    let opened_first = matches!(role, Role::FilesFrom | Role::LogFile);
    let climbs = climbs(name, &path, base.is_some() && !anchored && !opened_first, exposed)?;
    if base.is_none() && !opened_first {
        return Ok(None);
    }
    let from_base = base.filter(|_| !anchored && !opened_first).map(|base| lexical(&base.join(&path)));
    let first = from_base.as_deref().map(|path| hold_option(name, exposed, path)).transpose()?;
    let second = if climbs { None } else { Some(hold_option(name, exposed, &lexical(&path))?) };
    let (held, rest) = match (first, second) {
        (Some(first), Some(second)) if role == Role::Basis && !first.exists() && second.exists() => second,
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) => return Err(missing(name)),
    }
    .into_parts();
    let exists = rest.as_os_str().is_empty();
    if !exists && (climbs || role == Role::TempDir) {
        return Err(missing(name));
    }
    let at = held.at.join(&rest);
    match role {
        Role::FilesFrom if !exposed.workspace.access_to(&at).may_read() => {
            return Err(Refusal::new("rsync.files-from", "a write-only server cannot read a list of files"));
        }
        // A receiver may compare with what it may write. A basis that is not there costs nothing.
        Role::Basis if exists && !exposed.workspace.access_to(&at).may_read() => {
            allow(exposed, &at, Use::Write, reach)?;
        }
        Role::Basis | Role::FilesFrom if exists => allow(exposed, &at, Use::Read, reach)?,
        Role::Basis | Role::FilesFrom => {}
        Role::BackupDir | Role::PartialDir | Role::TempDir | Role::LogFile => {
            allow(exposed, &at, Use::Write, reach)?;
        }
    }
    if role == Role::PartialDir && !anchored && !climbs {
        // A relative one stands for a directory of that name beside each file, not for one place.
        return Ok(Some(Arg::Text(OsString::from_vec([prefix.as_bytes(), value].concat()))));
    }
    pinned(prefix, exposed, held, &rest).map(Some)
}

fn missing(option: &str) -> Refusal {
    Refusal::new("path.missing", format!("what --{option} names does not exist"))
}

/// Whose root an option's value belongs to: with a leading slash, a path like a transfer's.
fn option_target<'a>(option: &PathOption<'a>, policy: &'a Policy) -> Result<Target<'a>, Refusal> {
    let word = Word::literal(option.value);
    if !option.value.starts_with(b"/") {
        Ok(Target { exposed: option.exposed, word, bare: false, dotted: false })
    } else if option.exposed.name.is_some() {
        target(&word, policy)
    } else {
        let word = from_root(&word, option.exposed);
        Ok(Target { exposed: option.exposed, word, bare: false, dotted: false })
    }
}

/// The argument that starts at an open directory. A file is pinned by its directory: rsync may open it anew or replace
/// it, and would have nothing to replace in a descriptor.
fn pinned(prefix: String, exposed: &Exposed, held: Held, rest: &Path) -> Result<Arg, Refusal> {
    let mut tail = OsString::new();
    let mut add = |name: &OsStr| {
        tail.push("/");
        tail.push(name);
    };
    let directory = if held.is_dir() {
        if !rest.as_os_str().is_empty() {
            add(rest.as_os_str());
        }
        held
    } else {
        let (parent, name) = split_last(&held.at);
        add(&name.unwrap_or_default());
        exposed.root.hold(&parent, Last::Follow).map_err(|_| outside(&exposed.shown(&held.at)))?
    };
    let real = exposed.root.real().join(&directory.at);
    Ok(Arg::Pinned { prefix, fd: directory.fd, real, rest: tail })
}

/// Whether an option's path climbs with leading `..`, which a receiver's may do from its destination; any other `..` is
/// refused.
fn climbs(option: &str, path: &Path, may_climb: bool, exposed: &Exposed) -> Result<bool, Refusal> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let leading = parts.iter().take_while(|part| **part == Component::ParentDir).count();
    let total = parts.iter().filter(|part| **part == Component::ParentDir).count();
    let climbs = may_climb && leading > 0 && leading == total && parts.len() > leading;
    if total > 0 && !climbs && !exposed.is_everything() {
        let message = format!("--{option} has \"..\" in it; write the path from the root instead");
        return Err(Refusal::new("path.dotdot", message));
    }
    Ok(climbs)
}

/// An option's path as far as it exists: what is open, and the rest.
struct Found {
    held: Held,
    rest: PathBuf,
}

impl Found {
    fn exists(&self) -> bool {
        self.rest.as_os_str().is_empty()
    }

    fn into_parts(self) -> (Held, PathBuf) {
        (self.held, self.rest)
    }
}

/// Holds an option's path, or the deepest directory on the way to it and the rest.
fn hold_option(option: &str, exposed: &Exposed, path: &Path) -> Result<Found, Refusal> {
    let refusal = |errno: Errno| match errno {
        Errno::EXDEV => outside(&format!("--{option}")),
        errno => Refusal::new("path.open", format!("--{option} cannot be opened: {}", errno.desc())),
    };
    match exposed.root.hold(path, Last::Follow) {
        Ok(held) => Ok(Found { held, rest: PathBuf::new() }),
        Err(Errno::ENOENT) => {
            deepest(exposed, path).map(|(held, rest)| Found { held, rest }).map_err(refusal)
        }
        Err(errno) => Err(refusal(errno)),
    }
}
