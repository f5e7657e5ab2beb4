//! What can become of a request.

use crate::page::Failure;

/// What became of a request. Each is counted once, by the process that has answered, or has become the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// It was handed to the app as a plain CGI, whatever came of it there.
    Cgi,
    /// The daemon's app has answered it.
    Daemon,
    /// The app raised an exception in the daemon.
    Exception,
    /// The client was gone before it had all of its answer.
    Gone,
    /// The response broke off: its worker or program died after it had begun to answer.
    Cut,
    /// 500: the app can't be started.
    AppBroken,
    /// 500: the configuration is wrong, or a program that it names is missing.
    Misconfigured,
    /// 502: a worker died, or wrote no valid head.
    BadGateway,
    /// 504: the app did not answer in time.
    TimedOut,
    /// 503: the queue was full.
    QueueFull,
    /// 503: the wait in the queue was too long.
    QueueSlow,
    /// 503: as many plain CGIs ran as may.
    NoSlot,
    /// 503: after a failed start, no CGI could be run.
    BackingOff,
    /// 503: the daemon's backlog was full, and no CGI could be run.
    BacklogFull,
    /// 503: the host was overloaded (`overload-when-load`).
    HostOverloaded,
    /// 503: the host gave no process.
    NoProcess,
    /// 503: the spool had no room for the message-body.
    NoSpoolRoom,
    /// 503: the app's server was away.
    Away,
    /// 503: an operator holds the daemon down.
    Held,
    /// 503: the daemon was leaving.
    Leaving,
    /// 400
    BadRequest,
    /// 404: the path is not below `mount`.
    NotFound,
    /// 408: the message-body stopped coming.
    BodyLate,
    /// 413
    BodyTooLarge,
    /// 431
    HeaderTooLarge,
    /// 503: the app was starting, and a browser waited for that.
    Starting,
    /// 503: no descriptor was free, in the daemon or on the host.
    NoDescriptor,
    /// 503: the host gave no memory, or the daemon keeps too much for its clients.
    NoMemory,
    /// 503: the backlog of the app's own server was full.
    ServerFull,
    /// 503: the host was short of memory (`overload-when-pressure`).
    HostPressed,
}

impl Counted {
    /// By their numbers, which stand in the file `slots`: a new one comes last.
    pub const ALL: [Counted; 30] = [
        Counted::Cgi,
        Counted::Daemon,
        Counted::Exception,
        Counted::Gone,
        Counted::Cut,
        Counted::AppBroken,
        Counted::Misconfigured,
        Counted::BadGateway,
        Counted::TimedOut,
        Counted::QueueFull,
        Counted::QueueSlow,
        Counted::NoSlot,
        Counted::BackingOff,
        Counted::BacklogFull,
        Counted::HostOverloaded,
        Counted::NoProcess,
        Counted::NoSpoolRoom,
        Counted::Away,
        Counted::Held,
        Counted::Leaving,
        Counted::BadRequest,
        Counted::NotFound,
        Counted::BodyLate,
        Counted::BodyTooLarge,
        Counted::HeaderTooLarge,
        Counted::Starting,
        Counted::NoDescriptor,
        Counted::NoMemory,
        Counted::ServerFull,
        Counted::HostPressed,
    ];

    /// Its place in [`Counted::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }

    /// Its word in JSON and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Counted::Cgi => "cgi",
            Counted::Daemon => "daemon",
            Counted::Exception => "exception",
            Counted::Gone => "client-gone",
            Counted::Cut => "cut",
            Counted::AppBroken => "app-broken",
            Counted::Misconfigured => "misconfigured",
            Counted::BadGateway => "bad-gateway",
            Counted::TimedOut => "timed-out",
            Counted::QueueFull => "queue-full",
            Counted::QueueSlow => "queue-slow",
            Counted::NoSlot => "no-slot",
            Counted::BackingOff => "backing-off",
            Counted::BacklogFull => "backlog-full",
            Counted::HostOverloaded => "host-overloaded",
            Counted::NoProcess => "no-process",
            Counted::NoSpoolRoom => "no-spool-room",
            Counted::Away => "away",
            Counted::Held => "held",
            Counted::Leaving => "leaving",
            Counted::BadRequest => "bad-request",
            Counted::NotFound => "not-found",
            Counted::BodyLate => "body-late",
            Counted::BodyTooLarge => "body-too-large",
            Counted::HeaderTooLarge => "header-too-large",
            Counted::Starting => "starting",
            Counted::NoDescriptor => "no-descriptor",
            Counted::NoMemory => "no-memory",
            Counted::ServerFull => "server-full",
            Counted::HostPressed => "memory-pressure",
        }
    }

    /// The kind that has this word.
    pub fn from_word(word: &str) -> Option<Counted> {
        Counted::ALL.into_iter().find(|what| what.word() == word)
    }

    /// The status of our answer. `None`: the app's own, or none. Of an exception it is 500 unless the app's response
    /// had begun.
    pub fn status(self) -> Option<u16> {
        match self {
            Counted::Cgi | Counted::Cut | Counted::Daemon | Counted::Gone => None,
            Counted::AppBroken | Counted::Exception | Counted::Misconfigured => Some(500),
            Counted::BadGateway => Some(502),
            Counted::TimedOut => Some(504),
            Counted::Away
            | Counted::BackingOff
            | Counted::BacklogFull
            | Counted::Held
            | Counted::HostOverloaded
            | Counted::HostPressed
            | Counted::Leaving
            | Counted::NoDescriptor
            | Counted::NoMemory
            | Counted::NoProcess
            | Counted::NoSlot
            | Counted::NoSpoolRoom
            | Counted::QueueFull
            | Counted::QueueSlow
            | Counted::ServerFull
            | Counted::Starting => Some(503),
            Counted::BadRequest => Some(400),
            Counted::NotFound => Some(404),
            Counted::BodyLate => Some(408),
            Counted::BodyTooLarge => Some(413),
            Counted::HeaderTooLarge => Some(431),
        }
    }

    /// What an operator can do about a 503 that comes again and again. `None`: nothing, it is over soon; or no 503.
    pub fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Counted::QueueFull => "more 'max-procs', or a longer 'queue-size'",
            Counted::QueueSlow => "more 'max-procs', or a faster app",
            Counted::NoSlot => "more 'cgi-max', or 'mode = daemon'",
            Counted::BackingOff => "see why the daemon does not start: 'polycgi status'",
            Counted::BacklogFull => "more 'max-procs', or a longer 'queue-size'",
            Counted::HostOverloaded => "less load, or a higher 'overload-when-load'",
            Counted::HostPressed => "more memory, or a higher 'overload-when-pressure'",
            Counted::NoProcess => {
                "a higher limit of processes: RLIMIT_NPROC, or TasksMax of the service"
            }
            Counted::NoDescriptor => {
                "a higher limit of descriptors: RLIMIT_NOFILE, or LimitNOFILE of the service"
            }
            Counted::NoMemory => "fewer 'max-procs', or more memory for the service",
            Counted::NoSpoolRoom => "a larger 'spool-limit', or room on the disk of 'spool-dir'",
            Counted::Away => "see why the app's server does not answer",
            Counted::ServerFull => "a server that accepts faster, or fewer 'max-procs'",
            Counted::Held => "'polycgi start' ends the hold",
            _ => return None,
        })
    }

    /// For a page of ours, where no more is known of its reason.
    pub fn of(failure: Failure) -> Counted {
        match failure {
            Failure::AppBroken => Counted::AppBroken,
            Failure::AppFailed => Counted::Exception,
            Failure::Away { .. } => Counted::Away,
            Failure::BadGateway => Counted::BadGateway,
            Failure::BadRequest => Counted::BadRequest,
            Failure::BodyTooLarge => Counted::BodyTooLarge,
            Failure::HeaderTooLarge => Counted::HeaderTooLarge,
            Failure::Misconfigured | Failure::NotAnApp => Counted::Misconfigured,
            Failure::NotFound => Counted::NotFound,
            Failure::Overloaded { .. } => Counted::NoProcess,
            Failure::RequestTimeout => Counted::BodyLate,
            Failure::Starting { .. } => Counted::Starting,
            Failure::TimedOut => Counted::TimedOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_words_tell_them_apart() {
        for (number, what) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(what.number(), number);
            assert_eq!(Counted::from_word(what.word()), Some(what));
        }
        let words: BTreeSet<&str> = Counted::ALL.into_iter().map(Counted::word).collect();
        assert_eq!(words.len(), Counted::ALL.len());
        assert_eq!(Counted::from_word("queue"), None);
    }

    #[test]
    fn every_full_place_has_a_remedy() {
        for what in Counted::ALL {
            let is_over_soon = matches!(what, Counted::Leaving | Counted::Starting);
            let is_full = what.status() == Some(503) && !is_over_soon;
            assert_eq!(what.remedy().is_some(), is_full, "{what:?}");
        }
    }

    #[test]
    fn a_page_counts_by_its_status() {
        for failure in Failure::all(2) {
            let status = failure.status().as_u16();
            assert_eq!(Counted::of(failure).status(), Some(status), "{failure:?}");
        }
    }
}
