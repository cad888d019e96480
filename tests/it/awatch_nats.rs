//! Events by NATS: a real server that comes, goes, is full and is asked for passwords, and a daemon that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use akeys::awatch::nats::client::Client;
use akeys::awatch::nats::jetstream::stream_of;
use akeys::event::{Cursor, Message};
use serde_json::Value;

use crate::support::{Daemon, Home, NatsServer, words};

/// Everything that is said of workspaces' changes.
const EVENTS: &str = "akeys.v1.events.>";

fn run(home: &Home, server: &NatsServer) -> Daemon {
    home.run_with(&["run", "papers", "--project", "thesis", "--nats", &server.url(), "--log", "info"])
}

/// Waits until the server has everything that the journal has, at least `count` events.
#[track_caller]
fn published(home: &Home, count: u64) -> Value {
    home.wait_for(|status| {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let last = status["cursor"].as_str().and_then(|cursor| cursor.parse::<Cursor>().ok());
        let last = last.map_or(0, |cursor| cursor.sequence);
        last >= count && number(&status["nats"]["published"]) == last
    })
}

fn messages(server: &NatsServer) -> Vec<Message> {
    server.kept(EVENTS).iter().map(|(_, content)| serde_json::from_slice(content).unwrap()).collect()
}

/// The events that the server has, in words. They come without a gap, in order, each once.
#[track_caller]
fn told(server: &NatsServer) -> Vec<String> {
    let mut before: Option<Cursor> = None;
    let mut told = Vec::new();
    for message in messages(server) {
        let Message::Event { cursor, event } = message else { panic!("{message:?}") };
        let expected = before.map_or(1, |before| before.sequence + 1);
        assert_eq!(cursor.sequence, expected);
        before = Some(cursor);
        told.push(words(&event));
    }
    told
}

#[test]
fn an_event_is_on_a_subject_that_says_its_path() {
    let (home, server) = (Home::new(), NatsServer::start());
    let daemon = run(&home, &server);
    home.write("papers/fig 1/a.b*>=", "x");
    home.write(&format!("papers/{}/x", vec!["d".repeat(200); 12].join("/")), "deep");
    published(&home, 15);
    daemon.stop();
    let kept = server.kept(EVENTS);
    let subjects: Vec<&str> = kept.iter().map(|(subject, _)| subject.as_str()).collect();
    let at = |end: &str| subjects.iter().find(|subject| subject.ends_with(end));
    let found = at(".papers.path.fig=201.a=2Eb=2A=3E=3D").unwrap_or_else(|| panic!("{subjects:?}"));
    assert!(found.starts_with("akeys.v1.events.thesis."));
    assert!(at(".=").is_some(), "{subjects:?}");
    assert_eq!(told(&server).len(), 15);
}

#[test]
fn a_server_that_comes_later_gets_everything_once() {
    let (home, mut server) = (Home::new(), NatsServer::later());
    let daemon = run(&home, &server);
    home.write("papers/before", "x");
    let status = home.wait_for(|status| {
        status["nats"]["queue"].as_u64() == Some(1) && status["nats"]["trouble"].is_string()
    });
    assert!(status["nats"]["trouble"].as_str().unwrap().contains("refused"), "{status}");
    server.again();
    home.write("papers/after", "x");
    published(&home, 2);
    assert_eq!(told(&server), ["created before", "created after"]);
    let said = daemon.stop();
    assert_eq!(said.matches("refused").count(), 1, "{said}");
    assert!(said.contains("takes events again"), "{said}");
}

#[test]
fn a_server_that_is_killed_in_the_middle_loses_and_repeats_nothing() {
    let (home, mut server) = (Home::new(), NatsServer::start());
    let daemon = run(&home, &server);
    for round in 0..4 {
        for number in 0..200 {
            home.write(&format!("papers/{round}-{number}"), "x");
            if number == 100 {
                server.kill();
            }
        }
        server.again();
        published(&home, 200 * (round + 1));
    }
    daemon.stop();
    let told = told(&server);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 800, "{told:?}");
    assert_eq!(told.len(), 800);
}

#[test]
fn a_daemon_that_is_killed_between_message_and_acknowledgement_repeats_nothing() {
    let (home, server) = (Home::new(), NatsServer::start());
    for round in 0..5_u64 {
        let daemon = run(&home, &server);
        for number in 0..300 {
            home.write(&format!("papers/{round}-{number}"), "x");
        }
        // As soon as some of them are there, most of them are under way.
        let until = Instant::now() + Duration::from_mins(1);
        while server.kept(EVENTS).len() as u64 <= round * 300 {
            assert!(Instant::now() < until);
        }
        daemon.kill();
        // What this account knew is lost as well, every second time.
        if round % 2 == 1 {
            fs::remove_file(home.at(".local/state/akeys/watch/papers/published.json")).ok();
        }
        let daemon = run(&home, &server);
        published(&home, (round + 1) * 300);
        daemon.stop();
    }
    let told = told(&server);
    assert_eq!((told.len(), told.iter().collect::<BTreeSet<_>>().len()), (1500, 1500));
}

/// Makes the stream before the daemon does, as an administrator would.
#[track_caller]
fn administer(client: &mut Client, config: &Value) {
    let subject = format!("$JS.API.STREAM.CREATE.{}", config["name"].as_str().unwrap());
    let answer = client.request("a stream", &subject, config.to_string().as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&answer.content).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
}

#[test]
fn a_full_stream_is_said_and_goes_on_in_order_when_there_is_room() {
    let (home, server) = (Home::new(), NatsServer::start());
    let mut client = server.client();
    let mut config = serde_json::json!({
        "name": "all", "subjects": [EVENTS], "retention": "limits", "storage": "file", "discard": "new",
        "max_msgs": 50, "max_bytes": -1, "max_consumers": -1, "num_replicas": 1, "max_msg_size": -1,
    });
    administer(&mut client, &config);
    let daemon = run(&home, &server);
    for number in 0..200 {
        home.write(&format!("papers/{number}"), "x");
    }
    let status = home.wait_for(|status| {
        status["nats"]["trouble"].is_string() && status["nats"]["queue"].as_u64() == Some(150)
    });
    assert!(status["nats"]["trouble"].as_str().unwrap().contains("maximum messages exceeded"), "{status}");
    // The administrator's settings are his own.
    let info = client.request("a stream", "$JS.API.STREAM.INFO.all", b"").unwrap();
    let info: Value = serde_json::from_slice(&info.content).unwrap();
    assert_eq!((&info["config"]["max_msgs"], &info["config"]["discard"]), (&50.into(), &"new".into()));
    assert_eq!(told(&server).len(), 50);
    config["max_msgs"] = 500.into();
    let answer =
        client.request("a stream", "$JS.API.STREAM.UPDATE.all", config.to_string().as_bytes()).unwrap();
    assert!(!String::from_utf8_lossy(&answer.content).contains("error"));
    published(&home, 200);
    daemon.stop();
    assert_eq!(told(&server).len(), 200);
}

#[test]
fn what_the_journal_could_not_keep_is_told_as_a_resync() {
    let (home, mut server) = (Home::new(), NatsServer::start());
    let config = format!(
        "[nats]\nurl = \"{}\"\n[workspace.papers]\npath = \"~/papers\"\nretention = \"64K\"\n",
        server.url()
    );
    private(&home, ".config/akeys/watch.toml", &config);
    let daemon = home.run_with(&["run", "--log", "info"]);
    home.write("papers/first", "x");
    published(&home, 1);
    server.kill();
    home.wait_for(|status| status["nats"]["trouble"].is_string());
    for number in 0..2000 {
        home.write(&format!("papers/{number}"), "x");
    }
    home.wait_for(|status| status["nats"]["queue"].as_u64() == Some(2000));
    server.again();
    home.wait_for(|status| {
        status["nats"]["trouble"].is_null() && status["nats"]["queue"].as_u64() == Some(0)
    });
    home.write("papers/last", "x");
    published(&home, 2002);
    let said = daemon.stop();
    let all = messages(&server);
    let (Some(Message::Event { .. }), Some(Message::Resync { cursor, why })) = (all.first(), all.get(1))
    else {
        panic!("{all:?}")
    };
    assert!(cursor.sequence > 1 && why.contains("not kept any more"), "{why}");
    assert!(said.contains("has to compare everything"), "{said}");
    // From there on there is no gap.
    let mut before = cursor.sequence;
    for message in &all[2..] {
        let Message::Event { cursor, .. } = message else { panic!("{message:?}") };
        assert_eq!(cursor.sequence, before + 1);
        before = cursor.sequence;
    }
    assert_eq!(before, 2002);
}

#[test]
fn ten_thousand_events_are_published_in_order() {
    let (home, server) = (Home::new(), NatsServer::start());
    let daemon = run(&home, &server);
    for number in 0..10_000 {
        home.write(&format!("papers/{}/{number}", number % 100), "x");
    }
    published(&home, 10_100);
    daemon.stop();
    assert_eq!(told(&server).len(), 10_100);
}

#[test]
fn a_daemon_without_a_server_does_not_spin() {
    let (home, server) = (Home::new(), NatsServer::later());
    let daemon = run(&home, &server);
    home.wait_for(|status| status["nats"]["trouble"].is_string());
    let said = daemon.stop();
    // However often it has tried.
    assert_eq!(said.matches("events wait in the journal").count(), 1, "{said}");
}

#[test]
fn whoever_may_not_is_told_so_and_no_secret_is_shown() {
    let more = "authorization { users = [ { user: anna, password: s3cret }, \
        { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }";
    let server = NatsServer::start_with(more);
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    for (login, secret, works) in [
        ("user = \"anna\"\npassword-file = \"~/secret\"", "s3cret\n", true),
        ("nkey = \"~/secret\"", seed, true),
        ("user = \"anna\"\npassword-file = \"~/secret\"", "wr0ng\n", false),
        ("", "", false),
    ] {
        let home = Home::new();
        private(&home, "secret", secret);
        let config =
            format!("[nats]\nurl = \"{}\"\n{login}\n[workspace.papers]\npath = \"~/papers\"\n", server.url());
        private(&home, ".config/akeys/watch.toml", &config);
        let daemon = home.run_with(&["run", "--log", "debug"]);
        home.write("papers/a", "x");
        if works {
            published(&home, 1);
        } else {
            let status = home.wait_for(|status| status["nats"]["trouble"].is_string());
            assert!(
                status["nats"]["trouble"].as_str().unwrap().contains("Authorization Violation"),
                "{status}"
            );
        }
        let said = daemon.stop();
        assert!(!said.contains("s3cret") && !said.contains("wr0ng") && !said.contains(seed), "{said}");
    }
}

#[test]
fn what_is_no_nats_server_is_said_to_be_none() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write as _;
            let mut stream = stream;
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\x1b[2J\r\n").ok();
        }
    });
    let daemon = home.run_with(&["run", "papers", "--nats", &url]);
    let status = home.wait_for(|status| status["nats"]["trouble"].is_string());
    assert!(
        status["nats"]["trouble"].as_str().unwrap().ends_with("is not NATS: an unknown word"),
        "{status}"
    );
    daemon.stop();
    assert!(stream_of(&mut NatsServer::start().client(), EVENTS).unwrap().is_none());
}

fn private(home: &Home, file: &str, text: &str) {
    home.write(file, text);
    fs::set_permissions(home.at(file), fs::Permissions::from_mode(0o600)).unwrap();
}

/// The workspaces that are announced: project, name and state.
#[track_caller]
fn listed(home: &Home, server: &NatsServer, more: &[&str]) -> Vec<(String, String)> {
    let url = server.url();
    let outcome = home.awatch(&[&["workspaces", "--nats", &url, "--json"], more].concat()).succeeds();
    let value: Value = serde_json::from_str(&outcome.stdout_text()).unwrap();
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = value["workspaces"].as_array().unwrap();
    entries.iter().map(|entry| (word(entry, "workspace"), word(entry, "state"))).collect()
}

#[test]
fn a_workspace_appears_changes_and_vanishes() {
    let (home, server) = (Home::new(), NatsServer::start());
    assert!(listed(&home, &server, &[]).is_empty());
    let config = |more: &str| {
        let text = format!(
            "[nats]\nurl = \"{}\"\n[workspace.papers]\npath = \"~/papers\"\nproject = \"thesis\"\n{more}",
            server.url()
        );
        private(&home, ".config/akeys/watch.toml", &text);
    };
    let until = |wanted: &[(&str, &str)]| {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let listed = listed(&home, &server, &[]);
            if listed.iter().map(|(name, state)| (name.as_str(), state.as_str())).eq(wanted.iter().copied()) {
                return;
            }
            assert!(Instant::now() < until, "{listed:?}");
        }
    };
    config("[workspace.notes]\npath = \"~/notes\"\n");
    fs::create_dir(home.at("notes")).unwrap();
    let daemon = home.run_with(&["run"]);
    until(&[("notes", "watching"), ("papers", "watching")]);
    assert_eq!(listed(&home, &server, &["--project", "thesis"]).len(), 1);
    let text = home.awatch(&["workspaces"]).succeeds().stdout_text();
    assert!(text.starts_with("-       notes ") && text.contains("\nthesis  papers "), "{text}");

    // A directory that goes away is said to be awaited.
    fs::rename(home.at("notes"), home.at("elsewhere")).unwrap();
    until(&[("notes", "waiting"), ("papers", "watching")]);
    config("");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    until(&[("papers", "watching")]);
    daemon.stop();
    until(&[]);

    // One that is killed says nothing any more, and after a minute that shows.
    let entry = akeys::awatch::nats::registry::Entry {
        workspace: "papers".parse().unwrap(),
        project: None,
        author: "anna@laptop".to_owned(),
        user: "anna".parse().unwrap(),
        host: "laptop".parse().unwrap(),
        port: None,
        host_keys: BTreeSet::new(),
        time: jiff::Timestamp::now() - Duration::from_secs(90),
        doing: akeys::awatch::daemon::status::Doing::Watching,
        cursor: None,
    };
    let subject = akeys::awatch::nats::subject::announcement(&entry.identity());
    server.client().request("an announcement", &subject, &entry.message(false)).unwrap();
    until(&[("papers", "dead")]);
    let text = home.awatch(&["workspaces"]).succeeds().stdout_text();
    assert_eq!(text, "-  papers  anna@laptop  DEAD, last heard 90 s ago\n");
}

#[test]
fn a_server_is_known_by_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let openssl = crate::support::find_program("openssl");
    let make = |name: &str| {
        let mut command = std::process::Command::new(&openssl);
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        command.args([
            "-subj",
            "/CN=hub",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        command.args(["-keyout", &at(&format!("{name}.key")), "-out", &at(&format!("{name}.pem"))]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    make("server");
    make("other");
    let more = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", at("server.pem"), at("server.key"));
    let server = NatsServer::start_with(&more);
    for (scheme, ca, works) in [("tls", "server", true), ("nats", "server", true), ("tls", "other", false)] {
        let home = Home::new();
        let url = server.url().replace("nats:", &format!("{scheme}:"));
        let config = format!(
            "[nats]\nurl = \"{url}\"\nca = \"{}\"\n[workspace.papers]\npath = \"~/papers\"\n",
            at(&format!("{ca}.pem"))
        );
        private(&home, ".config/akeys/watch.toml", &config);
        let daemon = home.run_with(&["run"]);
        home.write("papers/a", "x");
        if works {
            published(&home, 1);
        } else {
            let status = home.wait_for(|status| status["nats"]["trouble"].is_string());
            assert!(status["nats"]["trouble"].as_str().unwrap().contains("certificate"), "{status}");
        }
        daemon.stop();
    }
    // One without TLS is not taken for one with it.
    let (home, plain) = (Home::new(), NatsServer::start());
    let daemon = home.run_with(&["run", "papers", "--nats", &plain.url().replace("nats:", "tls:")]);
    let status = home.wait_for(|status| status["nats"]["trouble"].is_string());
    assert!(status["nats"]["trouble"].as_str().unwrap().contains("does not speak TLS"), "{status}");
    daemon.stop();
}
