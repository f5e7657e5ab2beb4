//! The same promise for a plain CGI: an old `.pyc` is not taken for the new code.

use std::path::Path;
use std::time::Duration;

use super::{Answer, edit};
use crate::util::{Dir, cgi, pause};

/// How many of that many quick edits the next request, a process of its own, answers with older code.
#[track_caller]
fn stale_answers(dir: &Dir, app: &Path, edits: u32) -> usize {
    let ask = || {
        let response = cgi::start_front(app, "/").end().response();
        Answer::parse(&response.ok()).version
    };
    assert_eq!(ask(), 0);
    let stale = (1..=edits).filter(|&version| {
        edit(dir, "version", version);
        ask() != version
    });
    stale.count()
}

#[test]
fn quick_edits_of_a_plain_cgi() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = edited:application\nmode = cgi\n");
    assert_eq!(stale_answers(&dir, &app, 40), 0);
}

/// Without polycgi some are: Python takes a `.pyc` for fresh if the file has the same size and second.
#[test]
fn quick_edits_of_a_plain_cgi_are_stale_without_polycgi() {
    let dir = Dir::new();
    let app = dir.plain_cgi("app", "edited", "application", &[]);
    assert_ne!(stale_answers(&dir, &app, 40), 0);
}

/// A file that is older than 2 s has its `.pyc` again: a plain CGI must not compile it each time.
#[test]
fn what_was_not_edited_is_compiled_once() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = edited:application\nmode = cgi\n");
    let compiled = || dir.join("apps/__pycache__").exists();
    cgi::start_front(&app, "/").end().response().ok();
    assert!(!compiled(), "a young file is trusted");
    // Up to this age no `.pyc` is written or used.
    pause(Duration::from_secs(2));
    cgi::start_front(&app, "/").end().response().ok();
    assert!(compiled(), "each CGI compiles anew");
}
