//! Frameworks and programs in Python, by `wsgi`.

use super::{Example, WAYS, by_python, curl};
use crate::util::{as_user, client, run};

const NAMES: &str = "apps/names.py";

#[test]
fn a_wiki() {
    let example = Example::of("wiki");
    let text = std::fs::read_to_string(example.dir.join(NAMES)).expect("the app can be read");
    example.dir.file("srv/wiki/wiki.py", &text, 0o644);
    example.serves("/page", "PATH_INFO=/page\n");
}

/// A virtual environment that has Debian's modules.
#[track_caller]
fn make_venv(example: &Example, folder: &str) {
    let venv = example.dir.join("srv").join(folder).join("venv");
    let words = ["-m", "venv", "--without-pip", "--system-site-packages"];
    run(as_user("/usr/bin/python3").args(words).arg(venv), b"").success();
}

#[test]
fn flask() {
    let example = Example::of("flask");
    let text = "import os\nfrom flask import Flask\napp = Flask(__name__)\n\
                app.secret_key = os.environ['SECRET_KEY']\n@app.route('/')\ndef shop():\n    return 'a shop'\n";
    example.dir.file("srv/shop/shop.py", text, 0o644);
    example
        .dir
        .file("srv/shop/secrets", "SECRET_KEY=tiger\n", 0o600);
    make_venv(&example, "shop");
    example.serves("/", "a shop");
}

/// The project is the one that Django makes; only SECRET_KEY is taken from the file.
#[test]
fn django() {
    let example = Example::of("django");
    let at = example.dir.join("srv/mysite");
    let (_, command) = example
        .text
        .split_once('`')
        .expect("the command that makes a project");
    let command = command.split('`').next().unwrap_or_default();
    run(
        client(&example.dir, &at, "/bin/sh").args(["-ec", command]),
        b"",
    )
    .success();
    let settings = std::fs::read_to_string(at.join("mysite/settings.py")).expect("Django's own");
    let key = settings
        .lines()
        .find(|line| line.starts_with("SECRET_KEY = "));
    let settings = settings.replace(
        key.expect("a key"),
        "import os\nSECRET_KEY = os.environ['SECRET_KEY']",
    );
    example
        .dir
        .file("srv/mysite/mysite/settings.py", &settings, 0o644);
    example
        .dir
        .file("srv/mysite/secrets", "SECRET_KEY=tiger\n", 0o600);
    make_venv(&example, "mysite");
    example.serves("/admin/login/", "name=\"csrfmiddlewaretoken\"");
}

#[test]
fn mercurial() {
    let example = Example::of("hgweb");
    example.write_files();
    example.link_venv("hg", "hg");
    example.dir.folder("srv/hg/repos", 0o755);
    let hg = by_python("/srv/hg/venv/bin/hg init project");
    let hg = hg.replace("/srv/", &format!("{}/", example.dir.join("srv").display()));
    let repos = example.dir.join("srv/hg/repos");
    run(
        client(&example.dir, &repos, "/bin/sh").args(["-ec", &hg]),
        b"",
    )
    .success();
    example.serves("/project/", "/hgweb.cgi/project/shortlog");
}

#[test]
fn moinmoin() {
    let example = Example::of("moinmoin");
    example.write_files();
    example.link_venv("wikis", "moin");
    example.run_commands(&example.dir.join("srv/moin"), b"", by_python);
    example.serves("/Home", "<title>Home - My MoinMoin</title>");
}

/// A calendar is made and read by a client who gives a password, and by no other; each user of the comments has one.
#[test]
fn radicale() {
    const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:tests\r\nBEGIN:VEVENT\r\nUID:one\r\n\
                         DTSTAMP:20240229T120000Z\r\nDTSTART:20240229T120000Z\r\nSUMMARY:leap day\r\nEND:VEVENT\r\n\
                         END:VCALENDAR\r\n";
    let example = Example::of("radicale");
    example.write_files();
    // From stdin, since there is no terminal.
    example.run_commands(&example.dir.join("srv/radicale"), b"tiger\n", |line| {
        line.replace(" -m ", " -i -m ")
    });
    example.checked();
    let server = example.behind_apache("CGIPassAuth", "");
    let url = format!("http://{}/cgi-bin/radicale.cgi/alice/", server.address());
    for way in WAYS {
        example.serve_by(way);
        let calendar = format!("{url}{way}/");
        let event = format!("{calendar}one.ics");
        let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        let ask = |words: &[&str]| curl(&example.dir, words);
        for wrong in ["alice:lion", "alice:", "bob:lion", "carol:tiger"] {
            let words = [
                &["--user", wrong, "--request", "PROPFIND"][..],
                &status,
                &[&url],
            ]
            .concat();
            assert_eq!(ask(&words), "401", "{wrong}");
        }
        for right in ["alice:tiger", "bob:tiger"] {
            let own = url.replace("/alice/", &format!("/{}/", &right[..right.len() - 6]));
            let words = ["--user", right, "--request", "PROPFIND", &own];
            assert_eq!(ask(&[&status[..], &words].concat()), "207", "{right}");
        }
        let make = [
            "--user",
            "alice:tiger",
            "--request",
            "MKCALENDAR",
            &calendar,
        ];
        assert_eq!(ask(&[&status[..], &make].concat()), "201");
        let put = [
            "--user",
            "alice:tiger",
            "--request",
            "PUT",
            "--data-binary",
            EVENT,
        ];
        let media_type = ["--header", "Content-Type: text/calendar", &event];
        assert_eq!(ask(&[&status[..], &put, &media_type].concat()), "201");
        let find = [
            "--user",
            "alice:tiger",
            "--request",
            "PROPFIND",
            "--header",
            "Depth: 1",
        ];
        let found = ask(&[&find[..], &[&calendar]].concat());
        assert!(
            found.contains(&format!("/cgi-bin/radicale.cgi/alice/{way}/one.ics</href>")),
            "{found}"
        );
        assert!(ask(&["--user", "alice:tiger", &event]).contains("SUMMARY:leap day"));
    }
}
