//! sshd's configuration, as far as it decides what a key file is worth.

use std::fs;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;

use crate::akeys::account::Account;
use crate::akeys::sshd::{Settings, key_files};
use crate::akeys::strict::quoted;

use super::catalogue::Code;
use super::finding::{At, Basket};

/// Puts what is wrong with the configuration for `account`, whose key file is `path`, into the basket. Without settings,
/// the defaults are taken to hold.
pub(super) fn judge(path: &Path, account: &Account, settings: Option<&Settings>, basket: &mut Basket) {
    if let Some(settings) = settings {
        directives(settings, basket);
    }
    let files = key_files(settings, account);
    let real: Vec<PathBuf> = files.iter().map(|file| super::real(file)).collect();
    let own = super::real(path);
    if settings.is_some() && !real.contains(&own) {
        let names: Vec<String> = files.iter().map(|file| Escaped::os(file).to_string()).collect();
        let message = || format!("sshd reads {} for this account", names.join(" and "));
        basket.put(Code::ServerNotRead, At::Server, message);
    }
    for file in files.iter().filter(|file| file.is_file() && super::real(file) != own) {
        let message = || format!("sshd also reads {}", Escaped::os(file));
        basket
            .put(Code::SecondFile, At::Path(file.clone()), message)
            .hint(format!("akeys audit --file {}", quoted(file)));
    }
    judge_unread(account, &real, basket);
}

/// The same for an account, all of whose files are looked at.
pub(super) fn judge_account(account: &Account, settings: Option<&Settings>, basket: &mut Basket) {
    if let Some(settings) = settings {
        directives(settings, basket);
    }
    let real: Vec<PathBuf> = key_files(settings, account).iter().map(|file| super::real(file)).collect();
    judge_unread(account, &real, basket);
}

fn judge_unread(account: &Account, read: &[PathBuf], basket: &mut Basket) {
    for file in unread(&account.home.join(".ssh"), read) {
        let message = || format!("sshd does not read {}", Escaped::os(&file));
        basket.put(Code::UnreadFile, At::Path(file.clone()), message).hint(format!("rm {}", quoted(&file)));
    }
}

fn directives(settings: &Settings, basket: &mut Basket) {
    if settings.is("strictmodes", "no") {
        basket.put(Code::ServerStrictModesOff, At::Server, || "StrictModes no".to_owned());
    }
    for pattern in settings.words("authorizedkeysfile") {
        let told = || format!("AuthorizedKeysFile {}", Escaped(pattern.as_bytes()));
        if pattern.starts_with('~') {
            basket.put(Code::ServerTilde, At::Server, told).hint("%h stands for the account's home");
        } else if pattern.starts_with('/') && !["%u", "%U", "%h"].iter().any(|token| pattern.contains(token))
        {
            basket.put(Code::ServerSharedFile, At::Server, told).hint("/etc/ssh/keys/%u");
        }
    }
    if let Some(revoked) =
        settings.value("revokedkeys").filter(|path| *path != "none" && !Path::new(path).exists())
    {
        let message = || format!("RevokedKeys {}: no such file", Escaped(revoked.as_bytes()));
        basket
            .put(Code::ServerRevokedMissing, At::Server, message)
            .hint(format!("touch {}", quoted(Path::new(revoked))));
    }
    if let Some(command) = settings.value("authorizedkeyscommand").filter(|command| *command != "none") {
        let message = || format!("AuthorizedKeysCommand {}", Escaped(command.as_bytes()));
        basket.put(Code::ServerKeysCommand, At::Server, message);
    }
    if let Some(value) = settings.value("permituserenvironment").filter(|value| *value != "no") {
        let message = || format!("PermitUserEnvironment {}", Escaped(value.as_bytes()));
        basket.put(Code::ServerUserEnvironment, At::Server, message);
    }
}

/// Files in `~/.ssh` that are named like key files and are none for sshd.
fn unread(ssh: &Path, read: &[PathBuf]) -> Vec<PathBuf> {
    let entries = fs::read_dir(ssh).into_iter().flatten().flatten();
    let like_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("authorized_key"))
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| like_one(path) && path.is_file() && !read.contains(&super::real(path)))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::audit::Severity;

    fn codes(text: &str, home: &Path, file: &Path) -> Vec<Code> {
        let mut basket = Basket::new(Severity::Info);
        judge(file, &Account::own(home), Some(&Settings::parse(text)), &mut basket);
        basket.sorted().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn server_codes() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        fs::create_dir(&ssh).unwrap();
        let own = ssh.join("authorized_keys");
        for name in ["authorized_keys", "authorized_keys2", "authorized_keys.bak"] {
            fs::write(ssh.join(name), "").unwrap();
        }
        let usual = "authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n";
        assert_eq!(codes(usual, home.path(), &own), [Code::SecondFile, Code::UnreadFile]);
        fs::remove_file(ssh.join("authorized_keys2")).unwrap();
        fs::remove_file(ssh.join("authorized_keys.bak")).unwrap();
        for (line, code) in [
            ("strictmodes no", Code::ServerStrictModesOff),
            ("revokedkeys /no/such/file", Code::ServerRevokedMissing),
            ("authorizedkeyscommand /usr/bin/keys", Code::ServerKeysCommand),
            ("permituserenvironment LANG*", Code::ServerUserEnvironment),
        ] {
            assert_eq!(codes(&format!("{usual}{line}\n"), home.path(), &own), [code], "{line}");
        }
        let also = |pattern: &str| format!("authorizedkeysfile .ssh/authorized_keys {pattern}\n");
        assert_eq!(codes(&also("/etc/ssh/shared"), home.path(), &own), [Code::ServerSharedFile]);
        assert_eq!(codes(&also("/etc/ssh/keys/%u"), home.path(), &own), []);
        assert_eq!(codes(&also("~/.ssh/keys"), home.path(), &own), [Code::ServerTilde]);
        let elsewhere = codes("authorizedkeysfile .ssh/keys\n", home.path(), &own);
        assert_eq!(elsewhere, [Code::UnreadFile, Code::ServerNotRead]);
    }
}
