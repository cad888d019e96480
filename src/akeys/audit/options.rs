//! What is wrong with the options of a live line: restrictions that do not hold, lists that let nobody in, limits that are
//! missing.

use rrsync_rs::escape::Escaped;

use crate::authkeys::{Entry, Line, OptionItem, OptionList, Options, Rules, Target};

use super::Facts;
use super::catalogue::Code;
use super::finding::{At, Basket};
use super::limits;

/// Puts what is wrong with the options of `entry` into the basket.
pub(super) fn judge(line: Line<'_>, entry: &Entry<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let here = Here { number: line.number(), entry };
    spelling(line, &here, basket);
    behind_the_key(&here, facts.rules, basket);
    limits::from(&here, basket);
    limits::expiry(line, &here, facts.now, basket);
    order(&here, basket);
    forwarding(&here, basket);
    environment(&here, facts, basket);
    authority(&here, facts, basket);
    fido(&here, facts, basket);
    rights(&here, facts, basket);
}

/// One live line, and where in it something stands.
pub(super) struct Here<'a> {
    /// Its number.
    pub(super) number: usize,
    /// What sshd makes of it.
    pub(super) entry: &'a Entry<'a>,
}

impl Here<'_> {
    /// Its options.
    pub(super) fn options(&self) -> &Options {
        &self.entry.options
    }

    /// Whether its forwarding is limited, in one direction at least: that the other one is open is a finding of its own.
    fn forwards_to_named_places(&self) -> bool {
        let lists = [&self.options().permitopen, &self.options().permitlisten];
        let said = || lists.iter().flat_map(|list| list.iter());
        said().next().is_some() && said().all(|place| place != b"*:*" && place != b"*")
    }

    /// A place in it, in bytes from its start.
    pub(super) fn at(&self, offset: usize) -> At {
        At::Line { number: self.number, column: offset + 1 }
    }

    /// Where its key stands.
    pub(super) fn at_key(&self) -> At {
        self.at(self.entry.key_span.start)
    }

    /// The first option of this name, given with `no-` or not.
    fn item(&self, name: &str, negated: bool) -> Option<&OptionItem> {
        self.options().items.iter().find(|item| item.name == name && item.negated == negated)
    }

    /// Where the first option of this name stands.
    pub(super) fn at_option(&self, name: &str) -> At {
        self.item(name, false).map_or_else(|| self.at_key(), |item| self.at(item.span.start))
    }
}

fn spelling(line: Line<'_>, here: &Here<'_>, basket: &mut Basket) {
    let Some(span) = here.entry.options_span.clone() else { return };
    let mut end = span.start;
    let starts = here
        .options()
        .items
        .iter()
        .map(|item| (item.span.start, item.span.end))
        .chain([(span.end, span.end)]);
    for (start, next_end) in starts {
        // One comma separates two options; none stands in front of the first or behind the last.
        let commas = start.saturating_sub(end);
        let needed = usize::from(end > span.start && start < span.end);
        if commas > needed {
            let base = line.span().start;
            basket.put(Code::TrailingComma, here.at(end), || "a comma without an option".to_owned()).fix(
                "takes the comma out",
                base + end + needed..base + start,
                b"",
            );
            return;
        }
        end = next_end;
    }
}

/// Names that say that a comment was meant as options.
const NAMES: [&str; 13] = [
    "restrict",
    "command",
    "from",
    "no-pty",
    "no-port-forwarding",
    "no-agent-forwarding",
    "no-x11-forwarding",
    "no-user-rc",
    "expiry-time",
    "permitopen",
    "permitlisten",
    "principals",
    "cert-authority",
];

fn behind_the_key(here: &Here<'_>, rules: Rules, basket: &mut Basket) {
    let comment = here.entry.comment;
    let end =
        comment.iter().position(|byte| matches!(byte, b',' | b'=' | b' ' | b'\t')).unwrap_or(comment.len());
    let name = &comment[..end];
    if !NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
        return;
    }
    let valued = comment.get(end) == Some(&b'=');
    let listed = matches!(comment.get(end), Some(b',') | None);
    // "from the office" is a comment; "from=10.0.0.1" and "no-pty" were meant as options.
    if valued || listed && OptionList::parse(name, rules).is_ok() {
        let message = || format!("\"{}\" stands behind the key, where it is comment", Escaped(name));
        basket
            .put(Code::OptionAfterKey, here.at(here.entry.key_span.end + 1), message)
            .hint("options stand in front of the key");
    }
}

/// `restrict` and what stands before and behind it.
fn order(here: &Here<'_>, basket: &mut Basket) {
    const WAYS: [&str; 5] = ["pty", "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc"];
    let items = &here.options().items;
    let restrict = items.iter().rposition(|item| item.name == "restrict");
    for (index, item) in
        items.iter().enumerate().filter(|(_, item)| WAYS.contains(&item.name) && !item.negated)
    {
        match restrict {
            Some(restrict) if index < restrict => {
                let message = || format!("{} in front of restrict, which takes it away", item.name);
                basket.put(Code::RestrictOrder, here.at(item.span.start), message);
            }
            // What is given back to be limited is what `permit-inert` advises.
            Some(_) if item.name == "port-forwarding" && here.forwards_to_named_places() => {}
            Some(_) => {
                let message = || format!("{} is allowed again behind restrict", item.name);
                basket.put(Code::RestrictUndone, here.at(item.span.start), message);
            }
            None => {}
        }
    }
    let negated = |name: &str| here.item(name, true).is_some();
    if restrict.is_none()
        && negated("port-forwarding")
        && negated("agent-forwarding")
        && here.options().user_rc
    {
        let message = || "no-port-forwarding and the like in place of restrict".to_owned();
        basket.put(Code::NoListWithoutUserRc, here.at_key(), message).hint("restrict");
    }
}

fn forwarding(here: &Here<'_>, basket: &mut Basket) {
    let options = here.options();
    let (open, listen) = (!options.permitopen.is_empty(), !options.permitlisten.is_empty());
    if (open || listen) && !options.port_forwarding {
        let name = if open { "permitopen" } else { "permitlisten" };
        basket
            .put(Code::PermitInert, here.at_option(name), || {
                format!("{name} does nothing where forwarding is off")
            })
            .hint("restrict,port-forwarding,permitopen=\"…\",permitlisten=\"…\" allows exactly these");
    } else if open && !listen {
        let message = || "listening on any port of this host stays open (ssh -R)".to_owned();
        basket
            .put(Code::PermitopenWithoutPermitlisten, here.at_option("permitopen"), message)
            .hint("permitlisten=\"localhost:1\" leaves one port that only root can use");
    } else if listen && !open {
        let message = || "connections through this host stay open (ssh -L, -D)".to_owned();
        basket
            .put(Code::PermitlistenWithoutPermitopen, here.at_option("permitlisten"), message)
            .hint("permitopen=\"localhost:1\" leaves one port that nobody serves");
    }
    if options.tunnel.is_some() {
        basket.put(Code::Tunnel, here.at_option("tunnel"), || "may ask for a tunnel device".to_owned());
    }
}

/// Variables that decide which program runs, or how.
fn is_dangerous(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 14] = [
        b"PATH",
        b"BASH_ENV",
        b"ENV",
        b"IFS",
        b"SHELLOPTS",
        b"BASHOPTS",
        b"PS4",
        b"HOME",
        b"SHELL",
        b"PYTHONPATH",
        b"PERL5LIB",
        b"PERL5OPT",
        b"RUBYOPT",
        b"ZDOTDIR",
    ];
    NAMES.contains(&name)
        || [&b"LD_"[..], b"SSH_", b"GIT_", b"RSYNC_", b"BASH_FUNC"]
            .iter()
            .any(|start| name.starts_with(start))
}

fn environment(here: &Here<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let off = facts.server.is_some_and(|server| server.is("permituserenvironment", "no"));
    for item in here.options().items.iter().filter(|item| item.name == "environment") {
        let value = item.value.as_deref().unwrap_or_default();
        let name = value.split(|&byte| byte == b'=').next().unwrap_or(value);
        let (code, message) = match (off, is_dangerous(name)) {
            (true, _) => (Code::EnvironmentIgnored, "is not set: PermitUserEnvironment is no"),
            (false, true) => {
                (Code::EnvironmentDangerous, "decides what runs, where PermitUserEnvironment allows it")
            }
            (false, false) => (Code::Environment, "is set where PermitUserEnvironment allows it"),
        };
        basket.put(code, here.at(item.span.start), || format!("{} {message}", Escaped(name)));
    }
}

fn authority(here: &Here<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let options = here.options();
    let at = || here.at_option("principals");
    if !options.cert_authority {
        if options.principals.is_some() {
            let message = || "principals without cert-authority: sshd refuses the key".to_owned();
            basket.put(Code::DeadPrincipals, at(), message).hint("cert-authority, or no principals");
        }
        return;
    }
    match options.principals.as_deref() {
        None => {
            let message = || "any certificate for this account's name is let in".to_owned();
            basket
                .put(Code::CaWithoutPrincipals, here.at_option("cert-authority"), message)
                .hint("principals=\"…\"");
        }
        Some(list) if list.contains(&b',') && facts.rules.target == Target::OpenSsh9_2 => {
            let message = || {
                "a certificate for one principal named like the whole list is let in (CVE-2026-35414)"
                    .to_owned()
            };
            basket
                .put(Code::CaManyPrincipals, at(), message)
                .hint("Debian's 9.2p1-2+deb12u10 and OpenSSH 10.3 mend it; or one line for each principal");
        }
        Some(_) => {}
    }
    if options.from.is_none() && options.expiry.is_none() && !options.restrict {
        let message = || "no from, no expiry-time, no restrict".to_owned();
        basket.put(Code::CaUnlimited, here.at_option("cert-authority"), message);
    }
}

fn fido(here: &Here<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let is_fido = here.entry.key.algorithm().name().starts_with("sk-");
    for item in &here.options().items {
        let at = || here.at(item.span.start);
        match (item.name, is_fido) {
            ("touch-required", true) if item.negated => {
                basket.put(Code::NoTouchRequired, at(), || "the key works without a touch".to_owned());
                // `sshkey_verify` is told what either of them demands.
                if facts.server.is_some_and(|server| server.lists("pubkeyauthoptions", "touch-required")) {
                    let message = || "PubkeyAuthOptions demands a touch all the same".to_owned();
                    basket.put(Code::TouchOverruled, at(), message);
                }
            }
            ("touch-required", false) => {
                basket.put(Code::TouchInert, at(), || "this is no FIDO key".to_owned());
            }
            ("verify-required", false) => {
                basket.put(Code::VerifyInert, at(), || "this is no FIDO key".to_owned());
            }
            _ => {}
        }
    }
}

/// How much the key may do at all.
fn rights(here: &Here<'_>, facts: &Facts<'_>, basket: &mut Basket) {
    let options = here.options();
    if options.from.is_none() {
        basket.put(Code::NoFrom, here.at_key(), || "it works from anywhere".to_owned()).hint("from=\"…\"");
    }
    if options.command.is_some() {
        let open: Vec<&str> = [
            (options.port_forwarding, "port forwarding"),
            (options.agent_forwarding, "agent forwarding"),
            (options.x11_forwarding, "X11 forwarding"),
            (options.pty, "a terminal"),
        ]
        .into_iter()
        .filter_map(|(open, name)| open.then_some(name))
        .collect();
        if !open.is_empty() && !options.restrict {
            let message = || format!("{} stay open beside the command", open.join(", "));
            basket
                .put(Code::CommandWithoutRestrict, here.at_option("command"), message)
                .hint("restrict,command=\"…\"");
        }
    } else if !options.cert_authority {
        if facts.root {
            let message = || "a key of root without a forced command";
            basket
                .put(Code::RootUnrestricted, here.at_key(), message)
                .hint("restrict,command=\"…\",from=\"…\"");
        } else {
            basket.put(Code::Unrestricted, here.at_key(), || "this key has the whole account");
        }
    }
    if facts.nologin && options.port_forwarding {
        let message = || "forwarding works, although the account's shell refuses commands".to_owned();
        basket.put(Code::NologinForwarding, here.at_key(), message).hint("restrict");
    }
}
