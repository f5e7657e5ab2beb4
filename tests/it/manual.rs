//! The pages of the manual as they are installed: mandoc has nothing to say of them, man shows them by each of their
//! names.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::util::{Dir, PATH, prefix, run};

/// Each page, and a sentence that it has.
const PAGES: [(&str, &str); 6] = [
    (
        "man1/polycgi.1",
        "A web server runs polycgi for each request to an app file",
    ),
    ("man5/polycgi.conf.5", "Each app has an app file"),
    ("man8/app-cgi.8", "Decides how the request is served."),
    ("man8/cgi-front.8", "Decides how the request is served."),
    ("man8/overload-page.8", "Decides how the request is served."),
    ("man8/scgi-daemon.8", "The daemon of one app."),
];

fn page(name: &str) -> PathBuf {
    prefix().join("share/man").join(name)
}

/// What mandoc says of a page, but for other projects' pages, of which it knows only those in an index of its own.
fn lint(path: &std::path::Path) -> Vec<String> {
    let mut mandoc = Command::new("/usr/bin/mandoc");
    mandoc.args(["-T", "lint", "-W", "all"]).arg(path);
    let output = run(mandoc.env_clear().env("PATH", PATH), b"");
    let said = String::from_utf8_lossy(&output.stdout) + output.stderr.as_str();
    let lines = said.lines().filter(|line| {
        let is_of_index =
            line.contains("mandoc.db") || line.contains("referenced manual not found");
        !is_of_index
    });
    lines.map(str::to_owned).collect()
}

#[test]
fn mandoc_finds_nothing_wrong() {
    for (name, _) in PAGES {
        assert_eq!(lint(&page(name)), [""; 0], "{name}");
    }
    let dir = Dir::new();
    let text = fs::read_to_string(page("man1/polycgi.1")).expect("it is installed");
    let wrong = text.replacen(".El\n", "", 1);
    let wrong = dir.file("apps/polycgi.1", &wrong, 0o644);
    assert_ne!(lint(&wrong), [""; 0], "a list is not closed");
}

/// At the width of a terminal and of half of one; and as a page for a browser.
#[test]
fn a_page_can_be_read() {
    for (name, sentence) in PAGES {
        for width in [60, 80] {
            let mut mandoc = Command::new("/usr/bin/mandoc");
            mandoc
                .args(["-T", "ascii", "-O", &format!("width={width}")])
                .arg(page(name));
            let shown = run(mandoc.env_clear().env("PATH", PATH), b"").success();
            // Bold and underlined by overstriking.
            let plain = plain(&shown);
            let joined = super::util::joined(&plain);
            assert!(joined.contains(sentence), "{name}: {plain}");
            // What is not filled stays as it is.
            let most = if width == 60 { 80 } else { 84 };
            let long = plain.lines().find(|line| line.chars().count() > most);
            assert_eq!(long, None, "{name} at {width}");
        }
        let mut mandoc = Command::new("/usr/bin/mandoc");
        mandoc.args(["-T", "html"]).arg(page(name));
        let html = run(mandoc.env_clear().env("PATH", PATH), b"").success();
        assert!(html.contains("<h1 "), "{name}");
    }
}

fn plain(shown: &str) -> String {
    let mut plain = String::new();
    for c in shown.chars() {
        match c {
            '\x08' => drop(plain.pop()),
            c => plain.push(c),
        }
    }
    plain
}

/// By man(1) of Debian, which reads them with groff.
#[test]
fn man_finds_each_page_by_its_names() {
    for (name, sentence) in PAGES {
        let (_, file) = name.split_once('/').expect("a folder");
        let (name, section) = file.rsplit_once('.').expect("a section");
        let mut man = Command::new("/usr/bin/man");
        man.args([section, name]).env_clear();
        man.env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("MANWIDTH", "80");
        man.env("MANPATH", prefix().join("share/man"));
        let output = run(&mut man, b"");
        assert_eq!(output.stderr, "", "{name}");
        let shown = super::util::joined(&output.success());
        assert!(shown.contains(sentence), "{name}: {shown}");
    }
}
