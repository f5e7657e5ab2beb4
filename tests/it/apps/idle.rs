//! An SCGI server that takes its socket by LISTEN_FDS, is run by its `#!` line, and ends by itself when it is idle: the
//! next request starts it again.

use std::thread;

use super::super::util::{Deadline, Mpm, Site, Way, under_both};
use super::{put, served_by, site};

under_both!(it_comes_back_with_the_next_request none_is_lost_between_two_of_them);

#[track_caller]
fn start(mpm: Mpm, idle: &str) -> Site {
    site(mpm, Way::Daemon, |dir| {
        put(dir, "idle.py");
        format!("scgi = ./idle.py\nenv.IDLE = {idle}")
    })
}

/// The number of the request in its process, and the pid of that.
#[track_caller]
fn ask(site: &Site, target: &str) -> (u32, i32) {
    let reply = site.send("POST", target, &[], Some(b"body"));
    let text = reply.ok();
    let (asked, who) = text.split_once('\n').expect("two lines");
    assert_eq!(asked, format!("POST {target} 4 bytes"));
    let words: Vec<_> = who.split_whitespace().collect();
    let ["request", number, "of", pid] = words[..] else {
        panic!("not an answer: {text}");
    };
    let number = number.parse().expect("a number");
    (number, pid.parse().expect("a pid"))
}

fn it_comes_back_with_the_next_request(mpm: Mpm) {
    let site = start(mpm, "0.2");
    let mut before = 0;
    for turn in 0..3 {
        let (number, pid) = ask(&site, &format!("/turn/{turn}"));
        assert_eq!(number, 1);
        assert_ne!(pid, before);
        before = pid;
        assert!(Deadline::soon().ended(pid), "it does not end by itself");
    }
    served_by(&site, Way::Daemon);
    assert_eq!(site.dir.starts(), 1, "{}", site.dir.daemon_log());
    let log = site.dir.daemon_log();
    assert!(!log.contains("warn:") && !log.contains("error:"), "{log}");
}

/// The server ends whenever no request waits; a request that comes then is served by the next one.
fn none_is_lost_between_two_of_them(mpm: Mpm) {
    let site = start(mpm, "0");
    let mut pids = thread::scope(|scope| {
        let client = |name: usize| {
            let site = &site;
            scope.spawn(move || {
                let ask_once = |turn| ask(site, &format!("/client/{name}/{turn}")).1;
                (0..6).map(ask_once).collect::<Vec<_>>()
            })
        };
        let clients: Vec<_> = (0..4).map(client).collect();
        let served = clients
            .into_iter()
            .flat_map(|client| client.join().expect("all are served"));
        served.collect::<Vec<_>>()
    });
    assert_eq!(pids.len(), 24);
    pids.sort_unstable();
    pids.dedup();
    // On a slow host one of the clients may have waited at every moment.
    let deadline = Deadline::soon();
    while pids.len() == 1 {
        assert!(!deadline.left().is_zero(), "it has never ended");
        let pid = ask(&site, "/afterwards").1;
        pids.extend((!pids.contains(&pid)).then_some(pid));
    }
    served_by(&site, Way::Daemon);
    assert_eq!(site.dir.starts(), 1, "{}", site.dir.daemon_log());
}
