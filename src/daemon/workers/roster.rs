//! Zygotes and workers as processes: started, talked to, listened to, buried. Carries out what the pool says,
//! and knows nothing of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::channel::{Heard, Process};
use crate::app::{CannotRun, wsgi};
use crate::config::Target;
use crate::daemon::ground::Ground;
use crate::daemon::token::Source;
use crate::policy::pool::{Generation, WorkerId};
use crate::sys::memory::{Board, Told};
use crate::sys::poll::Poll;
use crate::sys::process::{self, End};
use crate::sys::signal::Signal;
use crate::sys::{fdpass, files, mark, socket};

/// A worker that was told to leave and does not is killed after this long.
const RETIRE_TIME: Duration = Duration::from_secs(5);

/// What a dead process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Orphan,
    Worker(WorkerId),
    Zygote(Generation),
}

/// The request that a worker has.
#[derive(Debug)]
struct Given {
    since: Duration,
    /// Blocks that had moved when this was asked last: for the worker, and for us in its place.
    moved: (u32, u64),
    /// It has taken too long, and was told to end.
    is_overdue: bool,
}

#[derive(Debug)]
pub(super) struct Roster {
    /// What was imported, in the zygotes' own words: one file for all of them.
    loaded: File,
    zygotes: BTreeMap<Generation, Process>,
    /// Zygotes that leave when the last of their workers has gone: these may need what the import has started.
    retired: BTreeSet<Generation>,
    workers: BTreeMap<WorkerId, Process>,
    /// Which zygote each worker is from. This and `given` outlive the process: its death is told with them.
    generations: BTreeMap<WorkerId, Generation>,
    given: BTreeMap<WorkerId, Given>,
    /// Workers that have not said that they are ready.
    starting: BTreeSet<WorkerId>,
    /// The buffer for a packet: the longest has a traceback, as long as a page's reason may be.
    packet: Vec<u8>,
}

impl Roster {
    pub(super) fn new() -> io::Result<Roster> {
        Ok(Roster {
            loaded: files::in_memory(c"polycgi-loaded", false)?,
            zygotes: BTreeMap::new(),
            retired: BTreeSet::new(),
            workers: BTreeMap::new(),
            generations: BTreeMap::new(),
            given: BTreeMap::new(),
            starting: BTreeSet::new(),
            packet: vec![0; 64 << 10],
        })
    }

    /// Starts the process that imports the application.
    pub(super) fn start_zygote(
        &mut self,
        generation: Generation,
        target: &Target,
        watched: &[PathBuf],
        ground: &Ground,
    ) -> Result<(), CannotRun> {
        let (app, config) = (&ground.app, &ground.config);
        let cannot =
            |call| move |error| CannotRun::refused("start the zygote of", &app.path, call, error);
        let (ours, theirs) = socket::packet_pair().map_err(cannot("socketpair"))?;
        let (stderr, write) = files::pipe().map_err(cannot("pipe2"))?;
        socket::set_nonblocking(stderr.as_fd()).map_err(cannot("fcntl"))?;
        let inherits = wsgi::Inheritance {
            channel: theirs.as_fd(),
            board: ground.board.as_fd(),
            loaded: self.loaded.as_fd(),
            stderr: write.as_fd(),
            nofile: ground.nofile,
        };
        let pid = wsgi::spawn_zygote(app, config, target, watched, inherits)?;
        let zygote = Process::new(Some(pid), ours, stderr);
        zygote
            .watch(&ground.poll, Source::Zygote(generation))
            .map_err(cannot("epoll_ctl"))?;
        self.zygotes.insert(generation, zygote);
        Ok(())
    }

    /// Asks a zygote for a worker.
    pub(super) fn spawn(
        &mut self,
        id: WorkerId,
        generation: Generation,
        poll: &Poll,
    ) -> io::Result<()> {
        let zygote = self.zygote_channel(generation)?;
        let (ours, theirs) = socket::packet_pair()?;
        let (stderr, write) = files::pipe()?;
        socket::set_nonblocking(stderr.as_fd())?;
        let order = format!("spawn {id}");
        fdpass::send(
            zygote.as_fd(),
            order.as_bytes(),
            &[theirs.as_fd(), write.as_fd()],
        )?;
        let worker = Process::new(None, ours, stderr);
        worker.watch(poll, Source::Worker(id))?;
        self.workers.insert(id, worker);
        self.generations.insert(id, generation);
        self.given.remove(&id);
        self.starting.insert(id);
        Ok(())
    }

    /// Asks a zygote whether what it imported is still what lies there.
    pub(super) fn look(&self, generation: Generation) -> io::Result<()> {
        fdpass::send(self.zygote_channel(generation)?.as_fd(), b"look", &[]).map(drop)
    }

    fn zygote_channel(&self, generation: Generation) -> io::Result<&OwnedFd> {
        let zygote = self.zygotes.get(&generation);
        let channel = zygote.and_then(|zygote| zygote.channel.as_ref());
        channel.ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Gives a request to an idle worker: its header, and where to read and write.
    pub(super) fn dispatch(
        &mut self,
        id: WorkerId,
        header: &[u8],
        fds: &[BorrowedFd<'_>],
        board: &Board,
        now: Duration,
    ) -> io::Result<()> {
        let channel = self
            .workers
            .get(&id)
            .and_then(|worker| worker.channel.as_ref());
        let channel = channel.ok_or(io::ErrorKind::NotConnected)?;
        board.clear(id);
        let send = || fdpass::send(channel.as_fd(), header, fds);
        // Tried twice, since the front can't take its request back any more, and the host may grant what it refused.
        send().or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::WouldBlock => Err(error),
            _ => send(),
        })?;
        let given = Given {
            since: now,
            moved: (board.moved(id), 0),
            is_overdue: false,
        };
        self.given.insert(id, given);
        Ok(())
    }

    /// Whether a block of the request has moved since this was asked last. `ours`: how many we have moved so far.
    pub(super) fn take_progress(&mut self, id: WorkerId, ours: u64, board: &Board) -> bool {
        let moved = (board.moved(id), ours);
        let given = self.given.get_mut(&id);
        given.is_some_and(|given| std::mem::replace(&mut given.moved, moved) != moved)
    }

    /// Ends a request that has taken too long: the worker writes nothing more, says where it is stuck, and then gives
    /// up, with all that it has started.
    pub(super) fn interrupt(&mut self, id: WorkerId, board: &Board) {
        if let Some(given) = self.given.get_mut(&id) {
            given.is_overdue = true;
        }
        board.tell(id, Told::Overdue);
        if let Some(pid) = self.pid(id) {
            process::ask_where(pid);
            process::signal_group(pid, Signal::SIGTERM);
        }
    }

    /// The worker's request has taken too long.
    pub(super) fn is_overdue(&self, id: WorkerId) -> bool {
        self.given.get(&id).is_some_and(|given| given.is_overdue)
    }

    /// Since when the worker has its request.
    pub(super) fn busy_since(&self, id: WorkerId) -> Option<Duration> {
        self.given.get(&id).map(|given| given.since)
    }

    /// The worker has no request any more.
    pub(super) fn release(&mut self, id: WorkerId) {
        self.given.remove(&id);
    }

    /// A worker has had a request since then, which it has taken itself.
    pub(super) fn note_given(&mut self, id: WorkerId, since: Duration, board: &Board) {
        let given = Given {
            since,
            moved: (board.moved(id), 0),
            is_overdue: false,
        };
        self.given.insert(id, given);
    }

    /// Says something to a worker, with descriptors.
    pub(super) fn say(&self, id: WorkerId, words: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let worker = self.workers.get(&id);
        let channel = worker.and_then(|worker| worker.channel.as_ref());
        let channel = channel.ok_or(io::ErrorKind::NotConnected)?;
        fdpass::send(channel.as_fd(), words, fds).map(drop)
    }

    /// Says something to a zygote, with descriptors.
    pub(super) fn say_zygote(
        &self,
        generation: Generation,
        words: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let zygote = self.zygote_channel(generation)?;
        fdpass::send(zygote.as_fd(), words, fds).map(drop)
    }

    /// Says something to a worker.
    pub(super) fn tell(&self, id: WorkerId, words: &[u8]) {
        let worker = self.workers.get(&id);
        if let Some(channel) = worker.and_then(|worker| worker.channel.as_ref())
            && let Err(error) = fdpass::send(channel.as_fd(), words, &[])
        {
            // A worker that is gone is buried soon; if it does not listen, it is ended when its time is over.
            ::log::debug!("cannot tell worker {id}: {error}");
        }
    }

    /// Lets an idle worker go: the end of its channel tells it.
    pub(super) fn retire(&mut self, id: WorkerId, now: Duration, poll: &Poll) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.hang_up(poll);
            worker.kill_at = Some(now + RETIRE_TIME);
        }
    }

    /// Lets a zygote go, once its workers are gone.
    pub(super) fn retire_zygote(&mut self, generation: Generation, now: Duration, poll: &Poll) {
        self.retired.insert(generation);
        self.release_zygotes(now, poll);
    }

    /// Tells retired zygotes to leave whose last worker has gone.
    pub(super) fn release_zygotes(&mut self, now: Duration, poll: &Poll) {
        for generation in std::mem::take(&mut self.retired) {
            let mut workers = self.workers.keys();
            if workers.any(|id| self.generations.get(id) == Some(&generation)) {
                self.retired.insert(generation);
            } else if let Some(zygote) = self.zygotes.get_mut(&generation) {
                zygote.say_leave();
                zygote.hang_up(poll);
                zygote.kill_at = Some(now + RETIRE_TIME);
            }
        }
    }

    /// Tells zygotes that the end of their channels is not our end: the next version of this program has our pid.
    pub(super) fn say_leave(&self) {
        for zygote in self.zygotes.values() {
            zygote.say_leave();
        }
    }

    /// Lets all zygotes go.
    pub(super) fn retire_zygotes(&mut self, now: Duration, poll: &Poll) {
        let all: Vec<Generation> = self.zygotes.keys().copied().collect();
        for generation in all {
            self.retire_zygote(generation, now, poll);
        }
    }

    /// Ends a worker and everything that it started.
    pub(super) fn kill(&self, id: WorkerId) {
        if let Some(pid) = self.workers.get(&id).and_then(|worker| worker.pid) {
            process::signal_group(pid, Signal::SIGKILL);
        }
    }

    /// Ends a zygote. What its application has started is ended at its burial.
    pub(super) fn kill_zygote(&self, generation: Generation) {
        if let Some(pid) = self.zygotes.get(&generation).and_then(|zygote| zygote.pid) {
            process::signal(pid, Signal::SIGKILL);
        }
    }

    /// Kills all workers and zygotes.
    pub(super) fn kill_all(&self) {
        for &id in self.workers.keys() {
            self.kill(id);
        }
        for pid in self.zygotes.values().filter_map(|zygote| zygote.pid) {
            process::signal(pid, Signal::SIGKILL);
        }
    }

    /// Kills the processes whose time to leave is over.
    pub(super) fn kill_overdue(&mut self, now: Duration) {
        for process in self.workers.values_mut().chain(self.zygotes.values_mut()) {
            if process.kill_at.is_some_and(|at| at <= now) {
                process.kill_at = None;
                if let Some(pid) = process.pid {
                    process::signal(pid, Signal::SIGKILL);
                    process::signal_group(pid, Signal::SIGKILL);
                }
            }
        }
    }

    /// When the next of them is overdue.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let all = self.workers.values().chain(self.zygotes.values());
        all.filter_map(|process| process.kill_at).min()
    }

    /// What this process says over its channel by now: everything, or up to the end of its request.
    pub(super) fn hear(&mut self, source: Source, poll: &Poll) -> Heard {
        let mut packet = std::mem::take(&mut self.packet);
        let heard = self
            .process(source)
            .map(|process| process.hear(&mut packet));
        self.packet = packet;
        let Some(heard) = heard else {
            return Heard::default();
        };
        if let (true, Some(process)) = (heard.ended, self.process(source)) {
            process.hang_up(poll);
        }
        heard
    }

    /// What the process has written to its pipe by now: at least what the pipe held before the call, and not much
    /// more than it can hold.
    pub(super) fn overhear(&mut self, source: Source, poll: &Poll) -> Vec<u8> {
        let process = self.process(source);
        process.map_or_else(Vec::new, |process| process.overhear(poll))
    }

    /// The pid of a worker that has said it.
    pub(super) fn pid(&self, id: WorkerId) -> Option<i32> {
        self.workers.get(&id).and_then(|worker| worker.pid)
    }

    /// Which zygote a worker is from.
    pub(super) fn generation(&self, id: WorkerId) -> Generation {
        self.generations.get(&id).copied().unwrap_or(0)
    }

    /// There is no process left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        self.workers.is_empty() && self.zygotes.is_empty()
    }

    /// A worker whose channel ended before it said its pid was never forked, or died in the zygote's hands.
    pub(super) fn was_never_born(&self, id: WorkerId) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|worker| worker.pid.is_none())
    }

    /// The app's own code runs there: how the process ends is the app's.
    pub(super) fn is_importing(&mut self, source: Source) -> bool {
        self.process(source)
            .is_some_and(|process| process.is_importing)
    }

    /// The worker imports the app, or is about to: it has not said that it is ready.
    pub(super) fn is_starting(&self, id: WorkerId) -> bool {
        self.starting.contains(&id)
    }

    /// The worker is ready, or killed before it was.
    pub(super) fn end_start(&mut self, id: WorkerId) {
        self.starting.remove(&id);
    }

    /// Workers that have not said their pid yet.
    pub(super) fn nameless(&self) -> Vec<WorkerId> {
        let nameless = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.pid.is_none());
        nameless.map(|(&id, _)| id).collect()
    }

    /// Which process has this pid.
    pub(super) fn who(&self, pid: i32) -> Who {
        let mut zygotes = self.zygotes.iter();
        if let Some((&generation, _)) = zygotes.find(|(_, zygote)| zygote.pid == Some(pid)) {
            return Who::Zygote(generation);
        }
        let worker = self
            .workers
            .iter()
            .find(|(_, worker)| worker.pid == Some(pid));
        worker.map_or(Who::Orphan, |(&id, _)| Who::Worker(id))
    }

    /// Buries a dead process. First the group of a worker or zygote is killed, while its pid can't be another's yet. If
    /// a signal ended it, it could not end what else its application had started: that is killed, too.
    pub(super) fn bury(&mut self, pid: i32, who: Who, poll: &Poll) -> Option<End> {
        match who {
            Who::Orphan => {}
            Who::Worker(id) => {
                process::signal_group(pid, Signal::SIGKILL);
                self.forget(id, poll);
            }
            Who::Zygote(generation) => {
                process::signal_group(pid, Signal::SIGKILL);
                self.forget_zygote(generation, poll);
            }
        }
        let end = process::bury(pid);
        if who != Who::Orphan && matches!(end, Some(End::Killed(_))) {
            mark::kill_left(Some(pid));
        }
        end
    }

    /// Forgets a worker that is no more, or never was.
    pub(super) fn forget(&mut self, id: WorkerId, poll: &Poll) {
        self.starting.remove(&id);
        if let Some(mut worker) = self.workers.remove(&id) {
            worker.forget(poll);
        }
    }

    fn forget_zygote(&mut self, generation: Generation, poll: &Poll) {
        if let Some(mut zygote) = self.zygotes.remove(&generation) {
            zygote.forget(poll);
        }
    }

    fn process(&mut self, source: Source) -> Option<&mut Process> {
        match source {
            Source::Server(_) => None,
            Source::Worker(id) => self.workers.get_mut(&id),
            Source::Zygote(generation) => self.zygotes.get_mut(&generation),
        }
    }
}
