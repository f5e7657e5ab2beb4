//! The daemon: its rooms, and what it remembers of itself. `mod` and `life` conduct them, `setup` makes them.

use std::collections::VecDeque;

use super::carrier::Carrier;
use super::clients::Clients;
use super::door::Door;
use super::ground::Ground;
use super::life::leaving::Leaving;
use super::life::reloads::Reload;
use super::life::states::{MemoryWatch, StateFile, Upgrade, Upkeep, Wish};
use super::log::Log;
use super::wires::Wires;
use crate::policy::pool::{Event, Pool};
use crate::policy::queue::Number;
use crate::sys::files::Identity;
use crate::sys::lock::Locked;
use crate::sys::signal::SignalPipe;

pub(super) struct Daemon {
    pub(super) ground: Ground,
    pub(super) door: Door,
    pub(super) clients: Clients,
    pub(super) wires: Wires,
    pub(super) carrier: Carrier,
    pub(super) pool: Pool,
    /// Events that the pool has not heard yet.
    pub(super) events: VecDeque<Event>,
    pub(super) signals: SignalPipe,
    /// `None`: standard error.
    pub(super) log: Option<Log>,
    /// Our socket as we found it: we unlink no other.
    pub(super) socket: Option<Identity>,
    /// No front would start us again, so the daemon does not leave for want of requests: see the pool.
    pub(super) stays: bool,
    /// The count of failed starts was cleared.
    pub(super) is_cleared: bool,
    pub(super) leaving: Leaving,
    pub(super) reload: Reload,
    pub(super) upgrade: Upgrade,
    pub(super) upkeep: Upkeep,
    pub(super) memory: MemoryWatch,
    pub(super) state: StateFile,
    /// Commands that wait for the end of a start or a reload.
    pub(super) waiting_commands: Vec<(Number, Wish)>,
    /// Held as long as we live: cleaners of old files leave a locked directory alone.
    pub(super) _directory: Option<Locked>,
}
