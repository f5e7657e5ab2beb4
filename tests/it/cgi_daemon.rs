//! A CGI program under the daemon: what it is given, what becomes of its response, and that neither it nor its client
//! sees a difference to a plain CGI.

use super::util::patient::PatientWrite;
use super::util::process::is_alive;
use super::util::served::{assert_same, blocks, cgi_app_file, noise};
use super::util::{Deadline, Dir, LONG_QUEUE, Mpm, Served, Site, cgi, digest, under_both};

under_both!(
    the_environment_is_that_of_a_plain_cgi
    bodies
    responses
    heads_that_are_passed_on
    heads_that_are_none
    a_crash_after_some_bytes_is_a_cut
    what_it_says_beside
    an_unread_body_and_an_answer
    a_helper_of_a_post_delays_no_response
);

/// Sizes of message-bodies: none, one byte, the most that is kept in memory, one byte more, and far more.
const SIZES: [usize; 5] = [0, 1, 65_536, 65_537, 5_000_000];

fn site(mpm: Mpm, config: &str) -> Site {
    let site = Site::bare(mpm, 16);
    cgi_app_file(&site.dir, config);
    site
}

fn the_environment_is_that_of_a_plain_cgi(mpm: Mpm) {
    let site = Site::bare(mpm, 16);
    let target = "/environ?a=b%20c&d";
    let fields = [("X-Odd", "a=b, c"), ("Cookie", "x=y")];
    let fields = [&fields[..], &[("Proxy", "http://evil.example")]].concat();
    let mut seen = Vec::new();
    for mode in ["cgi", "daemon"] {
        let command = "cgi = /usr/bin/python3 -S cgiapp.py";
        let own = format!("{command}\nmode = {mode}\nenv.A_KEY = x y\n");
        site.dir.app_file("app", &own);
        for body in [None, Some(&b"body"[..])] {
            let method = if body.is_some() { "POST" } else { "GET" };
            let reply = site.send(method, target, &fields, body);
            let is_own =
                |line: &&str| !line.starts_with("REMOTE_PORT=") && !line.starts_with("UNIQUE_ID=");
            let text = reply.ok();
            seen.push(
                text.lines()
                    .filter(is_own)
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            );
        }
    }
    assert_eq!(site.dir.all_daemons().len(), 1, "the second was a daemon's");
    assert_eq!(seen[0], seen[2]);
    assert_eq!(seen[1], seen[3]);
    for line in [
        "A_KEY=x y",
        "GATEWAY_INTERFACE=CGI/1.1",
        "HTTP_X_ODD=a=b, c",
        "QUERY_STRING=a=b%20c&d",
    ] {
        assert!(
            seen[2].iter().any(|seen| seen == line),
            "{line}: {:?}",
            seen[2]
        );
    }
    assert!(seen[3].contains(&"CONTENT_LENGTH=4".to_owned()));
    for name in ["POLYCGI", "SCGI", "HTTP_PROXY"] {
        let start = format!("{name}=");
        assert!(
            !seen[2].iter().any(|line| line.starts_with(&start)),
            "{name}"
        );
    }
    assert!(
        !seen[2]
            .iter()
            .any(|line| line.starts_with("CONTENT_LENGTH="))
    );
}

fn bodies(mpm: Mpm) {
    let site = site(mpm, "");
    for size in SIZES {
        let body = noise(size);
        let expected = format!("{} {size}\n", digest(&body));
        for target in ["/digest", "/digest?to=end"] {
            let reply = site.send("POST", target, &[], Some(&body));
            assert_eq!(reply.ok(), expected, "{size} {target}");
        }
    }
    assert_eq!(
        site.get("/digest?to=end").ok(),
        format!("{} 0\n", digest(b""))
    );
}

fn responses(mpm: Mpm) {
    let site = site(mpm, "");
    for size in [0, 1, 65_536, 50_000_000] {
        let reply = site.get(&format!("/big?size={size}"));
        assert_eq!(reply.status(), 200);
        assert_same(&reply.body, &blocks(size));
    }
    let head = site.send("HEAD", "/hello", &[], None);
    assert_eq!((head.status(), head.body.len()), (200, 0));
}

/// Byte for byte: only the web server interprets them.
fn heads_that_are_passed_on(mpm: Mpm) {
    let site = site(mpm, "");
    let raw = |say: &str| site.get(&format!("/raw?say={say}"));
    let teapot = raw("Status:%20418%20I%20am%20one%0AX-A:%20b%0A%0Ashort");
    assert_eq!((teapot.status(), teapot.text().as_str()), (418, "short"));
    assert_eq!(teapot.field("X-A"), Some("b"));
    let elsewhere = raw("Location:%20http://elsewhere.example/%0D%0A%0D%0A");
    assert_eq!(elsewhere.status(), 302);
    assert_eq!(
        elsewhere.field("Location"),
        Some("http://elsewhere.example/")
    );
    // A local redirect (RFC 3875 6.2.2): the web server answers with that path.
    assert!(
        raw("Location:%20/cgi-bin/app/hello%0A%0A")
            .ok()
            .starts_with("hello from ")
    );
}

fn heads_that_are_none(mpm: Mpm) {
    let mut site = site(mpm, "");
    for (target, said) in [
        (
            "/raw?say=HTTP/1.1%20200%20OK%0D%0AContent-Type:%20a/b%0D%0A%0D%0Ax",
            "nph-",
        ),
        ("/raw?say=%3Chtml%3E%0A", "no colon; it began: <html>"),
        (
            "/raw?say=Content-Type:%20a/b%0A",
            "ended before the head of its response was whole: exit status 0",
        ),
        (
            "/raw?say=&status=3",
            "ended without an answer: exit status 3",
        ),
        ("/crash?by=11", "ended without an answer: SIGSEGV"),
    ] {
        let reply = site.get(target);
        assert_eq!(reply.status(), 502, "{target}");
        assert!(reply.text().starts_with("502 "), "{}", reply.text());
        site.logged(said);
    }
    let log = site.log();
    assert_eq!(log.matches("polycgi: scgi-daemon: ").count(), 5, "{log}");
    assert_eq!(log.matches("last words").count(), 1, "{log}");
}

fn a_crash_after_some_bytes_is_a_cut(mpm: Mpm) {
    let mut site = site(mpm, "");
    let reply = site.get("/crash?by=9&size=100000");
    assert_eq!(reply.status(), 200);
    assert_same(&reply.body, &blocks(100_000));
    let log = site.log();
    assert!(
        log.contains("ended by SIGKILL after it had begun to answer"),
        "{log}"
    );
}

fn what_it_says_beside(mpm: Mpm) {
    let mut site = site(mpm, "max-procs = 2\n");
    for _ in 0..3 {
        assert_eq!(site.get("/noise").ok(), "noisy\n");
    }
    site.get("/hello").ok();
    let (log, own) = (site.log(), site.dir.daemon_log());
    for noise in ["noise of stderr", "noise of the end"] {
        assert_eq!(log.matches(noise).count(), 3, "{log}");
    }
    assert!(!own.contains("noise"), "{own}");
}

/// A web server may read nothing of the response before it has sent all of the body.
fn an_unread_body_and_an_answer(mpm: Mpm) {
    let site = site(mpm, "");
    for (body, size) in [(4, 0), (4, 200_000), (1_000_000, 0), (1_000_000, 200_000)] {
        let reply = site.send(
            "POST",
            &format!("/big?size={size}"),
            &[],
            Some(&noise(body)),
        );
        assert_eq!(reply.status(), 200);
        assert_same(&reply.body, &blocks(size));
    }
}

/// A background process holds the program's input open too, which may be the web server's own socket.
fn a_helper_of_a_post_delays_no_response(mpm: Mpm) {
    let site = site(mpm, "max-procs = 1\n");
    let mut gate = site.dir.gate("gate");
    for size in [0, 5, 100_000] {
        let body = noise(size);
        let reply = site.send("POST", "/leaves-helper?gate=gate", &[], Some(&body));
        assert_eq!(reply.ok(), "left it\n", "{size}");
        assert!(is_alive(gate.entered()));
        gate.open(1);
    }
}

/// A plain SCGI client's connection can't be the program's input: it has no end behind the body.
#[test]
fn bodies_of_plain_clients() {
    let served = Served::cgi("");
    for size in SIZES {
        let body = noise(size);
        let expected = format!("{} {size}\n", digest(&body));
        for target in ["/digest", "/digest?to=end"] {
            let mut at_once = served.plain_posting(target, size);
            assert_eq!(at_once.send(&body).reply().ok(), expected, "{size}");
            let mut ends = served.plain_posting(target, size);
            assert_eq!(ends.send(&body).end().reply().ok(), expected, "{size}");
        }
        let mut unread = served.plain_posting("/big?size=200000", size);
        assert_same(&unread.send(&body).reply().body, &blocks(200_000));
    }
    served.is_well();
}

/// Byte by byte at first, and then faster than the program reads.
#[test]
fn a_body_that_comes_in_pieces() {
    let served = Served::cgi("");
    let body = noise(3_000_000);
    let expected = format!("{} {}\n", digest(&body), body.len());
    let mut front = served.posting("/digest?to=end", body.len());
    for byte in &body[..20] {
        front.stdin().give(&[*byte]);
    }
    front.stdin().give(&body[20..]);
    let (response, words, _) = front.end();
    assert!(
        String::from_utf8_lossy(&response).ends_with(&expected),
        "{words}"
    );
    served.is_well();
}

#[test]
fn it_is_a_process_as_a_web_server_starts_one() {
    let served = Served::cgi("");
    let found = served.get("/process").ok();
    let apps = served.dir.join("apps");
    let expected = [
        &format!("cwd {}", apps.display()),
        "leader True",
        "fds 0 1 2",
        "odd signals []",
        "blocked []",
        "oom 500",
    ];
    for line in expected {
        assert!(found.lines().any(|found| found == line), "{line}: {found}");
    }
    // The limit of descriptors is the front's and not the daemon's.
    let mode = "cgi = /usr/bin/python3 -S cgiapp.py\nmode = cgi\n";
    let dir = Dir::new();
    let plain = cgi::start_front(&dir.app_file("app", mode), "/process");
    let plain = plain.end().response().ok();
    let nofile = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("nofile "))
            .map(str::to_owned)
    };
    assert_eq!(nofile(&found), nofile(&plain));
}

/// Only meta-variables are taken from a plain client; the rest of the environment is the host's.
#[test]
fn the_environment_of_a_plain_client_s_request() {
    let served = Served::cgi("env.A_KEY = x\n");
    let seen = served.plain("/environ").reply().ok();
    let has = |line: &str| seen.lines().any(|seen| seen == line);
    assert!(
        has("A_KEY=x") && has("GATEWAY_INTERFACE=CGI/1.1") && has("PATH_INFO=/environ"),
        "{seen}"
    );
    assert!(has("CONTENT_LENGTH=0"), "{seen}");
    let starts = |start: &str| seen.lines().any(|seen| seen.starts_with(start));
    assert!(starts("PATH=") && starts("LANG="), "{seen}");
    assert!(!starts("SCGI=") && !starts("POLYCGI="), "{seen}");
}

/// A background process of the program goes on and delays no response, whatever it holds open.
#[test]
fn a_helper_delays_no_response() {
    let served = Served::cgi("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    for _ in 0..3 {
        assert_eq!(served.get("/leaves-helper?gate=gate").ok(), "left it\n");
        let helper = gate.entered();
        assert_eq!(
            served.plain("/leaves-helper?gate=gate").reply().ok(),
            "left it\n"
        );
        let other = gate.entered();
        served.hello();
        assert!(is_alive(helper) && is_alive(other));
        gate.open(2);
        assert!(Deadline::soon().ended(helper) && Deadline::soon().ended(other));
    }
    assert_eq!(served.dir.lines("marks"), ["helper"; 6]);
    served.is_well();
}

/// The response ends with the program's output. The program counts against the limit for as long as it runs.
#[test]
fn a_program_that_ends_its_output_goes_on() {
    let served = Served::cgi(&format!("{LONG_QUEUE}max-procs = 1\n"));
    let mut gate = served.dir.gate("gate");
    assert_eq!(served.get("/ends-output?gate=gate").ok(), "that is all\n");
    gate.entered();
    let waits = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    gate.open(1);
    let (response, _, _) = waits.end();
    assert!(String::from_utf8_lossy(&response).contains("hello from "));
    assert_eq!(served.dir.lines("marks"), ["went on"]);
    served.is_well();
}

/// A program that can't be run is a 500 with a reason in the log; it is run as soon as it can be.
#[test]
fn a_program_that_is_not_there() {
    let served = Served::cgi("show-errors = on\n");
    let file = |text: &str, mode| served.dir.file("apps/cgiapp.new", text, mode);
    let command = |command: &str| {
        let own = format!("cgi = {command}\nmode = daemon\nshow-errors = on\n");
        served.dir.app_file("app", &own);
    };
    file("#!/bin/sh\nprintf 'Status: 200\\n\\nnew\\n'\n", 0o755);
    command("./cgiapp.new");
    served.dir.polycgi(&["reload"]).success();
    let front = |target| {
        let (response, words, _) = served.front(target).end();
        (String::from_utf8_lossy(&response).into_owned(), words)
    };
    assert!(front("/").0.ends_with("new\n"));
    for (text, mode, errno) in [
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("#!/no/such/shell\n", 0o755, "No such file or directory"),
        ("neither\0script nor program", 0o755, "Exec format error"),
    ] {
        file(text, mode);
        let (response, words) = front("/");
        assert!(response.starts_with("Status: 500 "), "{errno}: {response}");
        assert!(
            words.contains("cgiapp.new: ") && words.contains(errno),
            "{words}"
        );
        assert!(response.contains(errno), "shown: {response}");
    }
    // A configuration that can't be run does not come into force.
    file("#!/bin/sh\nprintf 'Status: 200\\n\\nold\\n'\n", 0o755);
    command("./no-such-program");
    served.dir.polycgi(&["reload"]);
    assert!(front("/").0.ends_with("old\n"));
    assert!(
        served
            .dir
            .daemon_log()
            .contains("the old configuration goes on")
    );
    command("/usr/bin/python3 -S cgiapp.py");
    served.dir.polycgi(&["reload"]).success();
    served.is_well();
}

/// The next request runs the new program, and finds the new environment.
#[test]
fn edits_come_into_force_with_the_next_request() {
    let dir = Dir::new();
    dir.file("apps/env", "A=1\n", 0o600);
    let served = Served::cgi_in_dir(dir, "env-file = env\n");
    let file = |name: &str, text: &str| served.dir.file(&format!("apps/{name}"), text, 0o600);
    let value = || {
        let seen = served.get("/environ").ok();
        let line = seen.lines().find(|line| line.starts_with("A="));
        line.map(str::to_owned)
    };
    assert_eq!(value().as_deref(), Some("A=1"));
    file("env", "A=2\n");
    assert_eq!(value().as_deref(), Some("A=2"));
    file(
        "cgiapp.py",
        "print('Content-Type: text/plain\\r\\n\\r\\nedited')\n",
    );
    assert_eq!(served.get("/").ok(), "edited\n");
    assert_eq!(served.dir.daemon(), served.daemon);
}
