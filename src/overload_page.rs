//! overload-page: only the overload page, for maintenance or as a web server's error document.

use crate::answer::answer;
use crate::app;
use crate::app_file::AppFile;
use crate::cgi::meta::Peer;
use crate::cgi::request::Request;
use crate::page::Failure;
use crate::report::Exit;
use crate::sys::environ;

/// What Retry-After says, in seconds. How long a maintenance takes is not known.
const RETRY_AFTER: u32 = 30;

/// Answers 503.
pub fn main() -> Exit {
    let request = Request::from_meta(environ::pairs(), Peer::Own).ok();
    // Without an app, or a page of its own, the built-in page is shown.
    let own_page = AppFile::running()
        .ok()
        .and_then(|app| app::own_page(&app, &app.load().ok()?));
    let failure = Failure::Overloaded {
        retry_after: RETRY_AFTER,
    };
    answer(failure, request.as_ref(), None, own_page.as_ref());
    Exit::Ok
}
