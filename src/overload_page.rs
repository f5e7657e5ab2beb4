//! overload-page: the polite page and nothing else: for a day of maintenance, or as a server's own error document.

use crate::answer::answer;
use crate::app;
use crate::app_file::AppFile;
use crate::cgi::meta::Peer;
use crate::cgi::request::Request;
use crate::page::Failure;
use crate::report::Exit;
use crate::sys::environ;

/// What a client is asked to wait, in seconds: nobody knows how long a day of maintenance is.
const RETRY_AFTER: u32 = 30;

/// Answers 503.
pub fn main() -> Exit {
    let request = Request::from_meta(environ::pairs(), Peer::Own).ok();
    // The page is due whether or not there is an app with a page of its own.
    let own_page = AppFile::running()
        .ok()
        .and_then(|app| app::own_page(&app, &app.load().ok()?));
    let failure = Failure::Overloaded {
        retry_after: RETRY_AFTER,
    };
    answer(failure, request.as_ref(), None, own_page.as_deref());
    Exit::Ok
}
