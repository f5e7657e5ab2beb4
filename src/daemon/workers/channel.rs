//! A process at the other end of a channel: what it says, and what it writes to its pipe. Knows the words of the
//! protocol, not what follows from them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use smallvec::SmallVec;

use crate::daemon::outcome::Change;
use crate::daemon::token::{Source, Token};
use crate::daemon::turn::read_pipe;
use crate::policy::pool::WorkerId;
use crate::sys::poll::{Interest, Poll};
use crate::sys::{Errno, fdpass, is};

/// How often a packet that the host has refused is tried again.
const REFUSALS: u32 = 3;

/// A process that talks over a channel of packets, and has a pipe as standard error.
#[derive(Debug)]
pub(super) struct Process {
    /// None until the process has said it; only then can it be killed and buried.
    pub(super) pid: Option<i32>,
    pub(super) channel: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pub(super) kill_at: Option<Duration>,
    /// The app's own code has been running since it said so: how it ends is the app's.
    pub(super) is_importing: bool,
}

/// What a process said over its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Born,
    /// A file that the import depends on is not what it was: one of those that are always watched, by its number,
    /// or some module, by its name.
    Changed(Change),
    /// The worker takes requests itself from now on.
    Accepting,
    /// Its own request is to be one as any other; it waits until that is so.
    Adopt,
    /// The worker takes none itself any more, and is idle.
    Back {
        last: bool,
        /// Why the host does not let it accept.
        refused: Option<String>,
    },
    Done {
        last: bool,
    },
    Failed(String),
    ForkFailed {
        worker: WorkerId,
        errno: i32,
    },
    /// What ends from here on is not the app's doing.
    Imported,
    /// From here on the app's own code runs.
    Importing,
    Looked,
    /// The spool has no room for more: the worker waits until what is in its file was sent.
    Full,
    /// A connection has come that the worker has accepted and does not serve: the packet.
    Handed(Vec<u8>),
    /// There is more of the response in its file; now up to here.
    More {
        tail: Option<u64>,
    },
    /// The app has raised an error instead of answering, or while it answered: why, and the traceback.
    Raised(String),
    Ready,
    /// The host has refused something: no fault of the app's.
    Refused(String),
    /// A file has come, with what the client does not take yet of the response; up to here.
    Spooled {
        tail: Option<u64>,
    },
    /// So many bytes of the message-body are left to us.
    Unread(u64),
    Unsafe(String),
}

/// The descriptors of a packet.
pub(super) type Passed = SmallVec<[OwnedFd; 4]>;

/// What was heard over a channel: everything, or up to the end of a request. Most often nothing follows that; epoll
/// reports what does.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Each with the descriptors that came with it.
    pub(super) said: SmallVec<[(Said, Passed); 2]>,
    /// The channel has ended.
    pub(super) ended: bool,
}

impl Process {
    pub(super) fn new(pid: Option<i32>, channel: OwnedFd, stderr: OwnedFd) -> Process {
        Process {
            pid,
            channel: Some(channel),
            stderr: Some(stderr),
            kill_at: None,
            is_importing: false,
        }
    }

    pub(super) fn watch(&self, poll: &Poll, source: Source) -> io::Result<()> {
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

    /// Tells a zygote that it is not wanted any more. The end of its channel alone means that the daemon has died.
    pub(super) fn say_leave(&self) {
        if let Some(channel) = &self.channel
            && let Err(error) = fdpass::send(channel.as_fd(), b"leave", &[])
        {
            // A zygote that has ended is buried; if it does not listen, it is killed when its time is over.
            ::log::debug!("cannot tell a zygote to leave: {error}");
        }
    }

    pub(super) fn hang_up(&mut self, poll: &Poll) {
        if let Some(channel) = self.channel.take() {
            poll.remove(&channel);
        }
    }

    pub(super) fn forget(&mut self, poll: &Poll) {
        self.hang_up(poll);
        if let Some(stderr) = self.stderr.take() {
            poll.remove(&stderr);
        }
    }

    /// Hears what the process has said. `packet`: a buffer.
    pub(super) fn hear(&mut self, packet: &mut [u8]) -> Heard {
        let mut heard = Heard::default();
        let Some(channel) = &self.channel else {
            return heard;
        };
        let mut refusals = 0;
        loop {
            match fdpass::receive(channel.as_fd(), packet) {
                Ok(received) if received.len > 0 => {
                    let packet = &packet[..received.len];
                    let words = String::from_utf8_lossy(packet);
                    let said = match packet.starts_with(b"handed ") {
                        true => Some(Said::Handed(packet.to_vec())),
                        false => Said::parse(&words),
                    };
                    if let (Some(Said::Born | Said::Ready), Some((_, pid))) =
                        (&said, words.split_once(' '))
                    {
                        // Once: an application that found the channel must not make us kill other processes.
                        let said = || pid.parse().ok().filter(|&pid| pid > 1);
                        self.pid = self.pid.or_else(said);
                    }
                    match said {
                        Some(Said::Born | Said::Importing) => self.is_importing = true,
                        Some(Said::Imported | Said::Ready) => self.is_importing = false,
                        _ => {}
                    }
                    let is_done = matches!(said, Some(Said::Done { .. }));
                    heard.said.extend(said.map(|said| (said, received.fds)));
                    if is_done {
                        return heard;
                    }
                }
                Err(error) if is(&error, Errno::EAGAIN) => return heard,
                // A packet that was not received is still there.
                Err(error) if refusals < REFUSALS && !is(&error, Errno::ECONNRESET) => {
                    ::log::warn!("cannot hear a process of the app: recvmsg: {error}");
                    refusals += 1;
                }
                Ok(_) => {
                    heard.ended = true;
                    return heard;
                }
                // We end the channel, so how the process ends is not the app's doing.
                Err(_) => {
                    self.is_importing = false;
                    heard.ended = true;
                    return heard;
                }
            }
        }
    }

    pub(super) fn overhear(&mut self, poll: &Poll) -> Vec<u8> {
        read_pipe(&mut self.stderr, poll)
    }
}

impl Said {
    /// A worker says it of the request that it has.
    pub(super) fn is_of_request(&self) -> bool {
        matches!(
            self,
            Said::Adopt
                | Said::Done { .. }
                | Said::Full
                | Said::More { .. }
                | Said::Raised(_)
                | Said::Spooled { .. }
                | Said::Unread(_)
        )
    }

    /// `None`: words that we don't know, from an application that found the channel.
    fn parse(words: &str) -> Option<Said> {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        match verb {
            "adopt" => Some(Said::Adopt),
            "accepting" => Some(Said::Accepting),
            "back" => Some(Said::Back {
                last: rest == "last",
                refused: rest.strip_prefix("- ").map(str::to_owned),
            }),
            "born" => Some(Said::Born),
            "changed" => match rest.strip_prefix("- ") {
                Some(module) => Some(Said::Changed(Change::Module(module.to_owned()))),
                None => Some(Said::Changed(Change::Watched(rest.parse().ok()?))),
            },
            "done" => Some(Said::Done {
                last: rest == "last",
            }),
            "failed" => Some(Said::Failed(rest.to_owned())),
            "fork-failed" => {
                let (worker, errno) = rest.split_once(' ')?;
                let (worker, errno) = (worker.parse().ok()?, errno.parse().ok()?);
                Some(Said::ForkFailed { worker, errno })
            }
            "imported" => Some(Said::Imported),
            "importing" => Some(Said::Importing),
            "looked" => Some(Said::Looked),
            "full" => Some(Said::Full),
            "more" => Some(Said::More {
                tail: rest.parse().ok(),
            }),
            "raised" => Some(Said::Raised(rest.to_owned())),
            "ready" => Some(Said::Ready),
            "refused" => Some(Said::Refused(rest.to_owned())),
            "spooled" => Some(Said::Spooled {
                tail: rest.parse().ok(),
            }),
            "unread" => rest.parse().ok().map(Said::Unread),
            "unsafe" => Some(Said::Unsafe(rest.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{files, socket};

    #[test]
    fn the_first_pid_is_believed() {
        let (ours, theirs) = socket::packet_pair().unwrap();
        let (stderr, _) = files::pipe().unwrap();
        let mut process = Process::new(None, ours, stderr);
        let mut say = |words: &str| {
            fdpass::send(theirs.as_fd(), words.as_bytes(), &[]).unwrap();
            process.hear(&mut [0; 64]);
            process.pid
        };
        assert_eq!(
            say("ready 1"),
            None,
            "kill(1) ends the init process, kill(-1) every process"
        );
        assert_eq!(say("born 77"), Some(77));
        assert_eq!(say("ready 77"), Some(77));
        assert_eq!(say("ready 78"), Some(77));
    }

    #[test]
    fn whose_end_it_is_shows_in_what_was_said() {
        let (ours, theirs) = socket::packet_pair().unwrap();
        let (stderr, _) = files::pipe().unwrap();
        let mut process = Process::new(Some(7), ours, stderr);
        let mut said = |words: &str| {
            fdpass::send(theirs.as_fd(), words.as_bytes(), &[]).unwrap();
            process.hear(&mut [0; 64]);
            process.is_importing
        };
        assert!(said("importing"));
        assert!(!said("imported"));
        assert!(said("importing") && !said("ready"));
        assert!(said("born 7") && !said("ready 7"));
    }

    #[test]
    fn the_words_of_the_adaptor() {
        assert_eq!(Said::parse("born 123"), Some(Said::Born));
        assert_eq!(Said::parse("imported"), Some(Said::Imported));
        assert_eq!(Said::parse("importing"), Some(Said::Importing));
        let refused = Said::Refused("MemoryError: ".to_owned());
        assert_eq!(Said::parse("refused MemoryError: "), Some(refused));
        assert_eq!(Said::parse("done"), Some(Said::Done { last: false }));
        assert_eq!(Said::parse("done last"), Some(Said::Done { last: true }));
        assert_eq!(Said::parse("ready 123"), Some(Said::Ready));
        assert_eq!(Said::parse("looked"), Some(Said::Looked));
        let change = Said::Changed(Change::Watched(2));
        assert_eq!(Said::parse("changed 2"), Some(change));
        let change = Said::Changed(Change::Module("a.b".to_owned()));
        assert_eq!(Said::parse("changed - a.b"), Some(change));
        assert_eq!(Said::parse("changed -1"), None);
        let failed = Said::Failed("ImportError: no module".to_owned());
        assert_eq!(Said::parse("failed ImportError: no module"), Some(failed));
        let raised = Said::Raised("KeyError: 1\n\nTraceback".to_owned());
        assert_eq!(Said::parse("raised KeyError: 1\n\nTraceback"), Some(raised));
        let fork = Said::ForkFailed {
            worker: 3,
            errno: 11,
        };
        assert_eq!(Said::parse("fork-failed 3 11"), Some(fork));
        assert_eq!(Said::parse("fork-failed x"), None);
        assert_eq!(Said::parse(""), None);
        assert_eq!(Said::parse("full"), Some(Said::Full));
        let spooled = |tail| Some(Said::Spooled { tail });
        assert_eq!(Said::parse("spooled 70000"), spooled(Some(70_000)));
        assert_eq!(Said::parse("spooled"), spooled(None));
        assert_eq!(Said::parse("more 8"), Some(Said::More { tail: Some(8) }));
        assert_eq!(Said::parse("unread 5"), Some(Said::Unread(5)));
        assert_eq!(Said::parse("unread -5"), None);
        assert_eq!(Said::parse("accepting"), Some(Said::Accepting));
        assert_eq!(Said::parse("adopt"), Some(Said::Adopt));
        let back = |last, refused: Option<&str>| {
            let refused = refused.map(str::to_owned);
            Some(Said::Back { last, refused })
        };
        assert_eq!(Said::parse("back"), back(false, None));
        assert_eq!(Said::parse("back last"), back(true, None));
        assert_eq!(
            Said::parse("back - [Errno 24] x"),
            back(false, Some("[Errno 24] x"))
        );
    }
}
