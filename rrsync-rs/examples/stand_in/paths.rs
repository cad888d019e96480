//! Uses every path of the command line as rsync uses it, and more carelessly: by name, following every symlink.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// What a receiver writes, for the test to look for.
const WRITTEN: &[u8] = b"FROM-THE-STAND-IN\n";

/// Uses the sources, or the destination, and the path options.
pub fn use_all(args: &[String]) {
    let sender = args.iter().any(|arg| arg == "--sender");
    let dots = args.iter().position(|arg| arg == "--").map_or(args.len(), |at| at + 2);
    let paths = args.get(dots..).unwrap_or_default();
    for arg in &args[..dots.min(args.len())] {
        if let Some((name, value)) = arg.strip_prefix("--").and_then(|arg| arg.split_once('='))
            && !value.is_empty()
        {
            option(name, Path::new(value), &source_names(paths));
        }
    }
    for path in paths {
        let path = path.strip_prefix('@').unwrap_or(path);
        if sender { send(Path::new(path), 0) } else { receive(Path::new(path)) }
    }
    println!("DONE");
}

fn source_names(paths: &[String]) -> Vec<PathBuf> {
    let given = paths.iter().filter_map(|path| Path::new(path).file_name()).map(PathBuf::from);
    ["f", "loot", "secret"].iter().map(PathBuf::from).chain(given).collect()
}

fn option(name: &str, value: &Path, names: &[PathBuf]) {
    match name {
        "files-from" => send(value, 0),
        "log-file" => {
            let log = File::options().append(true).create(true).open(value);
            let _ = log.and_then(|mut log| log.write_all(WRITTEN));
            metadata(value);
        }
        "link-dest" | "copy-dest" | "compare-dest" => {
            send(value, 0);
            for name in names {
                let _ = fs::hard_link(value.join(name), Path::new("linked").join(name));
            }
        }
        "backup-dir" | "partial-dir" | "temp-dir" => receive(value),
        _ => {}
    }
}

/// Prints whatever can be read: the file, or what is in the directory.
fn send(path: &Path, depth: u32) {
    if let Ok(content) = fs::read(path) {
        println!("{}: {}", path.display(), String::from_utf8_lossy(&content));
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        println!("{}", entry.path().display());
        // What is found, rather than named, is sent as it is, as rsync does.
        if depth < 4 && entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            send(&entry.path(), depth + 1);
        }
    }
}

/// Writes the file, makes the directory, writes into it, by name and after changing to it; then sets modes and times.
fn receive(path: &Path) {
    let _ = fs::write(path, WRITTEN);
    let _ = fs::create_dir_all(path);
    for name in ["f", "loot", "secret", "new"] {
        let _ = fs::write(path.join(name), WRITTEN);
        metadata(&path.join(name));
    }
    metadata(path);
    let here = std::env::current_dir();
    if std::env::set_current_dir(path).is_ok() {
        let _ = fs::write("new-here", WRITTEN);
        let _ = fs::remove_file("loot");
        metadata(Path::new("."));
        if let Ok(here) = here {
            let _ = std::env::set_current_dir(here);
        }
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        metadata(parent);
    }
}

fn metadata(path: &Path) {
    let _ = fs::set_permissions(path, Permissions::from_mode(0o750));
    if let Ok(file) = File::open(path) {
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let _ = file.set_times(FileTimes::new().set_modified(long_ago));
    }
}
