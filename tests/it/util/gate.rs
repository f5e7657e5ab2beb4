//! A gate in the test application: requests wait there until the test lets them pass. It knows no HTTP.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Deadline, command};

/// Two FIFOs. Both ends are open here, so that neither the application nor the test waits in open(2).
pub(crate) struct Gate {
    entered: File,
    go: File,
    /// Lines that were read with an earlier one.
    unread: Vec<u8>,
}

impl Gate {
    /// A gate of that name, lower case letters only, beside the application's modules.
    pub(crate) fn new(apps: &Path, name: &str) -> Self {
        let fifo = |end| {
            let path = apps.join(format!("{name}.{end}"));
            let (uid, gid) = command::user();
            mkfifo(&path, Mode::S_IRWXU).expect("a FIFO can be made");
            chown(&path, Some(uid.as_raw()), Some(gid.as_raw())).expect("a FIFO can be given away");
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .expect("a FIFO can be opened");
            file.set_permissions(PermissionsExt::from_mode(0o600))
                .expect("a FIFO's mode can be set");
            file
        };
        Self {
            entered: fifo("entered"),
            go: fifo("go"),
            unread: Vec::new(),
        }
    }

    /// Waits until one more request is at the gate; the id of the process that runs it.
    #[track_caller]
    pub(crate) fn entered(&mut self) -> i32 {
        let deadline = Deadline::soon();
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8_lossy(&line)
                    .trim_end()
                    .parse()
                    .expect("the gate is told a process id");
            }
            assert!(
                deadline.readable(&self.entered),
                "no request came to the gate in time"
            );
            let mut block = [0; 512];
            let length = self.entered.read(&mut block).expect("a FIFO can be read");
            self.unread.extend_from_slice(&block[..length]);
        }
    }

    /// Whether a request is at the gate at this moment; that one counts as entered.
    #[track_caller]
    pub(crate) fn was_entered(&mut self) -> bool {
        let is_there = !self.unread.is_empty() || Deadline::now().readable(&self.entered);
        if is_there {
            self.entered();
        }
        is_there
    }

    /// Lets that many requests pass, now or when they come.
    pub(crate) fn open(&mut self, requests: usize) {
        self.go
            .write_all(&vec![b'\n'; requests])
            .expect("a FIFO can be written to");
    }
}
