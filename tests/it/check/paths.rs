//! Folders that are missing or closed: `check`, the front and the daemon name the folder, its mode and its owner, and
//! blame no program.

use std::os::unix::fs::chown;

use super::file::user_name;
use super::*;

#[test]
fn a_directory_that_is_missing_or_closed() {
    for kind in [
        "wsgi = testapp:application",
        "cgi = /bin/true",
        "scgi = /bin/true x",
    ] {
        for directory in ["gone", "gone/deeper", "plain", "closed", "closed/app"] {
            look_at_directory(kind, directory);
        }
    }
}

fn look_at_directory(kind: &str, directory: &str) {
    // Its own: a start that has failed is not tried again at once.
    let dir = Dir::new();
    let (user, at) = (user_name(), text_of(dir.path()));
    dir.file("plain", "", 0o644);
    let closed = dir.folder("closed", 0o755);
    dir.folder("closed/app", 0o755);
    set_mode(&closed, 0o600);
    let why = match directory {
        "plain" => "it is not a directory".to_owned(),
        "closed" | "closed/app" => {
            format!("{user} can't enter {at}/closed (mode 0600, owner {user})")
        }
        _ => format!("{at}/gone does not exist"),
    };
    let app = dir.app_file("app", kind);
    let text = fs::read_to_string(&app).expect("it can be read");
    let text = text.replace(
        &format!("directory = {at}/apps"),
        &format!("directory = ../{directory}"),
    );
    let app = dir.file("cgi-bin/app", &text, 0o755);
    let line = format!("{}:2:1: ", text_of(&app));
    Checked::of(&app).finds(&[&why, "cannot change to ", &line]);
    let json = Checked::with(&["--json"], &app).text;
    assert_eq!(json.matches("\"error\"").count(), 1, "{json}");
    for mode in ["cgi", "daemon"] {
        if kind.starts_with("scgi") && mode == "cgi" {
            continue;
        }
        let app = dir.file("cgi-bin/app", &format!("{text}mode = {mode}\n"), 0o755);
        let (status, mut said) = served(&app);
        assert_eq!(status, 500, "{kind} {mode}: {said}");
        if mode == "daemon" {
            dir.polycgi(&["stop"]);
            said += &dir.daemon_log();
        }
        assert!(said.contains("cannot change to "), "{kind} {mode}: {said}");
        assert!(!said.contains("cannot run"), "{kind} {mode}: {said}");
        if directory.starts_with("closed") {
            assert!(said.contains(&why), "{kind} {mode}: {said}");
        }
    }
    set_mode(&closed, 0o755);
}

/// A folder that the app's user may enter and not read: Python finds no module in it.
#[test]
fn a_directory_that_cannot_be_listed() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    set_mode(&dir.join("apps"), 0o311);
    assert_eq!(served(&app).0, 500);
    let position = format!("{}:2:1: ", text_of(&app));
    Checked::of(&app).finds(&[
        &position,
        "can't read ",
        "(mode 0311, owner ",
        "Python finds no modules there",
    ]);
    set_mode(&dir.join("apps"), 0o755);
}

#[test]
fn a_spool_that_cannot_be_used() {
    let dir = Dir::new();
    let closed = dir.folder("spool", 0o555);
    for (path, why) in [
        (closed.clone(), "can't make files in"),
        (dir.join("gone"), "does not exist"),
        (dir.join("apps/testapp.py"), "it is not a directory"),
    ] {
        let config = format!(
            "wsgi = testapp:application\nmode = daemon\nspool-dir = {}",
            text_of(&path)
        );
        let app = dir.app_file("app", &config);
        Checked::of(&app).finds(&["cannot spool in ", why, "see 'spool-dir'"]);
    }
}

#[test]
fn an_env_file_that_cannot_be_read() {
    let dir = Dir::new();
    let user = user_name();
    let closed = dir.folder("closed", 0o755);
    dir.file("closed/secrets", "KEY=tiger\n", 0o600);
    let wrong = dir.file("apps/wrong", "export KEY=tiger\n", 0o600);
    set_mode(&closed, 0o600);
    let (closed_file, shown) = (closed.join("secrets"), text_of(&closed));
    for (file, why) in [
        (
            &closed_file,
            format!("{user} can't enter {shown} (mode 0600, owner {user})"),
        ),
        (
            &dir.join("apps/gone"),
            "No such file or directory".to_owned(),
        ),
        (
            &wrong,
            "wrong:1:1: 'export KEY' is a shell's command".to_owned(),
        ),
    ] {
        for kind in ["wsgi = testapp:application", "cgi = /bin/true"] {
            let config = format!("{kind}\nmode = cgi\nenv-file = {}", text_of(file));
            let app = dir.app_file("app", &config);
            let (status, said) = served(&app);
            assert_eq!(status, 500, "{said}");
            assert!(said.contains(&why), "{said}");
            let checked = Checked::of(&app);
            checked.finds(&[&why, "it has lines of NAME=value"]);
            assert_eq!(
                joined(&checked.text).matches(&why).count(),
                1,
                "{}",
                checked.text
            );
            assert!(!checked.text.contains("tiger"), "{}", checked.text);
        }
    }
    set_mode(&closed, 0o755);
}

/// The program of a command, and what its own first line names.
#[test]
fn a_command_that_cannot_be_run() {
    let dir = Dir::new();
    dir.file("apps/dos", "#!/bin/sh\r\nexit 0\r\n", 0o755);
    dir.file("apps/lost", "#!/no/such/interpreter\n", 0o755);
    dir.file("apps/plain", "#!/bin/sh\n", 0o644);
    let user = user_name();
    let at = text_of(&dir.join("apps"));
    for (command, why) in [
        (
            "./dos",
            "ends in CR LF, so the kernel looks for a program '/bin/sh\\r'".to_owned(),
        ),
        (
            "./lost",
            "names the program /no/such/interpreter, and /no does not exist".to_owned(),
        ),
        (
            "./plain",
            format!("{user} can't execute {at}/plain (mode 0644, owner {user})"),
        ),
        ("./none", format!("{at}/none does not exist")),
    ] {
        let app = dir.app_file("app", &format!("cgi = {command}\nmode = cgi"));
        let (status, said) = served(&app);
        assert_eq!(status, 500, "{said}");
        if command != "./none" {
            assert!(said.contains(&why), "{said}");
        }
        Checked::of(&app).finds(&[&why, "cannot run "]);
    }
}

/// By owners and modes, for a user who may not become the app's.
#[test]
fn as_another_user() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application");
    let (uid, gid) = super::super::util::command::user();
    let checked = Checked::with(&["--as", "nobody"], &app);
    checked.says(
        77,
        &[
            "only owners and modes were looked at",
            "sudo -u nobody polycgi check ",
        ],
    );
    set_mode(&dir.join("apps"), 0o750);
    let user = user_name();
    let said = format!(
        "nobody can't enter {} (mode 0750, owner {user})",
        text_of(&dir.join("apps"))
    );
    Checked::with(&["--as", "nobody"], &app).finds(&[&said]);
    // The first class that fits counts: the group has less than all others.
    if chown(dir.join("apps"), Some(uid.as_raw()), Some(65_534)).is_ok() {
        set_mode(&dir.join("apps"), 0o705);
        Checked::with(&["--as", "nobody"], &app).finds(&["(mode 0705, "]);
    }
    chown(dir.join("apps"), Some(uid.as_raw()), Some(gid.as_raw())).expect("as it was");
    set_mode(&dir.join("apps"), 0o755);
    set_mode(&app, 0o700);
    Checked::with(&["--as", "nobody"], &app)
        .finds(&["nobody can't execute ", "nobody can't read "]);
    Checked::with(&["--as", "nobody", "--user", "root"], &app).says(64, &["different users"]);
}
