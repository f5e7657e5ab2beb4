//! The sockets that we listen on: our own at the app's place, those of `listen`, and those that whoever started us had
//! open for us. Knows where each came from, and so what becomes of it; who comes in is the door's.
//!
//! # Theory of operation
//! | a listener is | if it is lost, or can't be had | at its end |
//! | --- | --- | --- |
//! | own | we leave: nobody would find us | shut down, its file removed, its backlog accepted |
//! | of `listen`, a path | it is tried again from time to time | the same |
//! | of `listen`, TCP | the same | its backlog accepted, closed; the kernel resets whoever comes in between |
//! | given | that is not our affair | left alone: whoever gave it keeps it, and who waits there |
//!
//! A daemon that becomes another version passes all of them on.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use super as door;
use super::guests::Guests;
use crate::daemon::Daemon;
use crate::daemon::Words;
use crate::daemon::limits;
use crate::daemon::token::Token;

use crate::app;
use crate::config::Address;
use crate::listen;
use crate::report::plain;
use crate::start::NameLock;
use crate::sys::files::{self, Identity};
use crate::sys::poll::{Interest, Poll};
use crate::sys::{environ, fdpass, process, socket};

/// systemd's SD_LISTEN_FDS_START.
const FIRST_GIVEN: RawFd = 3;
/// Whoever gives more than this has not counted.
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
}

/// Which of them accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// The one in the app's place.
    pub(crate) own: bool,
    /// All others.
    pub(crate) guests: bool,
}

/// Listening sockets that were open when we began.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// By whoever started us.
    given: Vec<OwnedFd>,
    /// Of `listen`, by the version before us.
    listen: Vec<OwnedFd>,
}

/// All of them, by numbers that are not given twice.
#[derive(Debug)]
pub(crate) struct Listeners {
    by_number: BTreeMap<u32, Listener>,
    last: u32,
    pub(crate) open: Open,
    /// That there is no room for more was said.
    pub(crate) silent_until: Duration,
    pub(crate) guests: Guests,
    /// Names in the configuration that nobody has.
    wrong_names: Vec<String>,
    /// Why addresses can't be had.
    wrong_addresses: Vec<String>,
}

impl Open {
    pub(crate) fn accepts(self, is_own: bool) -> bool {
        if is_own { self.own } else { self.guests }
    }
}

impl Handed {
    /// Takes them. Before anything else is opened: a number that was not open must not be anything of ours.
    pub(crate) fn adopt(words: &Words) -> Handed {
        let adopt = |numbers: &[RawFd]| -> Vec<OwnedFd> {
            let adopted = numbers.iter().map(|&number| process::adopt(number));
            // One that is not open is missed where it is looked for.
            adopted.filter_map(Result::ok).collect()
        };
        let counted: Vec<RawFd> = if words.socket_fd.is_none() {
            (FIRST_GIVEN..FIRST_GIVEN + count_given()).collect()
        } else {
            Vec::new()
        };
        Handed {
            given: [adopt(&words.given_fd), adopt(&counted)]
                .into_iter()
                .flatten()
                .collect(),
            listen: adopt(&words.listen_fd),
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
    pub(crate) fn new(own: OwnedFd, guests: (Guests, Vec<String>)) -> Listeners {
        let own = Listener {
            socket: own,
            origin: Origin::Own,
        };
        let (guests, wrong_names) = guests;
        Listeners {
            by_number: BTreeMap::from([(0, own)]),
            last: 0,
            open: Open::default(),
            silent_until: Duration::ZERO,
            guests,
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
    pub(crate) fn watch(&mut self, poll: &Poll, open: Open) -> io::Result<()> {
        let before = std::mem::replace(&mut self.open, open);
        let mut watched = Ok(());
        for (&number, listener) in &self.by_number {
            let is_own = listener.origin == Origin::Own;
            match (before.accepts(is_own), open.accepts(is_own)) {
                (false, true) => {
                    watched = watched.and(add(poll, number, listener.socket.as_fd()));
                }
                (true, false) => poll.remove(&listener.socket),
                _ => {}
            }
        }
        watched
    }

    /// What `status` is to say, if anything is wrong.
    pub(crate) fn trouble(&self) -> Option<String> {
        let all = [&self.wrong_names[..], &self.wrong_addresses].concat();
        (!all.is_empty()).then(|| plain(&all.join("; ")))
    }

    fn add(&mut self, poll: &Poll, socket: OwnedFd, origin: Origin) {
        self.last += 1;
        if self.open.accepts(origin == Origin::Own) {
            // It was said; at the next change of what is accepted it is tried again.
            let _ = add(poll, self.last, socket.as_fd());
        }
        let listener = Listener { socket, origin };
        self.by_number.insert(self.last, listener);
    }

    fn has(&self, address: &Address) -> bool {
        let mut sockets = self.iter().map(|listener| listener.socket.as_fd());
        sockets.any(|socket| listen::serves(socket, address))
    }

    /// Takes those out that are to end.
    fn take(&mut self, poll: &Poll, ends: impl Fn(&Origin) -> bool) -> Vec<Listener> {
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

fn add(poll: &Poll, number: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let added = poll.add(socket, Token::Listener(number).into(), Interest::Read);
    added.inspect_err(|error| {
        let fd = socket.as_raw_fd();
        ::log::error!("cannot listen on descriptor {fd}: epoll_ctl: {error}");
    })
}

impl Listener {
    /// Nobody new connects, and no name is left of it: whoever had connected before.
    pub(crate) fn end(self) -> Vec<OwnedFd> {
        let mut connected = Vec::new();
        match &self.origin {
            Origin::Given => return connected,
            Origin::Listen { address, file } => {
                if let Address::Path(path) = address {
                    shut(&self.socket);
                    if file.is_some() && files::identity(path).ok() == *file {
                        // One that stays is found dead, and replaced, by whoever listens there next.
                        let _ = std::fs::remove_file(path);
                    }
                }
            }
            Origin::Own => shut(&self.socket),
        }
        while let Ok(connection) = socket::accept(self.socket.as_fd()) {
            connected.push(connection);
        }
        connected
    }

    /// Its file is no longer there, or is somebody else's.
    fn is_lost(origin: &Origin) -> bool {
        match origin {
            Origin::Listen {
                address: Address::Path(path),
                file,
            } => files::identity(path).ok() != *file,
            _ => false,
        }
    }
}

/// From here on connects are refused, and those who had connected are still there to be accepted: closing the listener
/// would lose them.
fn shut(socket: &OwnedFd) {
    if let Err(error) = socket::shut_reading(socket.as_fd()) {
        ::log::error!("cannot shut the listener down: {error}");
    }
}

impl Daemon {
    /// Begins to listen wherever that is said, beside our own socket. What can't be had keeps nobody from the rest.
    pub(crate) fn listen_everywhere(&mut self, handed: Handed) {
        for socket in handed.given {
            self.add_listener(socket, Origin::Given);
        }
        for socket in handed.listen {
            let addresses = self.config.listen.addresses.iter();
            let mut serving = addresses.filter(|a| listen::serves(socket.as_fd(), a));
            // The version before us may have read other addresses than we did.
            if let Some(address) = serving.next().cloned() {
                self.add_listener(socket, of_listen(address));
            }
        }
        for sentence in &self.listeners.wrong_names {
            ::log::error!("{sentence}");
        }
        if self.is_missing_any() {
            match NameLock::wait(&self.place) {
                Ok(lock) => self.listen_where_missing(&lock),
                Err(error) => ::log::warn!("{error}"),
            }
        }
    }

    fn add_listener(&mut self, socket: OwnedFd, origin: Origin) {
        if !crate::sys::listen::is_listening(socket.as_fd()) {
            let fd = socket.as_raw_fd();
            ::log::error!("descriptor {fd} is not a listening stream socket: it is closed");
            return;
        }
        let backlog = app::backlog(&self.config);
        let ours = socket::set_nonblocking(socket.as_fd())
            .and_then(|()| socket::take_over(socket.as_fd(), backlog));
        if let Err(error) = ours {
            ::log::error!(
                "cannot listen on descriptor {}: {error}",
                socket.as_raw_fd()
            );
            return;
        }
        // No front comes there. A socket of TCP, or an older kernel, knows nothing of that.
        let _ = fdpass::refuse(socket.as_fd());
        match &origin {
            Origin::Given => ::log::info!("listening: descriptor={}", socket.as_raw_fd()),
            Origin::Listen { address, .. } => ::log::info!("listening: address={address}"),
            Origin::Own => {}
        }
        self.listeners.add(&self.poll, socket, origin);
    }

    fn is_missing_any(&self) -> bool {
        let mut addresses = self.config.listen.addresses.iter();
        addresses.any(|address| !self.listeners.has(address))
    }

    /// The lock: a daemon of this app that is leaving has done with its addresses, and none begins beside us.
    fn listen_where_missing(&mut self, _lock: &NameLock) {
        let how = self.config.listen.clone();
        let backlog = app::backlog(&self.config);
        let before = std::mem::take(&mut self.listeners.wrong_addresses);
        for address in &how.addresses {
            if self.listeners.has(address) {
                continue;
            }
            match listen::listen(address, &how, backlog) {
                Ok(sockets) => {
                    for socket in sockets {
                        self.add_listener(socket, of_listen(address.clone()));
                    }
                }
                Err(cannot) => {
                    let sentence = cannot.to_string();
                    if !before.contains(&sentence) {
                        ::log::error!("{sentence}");
                    }
                    self.listeners.wrong_addresses.push(sentence);
                }
            }
        }
    }

    /// From time to time: what was lost, or could not be had, is tried again.
    pub(crate) fn keep_listening(&mut self) {
        for lost in self.listeners.take(&self.poll, Listener::is_lost) {
            if let Origin::Listen { address, .. } = &lost.origin {
                ::log::warn!("{address} is not ours any more");
            }
            self.end_listener(lost);
        }
        if self.is_missing_any()
            && let Ok(Some(lock)) = NameLock::take(&self.place)
        {
            self.listen_where_missing(&lock);
        }
    }

    /// The configuration may name other addresses by now, or other guests.
    pub(crate) fn obey_listen(&mut self) {
        if self.leaving.has_begun() {
            // What was given up may be another daemon's by now.
            return;
        }
        let how = self.config.listen.clone();
        let (guests, unknown) = Guests::new(&how.allow, process::uid());
        let said = std::mem::replace(&mut self.listeners.wrong_names, unknown);
        let unsaid = self.listeners.wrong_names.iter();
        for sentence in unsaid.filter(|sentence| !said.contains(sentence)) {
            ::log::error!("{sentence}");
        }
        self.listeners.guests = guests;
        let is_unnamed = |origin: &Origin| match origin {
            Origin::Listen { address, .. } => !how.addresses.contains(address),
            Origin::Given | Origin::Own => false,
        };
        for unnamed in self.listeners.take(&self.poll, is_unnamed) {
            if let Origin::Listen { address, .. } = &unnamed.origin {
                ::log::info!("no longer listening: address={address}");
            }
            self.end_listener(unnamed);
        }
        self.listeners.wrong_addresses.clear();
        self.keep_listening();
        let backlog = app::backlog(&self.config);
        for listener in self.listeners.by_number.values() {
            // The backlog that was is not wrong either.
            let _ = socket::take_over(listener.socket.as_fd(), backlog);
            if let Origin::Listen {
                address: Address::Path(path),
                ..
            } = &listener.origin
                && let Err(cannot) = listen::permit(path, &how)
            {
                ::log::error!("{cannot}");
                self.listeners.wrong_addresses.push(cannot.to_string());
            }
        }
        self.stays = limits::stays(&self.config, self.is_given_any());
        self.shares
            .obey(door::shares_of(&self.config, self.most_fds));
    }

    fn is_given_any(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.origin == Origin::Given)
    }

    fn end_listener(&mut self, listener: Listener) {
        let is_own = listener.origin == Origin::Own;
        for connection in listener.end() {
            self.come_in(connection, is_own);
        }
    }

    /// Gives all of them up. Whoever had connected to one is to be let in: `true` means to our own.
    pub(crate) fn end_listeners(&mut self) -> Vec<(OwnedFd, bool)> {
        let mut connected = Vec::new();
        for listener in self.listeners.take(&self.poll, |_| true) {
            let is_own = listener.origin == Origin::Own;
            let last = listener.end().into_iter();
            connected.extend(last.map(|connection| (connection, is_own)));
        }
        connected
    }
}

fn of_listen(address: Address) -> Origin {
    let file = match &address {
        Address::Path(path) => files::identity(path).ok(),
        Address::Tcp { .. } => None,
    };
    Origin::Listen { address, file }
}
