//! The binary: runs the table of applets, unless the hot path has served the request before.
// For the hot path. It matters little to the rest, which is in the library.
#![no_builtins]
// See `main`.
#![no_main]

// It makes no call of the C library's, but shares its types, and enters it in glibc's way.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod express;

/// The function that the C library calls. Rust's own runtime would prepare threads, stacks and signals before `main`;
/// modes that need some of that do it themselves, and a front on its way to a daemon needs none.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> std::ffi::c_int {
    polycgi::applet::main() as std::ffi::c_int
}
