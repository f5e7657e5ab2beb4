//! epoll(7), level-triggered, with a token for each descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end; or room to write.
    Both,
    /// Only that the other end writes no more, or is gone.
    Gone,
    /// Only that both directions are closed, or an error: always reported.
    HangUp,
    /// Something to read, or the end.
    Read,
    /// Something to read, told once, and only if no process that began to wait before has been woken for it (EPOLLET,
    /// EPOLLEXCLUSIVE).
    ReadLast,
    /// What is urgent (EPOLLPRI); reported with nothing else set.
    Urgent,
    /// Room to write.
    Write,
}

/// What happened to the descriptor with this token.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// The other end is gone, or the descriptor is in error.
    pub gone: bool,
}

/// The descriptors that one loop waits for.
#[derive(Debug)]
pub struct Poll {
    epoll: Epoll,
}

impl Poll {
    /// No descriptors yet.
    pub fn new() -> io::Result<Poll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poll { epoll })
    }

    /// Adds a descriptor. `EPERM`: its kind is always ready (a file, /dev/null).
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self
            .epoll
            .add(fd, EpollEvent::new(flags(interest), token))?)
    }

    /// Changes what is waited for.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(flags(interest), token);
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Removes a descriptor. Needed before closing one that another process may hold as well: epoll knows the open file
    /// description, which then lives on.
    pub fn remove(&self, fd: impl AsFd) {
        // An error says that it is not there, which is what we want.
        let _ = self.epoll.delete(fd);
    }

    /// Waits until something is ready, at most `patience` (`None`: for ever). An interrupting signal ends it.
    pub fn wait(&self, ready: &mut Vec<Ready>, patience: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, timeout(patience)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        ready.extend(events[..count].iter().map(|event| Ready {
            token: event.data(),
            readable: event.events().contains(EpollFlags::EPOLLIN),
            writable: event.events().contains(EpollFlags::EPOLLOUT),
            gone:
                event.events().intersects(
                    EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR | EpollFlags::EPOLLRDHUP,
                ),
        }));
        Ok(())
    }
}

/// Rounded up: otherwise the loop would spin in the last millisecond before a deadline.
fn timeout(patience: Option<Duration>) -> EpollTimeout {
    let Some(patience) = patience else {
        return EpollTimeout::NONE;
    };
    let millis = patience.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis)
        .ok()
        .and_then(|ms| EpollTimeout::try_from(ms).ok())
        .unwrap_or(EpollTimeout::MAX)
}

fn flags(interest: Interest) -> EpollFlags {
    match interest {
        Interest::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLOUT,
        Interest::Gone => EpollFlags::EPOLLRDHUP,
        Interest::HangUp => EpollFlags::empty(),
        Interest::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
        Interest::ReadLast => {
            EpollFlags::EPOLLIN | EpollFlags::EPOLLET | EpollFlags::EPOLLEXCLUSIVE
        }
        Interest::Urgent => EpollFlags::EPOLLPRI,
        Interest::Write => EpollFlags::EPOLLOUT,
    }
}

/// Waits for one descriptor to be readable or writable (or gone); `false` after `patience`.
pub fn wait_one(fd: BorrowedFd<'_>, interest: Interest, patience: Duration) -> io::Result<bool> {
    Ok(wait_any(&[(fd, interest)], Some(patience))?[0])
}

/// Waits for any of a few descriptors, at most `patience`; which of them are ready, or gone.
pub fn wait_any(
    fds: &[(BorrowedFd<'_>, Interest)],
    patience: Option<Duration>,
) -> io::Result<smallvec::SmallVec<[bool; 4]>> {
    let mut polled: smallvec::SmallVec<[PollFd<'_>; 4]> = fds
        .iter()
        .map(|&(fd, interest)| {
            let events = match interest {
                Interest::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
                Interest::Gone | Interest::HangUp => PollFlags::empty(),
                Interest::Read | Interest::ReadLast => PollFlags::POLLIN,
                Interest::Urgent => PollFlags::POLLPRI,
                Interest::Write => PollFlags::POLLOUT,
            };
            PollFd::new(fd, events)
        })
        .collect();
    let timeout = patience.map_or(PollTimeout::NONE, |p| {
        let millis = p.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(u32::try_from(millis).unwrap_or(u32::MAX)).unwrap_or(PollTimeout::MAX)
    });
    match nix::poll::poll(&mut polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|p| p.any().unwrap_or(true)).collect())
}

/// Whether the descriptor is ready now; its end counts.
pub fn is_ready(fd: BorrowedFd<'_>, interest: Interest) -> bool {
    wait_one(fd, interest, Duration::ZERO).unwrap_or(true)
}
