//! The documents are true to the tree: the code map, the reasons for dependencies, and the pages of the manual.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
const README: &str = include_str!("../../README.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The words in backticks in the first cell of every row of the table under `heading`.
fn first_cells(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = ARCHITECTURE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    cells.map(|cell| cell.split('`').step_by(2).filter(|word| !word.is_empty()).collect()).collect()
}

#[test]
fn the_code_map_names_what_is_there() {
    let mut named = BTreeSet::new();
    for row in first_cells("Code map") {
        // What follows the first path of a row is beside it.
        let dir = Path::new(row[0].trim_end_matches('/')).parent().unwrap();
        for path in row {
            let path = path.trim_end_matches('/');
            let whole = [PathBuf::from(path), dir.join(path), dir.parent().unwrap_or(dir).join(path)];
            let found = whole.iter().find(|path| root().join(path).exists());
            named.insert(
                found.unwrap_or_else(|| panic!("{path} is in the code map, not in the tree")).clone(),
            );
        }
    }
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let path = path.strip_prefix(root()).unwrap();
        let plain = ["src/bin", "src/lib.rs"].map(Path::new).contains(&path);
        assert!(plain || named.contains(path), "{} is not in the code map", path.display());
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let reasons: BTreeSet<&str> = first_cells("Dependencies").concat().into_iter().collect();
    let mut used = BTreeSet::new();
    for manifest in ["Cargo.toml", "rrsync-rs/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let for_targets =
            targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
        for tables in std::iter::once(&manifest).chain(for_targets) {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let table = tables.get(kind).and_then(toml::Value::as_table);
                used.extend(table.into_iter().flat_map(|table| table.keys().cloned()));
            }
        }
    }
    used.remove("rrsync-rs");
    for name in &used {
        assert!(reasons.contains(name.as_str()), "{name} has no reason in ARCHITECTURE.md");
    }
    for name in reasons {
        assert!(used.contains(name), "{name} is in ARCHITECTURE.md and not in use");
    }
}

#[test]
fn every_page_of_the_manual_is_named_in_the_readme() {
    for entry in fs::read_dir(root().join("man")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (page, section) = name.rsplit_once('.').unwrap();
        assert!(README.contains(&format!("{page}({section})")), "{name} is not in README.md");
    }
}
