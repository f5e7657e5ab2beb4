//! Runs the import of an application for a limited time, in a process group of its own, which is gone afterwards with
//! all that it has started. It knows no application: facts are lines that trial.py writes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::poll::{Interest, wait_any, wait_one};
use crate::sys::process::{self, End};
use crate::sys::program::{NotStarted, Program};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::{clock, files, socket};

/// How long an import may go on that has bound an address: a server does not return.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a process may take to say where it is.
const WHERE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a killed process may take to end.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// What is kept of what it says: the beginning and the end.
const KEPT: usize = 32 << 10;
/// The most rounds in which what it has left is ended.
const ROUNDS: usize = 16;

/// What came of it.
#[derive(Debug)]
pub(super) struct Trial {
    /// Lines of a word and what follows it.
    facts: String,
    /// What was printed.
    pub(super) stderr: String,
    /// How it ended; `None`: it had no end, and was killed.
    pub(super) end: Option<End>,
    /// How long it took.
    pub(super) time: Duration,
}

impl Trial {
    /// What follows the first fact of that word.
    pub(super) fn fact(&self, word: &str) -> Option<&str> {
        self.facts.lines().find_map(|line| {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            (first == word).then_some(rest)
        })
    }
}

/// Runs the program, which may take `limit`.
pub(super) fn run(program: &Program<'_>, limit: Duration) -> Result<Trial, NotStarted> {
    let system = |call| move |error| NotStarted { call, error };
    // What leaves the group becomes a child of this process, and is ended as well.
    let _ = process::become_subreaper();
    let null = files::null().map_err(system("open"))?;
    let (said, say) = files::pipe().map_err(system("pipe2"))?;
    let (told, tell) = files::pipe().map_err(system("pipe2"))?;
    for end in [&said, &told] {
        socket::set_nonblocking(end.as_fd()).map_err(system("fcntl"))?;
    }
    let watched = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    let signals = SignalPipe::new(&watched).map_err(system("pipe2"))?;
    let fds = [null.as_fd(), say.as_fd(), say.as_fd(), tell.as_fd()];
    let child = program.prepare_leader(&fds, None)?;
    let since = clock::now();
    let child = child.go()?;
    drop((say, tell));
    let mut run = TrialRun {
        child,
        said: TrialOutput::new(said.into()),
        told: TrialOutput::new(told.into()),
        signals,
    };
    let end = run.wait(since + limit);
    let time = clock::now().saturating_sub(since);
    if end.is_none() {
        process::ask_where(child);
        run.listen(clock::now() + WHERE_PATIENCE);
    }
    run.end_all();
    Ok(Trial {
        time,
        facts: run.told.text(),
        stderr: run.said.text(),
        end,
    })
}

struct TrialRun {
    child: i32,
    said: TrialOutput,
    told: TrialOutput,
    signals: SignalPipe,
}

impl TrialRun {
    /// How it ends by `deadline`, which comes sooner once it has bound an address.
    fn wait(&mut self, mut deadline: Duration) -> Option<End> {
        let ended = process::open(self.child).ok()?;
        let mut has_bound = false;
        loop {
            let left = deadline.saturating_sub(clock::now());
            if left.is_zero() {
                return None;
            }
            let mut fds = vec![
                (self.signals.as_fd(), Interest::Read),
                (ended.as_fd(), Interest::Read),
            ];
            let outputs = [&self.said, &self.told];
            let open = outputs.into_iter().filter(|output| !output.is_at_end);
            fds.extend(open.map(|output| (output.pipe.as_fd(), Interest::Read)));
            // If a signal interrupts it, all are looked at all the same.
            let has_ended = wait_any(&fds, Some(left)).is_ok_and(|ready| ready[1]);
            if let Some(&signal) = self.signals.take().first() {
                self.end_all();
                process::leave(128_u8.saturating_add(signal as u8));
            }
            self.said.read();
            self.told.read();
            if has_ended {
                return process::wait(self.child);
            }
            if !has_bound && memchr::memmem::find(&self.told.bytes, b"bound ").is_some() {
                has_bound = true;
                deadline = deadline.min(clock::now() + SERVER_PATIENCE);
            }
        }
    }

    /// Hears what it says of its stack, to the last line, which is the adaptor's own; or until it ends.
    fn listen(&mut self, deadline: Duration) {
        while !self.said.is_at_end && !self.said.bytes.ends_with(b" in <module>\n") {
            let left = deadline.saturating_sub(clock::now());
            if left.is_zero() {
                return;
            }
            let fds = [(self.said.pipe.as_fd(), Interest::Read)];
            // If a signal interrupts it, what is there is read all the same.
            let _ = wait_any(&fds, Some(left));
            self.said.read();
        }
    }

    /// Ends the group, and what has left it.
    fn end_all(&mut self) {
        process::signal_group(self.child, Signal::SIGKILL);
        for _ in 0..ROUNDS {
            let left = process::children();
            if left.is_empty() {
                break;
            }
            for child in left {
                process::signal(child, Signal::SIGKILL);
                // One that waits for a dead file system does not end.
                if let Ok(ended) = process::open(child) {
                    let _ = wait_one(ended.as_fd(), Interest::Read, END_PATIENCE);
                }
                process::bury(child);
            }
        }
        self.said.read();
        self.told.read();
    }
}

/// One end of a pipe, and what came from it.
struct TrialOutput {
    pipe: File,
    bytes: Vec<u8>,
    is_at_end: bool,
}

impl TrialOutput {
    fn new(pipe: File) -> TrialOutput {
        TrialOutput {
            pipe,
            bytes: Vec::new(),
            is_at_end: false,
        }
    }

    /// Takes what is there; of much, the beginning and the end are kept.
    fn read(&mut self) {
        let mut block = [0; 4096];
        // As much as a pipe holds: a process that writes without an end must not keep us here.
        for _ in 0..16 {
            match self.pipe.read(&mut block) {
                Ok(0) => {
                    self.is_at_end = true;
                    return;
                }
                Ok(count) => self.bytes.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            if self.bytes.len() > 2 * KEPT {
                let surplus = self.bytes.len() - KEPT;
                self.bytes.drain(KEPT / 2..surplus + KEPT / 2);
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
