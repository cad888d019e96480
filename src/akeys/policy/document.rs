//! A change made to the text of a policy file: what a person wrote around it stays, comments and order too.

use std::path::Path;

use rrsync_rs::grant::{Access, Tool};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;
use rrsync_rs::verdict::Change;
use toml_edit::{Array, Datetime, DocumentMut, Item, Table, TableLike, TomlError, Value};

use super::cut;
use super::edit::Edit;

/// Why a text cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(#[from] TomlError),
    /// Something that has to be a table or a list is something else.
    #[error("{0} is not a {1}")]
    Shape(&'static str, &'static str),
    /// TOML is text.
    #[error("a path that is not UTF-8 cannot be written to a policy")]
    NotText,
}

/// The text after one change.
pub(super) fn apply(text: &str, edit: &Edit, layout: &Layout) -> Result<String, TextError> {
    if text.contains("\r\n") {
        // toml_edit writes new lines without carriage returns.
        let changed = apply(&text.replace("\r\n", "\n"), edit, layout)?;
        return Ok(changed.replace('\n', "\r\n"));
    }
    // What goes is cut out of the text: toml_edit would take the comments above it along.
    match edit {
        Edit::Expires(None) => return cut::value(text, &["expires"]),
        Edit::RemoveWorkspace(name) => return cut::table(text, &["workspace", name.as_str()]),
        Edit::RemovePath(name, path) => {
            let document = text.parse::<DocumentMut>()?;
            let there = document.get("workspace").and_then(|all| all.get(name.as_str()));
            let paths = there.and_then(|one| one.get("paths")).and_then(Item::as_table_like);
            let Some(key) = paths.and_then(|paths| same_path(paths, path)) else {
                return Ok(text.to_owned());
            };
            return cut::value(text, &["workspace", name.as_str(), "paths", &key]);
        }
        Edit::Learned(Change::NotDeny(option)) => return cut::item(text, &["options", "deny"], option),
        _ => {}
    }
    let mut text = text.to_owned();
    if let Edit::Tools(tools) = edit {
        for tool in [Tool::Rsync, Tool::Scp, Tool::Sftp, Tool::Watch] {
            if !tools.contains(&tool) {
                text = cut::item(&text, &["tools"], &tool.to_string())?;
            }
        }
    }
    let mut document = text.parse::<DocumentMut>()?;
    change(&mut document, edit, layout)?;
    Ok(document.to_string())
}

fn change(document: &mut DocumentMut, edit: &Edit, layout: &Layout) -> Result<(), TextError> {
    let root: &mut dyn TableLike = document.as_table_mut();
    match edit {
        Edit::Learned(change) => return learned(root, change),
        Edit::Access { workspace: name, path, access } => {
            set_access(workspace(root, name)?, path, *access)?;
        }
        Edit::Tools(tools) => {
            let list = list(root, "tools")?;
            for tool in tools {
                add(list, &tool.to_string());
            }
        }
        Edit::Expires(Some(end)) => {
            // jiff writes RFC 3339, which TOML took over.
            let moment: Datetime = end.to_string().parse().map_err(|_| TextError::NotText)?;
            set(root, "expires", moment);
        }
        Edit::Learn(on) => {
            if *on || root.contains_key("learn") {
                set(root, "learn", *on);
            }
        }
        Edit::AddWorkspace { name, path, access } => {
            let written = layout.abbreviate(path);
            let written = written.to_str().ok_or(TextError::NotText)?.to_owned();
            let workspace = subtable(subtable(root, "workspace", true)?, name.as_str(), false)?;
            if !workspace.contains_key("path") {
                set(workspace, "path", written);
            }
            set(workspace, "access", access.to_string());
        }
        Edit::Expires(None) | Edit::RemoveWorkspace(_) | Edit::RemovePath(..) => {}
    }
    Ok(())
}

fn learned(root: &mut dyn TableLike, change: &Change) -> Result<(), TextError> {
    match change {
        Change::Access { workspace: name, path, access } => {
            set_access(workspace(root, name)?, path, *access)?;
        }
        Change::Delete(name) => set(workspace(root, name)?, "delete", true),
        Change::Overwrite(name) => {
            let workspace = workspace(root, name)?;
            // Unless it is stated, `delete` follows `overwrite`; only one of them is to change.
            if !workspace.contains_key("delete") {
                set(workspace, "delete", false);
            }
            set(workspace, "overwrite", true);
        }
        Change::Allow(option) => add(list(subtable(root, "options", false)?, "allow")?, option),
        // Cut out of the text.
        Change::NotDeny(_) => {}
        Change::Tool(tool) => add(list(root, "tools")?, &tool.to_string()),
        Change::Probes => set(root, "probes", true),
    }
    Ok(())
}

fn set_access(workspace: &mut dyn TableLike, path: &Path, access: Access) -> Result<(), TextError> {
    if path.as_os_str().is_empty() {
        set(workspace, "access", access.to_string());
        return Ok(());
    }
    let paths = subtable(workspace, "paths", false)?;
    let written = path.to_str().ok_or(TextError::NotText)?;
    let key = same_path(paths, path).unwrap_or_else(|| written.to_owned());
    set(paths, &key, access.to_string());
    Ok(())
}

/// The key that stands for `path`, however it is spelled: `build`, `build/`, `build//x`.
fn same_path(paths: &dyn TableLike, path: &Path) -> Option<String> {
    let same = |key: &&str| Path::new(key).components().eq(path.components());
    paths.iter().map(|(key, _)| key).find(same).map(str::to_owned)
}

fn workspace<'a>(
    root: &'a mut dyn TableLike,
    name: &WorkspaceName,
) -> Result<&'a mut dyn TableLike, TextError> {
    subtable(subtable(root, "workspace", true)?, name.as_str(), false)
}

/// The table `key` of `table`, made when it is missing; without a header of its own when it is only there to hold others.
fn subtable<'a>(
    table: &'a mut dyn TableLike,
    key: &str,
    only_tables: bool,
) -> Result<&'a mut dyn TableLike, TextError> {
    if !table.contains_key(key) {
        let mut new = Table::new();
        new.set_implicit(only_tables);
        new.decor_mut().set_prefix(if key == "paths" { "" } else { "\n" });
        // An inline table makes an inline table of it.
        table.insert(key, Item::Table(new));
    }
    let found = table.get_mut(key).and_then(Item::as_table_like_mut);
    found.ok_or(TextError::Shape("a part of the policy", "table"))
}

/// The list `key` of `table`, made when it is missing.
fn list<'a>(table: &'a mut dyn TableLike, key: &str) -> Result<&'a mut Array, TextError> {
    if !table.contains_key(key) {
        table.insert(key, Item::Value(Value::Array(Array::new())));
    }
    table.get_mut(key).and_then(Item::as_array_mut).ok_or(TextError::Shape("a part of the policy", "list"))
}

/// Adds `word` behind the last item, on a line of its own where the others have theirs.
fn add(list: &mut Array, word: &str) {
    if list.iter().any(|item| item.as_str() == Some(word)) {
        return;
    }
    let trailing = list.trailing().as_str().unwrap_or_default().to_owned();
    let last = list.iter().last().and_then(|item| item.decor().prefix()).and_then(|prefix| prefix.as_str());
    let indent = last.and_then(|prefix| prefix.rsplit_once('\n')).map(|(_, indent)| indent.to_owned());
    match indent {
        // A comment behind the last comma belongs to the last item.
        Some(indent) if list.trailing_comma() => {
            let (comment, end) = trailing.rsplit_once('\n').unwrap_or(("", ""));
            list.push_formatted(Value::from(word).decorated(format!("{comment}\n{indent}"), ""));
            list.set_trailing(format!("\n{end}"));
        }
        Some(indent) => list.push_formatted(Value::from(word).decorated(format!("\n{indent}"), "")),
        None => list.push(word),
    }
}

/// Sets a value; what stands around it, a comment behind it too, stays.
fn set(table: &mut dyn TableLike, key: &str, new: impl Into<Value>) {
    let mut new = new.into();
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(there) => {
            // What says the same already stays as it is spelled.
            if there.clone().decorated("", "").to_string() != new.clone().decorated("", "").to_string() {
                *new.decor_mut() = there.decor().clone();
                *there = new;
            }
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}
