//! Random numbers that can't be guessed, from the kernel.

use std::fs::File;
use std::io::{self, Read};

use nix::libc;

/// Fills the bytes. It does not wait: shortly after the boot there may be none yet, which is an error.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: a buffer of ours and its length.
    let count =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        // The call is refused, or a signal has cut a long one short.
        _ => File::open("/dev/urandom")?.read_exact(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ() {
        let mut both = [[0; 16]; 2];
        for bytes in &mut both {
            fill(bytes).unwrap();
        }
        assert_ne!(both[0], both[1]);
        assert!(both.iter().all(|bytes| *bytes != [0; 16]));
    }
}
