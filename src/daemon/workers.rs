//! The zygote and the workers as processes: started, talked to, listened to, buried. Carries out what the pool says,
//! and knows nothing of clients.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::token::{Source, Token};
use crate::app::{CannotRun, wsgi};
use crate::app_file::AppFile;
use crate::config::{Config, Target};
use crate::policy::pool::WorkerId;
use crate::sys::memory::Page;
use crate::sys::poll::{Interest, Poll};
use crate::sys::process::{self, End};
use crate::sys::signal::Signal;
use crate::sys::{Errno, fdpass, files, is, socket, splice};

/// A worker that was told to leave and does not is killed after this long.
const RETIRE_TIME: Duration = Duration::from_secs(5);
/// What a pipe holds, in bytes, unless somebody made it larger.
const PIPE: usize = 65_536;

/// A process that talks over a channel of packets, and has a pipe for what else it says.
#[derive(Debug)]
struct Process {
    /// None before it said so; from then on it can be killed and buried by it.
    pid: Option<i32>,
    channel: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    kill_at: Option<Duration>,
}

/// What a process said over its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Born,
    Done { last: bool },
    Failed(String),
    ForkFailed { worker: WorkerId, errno: i32 },
    Ready,
    Unsafe(String),
}

/// Everything that a channel had to tell.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    /// There will be no more.
    pub(super) ended: bool,
}

/// Who has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Orphan,
    Worker(WorkerId),
    Zygote,
}

#[derive(Debug)]
pub(super) struct Workers {
    page: Page,
    zygote: Option<Process>,
    workers: BTreeMap<WorkerId, Process>,
    nofile: Option<(u64, u64)>,
}

impl Workers {
    pub(super) fn new(nofile: Option<(u64, u64)>) -> io::Result<Workers> {
        Ok(Workers {
            page: Page::new()?,
            zygote: None,
            workers: BTreeMap::new(),
            nofile,
        })
    }

    /// Starts the process that imports the application.
    pub(super) fn start_zygote(
        &mut self,
        app: &AppFile,
        config: &Config,
        target: &Target,
        poll: &Poll,
    ) -> Result<(), CannotRun> {
        let cannot = |error| CannotRun::new("start the zygote of", &app.path, error);
        let (ours, theirs) = socket::packet_pair().map_err(cannot)?;
        let (stderr, write) = files::pipe().map_err(cannot)?;
        let (theirs, page) = (theirs.as_fd(), self.page.as_fd());
        let pid = wsgi::spawn_zygote(
            app,
            config,
            target,
            theirs,
            page,
            write.as_fd(),
            self.nofile,
        )?;
        let zygote = Process::new(Some(pid), ours, stderr);
        zygote.watch(poll, Source::Zygote).map_err(cannot)?;
        self.zygote = Some(zygote);
        Ok(())
    }

    /// Asks the zygote for a worker.
    pub(super) fn spawn(&mut self, id: WorkerId, poll: &Poll) -> io::Result<()> {
        let zygote = self
            .zygote
            .as_ref()
            .and_then(|zygote| zygote.channel.as_ref());
        let zygote = zygote.ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = socket::packet_pair()?;
        let (stderr, write) = files::pipe()?;
        let order = format!("spawn {id}");
        fdpass::send(
            zygote.as_fd(),
            order.as_bytes(),
            &[theirs.as_fd(), write.as_fd()],
        )?;
        let worker = Process::new(None, ours, stderr);
        worker.watch(poll, Source::Worker(id))?;
        self.workers.insert(id, worker);
        Ok(())
    }

    /// Gives a request to an idle worker: its header, and where to read and write.
    pub(super) fn dispatch(
        &self,
        id: WorkerId,
        header: &[u8],
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> io::Result<()> {
        let channel = self
            .workers
            .get(&id)
            .and_then(|worker| worker.channel.as_ref());
        let channel = channel.ok_or(io::ErrorKind::NotConnected)?;
        self.page.clear(id);
        fdpass::send(channel.as_fd(), header, fds).map(drop)
    }

    /// The worker may have written to its client. Asked when it is dead.
    pub(super) fn has_written(&self, id: WorkerId) -> bool {
        self.page.is_set(id)
    }

    /// Lets an idle worker go: the end of its channel tells it.
    pub(super) fn retire(&mut self, id: WorkerId, now: Duration, poll: &Poll) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.hang_up(poll);
            worker.kill_at = Some(now + RETIRE_TIME);
        }
    }

    /// Lets the zygote go.
    pub(super) fn retire_zygote(&mut self, now: Duration, poll: &Poll) {
        if let Some(zygote) = &mut self.zygote {
            zygote.hang_up(poll);
            zygote.kill_at = Some(now + RETIRE_TIME);
        }
    }

    /// Ends a worker and everything that it started.
    pub(super) fn kill(&self, id: WorkerId) {
        if let Some(pid) = self.workers.get(&id).and_then(|worker| worker.pid) {
            process::signal_group(pid, Signal::SIGKILL);
        }
    }

    /// Ends all of them.
    pub(super) fn kill_all(&self) {
        for &id in self.workers.keys() {
            self.kill(id);
        }
        if let Some(pid) = self.zygote.as_ref().and_then(|zygote| zygote.pid) {
            process::signal(pid, Signal::SIGKILL);
        }
    }

    /// Ends those whose time to leave is over.
    pub(super) fn kill_overdue(&mut self, now: Duration) {
        for process in self.workers.values_mut().chain(self.zygote.as_mut()) {
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
        let all = self.workers.values().chain(&self.zygote);
        all.filter_map(|process| process.kill_at).min()
    }

    /// Everything that this process says over its channel by now.
    pub(super) fn hear(&mut self, source: Source, poll: &Poll) -> Heard {
        let Some(process) = self.process(source) else {
            return Heard::default();
        };
        let heard = process.hear();
        if heard.ended {
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

    /// There is no process left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        self.workers.is_empty() && self.zygote.is_none()
    }

    /// A worker whose channel ended before it said its pid was never forked, or died in the zygote's hands.
    pub(super) fn was_never_born(&self, id: WorkerId) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|worker| worker.pid.is_none())
    }

    /// Workers that have not said their pid yet.
    pub(super) fn nameless(&self) -> Vec<WorkerId> {
        let nameless = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.pid.is_none());
        nameless.map(|(&id, _)| id).collect()
    }

    /// Whose pid this is.
    pub(super) fn who(&self, pid: i32) -> Who {
        if self
            .zygote
            .as_ref()
            .is_some_and(|zygote| zygote.pid == Some(pid))
        {
            return Who::Zygote;
        }
        let worker = self
            .workers
            .iter()
            .find(|(_, worker)| worker.pid == Some(pid));
        worker.map_or(Who::Orphan, |(&id, _)| Who::Worker(id))
    }

    /// Buries a dead worker: first its group is killed, while its pid still can't be anybody else's.
    pub(super) fn bury(&mut self, pid: i32, who: Who, poll: &Poll) -> Option<End> {
        match who {
            Who::Orphan => {}
            Who::Worker(id) => {
                process::signal_group(pid, Signal::SIGKILL);
                self.forget(id, poll);
            }
            Who::Zygote => {
                if let Some(mut zygote) = self.zygote.take() {
                    zygote.forget(poll);
                }
            }
        }
        process::bury(pid)
    }

    /// Forgets a worker that is no more, or never was.
    pub(super) fn forget(&mut self, id: WorkerId, poll: &Poll) {
        if let Some(mut worker) = self.workers.remove(&id) {
            worker.forget(poll);
        }
    }

    fn process(&mut self, source: Source) -> Option<&mut Process> {
        match source {
            Source::Worker(id) => self.workers.get_mut(&id),
            Source::Zygote => self.zygote.as_mut(),
        }
    }
}

impl Process {
    fn new(pid: Option<i32>, channel: OwnedFd, stderr: OwnedFd) -> Process {
        Process {
            pid,
            channel: Some(channel),
            stderr: Some(stderr),
            kill_at: None,
        }
    }

    fn watch(&self, poll: &Poll, source: Source) -> io::Result<()> {
        for (fd, token) in [
            (&self.channel, Token::Channel(source)),
            (&self.stderr, Token::Stderr(source)),
        ] {
            if let Some(fd) = fd {
                poll.add(fd, token.into(), Interest::Read)?;
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, poll: &Poll) {
        if let Some(channel) = self.channel.take() {
            poll.remove(&channel);
        }
    }

    fn forget(&mut self, poll: &Poll) {
        self.hang_up(poll);
        if let Some(stderr) = self.stderr.take() {
            poll.remove(&stderr);
        }
    }

    fn hear(&mut self) -> Heard {
        let mut heard = Heard::default();
        let Some(channel) = &self.channel else {
            return heard;
        };
        let mut packet = [0; 4096];
        loop {
            match fdpass::receive(channel.as_fd(), &mut packet) {
                Ok(received) if received.len > 0 => {
                    let words = String::from_utf8_lossy(&packet[..received.len]);
                    let said = Said::parse(&words);
                    if let (Some(Said::Born | Said::Ready), Some((_, pid))) =
                        (&said, words.split_once(' '))
                    {
                        self.pid = pid.parse().ok().or(self.pid);
                    }
                    heard.said.extend(said);
                }
                Err(error) if is(&error, Errno::EAGAIN) => return heard,
                Ok(_) | Err(_) => {
                    heard.ended = true;
                    return heard;
                }
            }
        }
    }

    fn overhear(&mut self, poll: &Poll) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(stderr) = &self.stderr else {
            return bytes;
        };
        let mut block = [0; 16_384];
        while bytes.len() < PIPE && crate::sys::poll::is_ready(stderr.as_fd(), Interest::Read) {
            match splice::read(stderr.as_fd(), &mut block) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&block[..count]),
                _ => {
                    poll.remove(stderr);
                    self.stderr = None;
                    break;
                }
            }
        }
        bytes
    }
}

impl Said {
    /// `None`: words that we don't know, from an application that found the channel.
    fn parse(words: &str) -> Option<Said> {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        match verb {
            "born" => Some(Said::Born),
            "done" => Some(Said::Done {
                last: rest == "last",
            }),
            "failed" => Some(Said::Failed(rest.to_owned())),
            "fork-failed" => {
                let (worker, errno) = rest.split_once(' ')?;
                let (worker, errno) = (worker.parse().ok()?, errno.parse().ok()?);
                Some(Said::ForkFailed { worker, errno })
            }
            "ready" => Some(Said::Ready),
            "unsafe" => Some(Said::Unsafe(rest.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_adaptor() {
        assert_eq!(Said::parse("born 123"), Some(Said::Born));
        assert_eq!(Said::parse("done"), Some(Said::Done { last: false }));
        assert_eq!(Said::parse("done last"), Some(Said::Done { last: true }));
        assert_eq!(Said::parse("ready 123"), Some(Said::Ready));
        let failed = Said::Failed("ImportError: no module".to_owned());
        assert_eq!(Said::parse("failed ImportError: no module"), Some(failed));
        let fork = Said::ForkFailed {
            worker: 3,
            errno: 11,
        };
        assert_eq!(Said::parse("fork-failed 3 11"), Some(fork));
        assert_eq!(Said::parse("fork-failed x"), None);
        assert_eq!(Said::parse(""), None);
    }
}
