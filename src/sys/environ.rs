//! What the kernel and the web server handed over at exec: the environment, and the name we were run by.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// The path given to execve(2): for a `#!` script its own path, for a symlink the link's. A client can't influence it.
/// May be relative. See getauxval(3), AT_EXECFN.
pub fn exec_name() -> Option<&'static Path> {
    // SAFETY: getauxval has no preconditions.
    let at = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if at.is_null() {
        return None;
    }
    // SAFETY: the kernel put a NUL-terminated string there, which lives as long as the process.
    let name = unsafe { CStr::from_ptr(at) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

/// The name that the starter of this process has given it: argv\[0\].
pub fn name() -> &'static [u8] {
    unsafe extern "C" {
        // Of glibc, see program_invocation_name(3).
        static program_invocation_name: *const libc::c_char;
    }
    // SAFETY: set before main and never changed by us; a NUL-terminated string that lives as long as the process.
    unsafe {
        if program_invocation_name.is_null() {
            return b"";
        }
        CStr::from_ptr(program_invocation_name).to_bytes()
    }
}

/// Whether the first instruction of this process was the C library's: nothing of ours ran before it. See getauxval(3),
/// AT_ENTRY.
pub fn began_in_c_library() -> bool {
    unsafe extern "C" {
        // Of the C library's crt1.o, which every executable has.
        fn _start();
    }
    // SAFETY: getauxval has no preconditions.
    let entry = unsafe { libc::getauxval(libc::AT_ENTRY) };
    // An address is as wide as the kernel's word.
    entry as usize == _start as *const () as usize
}

/// The effective uid at the start of this process, as the kernel has passed it (AT_EUID): without a system call.
pub fn uid() -> u32 {
    // SAFETY: getauxval has no preconditions.
    let uid = unsafe { libc::getauxval(libc::AT_EUID) };
    // A uid that the kernel has widened to a word.
    uid as u32
}

/// One `NAME=value` of the environment.
pub type NameValue = (&'static [u8], &'static [u8]);

/// The environment in its order, borrowed from where it lies. Entries without `=` are left out.
/// This program never calls setenv(3): only [`replace`] changes the block, and frees nothing.
pub fn pairs() -> impl Iterator<Item = NameValue> + Clone {
    (0..).map_while(entry).filter_map(split)
}

/// Replaces the environment, for us and for what we start: for root, who becomes another user. What was borrowed from
/// the old one stays valid.
pub fn replace(variables: Vec<CString>) {
    unsafe extern "C" {
        static mut environ: *const *const libc::c_char;
    }
    let block: Vec<*const libc::c_char> = variables
        .into_iter()
        .map(|variable| variable.into_raw().cast_const())
        .chain([std::ptr::null()])
        .collect();
    // SAFETY: this program has one thread, so nothing reads `environ` meanwhile; it then points to a NULL-terminated
    // array of NUL-terminated strings, which are never freed.
    unsafe { environ = block.leak().as_ptr() };
}

/// A variable of the environment.
pub fn value(name: &str) -> Option<&'static [u8]> {
    pairs()
        .find(|(n, _)| *n == name.as_bytes())
        .map(|(_, value)| value)
}

fn entry(nth: usize) -> Option<&'static [u8]> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: `environ` is a NULL-terminated array, set before main and never changed by us; `nth` grows by one
    // from 0 and stops at the NULL.
    let at = unsafe {
        if environ.is_null() {
            return None;
        }
        *environ.add(nth)
    };
    // SAFETY: each entry before the NULL is a NUL-terminated string that lives as long as the process.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) }.to_bytes())
}

fn split(entry: &'static [u8]) -> Option<NameValue> {
    let at = memchr::memchr(b'=', entry)?;
    Some((&entry[..at], &entry[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_std_sees() {
        let ours: Vec<NameValue> = pairs().collect();
        assert!(!ours.is_empty());
        for (name, value) in std::env::vars_os() {
            assert!(
                ours.contains(&(name.as_bytes(), value.as_bytes())),
                "{name:?}"
            );
        }
        assert!(exec_name().is_some());
        assert!(began_in_c_library(), "a test's program has no hot path");
        assert_eq!(uid(), crate::sys::process::uid());
        let argv0 = std::env::args_os().next().unwrap();
        assert_eq!(name(), argv0.as_bytes());
    }
}
