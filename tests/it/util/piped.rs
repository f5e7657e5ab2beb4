//! A front whose three pipes the test holds, as a web server does: what the test does not read stays in the pipe, and
//! what it does not send has not come yet.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::patient::{PatientRead, do_not_block};
use super::{Deadline, command};

/// A front under way.
pub(crate) struct Piped {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Piped {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        do_not_block(&stdin);
        do_not_block(&stdout);
        do_not_block(&stderr);
        Self {
            child,
            stdin: Some(stdin),
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a part of the message-body.
    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().expect("stdin was not closed")
    }

    /// Waits for the end of the front.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = command::wait(&mut self.child, Deadline::soon());
        status.expect("the front ends in time")
    }

    /// Reads both outputs to their ends, one after the other, and waits for the front: response, words, status.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Vec<u8>, String, ExitStatus) {
        let response = self.stdout.to_the_end();
        let words = self.stderr.to_the_end();
        let status = self.ended();
        (
            response,
            String::from_utf8_lossy(&words).into_owned(),
            status,
        )
    }

    /// Response and words of a front that must have succeeded.
    #[track_caller]
    pub(crate) fn answer(self) -> (String, String) {
        let (response, words, status) = self.end();
        assert!(status.success(), "{status}: {words}");
        (String::from_utf8_lossy(&response).into_owned(), words)
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It has ended, unless the test has failed or given it up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
