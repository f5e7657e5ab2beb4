//! Something that one of two processes is to have: whoever takes it first. By eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Taken once for each time that it was laid down.
#[derive(Debug)]
pub struct Claim(EventFd);

impl Claim {
    /// Nothing is there to be taken.
    pub fn new() -> io::Result<Claim> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Claim(EventFd::from_flags(flags)?))
    }

    /// `false`: it is not there.
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }

    /// Lays it down.
    pub fn lay_down(&self) {
        // It can't be full: it is laid down once before it is taken.
        let _ = self.0.write(1);
    }
}

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_once() {
        let claim = Claim::new().unwrap();
        assert!(!claim.take());
        claim.lay_down();
        assert!(claim.take());
        assert!(!claim.take());
    }
}
