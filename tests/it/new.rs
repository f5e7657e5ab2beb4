//! `new`: what it finds in a folder, that the app file which it writes works, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::util::{Deadline, Dir, Output, as_user, client, installed, joined, prefix, run};

const HELLO: &str = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', \
                     'text/plain')])\n    return [b'hello']\n";
const PHP: &str = "<?php\nheader('Content-Type: text/plain');\necho 'hello';\n";
const PSGI: &str = "sub { [200, ['Content-Type', 'text/plain'], ['hello']] };\n";
const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef hello():\n    return 'hello'\n";

/// A folder `site`, with these files in it.
fn site(dir: &Dir, files: &[(&str, &str)]) -> PathBuf {
    let site = dir.folder("site", 0o755);
    for (name, text) in files {
        if let Some((folder, _)) = name.split_once('/')
            && !site.join(folder).is_dir()
        {
            dir.folder(&format!("site/{folder}"), 0o755);
        }
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        dir.file(&format!("site/{name}"), text, mode);
    }
    site
}

fn new(dir: &Dir, at: &Path, words: &[&str]) -> Output {
    let mut command = client(dir, at, installed("polycgi"));
    run(command.arg("new").args(words), b"")
}

/// What the client of an app file gets. As a plain CGI: the app file has the usual runtime directory.
#[track_caller]
fn served(dir: &Dir, at: &Path, file: &str) -> String {
    let polycgi = |words: &[&str]| run(client(dir, at, installed("polycgi")).args(words), b"");
    polycgi(&["check", file]).success();
    polycgi(&["request", "--via", "cgi", file, "/"]).success()
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file can be read")
}

/// The folder of each kind of app: what is written for it, and that it answers.
#[test]
fn the_app_file_that_fits_is_written_and_works() {
    let django = "import os\n\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n";
    let settings = "SECRET_KEY = 'x'\nROOT_URLCONF = 'mysite.urls'\nALLOWED_HOSTS = ['*']\n\
                    WSGI_APPLICATION = 'mysite.wsgi.application'\n";
    let urls = "from django.http import HttpResponse\nfrom django.urls import path\n\
                urlpatterns = [path('', lambda request: HttpResponse('hello'))]\n";
    let wsgi = "import os\nfrom django.core.wsgi import get_wsgi_application\n\
                os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\napplication = \
                get_wsgi_application()\n";
    let project = [
        ("manage.py", django),
        ("mysite/__init__.py", ""),
        ("mysite/settings.py", settings),
        ("mysite/urls.py", urls),
        ("mysite/wsgi.py", wsgi),
    ];
    let shell = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello'\n";
    let factory = format!("{HELLO}def create_app(test=None):\n    return _application\n");
    let factory = factory.replace("def application", "def _application");
    let ours = "#!/usr/local/bin/polycgi -\nwsgi = other:application\n";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&project, "wsgi = mysite.wsgi:application"),
        // No wsgi.py: one is made.
        (&project[..4], "wsgi = wsgi:application"),
        (
            &[("wsgi.py", HELLO), ("app.py", FLASK)],
            "wsgi = wsgi:application",
        ),
        (
            &[("passenger_wsgi.py", HELLO)],
            "wsgi = passenger_wsgi:application",
        ),
        (&[("app.py", FLASK)], "wsgi = app:app"),
        (
            &[("site.py", "x = 1\n"), ("pages.py", HELLO)],
            "wsgi = pages:application",
        ),
        (
            &[("flaskr/__init__.py", &factory)],
            "wsgi = wsgi:application",
        ),
        (&[("flaskr/__init__.py", FLASK)], "wsgi = flaskr:app"),
        (
            &[("old.cgi", ours), ("say hello.cgi", shell)],
            "cgi = ./'say hello.cgi'",
        ),
        (&[("hello.fcgi", shell)], "cgi = ./hello.fcgi"),
        (&[("shop.wsgi", HELLO)], "wsgi = wsgi:application"),
        (&[("index.php", PHP), ("x.cgi", "text")], "cgi = php-cgi"),
        (
            &[("bin/app.psgi", PSGI)],
            "cgi = plackup -s CGI -E deployment bin/app.psgi",
        ),
    ];
    for (files, line) in cases {
        let dir = Dir::new();
        let at = site(&dir, files);
        let told = new(&dir, &at, &["wiki"]).success();
        let file = at.join("wiki.cgi");
        let text = read(&file);
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let first = format!("#!{} -", installed("polycgi").display());
        assert_eq!(text.lines().next(), Some(&*first));
        let directory = format!("directory = {}", at.display());
        for expected in [line, &&*directory] {
            assert!(
                text.lines().any(|line| line == *expected),
                "{expected}: {text}"
            );
        }
        for said in [
            "Found ",
            "Wrote wiki.cgi",
            "polycgi check wiki.cgi",
            "cgi-bin",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        assert_eq!(served(&dir, &at, "wiki.cgi"), "hello", "{told}{text}");
    }
}

/// The app file in the test's runtime directory; what the daemon's clients get.
#[track_caller]
fn served_by_daemon(dir: &Dir, at: &Path, file: &str, path: &str) -> String {
    let ours = format!("runtime-dir = {}\n", dir.join("run").display());
    let text = read(&at.join(file));
    if !text.contains(&ours) {
        dir.file(&format!("site/{file}"), &(text + &ours), 0o755);
    }
    let words = ["request", "--via", "scgi", file, path];
    run(client(dir, at, installed("polycgi")).args(words), b"").success()
}

/// The application of ASGI answers in workers that were forked after its import.
#[test]
fn an_application_of_asgi() {
    let asgi = "async def app(scope, receive, send):\n    text = b'asked ' + scope['query_string']\n    await send({'type': \
                'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': \
                'http.response.body', 'body': text})\n";
    let dir = Dir::new();
    let at = site(&dir, &[("main.py", asgi)]);
    symlink(prefix().join("wikis"), at.join(".venv")).expect("a symlink can be made");
    let told = new(&dir, &at, &["wiki"]).success();
    for said in ["Found main.py: async def app(", "pip install a2wsgi"] {
        assert!(told.contains(said), "{told}");
    }
    let check = ["check", "wiki.cgi"];
    let checked = run(client(&dir, &at, installed("polycgi")).args(check), b"").success();
    assert!(!checked.contains("preload"), "{checked}");
    assert_eq!(served(&dir, &at, "wiki.cgi"), "asked ");
    for query in ["one", "two"] {
        let path = format!("/?{query}");
        let got = served_by_daemon(&dir, &at, "wiki.cgi", &path);
        assert_eq!(got, format!("asked {query}"));
    }
}

/// An edit of mod_wsgi's file is noticed like one of a module.
#[test]
fn a_file_of_mod_wsgi_s() {
    let dir = Dir::new();
    let at = site(&dir, &[("shop.wsgi", HELLO), ("wsgi.py", "import os\n")]);
    new(&dir, &at, &["wiki"]).success();
    assert!(read(&at.join("wiki.cgi")).contains("\nwsgi = polycgi_wsgi:application\n"));
    assert_eq!(read(&at.join("wsgi.py")), "import os\n");
    assert_eq!(served_by_daemon(&dir, &at, "wiki.cgi", "/"), "hello");
    dir.file("site/shop.wsgi", &HELLO.replace("hello", "edited"), 0o644);
    let deadline = Deadline::soon();
    // The daemon looks at most twice a second.
    while served_by_daemon(&dir, &at, "wiki.cgi", "/") != "edited" {
        assert!(!deadline.left().is_zero(), "the edit was not noticed");
    }
}

#[test]
fn others_that_would_fit_are_named() {
    let dir = Dir::new();
    let at = site(&dir, &[("wsgi.py", HELLO), ("app.py", FLASK)]);
    let told = new(&dir, &at, &[]).success();
    let other =
        "Found app.py: app = Flask(__name__) ('wsgi = app:app') too, and did not take it.\n";
    assert!(told.contains(other), "{told}");
}

#[test]
fn what_does_not_fit_gets_a_way_out() {
    let needy = "def create_app(config):\n    pass\n";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("app.py", needy)], "it needs arguments"),
        (&[("notes.txt", "")], "found no app in "),
        (&[("src/app.py", FLASK)], "polycgi new site src/"),
    ];
    for (files, said) in cases {
        let dir = Dir::new();
        let at = site(&dir, files);
        let output = new(&dir, &at, &[]);
        assert_eq!(output.status.code(), Some(66), "{}", output.stderr);
        assert!(output.stderr.contains(said), "{}", output.stderr);
        assert!(output.stdout.is_empty() && !at.join("site.cgi").exists());
    }
}

/// A file of that name, or a link, stays as it is; and without the app file its module is not made.
#[test]
fn nothing_is_replaced() {
    let dir = Dir::new();
    let at = site(
        &dir,
        &[
            ("app.py", "def create_app():\n    pass\n"),
            ("wiki.cgi", "mine"),
        ],
    );
    symlink("/nowhere", at.join("link.cgi")).expect("a symlink can be made");
    for name in ["wiki", "link"] {
        let output = new(&dir, &at, &[name]);
        assert_eq!(output.status.code(), Some(73), "{}", output.stderr);
        assert!(
            output.stderr.contains(" is there already"),
            "{}",
            output.stderr
        );
        assert!(
            !at.join("wsgi.py").exists(),
            "no module without an app file"
        );
    }
    assert_eq!(read(&at.join("wiki.cgi")), "mine");
    assert!(!Path::new("/nowhere").exists());
    // A module of that name is left alone as well.
    dir.file("site/wsgi.py", "# mine\n", 0o644);
    new(&dir, &at, &["more"]).success();
    assert_eq!(read(&at.join("wsgi.py")), "# mine\n");
    assert!(read(&at.join("more.cgi")).contains("wsgi = polycgi_wsgi:application\n"));
    assert!(at.join("polycgi_wsgi.py").is_file());
}

/// An import would leave a file; a FIFO would be waited for.
#[test]
fn nothing_is_run_and_nothing_waited_for() {
    let dir = Dir::new();
    let app = format!("open('was-run', 'w')\n{HELLO}");
    let at = site(
        &dir,
        &[("pages.py", &app), ("manage.py", "raise SystemExit\n")],
    );
    let fifos = ["app.py", "wsgi.py", "first.cgi"].map(|name| at.join(name));
    run(as_user("/usr/bin/mkfifo").args(&fifos), b"").success();
    fs::File::create(at.join("main.py"))
        .and_then(|file| file.set_len(1 << 40))
        .expect("a sparse file");
    symlink("/dev/zero", at.join("server.py")).expect("a symlink can be made");
    let told = new(&dir, &at, &[]).success();
    assert!(
        told.starts_with("Found pages.py: def application("),
        "{told}"
    );
    assert!(!at.join("was-run").exists());
}

/// What the files' text puts into messages and app file is only shown.
#[test]
fn the_text_of_files_is_only_shown() {
    let dir = Dir::new();
    let at = site(&dir, &[("app.py", "app = Flask('\u{1b}[2J')  \nx = 1\n")]);
    let told = new(&dir, &at, &[]).success();
    assert!(told.contains("Flask('?[2J')"), "{told}");
    assert!(
        read(&at.join("site.cgi")).contains("\n# app.py: app = Flask('?[2J')\nwsgi = app:app\n")
    );
}

#[test]
fn a_virtual_environment_is_taken() {
    let dir = Dir::new();
    let prefix = HELLO.replace("b'hello'", "sys.prefix.encode()");
    let at = site(&dir, &[("wsgi.py", &format!("import sys\n{prefix}"))]);
    let venv = ["-m", "venv", "--without-pip", ".venv"];
    run(client(&dir, &at, "/usr/bin/python3").args(venv), b"").success();
    let told = new(&dir, &at, &["wiki"]).success();
    assert!(
        told.contains("Found .venv, a virtual environment.\n"),
        "{told}"
    );
    let venv = at.join(".venv");
    assert_eq!(served(&dir, &at, "wiki.cgi"), venv.display().to_string());
    // One whose interpreter has gone is named, and not taken.
    fs::remove_dir_all(venv.join("bin")).expect("a folder can be removed");
    let told = new(&dir, &at, &["other"]).success();
    assert!(
        told.contains(".venv is a virtual environment without"),
        "{told}"
    );
    assert!(!read(&at.join("other.cgi")).contains("\npython ="));
}

/// The app file is made where the command is run, for the app elsewhere; printed, it is made nowhere.
#[test]
fn an_app_of_another_folder() {
    let dir = Dir::new();
    site(&dir, &[("wsgi.py", HELLO)]);
    let at = dir.join("cgi-bin");
    new(&dir, &at, &["../site"]).success();
    let text = read(&at.join("site.cgi"));
    assert!(
        text.contains(&format!("directory = {}\n", dir.join("site").display())),
        "{text}"
    );
    assert_eq!(served(&dir, &at, "site.cgi"), "hello");
    let output = new(&dir, &at, &["wiki", "../site", "--print"]);
    assert_eq!(
        output.stderr,
        "Found wsgi.py: def application(environ, start_response).\n"
    );
    assert_eq!(output.success(), text);
    assert!(!at.join("wiki.cgi").exists());
}

#[test]
fn a_wrong_command_line_writes_nothing() {
    let dir = Dir::new();
    let at = site(&dir, &[("wsgi.py", HELLO)]);
    for words in [
        &["wiki", "--cgi", "./a", "--wsgi", "x:y"][..],
        &["wiki", "--connect", "4000"],
        &["wiki", "--scgi", "./a", "--connect", "127.0.0.1:4000"],
        &["wiki", "--wsgi", "testapp"],
        &["wiki", "--wsgi", "x y:z"],
        &["wiki", "more"],
        &["./a", "./b"],
        &["nph-x"],
    ] {
        let output = new(&dir, &at, words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stdout.is_empty());
    }
    let entries = fs::read_dir(&at).expect("the folder can be read");
    assert_eq!(entries.count(), 1, "only the app");
}

#[test]
fn every_kind_of_app_can_be_named() {
    let scgi = ["--scgi", "env -u LISTEN_FDS true {socket}"];
    for words in [
        &["--wsgi", "pages:application"][..],
        &["--cgi", "/bin/true x"],
        &scgi,
        &["--connect", "127.0.0.1:1"],
        &["--cgi", "/bin/true", scgi[0], scgi[1]],
    ] {
        let dir = Dir::new();
        let at = site(&dir, &[("pages.py", HELLO)]);
        new(&dir, &at, &[&["wiki"], words].concat()).success();
        let text = read(&at.join("wiki.cgi"));
        for pair in words.chunks(2) {
            let line = format!("\n{} = {}\n", &pair[0][2..], pair[1]);
            assert!(text.contains(&line), "{text}");
        }
        let check = run(
            client(&dir, &at, installed("polycgi")).args(["check", "wiki.cgi"]),
            b"",
        );
        // The text is right; `check` may still find that no server listens at that port.
        let says = joined(&String::from_utf8_lossy(&check.stdout));
        let is_down = says.contains("cannot connect to 127.0.0.1:1:");
        assert_eq!(check.status.success(), !is_down, "{says}");
        assert_eq!(is_down, words[0] == "--connect", "{says}");
    }
}

/// The installed text, less the program's path and the app's folder.
#[test]
fn an_example() {
    let dir = Dir::new();
    let at = site(&dir, &[("php.cgi", "mine")]);
    let listed = new(&dir, &at, &["--example"]).success();
    for line in listed.lines() {
        let (name, about) = line.split_once(' ').expect("a name and a sentence");
        let about = format!("\n# {}\n", about.trim_start());
        let path = format!("share/polycgi/examples/apps/{name}.cgi");
        let text = read(&prefix().join(path));
        assert!(text.contains(&about), "{about}: {text}");
        let ours = text.replace(
            "/usr/local/bin/polycgi",
            &installed("polycgi").display().to_string(),
        );
        let words = ["--example", name, "--print"];
        assert_eq!(new(&dir, &at, &words).success(), ours);
    }
    assert!(listed.lines().count() > 10, "{listed}");
    let told = new(&dir, &at, &["--example", "trac"]).success();
    // The name alone would not find it.
    let program = installed("polycgi");
    let next = format!(
        "Wrote trac.cgi. Next:\n  {} check trac.cgi\n",
        program.display()
    );
    for said in [
        "Needs: Trac and 'setuptools<80' in /srv/trac/venv",
        "Lines to look at: 4 (wsgi), 5 (directory), 6 (python), 7 (env.TRAC_ENV).\n",
        &next,
    ] {
        assert!(told.contains(said), "{told}");
    }
    let mode = fs::metadata(at.join("trac.cgi"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    // In another folder, under another name.
    let told = new(&dir, &at, &["--example=wiki", "pages", "../apps/"]).success();
    assert!(!told.contains("/srv/"), "{told}");
    let text = read(&at.join("pages.cgi"));
    assert!(
        text.contains(&format!("\ndirectory = {}\n", dir.join("apps").display())),
        "{text}"
    );
    // Nothing is replaced, and no name is taken for another.
    for (words, status, said) in [
        (&["--example", "php"][..], 73, "php.cgi is there already"),
        (
            &["--example", "moin"],
            64,
            "did you mean 'moinmoin'? There are cgit, ",
        ),
        (
            &["--example", "trac", "--wsgi", "a:b"],
            64,
            "--example writes an app file",
        ),
        (
            &["--example", "trac", "./a b/"],
            64,
            "no example can name this path",
        ),
    ] {
        let output = new(&dir, &at, words);
        assert_eq!(output.status.code(), Some(status), "{}", output.stderr);
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
    assert_eq!(read(&at.join("php.cgi")), "mine");
}

#[test]
fn what_comes_next_is_said_for_where_and_how_it_was_typed() {
    let dir = Dir::new();
    let site = site(&dir, &[("app.py", HELLO)]);
    let site = site.to_str().expect("plain").to_owned() + "/";
    let whole = installed("polycgi").display().to_string();
    let paths = [
        ("/usr/bin:/bin".to_owned(), whole),
        (
            format!("{}:/usr/bin", prefix().join("bin").display()),
            "polycgi".to_owned(),
        ),
    ];
    for (folder, is_moved) in [("mine", true), ("mine/cgi-bin", false)] {
        let at = dir.folder(folder, 0o755);
        for (number, (path, program)) in paths.iter().enumerate() {
            let mut command = client(&dir, &at, installed("polycgi"));
            command.env("PATH", path);
            command.args(["new", &format!("app{number}"), &site]);
            let said = run(&mut command, b"").success();
            let next = format!("Next:\n  {program} check app{number}.cgi\n");
            assert!(said.contains(&next), "{said}");
            assert_eq!(said.contains("Then move it"), is_moved, "{said}");
        }
    }
}
