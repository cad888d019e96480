//! The gate's own command line: rrsync's, and the grant form.
//!
//! What stands here was written by the account's owner into `authorized_keys`; nothing of it comes from a client.
//! rrsync's options have one dash and may be shortened while that is unambiguous, as Python's argparse has it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::confine::Isolation;
use crate::escape::Escaped;
use crate::grant::{Access, Confine};
use crate::name::GrantName;
use crate::rules::{self, BadRule, Rules};

/// What the gate was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Args {
    /// Serve, or explain, one request.
    Gate(Box<Gate>),
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
}

/// One request's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What the key may use.
    pub source: Source,
    /// The rsync to run, if the administrator names one.
    pub rsync: Option<PathBuf>,
    /// `--within`: this is the session that another gate waits for. Only the gate itself says so.
    pub within: bool,
    /// Present for `--explain`: print the verdict and run nothing.
    pub explain: Option<Explain>,
}

/// Where the policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--grant NAME`.
    Grant(GrantName),
    /// `[OPTIONS] DIR`, as rrsync has it.
    DropIn(DropIn),
}

/// rrsync's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// The directory, as written; empty for the working directory.
    pub dir: PathBuf,
    /// `-ro`, `-wo` or neither.
    pub access: Access,
    /// `-munge`.
    pub munge: bool,
    /// `-absolute`.
    pub absolute: bool,
    /// Not `-no-del`.
    pub delete: bool,
    /// Not `-no-lock`.
    pub lock: bool,
    /// Not `-no-overwrite`.
    pub overwrite: bool,
    /// `-confine`.
    pub confine: Confine,
    /// `-allow`, `-deny`, `-force`, `-timeout`, `-probes`. What a mode says is kept, as with rrsync.
    pub rules: Rules,
    /// `-namespace`.
    pub namespace: Isolation,
}

/// How to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// The client's command; `None` stands for a request for a shell.
    pub command: Option<OsString>,
    /// As one JSON object.
    pub json: bool,
}

/// A command line that means nothing. `Display` is in argparse's words where rrsync would say the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// rrsync's options, which may be shortened.
const SHORTENED: &[&str] =
    &["-ro", "-wo", "-munge", "-absolute", "-no-del", "-no-lock", "-no-overwrite", "-help"];

/// Reads the arguments behind the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, UsageError> {
    let mut args = args.into_iter();
    let mut found = Found::default();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            found.rest = Some(args.collect());
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            found.dirs.push(arg);
            continue;
        }
        let mut value = |name: &str| {
            args.next().ok_or_else(|| UsageError(format!("argument {name}: expected one argument")))
        };
        match expand(&arg)? {
            "-ro" | "--read-only" => found.access(Access::ReadOnly)?,
            "-wo" | "--write-only" => found.access(Access::WriteOnly)?,
            "-munge" | "--munge" => found.munge = true,
            "-absolute" | "--absolute" => found.absolute = true,
            "-no-del" | "--no-delete" => found.no_delete = true,
            "-no-lock" | "--no-lock" => found.no_lock = true,
            "-no-overwrite" | "--no-overwrite" => found.no_overwrite = true,
            "-rsync" | "--rsync" => found.rsync = Some(value("-rsync")?.into()),
            "-confine" | "--confine" => found.confine = Some(confine(&value("-confine")?)?),
            "-allow" | "--allow" => found.rules.allow.extend(words(&value("-allow")?, rules::allowable)?),
            "-deny" | "--deny" => found.rules.deny.extend(words(&value("-deny")?, rules::deniable)?),
            "-force" | "--force" => found.rules.force.extend(words(&value("-force")?, str::parse)?),
            "-timeout" | "--timeout" => found.rules.limits.timeout = Some(seconds(&value("-timeout")?)?),
            "-probes" | "--probes" => found.rules.probes = true,
            "-namespace" | "--namespace" => found.namespace = Some(namespace(&value("-namespace")?)?),
            "--grant" => found.grant = Some(grant(&value("--grant")?)?),
            "--within" => found.within = true,
            "--explain" => found.explain = true,
            "--json" => found.json = true,
            "-help" | "-h" | "--help" => return Ok(Args::Help),
            "-version" | "--version" => return Ok(Args::Version),
            _ => return Err(unrecognized(&arg)),
        }
    }
    found.finish()
}

#[derive(Default)]
struct Found {
    access: Option<Access>,
    munge: bool,
    absolute: bool,
    no_delete: bool,
    no_lock: bool,
    no_overwrite: bool,
    rsync: Option<PathBuf>,
    confine: Option<Confine>,
    rules: Rules,
    namespace: Option<Isolation>,
    grant: Option<GrantName>,
    within: bool,
    explain: bool,
    json: bool,
    dirs: Vec<OsString>,
    rest: Option<Vec<OsString>>,
}

impl Found {
    fn access(&mut self, access: Access) -> Result<(), UsageError> {
        let flag = |access| if access == Access::ReadOnly { "-ro" } else { "-wo" };
        match self.access {
            Some(other) if other != access => {
                let (this, other) = (flag(access), flag(other));
                Err(UsageError(format!("argument {this}: not allowed with argument {other}")))
            }
            _ => {
                self.access = Some(access);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Args, UsageError> {
        let explain = self.explain();
        if !self.explain {
            // argparse: whatever follows `--` is positional.
            self.dirs.extend(self.rest.take().unwrap_or_default());
        }
        if self.json && !self.explain {
            return Err(UsageError("argument --json: only with --explain".to_owned()));
        }
        let explain = if self.explain { Some(explain?) } else { None };
        if let Some(extra) = self.dirs.get(1) {
            return Err(unrecognized(extra));
        }
        let source = match (self.grant, self.dirs.pop()) {
            (Some(_), Some(dir)) => return Err(unrecognized(&dir)),
            (Some(_), None)
                if self.munge
                    || self.absolute
                    || self.no_delete
                    || self.no_lock
                    || self.no_overwrite
                    || self.access.is_some()
                    || self.confine.is_some()
                    || self.rules != Rules::default()
                    || self.namespace.is_some() =>
            {
                return Err(UsageError(
                    "argument --grant: the grant's file says what rrsync's options would".to_owned(),
                ));
            }
            (Some(name), None) => Source::Grant(name),
            (None, None) => return Err(UsageError("the following arguments are required: DIR".to_owned())),
            (None, Some(dir)) => Source::DropIn(DropIn {
                dir: dir.into(),
                access: self.access.unwrap_or(Access::ReadWrite),
                munge: self.munge,
                absolute: self.absolute,
                delete: !self.no_delete,
                lock: !self.no_lock,
                overwrite: !self.no_overwrite,
                confine: self.confine.unwrap_or_default(),
                rules: Rules { setuid: true, ..self.rules },
                namespace: self.namespace.unwrap_or_default(),
            }),
        };
        Ok(Args::Gate(Box::new(Gate { source, rsync: self.rsync, within: self.within, explain })))
    }

    fn explain(&mut self) -> Result<Explain, UsageError> {
        let mut rest =
            if self.explain { self.rest.take().unwrap_or_default() } else { Vec::new() }.into_iter();
        let command = rest.next();
        match rest.next() {
            Some(extra) => Err(UsageError(format!(
                "argument --explain: the command is one word, quoted; {:?} is a second",
                Escaped::os(&extra).to_string()
            ))),
            None => Ok(Explain { command, json: self.json }),
        }
    }
}

/// The option that `arg` is, or is short for.
fn expand(arg: &OsStr) -> Result<&str, UsageError> {
    let text = arg.to_str().ok_or_else(|| unrecognized(arg))?;
    if text == "-h" || SHORTENED.contains(&text) || text.starts_with("--") {
        return Ok(text);
    }
    if let Some((name, value)) = text.split_once('=')
        && SHORTENED.contains(&name)
    {
        return Err(UsageError(format!(
            "argument {name}: ignored explicit argument '{}'",
            Escaped(value.as_bytes())
        )));
    }
    let candidates: Vec<&str> = SHORTENED.iter().copied().filter(|option| option.starts_with(text)).collect();
    match candidates.as_slice() {
        [] => Ok(text),
        [one] => Ok(one),
        many => Err(UsageError(format!("ambiguous option: {text} could match {}", many.join(", ")))),
    }
}

fn confine(word: &OsStr) -> Result<Confine, UsageError> {
    match word.as_bytes() {
        b"required" => Ok(Confine::Required),
        b"best-effort" => Ok(Confine::BestEffort),
        b"off" => Ok(Confine::Off),
        _ => Err(UsageError("argument -confine: required, best-effort or off".to_owned())),
    }
}

/// Names with commas between them, each read by `read`.
fn words<T>(list: &OsStr, read: impl Fn(&str) -> Result<T, BadRule>) -> Result<Vec<T>, UsageError> {
    let list = list.to_str().ok_or_else(|| unrecognized(list))?;
    list.split(',').map(|word| read(word).map_err(|error| UsageError(error.to_string()))).collect()
}

fn seconds(word: &OsStr) -> Result<u32, UsageError> {
    let number = word.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| UsageError("argument -timeout: a number of seconds".to_owned()))
}

fn namespace(word: &OsStr) -> Result<Isolation, UsageError> {
    match word.as_bytes() {
        b"auto" => Ok(Isolation::Auto),
        b"required" => Ok(Isolation::Required),
        b"off" => Ok(Isolation::Off),
        _ => Err(UsageError("argument -namespace: auto, required or off".to_owned())),
    }
}

fn grant(word: &OsStr) -> Result<GrantName, UsageError> {
    let text = word.to_str().ok_or_else(|| UsageError("argument --grant: not a grant's name".to_owned()))?;
    text.parse().map_err(|error| UsageError(format!("argument --grant: {error}")))
}

fn unrecognized(arg: &OsStr) -> UsageError {
    UsageError(format!("unrecognized arguments: {}", Escaped::os(arg)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Args, UsageError> {
        parse(args.iter().map(OsString::from))
    }

    fn drop_in(args: &[&str]) -> DropIn {
        match read(args) {
            Ok(Args::Gate(gate)) => match gate.source {
                Source::DropIn(drop_in) => drop_in,
                Source::Grant(name) => panic!("{args:?}: {name}"),
            },
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn rrsyncs_options_mean_what_they_mean_there() {
        let all = drop_in(&["-wo", "/d", "-munge", "-absolute", "-no-del", "-no-lock", "-no-overwrite"]);
        assert_eq!(all.access, Access::WriteOnly);
        assert!(all.munge && all.absolute && !all.delete && !all.lock && !all.overwrite);
        for short in [["-r", "/d"], ["/d", "-ro"]] {
            assert_eq!(drop_in(&short).access, Access::ReadOnly);
        }
        assert!(!drop_in(&["-no-d", "/d"]).delete);
        assert_eq!(drop_in(&["--", "/d"]).dir, PathBuf::from("/d"));
        assert_eq!(drop_in(&[""]).dir, PathBuf::new());
        for (wrong, says) in [
            (&["-n", "/d"][..], "ambiguous option: -n could match -no-del, -no-lock, -no-overwrite"),
            (&["-ro", "-wo", "/d"], "argument -wo: not allowed with argument -ro"),
            (&["-ro"], "the following arguments are required: DIR"),
            (&["--ro", "/d"], "unrecognized arguments: --ro"),
            (&["-RO", "/d"], "unrecognized arguments: -RO"),
            (&["-ro=1", "/d"], "argument -ro: ignored explicit argument '1'"),
            (&["/d", "/e"], "unrecognized arguments: /e"),
            (&["--grant", "a.b", "/d"], "unrecognized arguments: /d"),
            (&["--grant", "../x"], "argument --grant: grant name \"../x\" must be"),
            (&["--grant", "a.b", "-ro"], "argument --grant: the grant's file says"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with(says), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn rules_about_options_are_read() {
        let rules =
            drop_in(&["-allow", "copy-links", "-deny", "owner,group", "-force", "bwlimit=9,fsync", "/d"])
                .rules;
        assert_eq!((rules.allow.len(), rules.deny.len(), rules.force.len(), rules.setuid), (1, 2, 2, true));
        for wrong in [["-allow", "owner"], ["-deny", "rsh"], ["-force", "rsh=sh"], ["-timeout", "0"]] {
            assert!(read(&[wrong[0], wrong[1], "/d"]).is_err(), "{wrong:?}");
        }
        assert!(read(&["--grant", "a.b", "-deny", "owner"]).is_err());
    }

    #[test]
    fn explain_takes_one_command() {
        let Ok(Args::Gate(gate)) = read(&["--explain", "-ro", "/d", "--json", "--", "rsync --server . x"])
        else {
            panic!()
        };
        assert_eq!(gate.explain, Some(Explain { command: Some("rsync --server . x".into()), json: true }));
        assert!(read(&["--explain", "/d", "--", "rsync", "--server"]).is_err());
    }
}
