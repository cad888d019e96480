//! Trees that go round between pods come to rest, and nobody who reads a copy sees it half.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::afiles_fetch::everything;
use akeys::event::{Kind, Reason};

use crate::afiles_follow::{arrived, papers, same};
use crate::afiles_hostile::{Forged, event};
use crate::support::{Following, Pod, Sandbox};

const SHARED: [&str; 4] = ["--workspace", "papers", "--writable", "papers/shared"];

/// Contents below a directory, without times and modes.
pub(crate) fn contents(dir: &Path) -> Vec<(String, String)> {
    let content = |what: String| what.splitn(3, ' ').last().unwrap_or_default().to_owned();
    everything(dir).into_iter().map(|(name, what)| (name, content(what))).collect()
}

#[test]
fn two_pods_that_pull_and_push_the_same_tree_come_to_rest() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/shared/first", "first");
    let pods: Vec<Pod<'_>> = ["one", "two"].iter().map(|name| sandbox.pod(name, &SHARED)).collect();
    let turn = |pod: &Pod<'_>| {
        let pulled = pod.afiles(&["pull", "papers:shared", "shared"]).succeeds();
        let pushed = pod.afiles(&["push", "shared", "papers:shared"]).succeeds();
        [pulled, pushed].map(|ran| ran.stdout_text().contains(": 0 files, 0 B in "))
    };
    std::thread::scope(|scope| {
        for (number, pod) in pods.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..4 {
                    turn(pod);
                    fs::create_dir_all(pod.path(format!("shared/from-{number}"))).unwrap();
                    fs::write(pod.path(format!("shared/from-{number}/{round}")), format!("{number} {round}"))
                        .unwrap();
                }
            });
        }
    });
    // Each once more for what the other has made last, and then nothing moves any more.
    for pod in pods.iter().chain(&pods) {
        turn(pod);
    }
    for pod in &pods {
        assert_eq!(turn(pod), [true, true]);
        assert_eq!(contents(&pod.path("shared")), contents(&papers(&sandbox).join("shared")));
    }
    assert_eq!(
        contents(&pods[0].path("shared")).iter().filter(|(_, content)| !content.is_empty()).count(),
        9
    );
}

#[test]
fn two_pods_that_live_on_each_others_results_come_to_rest() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/shared/a/seed", "seed");
    let pods: Vec<Pod<'_>> = ["one", "two"].iter().map(|name| sandbox.pod(name, &SHARED)).collect();
    // Each makes its own half from the other's, whenever anything has changed.
    let start = |pod: &Pod<'_>, own: &str, other: &str| {
        let command =
            format!("mkdir -p shared/{own} shared/{other} && cp shared/{other}/* shared/{own}/; true");
        let push = format!("shared/{own}=papers:shared/{own}");
        pod.follow(&["papers:", "copy", "--on-change", &command, "--push", &push])
    };
    let mut one = start(&pods[0], "b", "a");
    let mut two = start(&pods[1], "a", "b");
    let has = |path: &str| papers(&sandbox).join("shared").join(path).exists();
    one.until(|kind, what| kind == "sent" && what == "seed");
    arrived(&mut two, "shared/b/seed");
    two.until(|kind, what| kind == "sent" && what == "seed");
    assert!(has("a/seed") && has("b/seed"));
    // At rest a change of something else is all that happens.
    let round = |name: &str, one: &mut Following, two: &mut Following| {
        sandbox.write(&format!("papers/{name}"), name);
        let told = [arrived(one, name), arrived(two, name)];
        told.iter().flatten().filter(|(_, what)| what.contains("seed")).count()
    };
    let mut moved = usize::MAX;
    for number in 0..20 {
        moved = round(&format!("mark-{number}"), &mut one, &mut two);
        if moved == 0 {
            break;
        }
    }
    assert_eq!(moved, 0, "it goes on and on");
}

#[test]
fn nobody_who_reads_a_copy_sees_it_half_moved() {
    let sandbox = Sandbox::new();
    let release = |number: u32| {
        for part in 0..20 {
            sandbox.write(&format!("papers/release-{number}/part-{part}"), format!("{number}").repeat(500));
        }
    };
    // A release is complete before the symlink leads to it.
    let publish = |number: u32| {
        release(number);
        let next = papers(&sandbox).join("next");
        symlink(format!("release-{number}"), &next).unwrap();
        fs::rename(&next, papers(&sandbox).join("current")).unwrap();
    };
    publish(0);
    sandbox.write("papers/moves/here/x", "x");
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    let (stop, looked) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                // The symlink is read once, as a program that changes into the directory does.
                let Ok(current) = fs::read_link(pod.path("copy/current")) else {
                    panic!("there is no current release")
                };
                let current = pod.path("copy").join(current);
                let parts: Vec<_> =
                    (0..20).map(|part| fs::read(current.join(format!("part-{part}")))).collect();
                // Unless it has been replaced meanwhile, all of it is there, and of one kind.
                let still = fs::read_link(pod.path("copy/current"))
                    .is_ok_and(|now| pod.path("copy").join(now) == current);
                if still {
                    let first = parts[0].as_ref().unwrap();
                    assert!(
                        parts.iter().all(|part| part.as_ref().unwrap() == first),
                        "{} holds parts of another release: {parts:?}",
                        current.display()
                    );
                    looked.fetch_add(1, Ordering::Relaxed);
                }
                let places = ["here", "there"].map(|name| pod.path(format!("copy/moves/{name}/x")).exists());
                let again = ["here", "there"].map(|name| pod.path(format!("copy/moves/{name}/x")).exists());
                assert!(
                    places != [true, true] || again != [true, true],
                    "a moved directory is in two places"
                );
            }
        });
        for number in 1..=9 {
            publish(number);
            let moves = papers(&sandbox).join("moves");
            let (from, to) = if number % 2 == 1 { ("here", "there") } else { ("there", "here") };
            fs::rename(moves.join(from), moves.join(to)).unwrap();
            // Some are published one upon the other. What is old goes as soon as the symlink leads to another.
            if number % 3 == 0 {
                for old in number - 3..number {
                    fs::remove_dir_all(papers(&sandbox).join(format!("release-{old}"))).unwrap();
                }
            }
        }
        sandbox.write("papers/end", "end");
        arrived(&mut following, "end");
        stop.store(true, Ordering::Release);
    });
    assert!(looked.load(Ordering::Relaxed) > 10);
    // The old ones go in any order, and the move may be told behind all of them.
    let is_old = |number| pod.path(format!("copy/release-{number}")).exists();
    while (0..9).any(is_old) || !pod.path("copy/moves/there").exists() {
        following.event();
    }
    same(&pod, &sandbox);
}

#[test]
fn a_symlink_is_turned_before_what_it_led_to_goes() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/release-0/part", "old");
    symlink("release-0", papers(&sandbox).join("current")).unwrap();
    symlink("release-0/part", papers(&sandbox).join("part")).unwrap();
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    let mut forged = Forged::stream(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    forged.begin();
    following.in_sync();
    let old = papers(&sandbox).join("release-0");
    let removed = event(Reason::Removed, Kind::Directory, "release-0", None, &old);
    sandbox.write("papers/release-1/part", "new");
    for (link, says) in [("current", Some("release-1")), ("part", None)] {
        fs::remove_file(papers(&sandbox).join(link)).unwrap();
        if let Some(says) = says {
            symlink(says, papers(&sandbox).join(link)).unwrap();
        }
    }
    fs::remove_dir_all(old).unwrap();
    // The removal settles first, and what else has happened is not told yet.
    forged.tell(&[removed]);
    let told = following.until(|kind, what| kind == "removed" && what == "release-0");
    let told: Vec<(&str, &str)> = told.iter().map(|(kind, what)| (kind.as_str(), what.as_str())).collect();
    let expected = [
        ("made", "release-1"),
        ("arrived", "release-1/part"),
        ("arrived", "current"),
        ("removed", "part"),
        ("removed", "release-0/part"),
        ("removed", "release-0"),
    ];
    assert_eq!(told, expected);
    same(&pod, &sandbox);
}
