//! `akeys report --html`: one page that shows everything, fetches nothing, and believes no text; looked at in a browser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::{Run, find_program, has_program, run};

const ED_SHA: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";
const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

/// A home with keys of all kinds, and comments that would like to be markup.
fn home() -> Home {
    let home = Home::new();
    let long = "x".repeat(300);
    home.write(
        ".ssh/authorized_keys",
        &format!(
            "{FOREIGN} <script>document.title='owned'</script>\n\
             restrict,command=\"echo </td><img src=x onerror=alert(1)> & '\" {OTHER} \"'><b>bold\u{202e}\x1b[31m\n\
             from=\"10.1.0.0/16\",expiry-time=\"20200101Z\" {ED} {long}\n\
             comand=\"x\" {ED} </script><script>alert(2)</script>\n"
        ),
    );
    home.write(".ssh/authorized_keys2", &format!("{OTHER} zoe\n"));
    home.write(
        "log",
        &format!("2026-11-20T12:00:00Z h sshd[1]: Accepted publickey for {} from 192.0.2.7 port 1 ssh2: ED25519 {ED_SHA}\n", me()),
    );
    home
}

fn me() -> String {
    let name = Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(name).unwrap().trim().to_owned()
}

#[test]
fn a_page_is_whole_private_and_without_foreign_markup() {
    let home = home();
    let log = home.at("log");
    let ran = home.akeys(&["report", "--html", "report.html", "--log", &log]).ok();
    assert!(
        ran.err.contains("wrote ~/report.html: 4 keys") || ran.err.contains("wrote report.html: 4 keys"),
        "{ran:?}"
    );
    let mode = fs::metadata(home.path().join("report.html")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    let page = home.read("report.html");
    for part in
        ["2026-11-20 from 192.0.2.7", ED_SHA, "dead-options", "the whole account", "zoe", "authorized_keys2"]
    {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
    // One style, one script, nothing that is fetched, and no element that a key file brought.
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
    for foreign in [
        "<img",
        "<b>bold",
        "onerror=alert(1)>",
        "\u{202e}",
        "\x1b",
        "http:",
        "https:",
        "url(",
        "@import",
        "src=",
    ] {
        let allowed =
            foreign == "src=" && page.matches("src=").count() == page.matches("&lt;img src=x").count();
        assert!(!page.contains(foreign) || allowed, "{foreign:?}");
    }
    let onto_stdout = home.akeys(&["report", "--html", "-", "--log", &log]).ok();
    assert!(onto_stdout.out.starts_with("<!DOCTYPE html>") && onto_stdout.out.ends_with("</html>\n"));
    home.akeys(&["report"]).fails(2, "--html <FILE>");
    home.akeys(&["report", "--html", "no/such/dir/x.html"]).fails(1, "no/such/dir/x.html: No such file");
}

/// A page around the page, as wide as a telephone: it says how wide the inner one has become, and uses its controls.
const AROUND: &str = r##"<!DOCTYPE html><meta charset="utf-8"><body><iframe id="f" src="report.html" width="WIDTH" height="800"
  style="border:0"></iframe><pre id="said"></pre><script>
addEventListener("load", () => {
  const doc = document.getElementById("f").contentDocument;
  const rows = () => Array.from(doc.querySelectorAll("#keys tbody tr")).filter((row) => !row.hidden);
  const who = () => rows().map((row) => row.cells[1].textContent.slice(0, 12)).join("|");
  const say = [];
  say.push("width " + doc.documentElement.scrollWidth + " of " + doc.documentElement.clientWidth);
  say.push("title " + doc.title.startsWith("SSH keys on "));
  say.push("tools " + !doc.getElementById("tools").hidden);
  say.push("rows " + rows().length);
  const words = doc.getElementById("words");
  const type = (text) => { words.value = text; words.dispatchEvent(new Event("input")); };
  type("zoe");
  say.push("filtered " + rows().length + " " + doc.getElementById("count").textContent);
  type("");
  const whole = doc.getElementById("whole");
  whole.checked = true; whole.dispatchEvent(new Event("input"));
  say.push("whole " + rows().length);
  whole.checked = false; whole.dispatchEvent(new Event("input"));
  const heads = doc.querySelectorAll("#keys thead th");
  heads[1].querySelector("button").click();
  const up = who();
  heads[1].querySelector("button").click();
  say.push("sorted " + (up === who().split("|").reverse().join("|")) + " " + heads[1].getAttribute("aria-sort"));
  document.getElementById("said").textContent = say.join("\n");
});
</script>"##;

#[test]
fn in_a_browser_it_fits_a_telephone_sorts_and_filters() {
    if !has_program("chromium") {
        eprintln!("chromium is missing: the page was not looked at in a browser");
        return;
    }
    let chromium = find_program("chromium");
    let home = home();
    home.akeys(&["report", "--html", "report.html", "--log", &home.at("log")]).ok();
    for width in [400, 1200] {
        home.write("around.html", &AROUND.replace("WIDTH", &width.to_string()));
        let dom = browse(&chromium, &home, &["--dump-dom", "--allow-file-access-from-files"], "around.html");
        let said = dom.split("<pre id=\"said\">").nth(1).unwrap_or_else(|| panic!("{dom}"));
        let said: Vec<&str> = said.split("</pre>").next().unwrap().lines().collect();
        let (wide, rest) = said.split_first().unwrap();
        let (scrolled, client) = wide.strip_prefix("width ").unwrap().split_once(" of ").unwrap();
        // What a scroll bar takes is not the page's.
        assert!(scrolled == client && client.parse::<u32>().unwrap() > width - 30, "{wide} at {width}");
        let expected = [
            "title true",
            "tools true",
            "rows 4",
            "filtered 1 1 of 4 keys",
            "whole 2",
            "sorted true descending",
        ];
        assert_eq!(rest, expected, "{width}");
    }
    // Without scripts the rows are there, and no control that does nothing.
    let page = home.read("report.html");
    assert!(page.contains("id=\"tools\" hidden") && page.matches("<tr data-level").count() == 4);
    for (name, more) in [("light", &[][..]), ("dark", &["--blink-settings=preferredColorScheme=0"])] {
        let shot = home.path().join(format!("{name}.png"));
        let screenshot = format!("--screenshot={}", shot.display());
        let args = [&["--window-size=500,900", &screenshot], more].concat();
        browse(&chromium, &home, &args, "report.html");
        assert!(fs::metadata(&shot).unwrap().len() > 10_000, "{name}");
    }
    // Dark is dark: the two pictures of one page are not the same.
    let picture = |name: &str| fs::read(home.path().join(name)).unwrap();
    assert_ne!(picture("light.png"), picture("dark.png"));
}

/// Runs chromium without a window on a page of the home.
fn browse(chromium: &Path, home: &Home, args: &[&str], page: &str) -> String {
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.arg(format!("--user-data-dir={}", home.at("profile"))).args(args);
    command.arg(format!("file://{}", home.at(page))).env("HOME", home.path());
    let outcome = run(&mut command, &Run::default()).succeeds();
    outcome.stdout_text()
}

#[test]
fn json_is_one_object_and_says_no_more_than_asked() {
    let home = home();
    let ran = home.akeys(&["report", "--json", "--no-last-used"]).ok();
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let files = value["accounts"][0]["files"].as_array().unwrap();
    assert_eq!((&files[0]["keys"], &files[1]["keys"]), (&3.into(), &1.into()));
    assert_eq!(files[0]["lines"][3]["kind"], "dead");
    assert!(value["log_begins"].is_null() && ran.out.is_ascii());
    let _: Ran =
        home.akeys(&["report", "--json", "--no-last-used", "--log", "x"]).fails(2, "cannot be used with");
}
