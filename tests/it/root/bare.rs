//! `status` and `reload` without an app: root asks the daemons of every user, and what a user's places say is shown as
//! that user's.

use std::time::Duration;

use super::*;

#[test]
fn every_user_speaks_for_themselves_only() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let daemon = world.dir.daemon();
    world.make_run();
    let base = "/tmp/polycgi-65534";
    let mut things = vec![(base.to_owned(), "dir 0700")];
    let forms = [
        ("sock liar", "text app=x"),
        ("sock silent", "fifo"),
        ("sock endless", "sparse"),
        ("sock drip", "link /dev/zero"),
        ("sock escapes", "fifo"),
        (
            "sock closing",
            "text app=\\x1b[2J\\nlast_failure=\\x1b]0;x\\x07\\n",
        ),
        ("fifo", "fifo"),
        ("link /tmp/polycgi-33/sock", "dir 0700"),
    ];
    for (nth, (sock, state)) in forms.iter().enumerate() {
        let dir = format!("{base}/app-{nth:016x}");
        things.push((dir.clone(), "dir 0700"));
        things.push((format!("{dir}/sock"), sock));
        things.push((format!("{dir}/state"), state));
        things.push((format!("{dir}/slots"), ["fifo", "sparse"][nth % 2]));
    }
    // Under other users' numbers, and behind links, there are no places.
    for other in ["/tmp/polycgi-0", "/tmp/polycgi-2", "/run/polycgi/33"] {
        things.push((other.to_owned(), "dir 0700"));
        let dir = format!("{other}/fake-0000000000000000");
        things.push((dir.clone(), "dir 0700"));
        things.push((format!("{dir}/sock"), "sock liar"));
        things.push((format!("{dir}/slots"), "text x"));
        things.push((format!("{dir}/state"), "text app=/fake\\n"));
    }
    let link = format!("link {base}");
    things.push(("/tmp/polycgi-3".to_owned(), &link));
    things.push(("/tmp/polycgi-4".to_owned(), "fifo"));
    things.push(("/tmp/polycgi-5".to_owned(), "link /dev/zero"));
    things.push(("/tmp/polycgi-x".to_owned(), "dir 0700"));
    let _squatter = world.squat(NOBODY, &things);
    let before = world.listing();

    let deadline = Deadline::after(Duration::from_secs(30));
    let output = world.root(&["status"]);
    assert!(!deadline.left().is_zero(), "all are asked side by side");
    let text = shown(&output);
    let own = format!("www-data: {app}: up (pid {daemon})");
    assert!(text.lines().any(|line| line.starts_with(&own)), "{text}");
    // A line that does not begin with a user belongs to the line above it.
    let heads = text.lines().filter(|line| !line.starts_with(' '));
    for line in heads {
        let is_named = ["www-data: ", "nobody: ", "polycgi: status: nobody: "]
            .iter()
            .any(|user| line.starts_with(user));
        assert!(is_named, "{line:?} in {text}");
    }
    assert!(text.contains("nobody: /fake: draining"), "{text}");
    assert!(text.contains("does not answer"), "{text}");
    // A wrong place of another user is no failure of the command.
    assert_eq!(output.status.code(), Some(0), "{text}");

    let output = world.root(&["status", "--json"]);
    shown(&output);
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let users: Vec<String> = json
        .lines()
        .flat_map(daemon::json)
        .filter(|line| line.starts_with("user = "))
        .collect();
    assert_eq!(users.len(), json.lines().count());
    let of_us = users.iter().filter(|user| *user == "user = \"www-data\"");
    assert_eq!(of_us.count(), 1, "{json}");

    assert_same(&world, &before, "a look at all");
    let deadline = Deadline::after(Duration::from_secs(30));
    let output = world.root(&["reload"]);
    assert!(!deadline.left().is_zero(), "all are asked side by side");
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(status(&world, &app).contains(&"generation = 2".to_owned()));
    // The owner of these places sees the same.
    let output = world.polycgi(NOBODY, &["status"]);
    assert_code(&output, 69, "does not answer");
    shown(&output);
    world.root(&["stop", &app]).success();
}

/// The files of the daemon that runs beside change by themselves.
#[track_caller]
fn assert_same(world: &World, before: &[String], what: &str) {
    let others = |lines: &[String]| -> Vec<String> {
        let is_other = |line: &&String| !line.contains("/polycgi-33");
        lines.iter().filter(is_other).cloned().collect()
    };
    world::assert_same(&others(before), &others(&world.listing()), what);
}

/// What a terminal would get: limited in size, and without escape sequences.
#[track_caller]
fn shown(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    let is_obeyed =
        |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(is_obeyed), "{text:?}");
    text
}

/// A user may have many numbers (subuid(5)), and make a place under each.
#[test]
fn many_users_are_asked_side_by_side() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let own = format!("www-data: {app}: up (pid {})", world.dir.daemon());
    let squatters: Vec<_> = (100_000..100_080)
        .map(|uid| {
            let base = format!("/tmp/polycgi-{uid}");
            let dir = format!("{base}/app-0000000000000000");
            let things = [
                (base, "dir 0700"),
                (dir.clone(), "dir 0700"),
                (format!("{dir}/slots"), "fifo"),
                (format!("{dir}/sock"), "sock silent"),
            ];
            world.squat(uid, &things)
        })
        .collect();
    let output = world.root(&["status"]);
    let text = shown(&output);
    assert!(text.lines().any(|line| line.starts_with(&own)), "{text}");
    assert!(text.contains("more users were not examined"), "{text}");
    drop(squatters);
    world.root(&["stop", &app]).success();
}
