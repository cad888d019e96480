//! One `[workspace.NAME]` table of a policy: read, and written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::file::{GrantError, Misplaced, Problem, quoted};
use super::files::{FileRules, Modes, Names, Pattern, Quota, Symlinks};
use super::{Access, Workspace};
use crate::rules;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WorkspaceForm {
    pub(super) path: Spanned<String>,
    access: Spanned<Access>,
    #[serde(default)]
    paths: BTreeMap<Spanned<String>, Access>,
    delete: Option<Spanned<bool>>,
    overwrite: Option<Spanned<bool>>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    munge: bool,
    #[serde(default)]
    append: bool,
    #[serde(default)]
    atomic: bool,
    #[serde(default)]
    versions: bool,
    #[serde(default)]
    symlinks: Symlinks,
    quota: Option<Spanned<String>>,
    quota_files: Option<u64>,
    min_free: Option<Spanned<String>>,
    #[serde(default)]
    names: NamesForm,
    umask: Option<Spanned<String>>,
    file_mode: Option<Spanned<String>>,
    dir_mode: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NamesForm {
    allow: Vec<Spanned<String>>,
    deny: Vec<Spanned<String>>,
    hide: Vec<Spanned<String>>,
    length: Option<usize>,
}

impl WorkspaceForm {
    /// What the table says; `path` is its directory, expanded already.
    pub(super) fn read(&self, path: PathBuf, at: Misplaced<'_>) -> Result<Workspace, GrantError> {
        let mut paths = BTreeMap::new();
        for (written, access) in &self.paths {
            let sub = sub_path(written.get_ref())
                .ok_or_else(|| at(written.span().start, Problem::BadSubPath(written.get_ref().clone())))?;
            if paths.insert(sub, *access).is_some() {
                let problem = Problem::Contradiction("this sub-path is named twice");
                return Err(at(written.span().start, problem));
            }
        }
        let access = *self.access.get_ref();
        if access == Access::None && paths.values().all(|access| *access == Access::None) {
            let problem = Problem::Contradiction("access is none, and no sub-path says otherwise");
            return Err(at(self.access.span().start, problem));
        }
        let said = |value: &Option<Spanned<bool>>| value.as_ref().map(|value| *value.get_ref());
        let overwrite = said(&self.overwrite).unwrap_or(!self.append);
        for (key, contradicts, why) in [
            (&self.overwrite, self.append, "overwrite = true contradicts append = true"),
            (&self.delete, self.append, "delete = true contradicts append = true"),
            (&self.delete, !overwrite, "delete = true contradicts overwrite = false"),
        ] {
            if let Some(stated) = key.as_ref().filter(|stated| *stated.get_ref() && contradicts) {
                return Err(at(stated.span().start, Problem::Contradiction(why)));
            }
        }
        Ok(Workspace {
            path,
            access,
            paths,
            delete: said(&self.delete).unwrap_or(overwrite),
            overwrite,
            hidden: self.hidden,
            munge: self.munge,
            files: self.files(at)?,
        })
    }

    fn files(&self, at: Misplaced<'_>) -> Result<FileRules, GrantError> {
        let size = |written: &Option<Spanned<String>>| {
            read(written.as_ref(), at, |word| rules::size(word).map_err(Problem::Rule))
        };
        let mode = |written: &Option<Spanned<String>>| read(written.as_ref(), at, mode);
        let directory = mode(&self.dir_mode)?;
        if let (Some(written), Some(mode)) = (&self.dir_mode, directory)
            && mode & 0o300 != 0o300
        {
            let problem = Problem::Contradiction("the owner could make nothing in such a directory");
            return Err(at(written.span().start, problem));
        }
        let patterns = |words: &[Spanned<String>]| {
            words
                .iter()
                .map(|word| {
                    let read = Pattern::read(word.get_ref());
                    read.ok_or_else(|| at(word.span().start, Problem::BadPattern(word.get_ref().clone())))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(FileRules {
            append: self.append,
            atomic: self.atomic,
            versions: self.versions,
            symlinks: self.symlinks,
            quota: Quota { bytes: size(&self.quota)?, files: self.quota_files },
            min_free: size(&self.min_free)?,
            names: Names {
                allow: patterns(&self.names.allow)?,
                deny: patterns(&self.names.deny)?,
                hide: patterns(&self.names.hide)?,
                length: self.names.length,
            },
            modes: Modes { umask: mode(&self.umask)?.unwrap_or(0), file: mode(&self.file_mode)?, directory },
        })
    }
}

/// Reads a word where there is one.
fn read<T>(
    written: Option<&Spanned<String>>,
    at: Misplaced<'_>,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Option<T>, GrantError> {
    written.map(|word| read(word.get_ref()).map_err(|problem| at(word.span().start, problem))).transpose()
}

/// Permission bits as `chmod` takes them: up to four octal digits, without set-user-ID, set-group-ID and sticky.
fn mode(word: &str) -> Result<u32, Problem> {
    let digits = (1..=4).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(word, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| Problem::BadMode(word.to_owned()))
}

/// A sub-path as a policy may write it: relative, plain components only; a trailing slash is allowed.
fn sub_path(written: &str) -> Option<PathBuf> {
    let path = Path::new(written);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let dotted = written.split('/').any(|part| part == "." || part == "..");
    (plain && !dotted && !written.is_empty() && !written.contains('\0')).then(|| path.components().collect())
}

/// Writes the tables of one workspace; `None` when a sub-path is not UTF-8.
pub(super) fn render(key: &str, path: &str, workspace: &Workspace, text: &mut String) -> Option<()> {
    let _ = write!(text, "\n[workspace.{key}]\npath = {path}\n");
    let _ = writeln!(text, "access = {}", quoted(&workspace.access.to_string()));
    let files = &workspace.files;
    if files.append {
        text.push_str("append = true\n");
    } else if !workspace.overwrite {
        text.push_str("overwrite = false\n");
    } else if !workspace.delete {
        text.push_str("delete = false\n");
    }
    for (key, on) in [("munge", workspace.munge), ("atomic", files.atomic), ("versions", files.versions)] {
        if on {
            let _ = writeln!(text, "{key} = true");
        }
    }
    if files.symlinks == Symlinks::None {
        text.push_str("symlinks = \"none\"\n");
    }
    if let Some(most) = files.quota.files {
        let _ = writeln!(text, "quota-files = {most}");
    }
    for (key, bytes) in [("quota", files.quota.bytes), ("min-free", files.min_free)] {
        if let Some(bytes) = bytes {
            let _ = writeln!(text, "{key} = \"{bytes}\"");
        }
    }
    let umask = (files.modes.umask != 0).then_some(files.modes.umask);
    for (key, mode) in
        [("umask", umask), ("file-mode", files.modes.file), ("dir-mode", files.modes.directory)]
    {
        if let Some(mode) = mode {
            let _ = writeln!(text, "{key} = \"{mode:04o}\"");
        }
    }
    if files.names != Names::default() {
        let _ = writeln!(text, "[workspace.{key}.names]");
        names(&files.names, text);
    }
    if !workspace.paths.is_empty() {
        let _ = writeln!(text, "[workspace.{key}.paths]");
        for (sub, access) in &workspace.paths {
            let _ = writeln!(text, "{} = {}", quoted(sub.to_str()?), quoted(&access.to_string()));
        }
    }
    Some(())
}

fn names(names: &Names, text: &mut String) {
    for (key, patterns) in [("allow", &names.allow), ("deny", &names.deny), ("hide", &names.hide)] {
        if !patterns.is_empty() {
            let words: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "{key} = {}", toml::Value::from(words));
        }
    }
    if let Some(length) = names.length {
        let _ = writeln!(text, "length = {length}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, render};
    use crate::layout::Layout;

    const HEAD: &str = "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\"]\n";
    const EVERYTHING: &str = r#"record-sha256 = true
[workspace.inbox]
path = "~/inbox"
access = "wo"
append = true
munge = true
atomic = true
versions = true
symlinks = "none"
quota = "10G"
quota-files = 1000
min-free = "1M"
umask = "027"
file-mode = "0640"
dir-mode = "0750"
[workspace.inbox.names]
allow = ["*.csv", 'a\*b']
deny = [".*"]
hide = [".git"]
length = 100
[workspace.inbox.paths]
"new" = "drop"
"#;

    #[test]
    fn rules_for_files_are_read_written_and_said() {
        let layout = Layout::new("/home/u").unwrap();
        let grant = parse(&format!("{HEAD}{EVERYTHING}"), &layout).unwrap();
        let inbox = &grant.workspaces[&"inbox".parse().unwrap()];
        assert!(!inbox.overwrite && !inbox.delete && grant.record_sha256);
        assert_eq!(parse(&render(&grant, &layout).unwrap(), &layout).unwrap(), grant);
        assert_eq!(
            grant.summary(),
            "sftp; add only to inbox (what is there may only grow, files appear when they are complete, what is \
             overwritten or removed is kept, no symlinks are made, at most 10 GiB, at most 1000 files, 1 MiB stay \
             free, new files are called *.csv a\\*b, nothing new is called .*, not seen: .git, new names have at most \
             100 bytes, umask 0027, files get mode 0640, directories get mode 0750), drop into inbox/new"
        );
    }

    #[test]
    fn what_may_be_overwritten_and_deleted_follows_from_what_is_said() {
        let layout = Layout::new("/home/u").unwrap();
        for (said, overwrite, delete) in [
            ("", true, true),
            ("overwrite = true\ndelete = true", true, true),
            ("overwrite = true\ndelete = false", true, false),
            ("delete = false", true, false),
            ("overwrite = false", false, false),
            ("overwrite = false\ndelete = false", false, false),
            ("append = true", false, false),
            ("append = true\noverwrite = false\ndelete = false", false, false),
            ("append = false\noverwrite = true\ndelete = true", true, true),
        ] {
            let text = format!("{HEAD}[workspace.inbox]\npath = \"~/inbox\"\naccess = \"rw\"\n{said}\n");
            let grant = parse(&text, &layout).unwrap();
            let inbox = &grant.workspaces[&"inbox".parse().unwrap()];
            assert_eq!((inbox.overwrite, inbox.delete), (overwrite, delete), "{said}");
            assert_eq!(parse(&render(&grant, &layout).unwrap(), &layout).unwrap(), grant, "{said}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_rule_for_files_is_named_with_its_place() {
        let layout = Layout::new("/home/u").unwrap();
        for (from, to, line, column, says) in [
            (
                "append = true",
                "append = true\noverwrite = true",
                9,
                13,
                "overwrite = true contradicts append",
            ),
            ("append = true", "append = true\ndelete = true", 9, 10, "delete = true contradicts append"),
            ("\"none\"", "\"some\"", 12, 12, "unknown variant `some`"),
            ("\"10G\"", "\"ten\"", 13, 9, "not a size"),
            ("1000", "-1", 14, 15, "invalid value"),
            ("\"1M\"", "\"0\"", 15, 12, "not a size"),
            ("\"027\"", "\"1777\"", 16, 9, "not a mode"),
            ("\"027\"", "\"0x1\"", 16, 9, "not a mode"),
            ("\"027\"", "\"+27\"", 16, 9, "not a mode"),
            ("\"027\"", "\"00027\"", 16, 9, "not a mode"),
            ("\"027\"", "\"028\"", 16, 9, "not a mode"),
            ("\"0640\"", "\"\"", 17, 13, "not a mode"),
            ("\"0750\"", "\"0400\"", 18, 12, "the owner could make nothing"),
            ("\"*.csv\"", "\"a/*.csv\"", 20, 10, "not a pattern"),
            ("length", "longest", 23, 1, "unknown field `longest`"),
            ("\"drop\"", "\"dropp\"", 25, 9, "unknown variant `dropp`"),
        ] {
            let text = format!("{HEAD}{}", EVERYTHING.replacen(from, to, 1));
            let error = parse(&text, &layout).unwrap_err();
            assert!(error.to_string().contains(says), "{to}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{to}: {error}");
        }
        let watched = HEAD.replace("\"sftp\"", "\"sftp\", \"watch\"");
        let error = parse(&format!("{watched}{EVERYTHING}"), &layout).unwrap_err().to_string();
        assert!(error.contains("3:9: workspace inbox hides names"), "{error}");
    }
}
