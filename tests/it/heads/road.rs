//! A web server with the same program behind it, without polycgi and in several ways with it. It compares nothing.

use std::fs;
use std::net::SocketAddr;

use super::answer::{Answer, NAME, replaced};
use super::corpus::Case;
use crate::util::program::Program;
use crate::util::{Dir, Server, Watch, WebServer, as_user, installed, run};

/// The way without polycgi.
pub(super) const ALONE: &str = "alone";

/// One web server, and the apps in it.
pub(super) struct Road {
    pub(super) name: &'static str,
    // In this order: the web server goes first, then the app's own server, then the daemons are asked to leave.
    server: Server,
    _scgi: Option<Program>,
    _dir: Dir,
}

/// Writes a file of the app's own folder, whose number is the last part of the path; in pieces if an `s` follows it.
const PROGRAM: &str = "#!/bin/sh
path=$SCRIPT_NAME$PATH_INFO
number=${path##*/} path=${path%/*}
file=@DIR@/heads/${path##*/}/${number%s}
case $number in
    *s) exec dd if=$file bs=7 status=none ;;
    *) exec cat $file ;;
esac
";

impl Road {
    /// A web server that runs CGIs: the program by itself, and in each of these ways.
    #[track_caller]
    pub(super) fn cgi(name: &'static str, kind: WebServer, ways: &[&str], cases: &[Case]) -> Self {
        let dir = Dir::new();
        let names: Vec<&str> = ways.iter().copied().chain([ALONE]).collect();
        write(&dir, &names, cases);
        let text = PROGRAM.replace("@DIR@", &dir.path().display().to_string());
        dir.file("cgi-bin/alone", &text, 0o755);
        let program = dir.file("program", &text, 0o755);
        let scgi = ways.contains(&"links").then(|| scgi_server(&dir));
        for way in ways {
            let cgi = format!("cgi = {}", program.display());
            let app = match *way {
                "links" => format!("connect = {}", dir.join("raw").display()),
                "owned" => "scgi = /usr/bin/python3 -S heads.py".to_owned(),
                "exits" => format!("{cgi}\nhandoff = exit"),
                handoff => format!("{cgi}\nhandoff = {}", handoff.trim_end_matches('s')),
            };
            dir.app_file(way, &format!("mode = daemon\n{app}"));
        }
        Self {
            name,
            server: kind.start(&dir, "", ""),
            _scgi: scgi,
            _dir: dir,
        }
    }

    /// A web server that speaks SCGI: to a server by itself, and to the daemon with the program.
    #[track_caller]
    pub(super) fn scgi(
        name: &'static str,
        kind: WebServer,
        way: &'static str,
        cases: &[Case],
    ) -> Self {
        let dir = Dir::new();
        write(&dir, &["app"], cases);
        let text = PROGRAM.replace("@DIR@", &dir.path().display().to_string());
        let program = dir.file("program", &text, 0o755);
        let (mut scgi, mut socket) = (None, dir.join("raw"));
        if way == ALONE {
            scgi = Some(scgi_server(&dir));
        } else {
            let app = dir.app_file(
                "app",
                &format!("mode = daemon\ncgi = {}", program.display()),
            );
            let mut start = as_user(installed("polycgi"));
            run(start.arg("start").arg(app), b"").success();
            socket = dir.socket();
        }
        Self {
            name,
            server: kind.start(&dir, &socket.display().to_string(), ""),
            _scgi: scgi,
            _dir: dir,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What a client gets of the program in that way.
    pub(super) fn answer(&self, way: &str, number: usize, case: &Case) -> Result<Answer, String> {
        Answer::of(self.address(), way, number, case)
    }
}

/// Writes the files that the program reads: for each app, since a head may have the app's name.
fn write(dir: &Dir, names: &[&str], cases: &[Case]) {
    dir.folder("heads", 0o755);
    for name in names {
        let folder = dir.folder(&format!("heads/{name}"), 0o755);
        for (number, case) in cases.iter().enumerate() {
            let written = replaced(&case.written, NAME, name.as_bytes());
            fs::write(folder.join(number.to_string()), written).expect("a file can be written");
        }
    }
}

/// An SCGI server that has nothing of polycgi.
#[track_caller]
fn scgi_server(dir: &Dir) -> Program {
    let root = dir.folder("scgi", 0o755);
    let watch = Watch::on(dir.path());
    let socket = dir.join("raw");
    let mut command = Program::command("/usr/bin/python3", "python3");
    command
        .arg("-S")
        .arg(dir.join("apps/heads.py"))
        .arg(&socket);
    let mut program = Program::start("heads.py", &mut command, &root);
    program.until_up(watch, || socket.exists());
    program
}
