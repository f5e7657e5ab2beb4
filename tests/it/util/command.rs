//! Programs that a test runs: as which user, and until when. What they print is kept for the test.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, User};

use super::{Deadline, Dir, PATH};

/// What a program left behind.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    /// stdout as text; the test fails unless the program succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout).into_owned();
        assert!(
            self.status.success(),
            "{}\nstdout: {stdout}\nstderr: {}",
            self.status,
            self.stderr
        );
        stdout
    }
}

/// The user of a test's servers and apps: www-data if root runs the tests, otherwise the user who does.
pub(crate) fn user() -> (Uid, Gid) {
    if !Uid::effective().is_root() {
        return (Uid::effective(), Gid::effective());
    }
    let user = User::from_name("www-data").expect("the user database can be read");
    let user = user.expect(
        "there is no user www-data: install Debian's base-passwd, or run the tests as a user",
    );
    (user.uid, user.gid)
}

/// A command that runs as the tests' user, with a clean environment.
pub(crate) fn as_user(program: impl AsRef<OsStr>) -> Command {
    let (uid, gid) = user();
    as_other(program, uid, gid)
}

/// A client program of a person's, in that folder: its HOME and TMPDIR are the test's, so no configuration is found.
pub(crate) fn client(dir: &Dir, at: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = as_user(program);
    command.current_dir(at);
    command.env("HOME", dir.join("home"));
    command.env("TMPDIR", dir.join("tmp"));
    command
}

/// A command that runs as that user, with a clean environment. Only root can run one as another user.
pub(crate) fn as_other(program: impl AsRef<OsStr>, uid: Uid, gid: Gid) -> Command {
    let mut command;
    if Uid::effective().is_root() {
        command = Command::new("/usr/bin/setpriv");
        command.args([
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".into(),
            "--".into(),
        ]);
        command.arg(program);
    } else {
        command = Command::new(program);
    }
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    command
}

/// A program under way, in a process group of its own; threads read what it prints.
pub(crate) struct Running {
    child: Child,
    command: String,
    deadline: Deadline,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command, stdin: &[u8]) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut to_child = child.stdin.take().expect("stdin is piped");
        let stdin = stdin.to_vec();
        // A child may leave its stdin unread: then the write fails, which is no error.
        thread::spawn(move || to_child.write_all(&stdin));
        Self {
            stdout: reader(child.stdout.take().expect("stdout is piped")),
            stderr: reader(child.stderr.take().expect("stderr is piped")),
            command: format!("{command:?}"),
            child,
            deadline: Deadline::soon(),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The same with another deadline, for what takes longer than most.
    pub(crate) fn until(self, deadline: Deadline) -> Self {
        Self { deadline, ..self }
    }

    /// Waits for its end, and for the end of all it printed.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        let Self {
            child,
            command,
            deadline,
            stdout,
            stderr,
        } = &mut self;
        let status = wait(child, *deadline).unwrap_or_else(|| {
            // The group may have ended by now; then there is nothing to kill.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            panic!("{command} did not end in time");
        });
        let read = |what: &Receiver<Vec<u8>>, name| {
            what.recv_timeout(deadline.left()).unwrap_or_else(|_| {
                panic!("{command} has ended, but something it started holds its {name} open")
            })
        };
        let (stdout, stderr) = (read(stdout, "stdout"), read(stderr, "stderr"));
        Output {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// Runs a command to its end and to the end of all it printed, `stdin` given to it.
#[track_caller]
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Output {
    Running::start(command, stdin).end()
}

/// The SHA-256 of the bytes, in hexadecimal, by coreutils.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let shown = run(&mut Command::new("sha256sum"), bytes).success();
    shown
        .split_whitespace()
        .next()
        .expect("sha256sum prints a digest first")
        .to_owned()
}

/// Reaps a child that ends before the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Deadline) -> Option<ExitStatus> {
    deadline
        .ended(child.id().cast_signed())
        .then(|| child.wait().expect("a child can be waited for"))
}

fn reader(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut read = Vec::new();
        // What came before an error is still worth showing.
        let _ = from.read_to_end(&mut read);
        // The test may have failed and gone.
        let _ = sender.send(read);
    });
    receiver
}
