//! Who is asking, and what the owner of the account said that they may have.
//!
//! The first two steps of a session: the environment is read once, and the policy (a grant, or rrsync's options) is
//! opened. Everything that goes wrong here is the server's own affair: the client learns only that it did.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::cli::{DropIn, Gate, Source};
use crate::confine::Isolation;
use crate::exposure::{self, System};
use crate::grant::{self, Confine, Grant, Tool, Workspace};
use crate::layout::Layout;
use crate::name::GrantName;
use crate::policy::{Exposed, Policy};
use crate::rules::Rules;
use crate::verdict::Refusal;

/// The three variables that sshd sets and the gate believes; nothing that `AcceptEnv` could let through.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `SSH_ORIGINAL_COMMAND`.
    pub command: Option<OsString>,
    /// The first word of `SSH_CONNECTION`, when it has the form of an address; otherwise `UNKNOWN`, as sshd says.
    pub client: String,
    /// From `HOME`.
    pub layout: Option<Layout>,
}

impl Environment {
    /// Reads them.
    pub fn read() -> Self {
        let connection = std::env::var_os("SSH_CONNECTION").unwrap_or_default();
        let address = connection.as_bytes().split(|b| *b == b' ').next().unwrap_or_default();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b".:%_-".contains(b);
        let fits = !address.is_empty() && address.len() <= 64 && address.iter().all(plain);
        let client = if fits { String::from_utf8_lossy(address).into_owned() } else { "UNKNOWN".to_owned() };
        Self { command: std::env::var_os("SSH_ORIGINAL_COMMAND"), client, layout: Layout::from_env() }
    }
}

/// What one key may do in this session.
#[derive(Debug)]
pub struct Terms {
    /// The open directories.
    pub policy: Policy,
    /// The tools that may be used.
    pub tools: Vec<Tool>,
    /// The grant, and where its account keeps things; rrsync's options have none.
    pub grant: Option<GrantName>,
    /// The places of the account.
    pub layout: Option<Layout>,
    /// Whether the record of a file has the sum of its content.
    pub record_sha256: bool,
    /// What rsync's options may do, and how much.
    pub rules: Rules,
    /// Which slots the sessions of this key take, when their number is limited.
    pub slots: Option<PathBuf>,
    /// Whether the record of a refusal says what would have allowed it.
    pub learn: bool,
    /// How much confinement there has to be.
    pub confine: Confine,
    /// Whether there has to be a mount namespace.
    pub isolation: Isolation,
    /// The rsync to run.
    pub rsync: Option<PathBuf>,
    /// A directory that only one session may use at a time.
    pub lock: Option<PathBuf>,
    /// Where the names of the workspaces can be laid out for listing; only a grant has names.
    pub listing: Option<PathBuf>,
    /// Whether an unrecorded session is refused.
    pub audit_required: bool,
    /// What is questionable, for the record.
    pub warnings: Vec<String>,
}

/// Why a session has no terms.
#[derive(Debug)]
pub struct NoTerms {
    /// What the client is told.
    pub refusal: Refusal,
    /// What the record says.
    pub detail: String,
}

impl NoTerms {
    fn new(rule: &'static str, told: &str, detail: String) -> Self {
        Self { refusal: Refusal::new(rule, told), detail }
    }
}

/// What the command line names, read and not yet opened.
#[derive(Debug)]
pub enum Named<'a> {
    /// A grant, as its file is now.
    Grant {
        /// Its name.
        name: &'a GrantName,
        /// What it says.
        grant: Box<Grant>,
        /// Where it and its records are.
        layout: &'a Layout,
    },
    /// rrsync's options.
    DropIn(&'a DropIn),
}

impl<'a> Named<'a> {
    /// Reads what the command line names.
    pub fn read(gate: &'a Gate, layout: Option<&'a Layout>) -> Result<Self, NoTerms> {
        let name = match &gate.source {
            Source::Grant(name) => name,
            Source::DropIn(options) => return Ok(Self::DropIn(options)),
        };
        let layout = layout.ok_or_else(|| {
            NoTerms::new("grant.missing", "this key's grant cannot be used", "HOME is not set".to_owned())
        })?;
        let grant = grant::load(name, layout).map_err(|error| {
            let rule = if error.is_missing() { "grant.missing" } else { "grant.invalid" };
            NoTerms::new(rule, "this key's grant cannot be used", error.to_string())
        })?;
        Ok(Self::Grant { name, grant: Box::new(grant), layout })
    }

    /// Whether a record of the session's end is asked for.
    pub fn records_end(&self) -> bool {
        matches!(self, Self::Grant { grant, .. } if grant.record_end)
    }

    /// Opens it. `system` is what is known of the system's places.
    pub fn open(self, gate: &Gate, layout: Option<&Layout>, system: &System) -> Result<Terms, NoTerms> {
        match self {
            Self::Grant { name, grant, layout } => from_grant(name, *grant, gate, layout, system),
            Self::DropIn(options) => from_options(options, gate, layout, system),
        }
    }
}

fn from_grant(
    name: &GrantName,
    grant: Grant,
    gate: &Gate,
    layout: &Layout,
    system: &System,
) -> Result<Terms, NoTerms> {
    if grant.expired(Timestamp::now()) {
        return Err(NoTerms::new("grant.expired", "this key's grant has expired", grant.summary()));
    }
    let mut exposed = Vec::new();
    let mut missing = Vec::new();
    for (workspace_name, workspace) in grant.workspaces {
        let path = workspace.path.clone();
        match Exposed::open(Some(workspace_name.clone()), workspace, false) {
            Ok(open) => {
                refuse_exposure(system, open.root.real(), open.workspace.hidden, layout).map_err(
                    |detail| {
                        let told = format!("workspace {workspace_name} may not be exposed");
                        NoTerms::new("workspace.exposure", &told, detail)
                    },
                )?;
                exposed.push(open);
            }
            // A directory that has gone, or is not mounted, takes nothing from the others.
            Err(error) => missing.push((workspace_name, format!("{}: {error}", path.display()))),
        }
    }
    if exposed.is_empty() {
        return Err(match missing.pop() {
            Some((name, detail)) => {
                NoTerms::new("workspace.missing", &format!("workspace {name} cannot be opened"), detail)
            }
            None => NoTerms::new("grant.empty", "this key's grant names no workspace", name.to_string()),
        });
    }
    let warnings =
        missing.iter().map(|(name, detail)| format!("workspace {name} is left out: {detail}")).collect();
    let missing = missing.into_iter().map(|(name, _)| name).collect();
    Ok(Terms {
        policy: Policy { exposed, missing },
        tools: grant.tools.into_iter().collect(),
        slots: grant.rules.limits.sessions.map(|_| layout.state_dir().join("sessions").join(name.as_str())),
        grant: Some(name.clone()),
        layout: Some(layout.clone()),
        record_sha256: grant.record_sha256,
        rules: grant.rules,
        learn: grant.learn,
        confine: grant.confine,
        isolation: isolation(grant.confine, grant.namespace),
        rsync: gate.rsync.clone().or(grant.rsync),
        lock: None,
        listing: Some(layout.state_dir().join("listings").join(name.as_str())),
        audit_required: true,
        warnings,
    })
}

fn from_options(
    options: &DropIn,
    gate: &Gate,
    layout: Option<&Layout>,
    system: &System,
) -> Result<Terms, NoTerms> {
    let mut workspace = Workspace::new(absolute(&options.dir), options.access);
    workspace.delete = options.delete;
    workspace.overwrite = options.overwrite;
    workspace.munge = options.munge;
    let open = Exposed::open(None, workspace, options.absolute).map_err(|error| {
        let told = "the restricted directory does not exist";
        NoTerms::new("dir.missing", told, format!("{}: {error}", options.dir.display()))
    })?;
    let mut warnings = Vec::new();
    if let Some(layout) = layout
        && let Err(detail) = refuse_exposure(system, open.root.real(), false, layout)
    {
        // rrsync takes any directory, so a drop-in does; the record says what it means.
        warnings.push(detail);
    }
    let lock = (options.lock && options.access.may_write()).then(|| open.root.real().to_owned());
    let mut rules = options.rules.clone();
    if lock.is_some() {
        // A client that has stopped must not keep everybody else out for ever.
        rules.limits.timeout.get_or_insert(LOCKED_SECONDS);
    }
    Ok(Terms {
        policy: Policy { exposed: vec![open], missing: Vec::new() },
        tools: vec![Tool::Rsync],
        grant: None,
        layout: layout.cloned(),
        record_sha256: false,
        rules,
        learn: false,
        slots: None,
        confine: options.confine,
        isolation: isolation(options.confine, options.namespace),
        rsync: gate.rsync.clone(),
        lock,
        listing: None,
        audit_required: false,
        warnings,
    })
}

/// How long a transfer that holds the lock may be without any data: a day.
const LOCKED_SECONDS: u32 = 86_400;

/// What is not to be confined is not isolated either, unless that is asked for in so many words.
fn isolation(confine: Confine, namespace: Isolation) -> Isolation {
    match (confine, namespace) {
        (Confine::Off, Isolation::Auto) => Isolation::Off,
        (_, namespace) => namespace,
    }
}

/// rrsync takes a relative DIR from where sshd starts it, the home.
fn absolute(dir: &Path) -> PathBuf {
    std::env::current_dir().map_or_else(|_| dir.to_owned(), |cwd| cwd.join(dir))
}

fn refuse_exposure(system: &System, real: &Path, hidden: bool, layout: &Layout) -> Result<(), String> {
    let program = std::env::current_exe().ok();
    let binaries: Vec<&Path> = program.as_deref().and_then(Path::parent).into_iter().collect();
    exposure::refuse_in(system, real, hidden, layout, &binaries).map_err(|exposure| exposure.to_string())
}

/// rrsync's lock: `flock(2)` on the directory itself, not waited for. Where the file system has no locks, none is held.
///
/// The descriptor is inherited by rsync, so the lock lasts exactly as long as the transfer does.
pub fn lock(directory: &Path) -> Result<Option<File>, Refusal> {
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
    let Ok(file) = File::options().read(true).custom_flags(flags).open(directory) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Refusal::new("lock.busy", "another transfer is using this directory; try again later"))
        }
        Err(std::fs::TryLockError::Error(_)) => Ok(None),
    }
}

/// One of the slots that the sessions of a limited key share: a file in `directory`, locked for as long as rsync runs.
pub fn slot(directory: &Path, sessions: u32) -> Result<File, Refusal> {
    let unusable = |error: std::io::Error| {
        Refusal::new("system.sessions", format!("sessions cannot be counted: {}", error.kind()))
    };
    crate::audit::make_private(directory).map_err(unusable)?;
    for number in 0..sessions {
        // Only to be locked: rsync inherits it, and must not be able to write anything here.
        let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = directory.join(number.to_string());
        let file = nix::fcntl::open(&path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map(File::from)
            .map_err(|errno| unusable(errno.into()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    Err(Refusal::new("limit.sessions", "this key has as many sessions as it may have; try again later"))
}

/// The same lock on the same directory by a descriptor opened in a namespace that was entered since; the old one leads
/// out of it. Another session may come between: then that one has the lock.
pub fn lock_anew(old: Option<File>, directory: Option<&Path>) -> Result<Option<File>, Refusal> {
    match (old, directory) {
        (Some(old), Some(directory)) => {
            // Closed, it could still be held: a process that was started may not have come as far as to close its copy.
            let _ = old.unlock();
            lock(directory)
        }
        (_, _) => Ok(None),
    }
}
