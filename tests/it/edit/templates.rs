//! Templates of engines that keep what they have read: an edit of one that was used is an edit of the app.

use super::{Answer, Edited, LOOK_INTERVAL};
use crate::util::{Deadline, pause};

impl Edited {
    /// The application `templated`, and its template in that version.
    #[track_caller]
    fn templated(config: &str) -> Self {
        let lines = format!(
            "wsgi = templated:application\nmode = daemon\nqueue-timeout = 10 SECOND\n{config}"
        );
        Self::new(&lines, |dir| {
            dir.folder("templates", 0o755);
        })
    }

    fn write_template(&self, version: u32) {
        let text = format!("{version:03}\n");
        self.dir.file("templates/page.txt", &text, 0o644);
    }

    #[track_caller]
    fn shown(&self, engine: &str) -> u32 {
        Answer::parse(&self.get(&format!("/{engine}/page.txt"))).version
    }
}

#[track_caller]
fn an_edit_is_shown_by(engine: &str, config: &str) {
    let edited = Edited::templated(config);
    edited.write_template(0);
    assert_eq!(edited.shown(engine), 0);
    for version in 1..=3 {
        pause(LOOK_INTERVAL);
        edited.write_template(version);
        assert_eq!(edited.shown(engine), version);
        assert_eq!(edited.generation(), version as usize + 1);
    }
}

#[test]
fn of_jinja2() {
    an_edit_is_shown_by("jinja2", "");
}

#[test]
fn of_jinja2_without_preload() {
    an_edit_is_shown_by("jinja2", "preload = off\n");
}

#[test]
fn of_django() {
    an_edit_is_shown_by("django", "");
}

/// The engine keeps the template: without our look the edit would not be shown.
#[test]
fn are_kept_by_their_engines() {
    for engine in ["jinja2", "django"] {
        let edited = Edited::templated("reload = touch\nmax-procs = 1\n");
        edited.write_template(0);
        assert_eq!(edited.shown(engine), 0);
        pause(LOOK_INTERVAL);
        edited.write_template(1);
        let deadline = Deadline::after(2 * LOOK_INTERVAL);
        while !deadline.left().is_zero() {
            assert_eq!(edited.shown(engine), 0, "{engine}");
        }
    }
}

/// Where Jinja2 looks itself, an edit is shown without new code.
#[test]
fn of_an_engine_that_looks_itself() {
    let edited = Edited::templated("");
    edited.write_template(0);
    assert_eq!(edited.shown("looking"), 0);
    for version in 1..=3 {
        pause(LOOK_INTERVAL);
        edited.write_template(version);
        assert_eq!(edited.shown("looking"), version);
    }
    assert_eq!(edited.generation(), 1);
}
