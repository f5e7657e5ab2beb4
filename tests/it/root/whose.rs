//! As which user root's command acts: the owner of the file, a web server's account, the one whose daemon is there; and
//! where that is not known, none.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

fn give(path: &str, uid: u32) {
    chown(path, Some(uid), Some(uid)).expect("root can give a file away");
}

#[test]
fn the_owner_of_the_file_or_the_web_server() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    let cgi = ["request", "--via", "cgi", &app];
    assert_eq!(world.root(&cgi).success(), "33 33 cgi\n", "root's file");
    give(&app, WWW_DATA);
    assert_eq!(world.root(&cgi).success(), "33 33 cgi\n", "its own file");

    // Another user's file: the app's user is www-data or that user, and nothing shows which.
    give(&app, NOBODY);
    let before = world.listing();
    for words in [
        &["check"][..],
        &["start"],
        &["stop", "--hold"],
        &["request"],
        &["request", "--via", "cgi"],
        &["request", "--via", "scgi"],
    ] {
        let output = world.root(&[words, &[&app]].concat());
        assert_code(&output, 77, "nobody or www-data; say which: --user NAME");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    for words in [&["stop"][..], &["reload"]] {
        let text = world.root(&[words, &[&app]].concat()).success();
        assert!(
            text.contains("no daemon runs as nobody or www-data"),
            "{text}"
        );
    }
    assert!(status(&world, &app).contains(&"state = \"down\"".to_owned()));
    world::assert_same(&before, &world.listing(), "nothing was decided");
    for (user, answer) in [
        ("nobody", "65534 65534 cgi\n"),
        ("65534", "65534 65534 cgi\n"),
        ("www-data", "33 33 cgi\n"),
        ("root", "0 0 cgi\n"),
    ] {
        let words = ["request", "--user", user, "--via=cgi", &app];
        assert_eq!(world.root(&words).success(), answer);
    }
    for user in ["no-such-user", "4000000000", "", "-1"] {
        let user = format!("--user={user}");
        let output = world.root(&["request", &user, "--via=cgi", &app]);
        assert_code(&output, 77, "/etc/passwd");
    }
    for words in [
        &["status", "--user", "root"][..],
        &["reload", "--user=root"],
    ] {
        assert_code(&world.root(words), 64, "say which app");
    }
}

#[test]
fn the_daemon_that_is_there_shows_whose_it_is() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    give(&app, NOBODY);
    // A daemon of the file's owner, as under suEXEC, shows it.
    world.polycgi(NOBODY, &["start", &app]).success();
    let theirs = world.dir.daemon();
    assert!(status(&world, &app).contains(&format!("pid = {theirs}")));
    assert!(status(&world, &app).contains(&"user = \"nobody\"".to_owned()));
    assert_eq!(
        world.root(&["request", &app]).success(),
        "65534 65534 daemon\n"
    );
    // Both have a daemon: `--user` has to say which is meant.
    let words = ["start", "--user", "www-data", &app];
    world.polycgi(WWW_DATA, &words).success();
    let ours: Vec<i32> = world.dir.all_daemons();
    let ours: Vec<i32> = ours.into_iter().filter(|pid| *pid != theirs).collect();
    for words in [
        &["status"][..],
        &["stop"],
        &["reload"],
        &["check"],
        &["request"],
        &["stop", "--hold"],
    ] {
        let output = world.root(&[words, &[&app]].concat());
        assert_code(&output, 77, "nobody or www-data; say which: --user NAME");
    }
    assert_eq!(world.dir.all_daemons().len(), 2);
    daemon::with_its_children(ours[0], || {
        world.root(&["stop", "--user", "www-data", &app]).success();
    });
    assert_eq!(world.dir.all_daemons(), [theirs]);
    // A daemon counts more than a place, and a place more than nothing.
    daemon::with_its_children(theirs, || {
        world.root(&["stop", &app]).success();
    });
    world.clear("/tmp/polycgi-65534");
    assert_eq!(
        world.root(&["request", "--via=cgi", &app]).success(),
        "33 33 cgi\n"
    );
}

/// A file or a folder that every user can change shows no user.
#[test]
fn what_every_user_can_change_belongs_to_no_user() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    let folder = world.dir.join("site");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
    };
    for (path, open, closed) in [(Path::new(&app), 0o777, 0o755), (&folder, 0o777, 0o755)] {
        mode(path, open);
        let output = world.root(&["check", &app]);
        assert_code(&output, 77, "every user can change it");
        mode(path, closed);
        world.root(&["check", &app]).success();
    }
    // With the sticky bit users can change their own files only.
    mode(&folder, 0o1777);
    world.root(&["check", &app]).success();
    mode(&folder, 0o755);
    // The folder's owner can put another file there.
    chown(&folder, Some(NOBODY), None).expect("root can give a folder away");
    assert_code(&world.root(&["check", &app]), 77, "nobody or www-data");
    chown(&folder, Some(0), None).expect("root can take a folder");
    // So can the owner of a folder above it.
    let above = world.dir.path();
    chown(above, Some(NOBODY), None).expect("root can give a folder away");
    assert_code(
        &world.root(&["check", &app]),
        77,
        "nobody or www-data; say which: --user NAME",
    );
    chown(above, Some(0), None).expect("root can take a folder");
    // Another user's link to root's file is that user's.
    let link = folder.join("link.cgi");
    symlink(&app, &link).expect("a link can be made");
    world.root(&["check", &text_of(&link)]).success();
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        &link,
        Some(nix::unistd::Uid::from_raw(NOBODY)),
        None,
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .expect("root can give a link away");
    assert_code(
        &world.root(&["check", &text_of(&link)]),
        77,
        "nobody or www-data",
    );
    // A daemon of www-data shows the user.
    mode(Path::new(&app), 0o777);
    world.polycgi(WWW_DATA, &["start", &app]).success();
    world.root(&["reload", &app]).success();
    world.root(&["stop", &app]).success();
}

/// A command for the app's user has that user's groups and HOME, and nothing of root's.
#[test]
fn nothing_of_root_is_left() {
    let Some(world) = World::new() else { return };
    let rights = "import os, sys
sys.stdout = sys.stderr
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
print([line for line in open('/proc/self/status') if line.startswith('Cap')][:3])
print(sorted(os.environ))
print(os.environ['HOME'], os.environ.get('PATH'))
try:
    os.close(os.open('/dev/tty', os.O_RDWR))
    print('a terminal')
except OSError:
    print('no terminal')
def application(environ, start_response):
    start_response('200 OK', [])
    return []
raise SystemExit(3)
";
    world.dir.file("apps/rights.py", rights, 0o644);
    let config = "wsgi = rights:application\nenv.PYTHONDONTWRITEBYTECODE = 1";
    let app = text_of(&world.app("app.cgi", config));
    let script = format!("exec {} check {app}", installed("polycgi").display());
    // Root has a terminal, secrets in the environment, and groups.
    let mut command = world.command(0, "/usr/bin/script");
    command.args(["-qec", &script, "/dev/null"]).envs([
        ("HOME", "/root"),
        ("SECRET", "x"),
        ("PYTHONPATH", "/root"),
    ]);
    let text = String::from_utf8_lossy(&run(&mut command, b"").stdout).into_owned();
    assert!(text.contains("(33, 33, 33) (33, 33, 33) [33]"), "{text}");
    let caps = ["CapInh", "CapPrm", "CapEff"].map(|cap| format!("{cap}:\\t0000000000000000"));
    assert!(caps.iter().all(|cap| text.contains(cap)), "{text}");
    assert!(
        text.contains("/var/www /usr/local/bin:/usr/bin:/bin"),
        "{text}"
    );
    assert!(
        !text.contains("SECRET") && !text.contains("PYTHONPATH"),
        "{text}"
    );
    assert!(text.contains("no terminal"), "{text}");
}

/// For an app that root itself runs, commands act as root.
#[test]
fn root_may_be_the_apps_user() {
    let Some(world) = World::new() else { return };
    // Only root can change it.
    chown(world.dir.path(), Some(0), None).expect("root can take a folder");
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.root(&["start", "--user", "root", &app]).success();
    let serving = world.dir.daemon();
    assert_eq!(world.users_of_apps(), [0]);
    assert!(status(&world, &app).contains(&format!("pid = {serving}")));
    daemon::with_its_children(serving, || {
        world.root(&["stop", &app]).success();
    });
    // What is left of that daemon does not make the app root's.
    assert_eq!(world.root(&["request", &app]).success(), "33 33 daemon\n");
    world.root(&["stop", &app]).success();
}

/// A daemon in the foreground keeps the pid with which it was started.
#[test]
fn a_daemon_in_the_foreground_is_the_apps_users() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    let daemon = installed("scgi-daemon");
    // A descriptor of a file that only root can read.
    let script = format!("exec 9</etc/shadow; exec {} {app}", daemon.display());
    let mut command = world.command(0, "/bin/sh");
    let running = super::super::util::Running::start(command.args(["-c", &script]), b"");
    // The first request starts a worker.
    let up = "state = \"up\"".to_owned();
    let deadline = Deadline::soon();
    while !status(&world, &app).contains(&up) {
        assert!(!deadline.left().is_zero(), "it is not up");
    }
    assert_eq!(world.users_of_apps(), [WWW_DATA]);
    assert_eq!(world.dir.daemon(), running.pid());
    let open = fs::read_dir(format!("/proc/{}/fd", running.pid())).expect("it runs");
    let open = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    let open: Vec<_> = open.collect();
    assert!(open.iter().all(|to| !to.ends_with("shadow")), "{open:?}");
    world.root(&["stop", &app]).success();
    assert!(running.end().status.success());
}

/// What is no app file is refused, without waiting for it.
#[test]
fn what_is_no_app_file_is_not_waited_for() {
    let Some(world) = World::new() else { return };
    let things = [
        "fifo",
        "link /dev/zero",
        "dir 0777",
        "sock silent",
        "sparse",
    ];
    let names: Vec<_> = (0..things.len())
        .map(|nth| format!("/tmp/x{nth}.cgi"))
        .collect();
    let squats: Vec<_> = names.iter().cloned().zip(things).collect();
    let _squatter = world.squat(NOBODY, &squats);
    for name in names
        .iter()
        .map(String::as_str)
        .chain(["/nowhere", "nowhere"])
    {
        for words in [
            &["status"][..],
            &["stop"],
            &["check"],
            &["request"],
            &["reload"],
        ] {
            for user in [None, Some("--user=nobody"), Some("--user=www-data")] {
                let words = words.iter().copied().chain(user).chain([name]);
                let output = world.root(&words.collect::<Vec<_>>());
                let code = output.status.code().expect("it exits");
                assert!(
                    [0, 66, 77].contains(&code),
                    "{name}: {code} {}",
                    output.stderr
                );
                // If nothing shows the user, there is no daemon either.
                assert!(code != 0 || user.is_none(), "{name}");
            }
        }
    }
}

/// A signal to root's command reaches the process that acts for it.
#[test]
fn an_interrupt_ends_what_root_has_begun() {
    let Some(world) = World::new() else { return };
    let mut gate = world.dir.gate("gate");
    let slow = "import testapp\ntestapp.pass_gate('gate')\nfrom testapp import application\n";
    world.dir.file("apps/slow.py", slow, 0o644);
    let app = text_of(&world.app("app.cgi", "wsgi = slow:application"));
    for signal in [
        nix::sys::signal::Signal::SIGINT,
        nix::sys::signal::Signal::SIGTERM,
        nix::sys::signal::Signal::SIGHUP,
    ] {
        // A run of the tests in the background ignores SIGINT, and what it starts would inherit that.
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }
            .expect("a signal has a default action");
        let mut command = world.command(0, installed("polycgi"));
        let running = super::super::util::Running::start(command.args(["check", &app]), b"");
        let importing = gate.entered();
        super::super::util::process::send(running.pid(), signal);
        assert!(Deadline::soon().ended(importing), "{signal}");
        assert_eq!(running.end().status.code(), Some(128 + signal as i32));
    }
}

/// Root makes links only where no other user can replace them.
#[test]
fn links_are_made_in_folders_of_roots_only() {
    let Some(world) = World::new() else { return };
    let squats = [
        ("/tmp/theirs".to_owned(), "dir 0755"),
        ("/tmp/theirs/deep".to_owned(), "dir 0755"),
        ("/tmp/link".to_owned(), "link /run"),
        ("/tmp/taken.cgi".to_owned(), "link /usr/bin/true"),
        (
            "/tmp/same.cgi".to_owned(),
            &*format!("link {}", installed("polycgi").display()),
        ),
    ];
    let _squatter = world.squat(NOBODY, &squats);
    let open = world.at("/run/open");
    fs::create_dir(&open).expect("a folder can be made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("a mode can be set");
    // A folder of a group with members, and one of a group without.
    for (name, gid) in [("shared", WWW_DATA), ("alone", 54_321)] {
        let path = world.at(&format!("/run/{name}"));
        fs::create_dir(&path).expect("a folder can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).expect("a mode can be set");
        chown(&path, Some(0), Some(gid)).expect("root can give a folder");
    }
    let before = world.listing();
    for (folder, code, said) in [
        ("/run/shared", 77, "another user can change /run/shared"),
        ("/tmp/theirs", 77, "another user can change /tmp/theirs"),
        (
            "/tmp/theirs/deep",
            77,
            "another user can change /tmp/theirs",
        ),
        ("/tmp/link", 77, "another user can change /tmp/link"),
        ("/run/open", 77, "another user can change /run/open"),
        ("/nowhere", 73, "No such file"),
    ] {
        assert_code(&world.root(&["links", folder, "app"]), code, said);
    }
    for name in ["taken", "same"] {
        assert_code(&world.root(&["links", "/tmp", name]), 73, "File exists");
    }
    world::assert_same(&before, &world.listing(), "none was made");
    for folder in ["/tmp", "/run", "/run/alone"] {
        world.root(&["links", folder, "app"]).success();
        assert!(world.at(&format!("{folder}/app.cgi")).is_symlink());
    }
}

/// A response without an end, for an ordinary user: its head is shown, and the rest does not fill the memory.
#[test]
fn a_response_without_an_end_is_passed_on() {
    let dir = super::super::util::Dir::new();
    let endless = "def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    while True:
        yield b'x' * 65536
";
    dir.file("apps/endless.py", endless, 0o644);
    let config = "wsgi = endless:application\nmode = daemon";
    let app = text_of(&dir.app_file("app", config));
    let polycgi = installed("polycgi").display().to_string();
    for via in ["cgi", "auto", "scgi"] {
        let script = format!("{polycgi} request -i --via {via} {app} | head -c 3000000 | wc -c");
        let output = run(as_user("/bin/sh").args(["-c", &script]), b"");
        assert_eq!(output.success().trim(), "3000000", "{via}");
    }
}
