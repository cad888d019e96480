//! `akeys report`: accounts, their keys, what each may do, when it was used and what is wrong, on one page or as JSON.

mod html;

use std::io;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use tempfile::NamedTempFile;

use super::accounts::{self, Accounts, View};
use super::cli::ReportArgs;
use super::used::Logins;
use crate::common::exit::{Exit, Failure};
use crate::common::json;
use crate::common::private;
use crate::common::report::{Report, shown};

/// Runs it.
pub fn run(args: &ReportArgs, layout: &Layout) -> Result<Report, Failure> {
    let target = args.target.map(Into::into);
    let logins = (!args.no_last_used).then(|| Logins::remembered_or_read(args.log.as_deref()));
    let mut all = if args.all_users {
        accounts::all(layout, target, logins)
    } else {
        let mut logins = logins.unwrap_or_default();
        let (log_begins, notes) = (logins.begins, std::mem::take(&mut logins.notes));
        let view = accounts::own(layout, target, Some(logins));
        Accounts { views: vec![view], log_begins, notes }
    };
    if args.json {
        return match json::ascii_of(&all) {
            Ok(out) => Ok(Report { out, ..Report::default() }),
            Err(error) => Err(Failure::new(Exit::Failed, error)),
        };
    }
    let page = html::page(&all);
    let mut report = Report { notes: std::mem::take(&mut all.notes), ..Report::default() };
    match args.html.as_deref() {
        Some(path) if path != Path::new("-") => {
            write(path, page.as_bytes())
                .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", Escaped::os(path))))?;
            let keys = all.views.iter().flat_map(View::keys).count();
            let plural = if keys == 1 { "" } else { "s" };
            report.note(format_args!("wrote {}: {keys} key{plural}", shown(layout, path)));
        }
        _ => report.out = page,
    }
    Ok(report)
}

/// The page says who can get in where, so it is nobody else's; and a reader sees the old one or the new one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or_else(|| Path::new("."));
    let file = NamedTempFile::new_in(dir).map_err(private::bare)?;
    io::Write::write_all(&mut file.as_file(), bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
