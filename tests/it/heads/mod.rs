//! For every head that a program can write, a client gets the same from the daemon as from the program as a plain CGI:
//! heads of any kind, behind each web server, compared byte by byte.

mod answer;
mod chance;
mod corpus;
mod road;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::answer::Answer;
use self::chance::generated;
use self::corpus::{Case, fixed};
use self::road::{ALONE, Road};
use self::table::{Table, What};
use crate::util::{Dir, WebServer};

/// Requests at once, since programs and web servers wait most of the time.
const AT_ONCE: usize = 4;

#[test]
fn behind_apache_with_mod_cgi() {
    let cases = [fixed(), generated(500)].concat();
    let ways = ["stays", "relay", "exits", "links", "owned"];
    let road = Road::cgi("apache-cgi", WebServer::ApacheCgi, &ways, &cases);
    compared((&road, ALONE), (&road, "stays"), &cases, 1);
    for way in &ways[1..] {
        // The way differs, not the treatment of a head: some of the cases are enough.
        compared((&road, ALONE), (&road, way), &cases, 7);
    }
}

#[test]
fn behind_apache_with_mod_cgid() {
    let cases = [fixed(), generated(500)].concat();
    let road = Road::cgi("apache-cgi", WebServer::ApacheCgid, &["stays"], &cases);
    compared((&road, ALONE), (&road, "stays"), &cases, 3);
}

#[test]
fn behind_busybox() {
    by_cgi("busybox-cgi", WebServer::BusyboxCgi);
}

#[test]
fn behind_lighttpd_with_mod_cgi() {
    by_cgi("lighttpd-cgi", WebServer::LighttpdCgi);
}

#[test]
fn behind_nginx_with_fcgiwrap() {
    by_cgi("nginx-cgi", WebServer::NginxCgi);
}

#[test]
fn behind_apache_with_mod_proxy_scgi() {
    by_scgi("apache-scgi", WebServer::ApacheScgi);
}

#[test]
fn behind_lighttpd_with_mod_scgi() {
    by_scgi("lighttpd-scgi", WebServer::LighttpdScgi);
}

#[test]
fn behind_nginx_with_scgi_pass() {
    by_scgi("nginx-scgi", WebServer::NginxScgi);
}

/// `polycgi request` shows what a program has written, and says what no web server would accept.
#[test]
fn on_the_command_line() {
    let heads: [(&str, Option<&str>); 8] = [
        ("Content-Type: a/b\nContent-Type: a/b\n\nok\n", None),
        ("Status: 404 No\nStatus: 200 OK\n\nok\n", None),
        ("X-A: b\r\n\r\nok\n", None),
        ("\nok\n", None),
        ("Location: http://x.example/\n\n", None),
        (
            "<html>\n\nok\n",
            Some("a line before the empty line has no colon"),
        ),
        ("Status: none\n\nok\n", Some("Status is not a status code")),
        ("X A: b\n\nok\n", Some("a header field's name is not valid")),
    ];
    for (head, bad) in heads {
        let dir = Dir::new();
        let file = dir.file("head", head, 0o644).display().to_string();
        dir.app_file("app", &format!("mode = daemon\ncgi = /bin/cat {file}"));
        for way in ["auto", "cgi", "scgi"] {
            let output = dir.polycgi(&["request", "-i", "--via", way]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let Some(bad) = bad else {
                assert_eq!(output.success(), head, "{way}");
                continue;
            };
            assert_eq!(
                (output.status.code(), said.as_str()),
                (Some(76), ""),
                "{way}: {head:?}"
            );
            let sentence = format!("polycgi: request: the response's head is not valid: {bad}\n");
            assert_eq!(output.stderr, sentence, "{way}: {head:?}");
        }
    }
}

#[track_caller]
fn by_cgi(name: &'static str, server: WebServer) {
    let cases = fixed();
    let road = Road::cgi(name, server, &["stays"], &cases);
    compared((&road, ALONE), (&road, "stays"), &cases, 1);
}

/// An SCGI client has one way to an app, so there are two apps: one with polycgi, one without.
#[track_caller]
fn by_scgi(name: &'static str, server: WebServer) {
    let cases = fixed();
    let alone = Road::scgi(name, server, ALONE, &cases);
    let daemon = Road::scgi(name, server, "stays", &cases);
    compared((&alone, "app"), (&daemon, "app"), &cases, 1);
}

/// Sends every `step`th case both ways, and compares the answers.
#[track_caller]
fn compared(alone: (&Road, &str), daemon: (&Road, &str), cases: &[Case], step: usize) {
    let next = AtomicUsize::new(0);
    let travel = || {
        let mut came = Vec::new();
        loop {
            let number = next.fetch_add(step, Ordering::Relaxed);
            let Some(case) = cases.get(number) else {
                return came;
            };
            let both = [alone, daemon].map(|(road, way)| road.answer(way, number, case));
            came.push((number, case, both));
        }
    };
    let mut came: Vec<_> = thread::scope(|scope| {
        let travels: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(travel)).collect();
        let travels = travels.into_iter();
        travels
            .flat_map(|travel| travel.join().expect("a traveller comes back"))
            .collect()
    });
    came.sort_by_key(|(number, ..)| *number);
    let table = Table::checked_in();
    let (road, way) = daemon;
    let mut wrong = Vec::new();
    for (_, case, both) in &came {
        let what = match both {
            [Ok(alone), Ok(daemon)] if is_right(&table, road.name, case, alone, daemon) => continue,
            [Ok(alone), Ok(daemon)] => format!("alone  {alone}\n  daemon {daemon}"),
            [Err(error), _] | [_, Err(error)] => error.clone(),
        };
        let head = &case.written[..case.written.len().min(300)];
        let Case { method, field, .. } = case;
        wrong.push(format!("{method} {field}{}\n  {what}", head.escape_ascii()));
    }
    let count = wrong.len();
    wrong.truncate(20);
    assert_eq!(count, 0, "{} {way}:\n{}", road.name, wrong.join("\n"));
    if step == 1 {
        assert_eq!(
            table.unneeded(road.name),
            [""; 0],
            "rows that no head needs"
        );
    }
}

fn is_right(table: &Table, road: &str, case: &Case, alone: &Answer, daemon: &Answer) -> bool {
    let mut kinds = case.kinds();
    if alone.is_refusal(case.status()) {
        kinds.push("answer.refused");
    }
    match table.other(road, &kinds) {
        None => daemon == alone,
        Some(What::Page502) => daemon.is_our_502(),
        Some(What::Status302) => {
            alone.status() == Some(200) && *daemon == alone.with_status("HTTP/1.1 302 Found")
        }
        Some(What::Varies) => true,
    }
}
