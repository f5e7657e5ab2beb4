//! In which order a daemon serves what waits: a ticket of the waiting room before requests without one that came
//! earlier, few at once for a ticket; and what is no ticket, or none yet, is nothing. Tickets of any age are signed with
//! the keys of the app's place.

use super::tickets::{BROWSER, signed_as};
use super::util::scgi::{ScgiClient, header};
use super::util::{Dir, Gate, Hosted, Mode, Reply, WebServer};

/// One worker, and a place for each of six that wait.
const LIMITS: &str = "max-procs = 1\nqueue-size = 6\nqueue-target = 1h\nqueue-timeout = 1h\n";

/// A CGI program that does what the test application's `/hold` and `/mark` do.
const PROGRAM: &str = r#"#!/bin/sh
cd "${0%/*}"
printf 'Content-Type: text/plain\r\n\r\n'
case $QUERY_STRING in
gate=*) echo $$ >gate.entered; read line <gate.go ;;
name=*) echo "${QUERY_STRING#name=} daemon" >>marks ;;
esac
"#;

/// A way to the daemon.
enum Way {
    Plain(Dir),
    Web(Hosted),
}

/// A request that was sent, and its response to be read.
type Pending = Box<dyn FnOnce() -> Reply>;

impl Way {
    fn dir(&self) -> &Dir {
        match self {
            Way::Plain(dir) => dir,
            Way::Web(hosted) => &hosted.dir,
        }
    }

    /// GET of a browser with this cookie.
    fn ask(&self, target: &str, cookie: &str) -> Pending {
        let fields = [BROWSER, ("Cookie", cookie)];
        match self {
            Way::Plain(dir) => {
                let mut client = ScgiClient::connect(&dir.socket());
                client.send(&header("GET", target, &fields, 0));
                Box::new(move || client.reply())
            }
            Way::Web(hosted) => {
                let conversation = hosted.open("GET", target, &fields, None);
                Box::new(move || conversation.reply())
            }
        }
    }

    /// The only worker is held, and six wait: `/mark?name=0` is the first of them.
    fn fill(&self, gate: &mut Gate) -> Vec<Pending> {
        let mut all = vec![self.ask("/hold?gate=gate", "")];
        gate.entered();
        for number in 0..6 {
            all.push(self.ask(&format!("/mark?name={number}"), ""));
            let waiting = format!("queue = {}", number + 1);
            self.dir().until_status_has(&waiting);
        }
        all
    }
}

#[track_caller]
fn is_refused(pending: Pending) {
    let reply = pending();
    assert_eq!(reply.status(), 503, "{}", reply.text());
}

/// All of it, by one way.
#[track_caller]
fn served_in_order(way: &Way) {
    let dir = way.dir();
    let mut gate = dir.gate("gate");
    let mut all = way.fill(&mut gate);
    // The first refusal makes the keys.
    is_refused(way.ask("/mark?name=full", "a=b"));
    let sign = |id, age, retry_after| signed_as(dir, id, age, retry_after);
    let mut forged = sign(1, 60, 5);
    let last = forged.pop().expect("a value");
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for (what, cookie) in [
        ("early", sign(1, 60, 900)),
        ("expired", sign(1, 700, 5)),
        ("future", sign(1, -60, 5)),
        ("forged", forged),
        (
            "another-name",
            sign(1, 60, 5).replace("polycgi-ticket", "ticket"),
        ),
    ] {
        is_refused(way.ask(&format!("/mark?name={what}"), &cookie));
    }
    let (old, younger) = (sign(1, 60, 5), sign(1 << 40, 59, 5));
    // Each takes the place of the newest that has none.
    for number in 1..=4 {
        let due = way.ask(&format!("/mark?name=due{number}"), &old);
        is_refused(all.pop().expect("one more"));
        all.insert(0, due);
    }
    is_refused(way.ask("/mark?name=fifth", &old));
    // A younger one that was not used goes before the second of the other.
    let other = way.ask("/mark?name=other", &younger);
    is_refused(all.pop().expect("one more"));
    all.push(other);
    gate.open(1);
    for pending in all {
        pending().ok();
    }
    let order = ["due1", "other", "due2", "due3", "due4", "0"];
    let expected = order.map(|name| format!("{name} daemon"));
    assert_eq!(dir.lines("marks"), expected);
}

#[test]
fn a_ticket_goes_before_what_came_earlier_and_few_at_once() {
    let wsgi = format!("wsgi = testapp:application\n{LIMITS}");
    for kind in [WebServer::ApacheCgi, WebServer::NginxScgi] {
        served_in_order(&Way::Web(Hosted::configured(kind, Mode::Daemon, &wsgi, "")));
    }
    let dir = Dir::new();
    dir.app_file("app", &format!("mode = daemon\n{wsgi}"));
    dir.polycgi(&["start"]).success();
    served_in_order(&Way::Plain(dir));
}

/// Nor does it matter what kind of app it is.
#[test]
fn so_it_does_where_each_request_is_a_program() {
    let dir = Dir::new();
    dir.file("apps/program", PROGRAM, 0o755);
    let config = format!("cgi = {}\n{LIMITS}", dir.join("apps/program").display());
    let (kind, mode) = (WebServer::NginxScgi, Mode::Daemon);
    served_in_order(&Way::Web(Hosted::in_dir(dir, kind, mode, &config, "")));
}

/// With `waiting-room = off` a ticket of before is a cookie like any other.
#[test]
fn without_a_waiting_room_they_go_as_they_came() {
    let wsgi = format!("mode = daemon\nwsgi = testapp:application\n{LIMITS}");
    let dir = Dir::new();
    dir.app_file("app", &wsgi);
    dir.polycgi(&["start"]).success();
    let mut gate = dir.gate("gate");
    let way = Way::Plain(dir);
    let mut all = way.fill(&mut gate);
    is_refused(way.ask("/mark?name=full", ""));
    let due = signed_as(way.dir(), 1, 60, 5);
    gate.open(1);
    for pending in all.drain(..) {
        pending().ok();
    }
    way.dir().polycgi(&["stop"]).success();
    way.dir()
        .app_file("app", &format!("{wsgi}waiting-room = off\n"));
    way.dir().polycgi(&["start"]).success();
    let all = way.fill(&mut gate);
    is_refused(way.ask("/mark?name=due", &due));
    gate.open(1);
    for pending in all {
        pending().ok();
    }
    let expected = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5].map(|name| format!("{name} daemon"));
    assert_eq!(way.dir().lines("marks"), expected);
}
