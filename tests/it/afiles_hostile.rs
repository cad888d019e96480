//! A server that has been taken over says what it likes: nothing of it leaves the place where it was to arrive.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use akeys::event::{Cursor, Event, EventPath, FORMAT, Kind, Message, Reason};
use jiff::Timestamp;
use rrsync_rs::sha256::Sum;
use uuid::Uuid;

use crate::afiles_follow::{arrived, same};
use crate::support::{DEADLINE, Pod, Sandbox};

/// A packet of SFTP.
fn packet(kind: u8, id: Option<u32>, body: &[u8]) -> Vec<u8> {
    let mut inner = vec![kind];
    inner.extend(id.into_iter().flat_map(u32::to_be_bytes));
    inner.extend(body);
    [&length(&inner)[..], &inner].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes)[..], bytes].concat()
}

/// The greeting of a gate.
fn greeting() -> Vec<u8> {
    packet(2, None, &[&[0, 0, 0, 3][..], &string(b"fetch@akeys"), &string(b"1")].concat())
}

/// An answer to `fetch@akeys`: content, and a state that says `mode` and `size`.
fn fetched(id: u32, content: &[u8], mode: u32, size: u64) -> Vec<u8> {
    let state = [&mode.to_be_bytes()[..], &1_u64.to_be_bytes(), &size.to_be_bytes(), &[0; 32]].concat();
    packet(201, Some(id), &[&u64::MAX.to_be_bytes()[1..], &[0], &string(content), &state].concat())
}

fn names(id: u32, names: &[&[u8]], mode: u32) -> Vec<u8> {
    let count = u32::try_from(names.len()).unwrap().to_be_bytes();
    // The name, what ls would say, and the flags and value of the permissions.
    let name =
        |name: &&[u8]| [string(name), string(b""), vec![0, 0, 0, 4], mode.to_be_bytes().to_vec()].concat();
    packet(104, Some(id), &[count.to_vec(), names.iter().flat_map(name).collect()].concat())
}

/// From now on a script that says these, one each time it is asked something, stands where the gate was.
fn take_over(sandbox: &Sandbox, answers: &[Vec<u8>]) {
    for (number, answer) in answers.iter().enumerate() {
        sandbox.write(&format!("answers/{number}"), answer);
    }
    let script = format!(
        "#!/bin/sh\nnumber=0\nwhile [ -e {dir}/$number ]; do\n dd bs=65536 count=1 of=/dev/null 2>/dev/null\n cat {dir}/$number\n \
         number=$((number + 1))\ndone\nexec cat >/dev/null\n",
        dir = sandbox.home().join("answers").display()
    );
    let gate = sandbox.gate();
    fs::remove_file(&gate).unwrap();
    fs::write(&gate, script).unwrap();
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What is in the home of the pod, but for its configuration.
fn things(pod: &Pod<'_>) -> Vec<String> {
    let all =
        fs::read_dir(pod.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut things: Vec<String> =
        all.filter(|name| !matches!(name.as_str(), ".ssh" | ".config" | ".local")).collect();
    things.sort();
    things
}

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

#[test]
fn a_name_that_leads_out_is_no_name() {
    for name in [&b"../evil"[..], b"/evil", b"a/b", b"", b"x\0y"] {
        let sandbox = Sandbox::new();
        sandbox.write("papers/a", "a");
        let pod = sandbox.pod("chef", &["--workspace", "papers"]);
        let handle = packet(102, Some(2), &string(b"h"));
        let closed = packet(101, Some(4), &0_u32.to_be_bytes());
        take_over(
            &sandbox,
            &[greeting(), fetched(1, b"", DIRECTORY, 0), handle, names(3, &[b"good", name], FILE), closed],
        );
        let ran = pod.afiles(&["fetch", "papers:", "copy"]).fails_with(1);
        assert!(ran.stderr_text().contains("a name in a listing is no name"), "{ran}");
        assert!(things(&pod).is_empty(), "{:?}", things(&pod));
        assert!(!sandbox.path("evil").exists());
    }
}

#[test]
fn a_size_that_is_a_lie_brings_no_file() {
    // More than it says, each time that it is asked again; a reply longer than any may be; and more than there can be.
    let longer: Vec<Vec<u8>> = (1..=8).map(|id| fetched(id, b"0123456789", FILE, 3)).collect();
    let huge = vec![vec![0x7f, 0xff, 0xff, 0xff, 201]];
    let cut_off = vec![packet(201, Some(1), &[&[0; 8][..], &[0xff; 4], b"x"].concat())];
    for (answers, says) in [
        (longer, "has not stopped changing"),
        (huge, "does not keep to the protocol"),
        (cut_off, "does not keep to the protocol"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("papers/a", "a");
        let pod = sandbox.pod("chef", &["--workspace", "papers"]);
        take_over(&sandbox, &[vec![greeting()], answers].concat());
        let ran = pod.afiles(&["fetch", "papers:a", "a"]).fails_with(1);
        assert!(ran.stderr_text().contains(says), "{says}: {ran}");
        assert!(things(&pod).is_empty(), "{:?}", things(&pod));
    }
}

/// The stream of a workspace, in the hands of somebody who says what they like. The rest is the gate as it is.
pub(crate) struct Forged {
    stream: PathBuf,
    says: Option<fs::File>,
    cursor: Cursor,
}

impl Forged {
    /// What was asked for last.
    fn asked(&self) -> String {
        fs::read_to_string(self.stream.with_file_name("stream-asked")).unwrap_or_default()
    }

    /// Has nothing more to say to whoever has asked.
    fn hang_up(&mut self) {
        self.says = None;
        fs::remove_file(self.stream.with_file_name("stream-asked")).unwrap();
    }

    /// From now on, for whoever asks.
    pub(crate) fn stream(sandbox: &Sandbox) -> Self {
        let stream = sandbox.path("stream");
        nix::unistd::mkfifo(&stream, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (gate, real) = (sandbox.gate(), sandbox.gate().with_file_name("real"));
        fs::rename(&gate, &real).unwrap();
        let script = format!(
            "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in \"awatch stream\"*)\n \
             echo \"$SSH_ORIGINAL_COMMAND\" >'{0}-asked'; exec cat '{0}' ;;\nesac\nexec '{1}' \"$@\"\n",
            stream.display(),
            real.display()
        );
        fs::write(&gate, script).unwrap();
        fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).unwrap();
        Self { stream, says: None, cursor: Cursor { journal: Uuid::from_u128(1), sequence: 0 } }
    }

    /// Somebody listens, or will soon: the stream begins.
    pub(crate) fn begin(&mut self) {
        self.go_on();
        self.say(&Message::Resync { cursor: self.cursor, why: "test".to_owned() });
    }

    /// Goes on for somebody who has come again.
    fn go_on(&mut self) {
        let until = Instant::now() + DEADLINE;
        while !self.asked().ends_with('\n') {
            assert!(Instant::now() < until, "nobody asks");
            std::thread::yield_now();
        }
        self.says = Some(fs::File::options().write(true).open(&self.stream).unwrap());
        let (workspace, author) = ("papers".parse().unwrap(), "you@laptop".to_owned());
        self.say(&Message::Hello { format: FORMAT, workspace, author, project: None });
    }

    fn say(&mut self, message: &Message) {
        let line = serde_json::to_string(message).unwrap();
        writeln!(self.says.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Says these, and that this is all.
    pub(crate) fn tell(&mut self, events: &[Event]) {
        for event in events {
            self.cursor.sequence += 1;
            self.say(&Message::Event { cursor: self.cursor, event: Box::new(event.clone()) });
        }
        self.say(&Message::Current { cursor: self.cursor });
    }
}

fn path(path: &str) -> EventPath {
    EventPath::new(path.into()).unwrap()
}

/// An event of something with the size and the time of what is at `like`.
pub(crate) fn event(reason: Reason, kind: Kind, at: &str, from: Option<&str>, like: &Path) -> Event {
    let like = fs::symlink_metadata(like).unwrap();
    Event {
        uuid: Uuid::from_u128(2),
        time: Timestamp::UNIX_EPOCH,
        author: "you@laptop".to_owned(),
        project: None,
        workspace: "papers".parse().unwrap(),
        reason,
        path: path(at),
        from: from.map(path),
        kind,
        size: Some(like.len()),
        mtime: Some(Timestamp::new(like.mtime(), i32::try_from(like.mtime_nsec()).unwrap()).unwrap()),
        mode: Some(like.mode() & 0o777),
        sha256: None,
        origin: None,
        text: None,
    }
}

#[test]
fn a_rename_that_was_none_puts_nothing_old_in_the_place_of_what_has_come() {
    let sandbox = Sandbox::new();
    // As long as each other and of one time: what was written within a tick of the clock is told apart by its content alone.
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let write = |name: &str, content: &str| {
        let file = sandbox.write(&format!("papers/{name}"), content);
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        file
    };
    let right = write("right", "right");
    let old = write("old", "stale");
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    let mut forged = Forged::stream(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    forged.begin();
    following.in_sync();
    fs::remove_file(old).unwrap();
    forged.tell(&[event(Reason::Renamed, Kind::File, "right", Some("old"), &right)]);
    let told = following.until(|kind, what| kind == "removed" && what == "old");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(fs::read(pod.path("copy/right")).unwrap(), b"right");

    // Nor is it seen under a name that is new.
    for content in ["new, and longer", "fresh"] {
        for sha256 in [None, Some(Sum::of(content.as_bytes()).to_string())] {
            let old = write("again", "stale");
            forged.tell(&[event(Reason::Created, Kind::File, "again", None, &old)]);
            arrived(&mut following, "again");
            fs::remove_file(old).unwrap();
            let new = write("new", content);
            forged
                .tell(&[Event { sha256, ..event(Reason::Renamed, Kind::File, "new", Some("again"), &new) }]);
            let told = following.until(|kind, what| kind == "removed" && what == "again");
            assert!(!told.iter().any(|(kind, _)| kind == "moved"), "{told:?}");
            same(&pod, &sandbox);
            fs::remove_file(new).unwrap();
            forged.tell(&[event(Reason::Removed, Kind::File, "new", None, &right)]);
            following.until(|kind, what| kind == "removed" && what == "new");
        }
    }
    // One that was is no transfer.
    let was = write("was", "stale");
    let sha256 = Some(Sum::of(b"stale").to_string());
    forged.tell(&[event(Reason::Created, Kind::File, "was", None, &was)]);
    arrived(&mut following, "was");
    fs::rename(&was, was.with_file_name("is")).unwrap();
    let is = was.with_file_name("is");
    forged.tell(&[Event { sha256, ..event(Reason::Renamed, Kind::File, "is", Some("was"), &is) }]);
    let told = following.until(|_, what| what == "is");
    assert_eq!(told.last().unwrap().0, "moved", "{told:?}");
    same(&pod, &sandbox);
}

#[test]
fn what_the_source_says_otherwise_is_in_doubt_until_it_is_explained_or_compared() {
    let sandbox = Sandbox::new();
    let right = sandbox.write("papers/right", "right");
    sandbox.write("papers/dir/inner", "inner");
    let papers = sandbox.home().join("papers");
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    let mut forged = Forged::stream(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    forged.begin();
    following.in_sync();
    let (file, directory) = (Kind::File, Kind::Directory);

    // A rename that is undone, and done again before anybody looks, has no other event.
    forged.tell(&[event(Reason::Renamed, directory, "moved", Some("dir"), &papers.join("dir"))]);
    std::thread::sleep(Duration::from_millis(200));
    fs::rename(papers.join("dir"), papers.join("moved")).unwrap();
    let told = following.until(|kind, what| kind == "moved" && what == "moved");
    assert!(!told.iter().any(|(kind, what)| kind == "removed" || what == "comparing"), "{told:?}");

    // What came and went and came, and what went and came and went, either: that is found by comparing.
    forged.tell(&[event(Reason::Created, file, "late", None, &right)]);
    std::thread::sleep(Duration::from_millis(200));
    sandbox.write("papers/late", "late");
    let told = arrived(&mut following, "late");
    assert!(!told.iter().any(|(_, what)| what == "in-sync"), "{told:?}");
    following.in_sync();
    forged.tell(&[event(Reason::Removed, file, "right", None, &right)]);
    std::thread::sleep(Duration::from_millis(200));
    fs::remove_file(&right).unwrap();
    following.until(|kind, what| kind == "removed" && what == "right");
    following.in_sync();
    same(&pod, &sandbox);

    // A rename that the source will not hear of keeps nothing waiting for long.
    forged.tell(&[event(Reason::Renamed, directory, "elsewhere", Some("moved"), &papers.join("moved"))]);
    let behind = sandbox.write("papers/behind", "behind");
    forged.tell(&[event(Reason::Created, file, "behind", None, &behind)]);
    arrived(&mut following, "behind");
    following.in_sync();
    same(&pod, &sandbox);

    // Nor does it where there is always something to hear.
    let again = event(Reason::Renamed, directory, "elsewhere", Some("moved"), &papers.join("moved"));
    let attributes = event(Reason::Attributes, file, "behind", None, &behind);
    let silence = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            forged.tell(std::slice::from_ref(&again));
            while !silence.load(Ordering::Acquire) {
                forged.tell(std::slice::from_ref(&attributes));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        following.until(|_, what| what == "comparing");
        silence.store(true, Ordering::Release);
    });
    following.in_sync();

    // Whoever begins anew while something is in doubt hears of it again.
    let before = forged.cursor;
    forged.tell(&[event(Reason::Created, file, "early", None, &behind)]);
    forged.tell(&[attributes]);
    std::thread::sleep(Duration::from_millis(200));
    following.kill();
    forged.hang_up();
    let early = sandbox.write("papers/early", "early");
    let mut following = pod.follow(&["papers:", "copy"]);
    forged.go_on();
    assert_eq!(forged.asked(), format!("awatch stream papers --since {before}\n"));
    forged.tell(&[event(Reason::Created, file, "early", None, &early)]);
    let told = arrived(&mut following, "early");
    assert!(!told.iter().any(|(_, what)| what == "comparing"), "{told:?}");

    // What another event explains is not compared.
    forged.tell(&[event(Reason::Created, file, "fleeting", None, &behind)]);
    forged.tell(&[event(Reason::Removed, file, "fleeting", None, &behind)]);
    forged.tell(&[event(Reason::Created, file, "elsewhere/fleeting", None, &behind)]);
    forged.tell(&[event(Reason::Removed, directory, "elsewhere", None, &papers.join("moved"))]);
    std::thread::sleep(Duration::from_millis(1500));
    let end = sandbox.write("papers/end", "end");
    forged.tell(&[event(Reason::Created, file, "end", None, &end)]);
    let told = arrived(&mut following, "end");
    assert!(!told.iter().any(|(_, what)| what == "comparing"), "{told:?}");
}

#[test]
fn nothing_that_is_right_goes_for_an_event_that_is_late_or_wrong() {
    let sandbox = Sandbox::new();
    let right = sandbox.write("papers/right", "right");
    sandbox.write("papers/other", "other");
    sandbox.write("papers/dir/inner", "inner");
    let papers = sandbox.home().join("papers");
    symlink("dir", papers.join("link")).unwrap();
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    let mut forged = Forged::stream(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    forged.begin();
    following.in_sync();
    same(&pod, &sandbox);
    let (file, directory, link) = (Kind::File, Kind::Directory, Kind::Symlink);
    for (number, (reason, kind, at, from, like)) in [
        (Reason::Removed, file, "right", None, "right"),
        (Reason::Removed, file, "dir/inner", None, "right"),
        (Reason::Removed, directory, "dir", None, "dir"),
        (Reason::Removed, link, "link", None, "link"),
        (Reason::Renamed, file, "elsewhere", Some("right"), "right"),
        (Reason::Renamed, file, "other", Some("right"), "right"),
        (Reason::Renamed, file, "other", Some("right"), "other"),
        (Reason::Renamed, file, "dir", Some("right"), "right"),
        (Reason::Renamed, directory, "elsewhere", Some("dir"), "dir"),
        (Reason::Renamed, directory, "link", Some("dir"), "dir"),
        (Reason::Renamed, directory, "right", Some("dir"), "dir"),
        (Reason::Renamed, link, "elsewhere", Some("link"), "link"),
        (Reason::Renamed, link, "right", Some("link"), "link"),
        (Reason::Created, directory, "right", None, "dir"),
        (Reason::Created, directory, "link", None, "dir"),
        (Reason::Created, file, "dir", None, "right"),
        (Reason::Created, file, "link", None, "right"),
        (Reason::Created, file, "link/inner", None, "dir/inner"),
        (Reason::Created, directory, "link/more", None, "dir"),
        (Reason::Created, file, "right/inner", None, "dir/inner"),
        (Reason::Removed, file, "link/inner", None, "dir/inner"),
        (Reason::Created, link, "right", None, "link"),
        (Reason::Created, link, "dir", None, "link"),
        (Reason::Created, Kind::Other, "right", None, "right"),
        (Reason::Modified, file, "right", None, "other"),
        (Reason::Attributes, file, "nothing", None, "right"),
    ]
    .into_iter()
    .enumerate()
    {
        let wrong = event(reason, kind, at, from, &papers.join(like));
        // Once, and twice more in one batch.
        forged.tell(std::slice::from_ref(&wrong));
        forged.tell(&[wrong.clone(), wrong]);
        // What comes behind it comes when it is over.
        let fence = format!("fence-{number}");
        let fenced = sandbox.write(&format!("papers/{fence}"), "fence");
        forged.tell(&[event(Reason::Created, file, &fence, None, &fenced)]);
        let told = arrived(&mut following, &fence);
        let lost = told.iter().any(|(kind, _)| matches!(kind.as_str(), "removed" | "moved" | "made"));
        assert!(!lost, "{reason} {at} from {from:?}: {told:?}");
        same(&pod, &sandbox);
    }
    assert!(!pod.path(".local/state/akeys/versions").exists());

    // What was written twice within a tick of the clock is not what was there first, though size and time are the same.
    let time = fs::metadata(&right).unwrap().modified().unwrap();
    fs::write(&right, "RIGHT").unwrap();
    fs::File::options().write(true).open(&right).unwrap().set_modified(time).unwrap();
    let sha256 = Some(Sum::of(b"RIGHT").to_string());
    forged.tell(&[Event { sha256, ..event(Reason::Modified, file, "right", None, &right) }]);
    arrived(&mut following, "right");
    same(&pod, &sandbox);
}
