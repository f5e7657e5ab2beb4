//! What a room has to tell a room above it or beside it. Knows what happened, and not what follows from it.

use std::time::Duration;

use super::framed::Framed;
use super::guest::Accepted;
use super::token::Source;
use crate::control::Command;
use crate::page::Failure;
use crate::policy::pool::{Event, Generation};
use crate::policy::queue::Number;
use crate::sys::process::End;

/// In the order in which it happened: see [`Ground::tell`](super::ground::Ground::tell).
#[derive(Debug)]
pub(super) enum Outcome {
    /// A worker takes requests from the listeners itself: we are to be the last who wait there.
    Accepting,
    /// A worker does so no longer.
    AcceptsNoMore,
    /// A zygote found a file or a module changed since it was imported.
    Changed(Change),
    /// A person's command has come.
    Command { number: Number, command: Command },
    /// A process of the app has ended before the app was imported.
    Ended {
        source: Source,
        generation: Generation,
        end: End,
        /// The app's own code was running.
        is_importing: bool,
    },
    /// A FastCGI request whose header has come: its connection.
    Framed(Box<Framed>),
    /// The web server of a FastCGI request wants no answer any more.
    FramedGone(Number),
    /// The front had no word from us in time, and has taken its request back: the name may have been set aside.
    FrontGone(Number),
    /// A worker has handed a connection to us that it has accepted.
    Handed(Accepted),
    /// A request is to be refused because of the configuration, which may have been corrected since.
    Misconfigured {
        number: Number,
        failure: Failure,
        sentence: String,
    },
    /// The zygote has looked at everything that its generation imported.
    Looked(Generation),
    /// For the pool: what happened.
    Pool(Event),
    /// For the pool, before everything that it has not heard yet.
    PoolNext(Event),
    /// The client of a running request took or sent nothing within its time limit.
    RunningLate(Number),
    /// The app can't be started.
    StartFailed {
        source: Source,
        generation: Generation,
        reason: String,
        /// The host refuses something: no fault of the app's.
        is_refusal: bool,
    },
    /// The page of `status-path` is to answer a request.
    StatusAsked(Number),
    /// A zygote has imported the app.
    ZygoteReady(Generation),
}

/// What was found changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Module(String),
    /// One of the files that are always watched, by its number.
    Watched(usize),
}

/// What the rooms may know of the pool, as of the last time that the loop settled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolFacts {
    /// The generation that serves, or is about to.
    pub(super) generation: Generation,
    /// There is imported code that serves.
    pub(super) has_code: bool,
    /// One more request would be refused.
    pub(super) is_full: bool,
    /// So many more would be served at once. Those that come before the loop settles again are taken off.
    pub(super) at_once: usize,
    /// Requests that wait for a worker.
    pub(super) queued: usize,
    /// Workers that take requests themselves: with one, and without.
    pub(super) accepting: (usize, usize),
    /// How many requests these have served.
    pub(super) served_direct: u64,
    /// Another worker may be started.
    pub(super) can_grow: bool,
    /// New connections are to stay in the backlog until then, or until no request waits here: then workers take them.
    pub(super) drains_until: Option<Duration>,
}

/// `Retry-After` where the host, or a server of the app, can't serve a request now.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);
