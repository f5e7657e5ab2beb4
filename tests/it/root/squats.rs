//! An app's places under other users' numbers, and what lies in them, squatted in each form.

use super::*;

/// Where another user could make places of the app: under their own number, under others', and under the app's user's.
const BASES: [&str; 6] = [
    "/tmp/polycgi-65534",
    "/tmp/polycgi-0",
    "/tmp/polycgi-1",
    "/run/polycgi/65534",
    "/run/polycgi/0",
    "/run/polycgi/33",
];
const SOCKETS: [&str; 10] = [
    "sock liar",
    "sock silent",
    "sock endless",
    "sock drip",
    "sock escapes",
    "sock closing",
    "fifo",
    "dir 0777",
    "link /tmp/polycgi-33/sock",
    "sparse",
];
const FILES: [&str; 8] = [
    "fifo",
    "link /dev/zero",
    "dir 0700",
    "sparse",
    "text \\x1b[2Jx",
    "sock silent",
    "link /etc/shadow",
    "fifo",
];

#[test]
fn the_real_daemon_obeys_whatever_was_squatted() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let name = place_in(&world, "/tmp/polycgi-33");
    // In /run too the squats exist before the real place.
    world.make_run();
    for (nth, sock) in SOCKETS.iter().enumerate() {
        let mut things = Vec::new();
        for (at, base) in BASES.iter().enumerate() {
            // One of them has a mode that no base has.
            let mode = ["dir 0700", "dir 0700", "dir 0777"][(at + nth) % 3];
            things.push(((*base).to_owned(), mode));
            let dir = format!("{base}/{name}");
            things.push((dir.clone(), mode));
            things.push((format!("{dir}/sock"), *sock));
            for (file, form) in ["slots", "state", "incidents", "lock", "log", "app"]
                .iter()
                .zip(0..)
            {
                things.push((format!("{dir}/{file}"), FILES[(nth + at + form) % 8]));
            }
        }
        let squatter = world.squat(NOBODY, &things);
        the_real_daemon_obeys(&world, &app, sock);
        drop(squatter);
        for base in BASES {
            world.clear(base);
        }
    }
    assert_eq!(world.users_of_apps(), [WWW_DATA]);
    world.root(&["stop", &app]).success();
}

#[track_caller]
fn the_real_daemon_obeys(world: &World, app: &str, sock: &str) {
    let daemon = world.dir.daemon();
    let pid = format!("pid = {daemon}");
    assert!(status(world, app).contains(&pid), "{sock}");
    let text = world.root(&["status", app]).success();
    assert!(
        text.contains(&format!("up (pid {daemon}")),
        "{sock}: {text}"
    );
    world.root(&["reload", app]).success();
    world.root(&["start", app]).success();
    assert_eq!(world.dir.daemon(), daemon, "{sock}");
    assert!(status(world, app).contains(&"generation = 2".to_owned()));
    for (via, answer) in [
        ("auto", "33 33 daemon\n"),
        ("scgi", "33 33 daemon\n"),
        ("cgi", "33 33 cgi\n"),
    ] {
        let words = ["request", "--via", via, app, "/"];
        assert_eq!(world.root(&words).success(), answer, "{sock} {via}");
    }
    // One of the squats is in the way of a better place.
    assert_code(
        &world.root(&["check", app]),
        0,
        "cannot use /run/polycgi/33: it",
    );
    daemon::with_its_children(daemon, || {
        world.root(&["stop", app]).success();
    });
    assert!(status(world, app).contains(&"state = \"down\"".to_owned()));
    // Without a daemon no squat is taken for it.
    let text = world.root(&["stop", app]).success();
    assert!(text.contains("no daemon runs as www-data"), "{text}");
    world.root(&["stop", "--hold", app]).success();
    assert!(status(world, app).contains(&"state = \"held\"".to_owned()));
    let words = ["request", app, "/"];
    assert_eq!(world.root(&words).success(), "33 33 cgi\n");
    world.root(&["start", app]).success();
}

/// The app's own user, and so the app, may have replaced files of its place too.
#[test]
fn files_of_the_own_place_in_each_form() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.root(&["start", &app]).success();
    let name = place_in(&world, "/tmp/polycgi-33");
    world.root(&["stop", &app]).success();
    let mut users = [0, WWW_DATA, WWW_DATA, 0, 0].into_iter().cycle();
    for file in ["sock", "slots", "state", "incidents", "lock", "log", "app"] {
        for form in SOCKETS.iter().chain(&FILES).collect::<Vec<_>>() {
            let is_sock = form.starts_with("sock");
            if is_sock && file == "sock" && !form.ends_with("endless") && !form.ends_with("closing")
            {
                // The app's own user may keep its own command waiting.
                continue;
            }
            let path = format!("/tmp/polycgi-33/{name}/{file}");
            world.clear(&path);
            let squatter = world.squat(WWW_DATA, &[(path.clone(), form)]);
            for words in [
                &["status"][..],
                &["status", "--json"],
                &["stop"],
                &["check"],
            ] {
                let uid = users.next().expect("it goes round");
                let output = world.polycgi(uid, &[words, &[&app]].concat());
                let code = output.status.code();
                assert!(code.is_some(), "{file} {form} {words:?}");
                let shown = [&output.stdout[..], output.stderr.as_bytes()].concat();
                assert!(!shown.contains(&0x1b), "{file} {form} {words:?}");
                assert!(shown.len() < 1 << 16, "{file} {form} {words:?}");
            }
            drop(squatter);
            world.clear(&path);
        }
    }
}

/// The link that a daemon with a `runtime-dir` leaves is followed to that user's own place only.
#[test]
fn a_link_leads_to_a_place_of_the_same_user_or_nowhere() {
    let Some(world) = World::new() else { return };
    let run = world.dir.folder("elsewhere", 0o700);
    let config = format!("{CONFIG}\nruntime-dir = {}", run.display());
    let app = text_of(&world.app("app.cgi", &config));
    world.root(&["start", &app]).success();
    let name = place_in(&world, "/tmp/polycgi-33");
    let daemon = world.dir.daemon();
    // As after an edit: only the link shows where the daemon is.
    world.app("app.cgi", CONFIG);
    let pid = format!("pid = {daemon}");
    assert!(status(&world, &app).contains(&pid));
    // The daemon leaves for the new `runtime-dir` when a request comes, and not because of a command that looks.
    let fake = format!("/tmp/fake/{name}");
    let things = [
        ("/tmp/fake".to_owned(), "dir 0700"),
        (fake.clone(), "dir 0700"),
        (format!("{fake}/sock"), "sock liar"),
    ];
    let _squatter = world.squat(NOBODY, &things);
    let link = format!("/tmp/polycgi-33/{name}");
    world.clear(&link);
    let form = format!("link {fake}");
    let _link = world.squat(WWW_DATA, &[(link, &form)]);
    let text = world.root(&["stop", &app]).success();
    assert!(text.contains("no daemon runs"), "{text}");
    daemon::with_its_children(daemon, || {
        super::super::util::process::send(daemon, nix::sys::signal::Signal::SIGTERM);
    });
}

/// /run/polycgi is as /tmp is: every user makes a folder there, and no other can take it away. A place that another user
/// has squatted is passed over, which the log and `check` say.
#[test]
fn a_squatted_runtime_directory_is_passed_over() {
    let Some(world) = World::new() else { return };
    world.make_run();
    let app = text_of(&world.app("app.cgi", CONFIG));
    let run = "/run/polycgi/33".to_owned();
    let own = world.dir.folder("own", 0o700);
    for (form, why) in [
        ("dir 0700", "it belongs to another user"),
        ("dir 0777", "it belongs to another user"),
        ("text x", "it is not a directory"),
        (&format!("link {}", own.display()), "it is not a directory"),
    ] {
        let squatter = world.squat(NOBODY, &[(run.clone(), form)]);
        let words = ["request", &app];
        let answer = world.polycgi(WWW_DATA, &words).success();
        assert_eq!(answer, "33 33 daemon\n", "{form}");
        let name = place_in(&world, "/tmp/polycgi-33");
        let place = format!("/tmp/polycgi-33/{name}");
        let said = format!("cannot use {run}: {why}");
        let log = fs::read_to_string(world.at(&place).join("log")).expect("root can read a log");
        let warned = format!("warn: {said}: {place} is used");
        assert_eq!(log.matches(&warned).count(), 1, "{form}: {log}");
        assert_code(&world.root(&["check", &app]), 0, &said);
        world.root(&["stop", &app]).success();
        drop(squatter);
        world.clear(&run);
        world.clear("/tmp/polycgi-33");
    }
    // Without a squatter the place is there, and stays whatever another user tries.
    world.polycgi(WWW_DATA, &["request", &app]).success();
    let name = place_in(&world, &run);
    for attempt in [
        "mv /run/polycgi/33 /run/polycgi/x",
        "rm -rf /run/polycgi/33",
    ] {
        let mut shell = world.command(NOBODY, "/bin/sh");
        let output = super::run(shell.args(["-c", attempt]), b"");
        assert!(!output.status.success(), "{attempt}");
    }
    assert_eq!(place_in(&world, &run), name);
    assert!(!world.at("/tmp/polycgi-33").exists());
    assert_code(&world.root(&["check", &app]), 0, "nothing wrong found");
    world.root(&["stop", &app]).success();
}

/// A user's runtime directory on a file system of theirs that does not answer (sshfs, or one made for this): root's
/// commands tell of the others' apps, and leave behind who looks there. With `allow_other` root could wait there itself.
#[test]
fn a_runtime_directory_that_does_not_answer() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.polycgi(WWW_DATA, &["start", &app]).success();
    let base = "/tmp/polycgi-65534";
    world.squat(NOBODY, &[(base.to_owned(), "dir 0700")]);
    for more in ["", ",allow_other"] {
        let python = world.command(0, "/usr/bin/python3");
        let Some(disk) = SilentDisk::of(python, Path::new(base), NOBODY, more) else {
            return;
        };
        let mut waits = world.command(NOBODY, "/usr/bin/stat");
        let mut waits = waits.arg(base).spawn().expect("stat can be run");
        let listed = world.root(&["status"]).success();
        assert!(listed.contains(&app), "{listed}");
        let text = world.root(&["status", &app]).success();
        assert!(text.contains("up (pid "), "{text}");
        world.root(&["reload", &app]).success();
        let pid = waits.id().cast_signed();
        assert!(process::is_alive(pid), "it does answer");
        drop(disk);
        assert!(Deadline::soon().ended(pid), "it waits for ever");
        waits.wait().expect("a child can be waited for");
    }
    world.root(&["stop", &app]).success();
}
