//! The sockets that we listen on: our own at the app's place, those of `listen`, and those that were open when we were
//! started (LISTEN_FDS). Knows where each came from, and so what becomes of it; which connections are let in is the
//! door's.
//!
//! # Theory of operation
//! | a listener is | if it is lost, or can't be bound | at its end |
//! | --- | --- | --- |
//! | own | we leave: no front would find us | shut down, its file removed, its backlog accepted |
//! | of `listen`, a path | it is tried again from time to time | the same |
//! | of `listen`, TCP | the same | its backlog accepted, shut down; the kernel resets connections that come in between |
//! | given | that is not our affair | left alone: what gave it keeps it, and its backlog |
//!
//! A daemon that becomes another version passes all of them on.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::config::Address;
use crate::daemon::token::Token;
use crate::listen;
use crate::report::plain;
use crate::sys::files::{self, Identity};
use crate::sys::listen::Name;
use crate::sys::poll::{Interest, Poll};
use crate::sys::{self, environ, process, socket};

/// systemd's SD_LISTEN_FDS_START.
const FIRST_GIVEN: RawFd = 3;
/// Upper limit for LISTEN_FDS: larger values are clamped.
const MOST_GIVEN: RawFd = 64;

/// Where a listener came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By LISTEN_FDS.
    Given,
    /// `listen`; `file`: a path's, as we made it.
    Listen {
        address: Address,
        file: Option<Identity>,
    },
    /// The app's place.
    Own,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) origin: Origin,
    /// Workers that accept have it as well.
    is_shared: bool,
}

/// Which of them accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepting {
    /// The one in the app's place.
    pub(crate) own: bool,
    /// All others.
    pub(crate) guests: bool,
}

/// Listening sockets that were open when we began.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// By what started us.
    pub(super) given: Vec<OwnedFd>,
    /// Of `listen`, by the version before us.
    pub(super) listen: Vec<OwnedFd>,
}

/// All listeners, by numbers that are not given twice.
#[derive(Debug)]
pub(crate) struct Listeners {
    by_number: BTreeMap<u32, Listener>,
    last: u32,
    pub(crate) open: Accepting,
    /// At those that are shared, workers are woken before us.
    is_behind: bool,
    /// We do not wait at these for a while.
    is_away: bool,
    /// Until then it is not logged again that there is no room.
    pub(crate) silent_until: Duration,
    /// Users named in the configuration that /etc/passwd does not have.
    pub(super) wrong_names: Vec<String>,
    /// Why addresses can't be bound.
    pub(super) wrong_addresses: Vec<String>,
}

impl Accepting {
    pub(crate) fn accepts(self, is_own: bool) -> bool {
        if is_own { self.own } else { self.guests }
    }
}

impl Handed {
    /// Takes them over. Called before anything else is opened: a number that was not open must be nothing of ours.
    pub(crate) fn adopt(listen_fd: &[RawFd], given_fd: &[RawFd], is_socket_passed: bool) -> Handed {
        let adopt = |numbers: &[RawFd]| -> Vec<OwnedFd> {
            let adopted = numbers.iter().map(|&number| process::adopt(number));
            // A number that is not open is missed, and logged, where a socket is looked for.
            adopted.filter_map(Result::ok).collect()
        };
        let counted: Vec<RawFd> = match is_socket_passed {
            true => Vec::new(),
            false => (FIRST_GIVEN..FIRST_GIVEN + count_given()).collect(),
        };
        Handed {
            given: [adopt(given_fd), adopt(&counted)]
                .into_iter()
                .flatten()
                .collect(),
            listen: adopt(listen_fd),
        }
    }

    pub(crate) fn is_given_any(&self) -> bool {
        !self.given.is_empty()
    }
}

/// sd_listen_fds(3): what is in the environment may have been meant for an ancestor.
fn count_given() -> RawFd {
    let number = |name| -> Option<i32> {
        let digits = std::str::from_utf8(environ::value(name)?).ok()?;
        digits.parse().ok()
    };
    if number("LISTEN_PID") != Some(process::pid()) {
        return 0;
    }
    number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST_GIVEN)
}

/// The first descriptor behind the standard ones and those of LISTEN_FDS.
pub(crate) fn end_of_given() -> RawFd {
    FIRST_GIVEN + count_given()
}

impl Listeners {
    pub(super) fn new(own: OwnedFd, wrong_names: Vec<String>) -> Listeners {
        let own = Listener::new(own, Origin::Own);
        Listeners {
            by_number: BTreeMap::from([(0, own)]),
            last: 0,
            open: Accepting::default(),
            is_behind: false,
            is_away: false,
            silent_until: Duration::ZERO,
            wrong_names,
            wrong_addresses: Vec::new(),
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Listener> {
        self.by_number.get(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.by_number.values()
    }

    /// Waits for connections, or no longer.
    pub(crate) fn watch(&mut self, poll: &Poll, open: Accepting) -> io::Result<()> {
        let before = std::mem::replace(&mut self.open, open);
        let mut watched = Ok(());
        for (&number, listener) in &self.by_number {
            let is_own = listener.origin == Origin::Own;
            match (before.accepts(is_own), open.accepts(is_own)) {
                (false, true) if !(self.is_away && listener.is_shared) => {
                    watched = watched.and(self.wait_at(number, listener, poll));
                }
                (true, false) => poll.remove(&listener.socket),
                _ => {}
            }
        }
        watched
    }

    /// From now on workers have these as well, and no others; whether that is a change.
    pub(super) fn share(&mut self, is_shared: impl Fn(&Listener) -> bool) -> bool {
        let mut changes = false;
        for listener in self.by_number.values_mut() {
            let now = is_shared(listener);
            changes |= std::mem::replace(&mut listener.is_shared, now) != now;
        }
        changes
    }

    /// Waits for connections at the listeners that are shared: as the last in line, or alone.
    pub(super) fn line_up(&mut self, poll: &Poll, is_behind: bool) {
        self.is_behind = is_behind;
        self.is_away = false;
        for (&number, listener) in &self.by_number {
            poll.remove(&listener.socket);
            if self.open.accepts(listener.origin == Origin::Own) {
                // The failure was logged; the next change of `open` tries again.
                let _ = self.wait_at(number, listener, poll);
            }
        }
    }

    /// Waits for none at the listeners that are shared, for a while.
    pub(super) fn leave(&mut self, poll: &Poll) {
        self.is_away = true;
        for (_, listener) in self.shared() {
            poll.remove(&listener.socket);
        }
    }

    fn wait_at(&self, number: u32, listener: &Listener, poll: &Poll) -> io::Result<()> {
        let interest = match self.is_behind && listener.is_shared {
            true => Interest::ReadLast,
            false => Interest::Read,
        };
        let added = poll.add(&listener.socket, Token::Listener(number).into(), interest);
        added.inspect_err(|error| {
            let fd = listener.socket.as_raw_fd();
            ::log::error!("cannot listen on descriptor {fd}: epoll_ctl: {error}");
        })
    }

    /// Those that workers have as well.
    pub(super) fn shared(&self) -> impl Iterator<Item = (u32, &Listener)> {
        let all = self.by_number.iter();
        let shared = all.filter(|(_, listener)| listener.is_shared);
        shared.map(|(&number, listener)| (number, listener))
    }

    /// What `status` is to say, if anything is wrong.
    pub(crate) fn trouble(&self) -> Option<String> {
        let all = [&self.wrong_names[..], &self.wrong_addresses].concat();
        (!all.is_empty()).then(|| plain(&all.join("; ")))
    }

    pub(super) fn add(&mut self, poll: &Poll, socket: OwnedFd, origin: Origin) {
        self.last += 1;
        let listener = Listener::new(socket, origin);
        if self.open.accepts(listener.origin == Origin::Own) {
            // The failure was logged; the next change of `open` tries again.
            let _ = self.wait_at(self.last, &listener, poll);
        }
        self.by_number.insert(self.last, listener);
    }

    pub(super) fn has(&self, address: &Address) -> bool {
        let mut sockets = self.iter().map(|listener| listener.socket.as_fd());
        sockets.any(|socket| listen::serves(socket, address))
    }

    /// Takes out the listeners that are to end.
    pub(super) fn take(&mut self, poll: &Poll, ends: impl Fn(&Origin) -> bool) -> Vec<Listener> {
        let ending = self.by_number.iter().filter(|(_, l)| ends(&l.origin));
        let ending: Vec<u32> = ending.map(|(&number, _)| number).collect();
        let mut taken = Vec::new();
        for listener in ending.iter().filter_map(|n| self.by_number.remove(n)) {
            poll.remove(&listener.socket);
            taken.push(listener);
        }
        taken
    }
}

impl Listener {
    fn new(socket: OwnedFd, origin: Origin) -> Listener {
        Listener {
            socket,
            origin,
            is_shared: false,
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(sys::listen::name(self.socket.as_fd()), Some(Name::Tcp(_)))
    }

    /// Shuts the listener, removes its name, and returns the connections that were in its backlog.
    pub(crate) fn end(self) -> Vec<OwnedFd> {
        let mut connected = Vec::new();
        match &self.origin {
            Origin::Given => return connected,
            Origin::Listen { address, file } => {
                if let Address::Path(path) = address {
                    shut(&self.socket);
                    if file.is_some() && files::identity(path).ok() == *file {
                        // A file that stays is found dead, and replaced, by what listens there next.
                        let _ = std::fs::remove_file(path);
                    }
                }
            }
            Origin::Own => shut(&self.socket),
        }
        while let Ok(connection) = socket::accept(self.socket.as_fd()) {
            connected.push(connection);
        }
        if let Origin::Listen {
            address: Address::Tcp { .. },
            ..
        } = &self.origin
        {
            // Workers may have it open for a moment. The kernel resets what is in its backlog.
            shut(&self.socket);
        }
        connected
    }

    /// Its file is no longer there, or is another listener's.
    pub(super) fn is_lost(origin: &Origin) -> bool {
        match origin {
            Origin::Listen {
                address: Address::Path(path),
                file,
            } => files::identity(path).ok() != *file,
            _ => false,
        }
    }
}

/// From here on connects are refused, and connections in the backlog can still be accepted: closing the listener would
/// lose them.
fn shut(socket: &OwnedFd) {
    if let Err(error) = socket::shut_reading(socket.as_fd()) {
        ::log::error!("cannot shut the listener down: {error}");
    }
}

pub(super) fn of_listen(address: Address) -> Origin {
    let file = match &address {
        Address::Path(path) => files::identity(path).ok(),
        Address::Tcp { .. } => None,
    };
    Origin::Listen { address, file }
}
