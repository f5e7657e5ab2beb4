//! Where an app's daemon is, and how a person's word gets to it and its answer back.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::app_file::AppFile;
use crate::control::{self, Command};
use crate::place::Place;
use crate::policy::route::Reach;
use crate::scgi;
use crate::start;
use crate::sys::poll::{Interest, wait_one};
use crate::sys::{files, process, socket};

/// How long a daemon may take to answer a command.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where an app's place may be; for root, which may ask about any uid's app, everybody's.
pub(super) fn places(app: &AppFile, runtime_dir: Option<PathBuf>) -> Vec<Place> {
    let own = runtime_dir.map(|dir| Place {
        dir: app.below(&dir),
    });
    let mut places: Vec<Place> = own
        .into_iter()
        .chain(Place::candidates(app, process::uid()))
        .collect();
    if process::uid() == 0 {
        places.extend(Place::everybodys(app));
    }
    places
}

/// The daemon that answers for an app.
pub(super) struct Target {
    pub(super) connection: Option<OwnedFd>,
}

impl Target {
    pub(super) fn find(app: &AppFile) -> Target {
        let runtime_dir = app.load().ok().and_then(|config| config.runtime_dir);
        let connection = places(app, runtime_dir).iter().find_map(connect);
        Target { connection }
    }

    /// The daemon at a place.
    pub(super) fn at(place: &Place) -> Target {
        Target {
            connection: connect(place),
        }
    }

    /// What the daemon says to a command; `None`: there is none.
    pub(super) fn ask(self, command: Command) -> Result<Option<String>, String> {
        self.ask_for(command, PATIENCE)
    }

    pub(super) fn ask_for(
        self,
        command: Command,
        patience: Duration,
    ) -> Result<Option<String>, String> {
        let Some(connection) = self.connection else {
            return Ok(None);
        };
        let pair = (control::VARIABLE.as_bytes(), command.word().as_bytes());
        let mut message = Vec::new();
        scgi::message(b"0", std::iter::once(pair), &mut message);
        socket::send_now(connection.as_fd(), &message)
            .map_err(|error| format!("cannot ask the daemon: {error}"))?;
        let ready = wait_one(connection.as_fd(), Interest::Read, patience).unwrap_or(false);
        if !ready {
            return Err(format!(
                "the daemon does not answer within {} s",
                patience.as_secs()
            ));
        }
        let mut text = String::new();
        match std::fs::File::from(connection).read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(format!("cannot read the daemon's answer: {error}")),
        }
    }
}

/// Root trusts a daemon whose uid is that of its place; anybody else only their own.
fn connect(place: &Place) -> Option<OwnedFd> {
    if process::uid() != 0 {
        return match start::connect(place) {
            (Reach::Answers, connection) => connection,
            _ => None,
        };
    }
    let owner = files::owner(&place.dir)?;
    let connection = socket::connect_now(&place.socket()).ok()?;
    let peer = socket::peer(connection.as_fd())?;
    (peer.uid == owner && start::is_of_app(connection.as_fd(), &place.socket()))
        .then_some(connection)
}
