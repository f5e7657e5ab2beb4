//! Clients that are gone: a request that waits is dropped, an app that runs is told, and no other request notices.

use std::io::{PipeWriter, pipe};
use std::path::Path;
use std::process::{Child, Stdio};

use super::util::patient::PatientRead;
use super::util::process::{is_alive, kill_at_once};
use super::util::{Deadline, Dir, LONG_QUEUE, Mpm, Served, Site, Watch, cgi, served, under_both};

under_both!(the_application_hears_of_an_abort);

/// The mark that `/endless` leaves when its response is closed; without that it goes on for ten seconds.
#[track_caller]
fn until_marked(dir: &Dir) -> Vec<String> {
    let mut watch = Watch::on(&dir.join("apps"));
    assert!(
        watch.until(Deadline::soon(), || !dir.lines("marks").is_empty()),
        "close() was not called"
    );
    dir.lines("marks")
}

/// A front for `/endless` that writes to this pipe. No other copy of it is left here.
#[track_caller]
fn writing_to(pipe: PipeWriter, app: &Path) -> Child {
    cgi::front(app, "GET", "/endless?gate=gate", &[])
        .stdin(Stdio::null())
        .stdout(pipe)
        .stderr(Stdio::null())
        .spawn()
        .expect("a front can be run")
}

/// The web server finds out when it writes to the client, and ends the front.
fn the_application_hears_of_an_abort(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    served::app_file(&site.dir, "max-procs = 1\n");
    let mut gate = site.dir.gate("gate");
    let mut client = site.open("GET", "/endless?gate=gate", &[], None);
    let worker = gate.entered();
    let serving = site.dir.daemon();
    assert_eq!(client.head().status, 200);
    assert!(client.piece().is_some(), "it has begun");
    drop(client);
    assert_eq!(until_marked(&site.dir), ["gate closed"]);
    // The worker stays, and nothing is logged.
    assert_eq!(site.get("/hello").ok(), format!("hello from {worker}\n"));
    assert_eq!(site.dir.daemon(), serving);
    site.dir.until_status_has("queue = 0");
    let log = site.log();
    assert!(
        !log.contains("Traceback") && !log.contains("polycgi"),
        "{log}"
    );
}

/// The same application with a client that stays, which gets all of the response.
#[test]
fn a_client_that_stays_hears_the_end() {
    let served = Served::start("");
    let mut gate = served.dir.gate("gate");
    let mut front = served.front("/endless?gate=gate");
    gate.entered();
    front.stdout.response_head();
    assert_eq!(front.stdout.exactly(16), b"0000001\n0000002\n");
    let read = front.stdout.to_the_end();
    assert!(read.ends_with(b"0000500\n"), "{} bytes", read.len());
    assert_eq!(until_marked(&served.dir), ["gate exhausted"]);
}

/// The front is gone, the pipe still has a reader: no EPIPE would show that the client is gone.
#[test]
fn a_killed_front_is_a_gone_client() {
    let served = Served::start("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    let mut front = served.front("/endless?gate=gate");
    let worker = gate.entered();
    front.stdout.response_head();
    kill_at_once(front.pid());
    assert_eq!(until_marked(&served.dir), ["gate closed"]);
    let read = front.stdout.to_the_end();
    assert!(read.len() < 4_000, "it is all there: {}", read.len());
    assert_eq!(served.hello(), worker);
    served.is_well();
}

/// The web server closes the response; the front lives.
#[test]
fn a_closed_pipe_is_a_gone_client() {
    let served = Served::start("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    let (read, write) = pipe().expect("a pipe can be made");
    let mut front = writing_to(write, &served.app);
    let worker = gate.entered();
    drop(read);
    assert_eq!(until_marked(&served.dir), ["gate closed"]);
    assert!(Deadline::soon().ended(front.id().cast_signed()));
    front.wait().expect("a child can be waited for");
    assert_eq!(served.hello(), worker);
    served.is_well();
}

#[test]
fn a_plain_client_that_hangs_up_is_gone() {
    let served = Served::start("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    let mut client = served.plain("/endless?gate=gate");
    let worker = gate.entered();
    client.stream().response_head();
    drop(client);
    assert_eq!(until_marked(&served.dir), ["gate closed"]);
    assert_eq!(served.hello(), worker);
    served.is_well();
}

/// The rest of its response is in the spool, and is dropped.
#[test]
fn a_slow_client_that_goes_away_leaves_no_spool() {
    let served = Served::start("max-procs = 2\n");
    let mut gate = served.dir.gate("gate");
    let target = "/burst?size=3000000&gate=gate";
    let front = served.front(target);
    let plain = served.plain(target);
    let workers = [gate.entered(), gate.entered()];
    served.until_spooled("two spools", |files| {
        files.len() == 2 && files.iter().all(|size| *size > 2_000_000)
    });
    drop(front);
    drop(plain);
    served.until_spooled("all is given back", <[u64]>::is_empty);
    assert!(
        workers.iter().all(|pid| is_alive(*pid)),
        "still at the gate"
    );
    gate.open(2);
    served.is_well();
}

/// A request whose client goes while it waits in the queue is never run.
#[test]
fn a_client_that_goes_while_it_waits_is_dropped() {
    let served = Served::start(&format!("{LONG_QUEUE}max-procs = 1\n"));
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let front = served.front("/mark?name=front");
    let plain = served.plain("/mark?name=plain");
    served.dir.until_status_has("queue = 2");
    drop(front);
    served.dir.until_status_has("queue = 1");
    drop(plain);
    served.dir.until_status_has("queue = 0");
    gate.open(1);
    let (response, _, _) = held.end();
    assert!(response.starts_with(b"Status: 200 "));
    assert_eq!(served.get("/mark?name=after").ok(), "after daemon\n");
    assert_eq!(served.dir.lines("marks"), ["after daemon"]);
    served.is_well();
}

/// A plain CGI learns the same from its pipe.
#[test]
fn a_cgi_hears_of_it_too() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = faultapp:application\nmode = cgi\n");
    let mut gate = dir.gate("gate");
    let (read, write) = pipe().expect("a pipe can be made");
    let mut script = writing_to(write, &app);
    let pid = gate.entered();
    assert_eq!(pid, script.id().cast_signed());
    drop(read);
    assert_eq!(until_marked(&dir), ["gate closed"]);
    assert!(Deadline::soon().ended(pid));
    script.wait().expect("a child can be waited for");
}
