//! Taking a key, a table or an item of a list out of a TOML text: its own bytes go, and no other.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, Table};

use super::document::TextError;

/// `text` without the value at `path`. A comment on its line goes with it; comments above it stay.
pub(super) fn value(text: &str, path: &[&str]) -> Result<String, TextError> {
    let document = Document::parse(text)?;
    let Some((last, parents)) = path.split_last() else { return Ok(text.to_owned()) };
    let table = parents.iter().try_fold(document.as_item(), |item, key| item.get(key));
    let entry = table.and_then(Item::as_table_like).and_then(|table| table.get_key_value(last));
    let Some((key, item)) = entry else { return Ok(text.to_owned()) };
    let lines = key.span().zip(item.span()).and_then(|(key, value)| own_lines(text, key.start..value.end));
    match lines {
        Some(lines) => Ok([&text[..lines.start], &text[lines.end..]].concat()),
        None => without(text, path),
    }
}

/// `text` without the item `word` of the list at `path`. A comment on its line goes with it when it has the line for itself.
pub(super) fn item(text: &str, path: &[&str], word: &str) -> Result<String, TextError> {
    let document = Document::parse(text)?;
    let found = path.iter().try_fold(document.as_item(), |item, key| item.get(key));
    let items = found.and_then(Item::as_array).into_iter().flatten();
    let span = items.filter(|item| item.as_str() == Some(word)).find_map(toml_edit::Value::span);
    let Some(span) = span else { return Ok(text.to_owned()) };
    let blanks = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    let behind = span.end + blanks(&text[span.end..]);
    let comma = text[behind..].starts_with(',');
    let cut = if comma { span.start..behind + 1 } else { span.clone() };
    let before = text[..span.start].trim_end();
    let cut = match own_lines(text, cut.clone()) {
        Some(lines) => lines,
        None if comma => cut.start..cut.end + blanks(&text[cut.end..]),
        None if before.ends_with(',') => before.len() - 1..span.end,
        None => cut,
    };
    // It may stand there twice.
    item(&[&text[..cut.start], &text[cut.end..]].concat(), path, word)
}

/// The lines from the first to the last byte of `span`, when nothing else but a comment stands in them.
fn own_lines(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline + 1);
    let alone = text[start..span.start].trim().is_empty();
    let behind = text[span.end..end].trim();
    (alone && (behind.is_empty() || behind.starts_with('#'))).then_some(start..end)
}

/// `text` without the table at `path` and the tables in it. Comments directly above its header go with it.
pub(super) fn table(text: &str, path: &[&str]) -> Result<String, TextError> {
    let document = Document::parse(text)?;
    let found = path.iter().try_fold(document.as_item(), |item, key| item.get(key));
    let Some(found) = found else { return Ok(text.to_owned()) };
    let Some(doomed) = found.as_table().filter(|table| !table.is_dotted()) else {
        return without(text, path);
    };
    let mut all = Vec::new();
    headers(document.as_table(), &mut all);
    let mut gone = Vec::new();
    gone.extend(header(doomed));
    headers(doomed, &mut gone);
    if gone.is_empty() {
        return without(text, path);
    }
    let mut out = text.to_owned();
    gone.sort_unstable();
    for start in gone.into_iter().rev() {
        let next = all.iter().copied().filter(|other| *other > start).min().unwrap_or(text.len());
        out.replace_range(with_comments(text, start)..content_end(text, start..next), "");
    }
    Ok(out)
}

/// Where the headers of the tables within `table` stand.
fn headers(table: &Table, found: &mut Vec<usize>) {
    for (_, item) in table {
        if let Some(table) = item.as_table() {
            found.extend(header(table));
            headers(table, found);
        }
    }
}

fn header(table: &Table) -> Option<usize> {
    table.span().filter(|_| !table.is_implicit() && !table.is_dotted()).map(|span| span.start)
}

/// Behind the last line of a table that is more than a comment, and one blank line.
fn content_end(text: &str, table: Range<usize>) -> usize {
    let mut end = table.start;
    let mut at = table.start;
    for line in text[table].split_inclusive('\n') {
        at += line.len();
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            end = at;
        }
    }
    let blank = text[end..].split_inclusive('\n').next().filter(|line| line.trim().is_empty());
    end + blank.map_or(0, str::len)
}

/// The start of the block of comments that stands directly above the line of `at`.
fn with_comments(text: &str, at: usize) -> usize {
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    while start > 0 {
        let above = text[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        if !text[above..start].trim_start().starts_with('#') {
            break;
        }
        start = above;
    }
    start
}

/// The removal for the forms that share a line with something else.
fn without(text: &str, path: &[&str]) -> Result<String, TextError> {
    let mut document: DocumentMut = text.parse()?;
    let Some((last, parents)) = path.split_last() else { return Ok(text.to_owned()) };
    let mut item: &mut Item = document.as_item_mut();
    for key in parents {
        let Some(next) = item.get_mut(key) else { return Ok(text.to_owned()) };
        item = next;
    }
    if let Some(table) = item.as_table_like_mut() {
        table.remove(last);
    }
    Ok(document.to_string())
}
