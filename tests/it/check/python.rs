//! The interpreter, the import of the application, and what it is.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::super::util::Deadline;
use super::file::user_name;
use super::*;

/// An app file for `wsgi = app:TARGET`, of a module with that text.
fn app(dir: &Dir, module: &str, target: &str, more: &str) -> PathBuf {
    dir.file("apps/app.py", module, 0o644);
    dir.app_file("app", &format!("wsgi = app:{target}\nmode = cgi\n{more}"))
}

const HELLO: &str = "def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
";

/// Where the app file says what to run.
fn wsgi_position(app: &Path) -> String {
    let text = fs::read_to_string(app).expect("it can be read");
    let line = text.lines().position(|line| line.starts_with("wsgi ="));
    format!("{}:{}:1: ", text_of(app), 1 + line.expect("a line"))
}

#[test]
fn interpreters_that_cannot_run() {
    let dir = Dir::new();
    let at = text_of(&dir.join("apps"));
    let user = user_name();
    for venv in ["dangling", "closed", "empty", "myvenv"] {
        dir.folder(&format!("apps/{venv}"), 0o755);
        dir.folder(&format!("apps/{venv}/bin"), 0o755);
        dir.file(
            &format!("apps/{venv}/pyvenv.cfg"),
            "version = 3.9.2\n",
            0o644,
        );
    }
    let link = |name: &str, to: &str| {
        symlink(to, dir.join(&format!("apps/{name}/bin/python3"))).expect("a link can be made");
    };
    link("dangling", "/usr/bin/python2.99");
    let closed = dir.folder("roots", 0o700);
    dir.folder("roots/bin", 0o755);
    fs::copy("/bin/true", dir.join("roots/bin/python3")).expect("a file can be copied");
    set_mode(&closed, 0o600);
    link("closed", &format!("{}/bin/python3", text_of(&closed)));
    for (python, said) in [
        (
            "./dangling",
            format!(
                "the symlink {at}/dangling/bin/python3 leads to /usr/bin/python2.99, which does not exist"
            ),
        ),
        (
            "./closed",
            format!(
                "the symlink {at}/closed/bin/python3 leads to {0}/bin/python3, and {user} can't enter {0} (mode 0600, owner {user})",
                text_of(&closed)
            ),
        ),
        ("./empty", format!("{at}/empty/bin/python3 does not exist")),
        ("myvenv", format!("while there is a folder {at}/myvenv")),
        (
            "./app.py",
            format!("{user} can't execute {at}/app.py (mode 0644, owner {user})"),
        ),
    ] {
        let app = app(&dir, HELLO, "application", &format!("python = {python}"));
        let (status, stderr) = served(&app);
        assert_eq!(status, 500, "{python}: {stderr}");
        // The front says so too: no folder is told as the interpreter's fault.
        if python == "./closed" {
            assert!(stderr.contains("can't enter"), "{stderr}");
        }
        let checked = Checked::of(&app);
        checked.finds(&[&said]);
        assert!(
            checked.text.contains(&format!("{}:", text_of(&app))),
            "{}",
            checked.text
        );
    }
    Checked::of(&app(&dir, HELLO, "application", "python = myvenv"))
        .finds(&["write python = ./myvenv"]);
    Checked::of(&app(&dir, HELLO, "application", "python = ./dangling"))
        .finds(&["python3 -m venv --clear"]);
    set_mode(&closed, 0o755);
}

/// A virtual environment of one that is only there for another Python.
#[test]
fn a_virtual_environment_of_another_python() {
    let dir = Dir::new();
    dir.folder("apps/venv", 0o755);
    for folder in ["bin", "lib", "lib/python3.2", "lib/python3.2/site-packages"] {
        dir.folder(&format!("apps/venv/{folder}"), 0o755);
    }
    symlink("/usr/bin/python3", dir.join("apps/venv/bin/python3")).expect("a link can be made");
    dir.file(
        "apps/venv/pyvenv.cfg",
        "home = /usr/bin\nversion = 3.2.1\n",
        0o644,
    );
    dir.file("apps/venv/lib/python3.2/site-packages/shop.py", "", 0o644);
    let app = app(
        &dir,
        &format!("import shop\n{HELLO}"),
        "application",
        "python = ./venv",
    );
    assert_eq!(served(&app).0, 500, "its packages are not found");
    Checked::of(&app).finds(&[
        "was made for Python 3.2.1, but its bin/python3 is Python 3.",
        "its packages are not found",
        "No module named 'shop'",
        "python3 -m venv --clear",
    ]);
}

#[test]
fn what_runs_it_is_said() {
    let dir = Dir::new();
    let good = app(&dir, HELLO, "application", "");
    let checked = Checked::of(&good);
    checked.is_well();
    checked.says(0, &["/usr/bin/python3 (Python 3.", "as a plain CGI as "]);
    // With a mistake in it too.
    Checked::of(&app(&dir, "x", "application", "")).finds(&["note: /usr/bin/python3 (Python 3."]);
    Checked::of(&dir.app_file("app", "cgi = /bin/true\nmode = cgi"))
        .says(0, &["/bin/true runs it"]);
}

#[test]
fn what_is_no_wsgi_application() {
    let dir = Dir::new();
    let asgi = "async def application(scope, receive, send): pass\n";
    let object = "class App:\n    async def __call__(self, scope, receive, send): pass\napplication = App()\n";
    let bound =
        "class App:\n    def run(self, scope, receive, send): pass\napplication = App().run\n";
    for text in [asgi, object, bound] {
        let app = app(&dir, text, "application", "");
        assert_eq!(served(&app).0, 500, "{text}");
        Checked::of(&app).finds(&[
            "app:application is an ASGI application",
            "from a2wsgi import ASGIMiddleware",
            "from app import application",
        ]);
    }
    for (text, name) in [
        (
            "def create_app(config=None, debug=False): return None\n",
            "create_app",
        ),
        ("def new(): return None\n", "new"),
        ("class Site:\n    def __init__(self): pass\n", "Site"),
    ] {
        let app = app(&dir, text, name, "");
        assert_eq!(served(&app).0, 500, "{text}");
        Checked::of(&app).finds(&[
            &format!("app:{name} makes an application"),
            &format!("application = {name}()"),
            "wsgi = wsgi:application",
        ]);
    }
    for (text, said) in [
        ("application = 'x'\n", "is not callable: it is of type str"),
        (
            "def application(one, two, three): pass\n",
            "is called with 3 arguments",
        ),
    ] {
        let app = app(&dir, text, "application", "");
        assert_eq!(served(&app).0, 500, "{text}");
        Checked::of(&app).finds(&[said, "PEP 3333"]);
    }
    // All of these are.
    for text in [
        HELLO.to_owned(),
        "class application:\n    def __init__(self, environ, start_response): pass\n".to_owned(),
        "class App:\n    def __call__(self, environ, start_response, *more): pass\napplication = App()\n".to_owned(),
        "import functools\n@functools.lru_cache\ndef application(environ, start_response): pass\n".to_owned(),
        "class Wild:\n    def __getattr__(self, name): raise OSError(name)\n    def __call__(self, *a): pass\napplication = Wild()\n".to_owned(),
    ] {
        Checked::of(&app(&dir, &text, "application", "")).is_well();
    }
}

#[test]
fn imports_that_fail() {
    let dir = Dir::new();
    let path = text_of(&dir.join("apps/app.py"));
    for (text, target, said) in [
        (
            "import os\nimport nothing_here\n",
            "application",
            vec!["No module named 'nothing_here'", "install nothing_here"],
        ),
        ("x = (\n", "application", vec!["SyntaxError"]),
        (
            "def create_app(): pass\napp = 1\n",
            "application",
            vec!["wsgi = app:create_app"],
        ),
        (
            "import sys\nsys.exit('enough')\n",
            "application",
            vec!["enough"],
        ),
        (
            "import os\nos._exit(0)\n",
            "application",
            vec!["it ended the process (exit status 0)"],
        ),
        (
            "import os\nos.kill(os.getpid(), 11)\n",
            "application",
            vec!["the process was killed (SIGSEGV)"],
        ),
    ] {
        let app = app(&dir, text, target, "");
        let position = wsgi_position(&app);
        let mut all = said;
        all.extend(["can't be imported from", &position]);
        Checked::of(&app).finds(&all);
    }
    let json = Checked::with(
        &["--json"],
        &app(&dir, "import os\nimport nothing_here\n", "application", ""),
    );
    json.finds(&[&format!("\"file\":\"{path}\",\"line\":2")]);
    let gone = dir.app_file("app", "wsgi = gone:application\nmode = cgi");
    Checked::of(&gone)
        .finds(&["'directory' is the folder in which gone.py or the package gone is"]);
    dir.folder("apps/.venv", 0o755);
    dir.file("apps/.venv/pyvenv.cfg", "", 0o644);
    let app = app(&dir, "import nothing_here\n", "application", "");
    Checked::of(&app).finds(&["there is a virtual environment, which is not used: python = "]);
}

/// An import without an end is ended, with all that it has started.
#[test]
fn a_server_that_is_started_at_the_import() {
    let dir = Dir::new();
    let server = format!(
        "{HELLO}import subprocess\nsubprocess.Popen(['sleep', '1000'])\n\
         subprocess.Popen(['setsid', 'sleep', '1000'])\n\
         from wsgiref.simple_server import make_server\nmake_server('127.0.0.1', 0, application).serve_forever()\n"
    );
    let served = app(&dir, &server, "application", "");
    let checked = Checked::of(&served);
    let path = text_of(&dir.join("apps/app.py"));
    checked.finds(&[
        &wsgi_position(&served),
        "the import of app:application starts a server at 127.0.0.1:0",
        &format!("it was in line 8 of {path}"),
        "if __name__ == '__main__':",
    ]);
    let asleep = app(
        &dir,
        "import time\n\n\ntime.sleep(1000)\n",
        "application",
        "start-timeout = 1s",
    );
    let checked = Checked::of(&asleep);
    checked.finds(&[
        "was not over after 1 s",
        &format!("it was in line 4 of {path}"),
        "'start-timeout'",
    ]);
    // It writes without an end, and can't be ended politely.
    let loud = "import signal\nfor number in range(1, 32):\n    try: signal.signal(number, signal.SIG_IGN)\n    \
                except OSError: pass\nwhile True: print('x' * 1000)\n";
    let loud = app(&dir, loud, "application", "start-timeout = 1s");
    Checked::of(&loud).finds(&["was not over after 1 s"]);
    let left = dir.processes();
    assert!(left.is_empty(), "{left:?}");
}

/// The person ends `check` while the app is imported.
#[test]
fn a_check_that_is_interrupted_leaves_nothing() {
    let dir = Dir::new();
    let mut gate = dir.gate("gate");
    let slow = "import testapp\ntestapp.pass_gate('gate')\nfrom testapp import application\n";
    let app = app(&dir, slow, "application", "");
    let mut check = as_user(installed("polycgi"));
    let mut check = check
        .arg("check")
        .arg(app)
        .spawn()
        .expect("polycgi can be run");
    gate.entered();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(check.id() as i32),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("a child can be signalled");
    let status = super::super::util::command::wait(&mut check, Deadline::soon()).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(dir.processes().is_empty(), "{:?}", dir.processes());
}

#[test]
fn what_keeps_it_from_being_preloaded() {
    let dir = Dir::new();
    let threads = format!(
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(1000)).start()\n{HELLO}"
    );
    let socket = format!("import socket\na, b = socket.socketpair()\n{HELLO}");
    for (text, said) in [
        (threads, "the import left 1 thread running"),
        (socket, "connected"),
    ] {
        let cgi = app(&dir, &text, "application", "");
        Checked::of(&cgi).is_well();
        let text = fs::read_to_string(&cgi)
            .expect("it can be read")
            .replace("mode = cgi", "mode = daemon");
        let daemon = dir.file("cgi-bin/app", &text, 0o755);
        Checked::of(&daemon).warns(&[
            said,
            "each worker of the daemon imports the app for itself",
            "'preload = off'",
        ]);
        assert_eq!(served(&daemon).0, 200);
        assert!(dir.daemon_log().contains(said), "{}", dir.daemon_log());
        dir.polycgi(&["stop"]).success();
        let off = dir.file("cgi-bin/app", &format!("{text}preload = off\n"), 0o755);
        Checked::of(&off).is_well();
    }
}

#[test]
fn an_import_leaves_no_bytecode_and_no_address() {
    let dir = Dir::new();
    let port = "import socket\nserver = socket.create_server(('127.0.0.1', 0))\nopen('port', 'w').write(str(server.getsockname()[1]))\n";
    let app = app(
        &dir,
        &format!("import testapp\n{port}{HELLO}"),
        "application",
        &format!("listen = {}/run/listen", text_of(dir.path())),
    );
    let before = Command::new("find")
        .arg(dir.path())
        .output()
        .expect("find can be run");
    Checked::of(&app).finds(&["with 'mode = cgi' no process listens"]);
    let port = fs::read_to_string(dir.join("apps/port")).expect("the import has written it");
    fs::remove_file(dir.join("apps/port")).expect("it can be removed");
    let after = Command::new("find")
        .arg(dir.path())
        .output()
        .expect("find can be run");
    assert_eq!(
        String::from_utf8_lossy(&before.stdout),
        String::from_utf8_lossy(&after.stdout)
    );
    let port: u16 = port.parse().expect("a port");
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("the address is free");
}

/// A Python that is too old, or none.
#[test]
fn a_python_that_does_not_run_the_adaptor() {
    let dir = Dir::new();
    dir.file(
        "apps/python",
        "#!/bin/sh\necho 'no such option' >&2\nexit 2\n",
        0o755,
    );
    let app = app(&dir, HELLO, "application", "python = ./python");
    Checked::of(&app).finds(&[
        "does not run the adaptor (exit status 2): no such option",
        "Python 3.8 or later",
    ]);
}
