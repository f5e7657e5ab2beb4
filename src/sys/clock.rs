//! What time it is. Only this file asks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the machine started, suspended time included: it compares between processes until a reboot.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Seconds and nanoseconds since 1970, for people.
pub fn wall() -> Duration {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(Duration::ZERO, Duration::from)
}
