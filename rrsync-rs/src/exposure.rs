//! Which directories may never be a workspace, because whoever writes (or reads) them has the account.
//!
//! A key that may write `~/.bashrc` needs no shell: the next login is its shell (bash reads that file even before the
//! forced command of another key). So a workspace is refused that is or holds the home, the toolkit's own files, or a place
//! that a session takes code from; and so is everything hidden in the home, where programs keep secrets and what they run, unless
//! the policy says `hidden = true`. A place counts although nothing is there yet, since a push can create it; and it counts where it really is:
//! every symlink on the way to it is followed, and the link itself is a place too, since a push can replace it.
//!
//! Directories are compared by device and inode, so another spelling or a bind mount is the same directory. What this
//! cannot see: a hard link to a protected file, a mount somewhere beneath the workspace, a symlink deeper in a hidden directory than
//! `LINKS_FROM` looks, places that only an environment variable names (`ZDOTDIR`, `XDG_CONFIG_HOME`, `BASH_ENV`), and, for up to an
//! hour, a mount over one of the system's own places.

mod sight;
mod system;

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use crate::escape::Escaped;
use crate::layout::Layout;
use sight::Sight;
pub use system::System;

/// A directory that may not be a workspace, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Exposure {
    /// The directory that was to be a workspace.
    pub workspace: PathBuf,
    /// How it lies to the protected place.
    pub relation: Relation,
    /// The protected place, as it is known by name; it may lie elsewhere through symlinks.
    pub place: PathBuf,
    /// What that place is.
    pub role: Role,
}

/// How a workspace lies to a protected place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is that place.
    Is,
    /// The place is inside it, or would be if it existed.
    Contains,
    /// It is inside that place.
    LiesInside,
    /// That place cannot be looked into, so nobody knows.
    Unknown,
}

/// What makes a place worth the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The home directory.
    Home,
    /// `~/.ssh`: who may log in, and the account's own keys.
    Ssh,
    /// The grants and the state of this toolkit.
    Toolkit,
    /// The directory that the toolkit's programs are run from.
    Binaries,
    /// A directory from which the account's session takes programs, or what it runs when it starts.
    Code,
    /// Something hidden in the home, or what a hidden link leads to.
    Hidden,
    /// A place from which the whole system, this account included, takes programs or decides who may log in.
    System,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Is => "is",
            Relation::Contains => "contains",
            Relation::LiesInside => "lies inside",
            Relation::Unknown => "may be linked from",
        };
        let (workspace, place) = (Escaped::os(&self.workspace), Escaped::os(&self.place));
        let why = match self.role {
            Role::Home if self.relation == Relation::Is => {
                return write!(f, "{workspace} is the home directory");
            }
            Role::Home => "the home directory",
            Role::Ssh => "which decides who may log in",
            Role::Toolkit => "where the grants and their records are kept",
            Role::Binaries => "where the gate's programs are",
            Role::Code => "from which this account's programs are run",
            Role::Hidden => "where programs keep secrets, and what they run",
            Role::System => {
                return match self.relation {
                    Relation::Is => write!(f, "{workspace} is a system directory"),
                    Relation::Contains => {
                        write!(f, "{workspace} is a system directory: it contains {place}")
                    }
                    Relation::LiesInside | Relation::Unknown => {
                        write!(f, "{workspace} {relation} {place}, a system directory")
                    }
                };
            }
        };
        match self.relation {
            Relation::Is => write!(f, "{workspace} is a place {why}"),
            Relation::Contains | Relation::LiesInside => write!(f, "{workspace} {relation} {place}, {why}"),
            Relation::Unknown => write!(f, "{workspace} {relation} {place}, which cannot be listed"),
        }
    }
}

/// How far the protection of a place reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Whatever contains it is refused: files, and the home.
    Above,
    /// What lies inside it is refused as well.
    AboveAndInside,
}

/// Refuses `workspace`, a directory with every symlink resolved, when exposing it could hand over the account that `layout`
/// describes. `binaries` are the directories that the toolkit's programs run from; with `hidden`, the owner has said that a hidden
/// directory is meant.
///
/// The answer holds for the moment: a symlink made later is seen at the next call, so the gate asks at every session. Of the system's
/// own places it remembers what was there ([`System`]).
pub fn refuse(workspace: &Path, hidden: bool, layout: &Layout, binaries: &[&Path]) -> Result<(), Exposure> {
    refuse_in(&System::default(), workspace, hidden, layout, binaries)
}

/// [`refuse`] where it is known already what is at the system's places.
pub fn refuse_in(
    system: &System,
    workspace: &Path,
    hidden: bool,
    layout: &Layout,
    binaries: &[&Path],
) -> Result<(), Exposure> {
    let sight = Sight::of(workspace, system);
    let root = Path::new("/");
    let exposed =
        |relation, place, role| Err(Exposure { workspace: workspace.to_owned(), relation, place, role });
    let check = |from: &Path, known_as: PathBuf, path: &Path, role: Role, reach: Reach| {
        sight.relation(from, path, reach).map_or(Ok(()), |relation| exposed(relation, known_as, role))
    };
    check(root, layout.home().to_owned(), layout.home(), Role::Home, Reach::Above)?;
    // Resolved once, so that the places below it need no walk through its own parents.
    let home = layout.home().canonicalize();
    let below_home = |place: &Path, role, reach| {
        let known_as = layout.home().join(place);
        match &home {
            Ok(home) => check(home, known_as, place, role, reach),
            Err(_) => check(root, known_as.clone(), &known_as, role, reach),
        }
    };
    for (role, places) in BELOW_HOME {
        for place in places.split(' ') {
            below_home(Path::new(place), *role, Reach::AboveAndInside)?;
        }
    }
    for dir in binaries {
        check(root, dir.to_path_buf(), dir, Role::Binaries, Reach::AboveAndInside)?;
    }
    let runtime = PathBuf::from(format!("/run/user/{}/systemd", nix::unistd::geteuid()));
    check(root, runtime.clone(), &runtime, Role::Code, Reach::AboveAndInside)?;
    for (place, reach) in system::places() {
        check(root, place.to_owned(), place, Role::System, reach)?;
    }
    let Ok(home) = &home else { return Ok(()) };
    for directory in LINKS_FROM {
        let entries = match home.join(directory).read_dir() {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => continue,
            Err(_) => return exposed(Relation::Unknown, layout.home().join(directory), Role::Hidden),
        };
        let at_top = directory.is_empty();
        for entry in entries {
            let Ok(entry) = entry else {
                return exposed(Relation::Unknown, layout.home().join(directory), Role::Hidden);
            };
            let name = entry.file_name();
            if at_top && !is_hidden(&name) {
                continue;
            }
            let place = Path::new(directory).join(name);
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                // Where a hidden directory is meant, so is what it leads to; but not what holds the end of a link.
                below_home(&place, Role::Hidden, if hidden { Reach::Above } else { Reach::AboveAndInside })?;
            } else if at_top
                && !hidden
                && let Some(relation) = sight.within(home, &place, entry.ino())
            {
                return exposed(relation, layout.home().join(place), Role::Hidden);
            }
        }
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Places relative to the home that no policy can expose, a blank between them: who may log in, the grants, and what a login or
/// a session runs without being asked (bash(1), fish(1), environment.d(5), systemd.unit(5), the XDG autostart specification).
/// The start-up files of other shells lie in the home itself. What has a directory in common stands together: it is looked at once.
const BELOW_HOME: &[(Role, &str)] = &[
    (Role::Ssh, ".ssh"),
    (Role::Toolkit, ".local/state/akeys .config/akeys"),
    (
        Role::Code,
        ".config/systemd .config/environment.d .config/autostart .config/fish .config/bash .config/zsh \
         .local/share/systemd .local/share/fish .local/bin bin .bin go/bin perl5 .bashrc.d .profile.d",
    ),
];

/// Directories below the home whose symlinks are places too: in the home itself the hidden ones. That is where directories of
/// dotfiles are linked from.
const LINKS_FROM: &[&str] = &[
    "",
    ".ssh",
    ".config",
    ".config/autostart",
    ".config/fish",
    ".config/systemd/user",
    ".local/bin",
    ".local/share",
    "bin",
];

/// sshd(8) "LOGIN PROCESS", bash(1) and zsh(1) "STARTUP", cron(8): an ordinary account cannot write these, root can; and
/// the kernel's own trees hold the memory of every process of the account.
const SYSTEM: &[(Reach, &str)] = &[(Reach::AboveAndInside, SYSTEM_DIRS), (Reach::Above, SYSTEM_FILES)];

const SYSTEM_DIRS: &str = "\
    /run/systemd /proc /sys /boot /dev/pts /bin /sbin /lib /lib64 \
    /usr/bin /usr/sbin /usr/lib /usr/lib64 /usr/libexec /usr/share \
    /usr/local/bin /usr/local/sbin /usr/local/lib /var/spool/cron /var/lib/dpkg \
    /etc/ssh /etc/pam.d /etc/security /etc/profile.d /etc/zsh /etc/fish /etc/systemd /etc/sudoers.d \
    /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly /etc/ld.so.conf.d \
    /etc/init.d /etc/update-motd.d /etc/apt /etc/logrotate.d /etc/dbus-1 /etc/xdg /etc/alternatives";

const SYSTEM_FILES: &str = "\
    /etc/passwd /etc/shadow /etc/group /etc/sudoers /etc/profile /etc/environment /etc/bash.bashrc \
    /etc/bashrc /etc/csh.cshrc /etc/csh.login /etc/crontab /etc/ld.so.preload /etc/ld.so.cache";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    struct Scratch {
        dir: PathBuf,
        layout: Layout,
    }

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("exposure-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(dir.join("home/u")).unwrap();
            let dir = fs::canonicalize(dir).unwrap();
            let layout = Layout::new(dir.join("home/u")).unwrap();
            Self { dir, layout }
        }

        /// Makes the directory `path` (relative to the scratch directory) and asks about it.
        fn ask(&self, path: &str) -> Result<(), Exposure> {
            let workspace = self.dir.join(path);
            fs::create_dir_all(&workspace).unwrap();
            let workspace = fs::canonicalize(workspace).unwrap();
            self.judge(&workspace)
        }

        /// What is remembered makes no difference.
        fn judge(&self, workspace: &Path) -> Result<(), Exposure> {
            let binaries = self.dir.join("opt/akeys/bin");
            let answer = refuse(workspace, false, &self.layout, &[&binaries]);
            let memory = Layout::new(self.dir.join("memory")).unwrap();
            for _ in 0..2 {
                let system = System::recalled(&memory);
                assert_eq!(refuse_in(&system, workspace, false, &self.layout, &[&binaries]), answer);
            }
            answer
        }

        fn refused(&self, path: &str) -> (Relation, Role) {
            let exposure = self.ask(path).expect_err(path);
            (exposure.relation, exposure.role)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    fn ordinary_directories_are_workspaces() {
        let scratch = Scratch::new("ordinary");
        for path in [
            "home/u/papers",
            "home/u/papers/.hidden",
            "home/u/binaries",
            "home/u2",
            "srv/data",
            "opt/akeys/bin2",
            "opt/akeys/share",
        ] {
            assert_eq!(scratch.ask(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_hands_over_the_account_is_refused() {
        use Relation::{Contains, Is, LiesInside};
        let scratch = Scratch::new("refused");
        for (path, relation, role) in [
            ("home/u", Is, Role::Home),
            ("home", Contains, Role::Home),
            ("", Contains, Role::Home),
            ("home/u/.ssh", Is, Role::Ssh),
            ("home/u/.ssh/sub/deep", LiesInside, Role::Ssh),
            ("home/u/.config", Contains, Role::Toolkit),
            ("home/u/.config/akeys", Is, Role::Toolkit),
            ("home/u/.config/akeys/grants/x", LiesInside, Role::Toolkit),
            ("home/u/.local", Contains, Role::Toolkit),
            ("home/u/.local/state", Contains, Role::Toolkit),
            ("home/u/.local/share", Contains, Role::Code),
            ("home/u/.sshx", Is, Role::Hidden),
            ("home/u/.aws", Is, Role::Hidden),
            ("home/u/.config/my-editor", LiesInside, Role::Hidden),
            ("home/u/.local/bin", Is, Role::Code),
            ("home/u/.local/bin/sub", LiesInside, Role::Code),
            ("home/u/.config/systemd/user", LiesInside, Role::Code),
            ("home/u/.config/fish/conf.d", LiesInside, Role::Code),
            ("opt/akeys/bin", Is, Role::Binaries),
            ("opt/akeys", Contains, Role::Binaries),
            ("opt/akeys/bin/sub", LiesInside, Role::Binaries),
        ] {
            assert_eq!(scratch.refused(path), (relation, role), "{path}");
        }
        for (path, relation) in
            [("/", Contains), ("/etc", Contains), ("/usr/bin", Is), ("/proc/self", LiesInside)]
        {
            let exposure = scratch.judge(Path::new(path)).expect_err(path);
            assert_eq!(exposure.relation, relation, "{path}");
        }
        for (place, _) in system::places().filter(|(place, _)| place.is_dir()) {
            let real = fs::canonicalize(place).unwrap();
            assert_eq!(scratch.judge(&real).unwrap_err().role, Role::System, "{}", place.display());
        }
    }

    #[test]
    fn a_hidden_directory_is_a_workspace_only_where_it_is_meant() {
        let scratch = Scratch::new("hidden");
        let home = scratch.layout.home();
        symlink(scratch.dir.join("cfg"), home.join(".config")).unwrap();
        symlink(".local/share/music/profile", home.join(".profile")).unwrap();
        let meant = |path: &str| {
            fs::create_dir_all(scratch.dir.join(path)).unwrap();
            refuse(&scratch.dir.join(path), true, &scratch.layout, &[]).map_err(|exposure| exposure.role)
        };
        assert_eq!(meant("home/u/.local/share/books"), Ok(()));
        assert_eq!(meant("cfg/my-editor"), Ok(()));
        for (path, role) in [
            ("home/u/.ssh/x", Role::Ssh),
            ("home/u/.local", Role::Toolkit),
            ("cfg/akeys/grants", Role::Toolkit),
            ("cfg/fish", Role::Code),
            ("home/u/.local/share/music", Role::Hidden),
        ] {
            assert_eq!(meant(path), Err(role), "{path}");
        }
    }

    #[test]
    fn a_home_that_cannot_be_listed_is_no_reason_to_believe_in_it() {
        if nix::unistd::geteuid().is_root() {
            // Root lists everything; the tests run once more without its rights.
            return;
        }
        let scratch = Scratch::new("unlisted");
        fs::create_dir_all(scratch.dir.join("srv")).unwrap();
        let home = scratch.layout.home();
        let mode = |mode| fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(mode));
        mode(0o300).unwrap();
        let answer = scratch.ask("srv");
        mode(0o700).unwrap();
        assert_eq!(answer.unwrap_err().relation, Relation::Unknown);
    }

    #[test]
    fn a_place_counts_before_it_exists() {
        let scratch = Scratch::new("absent");
        let exposure = scratch.ask("home/u/.config").unwrap_err();
        assert_eq!(exposure.place, scratch.layout.config_dir());
        assert!(!exposure.place.exists());
    }

    #[test]
    fn a_dotfiles_directory_is_where_the_start_up_file_really_is() {
        let scratch = Scratch::new("dotfiles");
        let home = scratch.layout.home().to_owned();
        fs::create_dir_all(home.join("dotfiles/shell")).unwrap();
        symlink("dotfiles/shell/bashrc", home.join(".bashrc")).unwrap();
        // Dangling: a push would create it, and the next login would run it.
        for path in ["home/u/dotfiles", "home/u/dotfiles/shell"] {
            assert_eq!(scratch.refused(path), (Relation::Contains, Role::Hidden), "{path}");
        }
        assert_eq!(scratch.ask("home/u/dotfiles/other"), Ok(()));
    }

    #[test]
    fn a_link_on_the_way_can_be_replaced_and_counts_too() {
        let scratch = Scratch::new("chain");
        let home = scratch.layout.home().to_owned();
        fs::create_dir_all(home.join("middle")).unwrap();
        fs::create_dir_all(scratch.dir.join("far")).unwrap();
        symlink("middle/profile", home.join(".profile")).unwrap();
        symlink("../../../far/profile", home.join("middle/profile")).unwrap();
        for path in ["home/u/middle", "far"] {
            assert_eq!(scratch.refused(path), (Relation::Contains, Role::Hidden), "{path}");
        }
        symlink(scratch.dir.join("cfg"), home.join(".config")).unwrap();
        assert_eq!(scratch.refused("cfg"), (Relation::Contains, Role::Toolkit));
        assert_eq!(scratch.refused("cfg/systemd/user"), (Relation::LiesInside, Role::Code));
        assert_eq!(scratch.refused("cfg/harmless"), (Relation::LiesInside, Role::Hidden));
    }

    #[test]
    fn key_files_and_binaries_behind_links_are_found() {
        let scratch = Scratch::new("links");
        let home = scratch.layout.home().to_owned();
        fs::create_dir_all(home.join(".ssh")).unwrap();
        symlink("../keys/authorized", home.join(".ssh/authorized_keys")).unwrap();
        assert_eq!(scratch.refused("home/u/keys"), (Relation::Contains, Role::Hidden));
        fs::create_dir_all(home.join(".local/bin")).unwrap();
        symlink("../../src/tool/run.sh", home.join(".local/bin/tool")).unwrap();
        assert_eq!(scratch.refused("home/u/src"), (Relation::Contains, Role::Hidden));
        fs::create_dir_all(scratch.dir.join("opt/akeys")).unwrap();
        fs::create_dir_all(scratch.dir.join("store/v1")).unwrap();
        symlink("../../store/v1", scratch.dir.join("opt/akeys/bin")).unwrap();
        assert_eq!(scratch.refused("store"), (Relation::Contains, Role::Binaries));
        assert_eq!(scratch.refused("store/v1/sub"), (Relation::LiesInside, Role::Binaries));
    }

    #[test]
    fn a_home_behind_a_symlink_is_the_same_home() {
        let scratch = Scratch::new("linked-home");
        symlink("home", scratch.dir.join("alias")).unwrap();
        let layout = Layout::new(scratch.dir.join("alias/u")).unwrap();
        fs::create_dir_all(scratch.dir.join("home/u/papers")).unwrap();
        let ask = |path: &str| refuse(&scratch.dir.join(path), false, &layout, &[]);
        assert_eq!(ask("home/u").unwrap_err().relation, Relation::Is);
        assert_eq!(ask("home").unwrap_err().relation, Relation::Contains);
        assert_eq!(ask("home/u/papers"), Ok(()));
        fs::create_dir_all(scratch.dir.join("home/u/.ssh/x")).unwrap();
        assert_eq!(ask("home/u/.ssh/x").unwrap_err().relation, Relation::LiesInside);
    }

    #[test]
    fn another_spelling_of_a_directory_is_that_directory() {
        let scratch = Scratch::new("spelling");
        let home = scratch.layout.home();
        // What a bind mount looks like to path comparison: another path, the same inode.
        let spelt = Path::new("/proc/self/root").join(home.strip_prefix("/").unwrap());
        let exposure = refuse(&spelt, false, &scratch.layout, &[]).unwrap_err();
        assert_eq!((exposure.relation, exposure.role), (Relation::Is, Role::Home));
        fs::create_dir_all(home.join(".aws/x")).unwrap();
        let inode = home.join(".aws").metadata().unwrap().ino();
        let sight = spelt.join(".aws/x");
        let relation = Sight::of(&sight, &System::default()).within(home, Path::new(".aws"), inode);
        assert_eq!(relation, Some(Relation::LiesInside));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let scratch = Scratch::new("loop");
        symlink(".bashrc", scratch.layout.home().join(".bashrc")).unwrap();
        assert_eq!(scratch.ask("home/u/papers"), Ok(()));
    }

    #[test]
    fn the_message_says_what_and_why() {
        let scratch = Scratch::new("message");
        let exposure = scratch.ask("home/u/.config").unwrap_err().to_string();
        assert!(
            exposure.ends_with("/.config/akeys, where the grants and their records are kept"),
            "{exposure}"
        );
        assert!(exposure.contains("/home/u/.config contains "), "{exposure}");
    }
}
