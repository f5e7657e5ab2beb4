//! The examples that are app files: what they say they need is put where they say, and they serve.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::installed_text;
use crate::util::{Dir, as_user, daemon, installed, joined, prefix, run};

const NAMES: &str = "/apps/names.py";

/// The example in cgi-bin, with what it has below /srv in `srv` of the test's directory.
fn app_file(dir: &Dir, name: &str) -> PathBuf {
    dir.folder("srv", 0o755);
    let at = dir.path().display();
    let text = installed_text(name)
        .replace(
            "/usr/local/bin/polycgi",
            &installed("polycgi").display().to_string(),
        )
        .replace("/srv/", &format!("{at}/srv/"));
    let text = format!("{text}runtime-dir = {at}/run\nenv.TMPDIR = {at}/tmp\n");
    dir.file(&format!("cgi-bin/{name}"), &text, 0o755)
}

/// `check` finds nothing wrong, and the app is served as a CGI and by the daemon.
#[track_caller]
fn serves(app: &PathBuf, dir: &Dir, path: &str, words: &str) {
    let polycgi = |words: &[&str], more: &[&str]| {
        run(
            as_user(installed("polycgi"))
                .args(words)
                .arg(app)
                .args(more),
            b"",
        )
        .success()
    };
    let checked = polycgi(&["check"], &[]);
    assert!(
        joined(&checked).contains(": nothing wrong found; "),
        "{checked}"
    );
    for way in ["cgi", "scgi"] {
        let shown = polycgi(&["request", "-i", "--via", way], &[path]);
        assert!(
            shown.starts_with("Status: 200") || shown.contains(" 200 "),
            "{way}: {shown}"
        );
        assert!(shown.contains(words), "{way}: {shown}");
    }
    daemon::with_its_children(dir.daemon(), || {
        polycgi(&["stop"], &[]);
    });
}

#[test]
fn a_wiki() {
    let dir = Dir::new();
    let app = app_file(&dir, "wiki.cgi");
    dir.folder("srv/wiki", 0o755);
    let text = std::fs::read_to_string(dir.path().display().to_string() + NAMES);
    dir.file(
        "srv/wiki/wiki.py",
        &text.expect("the app can be read"),
        0o644,
    );
    serves(&app, &dir, "/page", "PATH_INFO=/page\n");
}

#[test]
fn flask() {
    let dir = Dir::new();
    let app = app_file(&dir, "flask.cgi");
    dir.folder("srv/shop", 0o755);
    let text = "import os\nfrom flask import Flask\napp = Flask(__name__)\n\
                app.secret_key = os.environ['SECRET_KEY']\n@app.route('/')\ndef shop():\n    return 'a shop'\n";
    dir.file("srv/shop/shop.py", text, 0o644);
    dir.file("srv/shop/secrets", "SECRET_KEY=tiger\n", 0o600);
    let venv = dir.join("srv/shop/venv");
    let words = ["-m", "venv", "--without-pip", "--system-site-packages"];
    run(as_user("/usr/bin/python3").args(words).arg(&venv), b"").success();
    serves(&app, &dir, "/", "a shop");
}

#[test]
fn mercurial() {
    let dir = Dir::new();
    let app = app_file(&dir, "hg.cgi");
    dir.folder("srv/hg", 0o755);
    // The lines that the example shows are in hgapp.py.
    let text = std::fs::read_to_string(&app).expect("it was just written");
    let (_, text) = text
        .split_once("/hgapp.py:\n")
        .expect("the example says what is in the module");
    let lines = text.lines().map_while(|line| line.strip_prefix("#     "));
    let module: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(module.contains("application = hgweb("), "{module}");
    dir.file("srv/hg/hgapp.py", &module, 0o644);
    dir.file("srv/hg/hgweb.config", "[web]\nstyle = monoblue\n", 0o644);
    symlink(prefix().join("hg"), dir.join("srv/hg/venv")).expect("a link can be made");
    serves(
        &app,
        &dir,
        "/",
        "<title>Mercurial repositories index</title>",
    );
}
