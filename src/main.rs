//! The binary: hands over to the table of applets, unless the hot path has served the request before.
// For the hot path, and of little concern to the rest, which is the library's.
#![no_builtins]

#[cfg(target_arch = "x86_64")]
mod express;

fn main() -> std::process::ExitCode {
    polycgi::applet::main()
}
