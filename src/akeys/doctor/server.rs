//! sshd: whether it is there, and whether its configuration lets keys of this account work.

use rrsync_rs::escape::Escaped;

use super::check::Check;
use crate::akeys::account::Account;
use crate::akeys::names::{self, Standing};
use crate::akeys::sshd::{self, Settings, key_files};

/// The checks of the server.
pub(super) fn checks(account: &Account) -> Vec<Check> {
    let Some(program) = sshd::installed() else {
        return vec![Check::fail("sshd", "no sshd is installed").mend("apt install openssh-server")];
    };
    let version = sshd::version(program).unwrap_or_default();
    let mut checks =
        vec![Check::pass("sshd", format!("{} is {}", Escaped::os(program), Escaped(version.as_bytes())))];
    match Settings::ask(&account.name) {
        Ok(settings) => {
            checks.extend(directives(&settings, account));
            let standing = Standing::of(&account.name, names::today());
            checks.extend(open(&settings, account, standing));
        }
        Err(error) => {
            checks.push(
                Check::warn("sshd-config", error.to_string())
                    .mend(format!("sudo sshd -T -C user={}", account.name)),
            );
        }
    }
    checks
}

fn directives(settings: &Settings, account: &Account) -> Vec<Check> {
    let set = |name: &str| settings.value(name).is_some_and(|value| value != "none");
    let value = |name: &str| Escaped(settings.value(name).unwrap_or_default().as_bytes()).to_string();
    let mut checks = Vec::new();
    if settings.is("pubkeyauthentication", "no") {
        let fail = Check::fail("sshd-config", "PubkeyAuthentication no: no key works");
        checks.push(fail.mend("PubkeyAuthentication yes   # sshd_config"));
    }
    let own = account.home.join(".ssh/authorized_keys");
    if !key_files(Some(settings), account).contains(&own) {
        let message = format!(
            "AuthorizedKeysFile {}: sshd does not read ~/.ssh/authorized_keys",
            value("authorizedkeysfile")
        );
        checks.push(
            Check::fail("sshd-config", message)
                .mend("AuthorizedKeysFile .ssh/authorized_keys   # sshd_config"),
        );
    }
    if settings.is("strictmodes", "no") {
        let warn = Check::warn("sshd-config", "StrictModes no: sshd reads key files that others can write");
        checks.push(warn.mend("StrictModes yes   # sshd_config"));
    }
    if set("forcecommand") {
        let message =
            format!("ForceCommand {} runs in place of every key's own command", value("forcecommand"));
        checks.push(Check::fail("sshd-config", message));
    }
    if settings.value("permituserenvironment").is_some_and(|value| value != "no") {
        let warn = Check::warn(
            "sshd-config",
            "PermitUserEnvironment lets key lines and ~/.ssh/environment set variables",
        );
        checks.push(warn.mend("PermitUserEnvironment no   # sshd_config"));
    }
    if settings
        .value("revokedkeys")
        .is_some_and(|path| path != "none" && !std::path::Path::new(path).exists())
    {
        let message = format!("RevokedKeys {} is missing: sshd refuses every key", value("revokedkeys"));
        checks.push(Check::fail("sshd-config", message).mend(format!("sudo touch {}", value("revokedkeys"))));
    }
    for (list, names) in
        [("allowusers", true), ("denyusers", true), ("allowgroups", false), ("denygroups", false)]
    {
        let listed =
            settings.words(list).iter().any(|word| word.split('@').next() == Some(account.name.as_str()));
        match (list.starts_with("allow"), set(list), names && listed) {
            (true, true, false) => checks.push(Check::warn(
                "sshd-config",
                format!(
                    "only {} {} may log in; see that this account is among them",
                    list.trim_start_matches("allow"),
                    value(list)
                ),
            )),
            (false, true, true) => {
                checks.push(Check::fail("sshd-config", format!("DenyUsers names {}", account.name)));
            }
            _ => {}
        }
    }
    if checks.is_empty() {
        checks.push(Check::pass(
            "sshd-config",
            "sshd reads this account's keys and nothing stands in their way",
        ));
    }
    checks
}

/// Whether sshd takes the account for one that is closed (`allowed_user` in auth.c). With `UsePAM` yes it leaves locked passwords to
/// PAM, which asks for none where a key was shown.
fn open(settings: &Settings, account: &Account, standing: Standing) -> Option<Check> {
    let name = &account.name;
    let by_sshd = settings.is("usepam", "no");
    Some(match standing {
        Standing::Expired => {
            Check::fail("account", "this account has expired: sshd lets nobody in").mend(format!("sudo chage -E -1 {name}"))
        }
        Standing::Locked if by_sshd => {
            Check::fail("account", "UsePAM no, and the password of this account is locked: sshd lets nobody in")
                .mend(format!("sudo usermod -p '*' {name}   # no password fits, and it is not locked"))
        }
        // passwd -S does not tell ! from *.
        Standing::Unknown if by_sshd => Check::warn(
            "account",
            "UsePAM no: sshd lets nobody in to an account whose password is locked (! in shadow(5)), and only root can see that",
        )
        .mend(format!("sudo grep '^{name}:!' /etc/shadow && sudo usermod -p '*' {name}")),
        Standing::Open => Check::pass("account", "the account is neither locked nor over"),
        Standing::Locked | Standing::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::doctor::check::State;

    #[test]
    fn an_account_that_sshd_takes_for_locked() {
        let account =
            Account { name: "u".into(), uid: 1000, shell: "/bin/sh".into(), home: "/home/u".into() };
        for (pam, standing, state) in [
            ("yes", Standing::Open, Some(State::Pass)),
            ("yes", Standing::Locked, None),
            ("yes", Standing::Unknown, None),
            ("yes", Standing::Expired, Some(State::Fail)),
            ("no", Standing::Open, Some(State::Pass)),
            ("no", Standing::Locked, Some(State::Fail)),
            ("no", Standing::Unknown, Some(State::Warn)),
            ("no", Standing::Expired, Some(State::Fail)),
        ] {
            let check = open(&Settings::parse(&format!("usepam {pam}")), &account, standing);
            assert_eq!(check.as_ref().map(|check| check.state), state, "{pam} {standing:?}");
            assert_eq!(
                check.is_some_and(|check| check.mend.is_some()),
                state.is_some_and(|state| state != State::Pass),
                "{pam} {standing:?}"
            );
        }
    }

    #[test]
    fn directives_that_stand_in_the_way() {
        let account =
            Account { name: "u".into(), uid: 1000, shell: "/bin/sh".into(), home: "/home/u".into() };
        for (line, state) in [
            ("", State::Pass),
            ("pubkeyauthentication no", State::Fail),
            ("authorizedkeysfile /etc/keys/%u", State::Fail),
            ("strictmodes no", State::Warn),
            ("forcecommand /bin/false", State::Fail),
            ("forcecommand none", State::Pass),
            ("permituserenvironment yes", State::Warn),
            ("revokedkeys /no/such/file", State::Fail),
            ("allowusers u", State::Pass),
            ("allowusers v", State::Warn),
            ("denyusers u", State::Fail),
            ("denyusers v", State::Pass),
        ] {
            let checks = directives(&Settings::parse(line), &account);
            assert_eq!(checks.iter().map(|check| check.state).max(), Some(state), "{line}");
        }
    }
}
