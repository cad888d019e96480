//! What is known survives, and what is not known is nobody's.

use super::*;
use crate::afiles::receiver::{Arrived, Book as _};
use crate::afiles::words::Remote;
use rrsync_rs::sha256::Sum;
use std::ffi::OsStr;

fn layout() -> (tempfile::TempDir, Layout) {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path()).unwrap();
    (scratch, layout)
}

fn path(path: &str) -> EventPath {
    EventPath::new(path.into()).unwrap()
}

fn file(size: u64) -> Known {
    Known { kind: SFlag::S_IFREG, size, modified: -5 }
}

fn book<'c>(catalog: &'c Catalog, directory: &str) -> CopyBook<'c> {
    let copy = catalog.adopt(Path::new(directory), "anna@h/papers:", Way::Fetched).unwrap();
    let remote = Remote::read(OsStr::new("anna@h/papers:")).unwrap();
    CopyBook::new(catalog, copy, remote, "lab.pc".to_owned())
}

#[test]
fn what_is_written_down_is_there_for_the_next_run() {
    let (_scratch, layout) = layout();
    let cursor: Cursor = format!("{}.7", "0".repeat(32)).parse().unwrap();
    {
        let catalog = Catalog::open(&layout).unwrap();
        let mut book = book(&catalog, "/copy");
        let sum = Some(Sum::of(b"x"));
        book.authored(path("d/a"), "anna@h".to_owned());
        book.arrived(&path("d/a"), &Arrived { known: file(1), sum }).unwrap();
        book.same(&path("d"), Known { kind: SFlag::S_IFDIR, size: 0, modified: 0 }).unwrap();
        book.same(&path("d-e"), file(2)).unwrap();
        // Known at once, also before it is written down.
        assert_eq!(book.known(&path("d/a")).unwrap(), Some(file(1)));
        book.write(Some(&cursor)).unwrap();
    }
    let catalog = Catalog::open(&layout).unwrap();
    let mut book = book(&catalog, "/copy");
    let copy = catalog.copy_in(Path::new("/copy")).unwrap().unwrap();
    assert_eq!(copy.cursor, Some(cursor));
    assert_eq!(book.below(&path("d")).unwrap(), [path("d/a")]);
    assert_eq!(book.entries(None).unwrap().len(), 3);
    assert_eq!(catalog.count(copy.id).unwrap(), 3);
    let [transfer] = &catalog.transfers(Some(Path::new("/copy/d")), 9).unwrap()[..] else { panic!("one") };
    assert_eq!((transfer.remote.as_str(), transfer.who.as_str()), ("anna@h/papers:d/a", "lab.pc"));
    assert_eq!((transfer.author.as_deref(), transfer.sum), (Some("anna@h"), Some(Sum::of(b"x"))));
    assert!(catalog.transfers(Some(Path::new("/copy/d-e")), 9).unwrap().is_empty());

    book.moved(&path("d"), &path("n/e w")).unwrap();
    book.removed(&path("d-e")).unwrap();
    book.write(None).unwrap();
    let all: Vec<_> = book.entries(None).unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(all, [path("n/e w"), path("n/e w/a")]);
    assert_eq!(catalog.transfers(None, 1).unwrap()[0].deed, Deed::Removed);
    book.forget_cursor().unwrap();
    assert_eq!(catalog.copy_in(Path::new("/copy")).unwrap().unwrap().cursor, None);
}

#[test]
fn a_copy_of_something_else_knows_nothing() {
    let (_scratch, layout) = layout();
    let catalog = Catalog::open(&layout).unwrap();
    let mut one = book(&catalog, "/copy");
    let mut other = book(&catalog, "/other");
    for book in [&mut one, &mut other] {
        book.same(&path("a"), file(1)).unwrap();
        book.write(None).unwrap();
    }
    let again = catalog.adopt(Path::new("/copy"), "anna@h/papers:", Way::Fetched).unwrap();
    assert_eq!(catalog.known(again.id, &path("a")).unwrap(), Some(file(1)));
    let copy = catalog.adopt(Path::new("/copy"), "bob@h/papers:", Way::Fetched).unwrap();
    assert_eq!(catalog.known(copy.id, &path("a")).unwrap(), None);
    assert_eq!(other.known(&path("a")).unwrap(), Some(file(1)));
    assert_eq!(catalog.copies().unwrap().len(), 2);
}

#[test]
fn a_standing_is_what_was_last_written() {
    let (_scratch, layout) = layout();
    let catalog = Catalog::open(&layout).unwrap();
    let copy = catalog.adopt(Path::new("/copy"), "anna@h/papers:", Way::Fetched).unwrap();
    assert_eq!(copy.standing, Standing::default());
    let standing = Standing {
        same_at: Some(1),
        behind_since: Some(2),
        behind_by: 3,
        transferred_at: None,
        error: Some("no".to_owned()),
    };
    catalog.stand(copy.id, &standing).unwrap();
    let now = || catalog.copy_in(Path::new("/copy")).unwrap().unwrap().standing;
    assert_eq!(now(), standing);

    // When something was last transferred is what the book says, whatever was known when the standing was read.
    let mut book = book(&catalog, "/copy");
    book.arrived(&path("a"), &Arrived { known: file(1), sum: None }).unwrap();
    book.write(None).unwrap();
    catalog.stand(copy.id, &standing).unwrap();
    assert!(now().transferred_at.is_some());
}

#[test]
fn whoever_came_to_a_new_catalog_at_the_same_time_was_told_that_it_is_locked() {
    for _ in 0..40 {
        let (_scratch, layout) = layout();
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (layout, together) = (&layout, &together);
                scope.spawn(move || {
                    together.wait();
                    let catalog = Catalog::open(layout).unwrap();
                    catalog
                        .adopt(Path::new(&format!("/copy-{number}")), "anna@h/papers:", Way::Fetched)
                        .unwrap();
                    let mut book = book(&catalog, &format!("/copy-{number}"));
                    book.arrived(&path("a"), &Arrived { known: file(1), sum: None }).unwrap();
                    book.write(None).unwrap();
                });
            }
        });
    }
}

#[test]
fn a_catalog_of_before_is_taken_over_with_what_is_in_it() {
    let (_scratch, layout) = layout();
    let catalog = Catalog::open(&layout).unwrap();
    catalog.adopt(Path::new("/copy"), "anna@h/papers:", Way::Sent).unwrap();
    drop(catalog);
    let database = Connection::open(layout.catalog()).unwrap();
    database.execute_batch("ALTER TABLE copy DROP COLUMN sent; PRAGMA user_version = 2").unwrap();
    drop(database);
    let catalog = Catalog::open(&layout).unwrap();
    assert_eq!(catalog.copies().unwrap()[0].way, Way::Fetched);
    for way in [Way::Sent, Way::Fetched] {
        assert_eq!(catalog.adopt(Path::new("/copy"), "anna@h/papers:", way).unwrap().way, way);
        assert_eq!(Catalog::open(&layout).unwrap().copies().unwrap()[0].way, way);
    }
}

#[test]
fn a_newer_catalog_is_left_alone_and_a_broken_one_is_named() {
    let (_scratch, layout) = layout();
    drop(Catalog::open(&layout).unwrap());
    let database = Connection::open(layout.catalog()).unwrap();
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    assert!(matches!(Catalog::open(&layout), Err(CatalogError::Newer { .. })));
    std::fs::write(layout.catalog(), "this is no database, and longer than the header of one\n".repeat(9))
        .unwrap();
    let error = Catalog::open(&layout).unwrap_err().to_string();
    assert!(error.contains("afiles.db: "), "{error}");
}
