//! A status with something in every field, for the tests of this room.

use super::status::{
    Ceilings, CodeChange, Leave, MemoryStatus, RequestStatus, Routing, ServerStatus, Status,
    WorkerStatus,
};
use super::words::{Activity, DaemonState};
use crate::figures::{Counted, Counts, Figures, Histogram, Minute, Quantiles, Recent};
use crate::incidents::{Incident, Mishap};
use crate::policy::server::Condition;

/// 2023-11-14T22:13:20Z
pub(super) const NOW: u64 = 1_700_000_000;

pub(crate) fn busy() -> Status {
    Status {
        user: None,
        app: "/srv/cgi-bin/wiki.cgi".to_owned(),
        kind: Some("wsgi".to_owned()),
        now: NOW,
        state: DaemonState::Up,
        pid: Some(42),
        started: Some(NOW - 500),
        routing: Some(Routing {
            way: "daemon".to_owned(),
            rule: "daemon-when-busy".to_owned(),
            reason: "2 of 5 CGIs".to_owned(),
        }),
        leave: Some(Leave {
            within: 840,
            key: "idle-timeout".to_owned(),
        }),
        ceilings: Some(Ceilings {
            workers: 4,
            queue: 100,
            cgis: 5,
            spool: 1 << 30,
        }),
        workers: workers(),
        server: Some(ServerStatus {
            pid: Some(45),
            state: Condition::Up,
        }),
        queue: 1,
        requests: 8,
        overloads: 2,
        rate: 5,
        spooled: 65_536,
        generation: 2,
        changed: Some(CodeChange {
            at: NOW - 200,
            what: "wiki.page".to_owned(),
        }),
        cgis: 3,
        memory_of_host: Some(MemoryStatus {
            pressure: 1234,
            is_short: true,
        }),
        last_failure: Some("ImportError: no module \"x\"".to_owned()),
        last_words: Some("  File \"x.py\"\nImportError".to_owned()),
        figures: figures(),
        failures: vec![Incident {
            first: NOW - 140,
            count: 4,
            ..Incident::new(
                Mishap::Killed,
                NOW - 80,
                ("GET".to_owned(), "/crash".to_owned()),
                "killed by SIGSEGV",
            )
        }],
        log: Some("/run/polycgi/33/wiki-1c9a/log".to_owned()),
    }
}

fn workers() -> Vec<WorkerStatus> {
    let busy = WorkerStatus {
        pid: Some(43),
        state: Activity::Busy,
        requests: 7,
        generation: 2,
        memory: Some(45 << 20),
        request: Some(RequestStatus {
            age: 2345,
            method: "GET".to_owned(),
            path: "/wiki".to_owned(),
        }),
    };
    let idle = WorkerStatus {
        pid: Some(44),
        state: Activity::Idle,
        requests: 128,
        generation: 1,
        ..WorkerStatus::default()
    };
    vec![busy, idle]
}

fn figures() -> Figures {
    let mut counts = Counts::default();
    counts.add(Counted::Cgi, 3);
    let mut served = Histogram::default();
    served.add(40, 1);
    served.sum = 2_500_000;
    let minutes = vec![Minute {
        at: NOW - 20,
        busiest: 2,
        counts: counts.clone(),
        ..Minute::default()
    }];
    counts.add(Counted::QueueFull, 2);
    Figures {
        since: Some(NOW - 800),
        counts,
        served,
        pace: 12_300,
        recent: Recent {
            seconds: 270,
            requests: 5,
            busiest: 2,
            waited: None,
            served: Some(Quantiles {
                p50: 12_000,
                p95: 80_000,
                p99: 2_100_000,
            }),
            cgi: Some(Quantiles {
                p50: 250_000,
                p95: 400_000,
                p99: 1_500_000,
            }),
        },
        minutes,
        ..Figures::default()
    }
}
