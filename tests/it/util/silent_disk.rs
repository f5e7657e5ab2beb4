//! A file system in a folder of a test that answers nothing, as one whose server is away: FUSE (fuse(4)) with a server
//! that takes each question and answers none. Who looks there waits, and can't even be killed, until this is dropped.
//! Only root can mount one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Deadline, command, not_tested};

/// A FUSE on a folder until this is dropped.
pub(crate) struct SilentDisk(Child);

impl SilentDisk {
    /// On that folder, for every user. None where this process may not mount, or the host has no FUSE.
    pub(crate) fn on(folder: &Path) -> Option<Self> {
        let (uid, _) = command::user();
        let python = Command::new("/usr/bin/python3");
        Self::of(python, folder, uid.as_raw(), ",allow_other")
    }

    /// The same by a command that runs Python as root, as if this user had mounted it with these options more.
    pub(crate) fn of(mut python: Command, folder: &Path, uid: u32, more: &str) -> Option<Self> {
        python.args(["-c", SCRIPT]).arg(folder);
        python.args([&uid.to_string(), more]);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = Self(python.spawn().expect("Python can be run"));
        let said = server.0.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line);
        read.expect("a pipe can be read");
        if line != "mounted\n" {
            not_tested(
                "a file system that does not answer, which needs /dev/fuse, and root to mount it",
            );
            return None;
        }
        Some(server)
    }
}

impl Drop for SilentDisk {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends at once; a test that fails must not hang here.
        let _ = command::wait(&mut self.0, Deadline::soon());
    }
}

/// Words: a folder, a uid, more options. A forced umount answers all who wait with an error.
const SCRIPT: &str = r"
import ctypes, os, struct, sys, threading
folder, uid, more = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
fuse = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fuse},rootmode=40000,user_id={uid},group_id={uid}{more}'
NOSUID, NODEV, FORCE, DETACH = 2, 4, 1, 2
if libc.mount(b'fuse', folder.encode(), b'fuse', NOSUID | NODEV, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
def serve():
    while True:
        try:
            asked = os.read(fuse, 1 << 17)
        except OSError:
            return
        _, code, number = struct.unpack_from('=IIQ', asked)
        if code == 26:
            # The first question is answered, or the others would not be asked.
            answer = struct.pack('=IIIIHHIIHHI28x', 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, 0)
            os.write(fuse, struct.pack('=IiQ', 16 + len(answer), 0, number) + answer)
threading.Thread(target=serve, daemon=True).start()
print('mounted', flush=True)
sys.stdin.read()
libc.umount2(folder.encode(), FORCE | DETACH)
";
