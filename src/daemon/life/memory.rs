//! Whether the host is short of memory: what the pool asks, what the kernel tells by itself, and what the log is told.
//! What follows from it is the pool's.

use crate::daemon::house::Daemon;
use crate::daemon::token::Token;
use crate::policy::pool::Event;
use crate::sys::poll::{Interest, Ready};
use crate::sys::pressure::PressureFiles;

impl Daemon {
    /// The answer to the pool's question. With the first one the kernel is asked to tell by itself, where it does that for
    /// processes without privileges.
    pub(crate) fn ask_pressure(&mut self) -> Event {
        if self.memory.found.is_none() {
            self.watch_memory();
        }
        Event::Pressure {
            some: self.memory.found.as_ref().and_then(PressureFiles::some),
            is_watched: self.memory.is_watched,
        }
    }

    fn watch_memory(&mut self) {
        let files = PressureFiles::find();
        let (triggers, is_all) = files.triggers();
        let add = |trigger| {
            let token = Token::Pressure.into();
            self.ground.poll.add(trigger, token, Interest::Urgent)
        };
        self.memory.is_watched = is_all && triggers.iter().all(|trigger| add(trigger).is_ok());
        self.memory.triggers = triggers;
        self.memory.found = Some(files);
    }

    /// The kernel tells of a pressure, or that it won't any more: a cgroup is gone.
    pub(crate) fn on_pressure(&mut self, ready: Ready) {
        if ready.gone {
            // Closing them takes them out of epoll: no other process has them.
            self.memory.triggers.clear();
            self.memory.is_watched = false;
        } else {
            self.events.push_back(Event::Stalled);
        }
    }

    /// Logs when memory becomes short, and when it is no longer.
    pub(crate) fn say_memory(&mut self) {
        let is_short = self.pool.is_short_of_memory();
        if std::mem::replace(&mut self.memory.is_short, is_short) == is_short {
            return;
        }
        let pressure = pressure().unwrap_or_default();
        if is_short {
            let so = "no worker is added to one that serves, and those that are not needed end";
            ::log::warn!("memory is short: memory pressure {pressure:.0} % (some, 10 s); {so}");
        } else {
            ::log::info!("memory is no longer short: memory pressure {pressure:.0} % (some, 10 s)");
        }
    }
}

/// The present pressure; `None`: the kernel does not say.
pub(super) fn pressure() -> Option<f64> {
    PressureFiles::find().some()
}
