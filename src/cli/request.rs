//! `request`: makes one request as a web server would, and prints the response.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use argh::{ArgsInfo, FromArgs};

use super::asked::RequestWords;
use super::ways::{self, Beside, ReadResponse, system};
use super::{app_to_run, app_to_run_alone};
use crate::acting::{self, CommandError};
use crate::app_file::{AppFile, Named};
use crate::cgi::response::{self, Parsed};
use crate::report::{Exit, say};
use crate::sys::{Errno, is, splice};

const NAME: &str = "request";

/// Run one request as a web server would, and print the response's body.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "request")]
pub(super) struct RequestCommand {
    /// the method (default GET, or POST with -d)
    #[argh(option, short = 'X', arg_name = "method")]
    method: Option<String>,

    /// a header field, 'Name: value'; may be repeated
    #[argh(option, short = 'H', arg_name = "field")]
    header: Vec<String>,

    /// the message-body, or @FILE for what a file holds
    #[argh(option, short = 'd', arg_name = "body")]
    data: Option<String>,

    /// the way: auto (what a web server gets), cgi, scgi (the app's daemon), or the address of an SCGI server
    #[argh(option, default = "\"auto\".to_owned()", arg_name = "way")]
    via: String,

    /// print the response's head too
    #[argh(switch, short = 'i')]
    include: bool,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,

    /// path and query, such as /page?name=value
    #[argh(positional, default = "\"/\".to_owned()")]
    path: String,
}

impl RequestCommand {
    pub(super) fn run(self) -> Exit {
        // Before anything else: after that the process may be another user's, and could not read the person's file.
        let body = match ways::check(&self.via).and_then(|()| self.asked().body()) {
            Ok(body) => body,
            Err((exit, sentence)) => {
                say(NAME, sentence);
                return exit;
            }
        };
        let named = Named::new(OsStr::new(&self.app));
        let app_to_run = match self.via.as_str() {
            "auto" | "scgi" => app_to_run,
            _ => app_to_run_alone,
        };
        let app = match app_to_run(NAME, &named, self.user.as_deref()) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        match self.serve(&named, &app, &body) {
            Ok(()) => Exit::Ok,
            Err((exit, sentence)) => {
                say(NAME, sentence);
                exit
            }
        }
    }

    fn serve(&self, named: &Named, app: &AppFile, body: &[u8]) -> Result<(), CommandError> {
        let meta = self.asked().meta_variables(app, body.len())?;
        let print = |from| self.print_response(from);
        let user = self.user.as_deref();
        match self.via.as_str() {
            // The front that we would start would not find it, and might start another.
            "auto" if let Some(connection) = ways::daemon_elsewhere(app) => {
                ways::by_scgi(connection, &meta, body, print)
            }
            "auto" => {
                // If the configuration is wrong, the front says so.
                if let Some(dir) = app.load().ok().and_then(|config| config.runtime_dir) {
                    acting::may_make(named, &dir, user)?;
                }
                ways::by_exec(app, &meta, body, print)
            }
            "cgi" => {
                let beside = Beside {
                    command: NAME,
                    variables: &[],
                    stderr: None,
                    place: None,
                };
                ways::by_cgi(app, &meta, body, &beside, print).map(drop)
            }
            "scgi" => {
                // Here an error has its sentence, and its exit code; the other process only asks.
                drop(ways::daemon(named, app, user)?);
                ways::by_daemon(|| ways::daemon(named, app, user), &meta, body, print)
            }
            address => ways::by_scgi(ways::connect(address)?, &meta, body, print),
        }
    }

    fn asked(&self) -> RequestWords {
        RequestWords {
            method: self.method.clone(),
            header: self.header.clone(),
            data: self.data.clone(),
            path: self.path.clone(),
        }
    }

    /// Prints the response as it comes: it may have no end.
    fn print_response(&self, mut from: File) -> Result<ReadResponse, CommandError> {
        let mut head = Vec::new();
        let size = loop {
            let mut block = [0; 4096];
            let count = from.read(&mut block).map_err(system("read the response"))?;
            head.extend_from_slice(&block[..count]);
            match response::parse(&head) {
                Ok(Parsed::Head(parsed)) => break parsed.size(),
                Ok(Parsed::Partial) if count > 0 => {}
                Ok(Parsed::Partial) if head.is_empty() => return Ok(ReadResponse::whole(0)),
                Ok(Parsed::Partial) => {
                    let sentence = "the response has no complete head".to_owned();
                    return Err((Exit::Protocol, sentence));
                }
                Err(bad) => {
                    let sentence = format!("the response's head is not valid: {bad}");
                    return Err((Exit::Protocol, sentence));
                }
            }
        };
        let shown = &head[if self.include { 0 } else { size }..];
        let mut bytes = head.len() as u64;
        let is_whole = false;
        if !write_out(shown)? {
            return Ok(ReadResponse { bytes, is_whole });
        }
        let mut block = vec![0; 65_536];
        loop {
            let count = from.read(&mut block).map_err(system("read the response"))?;
            if count == 0 {
                return Ok(ReadResponse::whole(bytes));
            }
            if !write_out(&block[..count])? {
                return Ok(ReadResponse { bytes, is_whole });
            }
            bytes += count as u64;
        }
    }
}

/// `false`: the reader has closed the pipe (`| head`), which is no failure of the request.
fn write_out(bytes: &[u8]) -> Result<bool, CommandError> {
    match splice::write_all(io::stdout().as_fd(), bytes) {
        Ok(()) => Ok(true),
        Err(error) if is(&error, Errno::EPIPE) => Ok(false),
        Err(error) => {
            let sentence = format!("cannot write to standard output: {error}");
            Err((Exit::IoError, sentence))
        }
    }
}
