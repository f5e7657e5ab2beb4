//! Reading and writing with a deadline, at a test's end of a pipe or a connection.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;

use memchr::memmem;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Deadline;

/// Sets O_NONBLOCK at this end.
pub(crate) fn do_not_block(fd: &impl AsFd) {
    let flags = fcntl(fd, FcntlArg::F_GETFL).expect("a descriptor has flags");
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(fd, FcntlArg::F_SETFL(flags)).expect("a descriptor's flags can be set");
}

/// Reads with a deadline.
pub(crate) trait PatientRead: Read + AsFd {
    /// Appends what there is; false at the end.
    #[track_caller]
    fn more(&mut self, deadline: Deadline, read: &mut Vec<u8>) -> bool {
        let mut block = [0; 65536];
        loop {
            assert!(
                deadline.readable(&self.as_fd()),
                "nothing more came in time; {} bytes so far",
                read.len()
            );
            match self.read(&mut block) {
                Ok(0) => return false,
                Ok(length) => {
                    read.extend_from_slice(&block[..length]);
                    return true;
                }
                // Another descriptor of the same connection may have read it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }

    /// So many bytes and none more; fewer only where it ends.
    #[track_caller]
    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let deadline = Deadline::soon();
        let mut read = vec![0; length];
        let mut filled = 0;
        while filled < length {
            assert!(
                deadline.readable(&self.as_fd()),
                "nothing more came in time; {filled} bytes of {length} so far"
            );
            match self.read(&mut read[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
        read.truncate(filled);
        read
    }

    /// The head of a response with the empty line behind it, and not a byte of what follows.
    #[track_caller]
    fn response_head(&mut self) -> String {
        let mut head = Vec::new();
        while memmem::find(&head, b"\r\n\r\n").is_none() {
            let byte = self.exactly(1);
            assert!(
                !byte.is_empty(),
                "the end came in the head: {:?}",
                String::from_utf8_lossy(&head)
            );
            head.extend(byte);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// All that is still to come.
    #[track_caller]
    fn to_the_end(&mut self) -> Vec<u8> {
        let deadline = Deadline::soon();
        let mut read = Vec::new();
        while self.more(deadline, &mut read) {}
        read
    }
}

impl<T: Read + AsFd> PatientRead for T {}

/// Writes with a deadline. The descriptor must not block.
pub(crate) trait PatientWrite: Write + AsFd {
    /// As much as is taken at once.
    fn offer(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.write(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot write: {error}"),
            }
        }
        taken
    }

    /// All of it.
    #[track_caller]
    fn give(&mut self, bytes: &[u8]) {
        let deadline = Deadline::soon();
        let mut taken = self.offer(bytes);
        while taken < bytes.len() {
            assert!(
                deadline.writable(&self.as_fd()),
                "only {taken} bytes of {} were taken in time",
                bytes.len()
            );
            taken += self.offer(&bytes[taken..]);
        }
    }
}

impl<T: Write + AsFd> PatientWrite for T {}
