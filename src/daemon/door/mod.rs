//! The daemon's door: accepts connections while there are descriptors for them, from the clients that each listener
//! serves. Knows counts and peers, not requests.
//!
//! Our own user's connections, and root's commands, are limited by the descriptors that there are. All others are
//! guests: they share a part of the descriptors, and what they do with it is bounded ([`crate::policy::shares`]).

mod behind;
mod fullness;
mod guests;
mod listeners;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use log::Level;

use self::behind::Behind;
use self::fullness::Fullness;
use self::guests::Guests;
use self::listeners::{Accepting, Listener, Listeners, of_listen};
pub(super) use self::listeners::{Handed, Origin, end_of_given};
use super::clients::{Clients, HeaderReader};
use super::ground::Ground;
use super::guest::{Caller, Guest};
use crate::app;
use crate::cgi::meta::Peer;
use crate::config::{Address, Config};
use crate::policy::shares::ShareLimits;
use crate::start::NameLock;
use crate::sys::{Errno, clock, fdpass, is, listen as tcp, process, socket};
use crate::{listen, sys};

/// Minimum interval between 'out of descriptors' warnings; otherwise each disconnect would log one.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// How many connections to our own socket, and to the others, may be there at once only to be refused: they take of the
/// descriptors to spare, a front four.
const TURNED_AWAY: [usize; 2] = [2, 4];
/// Descriptors of a FastCGI request beside its client's connection: three pipes, of which we have both ends.
const WIRE: usize = 6;
/// Pause after a failed accept; well below what a front waits for the daemon's first word.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Between two times when guests are left in the backlog.
const LEAVE_PAUSE: Duration = Duration::from_millis(200);
/// Descriptors that are not clients': our own, and some to spare.
const OURS: usize = 32;
const SPARE: usize = 16;

/// The listeners, and which of them accept now.
pub(super) struct Door {
    listeners: Listeners,
    guests: Guests,
    behind: Behind,
    /// When to accept again, after a time when the host had no room.
    accept_at: Option<Duration>,
    /// There is a place for a client of each kind.
    has_places: bool,
    /// Until when guests are left in the backlog, where workers may take them soon; and from when on that may be again.
    leaves_until: Option<Duration>,
    leaves_from: Duration,
    /// Whether there are places: for connections to our own socket, and to the others.
    fullness: [Fullness; 2],
    /// Those that are let in now are refused: likewise; and from when on the next ones are.
    refuses: [bool; 2],
    refuse_at: Option<Duration>,
    /// Our own user.
    uid: u32,
}

/// What guests may hold, if there are so many descriptors in all.
pub(super) fn shares_of(config: &Config, most_fds: u64) -> ShareLimits {
    let workers = config.pool.max_procs as usize;
    let listeners = config.listen.addresses.len() + 1;
    let others = OURS + SPARE + 5 * workers + listeners;
    let fds = usize::try_from(most_fds).unwrap_or(usize::MAX);
    ShareLimits::new(fds.saturating_sub(others), config.queue.size as usize)
}

impl Door {
    /// `own`: our own socket.
    pub(super) fn new(own: OwnedFd, config: &Config) -> Door {
        let uid = process::uid();
        let (guests, wrong_names) = Guests::new(&config.listen.allow, uid);
        Door {
            listeners: Listeners::new(own, wrong_names),
            guests,
            behind: Behind::default(),
            accept_at: None,
            has_places: true,
            leaves_until: None,
            leaves_from: Duration::ZERO,
            fullness: Default::default(),
            refuses: [false; 2],
            refuse_at: None,
            uid,
        }
    }

    /// Begins to accept.
    pub(super) fn open(&mut self, ground: &Ground) -> std::io::Result<()> {
        let open = Accepting {
            own: true,
            guests: true,
        };
        self.listeners.watch(&ground.poll, open)
    }

    fn accept(&mut self, number: u32, clients: &mut Clients, ground: &mut Ground) {
        let Some(listener) = self.listeners.get(number) else {
            return;
        };
        let is_own = listener.origin == Origin::Own;
        if !self.listeners.open.accepts(is_own) {
            return;
        }
        match socket::accept(listener.socket.as_fd()) {
            Ok(connection) => {
                let reader = HeaderReader::default();
                self.come_in(connection, is_own, reader, clients, ground);
            }
            // One connection for each event: if more wait, epoll reports the listener again.
            Err(error)
                if [Errno::EAGAIN, Errno::ECONNABORTED, Errno::EINTR]
                    .iter()
                    .any(|&errno| is(&error, errno)) => {}
            Err(error) => {
                // The connection stays in the backlog: without a pause this would be tried again at once, and for ever.
                let now = clock::now();
                let sentence = format!("cannot accept: {error}");
                let notices = clients.notices();
                notices.note(Level::Error, &sentence, "", Guest::Unknown, now);
                self.accept_at = Some(now + ACCEPT_PAUSE);
            }
        }
    }

    /// Lets a connection in: at our own socket, or where `listen-allow` admits the client.
    pub(super) fn come_in(
        &mut self,
        connection: OwnedFd,
        is_own: bool,
        reader: HeaderReader,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let is_turned_away = self.refuses[usize::from(!is_own)];
        let guest = match socket::peer(connection.as_fd()) {
            Some(peer) if peer.uid == self.uid => {
                let caller = Caller {
                    peer: Peer::Own,
                    pid: peer.pid,
                    guest: None,
                    is_at_place: is_own,
                    is_turned_away,
                };
                return clients.take_in(connection, caller, reader, ground);
            }
            Some(peer) => Guest::User(peer.uid),
            None => {
                // Without this, answers are only slower.
                let _ = tcp::send_at_once(connection.as_fd());
                tcp::peer_address(connection.as_fd()).map_or(Guest::Unknown, Guest::Address)
            }
        };
        // At our own socket the directory of the place has let it in.
        let unnamed = is_own.then_some(false);
        match unnamed.or_else(|| self.guests.admit(guest)) {
            Some(trusted) => {
                let caller = Caller {
                    peer: Peer::Foreign { trusted },
                    pid: 0,
                    // Root's commands never wait for a place.
                    guest: (!is_own || guest != Guest::User(0)).then_some(guest),
                    is_at_place: is_own,
                    is_turned_away,
                };
                clients.take_in(connection, caller, reader, ground);
            }
            None if self.guests.turn_away(guest) => {
                ::log::warn!("closed: {guest} may not connect: see 'listen-allow'");
            }
            None => {
                let reason = "closed: may not connect: see 'listen-allow'";
                clients.notices().count(reason, clock::now());
            }
        }
    }

    /// Stops accepting 16 descriptors below the limit, or when the host has no room; and begins again. Guests wait
    /// already when all their places are taken. After a second of that, connections are accepted to be refused, few at a
    /// time.
    /// `wires`: FastCGI connections beside their requests.
    pub(super) fn watch_limit(
        &mut self,
        workers: usize,
        wires: usize,
        clients: &Clients,
        ground: &Ground,
    ) {
        let (guests, turned) = (clients.guests(), clients.turned_away());
        let own = clients.len().saturating_sub(guests + turned[0] + turned[1]);
        let files = guests + clients.spool_files() + self.listeners.iter().count();
        let has_descriptors =
            fds_of(own, workers, files) + ((WIRE * wires + SPARE) as u64) < ground.most_fds();
        let has_time = self.accept_at.is_none();
        // One client of each kind is always served, however low the limit.
        let own_place = own == 0 || has_descriptors;
        let guest_place = guests == 0 || has_descriptors && !clients.has_all_guests();
        self.note_places([own_place, guest_place]);
        self.has_places = has_time && own_place && guest_place;
        self.leave_to_workers(ground);
        let is_refused_now = |kind: usize| self.refuses[kind] && turned[kind] < TURNED_AWAY[kind];
        let open = Accepting {
            own: has_time && (own_place || is_refused_now(0)),
            guests: has_time && self.leaves_until.is_none() && (guest_place || is_refused_now(1)),
        };
        if open == self.listeners.open {
            return;
        }
        let now = clock::now();
        if !(own_place && guest_place) && self.listeners.silent_until <= now {
            self.listeners.silent_until = now + WARN_INTERVAL;
            if own_place {
                ::log::warn!(
                    "no room for more guests: others wait in the backlog: guests={guests}"
                );
            } else {
                let (clients, limit) = (clients.len(), ground.most_fds());
                ::log::warn!("descriptors run out: clients={clients} limit={limit}");
            }
        }
        if self.listeners.watch(&ground.poll, open).is_err() {
            // Tried again, as after an accept that failed.
            let _ = self.listeners.watch(&ground.poll, Accepting::default());
            self.accept_at = Some(now + ACCEPT_PAUSE);
        }
    }

    /// While a few requests wait here that are served soon, the workers could take new ones themselves, if none came here
    /// meanwhile. That is tried for a moment, and not again for a while: it may not come to that, and the backlog is small.
    fn leave_to_workers(&mut self, ground: &Ground) {
        let pool = &ground.pool;
        if pool.drains_until.is_none() && self.leaves_until.is_none() {
            return;
        }
        let now = clock::now();
        match self.leaves_until {
            None if self.leaves_from <= now => self.leaves_until = pool.drains_until,
            Some(until) if until <= now || pool.accepting != (0, 0) || pool.at_once > 0 => {
                self.leaves_until = None;
                self.leaves_from = now + LEAVE_PAUSE;
            }
            _ => {}
        }
    }

    fn note_places(&mut self, has_place: [bool; 2]) {
        let is_usual = !self.fullness.iter().any(Fullness::has_begun);
        if is_usual && has_place == [true; 2] {
            return;
        }
        let now = clock::now();
        self.refuse_at = None;
        for (kind, fullness) in self.fullness.iter_mut().enumerate() {
            self.refuses[kind] = fullness.refuses(has_place[kind], now);
            let due = fullness.next_deadline(now);
            self.refuse_at = [self.refuse_at, due].into_iter().flatten().min();
        }
    }

    /// Accepts nothing until then.
    pub(super) fn pause(&mut self, until: Duration) {
        self.accept_at = Some(until);
    }

    pub(super) fn pass_time(&mut self, now: Duration) {
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let times = [
            self.accept_at,
            self.refuse_at,
            self.leaves_until,
            self.nap_due(),
        ];
        times.into_iter().flatten().min()
    }

    /// What `status` is to say, if anything is wrong.
    pub(super) fn trouble(&self) -> Option<String> {
        self.listeners.trouble()
    }

    /// Where each listener came from, and its socket.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// A listener was passed by LISTEN_FDS: its clients can't start us again.
    pub(super) fn is_given_any(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.origin == Origin::Given)
    }
}

/// `listen`.
impl Door {
    /// Begins to listen at all addresses of the configuration. If one of them can't be bound, the
    /// others are all the same.
    pub(super) fn listen_everywhere(&mut self, handed: Handed, ground: &Ground) {
        for socket in handed.given {
            self.add(socket, Origin::Given, ground);
        }
        for socket in handed.listen {
            let addresses = ground.config.listen.addresses.iter();
            let mut serving = addresses.filter(|a| listen::serves(socket.as_fd(), a));
            // The version before us may have read other addresses than we did.
            if let Some(address) = serving.next().cloned() {
                self.add(socket, of_listen(address), ground);
            }
        }
        for sentence in &self.listeners.wrong_names {
            ::log::error!("{sentence}");
        }
        if self.is_missing_any(&ground.config) {
            match NameLock::wait(&ground.place) {
                Ok(lock) => self.listen_where_missing(&lock, ground),
                Err(error) => ::log::warn!("{error}"),
            }
        }
    }

    fn add(&mut self, socket: OwnedFd, origin: Origin, ground: &Ground) {
        let fd = socket.as_raw_fd();
        if !sys::listen::is_listening(socket.as_fd()) {
            ::log::error!("descriptor {fd} is not a listening stream socket: it is closed");
            return;
        }
        let backlog = app::backlog(&ground.config);
        let ours = socket::set_nonblocking(socket.as_fd())
            .and_then(|()| socket::take_over(socket.as_fd(), backlog));
        if let Err(error) = ours {
            ::log::error!("cannot listen on descriptor {fd}: {error}");
            return;
        }
        // No front connects there, so no descriptors are taken. TCP sockets and older kernels can't refuse them.
        let _ = fdpass::refuse(socket.as_fd());
        match &origin {
            Origin::Given => ::log::info!("listening: descriptor={fd}"),
            Origin::Listen { address, .. } => ::log::info!("listening: address={address}"),
            Origin::Own => {}
        }
        self.listeners.add(&ground.poll, socket, origin);
    }

    fn is_missing_any(&self, config: &Config) -> bool {
        let mut addresses = config.listen.addresses.iter();
        addresses.any(|address| !self.listeners.has(address))
    }

    /// `_lock`: a daemon of this app that leaves has given up its addresses by then, and no other begins beside us.
    fn listen_where_missing(&mut self, _lock: &NameLock, ground: &Ground) {
        let how = &ground.config.listen;
        let backlog = app::backlog(&ground.config);
        let before = std::mem::take(&mut self.listeners.wrong_addresses);
        for address in &how.addresses {
            if self.listeners.has(address) {
                continue;
            }
            match listen::listen(address, how, backlog) {
                Ok(sockets) => {
                    for socket in sockets {
                        self.add(socket, of_listen(address.clone()), ground);
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

    /// Called from time to time: addresses that were lost, or could not be bound, are tried again.
    pub(super) fn keep_listening(&mut self, clients: &mut Clients, ground: &mut Ground) {
        for lost in self.listeners.take(&ground.poll, Listener::is_lost) {
            if let Origin::Listen { address, .. } = &lost.origin {
                ::log::warn!(
                    "{address} was removed or replaced: it is bound again as soon as that can be"
                );
            }
            self.end(lost, clients, ground);
        }
        if self.is_missing_any(&ground.config)
            && let Ok(Some(lock)) = NameLock::take(&ground.place)
        {
            self.listen_where_missing(&lock, ground);
        }
    }

    /// The configuration may name other addresses by now, or other guests.
    pub(super) fn obey(&mut self, clients: &mut Clients, ground: &mut Ground) {
        let how = ground.config.listen.clone();
        let (guests, unknown) = Guests::new(&how.allow, self.uid);
        let said = std::mem::replace(&mut self.listeners.wrong_names, unknown);
        let unsaid = self.listeners.wrong_names.iter();
        for sentence in unsaid.filter(|sentence| !said.contains(sentence)) {
            ::log::error!("{sentence}");
        }
        self.guests = guests;
        let is_unnamed = |origin: &Origin| match origin {
            Origin::Listen { address, .. } => !how.addresses.contains(address),
            Origin::Given | Origin::Own => false,
        };
        for unnamed in self.listeners.take(&ground.poll, is_unnamed) {
            if let Origin::Listen { address, .. } = &unnamed.origin {
                ::log::info!("no longer listening: address={address}");
            }
            self.end(unnamed, clients, ground);
        }
        self.listeners.wrong_addresses.clear();
        self.keep_listening(clients, ground);
        let backlog = app::backlog(&ground.config);
        for listener in self.listeners.iter() {
            // If this fails, the backlog before does as well.
            let _ = socket::take_over(listener.socket.as_fd(), backlog);
        }
        let permitted = self.listeners.iter().filter_map(|l| match &l.origin {
            Origin::Listen {
                address: Address::Path(path),
                ..
            } => listen::permit(path, &how).err(),
            _ => None,
        });
        for cannot in permitted.collect::<Vec<_>>() {
            ::log::error!("{cannot}");
            self.listeners.wrong_addresses.push(cannot.to_string());
        }
        clients.limit_guests(shares_of(&ground.config, ground.most_fds()));
    }

    fn end(&mut self, listener: Listener, clients: &mut Clients, ground: &mut Ground) {
        let is_own = listener.origin == Origin::Own;
        for connection in listener.end() {
            self.come_in(connection, is_own, HeaderReader::default(), clients, ground);
        }
    }

    /// Ends all listeners. The connections that were in their backlogs are to be let in; `true`: at our own socket.
    pub(super) fn end_all(&mut self, ground: &Ground) -> Vec<(OwnedFd, bool)> {
        let mut connected = Vec::new();
        self.refuses = [false; 2];
        for listener in self.listeners.take(&ground.poll, |_| true) {
            let is_own = listener.origin == Origin::Own;
            let last = listener.end().into_iter();
            connected.extend(last.map(|connection| (connection, is_own)));
        }
        connected
    }
}

/// The most descriptors that these numbers of clients and workers need: a connection and three that were
/// passed; a channel, a pipe, an escrow, a claim, and a file that it may begin to spool to; the files
/// that are spooled; and our own.
fn fds_of(clients: usize, workers: usize, files: usize) -> u64 {
    (OURS + 4 * clients + 5 * workers + files) as u64
}
