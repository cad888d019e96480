//! Hosts in network namespaces of their own, each with its own sshd: what is cut off waits for nobody else, and comes back.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::afiles_follow::arrived;
use crate::support::{Account, Sandbox, find_program, has_program, is_root};

/// A network namespace, for as long as the process in it lives.
struct Network(Child);

impl Network {
    /// `None`, and a word about it, where this account may not make one.
    fn new() -> Option<Self> {
        if let Some(network) = Self::made().filter(|network| network.ip("link set lo up")) {
            return Some(network);
        }
        eprintln!("skipped: network namespaces take root and ip(8), and not every container has them");
        None
    }

    fn made() -> Option<Self> {
        if !is_root() || !has_program("ip") {
            return None;
        }
        let mut holder = Command::new(find_program("unshare"));
        holder.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut network = Self(holder.spawn().unwrap());
        // cat answers once it is in there.
        network.0.stdin.as_mut()?.write_all(b"\n").ok()?;
        let mut line = String::new();
        let read = BufReader::new(network.0.stdout.take()?).read_line(&mut line).ok()?;
        (read > 0).then_some(network)
    }

    /// The words that run a command in it.
    fn words(&self) -> Vec<String> {
        ["nsenter", "--net", "--target", &self.0.id().to_string(), "--"].map(str::to_owned).to_vec()
    }

    fn command(&self) -> Command {
        let words = self.words();
        let mut command = Command::new(find_program(&words[0]));
        command.args(&words[1..]);
        command
    }

    fn ip(&self, what: &str) -> bool {
        self.command().arg(find_program("ip")).args(what.split(' ')).status().unwrap().success()
    }

    /// Joins it with another by a cable: `10.77.N.1` is there, `10.77.N.2` here.
    #[track_caller]
    fn join(&self, other: &Self, number: u8) {
        let pid = other.0.id();
        for (network, what) in [
            (self, format!("link add here{number} type veth peer name there netns {pid}")),
            (self, format!("addr add 10.77.{number}.2/24 dev here{number}")),
            (self, format!("link set here{number} up")),
            (other, format!("addr add 10.77.{number}.1/24 dev there")),
            (other, "link set there up".to_owned()),
        ] {
            assert!(network.ip(&what), "ip {what}");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The sshd of a host, on a port of its network.
struct Sshd(Child);

impl Sshd {
    fn start(network: &Network, sandbox: &Sandbox) -> Self {
        Account::current();
        let mut sshd = network.command();
        sshd.arg(find_program("sshd")).args(["-D", "-e", "-p", "2222", "-f"]).arg(sandbox.sshd_config());
        let mut sshd = sshd.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut says = BufReader::new(sshd.stderr.take().unwrap()).lines();
        assert!(says.any(|line| line.unwrap().contains("listening on")), "sshd does not listen");
        // What it says later is taken, so that it never waits for a reader.
        std::thread::spawn(move || says.count());
        Self(sshd)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_host_that_is_cut_off_keeps_nobody_waiting_and_is_made_up_for() {
    let Some(here) = Network::new() else { return };
    let (Some(near), Some(far)) = (Network::new(), Network::new()) else { return };
    here.join(&near, 1);
    here.join(&far, 2);
    let hosts = [(Sandbox::new(), near), (Sandbox::new(), far)];
    let mut sshds: Vec<Sshd> = hosts.iter().map(|(sandbox, network)| Sshd::start(network, sandbox)).collect();
    for ((sandbox, _), name) in hosts.iter().zip(["one", "two"]) {
        sandbox.write(&format!("{name}/draft"), "draft");
    }
    let mut pod = hosts[0].0.pod_at("chef", "10.77.1.1:2222", &["--workspace", "one"]);
    pod.meet(&hosts[1].0, "10.77.2.1:2222", &["--workspace", "two"]);
    let words = here.words();
    pod.with(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut following = pod.follow(&["one:", "copy-one", "two:", "copy-two"]);
    following.in_sync();
    following.in_sync();

    // A short cut: what was on its way arrives late, and nothing is said about it.
    assert!(here.ip("link set here2 down"));
    hosts[1].0.write("two/while-cut-off", "news");
    hosts[0].0.write("one/meanwhile", "news");
    arrived(&mut following, "meanwhile");
    assert!(here.ip("link set here2 up"));
    let told = arrived(&mut following, "while-cut-off");
    assert!(!told.iter().any(|(_, what)| what == "lost"), "{told:?}");

    // A long one, in which the host is started anew.
    assert!(here.ip("link set here2 down"));
    sshds.pop();
    hosts[1].0.write("two/draft", "another");
    fs::create_dir(hosts[1].0.home().join("two/new")).unwrap();
    hosts[1].0.write("two/new/file", "file");
    following.until(|kind, what| kind == "state" && what == "lost");
    hosts[0].0.write("one/also-meanwhile", "news");
    arrived(&mut following, "also-meanwhile");
    sshds.push(Sshd::start(&hosts[1].1, &hosts[1].0));
    assert!(here.ip("link set here2 up"));
    arrived(&mut following, "new/file");
    following.in_sync();
    assert_eq!(fs::read_to_string(pod.path("copy-two/draft")).unwrap(), "another");
    let stands = pod.afiles(&["status"]).succeeds().stdout_text();
    assert_eq!(stands.matches("in sync; ").count(), 2, "{stands}");
}
