//! The apps of these tests: a small one of each kind, and the server that one of them needs.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::super::util::Dir;
use super::tiny;

/// How an app is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cgi,
    /// `cgi` and `scgi` together.
    CgiAndScgi,
    Connect,
    /// No runtime directory can be used: the front asks the server by itself.
    ConnectWithoutPlace,
    Scgi,
    Wsgi,
}

const ANSWER: &str = "Status: 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\n";

/// Says which process has started it.
const PROGRAM: &str = "
read -r parent 2>/dev/null < /proc/$PPID/cmdline
case $parent in scgi-daemon*) way='the daemon';; *) way='a plain CGI';; esac
printf 'ANSWER%s' \"$way\"
";

/// Takes what a front passes to it: a request without a message-body ends with the comma of its header.
const SERVER: &str = "
import socket
listener = socket.socket(fileno=0)
while True:
    client = listener.accept()[0]
    while not client.recv(65536).endswith(b','):
        pass
    client.sendall(b'ANSWERthe server')
    client.close()
";

/// An app file, and the server behind it that is not the app's own.
pub(super) struct App {
    pub(super) file: PathBuf,
    _server: Option<Server>,
}

impl App {
    pub(super) fn new(dir: &Dir, kind: Kind, config: &str) -> Self {
        let program = PROGRAM.replace("ANSWER", ANSWER);
        dir.file("apps/tiny.sh", &program, 0o644);
        let server = SERVER.replace("ANSWER", ANSWER);
        dir.file("apps/tinyserver.py", &server, 0o644);
        let cgi = "cgi = /bin/sh tiny.sh\n";
        let scgi = "scgi = /usr/bin/python3 -S -E tinyserver.py\n";
        let theirs = dir.join("apps/theirs");
        let connect = format!("connect = {}\n", theirs.display());
        let lines = match kind {
            Kind::Cgi => cgi.to_owned(),
            Kind::CgiAndScgi => format!("{cgi}{scgi}"),
            Kind::Connect | Kind::ConnectWithoutPlace => connect,
            Kind::Scgi => scgi.to_owned(),
            Kind::Wsgi => {
                let (file, _server) = (tiny(dir, config), None);
                return Self { file, _server };
            }
        };
        let is_theirs = matches!(kind, Kind::Connect | Kind::ConnectWithoutPlace);
        let _server = is_theirs.then(|| Server::at(&theirs));
        if kind == Kind::ConnectWithoutPlace {
            fs::set_permissions(dir.join("run"), Permissions::from_mode(0o755))
                .expect("a mode can be set");
        }
        let file = dir.app_file("app", &format!("{lines}{config}"));
        Self { file, _server }
    }
}

/// An SCGI server that the test runs: the host refuses it nothing.
struct Server {
    path: PathBuf,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket can be bound");
        fs::set_permissions(path, Permissions::from_mode(0o666)).expect("a mode can be set");
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                // One that goes away before its answer is no matter of ours.
                let _ = serve(client);
            }
        });
        Self {
            path: path.to_owned(),
            ends,
            thread: Some(thread),
        }
    }
}

fn serve(mut client: UnixStream) -> std::io::Result<()> {
    let mut block = [0; 65_536];
    loop {
        match client.read(&mut block)? {
            0 => return Ok(()),
            count if block[count - 1] == b',' => break,
            _ => {}
        }
    }
    let answer = ANSWER.replace("\\r\\n", "\r\n") + "the server";
    // In one write: of a response that is cut between two a client has the first.
    client.write_all(answer.as_bytes())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // It wakes the thread.
        let woken = UnixStream::connect(&self.path);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            thread.join().expect("a server serves");
        }
        fs::remove_file(&self.path).expect("a socket can be removed");
    }
}
