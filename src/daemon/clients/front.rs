//! What a front is told of its request, one word after the other, and how it is released. A plain client has no front.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use smallvec::SmallVec;

use super::client::{Client, Phase};
use super::taken::FrontWord;
use crate::daemon::watch::Stream;
use crate::handoff;
use crate::sys::poll::{self, Interest};
use crate::sys::{process, socket};

impl Client {
    /// Tells a front that its request is queued, unless it was told more already; with `lets_go`, that it may leave,
    /// too. `false`: it is gone.
    pub(crate) fn say_queued(&mut self, lets_go: bool) -> bool {
        if lets_go {
            self.say_done()
        } else {
            self.say(FrontWord::Queued)
        }
    }

    /// Tells a front that from now on we answer. `false`: it is gone, or took the request back; to us it never
    /// existed.
    pub(crate) fn say_taken(&mut self) -> bool {
        if self.request.as_ref().is_some_and(|r| r.leaves_early) {
            self.say_done()
        } else {
            self.say(FrontWord::Taken)
        }
    }

    /// Tells a front to leave: from now on we answer, and need it no more. `false`: it is gone, or has taken the request
    /// back.
    fn say_done(&mut self) -> bool {
        if self.has_said(FrontWord::Done) {
            return true;
        }
        // Before it is told: a front that has not left still has its pid.
        self.front = process::open(self.caller.pid).ok();
        if !self.say(FrontWord::Done) {
            return false;
        }
        self.connection = None;
        self.watches.forget(Stream::Connection);
        true
    }

    fn has_said(&self, word: FrontWord) -> bool {
        self.request.as_ref().is_some_and(|r| r.said == word)
    }

    fn say(&mut self, to_say: FrontWord) -> bool {
        let Some(said) = self.request.as_ref().map(|request| request.said) else {
            return false;
        };
        let words: SmallVec<[u8; 3]> = [
            (FrontWord::Queued, handoff::QUEUED),
            (FrontWord::Taken, handoff::TAKEN),
            (FrontWord::Done, handoff::DONE),
        ]
        .into_iter()
        .filter(|&(word, _)| word > said && word <= to_say)
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .collect();
        if words.is_empty() {
            return true;
        }
        let Some(connection) = &self.connection else {
            return false;
        };
        // Three bytes always fit: a failure means that the front is gone.
        if socket::send_now(connection.as_fd(), &words).is_err() {
            return false;
        }
        if let Some(request) = &mut self.request {
            request.said = to_say;
        }
        true
    }

    /// Tells a front to leave; its end is waited for from now on. `false`: there is no front to wait for, so the client
    /// can be closed.
    pub(super) fn release(&mut self) -> bool {
        let stays = self.has_said(FrontWord::Taken);
        if self.is_gone || matches!(self.phase, Phase::Parting) || stays && !self.say_done() {
            return false;
        }
        // A front that was told to leave before the response has most often left by now.
        let is_there = |front: &OwnedFd| stays || !poll::is_ready(front.as_fd(), Interest::Read);
        if !self.front.as_ref().is_some_and(is_there) {
            return false;
        }
        self.phase = Phase::Parting;
        true
    }

    /// Closes its descriptors. A front that was not told to leave yet is told now.
    pub(super) fn close(self) {
        let said = self.request.map(|request| request.said);
        if let (Some(FrontWord::Taken), Some(connection)) = (said, &self.connection) {
            // A front that is gone needs no word.
            let _ = socket::send_now(connection.as_fd(), handoff::DONE);
        }
    }
}
