//! `status` without APP: a line for each app that has a place here, of this user, or for root of all users.

use std::fmt::Write;

use super::ask::{self, Found, Purpose};
use crate::acting;
use crate::control::{Activity, Status};
use crate::place::Place;
use crate::printable;
use crate::report::{Exit, print_line, say};
use crate::sys::process;

/// Prints them. `of_place`: what is known of an app without a daemon; `None`: it is gone.
pub(super) fn show(is_json: bool, of_place: fn(&Place) -> Option<Status>) -> Exit {
    let uid = process::uid();
    let is_root = uid == 0;
    let mut count = 0;
    let exit = ask::survey("status", Purpose::Status, of_place, |user, found| {
        count += 1;
        let (status, is_gone) = match found {
            Found::Gone(status) => (status, true),
            Found::Known(status) => (status, false),
            Found::Trouble(sentence) => {
                say("status", format_args!("{user}: {sentence}"));
                return Exit::Unavailable;
            }
        };
        if is_json {
            let user = Some(user.to_owned());
            print_line(Status { user, ..*status }.to_json());
        } else {
            print_line(line(is_root.then_some(user), &status, is_gone));
        }
        Exit::Ok
    });
    if count == 0 && !is_json {
        print_line(none());
    }
    exit
}

fn none() -> String {
    match process::uid() {
        0 => "no app has run here".to_owned(),
        uid => format!("no app of user {} has run here", acting::user_name(uid)),
    }
}

/// The same lines as a text; what does not answer has a line, too.
pub(super) fn lines(of_place: fn(&Place) -> Option<Status>) -> String {
    let is_root = process::uid() == 0;
    let mut lines = Vec::new();
    ask::survey("status", Purpose::Status, of_place, |user, found| {
        let owner = is_root.then_some(user);
        lines.push(match found {
            Found::Gone(status) => line(owner, &status, true),
            Found::Known(status) => line(owner, &status, false),
            Found::Trouble(sentence) => printable::line(&format!("{user}: {sentence}")),
        });
        Exit::Ok
    });
    if lines.is_empty() {
        lines.push(none());
    }
    lines.join("\n")
}

/// The status of each app whose file is there. What does not answer is said.
pub(super) fn statuses(of_place: fn(&Place) -> Option<Status>) -> (Vec<Status>, Exit) {
    let mut statuses = Vec::new();
    let exit = ask::survey("status", Purpose::Status, of_place, |user, found| {
        match found {
            Found::Gone(_) => {}
            Found::Known(status) => {
                let user = Some(user.to_owned());
                statuses.push(Status { user, ..*status });
            }
            Found::Trouble(sentence) => {
                say("status", format_args!("{user}: {sentence}"));
                return Exit::Unavailable;
            }
        }
        Exit::Ok
    });
    (statuses, exit)
}

/// The owner, the path, the daemon's state, and what it has to do.
pub(super) fn line(user: Option<&str>, status: &Status, is_gone: bool) -> String {
    let user = user.map_or(String::new(), |user| format!("{user}: "));
    let mut text = format!("{user}{}: {}", status.app, status.state.word());
    // Writing to a String can't fail.
    let mut add = |words: std::fmt::Arguments<'_>| _ = text.write_fmt(words);
    if let Some(pid) = status.pid {
        add(format_args!(" (pid {pid})"));
    }
    if is_gone {
        add(format_args!(", its file is gone"));
    }
    if !status.workers.is_empty() {
        let is_busy = |state| matches!(state, Activity::Busy | Activity::Stuck);
        let busy = status.workers.iter();
        let busy = busy.filter(|worker| is_busy(worker.state)).count();
        let limit = status.ceilings.as_ref();
        let most = limit.map_or(status.workers.len() as u64, |limit| limit.workers);
        add(format_args!(", {busy} of {most} workers busy"));
    }
    for (number, what) in [
        (status.queue, "waiting"),
        (status.cgis, "running as plain CGIs"),
    ] {
        if number > 0 {
            add(format_args!(", {number} {what}"));
        }
    }
    if status.rate > 0 {
        let requests = status.last_minute();
        add(format_args!(", {requests} requests in the last minute"));
    }
    if let Some(failure) = &status.last_failure {
        add(format_args!("; last failure: {failure}"));
    }
    printable::line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Ceilings, DaemonState, WorkerStatus};

    #[test]
    fn an_app_is_a_line() {
        let mut status = Status {
            app: "/srv/wiki.cgi".to_owned(),
            ..Status::default()
        };
        assert_eq!(line(None, &status, false), "/srv/wiki.cgi: down");
        let worker = |state| WorkerStatus {
            state,
            ..WorkerStatus::default()
        };
        status.workers = [Activity::Busy, Activity::Idle, Activity::Stuck]
            .map(worker)
            .to_vec();
        status.ceilings = Some(Ceilings {
            workers: 5,
            ..Ceilings::default()
        });
        (status.state, status.pid) = (DaemonState::Up, Some(7));
        (status.queue, status.cgis, status.rate) = (3, 1, 60);
        status.last_failure = Some("it was\x1b[2J\nkilled".to_owned());
        assert_eq!(
            line(Some("www-data"), &status, true),
            "www-data: /srv/wiki.cgi: up (pid 7), its file is gone, 2 of 5 workers busy, 3 waiting, \
             1 running as plain CGIs, 60 requests in the last minute; last failure: it was?[2J?killed"
        );
    }
}
