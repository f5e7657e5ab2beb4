//! Paths of the configuration that lead to no file, or to one that can't be read: each request gets an answer, the
//! app's own if the app can do without the file, and one sentence in the log has the path and the reason.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::util::{
    Deadline, Dir, LONG_QUEUE, Output, Running, Served, as_user, cgi, installed, joined,
    not_tested, run,
};

/// What may be at a path, and what is said when it is to be read, and when it is to be written.
const FORMS: [(&str, &str, &str); 7] = [
    (
        "fifo",
        "it is a FIFO and not a file",
        "it is a FIFO that no process reads",
    ),
    (
        "directory",
        "it is a directory and not a file",
        "it is a directory and not a file",
    ),
    (
        "socket",
        "it is a socket and not a file",
        "it is a socket and not a file",
    ),
    (
        "dangling",
        "No such file or directory",
        "No such file or directory",
    ),
    (
        "loop",
        "Too many levels of symbolic links",
        "Too many levels of symbolic links",
    ),
    ("endless", "it has more than ", ""),
    ("unreadable", "Permission denied", "Permission denied"),
];

/// All of them, in a folder of that name.
struct Forms {
    folder: PathBuf,
    _listener: UnixListener,
}

impl Forms {
    /// None unless root runs the tests: a file has to be another user's.
    fn new(dir: &Dir) -> Option<Self> {
        if !Uid::effective().is_root() {
            not_tested("files of another user, which root only can make");
            return None;
        }
        let folder = dir.folder("forms", 0o755);
        let at = |name: &str| folder.join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).expect("a FIFO can be made");
        fs::set_permissions(at("fifo"), PermissionsExt::from_mode(0o666))
            .expect("a mode can be set");
        fs::create_dir(at("directory")).expect("a folder can be made");
        let listener = UnixListener::bind(at("socket")).expect("a socket can be bound");
        symlink("/proc/nothing", at("dangling")).expect("a link can be made");
        symlink("loop", at("loop")).expect("a link can be made");
        symlink("/dev/zero", at("endless")).expect("a link can be made");
        fs::write(at("unreadable"), "A=1\n").expect("a file can be made");
        chown(at("unreadable"), Some(0), Some(0)).expect("root can");
        fs::set_permissions(at("unreadable"), PermissionsExt::from_mode(0o600))
            .expect("a mode can be set");
        Some(Self {
            folder,
            _listener: listener,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// An app that answers 200 as a CGI and in the daemon.
fn app(dir: &Dir, config: &str) -> PathBuf {
    dir.app_file(
        "app",
        &format!("wsgi = faultapp:application\nmax-procs = 1\n{config}"),
    )
}

fn front(app: &Path) -> Output {
    cgi::start_front(app, "/hello").end()
}

#[track_caller]
fn check(dir: &Dir) -> String {
    let output = dir.polycgi(&["check"]);
    joined(&(String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr))
}

/// Ends the daemon and removes its place, so that no back-off reaches the next case.
#[track_caller]
fn forget(dir: &Dir) {
    for daemon in dir.all_daemons() {
        dir.polycgi(&["stop"]).success();
        assert!(Deadline::soon().ended(daemon));
    }
    for place in fs::read_dir(dir.join("run"))
        .into_iter()
        .flatten()
        .flatten()
    {
        fs::remove_dir_all(place.path()).expect("a place can be removed");
    }
}

/// The app can't be run without its environment.
#[test]
fn an_env_file() {
    let dir = Dir::new();
    let Some(forms) = Forms::new(&dir) else {
        return;
    };
    for (form, reason, _) in FORMS {
        let path = forms.at(form);
        for mode in ["cgi", "daemon"] {
            let app = app(
                &dir,
                &format!("mode = {mode}\nenv-file = {}\n", path.display()),
            );
            let output = front(&app);
            assert_eq!(cgi::reply(&output.stdout).status(), 500, "{form} {mode}");
            let said = format!("cannot read {}: {reason}", path.display());
            let lines = output.stderr.lines().filter(|line| line.contains(&said));
            assert_eq!(lines.count(), 1, "{form} {mode}: {}", output.stderr);
            forget(&dir);
        }
        let said = check(&dir);
        assert!(said.contains(reason), "{form}: {said}");
    }
}

/// The built-in page is sent.
#[test]
fn an_overload_page() {
    let dir = Dir::new();
    let Some(forms) = Forms::new(&dir) else {
        return;
    };
    for (form, reason, _) in FORMS {
        let path = forms.at(form).display().to_string();
        let config = format!("overload-page = {path}\ncgi-max = 0\nmode = cgi\n");
        let shown = |app: &Path| {
            let mut command = cgi::front(app, "GET", "/", &[("Accept", "text/html")]);
            let output = Running::start(&mut command, b"").end();
            let reply = cgi::reply(&output.stdout);
            assert_eq!(reply.status(), 503, "{form}: {}", output.stderr);
            assert!(reply.text().contains("<!"), "{form}: {}", reply.text());
        };
        shown(&app(&dir, &config));
        let text = format!(
            "#!{} -\nwsgi = faultapp:application\noverload-page = {path}\n",
            installed("overload-page").display()
        );
        shown(&dir.file("cgi-bin/page", &text, 0o755));
        let said = check(&dir);
        assert!(
            said.contains(&format!("cannot read {path}: {reason}")),
            "{form}: {said}"
        );
    }
    // In the daemon a read that blocks would stop the loop for all requests.
    let config = format!(
        "overload-page = {}\nqueue-size = 1\nmax-procs = 1\n{LONG_QUEUE}",
        forms.at("fifo").display()
    );
    let served = Served::in_dir(dir, &config);
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let queued = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    let mut command = cgi::front(&served.app, "GET", "/hello", &[("Accept", "text/html")]);
    let output = Running::start(&mut command, b"").end();
    assert_eq!(
        cgi::reply(&output.stdout).status(),
        503,
        "{}",
        output.stderr
    );
    gate.open(1);
    for front in [held, queued] {
        let (response, words) = front.answer();
        assert!(response.starts_with("Status: 200 "), "{response}{words}");
    }
    drop(forms);
}

/// The daemon logs to its usual place, and says there, in `status` and in `check` why.
#[test]
fn a_log_file() {
    let dir = Dir::new();
    let Some(forms) = Forms::new(&dir) else {
        return;
    };
    symlink("/dev/stderr", forms.at("stream")).expect("a link can be made");
    let more = [
        (
            "stream",
            "",
            "a daemon in the background has no such stream",
        ),
        ("no/such/folder", "", "No such file or directory"),
    ];
    for (form, _, reason) in FORMS.into_iter().chain(more) {
        let path = forms.at(form).display().to_string();
        let app = app(&dir, &format!("mode = daemon\nlog-file = {path}\n"));
        front(&app).response().ok();
        let status = dir.status().join("\n");
        let log = dir.daemon_log();
        if reason.is_empty() {
            assert!(status.contains("last_failure = null"), "{form}: {status}");
        } else {
            let said = format!("cannot open the log {path}: {reason}");
            assert!(status.contains(&said), "{form}: {status}");
            assert_eq!(log.matches(&said).count(), 1, "{form}: {log}");
            assert!(log.contains("info: start: "), "{form}: {log}");
        }
        let said = check(&dir);
        let is_found = said.contains(&format!("cannot log to {path}: "));
        // Only an open() shows whether a FIFO has a reader.
        assert_eq!(
            is_found,
            !reason.is_empty() && form != "fifo",
            "{form}: {said}"
        );
        forget(&dir);
    }
    for path in ["/dev/null", "/dev/full"] {
        let app = app(&dir, &format!("mode = daemon\nlog-file = {path}\n"));
        front(&app).response().ok();
        dir.until_status_has("last_failure = null");
        forget(&dir);
    }
}

/// A FIFO with a reader is a log; a slow reader loses lines and delays nothing.
#[test]
fn a_log_file_that_a_process_reads() {
    let dir = Dir::new();
    let gate = dir.gate("log");
    let path = dir.join("apps/log.entered");
    let app = app(
        &dir,
        &format!(
            "mode = daemon\nlog-level = trace\nlog-file = {}\n",
            path.display()
        ),
    );
    for _ in 0..300 {
        front(&app).response().ok();
    }
    dir.until_status_has("last_failure = null");
    drop(gate);
    front(&app).response().ok();
    forget(&dir);
}

/// Paths that are only looked at, and places where nothing can be made.
#[test]
fn other_paths() {
    let dir = Dir::new();
    let Some(forms) = Forms::new(&dir) else {
        return;
    };
    for (form, _, _) in FORMS {
        let path = forms.at(form).display().to_string();
        let cases = [
            (
                format!("wsgi = faultapp:application\npython = {path}/\n"),
                "500",
            ),
            (
                format!("wsgi = faultapp:application\npython = {path}\n"),
                "500",
            ),
            (
                format!("wsgi = faultapp:application\nspool-dir = {path}\n"),
                "200",
            ),
            (
                format!("wsgi = faultapp:application\nlisten = {path}\n"),
                "200",
            ),
            (format!("cgi = {path}\n"), "500"),
            (format!("scgi = {path}\n"), "500"),
            (format!("connect = {path}\n"), "503"),
        ];
        for (config, expected) in cases {
            let own_socket = config.starts_with("connect") && form == "socket";
            if own_socket {
                // A server that never answers.
                continue;
            }
            let app = dir.app_file("app", &format!("{config}mode = daemon\n"));
            let output = front(&app);
            let status = cgi::reply(&output.stdout).status().to_string();
            assert_eq!(status, expected, "{config}{}", output.stderr);
            assert!(
                output.stderr.lines().count() <= 1,
                "{config}{}",
                output.stderr
            );
            check(&dir);
            forget(&dir);
        }
        // The file is looked at, and never opened.
        let restart = dir.join("apps/restart.txt");
        symlink(&path, &restart).expect("a link can be made");
        let app = app(&dir, "mode = daemon\n");
        for _ in 0..2 {
            front(&app).response().ok();
        }
        fs::remove_file(restart).expect("a link can be removed");
        forget(&dir);
    }
}

/// The app file itself, by hand and as a configuration behind a symlink.
#[test]
fn an_app_file() {
    let dir = Dir::new();
    let Some(forms) = Forms::new(&dir) else {
        return;
    };
    dir.folder("home", 0o700);
    dir.folder("home/.config", 0o700);
    let configs = dir.folder("home/.config/polycgi", 0o700);
    let link = dir.join("cgi-bin/form");
    symlink(installed("polycgi"), &link).expect("a link can be made");
    for (form, _, _) in FORMS {
        let path = forms.at(form);
        for words in [
            &["check"][..],
            &["status"],
            &["reload"],
            &["stop"],
            &["start"],
            &["request"],
        ] {
            let output = run(as_user(installed("polycgi")).args(words).arg(&path), b"");
            assert!(
                !output.status.success(),
                "{form} {words:?}: {}",
                output.stderr
            );
            // What `check` finds wrong with a file is its result.
            let found = words == ["check"] && output.status.code() == Some(78);
            assert_eq!(
                output.stderr.lines().count(),
                usize::from(!found),
                "{form} {words:?}: {}",
                output.stderr
            );
        }
        let config = configs.join("form.conf");
        symlink(&path, &config).expect("a link can be made");
        let mut command = cgi::front(&link, "GET", "/", &[]);
        let output = run(command.env("HOME", dir.join("home")), b"");
        assert_eq!(
            cgi::reply(&output.stdout).status(),
            500,
            "{form}: {}",
            output.stderr
        );
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{form}: {}",
            output.stderr
        );
        fs::remove_file(config).expect("a link can be removed");
    }
}
