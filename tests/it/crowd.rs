//! Two hundred requests at the same instant, and no daemon: there must be one daemon ever, and one right answer for
//! each.

use super::util::{Conversation, Dir, Mpm, Running, Site, as_user, cgi, daemon, under_both};

const CROWD: usize = 200;

under_both!(a_crowd_of_clients);

fn config(mode: &str) -> String {
    format!("wsgi = testapp:application\nmode = {mode}\nqueue-size = {CROWD}\n")
}

fn target(number: usize) -> String {
    format!("/mark?name={number}")
}

fn a_crowd_of_clients(mpm: Mpm) {
    let site = Site::configured(mpm, 256, &config("auto"));
    let begin = |number| {
        let target = format!("/cgi-bin/app{}", target(number));
        Conversation::begin(site.server.address(), "GET", &target, &[], None)
    };
    let mut crowd: Vec<_> = (0..CROWD).map(begin).collect();
    assert!(site.dir.processes_of_apps().is_empty(), "nothing has begun");
    for client in &mut crowd {
        client.release();
    }
    let replies = crowd.into_iter().map(|client| client.reply().ok());
    assert_one_daemon(&site.dir, &replies.collect::<Vec<_>>());
}

#[test]
fn a_crowd_of_fronts() {
    crowd_of_fronts("auto");
}

/// While the daemon starts, requests wait for it: none runs as a CGI.
#[test]
fn a_crowd_that_must_have_a_daemon() {
    let ways = crowd_of_fronts("daemon");
    assert!(
        ways.iter().all(|line| line.ends_with(" daemon")),
        "{ways:?}"
    );
}

/// Fronts that run at the same time, without a web server, which would start them one by one. What the application
/// has noted.
#[track_caller]
fn crowd_of_fronts(mode: &str) -> Vec<String> {
    let dir = Dir::new();
    let app = dir.app_file("app", &config(mode));
    let mut barrier = dir.gate("barrier");
    let wait = r#"echo $$ >"$1/barrier.entered"; read line <"$1/barrier.go"; exec "$0""#;
    let start = |number| {
        let mut command = as_user("/bin/sh");
        command.args(["-c", wait]).arg(&app).arg(dir.join("apps"));
        command.envs(cgi::meta("GET", &target(number), &[]));
        Running::start(&mut command, b"")
    };
    let crowd: Vec<Running> = (0..CROWD).map(start).collect();
    for _ in 0..CROWD {
        barrier.entered();
    }
    assert!(dir.daemons().is_empty(), "nothing has begun");
    barrier.open(CROWD);
    let replies = crowd.into_iter().map(|front| front.end().response().ok());
    assert_one_daemon(&dir, &replies.collect::<Vec<_>>());
    dir.lines("marks")
}

#[track_caller]
fn assert_one_daemon(dir: &Dir, replies: &[String]) {
    for (number, reply) in replies.iter().enumerate() {
        let ways = ["cgi", "daemon"].map(|way| format!("{number} {way}\n"));
        assert!(ways.contains(reply), "{number}: {reply}");
    }
    let serving = dir.daemon();
    assert_eq!(dir.starts(), 1, "{}", dir.daemon_log());
    daemon::with_its_children(serving, || {
        dir.polycgi(&["stop"]).success();
    });
    // Each request was run once, by a CGI or by the daemon.
    let mut run = dir.lines("marks");
    let mut answered: Vec<&str> = replies.iter().map(|reply| reply.trim_end()).collect();
    run.sort();
    answered.sort_unstable();
    assert_eq!(run, answered);
    let by_the_daemon = run.iter().filter(|line| line.ends_with(" daemon")).count();
    assert!(
        by_the_daemon > CROWD / 2,
        "a quiet app's few CGIs are no crowd: {by_the_daemon}"
    );
}
