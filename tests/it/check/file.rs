//! The app file: what keeps the kernel from running it.

use std::os::unix::fs::symlink;

use super::super::util::not_tested;
use super::*;

const WSGI: &str = "wsgi = testapp:application\nmode = cgi";

#[test]
fn a_first_line_that_the_kernel_does_not_follow() {
    let dir = Dir::new();
    let own = text_of(&installed("polycgi"));
    let right = dir.app_file("app", WSGI);
    Checked::of(&right).is_well();
    assert_eq!(served(&right).0, 200);
    let text = fs::read_to_string(&right).expect("it can be read");
    let rest = text.split_once('\n').expect("it has lines").1;
    let first = format!("let its first line be: #!{own} -");
    let path = text_of(&right);
    for (line, said) in [
        (format!("#!{own}\r"), vec!["ends in CR LF", &first]),
        (
            "#!/no/such/polycgi -".to_owned(),
            vec![
                "is to be run by /no/such/polycgi, which does not exist",
                &first,
            ],
        ),
        ("#!".to_owned(), vec!["nothing follows '#!'", &first]),
        (
            format!("\u{feff}#!{own} -"),
            vec!["a byte order mark (EF BB BF) is before '#!'"],
        ),
        (
            format!("\n\n#!{own} -"),
            vec!["the first line is empty and '#!' is in line 3"],
        ),
        (format!(" #!{own} -"), vec!["a blank is before '#!'"]),
        (
            format!("#!{}/polycgi -", "x".repeat(300)),
            vec!["and the kernel reads 255", &first],
        ),
    ] {
        let app = dir.file("cgi-bin/app", &format!("{line}\n{rest}"), 0o755);
        // A shell would run what the kernel does not; a web server has none.
        not_run(&app);
        let checked = Checked::of(&app);
        checked.finds(&said);
        checked.finds(&[&format!("{path}:1:")]);
    }
    // The column is that of the carriage return.
    let app = dir.file("cgi-bin/app", &format!("#!{own}\r\n{rest}"), 0o755);
    Checked::of(&app).finds(&[&format!("{path}:1:{}: ", own.len() + 3)]);
    // Another program runs: it is not this one's app file, or does not know the file.
    for (line, said) in [
        (
            "#!/usr/bin/env polycgi",
            "the kernel then does not name the app file",
        ),
        ("#!/bin/true", "which is not polycgi: it is no app file"),
        ("#!bin/polycgi -", "which is no absolute path"),
    ] {
        let app = dir.file("cgi-bin/app", &format!("{line}\n{rest}"), 0o755);
        Checked::of(&app).finds(&[said, &first, &format!("{path}:1:3: ")]);
    }
    // The blank and the dash keep it running; it is said all the same.
    let app = dir.file("cgi-bin/app", &format!("#!{own} -\r\n{rest}"), 0o755);
    assert_eq!(served(&app).0, 200);
    Checked::of(&app).warns(&["ends in CR LF; it runs only since", "(LF)"]);
}

#[test]
fn modes_that_keep_the_user_from_it() {
    let dir = Dir::new();
    let app = dir.app_file("app", WSGI);
    let user = user_name();
    for (mode, said) in [
        (
            0o644,
            format!(
                "{user} can't execute {} (mode 0644, owner {user})",
                text_of(&app)
            ),
        ),
        (
            0o311,
            format!(
                "{user} can't read {} (mode 0311, owner {user})",
                text_of(&app)
            ),
        ),
    ] {
        set_mode(&app, mode);
        if mode == 0o644 {
            assert!(not_run(&app).contains("Permission denied"));
        }
        Checked::of(&app).finds(&[&said, "chmod 755 it; 700 under suEXEC"]);
    }
}

#[test]
fn a_folder_above_it_that_the_user_cannot_enter() {
    let dir = Dir::new();
    let app = dir.app_file("app", WSGI);
    let folder = dir.join("cgi-bin");
    set_mode(&folder, 0o644);
    assert!(not_run(&app).contains("Permission denied"));
    let user = user_name();
    let said = format!(
        "{user} can't enter {} (mode 0644, owner {user})",
        text_of(&folder)
    );
    Checked::of(&app).finds(&[&said, "chmod a+x it"]);
    set_mode(&folder, 0o755);
}

#[test]
fn a_symlink_without_its_configuration() {
    let dir = Dir::new();
    let link = dir.join("cgi-bin/no-such-app.cgi");
    symlink(installed("polycgi"), &link).expect("a link can be made");
    assert_eq!(served(&link).0, 500);
    Checked::of(&link).finds(&[
        "has no configuration: there is no file ",
        "/etc/polycgi/no-such-app.conf",
        "write /etc/polycgi/no-such-app.conf, with at least ",
        "'wsgi = MODULE:CALLABLE' or 'cgi = COMMAND'",
    ]);
    let dangling = dir.join("cgi-bin/dangling.cgi");
    symlink("/no/such/polycgi", &dangling).expect("a link can be made");
    assert!(not_run(&dangling).contains("No such file"));
    Checked::of(&dangling)
        .finds(&["dangling.cgi leads to /no/such/polycgi, and /no does not exist"]);
    // No such app is no finding.
    for name in ["cgi-bin/nothing", "cgi-bin/no/thing"] {
        Checked::of(&dir.join(name)).says(66, &["No such file"]);
    }
}

#[test]
fn a_file_system_that_runs_nothing() {
    let dir = Dir::new();
    let folder = dir.folder("noexec", 0o755);
    let script = r#"mount -t tmpfs -o noexec,mode=755 none "$1" && cp -p "$2" "$1/app" && exec setpriv \
        --reuid="$3" --regid="$4" --clear-groups sh -c '"$0/app"; exec "$1" check "$0/app"' "$1" "$5""#;
    let app = dir.app_file("app", WSGI);
    let (uid, gid) = super::super::util::command::user();
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh"]);
    unshare.args([&folder, &app]);
    unshare.args([uid.to_string(), gid.to_string()]);
    unshare.arg(installed("polycgi"));
    let output = run(&mut unshare, b"");
    if output.stderr.contains("unshare:") || output.stderr.contains("mount:") {
        return not_tested("a mount with noexec, which takes root");
    }
    assert!(
        output.stderr.contains("Permission denied"),
        "{}",
        output.stderr
    );
    Checked::new(output).finds(&["is on a file system that is mounted with noexec"]);
}

/// The name of the tests' user.
pub(super) fn user_name() -> String {
    let (uid, _) = super::super::util::command::user();
    let name = run(
        std::process::Command::new("id").args(["-un", &uid.to_string()]),
        b"",
    );
    name.success().trim().to_owned()
}
