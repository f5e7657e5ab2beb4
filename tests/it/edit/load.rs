//! Edits under load: no request fails, and none runs older code than was in force when it was sent.

use std::fs;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Answer, Edited, app_lines, edit, generation, generations};
use crate::util::scgi::{ScgiClient, header};
use crate::util::{Deadline, Dir, Load, Mpm, Site, cgi, pause};

/// An answer, and what was known when its request was sent.
#[derive(Clone, Copy, Debug)]
struct Asked {
    answer: Answer,
    /// The generation that `status` had shown.
    generation: usize,
    /// The newest version of all answers until then.
    seen: u32,
}

/// Fails on a request that was answered with older code than was in force when it was sent.
#[track_caller]
fn assert_no_older(asked: &[Asked], versions: &[u32]) {
    for asked in asked {
        let in_force = versions[asked.generation - 1];
        assert!(
            asked.answer.version >= in_force.max(asked.seen),
            "old code: {asked:?}, {in_force} is in force"
        );
    }
}

#[test]
#[should_panic(expected = "old code")]
fn an_answer_of_old_code_after_status_is_seen() {
    let answer = Answer { version: 4, pid: 1 };
    let asked = Asked {
        answer,
        generation: 2,
        seen: 3,
    };
    assert_no_older(&[asked], &[0, 4]);
    assert_no_older(&[asked], &[0, 5]);
}

#[test]
#[should_panic(expected = "old code")]
fn an_answer_of_old_code_after_a_newer_answer_is_seen() {
    let answer = Answer { version: 4, pid: 1 };
    let asked = Asked {
        answer,
        generation: 1,
        seen: 5,
    };
    assert_no_older(&[asked], &[0]);
}

/// Edits `version` again and again while eight clients ask.
#[track_caller]
fn edits_under_load(dir: &Dir, edits: u32, ask: impl Fn(usize) -> Answer + Sync) {
    const CLIENTS: usize = 8;
    let (in_force, seen) = (AtomicUsize::new(generation(dir)), AtomicU32::new(0));
    let ask = |client, _| {
        let (generation, seen_then) =
            (in_force.load(Ordering::SeqCst), seen.load(Ordering::SeqCst));
        let answer = ask(client);
        seen.fetch_max(answer.version, Ordering::SeqCst);
        Asked {
            answer,
            generation,
            seen: seen_then,
        }
    };
    let asked = Load::beside(CLIENTS, ask, |load| {
        for version in 1..=edits {
            edit(dir, "version", version);
            load.assert_goes_on();
            // This takes about a tenth of a second: there are several edits in one second.
            in_force.store(generation(dir), Ordering::SeqCst);
            if !version.is_multiple_of(20) && version != edits {
                continue;
            }
            let deadline = Deadline::soon();
            while seen.load(Ordering::SeqCst) < version {
                load.assert_goes_on();
                assert!(!deadline.left().is_zero(), "edit {version} is not served");
                in_force.store(generation(dir), Ordering::SeqCst);
            }
        }
    });
    let versions = generations(dir);
    for asked in &asked {
        assert_no_older(asked, &versions);
        assert!(asked.len() > 20, "no load: {}", asked.len());
    }
    assert!(
        versions.len() > edits as usize / 20 + 2,
        "many edits and few generations: {versions:?}"
    );
    let log = dir.daemon_log();
    assert!(!log.contains("reload failed"), "{log}");
}

#[test]
fn a_hundred_edits_under_load() {
    let edited = Edited::served("");
    let socket = edited.dir.socket();
    edits_under_load(&edited.dir, 100, |client| {
        if client % 2 == 0 {
            return edited.ask();
        }
        let mut client = ScgiClient::connect(&socket);
        Answer::parse(&client.send(&header("GET", "/", &[], 0)).reply().ok())
    });
}

#[test]
fn edits_under_load_of_a_web_server() {
    let site = Site::configured(Mpm::Event, 16, &app_lines(""));
    assert_eq!(Answer::parse(&site.get("/").ok()).version, 0);
    edits_under_load(&site.dir, 40, |_| Answer::parse(&site.get("/").ok()));
}

/// Two modules change, one after the other. An import that began between the changes and lasted until after them
/// would mix one's old text with the other's new one; `pair` has such imports.
#[test]
fn a_change_half_done_is_not_served() {
    // Shown to fail with an adaptor that looks at no file again after its import.
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = pair:application\nmode = daemon\n");
    let pulling = dir.join("apps/pulling");
    let ask = || cgi::start_front(&app, "/").end().response().ok();
    assert_eq!(ask(), "000 000\n");
    let answers = Load::beside(
        4,
        |_, _| ask(),
        |load| {
            for version in 1..=10_u32 {
                // The next look at the code falls between the changes, at varying distances.
                pause(Duration::from_millis(200 + u64::from(version % 5) * 50));
                fs::write(&pulling, "").expect("a file can be written");
                let mut modules = ["left", "right"];
                if !version.is_multiple_of(3) {
                    // The module that is imported last is changed first.
                    modules.reverse();
                }
                edit(&dir, modules[0], version);
                // About as long as a `git pull` takes.
                pause(Duration::from_millis(300));
                edit(&dir, modules[1], version);
                fs::remove_file(&pulling).expect("a file can be removed");
                let deadline = Deadline::soon();
                while ask() != format!("{version:03} {version:03}\n") {
                    load.assert_goes_on();
                    assert!(!deadline.left().is_zero(), "{version} is not served");
                }
            }
        },
    );
    for answer in answers.concat() {
        assert_agrees(&answer);
    }
    assert!(!dir.daemon_log().contains("reload failed"));
}

#[track_caller]
fn assert_agrees(answer: &str) {
    let (left, right) = answer.trim_end().split_once(' ').expect("two versions");
    assert_eq!(left, right, "old and new are mixed");
}

#[test]
#[should_panic(expected = "old and new are mixed")]
fn a_mix_is_seen() {
    assert_agrees("001 001\n");
    assert_agrees("001 002\n");
}
