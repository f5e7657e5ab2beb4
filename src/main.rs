//! The binary: hands over to the table of applets, unless the hot path has served the request before.
// For the hot path, and of little concern to the rest, which is the library's.
#![no_builtins]
// See `main`.
#![no_main]

#[cfg(target_arch = "x86_64")]
mod express;

/// Where the C library begins. Rust's own runtime before `main` readies threads, stacks and signals for programs of any
/// kind; what of it a mode of ours needs, it does itself, and the front's way to a daemon needs nothing.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> std::ffi::c_int {
    polycgi::applet::main() as std::ffi::c_int
}
