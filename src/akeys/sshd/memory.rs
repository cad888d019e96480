//! What sshd has said, for as long as it would say the same.
//!
//! Asking takes sshd 5 ms, which is more than all else that a small key file needs. Its answers come from the program and from the
//! files of its configuration, so they are remembered together with a sum of both: the program's identity, and every byte of the
//! files. Where more goes into an answer nothing is remembered: a `Match` block asks for groups and names, and only an sshd where
//! the distributions have it is known to read `/etc/ssh`. After an hour it is asked anew, whatever the sum says.
//!
//! The memory is a private file in the state directory. It is written when all is done, by a command that has changed something or that
//! is for looking closely: what is refused, and what is a dry run, leaves nothing. And it is never made before that directory is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rrsync_rs::layout::Layout;
use rrsync_rs::sha256::{Sum, Summing};
use rrsync_rs::trusted::{self, Kind};
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::akeys::glob;
use crate::common::private::{self, IfThere};

/// The sshd whose configuration is known to be [`CONFIGURATION`].
const PROGRAM: &str = "/usr/sbin/sshd";

/// Its configuration; names in an `Include` are relative to the directory (`SSHDIR` in pathnames.h).
const CONFIGURATION: &str = "/etc/ssh/sshd_config";

/// How long an answer is believed.
const AT_MOST: SignedDuration = SignedDuration::from_hours(1);

/// A configuration or a memory of more bytes than these is none.
const MOST: u64 = 1 << 20;

/// How deep files may include files (`SERVCONF_MAX_DEPTH` in servconf.c).
const DEEPEST: usize = 16;

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    version: Option<Answer<String>>,
    settings: Option<Answer<BTreeMap<String, Vec<String>>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer<T> {
    /// What it came from.
    from: Sum,
    asked: Timestamp,
    said: T,
}

impl<T> Answer<T> {
    fn new(from: Sum, said: T) -> Self {
        Self { from, asked: Timestamp::now(), said }
    }

    /// The answer, unless it has to be asked for again.
    fn still(self, from: Sum) -> Option<T> {
        let now = Timestamp::now();
        let fresh = self.asked <= now && now.duration_since(self.asked) < AT_MOST;
        (fresh && self.from == from).then_some(self.said)
    }
}

/// What `program` calls itself: remembered, or what `ask` answers.
pub(super) fn version<E>(program: &Path, ask: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
    let from = identity(program);
    let known = from.and_then(|from| recall()?.version?.still(from));
    if let Some(known) = known {
        return Ok(known);
    }
    let said = ask()?;
    if let Some(from) = from {
        answers().version = Some(Answer::new(from, said.clone()));
    }
    Ok(said)
}

/// What holds for every account: remembered, or what `ask` answers.
pub(super) fn settings<E>(program: &Path, ask: impl FnOnce() -> Result<Settings, E>) -> Result<Settings, E> {
    let from = (program == Path::new(PROGRAM)).then(|| basis(program, Path::new(CONFIGURATION))).flatten();
    let known = from.and_then(|from| recall()?.settings?.still(from));
    if let Some(known) = known {
        return Ok(Settings(known));
    }
    let said = ask()?;
    // What was saved while sshd read it is not what it has answered for.
    if let Some(from) = from
        && basis(program, Path::new(CONFIGURATION)) == Some(from)
    {
        answers().settings = Some(Answer::new(from, said.0.clone()));
    }
    Ok(said)
}

fn place() -> Option<PathBuf> {
    let state = Layout::from_env()?.state_dir();
    trusted::open(&state, Kind::Directory).ok()?;
    Some(state.join("sshd.json"))
}

fn recall() -> Option<Memory> {
    let mut bytes = Vec::new();
    trusted::open(&place()?, Kind::File).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What was answered in this run.
static ANSWERS: Mutex<Memory> = Mutex::new(Memory { version: None, settings: None });

/// Whether this run may leave something.
static MAY_BE_KEPT: AtomicBool = AtomicBool::new(false);

fn answers() -> MutexGuard<'static, Memory> {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets this run leave what it hears from sshd.
pub fn may_be_kept() {
    MAY_BE_KEPT.store(true, Ordering::Relaxed);
}

/// Keeps what was answered, if it may be kept. Without it the next one asks again, so nothing is said of what fails.
pub fn keep() {
    let new = std::mem::take(&mut *answers());
    if !MAY_BE_KEPT.load(Ordering::Relaxed) || new.version.is_none() && new.settings.is_none() {
        return;
    }
    let Some(place) = place() else { return };
    let old = recall().unwrap_or_default();
    let memory = Memory { version: new.version.or(old.version), settings: new.settings.or(old.settings) };
    if let Ok(text) = serde_json::to_vec(&memory) {
        let _ = private::write(&place, &text, 0o600, IfThere::Replace);
    }
}

/// Which file a program is, and that nobody has written to it since.
fn identity(program: &Path) -> Option<Sum> {
    let mut sum = Summing::default();
    add_identity(&mut sum, program)?;
    Some(sum.finish())
}

fn add_identity(sum: &mut Summing, program: &Path) -> Option<()> {
    let found = fs::metadata(program).ok()?;
    sum.add(program.as_os_str().as_bytes());
    for number in [found.dev(), found.ino(), found.size()] {
        sum.add(&number.to_be_bytes());
    }
    for number in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
        sum.add(&number.to_be_bytes());
    }
    Some(())
}

/// What an answer of `program` about `configuration` comes from; `None` where that cannot be known.
fn basis(program: &Path, configuration: &Path) -> Option<Sum> {
    let mut sum = Summing::default();
    add_identity(&mut sum, program)?;
    add_file(&mut sum, configuration, configuration.parent()?, 0)?;
    Some(sum.finish())
}

fn add_file(sum: &mut Summing, file: &Path, directory: &Path, depth: usize) -> Option<()> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    let size = u64::try_from(bytes.len()).ok()?;
    if size == MOST || depth > DEEPEST {
        return None;
    }
    for part in [file.as_os_str().as_bytes(), &bytes] {
        sum.add(&u64::try_from(part.len()).ok()?.to_be_bytes());
        sum.add(part);
    }
    for line in bytes.split(|&byte| byte == b'\n') {
        for pattern in included(line)? {
            let pattern = directory.join(pattern);
            // sshd passes over what is not there.
            for file in glob::expanded(&pattern).into_iter().filter(|file| file.exists()) {
                add_file(sum, &file, directory, depth + 1)?;
            }
        }
    }
    Some(())
}

/// The patterns of files that a line includes; `None` when the line may be one that nobody but sshd can follow.
fn included(line: &[u8]) -> Option<Vec<&str>> {
    let line = line.trim_ascii_start();
    let has = |word: &str| line.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    if line.starts_with(b"#") {
        return Some(Vec::new());
    }
    if has("match") {
        return None;
    }
    if !has("include") {
        return Some(Vec::new());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.*?-_+@ \t".contains(c);
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (keyword, patterns) = text.split_once([' ', '\t'])?;
    let understood = keyword.eq_ignore_ascii_case("include") && patterns.chars().all(plain);
    understood.then(|| patterns.split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_understood_are_followed() {
        for (line, expected) in [
            ("Port 22", Some(vec![])),
            ("", Some(vec![])),
            ("# Match all", Some(vec![])),
            ("  #Include x", Some(vec![])),
            ("Include /etc/ssh/sshd_config.d/*.conf", Some(vec!["/etc/ssh/sshd_config.d/*.conf"])),
            ("\tinclude a.conf\tb/*.conf \r", Some(vec!["a.conf", "b/*.conf"])),
            ("Include=a.conf", None),
            ("Include \"a b.conf\"", None),
            ("\"Include\" a.conf", None),
            ("Include a\\ b", None),
            ("Include {a,b}.conf", None),
            ("Include [ab].conf", None),
            ("Include ~/x", None),
            ("Include a # b", None),
            ("Include", None),
            ("Match User root", None),
            ("  MATCH all", None),
            ("\"match\" all", None),
            ("Banner /etc/match", None),
        ] {
            assert_eq!(included(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(included(b"Include \xff"), None);
    }

    #[test]
    fn another_configuration_or_program_is_another_basis() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let (program, main) = (at("sshd"), at("sshd_config"));
        let now = || basis(&program, &main);
        assert_eq!(now(), None, "no program, no configuration");
        fs::write(&program, "1").unwrap();
        assert_eq!(now(), None, "no configuration");
        fs::create_dir(at("sshd_config.d")).unwrap();
        fs::write(&main, "Include sshd_config.d/*.conf\n").unwrap();
        let mut seen = vec![now().unwrap()];
        let mut new = |what: &str| {
            let sum = now().unwrap();
            assert!(!seen.contains(&sum), "{what}");
            seen.push(sum);
        };
        fs::write(at("sshd_config.d/a.conf"), "Port 1\n").unwrap();
        new("a file that is included");
        fs::write(at("sshd_config.d/a.conf"), "Port 2\n").unwrap();
        new("its content");
        fs::rename(at("sshd_config.d/a.conf"), at("sshd_config.d/b.conf")).unwrap();
        new("its name");
        fs::write(at("sshd_config.d/c.conf"), "Include d/e.conf\n").unwrap();
        new("another one");
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/e.conf"), "").unwrap();
        new("what that includes, relative to the first one's directory");
        fs::write(&program, "2").unwrap();
        new("another program");
        fs::write(at("d/e.conf"), "Match all\n").unwrap();
        assert_eq!(now(), None, "what holds for some logins");
        fs::write(at("d/e.conf"), "Include d/e.conf\n").unwrap();
        assert_eq!(now(), None, "without an end");
        fs::remove_file(at("d/e.conf")).unwrap();
        fs::create_dir(at("d/e.conf")).unwrap();
        assert_eq!(now(), None, "no file");
    }

    #[test]
    fn an_answer_is_believed_for_an_hour() {
        let (from, other) = (Summing::default().finish(), {
            let mut sum = Summing::default();
            sum.add(b"x");
            sum.finish()
        });
        let asked_ago = |seconds: i64| Answer {
            from,
            asked: Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).unwrap(),
            said: (),
        };
        assert!(asked_ago(0).still(from).is_some());
        assert!(asked_ago(3500).still(from).is_some());
        assert!(asked_ago(3700).still(from).is_none());
        assert!(asked_ago(-60).still(from).is_none(), "a clock that was set back");
        assert!(asked_ago(0).still(other).is_none());
    }
}
