//! The front becomes the app, as a plain CGI, once it has a slot; or asks an SCGI server that is not ours itself.

use std::time::Duration;

use super::{Front, NAME, count, straight, without_daemon};
use crate::app::{self, Leavings};
use crate::cgi::request::Request;
use crate::cgi::script::ScriptPath;
use crate::config::{App, Config};
use crate::figures::Counted;
use crate::page::Failure;
use crate::place::Place;
use crate::policy::route;
use crate::report::{Exit, plain, say};
use crate::slots::Awaited;
use crate::start::Here;

impl Front {
    /// Waits for a message-body without a length, then for a slot, and becomes the app, or relays to an SCGI server that
    /// is not ours. `refusal`: for want of what there is no slot, and when a client is to try again.
    pub(super) fn run_cgi(
        &mut self,
        config: &Config,
        here: Option<&Here>,
        path: Option<&ScriptPath>,
        refusal: (Counted, Duration),
    ) -> Exit {
        if !config.app.runs_without_daemon() {
            let app = self.app.path.display();
            let sentence = format!("{app}: {}", without_daemon(config));
            count(here, Counted::Away);
            return self.away(config, route::SLOT_PAUSE, &sentence);
        }
        let body = match app::body::settle(NAME, &self.app, config, &self.request) {
            Ok(body) => body,
            Err(answered) => {
                let what = match answered {
                    None => Counted::Gone,
                    Some(Failure::Overloaded { .. }) => Counted::NoSpoolRoom,
                    Some(failure) => Counted::of(failure),
                };
                count(here, what);
                return Exit::Ok;
            }
        };
        if let Some(here) = here {
            match self.await_slot(config, here) {
                Ok(Awaited::Taken) => {
                    if let Err(error) = here.slots.keep_over_exec() {
                        say(
                            NAME,
                            format_args!("cannot keep the slot of this CGI: {error}"),
                        );
                    }
                }
                Ok(Awaited::TooLong | Awaited::TooMany) => {
                    let (why, retry_after) = refusal;
                    return self.overload(config, Some(here), why, retry_after);
                }
                Err(error) => say(NAME, format_args!("cannot take a slot for a CGI: {error}")),
            }
            self.note_cold(here);
        }
        let settled = body.request(&self.request);
        match path {
            Some(path) => self.become_app(config, here, &settled.at(path)),
            None => self.become_app(config, here, &settled),
        }
    }

    fn become_app(&self, config: &Config, here: Option<&Here>, request: &Request<'_>) -> Exit {
        if let App::Connect(address) = &config.app {
            if let Err((failure, sentence)) = straight::relay(address, config.timeouts, request) {
                return self.refuse_because(config, here, failure, &sentence);
            }
            count(here, Counted::Cgi);
            return Exit::Ok;
        }
        // Before it is known whether the exec succeeds: there is no moment after it.
        let now = count(here, Counted::Cgi);
        let place = Place::existing(&self.app, config);
        let time = here.and_then(|here| here.slots.time_note(now));
        let leavings = Leavings {
            place: place.as_ref(),
            time: time.as_deref(),
        };
        let cannot = app::become_cgi(&self.app, config, request, leavings);
        if let Some(here) = here {
            here.slots.uncount(Counted::Cgi, now);
        }
        let sentence = plain(&cannot.to_string());
        let failure = app::failure_of(&cannot);
        let what = cannot.shortage().unwrap_or(Counted::of(failure));
        self.refuse_for(config, here, what, failure, &sentence)
    }
}
