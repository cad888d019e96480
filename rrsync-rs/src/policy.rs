//! What is exposed to this session: open roots and what each allows.
//!
//! A grant exposes named workspaces; the drop-in form exposes one unnamed directory. From here on both are the same to
//! every tool.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::beneath::{Last, Root};
use crate::confine::Rights;
use crate::grant::{Access, Workspace};
use crate::name::WorkspaceName;
use crate::verdict::{Change, Refusal};

/// One open directory and its rules.
#[derive(Debug)]
pub struct Exposed {
    /// The first component of a client's path; `None` in the drop-in form, where the directory is the client's `/`.
    pub name: Option<WorkspaceName>,
    /// The directory, open.
    pub root: Root,
    /// Its rules.
    pub workspace: Workspace,
    /// Whether a client may also write the server's absolute path (`-absolute`).
    pub absolute: bool,
}

/// Everything that is exposed to a session.
#[derive(Debug)]
pub struct Policy {
    /// At least one; names are distinct, and either all are named or the only one is not.
    pub exposed: Vec<Exposed>,
    /// Workspaces of the grant whose directory is not there now.
    pub missing: Vec<WorkspaceName>,
}

impl Policy {
    /// The workspace of that name. What cannot be one is refused, and the client learns which there are.
    pub fn named(&self, name: &[u8]) -> Result<&Exposed, Refusal> {
        let same = |known: &WorkspaceName| known.as_str().as_bytes() == name;
        if let Some(found) = self.exposed.iter().find(|exposed| exposed.name.as_ref().is_some_and(same)) {
            return Ok(found);
        }
        if let Some(name) = self.missing.iter().find(|name| same(name)) {
            return Err(Refusal::new("workspace.missing", format!("workspace {name} cannot be opened")));
        }
        let names: Vec<&str> = self
            .exposed
            .iter()
            .filter_map(|exposed| exposed.name.as_ref())
            .map(WorkspaceName::as_str)
            .collect();
        let message = if matches!(name, b"" | b"." | b"..") {
            format!("name a workspace: {}", names.join(", "))
        } else {
            let name = crate::escape::Escaped(name).to_string();
            format!("there is no workspace {name:?}; there are: {}", names.join(", "))
        };
        Err(Refusal::new("path.workspace", message))
    }
}

impl Exposed {
    /// Opens a workspace's directory.
    pub fn open(name: Option<WorkspaceName>, mut workspace: Workspace, absolute: bool) -> io::Result<Self> {
        let root = Root::open(&workspace.path)?;
        // A rule for a path that the owner's symlink leads elsewhere also holds where it leads; but only what it takes
        // away, so that no symlink can give anybody more.
        for (written, rule) in workspace.paths.clone() {
            let Ok(held) = root.hold(&written, Last::Follow) else { continue };
            let now = workspace.access_to(&held.at);
            let both = now.both(rule);
            if held.at != written && both != now {
                workspace.paths.insert(held.at, both);
            }
        }
        Ok(Self { name, root, workspace, absolute })
    }

    /// Whether this is the whole file system: nothing lies outside, so nothing can lead there.
    pub fn is_everything(&self) -> bool {
        self.root.real() == Path::new("/")
    }

    /// How a message to the client names `at`: never a path of the server's.
    pub fn shown(&self, at: &Path) -> String {
        let at = crate::escape::Escaped::os(at).to_string();
        match &self.name {
            Some(name) if at.is_empty() => name.to_string(),
            Some(name) => format!("{name}/{at}"),
            None if at.is_empty() => "/".to_owned(),
            None => at,
        }
    }

    /// Whether something on the way to `at` is not there for this key, by its name.
    pub fn hides(&self, at: &Path) -> bool {
        let names = &self.workspace.files.names;
        !names.hide.is_empty() && at.components().any(|part| names.hides(part.as_os_str().as_bytes()))
    }

    /// Whether rsync keeps the rules of this workspace when it is used as `wanted`.
    pub fn kept_by_rsync(&self, wanted: Use) -> Result<(), Refusal> {
        let beyond = self.workspace.files.beyond_rsync().filter(|_| wanted != Use::Read);
        beyond.map_or(Ok(()), |rule| {
            let to = self.shown(Path::new(""));
            let message = format!("rsync does not keep the rule \"{rule}\" of {to}; sftp and scp do");
            Err(Refusal::new("access.rules", message))
        })
    }

    /// What a push may do at `at`, as far as the kernel can hold it to that.
    pub fn push_rights(&self, at: &Path) -> Rights {
        let (read, overwrite) = (self.workspace.access_to(at).may_read(), self.workspace.overwrite);
        Rights {
            read,
            list: read,
            change: overwrite,
            add: true,
            remove: overwrite,
            remove_directories: overwrite && self.workspace.delete,
            special: self.is_everything(),
        }
    }

    /// The largest directory around `at` below which everything may be used as `wanted`; relative to the root.
    ///
    /// Landlock's rules reach from a directory to everything below it, so this is what a rule may be made for. Where parts of
    /// `at` may not be used so, it is `at` itself, and the parts have to be kept in another way.
    ///
    /// # Errors
    /// A refusal when `at` itself may not be used so, or when a part may be used in another way that cannot be kept apart.
    pub fn scope(&self, at: &Path, wanted: Use) -> Result<Scope, Refusal> {
        let now = self.workspace.access_to(at);
        if now == Access::Drop {
            // No other access is suggested: a drop is made so that nothing else is possible.
            let message = format!("{} takes drops, by sftp or scp", self.shown(at));
            return Err(Refusal::new("access.drop", message));
        }
        if !wanted.allowed_by(now) {
            // A policy is text: for another path there is no change, and a record could not hold it.
            let name = self.name.clone().filter(|_| at.to_str().is_some());
            let change = name.map(|workspace| Change::Access {
                workspace,
                path: at.to_owned(),
                // What is allowed already stays allowed.
                access: Access::ReadWrite,
            });
            return Err(wanted.refusal(&self.shown(at), now).unless(change));
        }
        // What may be read and what may not never share a rule: a backup, say, would carry content across.
        let alike = |access: Access| wanted.allowed_by(access) && access.may_read() == now.may_read();
        let other = |dir: &Path| -> Vec<(PathBuf, Access)> {
            let below =
                self.workspace.paths.iter().filter(|(sub, access)| sub.starts_with(dir) && !alike(**access));
            below.map(|(sub, access)| (sub.clone(), *access)).collect()
        };
        let parts = other(at);
        if parts.is_empty() {
            let uniform = |dir: &Path| alike(self.workspace.access_to(dir)) && other(dir).is_empty();
            let largest = at.ancestors().take_while(|dir| uniform(dir)).last();
            return Ok(Scope { at: largest.unwrap_or(at).to_owned(), parts: Vec::new() });
        }
        let parts = parts.into_iter().map(|(part, access)| match access {
            Access::None => Ok((part, Keep::Hidden)),
            _ if wanted == Use::Read || !access.may_write() && !now.may_read() => Ok((part, Keep::Hidden)),
            Access::ReadOnly => Ok((part, Keep::Unchanged)),
            Access::WriteOnly | Access::ReadWrite | Access::Drop => Err(self.mixed(at)),
        });
        Ok(Scope { at: at.to_owned(), parts: parts.collect::<Result<_, _>>()? })
    }

    /// The refusal of a directory that has parts which cannot be kept apart.
    pub fn mixed(&self, at: &Path) -> Refusal {
        let message = format!("{} contains paths with another access", self.shown(at));
        Refusal::new("path.mixed", message)
    }
}

/// A directory, and what is in it that the same rule must not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Relative to the root.
    pub at: PathBuf,
    /// Parts of it, relative to the root.
    pub parts: Vec<(PathBuf, Keep)>,
}

/// How a part of a directory is kept apart, which takes a mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is not there.
    Hidden,
    /// It cannot be changed.
    Unchanged,
}

/// What a request wants to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read it and what is below it.
    Read,
    /// Write it and what is below it.
    Write,
    /// Remove it once it has been sent.
    Remove,
}

impl Use {
    fn allowed_by(self, access: Access) -> bool {
        match self {
            Self::Read => access.may_read(),
            // A drop is not for rsync, which writes where it likes and looks at what is there.
            Self::Write | Self::Remove => access.may_write() && access != Access::Drop,
        }
    }

    /// The refusal of this use of `shown`, which has another access.
    pub fn refusal(self, shown: &str, access: Access) -> Refusal {
        match (self, access) {
            (Self::Read, Access::None) => Refusal::new("access.read", format!("{shown} is not exposed")),
            (_, Access::None) => Refusal::new("access.write", format!("{shown} is not exposed")),
            (Self::Read, _) => {
                Refusal::new("access.read", format!("reading from {shown} is not allowed: it is write-only"))
            }
            (Self::Write | Self::Remove, _) => {
                Refusal::new("access.write", format!("sending to {shown} is not allowed: it is read-only"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use Access::{Drop as Deliver, None as Nothing, ReadOnly, ReadWrite, WriteOnly};
    use Keep::{Hidden, Unchanged};

    /// A directory with another in it, and a link to that.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("policy-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(dir.join("to/deep")).unwrap();
            symlink("to", dir.join("link")).unwrap();
            Self(dir)
        }

        fn exposed(&self, name: Option<&str>, access: Access, parts: &[(&str, Access)]) -> Exposed {
            let mut workspace = Workspace::new(&self.0, access);
            workspace.paths = parts.iter().map(|(part, access)| (part.into(), *access)).collect();
            Exposed::open(name.map(|name| name.parse().unwrap()), workspace, false).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_workspace_is_found_by_its_name_and_by_no_other() {
        let tree = Tree::new("named");
        let exposed = ["papers", "desk"].map(|name| tree.exposed(Some(name), ReadOnly, &[])).into();
        let policy = Policy { exposed, missing: vec!["gone".parse().unwrap()] };
        assert_eq!(policy.named(b"desk").unwrap().shown(Path::new("")), "desk");
        for (name, rule, message) in [
            (&b""[..], "path.workspace", "name a workspace: papers, desk"),
            (b"..", "path.workspace", "name a workspace: papers, desk"),
            (b"des\xff", "path.workspace", r#"there is no workspace "des\\xff"; there are: papers, desk"#),
            (b"gone", "workspace.missing", "workspace gone cannot be opened"),
        ] {
            let refusal = policy.named(name).unwrap_err();
            assert_eq!((refusal.rule, refusal.message.as_str()), (rule, message), "{name:?}");
        }
    }

    #[test]
    fn a_path_is_shown_as_the_client_knows_it() {
        let tree = Tree::new("shown");
        for (name, at, shown) in [
            (Some("desk"), "", "desk"),
            (Some("desk"), "a/b", "desk/a/b"),
            (None, "", "/"),
            (None, "a/b", "a/b"),
        ] {
            assert_eq!(tree.exposed(name, ReadOnly, &[]).shown(Path::new(at)), shown);
        }
        assert!(!tree.exposed(None, ReadOnly, &[]).is_everything());
        assert!(Exposed::open(None, Workspace::new("/", ReadOnly), true).unwrap().is_everything());
    }

    #[test]
    fn a_rule_for_a_link_takes_away_where_it_leads_and_gives_nothing() {
        let tree = Tree::new("links");
        for (whole, rule, other, then) in [
            (ReadWrite, ReadOnly, None, ReadOnly),
            (ReadOnly, ReadWrite, None, ReadOnly),
            (WriteOnly, ReadOnly, None, Nothing),
            (ReadOnly, ReadWrite, Some(ReadWrite), ReadWrite),
            (ReadWrite, Nothing, Some(ReadOnly), Nothing),
        ] {
            let mut parts = vec![("link", rule)];
            parts.extend(other.map(|other| ("to", other)));
            let exposed = tree.exposed(None, whole, &parts);
            assert_eq!(exposed.workspace.access_to(Path::new("to/x")), then, "{whole} {rule} {other:?}");
            assert_eq!(exposed.workspace.access_to(Path::new("link")), rule);
            assert_eq!(exposed.workspace.access_to(Path::new("")), whole);
        }
        let entries = |whole, parts: &[_]| tree.exposed(None, whole, parts).workspace.paths.len();
        assert_eq!(entries(ReadOnly, &[("link", ReadWrite), ("to/deep", ReadOnly)]), 2);
        assert_eq!(entries(ReadWrite, &[("link/deep", Nothing), ("to", ReadOnly)]), 3);
    }

    #[test]
    fn the_kernel_s_rule_reaches_as_far_as_everything_is_alike() {
        let tree = Tree::new("scope");
        let parts =
            [("a/ro", ReadOnly), ("a/wo", WriteOnly), ("b/none", Nothing), ("c", ReadWrite), ("d", Deliver)];
        let scope = |whole, parts: &[_], at: &str, wanted| {
            let exposed = tree.exposed(Some("w"), whole, parts);
            exposed
                .scope(Path::new(at), wanted)
                .map(|scope| (scope.at.to_str().unwrap().to_owned(), scope.parts))
        };
        for (whole, at, wanted, reach, apart) in [
            (ReadWrite, "c/x/y", Use::Write, "c", vec![]),
            (ReadWrite, "a/x", Use::Read, "a/x", vec![]),
            (ReadWrite, "a", Use::Read, "a", vec![("a/wo", Hidden)]),
            (ReadWrite, "a/ro/x", Use::Read, "a/ro", vec![]),
            (ReadWrite, "a/wo/x/y", Use::Write, "a/wo", vec![]),
            (ReadWrite, "b", Use::Write, "b", vec![("b/none", Hidden)]),
            (ReadWrite, "", Use::Read, "", vec![("a/wo", Hidden), ("b/none", Hidden), ("d", Hidden)]),
            (WriteOnly, "a", Use::Write, "a", vec![("a/ro", Hidden)]),
            (Nothing, "a/ro/x", Use::Read, "a/ro", vec![]),
        ] {
            let apart: Vec<_> = apart.into_iter().map(|(part, keep)| (PathBuf::from(part), keep)).collect();
            assert_eq!(
                scope(whole, &parts, at, wanted),
                Ok((reach.to_owned(), apart)),
                "{whole} {at} {wanted:?}"
            );
        }
        let unchanged = Ok((String::new(), vec![("a/ro".into(), Unchanged)]));
        assert_eq!(scope(ReadWrite, &parts[..1], "", Use::Write), unchanged);
        assert_eq!(scope(ReadWrite, &[], "x/y", Use::Remove), Ok((String::new(), vec![])));
        for (whole, at, wanted, rule, message) in [
            (ReadOnly, "x", Use::Write, "access.write", "sending to w/x is not allowed: it is read-only"),
            (ReadOnly, "x", Use::Remove, "access.write", "sending to w/x is not allowed: it is read-only"),
            (WriteOnly, "", Use::Read, "access.read", "reading from w is not allowed: it is write-only"),
            (Nothing, "x", Use::Read, "access.read", "w/x is not exposed"),
            (ReadWrite, "b/none/x", Use::Write, "access.write", "w/b/none/x is not exposed"),
            (ReadWrite, "d/x", Use::Read, "access.drop", "w/d/x takes drops, by sftp or scp"),
            (ReadWrite, "a", Use::Write, "path.mixed", "w/a contains paths with another access"),
            (WriteOnly, "", Use::Write, "path.mixed", "w contains paths with another access"),
        ] {
            let refusal = scope(whole, &parts, at, wanted).unwrap_err();
            assert_eq!((refusal.rule, refusal.message.as_str()), (rule, message), "{whole} {at} {wanted:?}");
        }
    }

    #[test]
    fn a_refusal_suggests_what_a_policy_can_say() {
        use std::os::unix::ffi::OsStrExt as _;
        let tree = Tree::new("suggests");
        let change = |name, at: &[u8]| {
            let at = Path::new(std::ffi::OsStr::from_bytes(at));
            tree.exposed(name, ReadOnly, &[]).scope(at, Use::Write).unwrap_err().change
        };
        let access = |path: &str| Change::Access {
            workspace: "w".parse().unwrap(),
            path: path.into(),
            access: ReadWrite,
        };
        assert_eq!(change(Some("w"), b"x"), Some(access("x")));
        assert_eq!((change(None, b"x"), change(Some("w"), b"\xff")), (None, None));
    }

    #[test]
    fn rsync_is_kept_from_rules_that_it_would_not_keep() {
        let tree = Tree::new("kept");
        let mut exposed = tree.exposed(Some("w"), ReadWrite, &[]);
        assert_eq!(exposed.kept_by_rsync(Use::Write), Ok(()));
        exposed.workspace.files.atomic = true;
        assert_eq!(exposed.kept_by_rsync(Use::Read), Ok(()));
        for wanted in [Use::Write, Use::Remove] {
            let refusal = exposed.kept_by_rsync(wanted).unwrap_err();
            assert_eq!(refusal.message, "rsync does not keep the rule \"atomic\" of w; sftp and scp do");
        }
    }

    #[test]
    fn what_a_push_may_do_follows_from_the_rules() {
        let tree = Tree::new("rights");
        let rights = |access, overwrite, delete| {
            let mut exposed = tree.exposed(None, access, &[]);
            (exposed.workspace.overwrite, exposed.workspace.delete) = (overwrite, delete);
            exposed.push_rights(Path::new("x"))
        };
        let all = Rights {
            read: true,
            list: true,
            change: true,
            add: true,
            remove: true,
            remove_directories: true,
            special: false,
        };
        assert_eq!(rights(ReadWrite, true, true), all);
        assert_eq!(rights(WriteOnly, true, true), Rights { read: false, list: false, ..all });
        assert_eq!(rights(ReadWrite, true, false), Rights { remove_directories: false, ..all });
        let adds = Rights { change: false, remove: false, remove_directories: false, ..all };
        assert_eq!((rights(ReadWrite, false, true), rights(ReadWrite, false, false)), (adds, adds));
        let everything = Exposed::open(None, Workspace::new("/", ReadWrite), false).unwrap();
        assert!(everything.push_rights(Path::new("x")).special);
    }
}
