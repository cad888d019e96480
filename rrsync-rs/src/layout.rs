//! Where the toolkit keeps its files: one home directory in, every path out.
//!
//! The gate trusts `HOME`, which sshd sets from the password database, and nothing else: the XDG variables could
//! be sent by a client through `AcceptEnv`, so the XDG *default* places are fixed here for all four programs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::name::{GrantName, Label, WorkspaceName};
use crate::sha256::Sum;

/// The directories of one account, all derived from its home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    home: PathBuf,
}

impl Layout {
    /// The layout below `home`, which must be absolute; `None` when it is not.
    pub fn new(home: impl Into<PathBuf>) -> Option<Self> {
        let home = home.into();
        home.is_absolute().then_some(Self { home })
    }

    /// The layout of the `HOME` that sshd, or the user's own shell, has set.
    pub fn from_env() -> Option<Self> {
        Self::new(std::env::var_os("HOME")?)
    }

    /// The home directory itself.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `~/.ssh`.
    pub fn ssh_dir(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// `~/.ssh/authorized_keys`.
    pub fn authorized_keys(&self) -> PathBuf {
        self.home.join(".ssh/authorized_keys")
    }

    /// `~/.ssh/akeys`: private keys of the pod side.
    pub fn key_dir(&self) -> PathBuf {
        self.home.join(".ssh/akeys")
    }

    /// `~/.ssh/akeys/next`: private keys that will take the place of those with the same names.
    pub fn next_key_dir(&self) -> PathBuf {
        self.home.join(".ssh/akeys/next")
    }

    /// `~/.ssh/akeys/signers`: private keys that sign bundles, one for each federation.
    pub fn signer_dir(&self) -> PathBuf {
        self.home.join(".ssh/akeys/signers")
    }

    /// `~/.ssh/akeys/FEDERATION.known_hosts`: the host keys that are pinned for a federation.
    pub fn known_hosts(&self, federation: &Label) -> PathBuf {
        self.key_dir().join(format!("{federation}.known_hosts"))
    }

    /// `~/.ssh/akeys/FEDERATION.ssh_config`: how ssh finds the way to the hosts of a federation, where that has to be said.
    pub fn ssh_config(&self, federation: &Label) -> PathBuf {
        self.key_dir().join(format!("{federation}.ssh_config"))
    }

    /// `~/.config/akeys`.
    pub fn config_dir(&self) -> PathBuf {
        self.home.join(".config/akeys")
    }

    /// `~/.config/akeys/grants`.
    pub fn grants_dir(&self) -> PathBuf {
        self.home.join(".config/akeys/grants")
    }

    /// `~/.config/akeys/grants/NAME.toml`.
    pub fn grant_file(&self, name: &GrantName) -> PathBuf {
        self.grants_dir().join(format!("{name}.toml"))
    }

    /// `~/.config/akeys/cards`: where a pod's side finds the accounts that let it in, a directory for each federation.
    pub fn cards_dir(&self) -> PathBuf {
        self.home.join(".config/akeys/cards")
    }

    /// `~/.config/akeys/cards/FEDERATION`: one file for each account, `USER@HOST.toml`.
    pub fn cards_of(&self, federation: &Label) -> PathBuf {
        self.cards_dir().join(federation.as_str())
    }

    /// `~/.config/akeys/issued`: the cards of this account, as they were given to pods.
    pub fn issued_dir(&self) -> PathBuf {
        self.home.join(".config/akeys/issued")
    }

    /// `~/.config/akeys/issued/FEDERATION.POD.toml`.
    pub fn issued_card(&self, federation: &Label, pod: &Label) -> PathBuf {
        self.issued_dir().join(format!("{federation}.{pod}.toml"))
    }

    /// `~/.config/akeys/issued/USER@HOST/FEDERATION.POD.toml`: the same of an account of another host.
    pub fn issued_card_of(&self, account: &str, federation: &Label, pod: &Label) -> PathBuf {
        self.issued_dir().join(account).join(format!("{federation}.{pod}.toml"))
    }

    /// `~/.local/state/akeys`.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join(".local/state/akeys")
    }

    /// `~/.local/state/akeys/audit.jsonl`: one JSON record per request.
    pub fn audit_file(&self) -> PathBuf {
        self.state_dir().join("audit.jsonl")
    }

    /// `~/.local/state/akeys/versions`: what clients have overwritten or removed, a store for each workspace.
    pub fn versions_dir(&self) -> PathBuf {
        self.state_dir().join("versions")
    }

    /// The store of the versions of one workspace, by the real path of its directory.
    pub fn versions_of(&self, workspace: &Path) -> PathBuf {
        self.versions_dir().join(directory_id(workspace))
    }

    /// `~/.config/akeys/watch.toml`: the workspaces that awatch watches.
    pub fn watch_file(&self) -> PathBuf {
        self.config_dir().join("watch.toml")
    }

    /// `~/.config/akeys/ignore`: what awatch passes over in every workspace.
    pub fn ignore_file(&self) -> PathBuf {
        self.config_dir().join("ignore")
    }

    /// `~/.local/state/akeys/watch`: what awatch knows, a directory for each workspace.
    pub fn watch_dir(&self) -> PathBuf {
        self.state_dir().join("watch")
    }

    /// What awatch knows of one workspace.
    pub fn watch_of(&self, workspace: &WorkspaceName) -> PathBuf {
        self.watch_dir().join(workspace.as_str())
    }

    /// How much there is in a workspace, by the real path of its directory: the count for its quota.
    pub fn usage_of(&self, workspace: &Path) -> PathBuf {
        self.state_dir().join("usage").join(directory_id(workspace))
    }

    /// What sessions have on its way in a workspace, by the real path of its directory: a journal for each of them.
    pub fn journals_of(&self, workspace: &Path) -> PathBuf {
        self.state_dir().join("uploads").join(directory_id(workspace))
    }

    /// `~/.local/state/akeys/ssh`: the sockets of the connections that are held open.
    pub fn connections_dir(&self) -> PathBuf {
        self.state_dir().join("ssh")
    }

    /// `~/.local/state/akeys/afiles.db`: the copies that this account has, and what was transferred.
    pub fn catalog(&self) -> PathBuf {
        self.state_dir().join("afiles.db")
    }

    /// `~/.config/akeys/afiles.toml`: the copies that are followed.
    pub fn follow_file(&self) -> PathBuf {
        self.config_dir().join("afiles.toml")
    }

    /// The lock of the copy in the directory `real`: whoever writes there holds it.
    pub fn copy_lock(&self, real: &Path) -> PathBuf {
        self.state_dir().join("copies").join(directory_id(real))
    }

    /// A path as people write it: `~/x` and `~` stand for the home, everything else must be absolute.
    pub fn expand(&self, written: &str) -> Option<PathBuf> {
        if written == "~" {
            return Some(self.home.clone());
        }
        if let Some(rest) = written.strip_prefix("~/") {
            return Some(self.home.join(rest.trim_start_matches('/')));
        }
        let path = PathBuf::from(written);
        path.is_absolute().then_some(path)
    }

    /// The inverse of [`Layout::expand`], for files that people read: a path below the home starts with `~/`.
    pub fn abbreviate(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from("~"),
            Ok(rest) => Path::new("~").join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// A name for what is known about the directory `real`: the plain part of its own name, so that people find it, and
/// enough of the sum of its path that no two have the same.
fn directory_id(real: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let name = real.file_name().unwrap_or_default().as_bytes().iter().copied().filter(plain);
    let name: String = name.take(48).map(char::from).collect();
    let sum = Sum::of(real.as_os_str().as_bytes()).to_string();
    format!("{name}-{}", sum.get(..16).unwrap_or(&sum))
}
