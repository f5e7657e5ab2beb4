//! Another user's app: whose it is, and how to ask.

use super::*;

#[test]
fn another_users_app_is_said_to_be_theirs() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let daemon = world.dir.daemon();
    let before = world.listing();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["reload"],
        &["stop"],
        &["stop", "--hold"],
        &["start"],
        &["check"],
        &["request"],
        &["request", "--via", "scgi"],
        &["compare", "-n", "1"],
    ] {
        for uid in [NOBODY, 12_345] {
            let output = world.polycgi(uid, &[words, &[&app]].concat());
            let ask = format!("sudo -u www-data polycgi {} {app}", words[0]);
            let said = format!("{app} is served by a daemon of www-data: ask by '{ask}'");
            assert_code(&output, 77, &said);
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            assert!(output.stdout.is_empty());
        }
    }
    world::assert_same(
        &before,
        &world.listing(),
        "what another user's commands make",
    );
    // What needs no daemon runs as the user who asks.
    let words = ["request", "--via", "cgi", &app];
    assert_eq!(world.polycgi(NOBODY, &words).success(), "65534 65534 cgi\n");
    // The owner, and root, are told nothing.
    for uid in [0, WWW_DATA] {
        let output = world.polycgi(uid, &["status", &app]);
        assert_eq!(output.stderr, "");
        assert!(output.success().contains(&format!("(pid {daemon}")));
    }
    // A user may have a daemon of their own beside it.
    let words = ["start", "--user", "nobody", &app];
    world.polycgi(NOBODY, &words).success();
    let words = ["request", &app];
    assert_eq!(
        world.polycgi(NOBODY, &words).success(),
        "65534 65534 daemon\n"
    );
    world.polycgi(NOBODY, &["stop", &app]).success();
    assert_eq!(world.dir.all_daemons(), [daemon]);
    world.root(&["stop", &app]).success();
    // Without a daemon it can't be seen what www-data's place says.
    let output = world.polycgi(12_345, &["status", &app]);
    let said =
        format!("whether www-data has run it can't be seen: sudo -u www-data polycgi status {app}");
    assert_code(&output, 0, &said);
    assert_code(&output, 0, ": down");
    let output = world.polycgi(12_345, &["stop", &app]);
    assert_code(&output, 0, "no daemon runs");
}

/// Also where the daemon lies in a private /tmp.
#[test]
fn it_is_said_of_a_private_tmp_as_well() {
    let Some(world) = World::new() else { return };
    let private = world.private_tmp();
    let app = text_of(&world.app("app.cgi", CONFIG));
    private.polycgi(WWW_DATA, &["start", &app]).success();
    let output = world.polycgi(NOBODY, &["status", &app]);
    assert_code(&output, 77, "is served by a daemon of www-data: ask by ");
    world.root(&["stop", &app]).success();
}

/// A user who can't be the app's, and one who takes another's name, hinder no other user's commands.
#[test]
fn a_strangers_socket_is_no_daemon_of_another_user() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(12_345, &["start", &app]).success();
    let name = place_in(&world, "/tmp/polycgi-12345");
    world.polycgi(12_345, &["stop", &app]).success();
    let mut things = Vec::new();
    // Their own number, and that of www-data.
    for base in ["/tmp/polycgi-65534", "/tmp/polycgi-33"] {
        things.push((base.to_owned(), "dir 0755"));
        things.push((format!("{base}/{name}"), "dir 0755"));
        things.push((format!("{base}/{name}/sock"), "sock liar"));
    }
    let squatter = world.squat(NOBODY, &things);
    let output = world.polycgi(12_345, &["status", &app]);
    assert_code(&output, 0, ": down");
    assert_code(
        &world.polycgi(12_345, &["request", &app]),
        0,
        "12345 12345 daemon",
    );
    world.polycgi(12_345, &["stop", &app]).success();
    drop(squatter);
}
