//! Errands: root's questions about other users' files, each answered by a process of that user. All run at once, and
//! their answers are limited in bytes and in time. It knows processes and pipes, and not the questions.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::users::{become_user, find, table};
use crate::sys::poll::{Interest, wait_any};
use crate::sys::{clock, files, process, program, socket};

/// A process that answers a question of root's as another user.
#[derive(Debug)]
pub struct Errand {
    child: i32,
    said: File,
}

impl Errand {
    /// Starts one that runs `look` with the rights of this user and sends back the bytes. If it fails, it sends none.
    pub fn start(uid: u32, look: impl FnOnce() -> Vec<u8>) -> io::Result<Errand> {
        let account = table().ok().and_then(|table| find(uid, &table).cloned());
        let (said, say) = files::pipe()?;
        let child = program::fork_aside(say.as_fd(), || {
            if become_user(uid, account.as_ref()).is_ok() {
                let bytes = look();
                // The pipe is closed if root has stopped waiting.
                let _ = io::stdout()
                    .write_all(&bytes)
                    .and_then(|()| io::stdout().flush());
            }
        })?;
        socket::set_nonblocking(said.as_fd())?;
        let said = File::from(said);
        Ok(Errand { child, said })
    }

    /// Reads what it has sent to the end of `bytes`, up to `limit` in all. Whether the answer is whole.
    fn hear(&mut self, bytes: &mut Vec<u8>, limit: usize) -> bool {
        let mut block = [0; 4096];
        loop {
            match self.said.read(&mut block) {
                Ok(0) => return true,
                Ok(count) => bytes.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if bytes.len() > limit {
                bytes.truncate(limit);
                return true;
            }
        }
    }

    /// Ends the process, which has answered or has had its time.
    fn end(self) {
        process::end(self.child);
    }
}

/// Gives each errand's answer, of at most `limit` bytes, to `each` as soon as it is whole. After `patience` the others
/// are ended, and have answered nothing.
pub fn collect(
    errands: Vec<Option<Errand>>,
    limit: usize,
    patience: Duration,
    mut each: impl FnMut(usize, &[u8]),
) {
    let deadline = clock::now() + patience;
    let mut waiting: Vec<(usize, Errand, Vec<u8>)> = errands
        .into_iter()
        .enumerate()
        .filter_map(|(nth, errand)| Some((nth, errand?, Vec::new())))
        .collect();
    while !waiting.is_empty() {
        let left = deadline.saturating_sub(clock::now());
        let fds = waiting
            .iter()
            .map(|(_, errand, _)| (errand.said.as_fd(), Interest::Read));
        let fds: Vec<_> = fds.collect();
        // If a signal interrupts it, all are read all the same.
        let _ = wait_any(&fds, Some(left));
        for at in (0..waiting.len()).rev() {
            let (_, errand, said) = &mut waiting[at];
            if errand.hear(said, limit) {
                let (nth, errand, said) = waiting.remove(at);
                errand.end();
                each(nth, &said);
            }
        }
        if left.is_zero() {
            break;
        }
    }
    for (nth, errand, _) in waiting {
        errand.end();
        each(nth, &[]);
    }
}
