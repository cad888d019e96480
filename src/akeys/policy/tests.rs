//! What becomes of a text that a person wrote.

use jiff::Timestamp;
use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::verdict::Change;

use super::*;

/// Written by hand, with everything that a machine would not keep.
const TEXT: &str = r#"# The build machine, see the wiki.
federation = "playground"   # ours
pod = 'chef1'

tools = [
    "rsync",  # nightly
    "watch",  # always
]
# Ends with the project.
expires = 2028-01-01T00:00:00Z  # ask Ann

[options]
deny = ["owner", "group"]

# Where the papers are.
[workspace.papers]
access = "ro"  # for now
path = "~/papers"
[workspace.papers.paths]
"build/" = "wo"

# Second group.

# What comes in.
[workspace.inbox]
path = "~/inbox"
access = "wo"
overwrite = false # never
# the end
"#;

fn layout() -> Layout {
    Layout::new("/home/u").unwrap()
}

fn policy(text: &str) -> Policy {
    let grant = grant::parse(text, &layout()).unwrap();
    Policy { name: "playground.chef1".parse().unwrap(), text: text.to_owned(), grant }
}

fn access(workspace: &str, path: &str, access: Access) -> Change {
    Change::Access { workspace: workspace.parse().unwrap(), path: path.into(), access }
}

/// Makes one change twice; returns the text, which is the same both times.
#[track_caller]
fn after(text: &str, edit: Edit) -> String {
    let edits = [edit];
    let once = policy(text).changed(&edits, &layout(), &[]).unwrap();
    assert_eq!(once.changed(&edits, &layout(), &[]).unwrap().text, once.text);
    once.text
}

#[test]
fn a_change_touches_its_own_bytes_only() {
    let name = |word: &str| word.parse().unwrap();
    let end: Timestamp = "2029-06-01T12:30:00Z".parse().unwrap();
    for (edit, was, is) in [
        (Edit::Learned(access("papers", "", Access::ReadWrite)), "\"ro\"  # for", "\"rw\"  # for"),
        (
            Edit::Learned(access("papers", "build", Access::ReadWrite)),
            "\"build/\" = \"wo\"",
            "\"build/\" = \"rw\"",
        ),
        (
            Edit::Learned(access("papers", "a b/ü", Access::ReadWrite)),
            "\"build/\" = \"wo\"\n",
            "\"build/\" = \"wo\"\n\"a b/ü\" = \"rw\"\n",
        ),
        (
            Edit::Learned(access("inbox", "done", Access::ReadWrite)),
            "false # never\n",
            "false # never\n[workspace.inbox.paths]\ndone = \"rw\"\n",
        ),
        (Edit::Learned(Change::Tool(Tool::Sftp)), "# always\n]", "# always\n    \"sftp\",\n]"),
        (Edit::Tools([Tool::Watch].into()), "    \"rsync\",  # nightly\n", ""),
        (Edit::Tools([Tool::Rsync].into()), "    \"watch\",  # always\n", ""),
        (Edit::Learned(Change::NotDeny("owner".into())), "\"owner\", ", ""),
        (Edit::Learned(Change::NotDeny("group".into())), ", \"group\"", ""),
        (
            Edit::Learned(Change::Allow("copy-links".into())),
            "\"group\"]\n",
            "\"group\"]\nallow = [\"copy-links\"]\n",
        ),
        (
            Edit::Learned(Change::Overwrite(name("inbox"))),
            "overwrite = false # never\n",
            "overwrite = true # never\ndelete = false\n",
        ),
        (Edit::Learned(Change::Probes), "# ask Ann\n", "# ask Ann\nprobes = true\n"),
        (Edit::Learn(true), "# ask Ann\n", "# ask Ann\nlearn = true\n"),
        (Edit::Learn(false), "", ""),
        (Edit::Expires(Some(end)), "2028-01-01T00:00:00Z", "2029-06-01T12:30:00Z"),
        (Edit::Expires(None), "expires = 2028-01-01T00:00:00Z  # ask Ann\n", ""),
        (Edit::RemovePath(name("papers"), "build".into()), "\"build/\" = \"wo\"\n", ""),
        (
            Edit::RemoveWorkspace(name("papers")),
            "# Where the papers are.\n[workspace.papers]\naccess = \"ro\"  # for now\npath = \"~/papers\"\n\
             [workspace.papers.paths]\n\"build/\" = \"wo\"\n\n",
            "",
        ),
        (
            Edit::RemoveWorkspace(name("inbox")),
            "# What comes in.\n[workspace.inbox]\npath = \"~/inbox\"\naccess = \"wo\"\noverwrite = false # never\n",
            "",
        ),
        (
            Edit::AddWorkspace { name: name("new"), path: "/home/u/n".into(), access: Access::ReadOnly },
            "false # never\n",
            "false # never\n\n[workspace.new]\npath = \"~/n\"\naccess = \"ro\"\n",
        ),
    ] {
        assert!(TEXT.contains(was), "{was}");
        assert_eq!(after(TEXT, edit.clone()), TEXT.replacen(was, is, 1), "{edit}");
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(after(&crlf(TEXT), edit.clone()), crlf(&TEXT.replacen(was, is, 1)), "{edit}");
    }
}

#[test]
fn other_forms_of_toml_are_changed_too() {
    let head = "federation = \"p\"\npod = \"c\"\ntools = [\"rsync\"]\n";
    for body in [
        "workspace = { a = { path = \"/a\", access = \"ro\" }, b = { path = \"/b\", access = \"ro\" } }\n",
        "workspace.a.path = \"/a\"\nworkspace.a.access = \"ro\"\nworkspace.b = { path = \"/b\", access = \"ro\" }\n",
        "[workspace]\na = { path = \"/a\", access = \"ro\", paths = { x = \"rw\" } }\n\
         b.path = \"/b\"\nb.access = \"ro\"\n",
        "[workspace.b]\naccess = \"ro\"\npath = \"/b\"\n[workspace.a]\npath = \"/a\"\naccess = \"ro\"",
    ] {
        let text = format!("{head}{body}");
        for edit in [
            Edit::Learned(access("a", "", Access::ReadWrite)),
            Edit::Learned(access("a", "x", Access::ReadWrite)),
            Edit::Learned(access("b", "x/y", Access::ReadWrite)),
            Edit::Learned(Change::Allow("copy-links".into())),
            Edit::RemoveWorkspace("a".parse().unwrap()),
            Edit::RemoveWorkspace("b".parse().unwrap()),
            Edit::RemovePath("a".parse().unwrap(), "x".into()),
            Edit::AddWorkspace { name: "c".parse().unwrap(), path: "/c".into(), access: Access::ReadOnly },
        ] {
            after(&text, edit);
        }
    }
}

#[test]
fn what_the_gate_would_refuse_is_refused_with_its_place() {
    let refused = |edit: Edit| policy(TEXT).changed(&[edit], &layout(), &[]).unwrap_err().to_string();
    let file = "/home/u/.config/akeys/grants/playground.chef1.toml:";
    for (edit, says) in [
        (Edit::Learned(Change::Delete("inbox".parse().unwrap())), "29:10: delete = true contradicts"),
        (Edit::Learned(access("papers", "../x", Access::ReadWrite)), "21:1: sub-path \"../x\" must be"),
        (Edit::Learned(Change::Allow("owner".into())), "14:10: \"owner\" cannot be allowed"),
        (
            Edit::AddWorkspace {
                name: "etc".parse().unwrap(),
                path: "/etc".into(),
                access: Access::ReadOnly,
            },
            "31:8: refused as a workspace: /etc ",
        ),
    ] {
        let error = refused(edit);
        assert!(error.starts_with(&format!("{file}{says}")), "{says} is not in {error}");
    }
    assert!(refused(Edit::Learned(access("gone", "", Access::ReadWrite))).contains("no workspace gone"));
}
