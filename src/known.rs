//! What is known of an app without its daemon: from its configuration, from what the last daemon left in its place, and
//! from what its fronts have noted there. Changes nothing.

use std::path::Path;

use crate::app;
use crate::app_file::AppFile;
use crate::config::Config;
use crate::control::{Ceilings, DaemonState, Routing, Status};
use crate::facts;
use crate::logbook;
use crate::place::Place;
use crate::policy::route::{self, CgiCount, Facts, Reach, Route, Rule, StartRecord};
use crate::printable::timestamp;
use crate::report::plain;
use crate::slots::{KnownPauses, Slots};
use crate::sys::{clock, process};

/// The largest `cgi-max` that there can be.
const MOST_SLOTS: u32 = 1024;

/// The status of an app that has no daemon now, by the first of these places that it has used.
pub fn of_app<'a>(app: &AppFile, places: impl IntoIterator<Item = &'a Place>) -> Status {
    let place = places.into_iter().find(|place| place.slots().exists());
    Status {
        app: app.path.display().to_string(),
        ..known(place, Some(app))
    }
}

/// The status of the app of a place without a daemon. `None`: the app file is gone.
pub fn of_place(place: &Place) -> Option<Status> {
    let left = place.left(process::uid()).unwrap_or_default();
    if left.app.is_empty() {
        // A version that left no path has made the place, or there was no room.
        let app = place.dir.display().to_string();
        let status = known(Some(place), None);
        return Some(Status { app, ..status });
    }
    if place.is_without(&left.app) {
        return None;
    }
    // The file is this user's, as is all that it can name.
    let app = AppFile::at(Path::new(&left.app)).ok();
    let status = known(Some(place), app.as_ref());
    Some(Status {
        app: left.app,
        ..status
    })
}

fn known(place: Option<&Place>, app: Option<&AppFile>) -> Status {
    let uid = process::uid();
    let now = clock::now();
    let slots = place.and_then(|place| Slots::look(&place.slots(), uid).ok());
    let left = place.and_then(|place| place.left(uid)).unwrap_or_default();
    let mut status = Status {
        now: clock::wall().as_secs(),
        last_failure: left.last_failure,
        last_words: left.last_words,
        failures: place.map_or(Vec::new(), |place| logbook::read(place, uid)),
        ..Status::default()
    };
    if let Some(slots) = &slots {
        status.state = match facts::started(slots, now) {
            StartRecord::BackingOff { .. } => DaemonState::BackingOff,
            StartRecord::Held => DaemonState::Held,
            StartRecord::Clear | StartRecord::Silent { .. } => DaemonState::Down,
        };
        status.cgis = slots.running(MOST_SLOTS).unwrap_or(0).into();
        status.rate = slots.last_minute(now);
        status.figures = slots.figures(now, clock::wall());
    }
    let mut log = None;
    match app.map(|app| (app, app.load())) {
        Some((app, Ok(config))) => {
            status.kind = Some(config.app.key().to_owned());
            status.ceilings = Some(ceilings(&config));
            status.routing = Some(routing(&config, slots.as_ref(), &status));
            log = app::log_file(app, &config);
        }
        Some((_, Err(wrong))) => {
            status.routing = Some(Routing {
                way: "broken".to_owned(),
                rule: "misconfigured".to_owned(),
                reason: plain(&wrong.sentence()),
            });
        }
        None => {}
    }
    let log = log.or_else(|| Some(place?.log()).filter(|log| log.exists()));
    status.log = log.map(|log| log.display().to_string());
    status
}

fn ceilings(config: &Config) -> Ceilings {
    Ceilings {
        workers: config.pool.max_procs.into(),
        queue: config.queue.size.into(),
        cgis: config.cgi_max.into(),
        spool: config.spool.limit,
    }
}

/// The way that a request would go now, by the decision that a front makes.
fn routing(config: &Config, slots: Option<&Slots>, status: &Status) -> Routing {
    let now = clock::now();
    let facts = match slots {
        Some(slots) => {
            let start = facts::started(slots, now);
            facts::for_operator(config, slots, start, Reach::Absent, now)
        }
        // No request has come yet.
        None => Facts {
            reach: Reach::Absent,
            last_minute: 0,
            slots: CgiCount::Taken {
                running: 0,
                most: config.cgi_max,
            },
            ..facts::gather(
                config,
                None,
                None,
                KnownPauses::default(),
                StartRecord::Clear,
                Reach::Absent,
                now,
            )
        },
    };
    let (route, rule) = route::decide(&facts);
    let way = match route {
        Route::Broken => "broken",
        Route::Forward => "daemon",
        Route::AwaitBacklog { .. } | Route::AwaitSlot { .. } | Route::Overload { .. } => "refused",
        Route::RunCgi => "cgi",
        Route::StartAndForward => "start",
    };
    let reason = match rule {
        Rule::Held => {
            let left = slots.and_then(|slots| slots.held_for(now));
            let until = status.now + left.map_or(0, |left| left.as_secs());
            format!(
                "held by 'stop --hold' until {}; 'start' ends that",
                timestamp(until)
            )
        }
        Rule::BackingOff | Rule::Broken => {
            let failed = slots.and_then(|slots| slots.attempt(now));
            let attempts = failed.map_or(0, |failed| failed.attempts);
            format!(
                "{}; failed starts in a row: {attempts}",
                rule.reason(&facts)
            )
        }
        rule => rule.reason(&facts),
    };
    Routing {
        way: way.to_owned(),
        rule: rule.word().to_owned(),
        reason,
    }
}
