//! `status --watch`: a status again and again. On a terminal each replaces the one before, until a key or a signal ends
//! that; else each is lines that begin with the time. What is shown, its caller knows.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::printable::{self, timestamp};
use crate::report::{Exit, unprinted};
use crate::sys::poll::{Interest, wait_any, wait_one};
use crate::sys::signal::{self, Signal, SignalPipe};
use crate::sys::terminal::{self, Keys};
use crate::sys::{clock, process};
use crate::views;

/// Another screen, which has no cursor and does not wrap lines; and the one before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Where the terminal does not say how large it is.
const SIZE: (usize, usize) = (80, 24);
/// q, Q, and the end of input.
const QUIT: [u8; 3] = [b'q', b'Q', 4];

/// A status in two forms: as a page for a terminal of so many columns, and in lines.
pub(super) struct Look {
    pub(super) page: Box<dyn Fn(usize) -> String>,
    pub(super) lines: String,
}

/// Shows what `look` finds, every so often, until a person ends it.
pub(super) fn watch(every: Duration, look: impl FnMut() -> Look) -> Exit {
    let shown = match io::stdout().is_terminal() {
        true => on_terminal(every, look),
        false => in_lines(every, look),
    };
    shown.unwrap_or_else(|error| unprinted(&error))
}

fn in_lines(every: Duration, mut look: impl FnMut() -> Look) -> io::Result<Exit> {
    let mut due = clock::now();
    loop {
        let lines = printable::lines(&look().lines);
        let time = timestamp(clock::wall().as_secs());
        let lines: String = lines
            .lines()
            .map(|line| format!("{time} {line}\n"))
            .collect();
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()?;
        due = next(due, every);
        let left = due.saturating_sub(clock::now());
        // A reader that is gone ends it before the next write would.
        if wait_one(stdout.as_fd(), Interest::HangUp, left)? {
            return Ok(Exit::BrokenPipe);
        }
    }
}

/// In step with the clock where that is possible.
fn next(due: Duration, every: Duration) -> Duration {
    (due + every).max(clock::now())
}

fn on_terminal(every: Duration, mut look: impl FnMut() -> Look) -> io::Result<Exit> {
    let signals = SignalPipe::new(&[
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGTSTP,
        Signal::SIGWINCH,
    ])?;
    let mut screen = Screen::enter()?;
    let mut due = clock::now();
    let mut head = String::new();
    let mut seen = None;
    loop {
        if clock::now() >= due {
            seen = Some(look());
            let (time, seconds) = (timestamp(clock::wall().as_secs()), every.as_secs());
            head = format!("polycgi status  {time}  every {seconds} s  q ends");
            due = next(due, every);
        }
        screen.draw(&head, seen.as_ref())?;
        match screen.wait(&signals, due.saturating_sub(clock::now()))? {
            WaitEnd::Nothing => {}
            WaitEnd::End => return Ok(Exit::Ok),
            WaitEnd::Signal(Signal::SIGTSTP) => {
                drop(screen);
                process::signal(process::pid(), Signal::SIGSTOP);
                // Here it was continued.
                screen = Screen::enter()?;
            }
            WaitEnd::Signal(ending) => {
                drop(screen);
                // It ends us as it would have without our handler.
                signal::reset_all();
                process::signal(process::pid(), ending);
                return Ok(Exit::OsError);
            }
        }
    }
}

/// What a terminal's watcher waits for.
enum WaitEnd {
    /// The time is over, or the terminal has another size.
    Nothing,
    /// A person wants no more.
    End,
    Signal(Signal),
}

/// The terminal while it shows us. When this is dropped it is as it was before.
struct Screen {
    keys: Option<Keys>,
}

impl Screen {
    fn enter() -> io::Result<Screen> {
        // Without a keyboard there are only signals.
        let keys = Keys::at_once(io::stdin()).ok();
        let screen = Screen { keys };
        show(ENTER)?;
        Ok(screen)
    }

    fn draw(&self, head: &str, seen: Option<&Look>) -> io::Result<()> {
        let (columns, rows) = terminal::size(io::stdout()).unwrap_or(SIZE);
        let page = seen.map_or(String::new(), |look| (look.page)(columns));
        show(&views::frame(head, &printable::lines(&page), columns, rows))
    }

    fn wait(&mut self, signals: &SignalPipe, patience: Duration) -> io::Result<WaitEnd> {
        let mut fds = vec![(signals.as_fd(), Interest::Read)];
        fds.extend(
            self.keys
                .as_ref()
                .map(|keys| (keys.as_fd(), Interest::Read)),
        );
        let ready = wait_any(&fds, Some(patience))?;
        let has_keys = ready.get(1).copied().unwrap_or(false);
        for signal in signals.take() {
            match signal {
                Signal::SIGWINCH => {}
                Signal::SIGINT => return Ok(WaitEnd::End),
                signal => return Ok(WaitEnd::Signal(signal)),
            }
        }
        if let Some(keys) = self.keys.as_ref().filter(|_| has_keys) {
            let pressed = keys.read()?;
            if pressed.is_empty() || pressed.iter().any(|key| QUIT.contains(key)) {
                return Ok(WaitEnd::End);
            }
        }
        Ok(WaitEnd::Nothing)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = show(LEAVE);
    }
}

/// One write, so that no half of a frame is seen.
fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
