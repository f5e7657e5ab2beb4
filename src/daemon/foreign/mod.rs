//! Apps that are not wsgi: carries out what the pool says of workers, of which there are none. To the pool a worker is
//! a place for one request, and a generation is a configuration that can be run.
//!
//! | the pool says | and it is |
//! | --- | --- |
//! | `StartZygote` | looked whether the app can be run; `ZygoteReady`, or said why not and `ZygoteGone` |
//! | `Spawn` | `WorkerReady`, at once |
//! | `Dispatch` | an exchange, by the kind of the app; at its end `WorkerDone` |
//! | `Retire` | `WorkerGone`, at once |
//! | `RetireZygote` | nothing: a server goes when the next has answered |
//! | `Look` | a look at the few files that are watched; `Looked` |

pub(crate) mod children;
pub(crate) mod drive;
pub(crate) mod exchange;
pub(crate) mod feed;
pub(crate) mod link;
pub(crate) mod runs;
pub(crate) mod servers;
pub(crate) mod supervise;

use crate::app::{self, CannotRun};
use crate::config::App;
use crate::daemon::Daemon;
use crate::policy::pool::{Event, Generation, WorkerId};
use crate::policy::queue::Ticket;

impl Daemon {
    /// The app is run by other means than our adaptor.
    pub(crate) fn is_foreign(&self) -> bool {
        !matches!(self.config.app, App::Wsgi(_))
    }

    /// Begins a generation.
    pub(crate) fn start_foreign(&mut self, generation: Generation) {
        self.last_words.clear();
        let watched = app::watched(&self.app, &self.config, self.upgrade.binary());
        // The configuration was noted before it was read.
        for path in watched.iter().filter(|path| **path != self.app.config) {
            self.reload.stamp(path);
        }
        self.note_generation(generation, watched);
        match self.prepare_foreign() {
            Ok(()) => self.events.push_back(Event::ZygoteReady(generation)),
            Err(cannot) => self.cannot_begin(generation, &cannot),
        }
    }

    /// Makes what a generation has beside its configuration.
    fn prepare_foreign(&mut self) -> Result<(), CannotRun> {
        app::can_run(&self.app, &self.config)?;
        match self.config.app.clone() {
            App::Commands {
                cgi,
                scgi: Some(command),
            } => match self.add_server(&command) {
                Err(cannot) if cgi.is_some() => {
                    self.server_is_missing(&cannot);
                    Ok(())
                }
                added => added,
            },
            App::Connect(address) => self.find_peer(&address),
            App::Commands { scgi: None, .. } | App::Wsgi(_) => Ok(()),
        }
    }

    /// A server can't be made; programs serve in its place, or the one before it.
    fn server_is_missing(&mut self, cannot: &CannotRun) {
        let sentence = crate::report::plain(&cannot.to_string());
        if !self.is_new_reason(&sentence) {
            return;
        }
        if self.servers.serving.is_some() {
            ::log::error!("reload failed, the old server goes on: {sentence}");
        } else {
            ::log::error!("cannot start the server, the app runs as CGIs: {sentence}");
        }
    }

    /// Makes a place.
    pub(crate) fn spawn_foreign(&mut self, place: WorkerId, generation: Generation) {
        self.workers.note_generation(place, generation);
        self.events.push_back(Event::WorkerReady(place));
    }

    /// Gives a request, whose front has been told, to the app.
    pub(crate) fn dispatch_foreign(&mut self, ticket: Ticket, place: WorkerId) {
        match &self.config.app {
            App::Commands { scgi: Some(_), .. } => self.ask_server(ticket, place),
            App::Commands { scgi: None, .. } => self.run_cgi(ticket, place, None),
            App::Connect(_) => self.ask_peer(ticket, place),
            App::Wsgi(_) => {}
        }
    }

    /// Looks at the files that are watched.
    pub(crate) fn look_foreign(&mut self, generation: Generation) {
        for change in self.reload.changed(generation) {
            self.note_change(change);
        }
        self.looked(generation);
    }
}
