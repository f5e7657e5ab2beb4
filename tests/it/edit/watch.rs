//! `watch`: files that no module and no template engine is known to read.

use std::fs;
use std::time::{Duration, Instant};

use super::{Edited, LOOK_INTERVAL};
use crate::util::{Deadline, Dir, pause};

/// The application, which reads nothing of it, and a folder with two files of which one is named.
#[track_caller]
fn watching(config: &str) -> Edited {
    let edited = Edited::new(&super::app_lines(config), |dir| {
        dir.folder("data", 0o755);
        dir.folder("data/deep", 0o755);
        dir.file("data/site.ini", "1", 0o644);
        dir.file("data/notes.txt", "1", 0o644);
    });
    assert_eq!(edited.ask().version, 0);
    edited
}

impl Edited {
    /// The next request, made when the code is looked at again, is served by this generation.
    #[track_caller]
    fn serves_after<T>(&self, edit: impl FnOnce(&Dir) -> T, generation: usize) {
        pause(LOOK_INTERVAL);
        edit(&self.dir);
        self.ask();
        assert_eq!(self.generation(), generation);
    }
}

#[test]
fn an_edit_of_a_file_that_is_named() {
    for reload in ["auto", "touch"] {
        let edited = watching(&format!(
            "reload = {reload}\nwatch = ../data/**/*.ini ../data/none.conf # of the site\n"
        ));
        let write = |name: &'static str| move |dir: &Dir| dir.file(name, "2", 0o644);
        edited.serves_after(write("data/site.ini"), 2);
        // A file that appears, in a folder too, and one that was named before it was there.
        edited.serves_after(write("data/deep/more.ini"), 3);
        edited.serves_after(write("data/none.conf"), 4);
        let remove =
            |dir: &Dir| fs::remove_file(dir.join("data/deep/more.ini")).expect("it is there");
        edited.serves_after(remove, 5);
        // What is not named counts neither when it is edited nor when it appears beside what is named.
        edited.serves_after(write("data/notes.txt"), 5);
        edited.serves_after(write("data/other.txt"), 5);
        edited.serves_after(write("data/site.ini"), 6);
        assert_eq!(edited.logged("reason=/"), 5, "{}", edited.dir.daemon_log());
    }
}

#[test]
fn nothing_is_watched_if_reload_is_off() {
    let edited = watching("reload = off\nwatch = ../data/*.ini\n");
    edited.serves_after(|dir| dir.file("data/site.ini", "2", 0o644), 1);
}

/// The edit of the key itself counts at once.
#[test]
fn a_pattern_can_be_edited() {
    let edited = watching("");
    edited.serves_after(|dir| dir.file("data/site.ini", "2", 0o644), 1);
    edited.serves_after(|_| edited.configure("watch = ../data/*.ini\n"), 2);
    edited.serves_after(|dir| dir.file("data/site.ini", "3", 0o644), 3);
}

/// An app that writes what it watches is looked at ever more rarely, and each of its requests is served.
#[test]
fn an_app_that_writes_what_it_watches() {
    /// So often it may be loaded anew as fast as it is looked at.
    const PATIENCE: usize = 10;
    let edited = watching("watch = imports\n"); // `edited` adds a line to it at each import
    let deadline = Deadline::within(Duration::from_secs(60));
    while edited.generation() <= PATIENCE {
        assert!(!deadline.left().is_zero(), "{}", edited.dir.daemon_log());
        assert_eq!(edited.ask().version, 0);
    }
    // On a slow host it takes more than these: a look that comes late does not count.
    let deadline = Deadline::within(Duration::from_secs(60));
    loop {
        let (begin, before) = (Instant::now(), edited.generation());
        let window = Deadline::after(8 * LOOK_INTERVAL);
        while !window.left().is_zero() {
            assert_eq!(edited.ask().version, 0);
        }
        let looks = begin.elapsed().as_millis() / LOOK_INTERVAL.as_millis();
        let anew = edited.generation() - before;
        if anew as u128 <= looks / 2 {
            break;
        }
        assert!(!deadline.left().is_zero(), "{anew} times in {looks} looks");
    }
}
