//! Whether this program begins with the hot path, which only the Makefile links, and what it costs to be without.

use crate::sys::environ;

/// What is missing in this program; `None`: nothing.
pub(super) fn lack() -> Option<&'static str> {
    environ::began_in_c_library().then_some(LACK)
}

/// Whether a program with it can be had for this processor and this C library.
pub(super) const CAN_BE_HAD: bool = cfg!(all(target_arch = "x86_64", target_env = "gnu"));

const LACK: &str = if CAN_BE_HAD {
    "without the fast path, which only `make build` links: a front whose daemon takes the request costs three to five \
     times as much processor time"
} else {
    "without the fast path, which is for x86-64 and glibc only"
};
