//! CGI without a web server: the meta-variables of a request, a front that is run with them, and the response as
//! the script wrote it.

use std::path::Path;
use std::process::Command;

use memchr::memmem;

use super::http::Head;
use super::{Output, Reply, Running, as_user};

/// The meta-variables of a request to the script `/cgi-bin/app`, without a length.
pub(crate) fn meta(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let fixed = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REQUEST_METHOD", method),
        ("SCRIPT_NAME", "/cgi-bin/app"),
        ("SERVER_NAME", "test.example"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", "test"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fields = fields.iter().map(|(name, value)| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        (format!("HTTP_{name}"), (*value).to_owned())
    });
    fixed.into_iter().chain(fields).collect()
}

/// A command that runs the program as a web server would, as the tests' user.
pub(crate) fn front(
    program: &Path,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Command {
    let mut command = as_user(program);
    command.envs(meta(method, target, fields));
    command
}

/// Starts a front for a GET.
#[track_caller]
pub(crate) fn start_front(program: &Path, target: &str) -> Running {
    Running::start(&mut front(program, "GET", target, &[]), b"")
}

/// A document response (RFC 3875 6.2.1) as a script writes it.
#[track_caller]
pub(crate) fn reply(response: &[u8]) -> Reply {
    let Some(end) = memmem::find(response, b"\r\n\r\n") else {
        panic!("no head: {:?}", String::from_utf8_lossy(response));
    };
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    let head =
        Head::of_script(&head).unwrap_or_else(|| panic!("this is no CGI response: {head:?}"));
    Reply {
        head,
        body: response[end + 4..].to_vec(),
    }
}

impl Output {
    /// The response of a front that has succeeded and written nothing to stderr.
    #[track_caller]
    pub(crate) fn response(self) -> Reply {
        assert!(
            self.status.success() && self.stderr.is_empty(),
            "{}: {}",
            self.status,
            self.stderr
        );
        reply(&self.stdout)
    }
}
