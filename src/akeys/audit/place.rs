//! The key file as a file: who can write it, where it lies, whether it can be changed at all.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use rrsync_rs::escape::Escaped;

use crate::akeys::account::Account;
use crate::akeys::source;
use crate::akeys::strict::{self, Fault, FaultKind, quoted};

use super::catalogue::Code;
use super::finding::{At, Basket};

/// Puts what is wrong with the file at `path` and the directories above it into the basket.
pub(super) fn judge(path: &Path, account: &Account, basket: &mut Basket) {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return judge_unseen(path, account, &error, basket),
    };
    for fault in strict::faults(path, &account.home, account.uid).unwrap_or_default() {
        put(&fault, &account.name, basket);
    }
    let real = super::real(path);
    let home = super::real(&account.home);
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if is_link && !real.starts_with(&home) {
        let message = || format!("{} leads to {}", Escaped::os(path), Escaped::os(&real));
        basket.put(Code::SymlinkOutside, At::File, message);
    }
    if metadata.nlink() > 1 {
        let message = || format!("the file has {} names", metadata.nlink());
        let hint = format!("find ~ -samefile {}", quoted(path));
        basket.put(Code::HardLink, At::File, message).hint(hint);
    }
    if !readable(&real, &metadata, account.uid) {
        let message = || format!("{} cannot read it", Escaped(account.name.as_bytes()));
        let mend = if metadata.uid() == account.uid {
            format!("chmod u+r {}", quoted(&real))
        } else {
            format!("chown {} {}", account.name, quoted(&real))
        };
        basket.put(Code::Unreadable, At::File, message).hint(mend);
    }
    if is_immutable(&real) {
        let message = || "the file has the flag i (immutable) or a (append only)".to_owned();
        basket.put(Code::Immutable, At::File, message).hint(format!("chattr -ia {}", quoted(&real)));
    }
    if statvfs(&real).is_ok_and(|info| info.flags().contains(FsFlags::ST_RDONLY)) {
        basket.put(Code::ReadOnlyFs, At::File, || "the file system is read-only".to_owned());
    }
    let label = xattr::get_deref(&real, "security.selinux").ok().flatten();
    if let Some(wrong) = label.as_deref().and_then(wrong_type) {
        let message = || format!("its SELinux type is {}", Escaped(wrong));
        basket.put(Code::SelinuxType, At::File, message).hint(format!("restorecon {}", quoted(&real)));
    }
}

/// Puts a file into the basket that this account cannot even look at, as sshd with its rights cannot either.
fn judge_unseen(path: &Path, account: &Account, error: &io::Error, basket: &mut Basket) {
    let link = fs::read_link(path).ok().map(|link| path.parent().map(|dir| dir.join(&link)).unwrap_or(link));
    let show = || format!("ls -l {}", quoted(path));
    if let Some(link) = &link {
        let known = link.parent().map(super::real).unwrap_or_default();
        if !known.starts_with(super::real(&account.home)) {
            let message = || format!("{} leads to {}", Escaped::os(path), Escaped::os(link));
            basket.put(Code::SymlinkOutside, At::File, message);
        }
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = || format!("{} cannot read it", Escaped(account.name.as_bytes()));
        basket.put(Code::Unreadable, At::File, message).hint(show());
    } else if link.is_some() {
        let message = || format!("{} is a symlink that leads nowhere", Escaped::os(path));
        basket.put(Code::NotAFile, At::File, message).hint(show());
    }
}

/// Puts start-up files of the login shell that others can write into the basket.
pub(super) fn judge_startup(account: &Account, basket: &mut Basket) {
    for path in account.startup_files() {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        for fault in strict::of_one(&super::real(&path), &metadata, account.uid) {
            if !matches!(fault.kind, FaultKind::OwnGroup(_)) {
                let mend = fault.mend(&account.name);
                basket.put(Code::StartupWritable, At::Path(path.clone()), || fault.to_string()).hint(mend);
            }
        }
    }
}

fn put(fault: &Fault, account: &str, basket: &mut Basket) {
    let code = match fault.kind {
        FaultKind::Owner(_) => Code::StrictOwner,
        FaultKind::NotAFile => Code::NotAFile,
        FaultKind::World | FaultKind::Shared | FaultKind::Group(_) => Code::StrictMode,
        FaultKind::OwnGroup(_) => Code::StrictDebianOnly,
        FaultKind::Acl(_) => Code::AclWrite,
    };
    basket.put(code, At::Path(fault.path.clone()), || fault.to_string()).hint(fault.mend(account));
}

/// Whether the account may read the file: by its mode, where another account asks. Its groups are not asked then: a key file is
/// for its owner.
fn readable(path: &Path, metadata: &Metadata, uid: u32) -> bool {
    if uid == nix::unistd::geteuid().as_raw() {
        let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        return !source::open(path).is_err_and(denied);
    }
    let bits = if metadata.uid() == uid { 0o400 } else { 0o044 };
    uid == 0 || metadata.mode() & bits != 0
}

fn is_immutable(path: &Path) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let Ok(file) = source::open(path) else { return false };
    let flags = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.intersects(flags))
}

/// The type in an SELinux label, `user:role:type:level`, when sshd may not read files of it.
fn wrong_type(label: &[u8]) -> Option<&[u8]> {
    let label = label.strip_suffix(b"\0").unwrap_or(label);
    let kind = label.split(|&byte| byte == b':').nth(2)?;
    (!matches!(kind, b"ssh_home_t" | b"user_home_t" | b"unlabeled_t" | b"nfs_t")).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::audit::{Severity, finding::Finding};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    struct Fixture {
        dir: tempfile::TempDir,
        account: Account,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path().join("home");
            fs::create_dir_all(home.join(".ssh")).unwrap();
            fs::write(home.join(".ssh/authorized_keys"), "").unwrap();
            let account = Account { shell: "/bin/bash".into(), ..Account::own(&home) };
            let fixture = Self { dir, account };
            fixture.mode(".", 0o755);
            fixture.mode(".ssh", 0o700);
            fixture.mode(".ssh/authorized_keys", 0o600);
            fixture
        }

        fn at(&self, name: &str) -> PathBuf {
            self.account.home.join(name)
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn codes(&self) -> Vec<Code> {
            let mut basket = Basket::new(Severity::Info);
            judge(&self.at(".ssh/authorized_keys"), &self.account, &mut basket);
            judge_startup(&self.account, &mut basket);
            basket.sorted().iter().map(|finding: &Finding| finding.code).collect()
        }
    }

    #[test]
    fn a_private_file_is_fine() {
        assert_eq!(Fixture::new().codes(), []);
    }

    #[test]
    fn strict_mode_and_startup_writable() {
        let fixture = Fixture::new();
        fixture.mode(".ssh", 0o777);
        let codes = fixture.codes();
        assert!(codes.contains(&Code::StrictMode), "{codes:?}");
        fixture.mode(".ssh", 0o700);
        fs::write(fixture.at(".bashrc"), "").unwrap();
        fixture.mode(".bashrc", 0o666);
        assert!(fixture.codes().contains(&Code::StartupWritable));
    }

    #[test]
    fn each_fault_has_its_code() {
        for (kind, code) in [
            (FaultKind::Owner("x".into()), Code::StrictOwner),
            (FaultKind::NotAFile, Code::NotAFile),
            (FaultKind::World, Code::StrictMode),
            (FaultKind::Shared, Code::StrictMode),
            (FaultKind::Group("x".into()), Code::StrictMode),
            (FaultKind::OwnGroup("x".into()), Code::StrictDebianOnly),
            (FaultKind::Acl(vec!["x".into()]), Code::AclWrite),
        ] {
            let mut basket = Basket::new(Severity::Info);
            put(&Fault { path: "/x".into(), kind }, "u", &mut basket);
            assert_eq!(basket.sorted()[0].code, code);
        }
    }

    #[test]
    fn hard_link_and_symlink_outside() {
        let fixture = Fixture::new();
        fs::hard_link(fixture.at(".ssh/authorized_keys"), fixture.at("other")).unwrap();
        assert_eq!(fixture.codes(), [Code::HardLink]);
        fs::remove_file(fixture.at(".ssh/authorized_keys")).unwrap();
        fs::rename(fixture.at("other"), fixture.dir.path().join("elsewhere")).unwrap();
        symlink(fixture.dir.path().join("elsewhere"), fixture.at(".ssh/authorized_keys")).unwrap();
        assert!(fixture.codes().contains(&Code::SymlinkOutside));
    }

    #[test]
    fn a_link_that_leads_nowhere_was_taken_for_no_file() {
        let fixture = Fixture::new();
        let file = fixture.at(".ssh/authorized_keys");
        fs::remove_file(&file).unwrap();
        assert_eq!(fixture.codes(), []);
        for (target, codes) in [
            ("nothing", &[Code::NotAFile][..]),
            ("authorized_keys", &[Code::NotAFile]),
            ("/no/such/file", &[Code::SymlinkOutside, Code::NotAFile]),
        ] {
            symlink(target, &file).unwrap();
            let mut found = fixture.codes();
            found.sort_by_key(|code| codes.iter().position(|expected| expected == code));
            assert_eq!(found, codes, "{target}");
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn unreadable_for_its_account() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let metadata = scratch.as_file().metadata().unwrap();
        assert!(readable(scratch.path(), &metadata, metadata.uid()));
        assert!(!readable(scratch.path(), &metadata, metadata.uid() + 1));
    }

    #[test]
    fn selinux_type_by_its_label() {
        assert_eq!(wrong_type(b"unconfined_u:object_r:ssh_home_t:s0\0"), None);
        assert_eq!(wrong_type(b"system_u:object_r:tmp_t:s0"), Some(&b"tmp_t"[..]));
        assert_eq!(wrong_type(b"junk"), None);
    }
}
