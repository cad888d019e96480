//! Everything that an audit can find: one table of codes, severities, titles and explanations.
//!
//! The codes are stable: scripts, suppressions and the manual name them. akeys-audit(7) is this table in prose, and a test
//! holds the two together.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Untidy, or a trap for later.
    Low,
    /// Something does not do what it seems to do.
    Medium,
    /// Somebody may get in who should not, or is kept out who should get in.
    High,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which it is.
    pub code: Code,
    /// The stable word for it.
    pub word: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Why it matters.
    pub explanation: &'static str,
}

macro_rules! catalogue {
    ($($name:ident $word:literal $severity:ident $title:literal $explanation:literal)*) => {
        /// The code of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each one is documented by its entry in the table")]
        pub enum Code { $($name),* }

        /// The catalogue, in the order of the codes.
        pub const RULES: &[Rule] = &[$(Rule {
            code: Code::$name,
            word: $word,
            severity: Severity::$severity,
            title: $title,
            explanation: $explanation,
        }),*];
    };
}

impl Code {
    /// Its entry.
    pub fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.rule().word)
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let rule = RULES.iter().find(|rule| rule.word == word);
        rule.map(|rule| rule.code).ok_or_else(|| serde::de::Error::custom("no code of the catalogue"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule().word)
    }
}

catalogue! {
    DeadOptions "dead-options" High "an option that sshd does not understand"
        "One unknown or malformed option makes sshd pass over the whole line, and it says so at debug level only."
    DeadQuote "dead-quote" High "a quote that is never closed"
        "The value runs to the end of the line and swallows the key. The only escape is \\\" for a quote, so a value cannot end in a backslash."
    DeadSpace "dead-space" High "a blank inside the option list"
        "The first blank outside quotes ends the options; sshd looks for the key right behind it and passes over the line."
    DeadExpiry "dead-expiry-format" High "an expiry-time that sshd does not read"
        "The form is YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with or without a Z behind it. Any other makes sshd pass over the line."
    ExpiryPre1970 "expiry-pre-1970" High "an expiry-time before 1970"
        "OpenSSH 9.2 passes over the line; with 10.5 the key never expires."
    ExpiryDayOverflow "expiry-day-overflow" Medium "a day or second that no calendar has"
        "sshd counts on: the 30th of February is the 2nd of March, so the key ends later than it seems to."
    DeadFromList "dead-from-list" High "a from list that lets nobody in"
        "An empty entry, host bits behind a network's mask or a mask that is too long make sshd refuse every client, whatever the other entries say."
    FromNeverMatches "from-never-matches" Medium "an entry of from that no client matches"
        "Brackets, ports, ranges, dotted netmasks and blanks are not understood; a name matches only where sshd has UseDNS yes."
    FromOnlyNegated "from-only-negated" Medium "a from list of exceptions only"
        "An entry with ! in front never lets anybody in by itself; a list of nothing else keeps everybody out."
    DeadPrincipals "dead-principals" High "principals on a key that is no authority"
        "sshd refuses the key at every login, although its manual says that the option is ignored."
    CaFlagOnUserKey "ca-flag-on-user-key" High "cert-authority on a key of this account"
        "A key with cert-authority can only sign certificates: it cannot log in itself."
    DeadKeytype "dead-keytype" Medium "no key type where sshd expects one"
        "Key types are full, exact and case-sensitive words such as ssh-ed25519. sshd passes over the line in silence."
    DeadBase64 "dead-base64" Medium "a key that breaks off or is malformed"
        "The base64 text is cut, wrapped, wrongly padded or in the URL-safe alphabet. sshd passes over the line in silence."
    DeadKey "dead-key" Medium "a key that sshd does not accept"
        "The text decodes, but to no key that sshd takes: another type than the word in front says, too short, or not on its curve."
    DeadCertificate "dead-certificate" Medium "a certificate in place of a key"
        "A certificate proves itself at login and is never looked up. List the key of the authority, with cert-authority."
    GluedKeys "glued-keys" Medium "more than one key on a line"
        "Only the first key of a line counts; the others are comment or junk. Usually a line end was lost."
    Bom "bom" Medium "a byte order mark"
        "An editor put three invisible bytes in front of the line, and sshd passes over the line with them."
    Utf16 "utf16" Medium "a file in UTF-16"
        "sshd reads bytes; in this encoding not one line works."
    Nul "nul" Medium "a NUL byte"
        "For sshd the line ends there. Such holes are left by a crash or a full disk, and what follows them is lost."
    Invisible "invisible" Medium "an invisible character in place of a blank"
        "A no-break or zero-width space looks like a blank or like nothing, and sshd passes over the line."
    CrOnly "cr-only" Medium "lines that end in a carriage return only"
        "For sshd this is one single line."
    SmartQuotes "smart-quotes" Medium "typographic quotes"
        "Only the plain double quote is a quote."
    DropbearLimit "dropbear-limit" Medium "more than Dropbear reads"
        "Dropbear passes over lines above 3000 bytes and over everything behind line 300, and refuses a line with a NUL byte."
    PrivateKeyInFile "private-key-in-file" High "a private key"
        "Whoever reads this file can use that key. Remove it here and from every host that trusts it."
    MergeConflict "merge-conflict" Medium "the marks of an unfinished merge"
        "Both sides of the merge are live: keys that one side removed still log in."
    ForeignFormat "foreign-format" Medium "a line of another file format"
        "SSH1 keys, known_hosts lines, RFC 4716 and PEM blocks are no authorized_keys lines; ssh-keygen -i converts the last two."
    Crlf "crlf" Low "lines that end in CR and LF"
        "sshd reads them, but the CR becomes a part of what stands last: an option line that is continued by hand dies of it."
    NoFinalNewline "no-final-newline" Low "no line end behind the last line"
        "The next key that somebody appends is glued to this one."
    TrailingComma "trailing-comma" Low "an empty option"
        "sshd passes over a doubled or trailing comma; other programs drop the line."
    NoncanonicalType "noncanonical-type" Low "the name of a signature in place of a key type"
        "sshd takes rsa-sha2-256 and its like for the type; most other programs do not."
    NonMinimalBlob "non-minimal-blob" Low "a key written in an unusual way"
        "sshd takes it for the same key as its normal form; programs that compare texts do not, and will not find it when it is revoked."
    LongLine "long-line" Low "a line above 8 KiB"
        "OpenSSH before 7.8 passes over it, and so do other programs."
    ControlBytes "control-bytes" Low "control or direction characters"
        "They can make a terminal show another line than the one that is there."

    OptionAfterKey "option-after-key" High "options behind the key"
        "Everything behind the key is comment. The key is not restricted by them."
    OptionsOnOwnLine "options-on-own-line" High "options on a line of their own"
        "A line ends at its line end. These options are a dead line, and the key on the next one is not restricted by them."
    BackslashContinuation "backslash-continuation" High "a backslash at the end of a line"
        "There is no continuation: this line is dead, and the key on the next one is not restricted by it."
    Shadowed "shadowed" High "a restriction that an earlier line undoes"
        "sshd uses the first line that lets the key in. The same key stands further up with more rights, so the options of this line never apply."
    Fallthrough "fallthrough" High "a condition that a later line undoes"
        "When from or expiry-time refuses the key, sshd goes on; the same key stands further down with at least the same rights and without that condition. Of an authority, TrustedUserCAKeys undoes from, expiry-time and principals in the same way; and every option, where sshd has names of its own for certificates (AuthorizedPrincipalsFile)."
    RestrictUndone "restrict-undone" Medium "a right given back after restrict"
        "Options count from left to right. This line allows again what restrict forbade. Port forwarding that permitopen or permitlisten limits is no finding. Whoever wrote it may have meant it, so it is no more than medium."
    RestrictOrder "restrict-order" Medium "a right given before restrict"
        "Options count from left to right. restrict takes it away again, so it does nothing here."
    NoListWithoutUserRc "no-list-without-user-rc" Info "a list of no-… options in place of restrict"
        "~/.ssh/rc still runs, and options that future versions add will be open. restrict covers both."
    PermitopenWithoutPermitlisten "permitopen-without-permitlisten" Medium "only one direction of forwarding is limited"
        "permitopen limits connections from the client through this host. Listening on any port of this host stays open."
    PermitlistenWithoutPermitopen "permitlisten-without-permitopen" Medium "only one direction of forwarding is limited"
        "permitlisten limits listening on this host. Connections through this host to anywhere stay open."
    PermitInert "permit-inert" Medium "permitopen or permitlisten where forwarding is off"
        "They limit port forwarding and do not allow it; with restrict or no-port-forwarding they do nothing."
    CommandWithoutRestrict "command-without-restrict" Medium "a forced command beside open ways"
        "A forced command binds the command only. Port, agent and X11 forwarding or a terminal stay open without restrict."
    CommandMissing "command-missing" High "a forced command that is not there"
        "Every login with this key fails, and whoever can create the file decides what it does."
    CommandRelative "command-relative" High "a forced command that is found through PATH"
        "A start-up file of the shell, or environment=, decides which program runs."
    CommandWritable "command-writable" High "a forced command that others can exchange"
        "The program or a directory above it belongs to somebody else or can be written by others: they decide what the key does."
    CommandInterpreter "command-interpreter" High "a script whose interpreter is missing or can be exchanged"
        "The interpreter in the first line of the script is what really runs."
    CommandOriginal "command-original" High "the client's command is run by a shell"
        "SSH_ORIGINAL_COMMAND is whatever the client sends. Unquoted, or behind eval or sh -c, it runs anything."
    CommandShell "command-shell" High "a forced command that gives the whole account"
        "A shell, an editor, env, or rsync and scp without a gate around them do whatever the client asks for."
    CommandReads "command-reads" Medium "a forced command that reads every file of the account"
        "An SFTP server with -R changes nothing and hands out everything: private keys, mail, what programs keep secret. Where sshd has a ChrootDirectory, it is not meant."
    CommandEmpty "command-empty" Low "an empty forced command"
        "The login shell runs nothing. It is a lock; a disabled line says so more clearly."
    StartupWritable "startup-writable" High "a start-up file that others can write"
        "The login shell runs it before every forced command."
    UserRcRuns "user-rc-runs" Medium "~/.ssh/rc runs before the forced command"
        "The file exists and the line allows it. restrict or no-user-rc keeps it out."
    NologinForwarding "nologin-forwarding" Info "forwarding without a shell"
        "The account's shell refuses commands, but forwarding needs none: this key can still use the network of this host."
    EnvironmentDangerous "environment-dangerous" High "an environment variable that decides what runs"
        "With PermitUserEnvironment, PATH, LD_*, BASH_ENV and their like take over every command of the session, a forced one too."
    Environment "environment" Medium "an environment variable is set"
        "It works only where sshd has PermitUserEnvironment, which opens a way around forced commands."
    EnvironmentIgnored "environment-ignored" Low "an environment variable that is never set"
        "This sshd has PermitUserEnvironment no, and drops it without a word."
    Tunnel "tunnel" Medium "a tunnel device"
        "Where sshd has PermitTunnel, the key can join the network of this host. restrict does not take that away."
    NoTouchRequired "no-touch-required" Medium "a FIDO key without a touch"
        "Software on the client can use the key without its owner noticing."
    TouchOverruled "touch-overruled" Medium "no-touch-required against sshd's own demand"
        "PubkeyAuthOptions has touch-required: the key does not work without a touch, whatever its line says."
    TouchInert "touch-inert" Low "touch-required or no-touch-required on a key that is no FIDO key"
        "The option does nothing: only an authenticator can be touched."
    VerifyInert "verify-inert" Low "verify-required on a key that is no FIDO key"
        "The option does nothing: only an authenticator can verify its user."
    CaWithoutPrincipals "ca-without-principals" High "an authority for any name"
        "Every certificate of this authority for a name like this account's is let in; OpenSSH before 10.3 also lets in one without any name."
    CaManyPrincipals "ca-many-principals" High "a list of principals on an sshd before 10.3"
        "CVE-2026-35414: a certificate for one principal whose name is the whole list, commas included, is let in."
    CaUnlimited "ca-unlimited" Medium "an authority without any limit"
        "Without from, expiry-time or restrict everything is left to what the authority signs."
    CaAndPlain "ca-and-plain" Medium "an authority that may also log in"
        "The same key is listed as an authority, here or in TrustedUserCAKeys, and as a key. Whoever signs should not need to log in."
    PolicyMissing "policy-missing" High "a key without its policy"
        "The gate refuses every request, until a policy of that name appears."
    PolicyRefused "policy-refused" High "a policy that the gate refuses"
        "It is malformed or can be written by others, so the gate refuses every request."
    PolicyExpired "policy-expired" Medium "a policy that has ended"
        "The gate refuses every request; the key line is left over."
    PolicyUnused "policy-unused" Low "a policy that no key line names"
        "It allows nothing now, and a later line of that name would bring it to life."
    GrantRevoked "grant-revoked" High "a key that its federation has revoked"
        "The imported bundle says that it is not to be used any more, and its line still lets it in."
    GrantOrphan "grant-orphan" Medium "a key that its federation has not"
        "The imported bundle has another key for this pod, or none: the line is left over, or came from somewhere else."
    WorkspaceExposed "workspace-exposed" High "a workspace that would hand over the account"
        "Whoever can write there, or read it, has the account. The gate refuses it in a policy and obeys it in a drop-in line."
    WorkspaceMissing "workspace-missing" Medium "a workspace that is not there"
        "Requests for it fail until the directory exists."

    WeakDsa "weak-dsa" High "a DSA key"
        "DSA keys have 1024 bits; OpenSSH refuses them by default since 7.0 and cannot read them since 10.1."
    WeakRsa "weak-rsa" High "an RSA key below 2048 bits"
        "Such keys are within reach of whoever can rent enough machines."
    Rsa3072 "rsa-below-3072" Medium "an RSA key below 3072 bits"
        "It gives less than 128 bits of strength."
    RsaExponent "rsa-exponent" Medium "an RSA key with an unusual exponent"
        "No known program makes such keys: it was made by hand or by something broken."
    RsaBroken "rsa-broken" High "an RSA key that is none"
        "Its modulus has a small factor: it was damaged, or anybody can compute the private half."
    RsaRoca "rsa-roca" High "an RSA key of a broken generator"
        "Its modulus has the mark of CVE-2017-15361 (ROCA): the private half can be computed."
    RsaSharedPrime "rsa-shared-prime" High "an RSA key that shares a prime with another one"
        "A machine with poor random numbers made both, and whoever has the two public halves computes the private ones. Only --primes looks for it."
    WeakDebian "weak-debian" High "a key of Debian's broken OpenSSL"
        "CVE-2008-0166: there are 32,768 such keys of each kind, and everybody has them. They are known by the lists of ssh-vulnkey(1), blacklist.* in /usr/share/ssh and /etc/ssh, where those are installed."
    KnownKey "known-key" High "a key whose private half is public"
        "It ships with a product, and everybody can log in with it."
    HostKey "host-key" Medium "a host key of this machine"
        "Whoever has this host's key can log in, and the other way round. Keys should have one use."
    Ecdsa "ecdsa" Info "an ECDSA key"
        "Its signatures give the key away when the random numbers of the signing machine are weak; ed25519 has no such trap."
    Revoked "revoked" High "a key that sshd's RevokedKeys names"
        "No login with it succeeds, and the line would let it in wherever that list is not read."
    RootKeyElsewhere "root-key-elsewhere" High "one key for root and another account"
        "Whoever gets it where it is guarded less has root's account. Only --all-users sees it."
    KeyOfSeveralAccounts "key-of-several-accounts" Medium "one key for several accounts"
        "Who loses it loses all of them, and it has to be taken back from each. Only --all-users sees it."
    Unused "unused" Medium "a key that nobody has used"
        "By sshd's log and the records of the gate there was no login with it for the days that --unused names."
    UsedOutside "used-outside" Medium "a key that was used from elsewhere"
        "By sshd's log or the records of the gate a login came from where from, as it is now, lets nobody in, or from outside what --from names. Only --unused and --from look for it."
    OldKey "old-key" Medium "an old key"
        "By a date in its comment, or by a kept content of the file, it is older than the days that --older names."
    AlgorithmOff "algorithm-off" Medium "a key type that sshd refuses"
        "PubkeyAcceptedAlgorithms does not have it, so no login gets as far as this line."
    RsaRequiredSize "rsa-required-size" Medium "an RSA key below RequiredRSASize"
        "sshd refuses the key before it looks at the file."
    Duplicate "duplicate" Medium "the same key and options once more"
        "sshd uses the first line. Who removes only one of them has not removed the key."
    Expired "expired" High "a key that has expired"
        "The line lets nobody in any more, unless somebody moves its date."
    ExpiresSoon "expires-soon" Medium "a key that expires within 30 days"
        "Rotate it before whatever uses it stops."
    NoExpiry "no-expiry" Info "a key without an end"
        "expiry-time makes a forgotten key harmless."
    NoFrom "no-from" Info "a key that works from anywhere"
        "from makes a stolen key useless elsewhere."
    RootUnrestricted "root-unrestricted" High "an unrestricted key of root"
        "Whoever holds it has the whole machine."
    Unrestricted "unrestricted" Info "a key with the whole account"
        "It has no forced command: a shell, every file, and what the options leave open."
    NoComment "no-comment" Low "a key that nobody can attribute"
        "A comment says whose it is and when it can go."
    SharedComment "shared-comment" Low "one comment for different keys"
        "Who removes a key by its comment removes the wrong one, or only one of them."
    TellingComment "telling-comment" Low "a comment that asks for removal"
        "It says old, revoked, temporary or the like, and the key still works."

    StrictOwner "strict-owner" High "a file or directory of somebody else"
        "sshd with StrictModes ignores the whole key file, and that owner can replace it."
    StrictMode "strict-mode" High "a file or directory that others can write"
        "sshd with StrictModes ignores the whole key file, and those others can add keys."
    StrictDebianOnly "strict-debian-only" Medium "a file or directory that its group can write"
        "The group has no other member, so the sshd of Debian and Ubuntu lets it pass. Any other sshd ignores the whole key file."
    AclWrite "acl-write" High "an ACL that lets others write"
        "They can add keys. sshd sees only the group bits of the mode, and Debian's lets them pass."
    NotAFile "not-a-file" High "a key file that is no regular file"
        "sshd does not read it."
    SymlinkOutside "symlink-outside" High "a key file that lies outside the home"
        "It is a symlink, and whoever can write where it leads can add keys."
    HardLink "hard-link" Medium "a key file with another name"
        "Another hard link leads to the same file; an edit under one name may not reach the other."
    Immutable "immutable" Medium "a key file that cannot be changed"
        "The immutable or append-only flag is set: nobody can take a key out before chattr -ia."
    ReadOnlyFs "read-only-fs" Medium "a key file on a read-only file system"
        "No key can be added or taken out."
    SelinuxType "selinux-type" Medium "a key file with the wrong SELinux type"
        "sshd may read files of the type ssh_home_t. restorecon sets it."
    Unreadable "unreadable" Medium "a key file that the account cannot read"
        "sshd opens it with the account's rights, and ignores it when that fails."
    SecondFile "second-file" Info "another key file that sshd reads"
        "This audit is about one file. Audit this one too: akeys audit --file."
    UnreadFile "unread-file" Medium "a key file that sshd does not read"
        "No AuthorizedKeysFile pattern names it: its keys do nothing, or it is a copy that somebody will put back."

    ClosedAccount "closed-account" Medium "a closed account with keys"
        "Its password is locked or its time is over, but its keys are there: with UsePAM yes a locked password stops no key. Only --all-users sees it."

    ServerStrictModesOff "server-strictmodes-off" High "StrictModes no"
        "sshd reads key files that others can write."
    ServerSharedFile "server-shared-file" High "one key file for all accounts"
        "An AuthorizedKeysFile pattern has neither %u, %U nor %h and is absolute: every key in it opens every account, root's too."
    ServerTilde "server-tilde" High "AuthorizedKeysFile with a ~"
        "It stands for the home of sshd, which is root's, and not for the account's."
    ServerRevokedMissing "server-revoked-missing" High "RevokedKeys names a missing file"
        "sshd then refuses every key of every account."
    ServerKeysCommand "server-keys-command" Medium "AuthorizedKeysCommand is in use"
        "Keys come from a program as well, and no file shows them."
    ServerUserEnvironment "server-user-environment" Medium "PermitUserEnvironment is on"
        "environment= in a key line can take over a forced command."
    ServerNotRead "server-not-read" High "sshd does not read this file"
        "No AuthorizedKeysFile pattern of this account leads to it, so none of its keys works."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_in_order_and_its_words_are_unique() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(rule.code as usize, index);
            assert_eq!(rule.code.rule(), rule);
            assert!(rule.word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(!rule.title.ends_with('.') && rule.explanation.ends_with('.'), "{}", rule.word);
        }
        let words: BTreeSet<&str> = RULES.iter().map(|rule| rule.word).collect();
        assert_eq!(words.len(), RULES.len());
    }

    #[test]
    fn the_manual_has_every_entry() {
        let page = include_str!("../../../man/akeys-audit.7");
        let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for rule in RULES {
            let explanation = rule.explanation.replace('\\', "\\e");
            let title = capital(rule.title);
            let entry = format!(".It Cm {} Pq {} {title}. {explanation} ", rule.word, rule.severity);
            assert!(flat.contains(&entry), "man/akeys-audit.7 should have: {entry}");
        }
        assert_eq!(page.matches("\n.It Cm ").count(), RULES.len(), "man/akeys-audit.7 has an entry too many");
    }

    fn capital(text: &str) -> String {
        let mut chars = text.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
    }
}
