//! Every option that an rsync server may be given, one row each, and what it means for the policy.
//!
//! An option without a row does not exist. The table follows what stock clients from 2.6 to 3.5 send (`server_options()`
//! in rsync's options.c, recorded from real clients) and rrsync(1)'s rules; the tests hold it against the client that
//! is installed.

use super::words::Word;
use crate::escape::Escaped;
use crate::verdict::Refusal;

/// What an option means for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing: whatever it does stays within what the transfer may do anyway.
    Harmless,
    /// Makes a receiver remove files that the transfer does not replace.
    Deletes,
    /// Makes a sender remove what it has sent.
    DeletesSources,
    /// Makes a receiver remove a directory that is in a file's way.
    DeletesInTheWay,
    /// Reaches existing files around `--ignore-existing` (backups, partial and delayed files, logs).
    Replaces,
    /// Makes a receiver change the attributes of directories that exist, in a way that the protocol depends on.
    ChangesDirectories,
    /// Makes a receiver return what the destination holds, as block checksums.
    ReadsBack,
    /// Makes a receiver continue files that are there.
    Appends,
    /// Follows symlinks that the client does not control; only where the root is `/`, outside of which nothing lies.
    FollowsLinks,
    /// Makes a receiver follow links in the names that it is sent. An rsync that does not confine itself
    /// (`--confine-root`) gets a mount namespace for that.
    Implied,
    /// Says again which way the files go; wrong on a push.
    Sender,
    /// Opens what no policy here can hold: devices, the daemon, debug output that quotes files.
    Never,
}

/// What a path option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `--link-dest`, `--copy-dest`, `--compare-dest`: a directory that a receiver compares with.
    Basis,
    /// `--backup-dir`: made when missing.
    BackupDir,
    /// `--partial-dir`: made when missing; a relative one stands for one in each directory.
    PartialDir,
    /// `--temp-dir`: must exist.
    TempDir,
    /// `--log-file`: a file that the server writes.
    LogFile,
    /// `--files-from`: `-`, or a file that the server reads.
    FilesFrom,
}

/// The value an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None. A value given all the same is left for rsync to refuse.
    Nothing,
    /// Text that names no file.
    Text,
    /// A path on the server.
    Path(Role),
    /// A word that a server never looks at; it is given this one instead.
    Ignored(&'static str),
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The long name, without dashes.
    pub name: &'static str,
    /// The value it takes.
    pub takes: Takes,
    /// What it means for the policy.
    pub class: Class,
}

const fn row(name: &'static str, takes: Takes, class: Class) -> Row {
    Row { name, takes, class }
}

use Class::{
    Appends, ChangesDirectories, Deletes, DeletesInTheWay, DeletesSources, FollowsLinks, Harmless, Implied,
    Never, ReadsBack, Replaces, Sender,
};
use Takes::{Ignored, Nothing, Path, Text};

/// The long options, sorted by name.
pub static LONG: &[Row] = &[
    row("append", Nothing, Appends),
    row("backup-dir", Path(Role::BackupDir), Replaces),
    row("block-size", Text, ReadsBack),
    row("bwlimit", Text, Harmless),
    row("checksum-choice", Text, Harmless),
    row("checksum-seed", Text, Harmless),
    row("compare-dest", Path(Role::Basis), Harmless),
    row("compress-choice", Text, Harmless),
    row("compress-level", Text, Harmless),
    row("compress-threads", Text, Harmless),
    row("copy-dest", Path(Role::Basis), Harmless),
    row("copy-devices", Nothing, Never),
    row("copy-unsafe-links", Nothing, FollowsLinks),
    row("daemon", Nothing, Never),
    row("debug", Text, Never),
    row("delay-updates", Nothing, Replaces),
    row("delete", Nothing, Deletes),
    row("delete-after", Nothing, Deletes),
    row("delete-before", Nothing, Deletes),
    row("delete-delay", Nothing, Deletes),
    row("delete-during", Nothing, Deletes),
    row("delete-excluded", Nothing, Deletes),
    row("delete-missing-args", Nothing, Deletes),
    row("dirs", Nothing, Harmless),
    row("existing", Nothing, Harmless),
    row("fake-super", Nothing, Harmless),
    row("files-from", Path(Role::FilesFrom), Harmless),
    row("force", Nothing, DeletesInTheWay),
    row("from0", Nothing, Harmless),
    row("fsync", Nothing, Harmless),
    row("fuzzy", Nothing, Harmless),
    row("group", Nothing, Harmless),
    row("groupmap", Text, Harmless),
    row("hard-links", Nothing, Harmless),
    row("iconv", Text, Harmless),
    row("ignore-errors", Nothing, Harmless),
    row("ignore-existing", Nothing, Harmless),
    row("ignore-missing-args", Nothing, Harmless),
    row("ignore-times", Nothing, Harmless),
    row("info", Text, Harmless),
    row("inplace", Nothing, Harmless),
    row("link-dest", Path(Role::Basis), Harmless),
    row("links", Nothing, Harmless),
    row("list-only", Nothing, Harmless),
    row("log-file", Path(Role::LogFile), Replaces),
    row("log-format", Text, Harmless),
    row("max-alloc", Text, Harmless),
    row("max-delete", Text, Harmless),
    row("max-size", Text, Harmless),
    row("min-size", Text, Harmless),
    row("mkpath", Nothing, Harmless),
    row("modify-window", Text, Harmless),
    row("msgs2stderr", Nothing, Harmless),
    row("munge-links", Nothing, Harmless),
    row("new-compress", Nothing, Harmless),
    row("no-W", Nothing, ReadsBack),
    row("no-implied-dirs", Nothing, Implied),
    row("no-msgs2stderr", Nothing, Harmless),
    row("no-munge-links", Nothing, Never),
    row("no-r", Nothing, Harmless),
    row("no-relative", Nothing, Harmless),
    row("no-specials", Nothing, Harmless),
    row("numeric-ids", Nothing, Harmless),
    row("old-compress", Nothing, Harmless),
    row("one-file-system", Nothing, Harmless),
    row("only-write-batch", Ignored("X"), Harmless),
    row("open-noatime", Nothing, Harmless),
    row("owner", Nothing, Harmless),
    row("partial", Nothing, Harmless),
    row("partial-dir", Path(Role::PartialDir), Replaces),
    row("perms", Nothing, Harmless),
    row("preallocate", Nothing, Harmless),
    row("recursive", Nothing, Harmless),
    row("remove-sent-files", Nothing, DeletesSources),
    row("remove-source-files", Nothing, DeletesSources),
    row("safe-links", Nothing, Harmless),
    row("sender", Nothing, Sender),
    row("size-only", Nothing, Harmless),
    row("skip-compress", Text, Harmless),
    row("specials", Nothing, Harmless),
    row("stats", Nothing, Harmless),
    row("stderr", Text, Harmless),
    row("suffix", Text, Harmless),
    row("super", Nothing, Harmless),
    row("temp-dir", Path(Role::TempDir), Harmless),
    row("timeout", Text, Harmless),
    row("times", Nothing, Harmless),
    row("use-qsort", Nothing, Harmless),
    row("usermap", Text, Harmless),
    row("write-devices", Nothing, Never),
];

/// The letters of a cluster such as `-logDtpr`, sorted: letter, long name, class.
static LETTERS: &[(u8, &str, Class)] = &[
    (b'A', "acls", ChangesDirectories),
    (b'C', "cvs-exclude", Harmless),
    (b'D', "devices", Harmless),
    (b'E', "executability", Harmless),
    (b'H', "hard-links", Harmless),
    (b'I', "ignore-times", Harmless),
    (b'J', "omit-link-times", Harmless),
    (b'K', "keep-dirlinks", FollowsLinks),
    (b'L', "copy-links", FollowsLinks),
    (b'N', "crtimes", Harmless),
    (b'O', "omit-dir-times", Harmless),
    (b'R', "relative", Harmless),
    (b'S', "sparse", Harmless),
    (b'U', "atimes", Harmless),
    (b'W', "whole-file", Harmless),
    (b'X', "xattrs", ChangesDirectories),
    (b'b', "backup", Replaces),
    (b'c', "checksum", Harmless),
    (b'd', "dirs", Harmless),
    (b'g', "group", Harmless),
    (b'k', "copy-dirlinks", FollowsLinks),
    (b'l', "links", Harmless),
    (b'm', "prune-empty-dirs", Harmless),
    (b'n', "dry-run", Harmless),
    (b'o', "owner", Harmless),
    (b'p', "perms", Harmless),
    (b'q', "quiet", Harmless),
    (b'r', "recursive", Harmless),
    (b't', "times", Harmless),
    (b'u', "update", Harmless),
    (b'v', "verbose", Harmless),
    (b'x', "one-file-system", Harmless),
    (b'y', "fuzzy", Harmless),
    (b'z', "compress", Harmless),
];

/// The long name and the class of a letter in a cluster; `None` for a letter that no server is sent.
pub fn letter(letter: u8) -> Option<(&'static str, Class)> {
    let at = LETTERS.binary_search_by_key(&letter, |(known, ..)| *known).ok()?;
    Some((LETTERS[at].1, LETTERS[at].2))
}

/// What the table says of a long name, given as a word or as a letter: the value it takes and its class.
pub fn named(name: &str) -> Option<(Takes, Class)> {
    let long = find(name.as_bytes()).map(|row| (row.takes, row.class));
    long.or_else(|| LETTERS.iter().find(|(_, known, _)| *known == name).map(|(.., class)| (Nothing, *class)))
}

/// One option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A cluster such as `-logDtpre.iLsfxCIvu`.
    Cluster {
        /// Without the dash and the `s`.
        letters: Vec<u8>,
        /// What follows the `e`: `30.8`, `.iLsfxCIvu`.
        protocol: Option<Vec<u8>>,
    },
    /// `-B` or `-@` with its digits; those of `-@` may have a sign.
    Sized(u8, Vec<u8>),
    /// A long option.
    Long(&'static Row, Option<Vec<u8>>),
}

/// The options of one request, and what stands behind the dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// In the order given.
    pub options: Vec<Given>,
    /// The paths; `None` when the dot is missing, which only `-s` allows.
    pub paths: Option<Vec<Word>>,
    /// Whether `-s` was among the letters: the real arguments follow on standard input.
    pub secluded: bool,
}

impl Parsed {
    /// Whether a letter was given in any cluster.
    pub fn has_letter(&self, wanted: u8) -> bool {
        self.options
            .iter()
            .any(|given| matches!(given, Given::Cluster { letters, .. } if letters.contains(&wanted)))
    }

    /// Whether the client is 3.1.0 or newer, which speaks protocol 31 unless its user forbids that. Those say so behind the
    /// `e`, with an `x` (`CF_AVOID_XATTR_OPTIM` in rsync's compat.c).
    pub fn knows_protocol_31(&self) -> bool {
        self.options.iter().any(|given| {
            matches!(given, Given::Cluster { protocol: Some(capabilities), .. } if capabilities.contains(&b'x'))
        })
    }

    /// Whether a long option of a class was given.
    pub fn has_class(&self, wanted: Class) -> bool {
        self.options.iter().any(|given| matches!(given, Given::Long(row, _) if row.class == wanted))
    }

    /// Whether a long option was given.
    pub fn has_long(&self, wanted: &str) -> bool {
        self.options.iter().any(|given| matches!(given, Given::Long(row, _) if row.name == wanted))
    }
}

fn not_rsync() -> Refusal {
    Refusal::new("rsync.syntax", "this is not a command line that an rsync client sends")
}

/// Reads what follows `rsync --server [--sender]`.
pub fn parse(words: &[Word]) -> Result<Parsed, Refusal> {
    let mut parsed = Parsed { options: Vec::new(), paths: None, secluded: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.unescaped();
        if text == b"." && word.plain_until(1) {
            parsed.paths = Some(words.cloned().collect());
            break;
        }
        if let Some(long) = text.strip_prefix(b"--") {
            let name_len = long.iter().position(|b| *b == b'=').unwrap_or(long.len());
            let (name, rest) = long.split_at(name_len);
            let row = find(name).filter(|_| word.plain_until(2 + name_len)).ok_or_else(|| unknown(name))?;
            let value = match (rest.split_first(), row.takes) {
                (Some((_, value)), _) => Some(value.to_vec()),
                (None, Nothing) => None,
                (None, _) => Some(words.next().ok_or_else(not_rsync)?.unescaped()),
            };
            parsed.options.push(Given::Long(row, value));
        } else if let Some(cluster) = text.strip_prefix(b"-") {
            if cluster.is_empty() || !word.plain_until(text.len()) {
                return Err(not_rsync());
            }
            letters(cluster, &mut parsed)?;
        } else {
            return Err(not_rsync());
        }
    }
    if parsed.paths.is_some() == parsed.secluded {
        return Err(if parsed.secluded {
            Refusal::new("rsync.secluded", "option -s comes with paths on the command line")
        } else {
            not_rsync()
        });
    }
    Ok(parsed)
}

fn find(name: &[u8]) -> Option<&'static Row> {
    LONG.binary_search_by(|row| row.name.as_bytes().cmp(name)).ok().map(|at| &LONG[at])
}

fn unknown(name: &[u8]) -> Refusal {
    Refusal::new(
        "rsync.option.unknown",
        format!("option --{} is not one that this server knows", Escaped(name)),
    )
}

/// A word such as `-logDtpre.iLsfxCIvu`, `-B2048` or `-@1`.
fn letters(cluster: &[u8], parsed: &mut Parsed) -> Result<(), Refusal> {
    if let [size @ (b'B' | b'@'), digits @ ..] = cluster {
        // --modify-window=-1 compares times to the nanosecond.
        let number = if *size == b'@' { digits.strip_prefix(b"-").unwrap_or(digits) } else { digits };
        if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
            return Err(not_rsync());
        }
        parsed.options.push(Given::Sized(*size, digits.to_vec()));
        return Ok(());
    }
    let end = cluster.iter().position(|b| *b == b'e').unwrap_or(cluster.len());
    let (plain, protocol) = cluster.split_at(end);
    let mut kept = Vec::with_capacity(plain.len());
    for byte in plain {
        match byte {
            b's' => parsed.secluded = true,
            byte if letter(*byte).is_some() => kept.push(*byte),
            byte => {
                let shown = Escaped(std::slice::from_ref(byte)).to_string();
                return Err(Refusal::new(
                    "rsync.option.unknown",
                    format!("option -{shown} is not one that this server knows"),
                ));
            }
        }
    }
    let protocol = match protocol.split_first() {
        None => None,
        Some((_, protocol)) => {
            // What a server is sent behind e: its client's subprotocol, a dot and capability letters; never a shell.
            let dot = protocol.iter().position(|b| *b == b'.').ok_or_else(not_rsync)?;
            let (number, capabilities) = protocol.split_at(dot);
            let fits = number.iter().all(u8::is_ascii_digit)
                && capabilities[1..].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
            Some(if fits { protocol.to_vec() } else { return Err(not_rsync()) })
        }
    };
    if !kept.is_empty() || protocol.is_some() {
        parsed.options.push(Given::Cluster { letters: kept, protocol });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::words::split;

    #[test]
    fn the_table_is_sorted_and_has_no_name_twice() {
        assert!(LONG.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn what_clients_send_is_read() {
        let parsed =
            parse(&split(b"-blogDtpre.iLsfxCIvu --backup-dir /b\\ k --suffix=a\\ b -B2048 . x\\ y")).unwrap();
        assert_eq!(
            parsed.options,
            [
                Given::Cluster { letters: b"blogDtpr".to_vec(), protocol: Some(b".iLsfxCIvu".to_vec()) },
                Given::Long(find(b"backup-dir").unwrap(), Some(b"/b k".to_vec())),
                Given::Long(find(b"suffix").unwrap(), Some(b"a b".to_vec())),
                Given::Sized(b'B', b"2048".to_vec()),
            ]
        );
        let window = parse(&split(b"-logDtpre.iLsfxCIvu -@-1 . x")).unwrap();
        assert_eq!(window.options[1], Given::Sized(b'@', b"-1".to_vec()));
        assert_eq!(parsed.paths.unwrap()[0].unescaped(), b"x y");
        assert!(parse(&split(b"-slogDtpre.iLsfxCIvu")).unwrap().secluded);
    }

    #[test]
    fn what_was_given_is_found_and_nothing_else() {
        let parsed = parse(&split(b"-vn -te31.LsfxC --delete-after --stats .")).unwrap();
        assert_eq!(parsed.options[0], Given::Cluster { letters: b"vn".to_vec(), protocol: None });
        assert_eq!(
            [b'v', b'n', b't', b'e', b'x', b'L'].map(|letter| parsed.has_letter(letter)),
            [true, true, true, false, false, false]
        );
        assert!(parsed.has_class(Class::Deletes) && !parsed.has_class(Class::DeletesSources));
        assert!(parsed.has_long("stats") && !parsed.has_long("delete"));
        assert!(parsed.knows_protocol_31());
        let older = parse(&split(b"-vxe.Lsf --suffix=x .")).unwrap();
        assert!(older.has_letter(b'x') && !older.knows_protocol_31());
        assert_eq!(parse(&split(b"-se.Lsfx")).unwrap().options.len(), 1);
        assert_eq!(parse(&split(b"-s")).unwrap().options, []);
    }

    #[test]
    fn nothing_else_is() {
        for line in [
            "",
            "-a . x",
            "x",
            "-logDtpr x",
            "- . x",
            "-- . x",
            "--- . x",
            "-esh . x",
            "-e.;id . x",
            "-e . x",
            "-ve./p.sh . x",
            "-B-1 . x",
            "-@ 1 . x",
            "-@- . x",
            "-@--1 . x",
            "-M--x . x",
            "--rsh=sh . x",
            "--rsync-path=x . x",
            "--read-batch=x . x",
            "--server . x",
            "--=x . x",
            "--DELETE . x",
            r"--delete\ x . x",
            r"--delet\e . x",
            r"\--delete . x",
            r"\-r . x",
            r"-v\r . x",
            r"-r \. x",
            r"-a\ b . x",
            "--insecure-links . x",
            "--confine-root=/ . x",
            "--drop-D . x",
            "-s . x",
            "--suffix",
            "--stop-at=x . x",
            "-١ . x",
            "--no-D . x",
        ] {
            assert!(parse(&split(line.as_bytes())).is_err(), "{line}");
        }
    }
}
