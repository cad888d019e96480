//! Who runs the tests. sshd lets an ordinary user log in as that user only, so every login here is to this account.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::programs::find_program;

/// The account of this process, as sshd will see it.
pub(crate) struct Account {
    /// The login name.
    pub(crate) name: String,
    /// Whether sshd must ask PAM: without it, it takes a password field that starts with `!` for a locked account.
    pub(crate) needs_pam: bool,
}

/// Whether the tests have root's rights.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Account {
    /// Looks the account up once, and prepares what sshd wants to exist when root starts it.
    #[track_caller]
    pub(crate) fn current() -> &'static Self {
        static CURRENT: OnceLock<Account> = OnceLock::new();
        CURRENT.get_or_init(|| {
            if is_root() {
                make_privilege_separation_dir();
            }
            Self::look_up()
        })
    }

    fn look_up() -> Self {
        let uid = nix::unistd::geteuid().to_string();
        let getent = |database: &str, key: &str| {
            let output = Command::new(find_program("getent")).args([database, key]).output().unwrap();
            let line = String::from_utf8(output.stdout).unwrap();
            line.trim_end().split(':').map(str::to_owned).collect::<Vec<_>>()
        };
        let entry = getent("passwd", &uid);
        let [name, _, _, _, _, _, shell] = entry.as_slice() else {
            panic!("user {uid} has no entry in the password database: sshd lets only a named account log in");
        };
        assert!(
            !shell.ends_with("/nologin") && !shell.ends_with("/false"),
            "the login shell of {name} is {shell}, which runs no command: run the tests as another user"
        );
        let password = getent("shadow", name).into_iter().nth(1).unwrap_or_default();
        Self { name: name.clone(), needs_pam: password.starts_with('!') }
    }
}

/// sshd started by root exits when this directory is missing; the service's unit file would have made it.
fn make_privilege_separation_dir() {
    let dir = Path::new("/run/sshd");
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap(),
        Err(error) => assert!(dir.is_dir(), "{}: {error}", dir.display()),
    }
}
