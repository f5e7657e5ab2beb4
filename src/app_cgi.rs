//! app-cgi: the app as a plain CGI, whatever the load, for debugging. No daemon, no slot, no policy.

use crate::answer::{self, answer, write_status_line};
use crate::app;
use crate::app_file::{AppFile, LoadError};
use crate::page::Failure;
use crate::place::Place;
use crate::report::{Exit, say};

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
                    say(NAME, &sentence);
                    app::refuse(&app, &config, &request, failure, &sentence);
                    return Exit::Ok;
                }
            };
            let Ok(body) = app::body::settle(NAME, &app, &config, &request) else {
                return Exit::Ok;
            };
            let settled = body.request(&request);
            let place = Place::existing(&app, &config);
            let place = place.as_ref();
            let cannot = match &path {
                Some(path) => app::become_cgi(&app, &config, &settled.at(path), place),
                None => app::become_cgi(&app, &config, &settled, place),
            };
            say(NAME, &cannot);
            let failure = app::failure_of(&cannot);
            app::refuse(&app, &config, &request, failure, &cannot.to_string());
        }
        Err(error) => {
            say(NAME, error.sentence());
            if matches!(error, LoadError::Nph(_)) {
                write_status_line(Failure::Misconfigured);
            }
            answer(Failure::Misconfigured, Some(&request), None, None);
        }
    }
    Exit::Ok
}
