//! A web server that has a /tmp of its own, as Debian's Apache has by `PrivateTmp=true`: commands outside find the app's
//! daemon in there and use it, and `check` says what keeps it out of sight.

use super::super::util::machine::Machine;
use super::super::util::patient::PatientRead;
use super::super::util::world::PrivateTmp;
use super::super::util::{Deadline, Piped, installed, process};
use super::*;

/// An app whose daemon a front in the private /tmp has started.
fn started(world: &World, private: &PrivateTmp) -> (String, i32) {
    let app = text_of(&world.app("app.cgi", CONFIG));
    let answer = private.polycgi(WWW_DATA, &["request", &app]).success();
    assert_eq!(answer, "33 33 daemon\n");
    (app, world.dir.daemon())
}

#[test]
fn commands_find_the_daemon_in_a_private_tmp() {
    let Some(world) = World::new() else { return };
    let private = world.private_tmp();
    let (app, daemon) = started(&world, &private);
    // The fault: its place can't be seen from outside.
    assert!(!world.at("/tmp/polycgi-33").exists());
    let mut generation = 1;
    for uid in [0, WWW_DATA] {
        let polycgi = |words: &[&str]| world.polycgi(uid, &[words, &[&app]].concat()).success();
        let shown = daemon::json(&polycgi(&["status", "--json"]));
        assert!(shown.contains(&format!("pid = {daemon}")), "{shown:?}");
        for words in [&["request"][..], &["request", "--via", "scgi"]] {
            assert_eq!(polycgi(words), "33 33 daemon\n");
        }
        assert_eq!(polycgi(&["start"]), "");
        assert_eq!(polycgi(&["reload"]), "");
        generation += 1;
        let shown = daemon::json(&polycgi(&["status", "--json"]));
        let reloaded = format!("generation = {generation}");
        assert!(shown.contains(&reloaded), "{shown:?}");
        // They differ in the word that says which way it was.
        let output = world.polycgi(uid, &["compare", "-n", "1", &app]);
        assert_code(&output, 1, "once each way");
        assert_eq!(world.dir.all_daemons(), [daemon], "no second one");
    }
    assert!(!world.at("/tmp/polycgi-33").exists(), "and no second place");
    // Held where the web server's fronts look.
    world.root(&["stop", "--hold", &app]).success();
    assert!(!process::is_alive(daemon));
    let words = ["status", &app];
    let shown = private.polycgi(WWW_DATA, &words).success();
    assert!(shown.contains(": held"), "{shown}");
    // Without a process in there nothing of it can be seen.
    let shown = world.root(&["status", &app]).success();
    assert!(shown.contains(": down"), "{shown}");
    let shown = world.root(&["stop", &app]).success();
    assert!(shown.contains("no daemon runs as www-data"), "{shown}");
}

/// The pid that a daemon says is that of its own pid namespace: here it may be another process's, or nobody's.
#[test]
fn stop_waits_for_a_daemon_of_another_pid_namespace() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    let mut first = world.command(0, "/usr/bin/unshare");
    first.args(["--pid", "--fork", "--mount-proc", "--", "/bin/sh", "-c"]);
    // Its first process stays, and with it the namespace. The daemon's pid is the third from now: that of a process of
    // its user out here.
    let script = "echo $(($3 - 3)) >/proc/sys/kernel/ns_last_pid
        setpriv --reuid=33 --regid=33 --clear-groups \"$1\" start \"$2\" && echo up && exec cat";
    let mut stranger = world.command(WWW_DATA, "/bin/cat");
    let mut stranger = Piped::start(&mut stranger);
    let polycgi = installed("polycgi");
    first.args([script, "sh"]).arg(polycgi).arg(&app);
    first.arg(stranger.pid().to_string());
    let mut first = Piped::start(&mut first);
    let mut said = Vec::new();
    while !said.ends_with(b"up\n") {
        assert!(first.stdout.more(Deadline::soon(), &mut said), "{said:?}");
    }
    let daemon = world.dir.daemon();
    let shown = status(&world, &app);
    let fault = format!("pid = {}", stranger.pid());
    assert!(shown.contains(&fault), "{fault}: {shown:?}");
    world.root(&["stop", &app]).success();
    assert!(!process::is_alive(daemon));
    drop(stranger.stdin.take());
    drop(first.stdin.take());
}

/// A machine without /run/polycgi, with a service that has a /tmp of its own and the name of a web server.
struct Alone {
    machine: Machine,
    /// The service's process.
    server: String,
}

const APP: &str = "/usr/lib/cgi-bin/app.cgi";
const AS_NEWS: &str = "setpriv --reuid=news --regid=news --clear-groups --reset-env -- polycgi";

impl Alone {
    fn new() -> Option<Self> {
        let machine = Machine::boot()?;
        machine.install_polycgi();
        let module = "def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'page']
";
        machine.put("/srv/app/hello.py", module, 0o644);
        let app = "#!/usr/local/bin/polycgi -\nwsgi = hello:application\ndirectory = /srv/app\n";
        machine.put(APP, app, 0o755);
        // With /run/polycgi no place lies in /tmp.
        let server = "rm -r /run/polycgi; cp /bin/sleep /srv/apache2
            systemd-run --quiet --unit=web --service-type=exec --uid=news --property=PrivateTmp=yes /srv/apache2 infinity
            systemctl show --property=MainPID --value web";
        let server = machine.run(server).success().trim_end().to_owned();
        Some(Self { machine, server })
    }

    /// `polycgi`, as the service's user outside of the private /tmp.
    #[track_caller]
    fn polycgi(&self, words: &str) -> Output {
        self.machine.run(&format!("{AS_NEWS} {words}"))
    }

    /// The same in there.
    #[track_caller]
    fn inside(&self, words: &str) -> Output {
        let enter = format!("nsenter --target {} --mount -- ", self.server);
        self.machine.run(&format!("{enter}{AS_NEWS} {words}"))
    }
}

#[test]
fn check_and_start_say_that_the_web_server_sees_another_tmp() {
    let Some(alone) = Alone::new() else { return };
    let pid = &alone.server;
    let said = format!("the web server, pid {pid}, has a /tmp of its own (PrivateTmp");
    let output = alone.polycgi(&format!("check {APP}"));
    assert_code(&output, 0, &said);
    assert_code(&output, 0, "install -d -m 1777 /run/polycgi");
    let output = alone.polycgi(&format!("start {APP}"));
    assert_code(&output, 0, &said);
    let advice = format!("nsenter -t {pid} -m polycgi start {APP}");
    assert_code(&output, 0, &advice);
    alone.polycgi(&format!("stop {APP}")).success();
    // In the web server's own view there is nothing to say.
    let output = alone.inside(&format!("check {APP}"));
    assert_code(&output, 0, "nothing wrong found");
}

#[test]
fn status_lists_what_runs_in_a_web_servers_private_tmp() {
    let Some(alone) = Alone::new() else { return };
    let nothing = "no app of user news has run here\n";
    assert_eq!(alone.polycgi("status").success(), nothing);
    alone.inside(&format!("start {APP}")).success();
    let up = format!("{APP}: up (pid ");
    let all = alone.polycgi("status").success();
    assert!(all.starts_with(&up), "{all}");
    assert_eq!(all.lines().count(), 1, "{all}");
    let all = alone.machine.run("polycgi status").success();
    assert!(all.contains(&format!("news: {up}")), "{all}");
    alone.polycgi("reload").success();
    let shown = alone.polycgi(&format!("status --json {APP}")).success();
    assert!(daemon::json(&shown).contains(&"generation = 2".to_owned()));
    alone.polycgi(&format!("stop {APP}")).success();
    // The web server of this test lets its user look; one that root has started does not.
    let down = format!("{APP}: down\n");
    assert_eq!(alone.polycgi("status").success(), down);
}

/// With /run/polycgi nothing of this is needed.
#[test]
fn a_place_in_run_is_seen_from_both_sides() {
    let Some(world) = World::new() else { return };
    world.make_run();
    let private = world.private_tmp();
    let (app, daemon) = started(&world, &private);
    assert!(world.at("/run/polycgi/33").exists());
    let shown = status(&world, &app);
    assert!(shown.contains(&format!("pid = {daemon}")), "{shown:?}");
    let all = world.root(&["status"]).success();
    assert_eq!(all.lines().count(), 1, "one place: {all}");
    assert_code(&world.root(&["check", &app]), 0, "nothing wrong found");
    world.root(&["stop", &app]).success();
}

/// What other users make in views of their own is not looked at, and what is there has to be proved all the same.
#[test]
fn a_squat_in_another_view_is_no_place() {
    let Some(world) = World::new() else { return };
    let private = world.private_tmp();
    let (app, daemon) = started(&world, &private);
    // The name is taken by www-data's own process, bound to another path: it is not the app's daemon.
    let name = {
        let shown = run(private.command(0, "/bin/ls").arg("/tmp/polycgi-33"), b"");
        shown.success().trim().to_owned()
    };
    daemon::with_its_children(daemon, || {
        private.polycgi(WWW_DATA, &["stop", &app]).success();
    });
    let socket = format!("/tmp/polycgi-33/{name}/sock");
    const LIAR: &str = "import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind('/tmp/liar')
listener.listen()
os.symlink('/tmp/liar', sys.argv[1])
print(flush=True)
sys.stdin.read()";
    let mut liar = private.command(WWW_DATA, "/usr/bin/python3");
    let mut liar = Piped::start(liar.args(["-c", LIAR, &socket]));
    let mut said = Vec::new();
    assert!(liar.stdout.more(Deadline::soon(), &mut said));
    for uid in [0, WWW_DATA] {
        let shown = world.polycgi(uid, &["status", &app]).success();
        assert!(shown.contains(": down"), "{shown}");
        assert_eq!(world.polycgi(uid, &["reload", &app]).stderr, "");
    }
    // The app's own daemon in a folder that others may enter: this is no place.
    drop(liar);
    private.polycgi(WWW_DATA, &["start", &app]).success();
    let daemon = world.dir.daemon();
    let chmod = |mode| {
        run(
            private
                .command(0, "/bin/chmod")
                .args([mode, "/tmp/polycgi-33"]),
            b"",
        )
    };
    for (mode, state) in [("755", ": down"), ("700", ": up")] {
        chmod(mode).success();
        let shown = world.root(&["status", &app]).success();
        assert!(shown.contains(state), "{mode}: {shown}");
    }
    daemon::with_its_children(daemon, || {
        world.root(&["stop", &app]).success();
    });
}
