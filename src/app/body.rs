//! The message-body of a request that a plain CGI is to serve: within the limits, and of a known length. Web servers
//! pass on a chunked body without a length, which CGI programs can't handle; so it is read to its end here, before the
//! app is run, and becomes the standard input. Knows limits and bytes; takes no slot while it waits.

use std::fmt;
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{refuse, tell};
use crate::answer::{drain, most_of_input};
use crate::app_file::AppFile;
use crate::cgi::Extent;
use crate::cgi::body::Measured;
use crate::cgi::request::Request;
use crate::config::Config;
use crate::page::Failure;
use crate::report::plain;
use crate::spool::{Ahead, IN_MEMORY, NoRoom, Room, SpoolLimits};
use crate::sys::files::Kind;
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, clock, files, is, splice};

/// Why the app is not run.
#[derive(Debug)]
enum BodyRefused {
    /// The client is gone: no answer is needed.
    Gone,
    Io(io::Error),
    Late,
    NoRoom(NoRoom),
}

impl From<NoRoom> for BodyRefused {
    fn from(no: NoRoom) -> BodyRefused {
        BodyRefused::NoRoom(no)
    }
}

/// A request whose message-body a plain CGI can take.
#[derive(Debug)]
pub struct Settled {
    measured: Option<Measured>,
}

impl Settled {
    /// The request as the app is to see it.
    pub fn request<'a>(&'a self, request: &'a Request<'_>) -> Request<'a> {
        match &self.measured {
            None => request.reborrow(),
            Some(measured) => measured.request(request),
        }
    }
}

/// Makes sure that the app can read the message-body from standard input. The error is what the client got; none if it
/// is gone.
pub fn settle(
    applet: &str,
    app: &AppFile,
    config: &Config,
    request: &Request<'_>,
) -> Result<Settled, Option<Failure>> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let no = match measure(config, request, stdin.as_fd(), stdout.as_fd()) {
        Ok(measured) => return Ok(Settled { measured }),
        Err(no) => no,
    };
    let failure = match &no {
        BodyRefused::Gone => return Err(None),
        BodyRefused::Io(_) => Failure::BadRequest,
        BodyRefused::Late => Failure::RequestTimeout,
        BodyRefused::NoRoom(no) => no.failure(),
    };
    let is_news = !matches!(&no, BodyRefused::NoRoom(no) if !no.is_news());
    let sentence = plain(&no.to_string());
    if is_news {
        tell(applet, app, request, &sentence);
    }
    refuse(app, config, request, failure, &sentence);
    Err(Some(failure))
}

/// Measures a message-body that has no length, or one in doubt. `None`: the length is as the web server says.
fn measure(
    config: &Config,
    request: &Request<'_>,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> Result<Option<Measured>, BodyRefused> {
    let limits = SpoolLimits::of(config);
    if request.is_error_page() {
        // The program would not read the body, and then Apache loses the response.
        drain(input, most_of_input(request));
        let nothing = files::null().and_then(|null| files::become_input(null.as_fd()));
        return nothing.map(|()| None).map_err(BodyRefused::Io);
    }
    let length = match request.extent() {
        Extent::None => return Ok(None),
        Extent::Length(length) => Some(length),
        // If the web server has put it into a file, that has a length.
        Extent::ToEnd => files::rest(input),
    };
    if let Some(length) = length {
        let said = request.content_length().is_some();
        return if request.doubt_of_cgi().is_some() && !has_any(config, input)? {
            Ok(Some(Measured::new(0)))
        } else if length > limits.body {
            Err(BodyRefused::NoRoom(NoRoom::Body))
        } else {
            Ok((!said).then(|| Measured::new(length)))
        };
    }
    let mut ahead = read_to_end(config, limits, input)?;
    // A client that closes its connection in the middle of a chunk ends the body as well.
    if poll::is_ready(output, Interest::HangUp) {
        return Err(BodyRefused::Gone);
    }
    ahead.end();
    let len = ahead.len();
    let become_input = |ahead: Ahead| match ahead.to_file()? {
        Some(mut file) => {
            file.rewind()?;
            files::become_input(file.as_fd())
        }
        None => files::become_input(files::null()?.as_fd()),
    };
    become_input(ahead).map_err(|error| BodyRefused::NoRoom(NoRoom::Disk(error)))?;
    Ok(Some(Measured::new(len)))
}

/// Waits for the first byte of a message-body; `false`: its end came before.
fn has_any(config: &Config, input: BorrowedFd<'_>) -> Result<bool, BodyRefused> {
    let is_fed = files::kind(input) != Kind::Other;
    if is_fed {
        wait(input, config.timeouts.request)?;
    }
    Ok(!is_fed || files::waiting(input).map_err(BodyRefused::Io)? > 0)
}

fn read_to_end(
    config: &Config,
    limits: SpoolLimits,
    input: BorrowedFd<'_>,
) -> Result<Ahead, BodyRefused> {
    let mut ahead = Ahead::Nothing;
    let mut block = vec![0; IN_MEMORY];
    loop {
        wait(input, config.timeouts.request)?;
        let count = match splice::read(input, &mut block) {
            Ok(0) => return Ok(ahead),
            Ok(count) => count,
            // The descriptor is O_NONBLOCK.
            Err(error) if is(&error, Errno::EAGAIN) => continue,
            // mod_cgid's socket ends like this when its client is gone.
            Err(error) if is(&error, Errno::ECONNRESET) => return Err(BodyRefused::Gone),
            Err(error) => return Err(BodyRefused::Io(error)),
        };
        // Only what this process has spooled counts: what others have is not known. A full disk is an error.
        let room = Room {
            directory: &config.spool.dir,
            left: limits.spool.saturating_sub(ahead.spooled()),
        };
        ahead.take(&block[..count], limits, room)?;
    }
}

/// Waits for more bytes, at most `patience`; a signal does not end the wait.
fn wait(input: BorrowedFd<'_>, patience: Duration) -> Result<(), BodyRefused> {
    let due = clock::now() + patience;
    loop {
        let left = due.saturating_sub(clock::now());
        if poll::wait_one(input, Interest::Read, left).map_err(BodyRefused::Io)? {
            return Ok(());
        }
        if left.is_zero() {
            return Err(BodyRefused::Late);
        }
    }
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyRefused::Gone => f.write_str("the client is gone"),
            BodyRefused::Io(error) => write!(f, "cannot read the message-body: {error}"),
            BodyRefused::Late => f.write_str("the message-body did not come in time"),
            BodyRefused::NoRoom(no) => no.fmt(f),
        }
    }
}
