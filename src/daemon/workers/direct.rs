//! Requests that workers take themselves: what the daemon tells them for that, what the board says of it, and how such a
//! request becomes one as any other. The worker's side is src/app/doorway.py.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use smallvec::SmallVec;

use super::Workers;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::guest::{Accepted, Offer};
use crate::daemon::outcome::Outcome;
use crate::figures::BINS;
use crate::policy::pool::{Event, Generation, OwnWork, WorkerId};
use crate::policy::queue::Number;
use crate::sys::claim::Claim;
use crate::sys::memory::{Board, Desk};
use crate::sys::{clock, fdpass, process, socket};

/// A request that a worker has had for this long is adopted: its client's end is to be watched for, and its time.
const LONG: Duration = Duration::from_millis(20);

/// Until a worker may accept again after the host has refused something, or there was nothing to accept from.
const PAUSE: Duration = Duration::from_secs(1);

const _: () = assert!(BINS == Board::BINS);

/// The workers that take requests themselves.
#[derive(Debug, Default)]
pub(super) struct Escrows {
    by_worker: BTreeMap<WorkerId, Escrow>,
    /// Which listeners each zygote has: if we die, it ends them.
    zygotes: BTreeMap<Generation, u32>,
    /// The listeners that workers are to have.
    offers: Vec<Offer>,
    /// Increases when these change.
    version: u32,
    is_refusal_logged: bool,
    /// All that there were, by their numbers: a worker may have those of before.
    known: BTreeMap<u32, Offer>,
}

#[derive(Debug)]
struct Escrow {
    /// The reading end.
    escrow: OwnedFd,
    /// The one that takes it ends the request. None where a worker's descriptors can't be copied.
    claim: Option<Claim>,
    /// Which listeners it has.
    version: u32,
    /// What its desk said when it was last looked at, and since when it had a request of its own.
    desk: Desk,
    busy_since: Option<Duration>,
    accepts: bool,
}

impl Workers {
    /// Tells a worker to take requests itself.
    pub(crate) fn accept(
        &mut self,
        worker: WorkerId,
        requests: u32,
        listeners: &[(Offer, BorrowedFd<'_>)],
        ground: &mut Ground,
    ) {
        if listeners.is_empty() {
            let until = clock::now() + PAUSE;
            ground.tell_pool_next(Event::CallIn { until });
        } else if let Err(error) = self.begin_direct(worker, requests, listeners, ground) {
            self.note_cannot_accept(&error.to_string(), ground);
        } else {
            return;
        }
        ground.tell_pool_next(Event::Back {
            worker,
            last: false,
        });
    }

    /// The host does not let a worker accept: tried again after a while, and logged once.
    pub(super) fn note_cannot_accept(&mut self, reason: &str, ground: &mut Ground) {
        if !std::mem::replace(&mut self.escrows.is_refusal_logged, true) {
            ::log::warn!(
                "the daemon gives all requests to the workers, which can't accept: {reason}"
            );
        }
        let until = clock::now() + PAUSE;
        ground.tell_pool_next(Event::CallIn { until });
    }

    fn begin_direct(
        &mut self,
        worker: WorkerId,
        requests: u32,
        listeners: &[(Offer, BorrowedFd<'_>)],
        ground: &Ground,
    ) -> std::io::Result<()> {
        let offers: Vec<Offer> = listeners.iter().map(|(offer, _)| offer.clone()).collect();
        if offers != self.escrows.offers {
            let numbered = offers.iter().map(|offer| (offer.number, offer.clone()));
            self.escrows.known.extend(numbered);
            self.escrows.offers = offers;
            self.escrows.version += 1;
        }
        let version = self.escrows.version;
        let generation = self.roster.generation(worker);
        if self.escrows.zygotes.get(&generation) != Some(&version) {
            let say = |words: &str, fds: &[BorrowedFd<'_>]| {
                self.roster.say_zygote(generation, words.as_bytes(), fds)
            };
            say("listeners", &[])?;
            for (_, listener) in listeners.iter().filter(|(offer, _)| !offer.is_given) {
                say("listener", &[*listener])?;
            }
            self.escrows.zygotes.insert(generation, version);
        }
        let desk = ground.board.desk(worker);
        let roster = &self.roster;
        let say = |words: &str, fds: &[BorrowedFd<'_>]| roster.say(worker, words.as_bytes(), fds);
        let direct = match self.escrows.by_worker.entry(worker) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let (reading, writing) = socket::packet_pair()?;
                let claim = claim_for(roster.pid(worker));
                let mut fds = vec![writing.as_fd(), reading.as_fd()];
                fds.extend(claim.as_ref().map(AsFd::as_fd));
                say("escrow", &fds)?;
                place.insert(Escrow {
                    escrow: reading,
                    claim,
                    version: 0,
                    desk: desk.clone(),
                    busy_since: None,
                    accepts: false,
                })
            }
        };
        if direct.version != version {
            let limit = ground.config.limits.header;
            let mount = ground.config.mount.as_ref();
            let mount = mount.map_or("-", |mount| mount.script_name());
            let page = ground.config.status.path.as_deref().unwrap_or_default();
            say(&format!("listeners {limit}\n{mount}\n{page}"), &[])?;
            for (offer, listener) in listeners {
                say(&format!("listener {}", offer.words), &[*listener])?;
            }
            direct.version = version;
        }
        direct.desk = desk;
        direct.busy_since = None;
        direct.accepts = true;
        ground.board.clear_desk(worker);
        say(&format!("accept {requests}"), &[])
    }

    /// Tells a worker to take no more requests itself.
    pub(crate) fn recall(&self, worker: WorkerId) {
        self.roster.tell(worker, b"recall");
    }

    /// What the workers that accept have done since the last time.
    pub(crate) fn see(&mut self, clients: &mut Clients, ground: &mut Ground) {
        let now = clock::now();
        let all: SmallVec<[WorkerId; 32]> = self.escrows.accepting().collect();
        if !all.is_empty() {
            let busy = all
                .iter()
                .filter(|&&worker| ground.board.direct_since(worker).is_some());
            let busy = busy.count() + clients.running();
            ground.slots.note_busy(busy as u64, now);
        }
        let mut seen = Vec::new();
        for worker in all {
            let busy_since = ground.board.direct_since(worker);
            let is_long = busy_since.is_some_and(|since| since + LONG <= now);
            if !is_long || self.adopt(worker, clients, ground).is_none() {
                seen.extend(self.fold(worker, now, clients, ground));
            }
        }
        if !seen.is_empty() {
            ground.tell_pool_next(Event::Seen(seen));
        }
    }

    /// Counts what the worker has served by itself since the last time; if anything is new, what the pool is to know.
    fn fold(
        &mut self,
        worker: WorkerId,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<OwnWork> {
        let direct = self.escrows.by_worker.get_mut(&worker)?;
        let busy_since = ground.board.direct_since(worker);
        let before = std::mem::replace(&mut direct.desk, ground.board.desk(worker));
        let was_busy_since = std::mem::replace(&mut direct.busy_since, busy_since);
        if direct.desk == before && was_busy_since == busy_since {
            return None;
        }
        // A worker writes them one after the other: what is missing of a request now is there the next time.
        clients.count_direct(&direct.desk, &before, now, ground);
        Some(OwnWork {
            worker,
            served: direct.desk.served.wrapping_sub(before.served) as u32,
            took: direct.desk.took.saturating_sub(before.took),
            ended: direct.desk.ended,
            busy_since,
        })
    }

    /// The same, and the pool hears of it.
    fn fold_and_tell(&mut self, worker: WorkerId, clients: &mut Clients, ground: &mut Ground) {
        let seen = self.fold(worker, clock::now(), clients, ground);
        if let Some(seen) = seen {
            ground.tell_pool_next(Event::Seen(vec![seen]));
        }
    }

    /// The number of the worker's request. One that it has taken itself is adopted for that.
    pub(super) fn request_of(
        &mut self,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<Number> {
        clients
            .number_of(worker)
            .or_else(|| self.adopt(worker, clients, ground))
    }

    /// Takes a worker's own request out of the escrow: from now on it is one as any other. `None`: there is none, or it
    /// has just ended.
    fn adopt(
        &mut self,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<Number> {
        let (found, said) = self.take(worker, ground)?;
        self.fold_and_tell(worker, clients, ground);
        if let Some(direct) = self.escrows.by_worker.get_mut(&worker) {
            direct.accepts = false;
        }
        let since = ground.board.direct_since(worker).unwrap_or_else(clock::now);
        let number = clients.adopt(found, &said, worker, since, ground)?;
        self.roster.note_given(worker, since, &ground.board);
        ground.tell_pool_next(Event::Adopted {
            worker,
            number,
            since,
        });
        Some(number)
    }

    /// The worker's request, and the last word to its front. From here on it is ours to end.
    fn take(&self, worker: WorkerId, ground: &Ground) -> Option<(Accepted, String)> {
        let direct = self.escrows.by_worker.get(&worker)?;
        let mut packet = [0; 8192];
        let received = match &direct.claim {
            Some(claim) if claim.take() => {
                return self.copied(worker, ground).or_else(|| {
                    // Then the worker ends it by itself, or is dead.
                    claim.lay_down();
                    None
                });
            }
            _ => fdpass::receive(direct.escrow.as_fd(), &mut packet).ok()?,
        };
        let mut fds = received.fds;
        if received.len == 0 || fds.is_empty() {
            return None;
        }
        let connection = fds.remove(0);
        let (words, header) = split(&packet[..received.len])?;
        let mut words = words.split(' ');
        let found = self.found(words.next()?.parse().ok()?, connection, header)?;
        let said = words.next().unwrap_or_default().to_owned();
        let found = Accepted {
            passed: fds,
            ..found
        };
        Some((found, said))
    }

    /// The same of a request of which the worker alone has the descriptors.
    fn copied(&self, worker: WorkerId, ground: &Ground) -> Option<(Accepted, String)> {
        let (fd, listener, header) = ground.board.header(worker);
        let process = process::open(self.roster.pid(worker)?).ok()?;
        let connection = process::descriptor_of(process.as_fd(), fd)
            .inspect_err(|error| ::log::debug!("cannot copy a connection: {error}"))
            .ok()?;
        let found = self.found(listener, connection, &header)?;
        Some((found, String::new()))
    }

    fn found(&self, listener: u32, connection: OwnedFd, header: &[u8]) -> Option<Accepted> {
        let offer = self.escrows.known.get(&listener)?;
        Some(Accepted {
            caller: offer.caller(connection.as_fd()),
            connection,
            header: header.to_vec(),
            passed: SmallVec::new(),
            was_cut: false,
        })
    }

    /// The worker has handed a connection to us.
    pub(super) fn handed(
        &self,
        packet: &[u8],
        mut fds: SmallVec<[OwnedFd; 4]>,
    ) -> Option<Accepted> {
        if fds.is_empty() {
            return None;
        }
        let connection = fds.remove(0);
        let (words, header) = split(packet)?;
        let mut words = words.strip_prefix("handed ")?.split(' ');
        let found = self.found(words.next()?.parse().ok()?, connection, header)?;
        Some(Accepted {
            passed: fds,
            was_cut: words.next() == Some("1"),
            ..found
        })
    }

    /// The header of the request that a dead worker had, whose connection has ended with it.
    pub(super) fn lost(&self, worker: WorkerId, ground: &Ground) -> Option<Vec<u8>> {
        let claim = self.escrows.by_worker.get(&worker)?.claim.as_ref()?;
        claim.take().then(|| ground.board.header(worker).2)
    }

    /// The worker takes no more requests itself.
    pub(super) fn end_direct(
        &mut self,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        self.fold_and_tell(worker, clients, ground);
        if let Some(direct) = self.escrows.by_worker.get_mut(&worker) {
            direct.accepts = false;
        }
        ground.tell(Outcome::AcceptsNoMore);
    }

    /// The zygote has no listeners: it is new, or has started itself anew.
    pub(super) fn forget_listeners_of(&mut self, generation: Generation) {
        self.escrows.zygotes.remove(&generation);
    }

    pub(super) fn forget_direct(&mut self, worker: WorkerId) {
        self.escrows.by_worker.remove(&worker);
    }
}

impl Escrows {
    fn accepting(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let accepting = self.by_worker.iter().filter(|(_, direct)| direct.accepts);
        accepting.map(|(&worker, _)| worker)
    }
}

/// A claim, if a copy of a descriptor of this process can be had.
fn claim_for(worker: Option<i32>) -> Option<Claim> {
    let process = process::open(worker?).ok()?;
    process::descriptor_of(process.as_fd(), 0).ok()?;
    Claim::new().ok()
}

/// The first line, and what follows it.
fn split(packet: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr(b'\n', packet)?;
    Some((
        std::str::from_utf8(&packet[..end]).ok()?,
        &packet[end + 1..],
    ))
}
