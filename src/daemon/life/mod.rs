//! What becomes of the daemon itself.

pub(crate) mod commands;
pub(crate) mod leave;
pub(crate) mod reload;
pub(crate) mod status;
pub(crate) mod upgrade;
pub(crate) mod upkeep;
