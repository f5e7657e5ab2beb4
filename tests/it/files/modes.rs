//! The modes of what polycgi makes: they are its own, and the umask stays the app's.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::util::process::{children, files_of};
use crate::util::scgi::{ScgiClient, header};
use crate::util::{Deadline, Dir, Output, Watch, as_user, cgi, daemon, installed, joined, run};

const UMASKS: [&str; 4] = ["0000", "0022", "0077", "0777"];

/// A front of the app, or a command, as a process with that umask starts it.
fn under(umask: &str, program: &Path) -> Command {
    let mut command = as_user("/bin/sh");
    command
        .args(["-c", "umask \"$0\"; exec \"$@\"", umask])
        .arg(program);
    command
}

#[track_caller]
fn get(umask: &str, app: &Path, target: &str) -> Output {
    let mut command = under(umask, app);
    command.envs(cgi::meta("GET", target, &[]));
    run(&mut command, b"")
}

/// An app file whose runtime directory does not exist yet.
fn app_file(dir: &Dir, config: &str) -> PathBuf {
    let at = dir.path().display();
    let text = format!(
        "#!{} -\ndirectory = {at}/apps\nruntime-dir = {at}/run/base\nenv.TMPDIR = {at}/tmp\nspool-dir = {at}/spool\n\
         env.PYTHONDONTWRITEBYTECODE = 1\nlisten = {at}/tmp/listen\nsocket-mode = 0640\n{config}",
        installed("polycgi").display()
    );
    dir.folder("spool", 0o700);
    dir.file("cgi-bin/app", &text, 0o755)
}

/// The modes of all that lies below a folder, and of the folder, in order of their paths.
fn modes(folder: &Path) -> Vec<String> {
    let found = fs::symlink_metadata(folder).expect("what was listed is there");
    let kind = found.file_type();
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_socket() => 's',
        () if kind.is_file() => '-',
        () => '?',
    };
    let name = folder.file_name().unwrap_or_default().display().to_string();
    let name = name
        .split_once("app-")
        .map_or(name.clone(), |_| "app-hash".to_owned());
    let mut all = vec![format!("{letter}{:04o} {name}", found.mode() & 0o7777)];
    if kind.is_dir() {
        let entries = fs::read_dir(folder)
            .expect("a folder can be read")
            .flatten();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        all.extend(entries.iter().flat_map(|path| modes(path)));
    }
    all
}

#[track_caller]
fn place(dir: &Dir) -> PathBuf {
    let entries = fs::read_dir(dir.join("run/base")).expect("the runtime directory was made");
    let places: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    places[0].clone()
}

/// What /proc says of a process; nothing of one that has ended, reaped or not.
fn umask_of(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.map(|umask| umask.trim().to_owned())
}

/// The web server's umask holds for the daemon and for all that it runs. The daemon has another for a moment, whenever it
/// makes a file; what is being replaced may end meanwhile.
#[track_caller]
fn keep_the_umask(daemon: i32, umask: &str) {
    let deadline = Deadline::soon();
    while umask_of(daemon).as_deref() != Some(umask) {
        assert!(
            !deadline.left().is_zero(),
            "{daemon}: {:?}",
            umask_of(daemon)
        );
        std::thread::yield_now();
    }
    let kept: Vec<String> = children(daemon).into_iter().filter_map(umask_of).collect();
    assert!(!kept.is_empty(), "{daemon} runs nothing");
    assert!(kept.iter().all(|found| found == umask), "{kept:?}");
}

/// A daemon that has served, has logged more than one file holds, and has written its state.
#[track_caller]
fn serves_and_rolls(dir: &Dir, app: &Path, umask: &str) {
    for _ in 0..2 {
        let reply = get(umask, app, "/hello").response();
        assert!(reply.ok().starts_with("hello"), "umask {umask}");
    }
    let place = place(dir);
    let mut watch = Watch::on(&place);
    fs::write(place.join("log"), vec![b'x'; 1_100_000]).expect("root or the owner may");
    run(
        under(umask, &installed("polycgi")).arg("reload").arg(app),
        b"",
    )
    .success();
    let are_there = || {
        ["state", "log", "log.old"]
            .iter()
            .all(|name| place.join(name).exists())
    };
    assert!(
        watch.until(Deadline::soon(), are_there),
        "{:#?}",
        modes(&dir.join("run"))
    );
}

fn expected(more: &[&'static str]) -> Vec<String> {
    let mut all = vec![
        "-0600 lock",
        "-0600 log",
        "-0600 log.old",
        "-0600 slots",
        "s0700 sock",
        "-0600 state",
    ];
    all.extend(more);
    all.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
    let all = ["d0700 run", "d0700 base", "d0700 app-hash"]
        .into_iter()
        .chain(all);
    all.map(str::to_owned).collect()
}

#[test]
fn of_a_daemon_whatever_the_umask() {
    for umask in UMASKS {
        let dir = Dir::new();
        let app = app_file(
            &dir,
            "wsgi = faultapp:application\nmode = daemon\nmax-procs = 1\n",
        );
        serves_and_rolls(&dir, &app, umask);
        assert_eq!(modes(&dir.join("run")), expected(&[]), "umask {umask}");
        assert_eq!(
            modes(&dir.join("tmp/listen")),
            ["s0640 listen"],
            "umask {umask}"
        );
        // A body that waits for its end is in an unlinked file.
        let serving = dir.daemon();
        let mut client = ScgiClient::connect(&dir.join("tmp/listen"));
        client.send(&header("POST", "/digest", &[], 200_000));
        client.send(&[b'x'; 100_000]);
        let deadline = Deadline::soon();
        while files_of(serving, &dir.join("spool")).is_empty() {
            assert!(!deadline.left().is_zero(), "nothing is spooled");
            std::thread::yield_now();
        }
        let fds = fs::read_dir(format!("/proc/{serving}/fd")).expect("the daemon is there");
        let spooled = fds
            .flatten()
            .map(|fd| fd.path())
            .filter(|fd| fs::read_link(fd).is_ok_and(|to| to.starts_with(dir.join("spool"))));
        for fd in spooled {
            let mode = fs::metadata(&fd).expect("it is open").mode() & 0o7777;
            assert_eq!(mode, 0o600, "umask {umask}");
        }
        drop(client);
        keep_the_umask(serving, umask);
        // The next daemon can use what the first one has made.
        daemon::with_its_children(serving, || {
            run(
                under(umask, &installed("polycgi")).arg("stop").arg(&app),
                b"",
            )
            .success();
        });
        get(umask, &app, "/hello").response().ok();
        assert_ne!(dir.daemon(), serving, "umask {umask}");
    }
}

#[test]
fn of_a_server_whatever_the_umask() {
    for umask in UMASKS {
        let dir = Dir::new();
        let app = app_file(&dir, "scgi = /usr/bin/python3 scgiserver.py\n");
        serves_and_rolls(&dir, &app, umask);
        // After the reload the old server may still run.
        let mut found = modes(&dir.join("run"));
        // Nor need a busy machine be without an incident.
        found.retain(|line| !line.contains(" app.") && line != "-0600 incidents");
        assert_eq!(found, expected(&["s0700 app"]), "umask {umask}");
        keep_the_umask(dir.daemon(), umask);
    }
}

#[test]
fn of_a_plain_cgi_whatever_the_umask() {
    const PROGRAM: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\numask\n";
    for umask in UMASKS {
        let dir = Dir::new();
        dir.file("apps/umask.sh", PROGRAM, 0o755);
        let app = app_file(&dir, "cgi = ./umask.sh\nmode = cgi\n");
        for _ in 0..2 {
            let shown = get(umask, &app, "/").response().ok();
            assert_eq!(shown, format!("{umask}\n"));
        }
        // `state` names the app for `status`.
        let made = [
            "d0700 run",
            "d0700 base",
            "d0700 app-hash",
            "-0600 slots",
            "-0600 state",
        ];
        assert_eq!(modes(&dir.join("run")), made, "umask {umask}");
    }
}

#[test]
fn of_a_log_of_one_s_own() {
    for umask in UMASKS {
        let dir = Dir::new();
        dir.folder("logs", 0o755);
        let log = dir.join("logs/app.log");
        let config = format!(
            "wsgi = faultapp:application\nmode = daemon\nlog-file = {}\n",
            log.display()
        );
        let app = app_file(&dir, &config);
        get(umask, &app, "/hello").response().ok();
        assert_eq!(modes(&log), ["-0600 app.log"], "umask {umask}");
        // A file that exists keeps the mode that its owner gave it.
        daemon::with_its_children(dir.daemon(), || {
            run(
                under(umask, &installed("polycgi")).arg("stop").arg(&app),
                b"",
            )
            .success();
        });
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(&log, mode).expect("root or the owner may");
        get(umask, &app, "/hello").response().ok();
        assert_eq!(modes(&log), ["-0640 app.log"], "umask {umask}");
    }
}

/// `check` and the daemon's log say, once, what other users may read or change.
#[test]
fn permissions_that_are_too_wide() {
    let dir = Dir::new();
    dir.folder("secrets", 0o755);
    let secrets = dir.file("secrets/env", "SECRET=tiger\n", 0o600);
    let config = format!(
        "wsgi = faultapp:application\nmode = daemon\nenv-file = {}\n",
        secrets.display()
    );
    let app = dir.app_file("app", &config);
    let read = format!("{} can be read by other users", secrets.display());
    let changed = |path: &Path| format!("{} can be changed by every user", path.display());
    let apps = dir.join("apps");
    let cases = [
        (&secrets, 0o600, 0o644, read.clone()),
        (&secrets, 0o600, 0o604, read.clone()),
        (&secrets, 0o600, 0o640, read),
        (&secrets, 0o600, 0o602, changed(&secrets)),
        (&apps, 0o755, 0o777, changed(&apps)),
        (
            &dir.join("cgi-bin"),
            0o755,
            0o777,
            changed(&dir.join("cgi-bin")),
        ),
        (&app, 0o755, 0o757, changed(&app)),
    ];
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
    };
    for (path, right, wrong, said) in cases {
        dir.polycgi(&["check"]).success();
        set(path, wrong);
        let checked = dir.polycgi(&["check"]);
        assert_eq!(checked.status.code(), Some(78));
        let shown = joined(&String::from_utf8_lossy(&checked.stdout));
        assert_eq!(shown.matches(&said).count(), 1, "{wrong:o}: {shown}");
        // At the line that names it.
        let key = match path {
            path if *path == secrets => "env-file = ",
            path if *path == apps => "directory = ",
            _ => "",
        };
        assert!(shown.contains(key), "{wrong:o}: {shown}");
        get("0022", &app, "/hello").response().ok();
        dir.polycgi(&["reload"]).success();
        daemon::with_its_children(dir.daemon(), || {
            dir.polycgi(&["stop"]).success();
        });
        let log = dir.daemon_log();
        let warned = log
            .lines()
            .filter(|line| line.contains(" warn: ") && line.contains(&said));
        assert_eq!(warned.count(), 1, "{wrong:o}: {log}");
        assert!(!log.contains("tiger"), "{log}");
        fs::remove_file(dir.place().join("log")).expect("there is a log");
        set(path, right);
    }
    // In a sticky folder no user can replace another's file.
    set(&apps, 0o1777);
    dir.polycgi(&["check"]).success();
}
