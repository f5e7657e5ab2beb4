//! What becomes of the daemon itself: its generations, its configuration, its name, its version, its end; and what it
//! says of that to a person. These files conduct the other rooms, each for one such matter.
//!
//! What they remember stands in `leaving`, `reloads` and `states`.

mod commands;
mod leave;
pub(super) mod leaving;
mod memory;
mod reload;
pub(super) mod reloads;
mod starts;
pub(super) mod states;
pub(super) mod status;
mod upgrade;
mod upkeep;
