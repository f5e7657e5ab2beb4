//! What the front answers itself: which page, and what is counted and kept of that for `status`.

use std::time::Duration;

use super::{Front, NAME};
use crate::app;
use crate::config::Config;
use crate::figures::Counted;
use crate::incidents::{self, Incident, Mishap};
use crate::keyring::{self, Invitation, Keyring};
use crate::logbook;
use crate::page::{Failure, Visitor, whole_seconds};
use crate::place::Place;
use crate::policy::route::Rule;
use crate::report::{Exit, plain};
use crate::slots::Slots;
use crate::start::Here;
use crate::sys::{clock, process};

impl Front {
    /// There is no slot for the request, or no other way at all while an operator holds the daemon down.
    pub(super) fn overload_or_held(
        &self,
        config: &Config,
        here: Option<&Here>,
        rule: Rule,
        retry_after: Duration,
    ) -> Exit {
        if rule != Rule::Held || config.app.runs_without_daemon() {
            return self.overload(config, here, why_full(rule), retry_after);
        }
        let app = self.app.path.display();
        let sentence = format!("{app} is held by 'stop --hold'; 'start' ends that");
        count(here, Counted::Held);
        self.away(config, retry_after, &sentence)
    }

    /// The app could not be imported a moment ago. The log has been told what it wrote; here it is told why.
    pub(super) fn broken(&self, config: &Config, here: Option<&Here>) -> Exit {
        let left = here.and_then(|here| here.place.left(process::uid()));
        let left = left.unwrap_or_default();
        let reason = left.last_failure.as_deref().unwrap_or("a moment ago");
        let words = left.last_words.unwrap_or_default();
        count(here, Counted::AppBroken);
        let sentence = incidents::not_started(reason, "");
        app::tell(NAME, &self.app, &self.request, &sentence);
        let whole = incidents::not_started(reason, &words);
        self.answer(config, here, Failure::AppBroken, &whole)
    }

    pub(super) fn overload(
        &self,
        config: &Config,
        here: Option<&Here>,
        why: Counted,
        retry_after: Duration,
    ) -> Exit {
        let detail = match why {
            Counted::BackingOff => here.and_then(|here| why_not_started(&here.place)),
            Counted::BacklogFull => Some("too many connections wait for the daemon".to_owned()),
            Counted::HostOverloaded => {
                Some("the host's load is above 'overload-when-load'".to_owned())
            }
            Counted::HostPressed => {
                Some("the memory pressure is above 'overload-when-pressure'".to_owned())
            }
            _ => Some(format!("{most} of {most} CGIs run", most = config.cgi_max)),
        };
        // No line in the log: in a crowd it would be one for each request.
        self.refuse_for_want(config, here, why, &detail.unwrap_or_default(), retry_after);
        Exit::Ok
    }

    /// Answers 'try again later', and counts it under this reason.
    pub(super) fn refuse_for_want(
        &self,
        config: &Config,
        here: Option<&Here>,
        why: Counted,
        detail: &str,
        retry_after: Duration,
    ) {
        count(here, why);
        let reason = format!("{}: {detail}", why.word());
        let failure = Failure::Overloaded {
            retry_after: whole_seconds(retry_after),
        };
        self.answer(config, here, failure, &reason);
    }

    /// Not because too many ask, but because there is no server to ask.
    pub(super) fn away(&self, config: &Config, retry_after: Duration, reason: &str) -> Exit {
        let retry_after = whole_seconds(retry_after);
        self.refuse(config, None, Failure::Away { retry_after }, reason)
    }

    pub(super) fn refuse_because(
        &self,
        config: &Config,
        here: Option<&Here>,
        failure: Failure,
        reason: &str,
    ) -> Exit {
        self.refuse_for(config, here, Counted::of(failure), failure, reason)
    }

    /// The same, where more is known than the page says.
    pub(super) fn refuse_for(
        &self,
        config: &Config,
        here: Option<&Here>,
        what: Counted,
        failure: Failure,
        reason: &str,
    ) -> Exit {
        count(here, what);
        if let (Some(kind), Some(here)) = (kept_as(failure), here) {
            self.note(&here.place, kind, reason);
        }
        self.refuse(config, here, failure, reason)
    }

    /// Keeps what went wrong for `status`.
    pub(super) fn note(&self, place: &Place, kind: Mishap, reason: &str) {
        let (line, reason) = (app::line(&self.request), plain(reason));
        let incident = Incident::new(kind, clock::wall().as_secs(), line, &reason);
        logbook::note(place, &[incident], logbook::PATIENCE);
    }

    /// The log is told why, and the client if it may see it.
    fn refuse(&self, config: &Config, here: Option<&Here>, failure: Failure, reason: &str) -> Exit {
        app::tell(NAME, &self.app, &self.request, reason);
        self.answer(config, here, failure, reason)
    }

    /// Answers with a page of ours, which has a ticket where that helps its client.
    fn answer(&self, config: &Config, here: Option<&Here>, failure: Failure, reason: &str) -> Exit {
        let invitation = self.invitation(config, here, failure);
        let (failure, cookies) = keyring::told(failure, invitation.as_ref());
        app::refuse_with(&self.app, config, &self.request, failure, cookies, reason);
        Exit::Ok
    }

    /// Without a place there are no tickets: no other process would know them.
    fn invitation(
        &self,
        config: &Config,
        here: Option<&Here>,
        failure: Failure,
    ) -> Option<Invitation> {
        let is_for_it = config.queue.waiting_room && Visitor::of(&self.request).is_browser();
        let retry_after = failure.wait().filter(|_| is_for_it)?;
        let place = &here?.place;
        let path = app::mounted(config.mount.as_ref(), &self.request).ok()?;
        let request = self.request.reborrow();
        let divided = path.as_ref().map(|path| request.at(path));
        let request = divided.as_ref().unwrap_or(&request);
        let value = |name: &str| request.value(name).unwrap_or_default();
        Some(Keyring::default().invite(value, retry_after, place, clock::wall()))
    }

    /// Counts and keeps that the configuration can't be loaded, if the app has a place that is found without it.
    pub(super) fn count_unconfigured(&self, failure: Failure, reason: &str) {
        let places = Place::proved(&self.app, process::uid(), None);
        let here = places.into_iter().find_map(|place| {
            let slots = Slots::open(&place.slots()).ok()?;
            Some(Here { place, slots })
        });
        if let Some(here) = here {
            count(Some(&here), Counted::of(failure));
            if let Some(kind) = kept_as(failure) {
                self.note(&here.place, kind, reason);
            }
        }
    }
}

/// The kind of failure that is kept for `status`.
fn kept_as(failure: Failure) -> Option<Mishap> {
    match failure {
        Failure::Away { .. } => Some(Mishap::Server),
        Failure::BadGateway => Some(Mishap::BadResponse),
        Failure::Misconfigured => Some(Mishap::Configuration),
        Failure::Overloaded { .. } => Some(Mishap::Host),
        Failure::TimedOut => Some(Mishap::TimeOut),
        // The client's fault; or the daemon has noted it.
        _ => None,
    }
}

/// For want of what a request is refused that this rule sends to no daemon.
pub(super) fn why_full(rule: Rule) -> Counted {
    match rule {
        Rule::HostOverloaded => Counted::HostOverloaded,
        Rule::HostPressed => Counted::HostPressed,
        Rule::BacklogFull => Counted::BacklogFull,
        Rule::BackingOff => Counted::BackingOff,
        _ => Counted::NoSlot,
    }
}

/// Why the last start failed: as the daemon has left it, or as the front has noted it that could not even start one.
fn why_not_started(place: &Place) -> Option<String> {
    let noted = || logbook::read(place, process::uid()).pop();
    let noted = || noted().map(|incident| incident.reason);
    place.last_failure().or_else(noted)
}

/// Counts what becomes of the request, where there is a place to count it; when that is.
pub(super) fn count(here: Option<&Here>, what: Counted) -> Duration {
    let now = clock::now();
    if let Some(here) = here {
        here.slots.count(what, None, now);
    }
    now
}
