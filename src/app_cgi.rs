//! app-cgi: the app as a plain CGI, whatever the load, for debugging. No daemon, no slot, no policy.

use crate::answer;
use crate::app::{self, Leavings};
use crate::app_file::AppFile;
use crate::figures::Counted;
use crate::place::Place;
use crate::report::{Exit, plain, say};
use crate::slots::Slots;
use crate::sys::clock;

const NAME: &str = "app-cgi";

/// Becomes the app that the web server runs.
pub fn main() -> Exit {
    let request = match answer::request(NAME) {
        Ok(request) => request,
        Err(exit) => return exit,
    };
    let app = match AppFile::running() {
        Ok(app) => app,
        Err(not_an_app) => {
            say(NAME, &not_an_app);
            return app::without_file(&not_an_app, &request);
        }
    };
    match app.load() {
        Ok(config) => {
            let path = match app::mounted(config.mount.as_ref(), &request) {
                Ok(path) => path,
                Err((failure, sentence)) => {
                    app::tell(NAME, &app, &request, &sentence);
                    app::refuse(&app, &config, &request, failure, &sentence);
                    return Exit::Ok;
                }
            };
            let Ok(body) = app::body::settle(NAME, &app, &config, &request) else {
                return Exit::Ok;
            };
            let settled = body.request(&request);
            let place = Place::existing(&app, &config);
            // Counted where it is known: no file is made for it.
            let slots = place
                .as_ref()
                .filter(|place| place.slots().exists())
                .and_then(|place| Slots::open(&place.slots()).ok());
            let now = clock::now();
            let count = |slots: &Slots| slots.count(Counted::Cgi, None, now);
            slots.iter().for_each(count);
            let leavings = Leavings {
                place: place.as_ref(),
                time: None,
            };
            let cannot = match &path {
                Some(path) => app::become_cgi(&app, &config, &settled.at(path), leavings),
                None => app::become_cgi(&app, &config, &settled, leavings),
            };
            if let Some(slots) = slots {
                slots.uncount(Counted::Cgi, now);
                slots.count(Counted::of(app::failure_of(&cannot)), None, now);
            }
            let (failure, sentence) = (app::failure_of(&cannot), plain(&cannot.to_string()));
            app::tell(NAME, &app, &request, &sentence);
            app::refuse(&app, &config, &request, failure, &sentence);
        }
        Err(wrong) => {
            app::refuse_wrong(NAME, &app, &request, &wrong);
        }
    }
    Exit::Ok
}
