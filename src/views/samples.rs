//! A busy app's status, and a quiet one's, for the tests of this room.

use crate::control::{
    Activity, Ceilings, CodeChange, DaemonState, Leave, MemoryStatus, RequestStatus, Routing,
    Status, WorkerStatus,
};
use crate::figures::{Counted, Counts, Figures, Histogram, Minute, Quantiles, Recent};
use crate::incidents::{Incident, Mishap};

/// 2023-11-14T22:13:20Z
const NOW: u64 = 1_700_000_000;

/// It began as a plain CGI, then came a rush.
pub(crate) fn rushed() -> Status {
    let minutes: Vec<Minute> = (0..60).filter_map(minute).collect();
    let mut counts = Counts::default();
    for minute in &minutes {
        minute
            .counts
            .some()
            .for_each(|(what, count)| counts.add(what, count));
    }
    let last = minutes.last().cloned().unwrap_or_default();
    Status {
        user: Some("www-data".to_owned()),
        app: "/usr/lib/cgi-bin/wiki.cgi".to_owned(),
        kind: Some("wsgi".to_owned()),
        now: NOW,
        state: DaemonState::Up,
        pid: Some(4242),
        started: Some(NOW - 45 * 60),
        routing: Some(Routing {
            way: "daemon".to_owned(),
            rule: "daemon-when-busy".to_owned(),
            reason: "2 CGIs ran, daemon-when-busy is 2".to_owned(),
        }),
        leave: Some(Leave {
            within: 298,
            key: "idle-timeout".to_owned(),
        }),
        ceilings: Some(Ceilings {
            workers: 5,
            queue: 100,
            cgis: 5,
            spool: 1 << 30,
        }),
        workers: workers(),
        queue: 7,
        requests: 5412,
        overloads: 61,
        rate: 402,
        spooled: 3 << 20,
        generation: 3,
        memory_of_host: Some(MemoryStatus {
            pressure: 712,
            is_short: false,
        }),
        changed: Some(CodeChange {
            at: NOW - 1900,
            what: "wiki.pages".to_owned(),
        }),
        figures: Figures {
            since: Some(NOW - 100_000),
            counts,
            waited: times(&[(4, 700), (20, 60), (40, 9)], 9_000_000),
            served: times(&[(30, 700), (38, 60), (56, 9)], 61_500_000),
            pace: 6_700,
            recent: Recent {
                seconds: 270,
                requests: 1711,
                busiest: 5,
                waited: last.waited,
                served: last.served,
                cgi: None,
            },
            minutes,
        },
        failures: failures(),
        log: Some("/run/polycgi/33/wiki-1c9a/log".to_owned()),
        ..Status::default()
    }
}

/// Nothing has been asked of it.
pub(super) fn quiet() -> Status {
    Status {
        app: "/srv/cgi-bin/quiet.cgi".to_owned(),
        now: NOW,
        routing: Some(Routing {
            way: "cgi".to_owned(),
            rule: "quiet".to_owned(),
            reason: "no more than 6 requests came in the last minute".to_owned(),
        }),
        ..Status::default()
    }
}

/// Texts with all that a page or a label could obey.
pub(super) fn hostile() -> Status {
    const TEXT: &str = "</title><script>alert(1)</script>\"'&\\\n\u{1b}[2J\u{202e}";
    let line = (TEXT.to_owned(), TEXT.to_owned());
    let incident = Incident {
        count: 2,
        ..Incident::new(Mishap::Exception, NOW, line, TEXT)
    };
    let text = TEXT.to_owned();
    Status {
        user: Some(text.clone()),
        app: text.clone(),
        routing: Some(Routing {
            way: text.clone(),
            rule: text.clone(),
            reason: text.clone(),
        }),
        leave: Some(Leave {
            within: 1,
            key: text.clone(),
        }),
        changed: Some(CodeChange {
            at: NOW,
            what: text.clone(),
        }),
        workers: vec![WorkerStatus {
            state: Activity::Busy,
            request: Some(RequestStatus {
                age: 1,
                method: text.clone(),
                path: text.clone(),
            }),
            ..WorkerStatus::default()
        }],
        failures: vec![incident],
        last_failure: Some(text.clone()),
        log: Some(text),
        pid: Some(1),
        started: Some(1),
        ..rushed()
    }
}

/// The minute in this column. Numbers that look as a rush does, always the same.
fn minute(nth: u64) -> Option<Minute> {
    if [3, 4, 9, 21].contains(&nth) {
        return None;
    }
    let rush = (nth * 7) % 11 + nth.saturating_sub(20) * nth.saturating_sub(20) / 4;
    let mut counts = Counts::default();
    let is_alone = nth < 14;
    counts.add(
        if is_alone {
            Counted::Cgi
        } else {
            Counted::Daemon
        },
        rush + 1,
    );
    if nth.is_multiple_of(17) {
        counts.add(Counted::Exception, 2);
    }
    if nth == 40 {
        counts.add(Counted::BadGateway, 9);
    }
    if nth > 50 {
        counts.add(Counted::QueueFull, (nth - 50) * 6);
        counts.add(Counted::NotFound, nth % 5);
    }
    let base = 9_000 + nth * nth * nth;
    let quantiles = Quantiles {
        p50: base,
        p95: base * 3 + nth * 1000,
        p99: base * 4 + (nth % 9) * 90_000,
    };
    let waited = Quantiles {
        p50: base / 30,
        p95: base / 2,
        p99: base,
    };
    Some(Minute {
        at: NOW - (59 - nth) * 60 - 20,
        busiest: if is_alone { 0 } else { (1 + rush / 70).min(5) },
        counts,
        waited: (!is_alone).then_some(waited),
        served: (!is_alone).then_some(quantiles),
    })
}

fn workers() -> Vec<WorkerStatus> {
    let worker = |nth: i32, age: u64, path: &str| WorkerStatus {
        pid: Some(4300 + nth),
        state: Activity::Busy,
        requests: 900 + u64::from(nth.unsigned_abs()),
        generation: 3,
        memory: Some((45 << 20) + (1 << 18)),
        request: Some(RequestStatus {
            age,
            method: "GET".to_owned(),
            path: path.to_owned(),
        }),
    };
    let mut workers = vec![
        worker(1, 80, "/wiki/FrontPage"),
        worker(2, 12_345, "/wiki/search"),
        worker(3, 310, "/wiki/RecentChanges"),
        worker(
            4,
            0,
            "/wiki/a/page/whose/name/is/longer/than/a/telephone/is/wide/and/has/no/blank",
        ),
    ];
    workers.push(WorkerStatus {
        pid: Some(4305),
        generation: 3,
        ..WorkerStatus::default()
    });
    workers
}

fn failures() -> Vec<Incident> {
    let one = |kind, ago: u64, path: &str, reason: &str, count| Incident {
        first: NOW - ago - 600 * (count - 1),
        count,
        ..Incident::new(kind, NOW - ago, ("GET".to_owned(), path.to_owned()), reason)
    };
    vec![
        one(
            Mishap::Killed,
            90_000,
            "/wiki/export",
            "worker 4188 was killed by SIGSEGV",
            1,
        ),
        one(
            Mishap::TimeOut,
            1300,
            "/wiki/search",
            "no progress for 45 s (request-timeout)",
            3,
        ),
        one(Mishap::Exception, 70, "/wiki/edit", "KeyError: 'title'", 8),
    ]
}

fn times(bins: &[(usize, u64)], sum: u64) -> Histogram {
    let mut times = Histogram::default();
    bins.iter().for_each(|&(bin, count)| times.add(bin, count));
    times.sum = sum;
    times
}
