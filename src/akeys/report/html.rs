//! The page. Every text on it comes from somebody else's file, so every text goes through [`Text`]; the page's own script and style
//! are the only ones that a browser runs, by their hashes, and nothing is fetched.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use sha2::{Digest as _, Sha256};

use crate::akeys::accounts::{Accounts, FileView, View};
use crate::akeys::audit::{Severity, Told};
use crate::akeys::list::{Finding, KeyRow};
use crate::akeys::used;
use crate::authkeys::base64;
use crate::common::moment::in_words;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Text as HTML shows it, in an element or in a quoted attribute.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is invisible, or turns the direction, misleads here as on a terminal.
        for c in Escaped(self.0.as_bytes()).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The whole page.
pub(super) fn page(all: &Accounts) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_page(all, &mut out);
    out
}

fn write_page(all: &Accounts, out: &mut String) -> fmt::Result {
    let hash = |text: &str| base64::encode(&Sha256::digest(text.as_bytes()));
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let host = host.unwrap_or_default();
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>SSH keys on {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        hash(STYLE),
        hash(SCRIPT),
        Text(&host),
    )?;
    write_head(all, &host, out)?;
    write_keys(all, out)?;
    write_other_findings(all, out)?;
    write_files(all, out)?;
    write!(out, "<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

fn write_head(all: &Accounts, host: &str, out: &mut String) -> fmt::Result {
    let keys = || all.views.iter().flat_map(View::keys);
    let whole = keys().filter(|(.., key)| key.meaning.unrestricted).count();
    writeln!(out, "<h1>SSH keys on {}</h1>", Text(host))?;
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    writeln!(
        out,
        "<p class=\"soft\">As sshd reads them, on {now}; by akeys {}.</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    match all.log_begins {
        Some(begins) => writeln!(
            out,
            "<p class=\"soft\">Last uses are what sshd's log and the gate's records say; the log begins on {}.</p>",
            used::day(begins)
        )?,
        None => writeln!(
            out,
            "<p class=\"soft\">sshd's log was not read: last uses are only those that the gate recorded.</p>"
        )?,
    }
    out.push_str("<ul class=\"sums\">");
    let counted = |count: usize, what: &str| {
        format!("<li><b>{count}</b> {what}{}</li>", if count == 1 { "" } else { "s" })
    };
    *out += &counted(all.views.len(), "account");
    *out += &counted(keys().count(), "key");
    write!(
        out,
        "<li class=\"{}\"><b>{whole}</b> with the whole account</li>",
        if whole > 0 { "whole" } else { "" }
    )?;
    for severity in [Severity::High, Severity::Medium, Severity::Low] {
        let of_it =
            |view: &View| view.findings(severity).filter(|(_, one)| one.severity() == severity).count();
        let count: usize = all.views.iter().map(of_it).sum();
        write!(out, "<li class=\"{severity}\"><b>{count}</b> findings {severity}</li>")?;
    }
    out.push_str("</ul>\n");
    if !all.notes.is_empty() {
        out.push_str("<ul class=\"soft\">");
        all.notes.iter().try_for_each(|note| write!(out, "<li>{}</li>", Text(note)))?;
        out.push_str("</ul>\n");
    }
    Ok(())
}

fn write_keys(all: &Accounts, out: &mut String) -> fmt::Result {
    out.push_str(
        "<h2>Keys</h2>\n<div class=\"tools\" id=\"tools\" hidden>\n\
         <label>Filter <input type=\"search\" id=\"words\" placeholder=\"account, key, comment, …\"></label>\n\
         <label>Findings from <select id=\"level\"><option value=\"0\">any</option><option value=\"1\">low</option>\
         <option value=\"2\">medium</option><option value=\"3\">high</option></select></label>\n\
         <label><input type=\"checkbox\" id=\"whole\"> whole account only</label>\n\
         <span class=\"soft\" id=\"count\" role=\"status\"></span>\n</div>\n\
         <table id=\"keys\">\n<thead><tr><th scope=\"col\">Account</th><th scope=\"col\">Who</th><th scope=\"col\">Key</th>\
         <th scope=\"col\">May</th><th scope=\"col\">Ends</th><th scope=\"col\">Last used</th>\
         <th scope=\"col\">Findings</th></tr></thead>\n<tbody>\n",
    );
    for view in &all.views {
        for (file, line, key) in view.keys() {
            let findings: Vec<&Told> =
                file.findings.iter().filter(|finding| finding.line == Some(line)).collect();
            write_key(view, file, line, key, &findings, all.log_begins, out)?;
        }
    }
    out.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn write_key(
    view: &View,
    file: &FileView,
    line: usize,
    key: &KeyRow,
    findings: &[&Told],
    log_begins: Option<Timestamp>,
    out: &mut String,
) -> fmt::Result {
    let meaning = &key.meaning;
    let worst = findings.iter().map(|finding| finding.severity()).max().unwrap_or(Severity::Info);
    let whole = u8::from(meaning.unrestricted);
    write!(out, "<tr data-level=\"{}\" data-whole=\"{whole}\">", worst as u8)?;
    write!(
        out,
        "<td data-name=\"Account\">{} <span class=\"soft mono\">{}:{line}</span></td>",
        Text(&view.account),
        Text(&file.file)
    )?;
    let comment = if key.comment.is_empty() { "no comment" } else { &key.comment };
    write!(out, "<td data-name=\"Who\">{}</td>", Text(comment))?;
    write!(
        out,
        "<td data-name=\"Key\">{} {} <span class=\"mono\">{}</span></td>",
        Text(&key.algorithm),
        key.bits,
        Text(&key.fingerprint)
    )?;
    let class = if meaning.unrestricted { " class=\"whole\"" } else { "" };
    write!(out, "<td data-name=\"May\"{class}>{}</td>", Text(&meaning.may))?;
    let (sort, ends) = meaning
        .expires
        .map_or((String::from("9999"), String::from("never")), |end| (end.to_string(), in_words(end)));
    write!(out, "<td data-name=\"Ends\" data-sort=\"{}\">{}</td>", Text(&sort), Text(&ends))?;
    let sort = key.used.as_ref().map(|used| used.last.to_string()).unwrap_or_default();
    let words = used::words(key.used.as_ref(), log_begins).unwrap_or_else(|| "not known".to_owned());
    let words = words.strip_prefix("last used ").unwrap_or(&words);
    write!(out, "<td data-name=\"Last used\" data-sort=\"{}\">{}</td>", Text(&sort), Text(words))?;
    write!(out, "<td data-name=\"Findings\" data-sort=\"{}\">", worst as u8)?;
    write_findings(findings, &meaning.findings, out)?;
    out.push_str("</td></tr>\n");
    Ok(())
}

/// The findings of the audit, and what the list says that the audit has no code for.
fn write_findings(findings: &[&Told], list: &[Finding], out: &mut String) -> fmt::Result {
    let (notes, found): (Vec<&Told>, Vec<&Told>) =
        findings.iter().copied().partition(|finding| finding.severity() == Severity::Info);
    let mut any = false;
    let mut more = String::new();
    for finding in list.iter().filter(|finding| finding.code == "same-key") {
        write!(more, "<li>{}</li>", Text(&finding.text))?;
    }
    if !found.is_empty() || !more.is_empty() {
        any = true;
        out.push_str("<ul>");
        found.iter().try_for_each(|finding| write_finding(finding, out))?;
        out.push_str(&more);
        out.push_str("</ul>");
    }
    if !notes.is_empty() {
        any = true;
        let plural = if notes.len() == 1 { "" } else { "s" };
        write!(out, "<details><summary class=\"soft\">{} note{plural}</summary><ul>", notes.len())?;
        notes.iter().try_for_each(|finding| write_finding(finding, out))?;
        out.push_str("</ul></details>");
    }
    if !any {
        out.push_str("<span class=\"none\">none</span>");
    }
    Ok(())
}

fn write_finding(finding: &Told, out: &mut String) -> fmt::Result {
    let severity = finding.severity();
    write!(
        out,
        "<li><span class=\"tag {severity}\">{severity} {}</span> {}",
        finding.code,
        Text(&finding.message)
    )?;
    if let Some(hint) = &finding.hint {
        write!(out, " <span class=\"soft\">({})</span>", Text(hint))?;
    }
    out.push_str("</li>");
    Ok(())
}

/// What is wrong with accounts, files and lines that hold no key for sshd.
fn write_other_findings(all: &Accounts, out: &mut String) -> fmt::Result {
    let mut rows = String::new();
    for view in &all.views {
        let mut live: std::collections::HashSet<(&str, usize)> = std::collections::HashSet::new();
        live.extend(view.keys().map(|(file, line, _)| (file.file.as_str(), line)));
        for (file, finding) in view.findings(Severity::Low) {
            if file.zip(finding.line).is_some_and(|(file, line)| live.contains(&(file.file.as_str(), line))) {
                continue;
            }
            let file = file.map_or(view.home.as_str(), |file| file.file.as_str());
            let place = finding.path.as_deref().unwrap_or(file);
            let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
            write!(
                rows,
                "<tr><td data-name=\"Account\">{}</td><td data-name=\"Where\" class=\"mono\">{}{line}</td><td><ul>",
                Text(&view.account),
                Text(place)
            )?;
            write_finding(finding, &mut rows)?;
            rows.push_str("</ul></td></tr>\n");
        }
    }
    if !rows.is_empty() {
        write!(
            out,
            "<h2>Lines without a key, files and accounts</h2>\n<table>\n<thead><tr><th scope=\"col\">Account</th>\
             <th scope=\"col\">Where</th><th scope=\"col\">Finding</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        )?;
    }
    Ok(())
}

/// What sshd reads for each account, in its order.
fn write_files(all: &Accounts, out: &mut String) -> fmt::Result {
    out.push_str("<h2>What sshd reads, in its order</h2>\n");
    for view in &all.views {
        write!(
            out,
            "<h3>{} <span class=\"soft\">({}, {})</span></h3>\n<ol>",
            Text(&view.account),
            view.uid,
            Text(&view.home)
        )?;
        for file in &view.files {
            write!(
                out,
                "<li><span class=\"mono\">{}</span>: {}</li>",
                Text(&file.file),
                Text(&file.state())
            )?;
        }
        view.more.iter().try_for_each(|more| write!(out, "<li>{}: not looked at</li>", Text(more)))?;
        out.push_str("</ol>\n");
        if let Some(closed) = &view.closed {
            writeln!(out, "<p class=\"soft\">The account {}.</p>", Text(closed))?;
        }
        view.notes.iter().try_for_each(|note| writeln!(out, "<p class=\"soft\">{}</p>", Text(note)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let text = Text("<script>alert(1)</script>\"'&\u{202e}\x1b[31m").to_string();
        assert_eq!(text, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u{202e}\\x1b[31m");
        // The page's own script ends where it ends.
        assert!(!SCRIPT.contains("</") && !STYLE.contains('<'));
    }
}
