//! `status` without APP: a line for each app that has a place, script apps included, and none for one that is gone.

use super::*;

#[test]
fn an_app_is_listed_while_its_file_is_there() {
    let Some(world) = World::new() else { return };
    for (uid, user) in [
        (0, ""),
        (WWW_DATA, " of user www-data"),
        (NOBODY, " of user nobody"),
    ] {
        let said = format!("no app{user} has run here\n");
        assert_eq!(world.polycgi(uid, &["status"]).success(), said);
        assert_eq!(world.polycgi(uid, &["status", "--json"]).success(), "");
    }
    // One that has only ever run as a plain CGI, and one with a daemon.
    let script = text_of(&world.app("script.cgi", "cgi = /bin/true\nmode = cgi"));
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["request", &script]);
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let pid = world.dir.daemon();
    let up = format!("{app}: up (pid {pid}), 0 of ");
    let list = |uid| world.polycgi(uid, &["status"]).success();
    for (uid, owner) in [(0, "www-data: "), (WWW_DATA, "")] {
        let lines = list(uid);
        let is_up = |line: &str| line.starts_with(&format!("{owner}{up}"));
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.lines().any(is_up), "{lines}");
        let down = format!("{owner}{script}: down");
        assert!(lines.lines().any(|line| line.starts_with(&down)), "{lines}");
    }
    let json = world.root(&["status", "--json"]).success();
    assert!(
        json.lines().all(|line| line.contains("\"www-data\"")),
        "{json}"
    );
    assert_eq!(json.lines().count(), 2, "{json}");
    assert_eq!(list(NOBODY), "no app of user nobody has run here\n");

    for file in [&script, &app] {
        fs::rename(file, format!("{file}.away")).expect("root can rename a file");
    }
    for (uid, owner) in [(0, "www-data: "), (WWW_DATA, "")] {
        let lines = list(uid);
        let gone = format!("{owner}{app}: up (pid {pid}), its file is gone, ");
        assert!(lines.starts_with(&gone), "{lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
    fs::rename(format!("{app}.away"), &app).expect("root can rename a file");
    world.root(&["stop", &app]).success();
    fs::remove_file(&app).expect("root can remove a file");
    assert_eq!(list(0), "no app has run here\n");
    assert_eq!(list(WWW_DATA), "no app of user www-data has run here\n");
}
