//! Message-bodies that come in chunks, and so without a length: in every way the app gets all of the body and its
//! length, or the client gets a page that says why not.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::util::process::files_of;
use super::util::scgi::{ScgiClient, netstring};
use super::util::served::noise;
use super::util::{
    Chunked, Deadline, Dir, Hosted, Mode, Mpm, Piped, Reply, Served, Site, SmallDisk, WebServer,
    cgi, digest, installed, pause, run, under_both,
};

under_both!(a_body_arrives_whole a_cgi_program_has_it_as_a_file too_large too_slow a_full_disk cut_in_a_chunk refused_at_once);

/// A name, the program of the `#!` line, lines of the app file.
type Way = (&'static str, &'static str, &'static str);

const AS_A_CGI: [Way; 2] = [
    ("plain CGI", "polycgi", "mode = cgi"),
    ("app-cgi", "app-cgi", ""),
];
const BY_A_DAEMON: [Way; 3] = [
    ("staying", "polycgi", "mode = daemon\nhandoff = stay"),
    ("leaving", "polycgi", "mode = daemon\nhandoff = exit"),
    ("relay", "polycgi", "mode = daemon\nhandoff = relay"),
];
const APP: &str = "wsgi = testapp:application\n";

fn ways() -> impl Iterator<Item = Way> {
    AS_A_CGI.into_iter().chain(BY_A_DAEMON)
}

/// Has the app served in that way, with more lines in its file.
fn serve(site: &Site, (_, program, lines): Way, app: &str, more: &str) {
    let spool = site.dir.join("spool");
    if !spool.exists() {
        site.dir.folder("spool", 0o700);
    }
    let file = site.dir.app_file(
        "app",
        &format!("{app}{lines}\nspool-dir = {}\n{more}", spool.display()),
    );
    let text = fs::read_to_string(file).expect("an app file can be read");
    let (first, rest) = text.split_once('\n').expect("it has lines");
    let named = first.replace("/polycgi -", &format!("/{program} -"));
    assert!(installed(program).exists());
    site.dir
        .file("cgi-bin/app", &format!("{named}\n{rest}"), 0o755);
}

/// The web server with that app.
fn site(mpm: Mpm, way: Way, more: &str) -> Site {
    let site = Site::bare(mpm, 16);
    serve(&site, way, APP, more);
    site
}

#[track_caller]
fn post(site: &Site, target: &str) -> Chunked {
    Chunked::post(site.server.address(), &format!("/cgi-bin/app{target}"))
}

/// Waits until the operator has been told. A front that relays has passed no way to its web server's log.
#[track_caller]
fn told(site: &mut Site, way: Way, sentence: &str) {
    if way.0 == "relay" {
        site.dir
            .until_status(sentence, |_| site.dir.daemon_log().contains(sentence));
    } else {
        site.logged(sentence);
    }
}

fn said(body: &[u8]) -> String {
    format!("{} {}\n", digest(body), body.len())
}

#[track_caller]
fn assert_told_to_come_again(reply: &Reply, name: &str) {
    assert_eq!(reply.status(), 503, "{name}: {}", reply.text());
    assert!(reply.field("Retry-After").is_some(), "{name}");
}

fn a_body_arrives_whole(mpm: Mpm) {
    let body = noise(50_000_000);
    for way in ways() {
        let site = site(mpm, way, "");
        for size in [0, 1, 65_536, 70_000, 5_000_000, body.len()] {
            let reply = post(&site, "/digest").whole(&body[..size]);
            assert_eq!(reply.ok(), said(&body[..size]), "{way:?}");
        }
        let dump = post(&site, "/dump").whole(&body[..70_000]).ok();
        for line in [
            r#"["CONTENT_LENGTH", "70000"]"#,
            r#"["wsgi.input_terminated", true]"#,
        ] {
            assert!(dump.lines().any(|l| l == line), "{way:?}: {line} in {dump}");
        }
        assert!(!dump.contains("TRANSFER_ENCODING"), "{way:?}: {dump}");
        let none = post(&site, "/dump").end().ok();
        assert!(none.contains(r#"["CONTENT_LENGTH", "0"]"#), "{way:?}");
        if way.2.contains("daemon") {
            let daemon = site.dir.daemon();
            let spool = site.dir.join("spool");
            let is_empty = |_: &[String]| files_of(daemon, &spool).is_empty();
            site.dir.until_status("all is given back", is_empty);
        }
    }
}

fn a_cgi_program_has_it_as_a_file(mpm: Mpm) {
    let body = noise(5_000_000);
    for way in ways() {
        let site = Site::bare(mpm, 16);
        let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nset -- $(sha256sum)\n\
                      echo $1 ${CONTENT_LENGTH-none} ${HTTP_TRANSFER_ENCODING-none}\n";
        site.dir.file("apps/sum", script, 0o755);
        serve(&site, way, "cgi = ./sum\n", "");
        for size in [0, 1, 70_000, body.len()] {
            let body = &body[..size];
            let expected = format!("{} {size} none\n", digest(body));
            assert_eq!(post(&site, "").whole(body).ok(), expected, "{way:?}");
            // A body with a length is passed on as it is.
            assert_eq!(site.send("POST", "", &[], Some(body)).ok(), expected);
        }
    }
}

fn too_large(mpm: Mpm) {
    const LIMIT: usize = 1 << 20;
    let body = noise(5_000_000);
    for way in ways() {
        let site = site(mpm, way, "body-limit = 1M\n");
        for size in [LIMIT, LIMIT + 1, body.len()] {
            let body = &body[..size];
            let status = if size > LIMIT { 413 } else { 200 };
            let reply = post(&site, "/digest").whole(body);
            assert_eq!(reply.status(), status, "{way:?} {}", reply.text());
            let reply = site.send("POST", "/digest", &[], Some(body));
            assert_eq!(reply.status(), status, "{way:?} with its length");
        }
        drop(site);

        let mut site = self::site(mpm, way, "spool-limit = 1M\n");
        for size in [LIMIT, LIMIT + 1, body.len(), 65_536] {
            let is_more = size > LIMIT;
            let reply = post(&site, "/digest").whole(&body[..size]);
            let status = if is_more { 413 } else { 200 };
            assert_eq!(reply.status(), status, "{way:?} {}", reply.text());
            if is_more {
                told(
                    &mut site,
                    way,
                    "the message-body is larger than spool-limit",
                );
            }
        }
    }
}

fn too_slow(mpm: Mpm) {
    for way in ways() {
        let mut site = site(mpm, way, "request-timeout = SECOND\n");
        // A body that moves is not late, however long it takes.
        let mut moves = post(&site, "/digest");
        for byte in 0..6 {
            moves.give(&[byte]);
            pause(Duration::from_millis(300));
        }
        assert_eq!(moves.end().ok(), said(&[0, 1, 2, 3, 4, 5]), "{way:?}");
        let mut stalls = post(&site, "/digest");
        stalls.give(&[7; 70_000]);
        let sentence = "the message-body did not come in time";
        if way.2.contains("daemon") {
            let is_told = |_: &[String]| site.dir.daemon_log().contains(sentence);
            site.dir.until_status(sentence, is_told);
        } else {
            // No wait, but a client that pauses for three times the limit: mod_cgi reads stderr only after the body.
            pause(3 * site.dir.second);
        }
        // Apache reads no response before it has all of the body.
        let reply = stalls.end();
        assert_eq!(reply.status(), 408, "{way:?}");
        assert!(reply.text().starts_with("408 Request Timeout"), "{way:?}");
        assert_eq!(site.get("/status/200").ok(), "status 200\n");
        told(&mut site, way, sentence);
    }
}

fn a_full_disk(mpm: Mpm) {
    let body = noise(5_000_000);
    for way in ways() {
        let mut site = site(mpm, way, "");
        let Some(disk) = SmallDisk::on(&site.dir.join("spool"), "2M") else {
            return;
        };
        let reply = post(&site, "/digest").whole(&body);
        assert_told_to_come_again(&reply, way.0);
        told(
            &mut site,
            way,
            "cannot keep the message-body: No space left on device",
        );
        // Bodies that fit are served: in memory, and on the disk.
        assert_eq!(
            post(&site, "/digest").whole(&body[..900_000]).ok(),
            said(&body[..900_000])
        );
        // The client has its response before the daemon closes the file, which gives the room back.
        until_none_has_files_in(&site, &site.dir.join("spool"));
        disk.fill();
        assert_eq!(
            post(&site, "/digest").whole(&body[..65_536]).ok(),
            said(&body[..65_536])
        );
        assert_told_to_come_again(&post(&site, "/digest").whole(&body[..65_537]), way.0);
        disk.clear();
    }
}

/// Waits until no process of the test has a file of that folder open, an unlinked one included.
#[track_caller]
fn until_none_has_files_in(site: &Site, folder: &Path) {
    let deadline = Deadline::soon();
    let has_some = || {
        let processes = site.dir.processes();
        processes
            .iter()
            .any(|process| !files_of(process.pid, folder).is_empty())
    };
    while has_some() {
        assert!(!deadline.left().is_zero(), "a file is still open");
        thread::yield_now();
    }
}

/// A client that has gone has not ended its body: no app runs with half of it.
fn cut_in_a_chunk(mpm: Mpm) {
    for way in ways() {
        let site = site(mpm, way, "log-level = debug\n");
        let is_daemon = way.2.contains("daemon");
        if is_daemon {
            assert_eq!(site.get("/status/200").ok(), "status 200\n");
        }
        let mut cut = post(&site, "/mark?name=cut");
        cut.give(&[7; 70_000]).give_half(b"half");
        if is_daemon {
            let (daemon, spool) = (site.dir.daemon(), site.dir.join("spool"));
            site.dir
                .until_status("it is being read", |_| files_of(daemon, &spool).len() == 1);
            drop(cut);
            site.dir.until_status("it is dropped", |_| {
                site.dir.daemon_log().contains("hung up: ") && files_of(daemon, &spool).is_empty()
            });
        } else {
            site.dir
                .until_status("it is being read", |_| !site.dir.fronts().is_empty());
            drop(cut);
            site.dir
                .until_status("it is dropped", |_| site.dir.processes_of_apps().is_empty());
        }
        post(&site, "/mark?name=whole").whole(&[7; 70_000]).ok();
        let way_said = if is_daemon { "daemon" } else { "cgi" };
        let marks = fs::read_to_string(site.dir.join("apps/marks")).expect("a mark is there");
        assert_eq!(marks, format!("whole {way_said}\n"), "{way:?}");
        let mut site = site;
        let log = site.log();
        assert!(!log.contains("polycgi"), "{way:?}: {log}");
    }
}

/// If the web server has put the body in a file, as lighttpd does, that file is used, from its offset on.
#[test]
fn a_body_in_a_file() {
    let served = Served::start("");
    let body = noise(300_000);
    let file = served.dir.join("body");
    fs::write(&file, &body).expect("a file can be written");
    let fields = [("Transfer-Encoding", "chunked")];
    let send = |app: &Path, skipped: usize| {
        let script = "exec <\"$1\"; head -c \"$2\" >/dev/null; exec \"$0\"";
        let mut shell = cgi::front("/bin/sh".as_ref(), "POST", "/digest", &fields);
        shell.args(["-c", script]).arg(app).arg(&file);
        let reply = run(shell.arg(skipped.to_string()), b"").response();
        assert_eq!(reply.ok(), said(&body[skipped..]), "{app:?}");
    };
    for skipped in [0, 1000, body.len()] {
        send(&served.app, skipped);
    }
    served.is_well();
    let text = fs::read_to_string(&served.app).expect("an app file can be read");
    let text = text.replace("mode = daemon", "mode = cgi");
    let plain = served.dir.file("cgi-bin/plain", &text, 0o755);
    for skipped in [0, 1000, body.len()] {
        send(&plain, skipped);
    }
}

/// A client that still sends its body sees the page.
fn refused_at_once(mpm: Mpm) {
    let body = noise(5_000_000);
    for (lines, status) in [("no-such-key = 1\n", 500), ("cgi-max = 0\n", 503)] {
        let mut site = site(mpm, AS_A_CGI[0], lines);
        let reply = post(&site, "/digest").whole(&body);
        assert_eq!(reply.status(), status, "{}", reply.text());
        assert_eq!(site.log().is_empty(), status == 503);
    }
}

/// Even for a fast upload the app starts after its end, since only then the length is known.
#[test]
fn a_fast_upload_does_not_go_before_its_end() {
    const SIZE: usize = 4 << 20;
    let served = Served::start("max-procs = 1\n");
    let body = noise(SIZE);
    let mut gate = served.dir.gate("gate");
    let target = "/gated-digest?gate=gate";
    let fields = [("Transfer-Encoding", "chunked")];
    let mut front = Piped::start(&mut cgi::front(&served.app, "POST", target, &fields));
    let meta = cgi::meta("POST", target, &fields);
    let meta = meta
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let first = [("CONTENT_LENGTH", ""), ("SCGI", "1")];
    let mut plain = ScgiClient::connect(&served.dir.socket());
    plain.send(&netstring(first.into_iter().chain(meta)));

    super::util::patient::PatientWrite::give(front.stdin(), &body);
    plain.send(&body);
    served.until_spooled("all of both", |files| files == [SIZE as u64; 2]);
    served.hello();
    assert!(!gate.was_entered(), "it went to the worker before its end");
    front.stdin = None;
    gate.entered();
    gate.open(1);
    let (response, words, status) = front.end();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
    assert!(response.ends_with(said(&body).as_bytes()));
    plain.end();
    gate.entered();
    gate.open(1);
    assert_eq!(plain.reply().ok(), said(&body));
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

/// Other bodies fill the spool: the client gets a 503, since that passes.
#[test]
fn a_spool_that_others_fill() {
    let mut site = site(Mpm::Event, BY_A_DAEMON[0], "spool-limit = 4M\n");
    let body = noise(3 << 20);
    site.get("/hello").ok();
    let daemon = site.dir.daemon();
    let mut first = post(&site, "/digest");
    first.give(&body);
    site.dir.until_status("it is kept", |_| {
        files_of(daemon, &site.dir.join("spool")) == [body.len() as u64]
    });
    let second = post(&site, "/digest").whole(&body);
    assert_told_to_come_again(&second, "the second");
    site.logged("cannot keep the message-body: spool-limit is reached");
    assert_eq!(first.end().ok(), said(&body));
    assert_eq!(post(&site, "/digest").whole(&body).ok(), said(&body));
}

/// busybox httpd passes the chunks on undecoded: no app sees them as its body.
#[test]
fn behind_busybox_they_are_refused() {
    for mode in [Mode::Cgi, Mode::Daemon] {
        for app in [APP, "cgi = ./sum\n"] {
            let dir = Dir::new();
            dir.file(
                "apps/sum",
                "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nwc -c\n",
                0o755,
            );
            let mut site = Hosted::in_dir(dir, WebServer::BusyboxCgi, mode, app, "");
            let address = site.server.address();
            let reply = Chunked::post(address, "/cgi-bin/app/digest").whole(b"hello");
            assert_eq!(reply.status(), 400, "{mode:?} {app}: {}", reply.text());
            site.logged("the message-body is in chunks, which the web server does not decode");
            assert_eq!(
                site.send("POST", "/digest", &[], Some(b"hello")).status(),
                200
            );
            site.log();
        }
    }
}
