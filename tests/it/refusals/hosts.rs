//! Hosts without /proc, without a folder for temporary files, with a full or a read-only disk below a place. An app of
//! each kind still answers.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

use super::super::util::process::{kill_at_once, send};
use super::super::util::{Deadline, Dir, SmallDisk, cgi, not_tested, run};
use super::Told;
use super::apps::{App, Kind};

const KINDS: [Kind; 5] = [
    Kind::Cgi,
    Kind::CgiAndScgi,
    Kind::Connect,
    Kind::Scgi,
    Kind::Wsgi,
];

/// How an app of this kind is served without a daemon; `None`: it can't be, and the client gets a page.
fn without_daemon(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Cgi | Kind::CgiAndScgi | Kind::Wsgi => Some("a plain CGI"),
        Kind::Connect | Kind::ConnectWithoutPlace => Some("the server"),
        Kind::Scgi => None,
    }
}

/// ... and with one.
fn with_daemon(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Cgi | Kind::Wsgi => Some("the daemon"),
        Kind::CgiAndScgi | Kind::Connect | Kind::ConnectWithoutPlace | Kind::Scgi => {
            Some("the server")
        }
    }
}

/// Sends two requests. Each is served in that way, in time and with at most three lines; if there is no way, it gets a
/// page. Returns the lines.
#[track_caller]
fn goes(kind: Kind, way: Option<&str>, mut front: impl FnMut() -> Command) -> String {
    let mut said = String::new();
    for _ in 0..2 {
        let told = Told::of(&mut front());
        let response = String::from_utf8_lossy(&told.output.stdout).into_owned();
        let stderr = &told.output.stderr;
        assert_eq!(told.way(), way, "{kind:?}: {response:?}: {stderr:?}");
        let is_page = response.starts_with("Status: 503 ");
        assert!(
            way.is_some() || is_page,
            "{kind:?}: {response:?}: {stderr:?}"
        );
        assert!(
            told.took < Deadline::soon().left() / 3,
            "{kind:?}: {:?}",
            told.took
        );
        assert!(stderr.lines().count() <= 3, "{kind:?}: {stderr:?}");
        said += stderr;
    }
    said
}

const MODE: &str = "mode = daemon\n";

/// Such an app; one that has a choice always has a daemon.
fn app(dir: &Dir, kind: Kind) -> App {
    App::new(
        dir,
        kind,
        if without_daemon(kind) == Some("a plain CGI") {
            MODE
        } else {
            ""
        },
    )
}

/// What is mounted for one front and all that it starts.
type Mounts = Box<dyn FnMut() -> nix::Result<()> + Send + Sync>;

/// `false`: this process may not mount anything.
fn may_mount() -> bool {
    let may = Uid::effective().is_root() && may_unshare();
    if !may {
        not_tested("a host that lacks something, which takes a mount namespace");
    }
    may
}

fn may_unshare() -> bool {
    let mut command = Command::new("unshare");
    let output = run(command.args(["--mount", "--", "true"]), b"");
    output.status.success()
}

/// The front gets these mounts. They end with the last process that it starts.
fn among(mut mounts: Mounts, mut front: Command) -> Command {
    let mut enter = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mounts()
    };
    // SAFETY: between fork and exec, system calls only; their paths are short enough to need no allocation.
    unsafe { front.pre_exec(move || enter().map_err(io::Error::from)) };
    front
}

/// The folder is empty, and nothing can be written there.
fn empty(folder: &str) -> nix::Result<()> {
    let tmpfs = Some("tmpfs");
    let none: Option<&str> = None;
    mount(tmpfs, folder, tmpfs, MsFlags::MS_RDONLY, none)
}

/// What is in the folder can be read, and nothing written.
fn read_only(folder: &str) -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(
        Some(folder),
        folder,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, folder, none, flags, none)
}

/// No daemon can be started: its program is /proc/self/exe.
#[test]
fn no_proc() {
    if !may_mount() {
        return;
    }
    for kind in KINDS {
        let dir = Dir::new();
        let app = app(&dir, kind);
        let said = goes(kind, without_daemon(kind), || {
            among(
                Box::new(|| empty("/proc")),
                cgi::front(&app.file, "GET", "/", &[]),
            )
        });
        assert!(
            said.contains("execve: No such file or directory"),
            "{kind:?}: {said:?}"
        );
    }
}

/// A daemon that runs already is found without it.
#[test]
fn no_proc_for_a_front() {
    if !may_mount() {
        return;
    }
    for kind in KINDS {
        let dir = Dir::new();
        let app = app(&dir, kind);
        goes(kind, with_daemon(kind), || {
            cgi::front(&app.file, "GET", "/", &[])
        });
        let said = goes(kind, with_daemon(kind), || {
            among(
                Box::new(|| empty("/proc")),
                cgi::front(&app.file, "GET", "/", &[]),
            )
        });
        assert_eq!(said, "", "{kind:?}");
    }
}

#[test]
fn no_folder_for_temporary_files() {
    if !may_mount() {
        return;
    }
    for kind in KINDS {
        let dir = Dir::new();
        let app = app(&dir, kind);
        let said = goes(kind, with_daemon(kind), || {
            let own = dir.path().display().to_string();
            let mounts = move || {
                // The test's own directory stays writable: it is a mount of its own.
                let none: Option<&str> = None;
                mount(
                    Some(own.as_str()),
                    own.as_str(),
                    none,
                    MsFlags::MS_BIND,
                    none,
                )?;
                read_only("/tmp")?;
                ["/dev/shm", "/run", "/var/tmp"]
                    .into_iter()
                    .try_for_each(empty)
            };
            among(Box::new(mounts), cgi::front(&app.file, "GET", "/", &[]))
        });
        assert_eq!(said, "", "{kind:?}");
    }
}

/// Both of the usual places for a runtime directory are read-only.
#[test]
fn no_runtime_directory_can_be_made() {
    if !may_mount() {
        return;
    }
    for kind in KINDS {
        let dir = Dir::new();
        let app = app(&dir, kind);
        let text = std::fs::read_to_string(&app.file).expect("an app file can be read");
        let lines = text.lines().filter(|line| !line.starts_with("runtime-dir"));
        let lines: Vec<&str> = lines.collect();
        dir.file("cgi-bin/app", &(lines.join("\n") + "\n"), 0o755);
        let said = goes(kind, without_daemon(kind), || {
            let mounts = || {
                read_only("/tmp")?;
                ["/run", "/var/tmp"].into_iter().try_for_each(empty)
            };
            among(Box::new(mounts), cgi::front(&app.file, "GET", "/", &[]))
        });
        assert!(said.contains("Read-only file system"), "{kind:?}: {said:?}");
    }
}

/// First the disk is full, then it has room, then it is full again below a daemon, and at last it is read-only.
#[test]
fn no_room_or_no_writing_in_a_place() {
    for kind in KINDS {
        let dir = Dir::new();
        let Some(disk) = SmallDisk::on(&dir.join("run"), "32k") else {
            return;
        };
        let app = app(&dir, kind);
        let disk = disk; // It is dropped before the directory.
        let front = || cgi::front(&app.file, "GET", "/", &[]);
        disk.fill();
        let said = goes(kind, without_daemon(kind), front);
        assert!(
            said.contains("No space left on device"),
            "{kind:?}: {said:?}"
        );
        disk.clear();
        goes(kind, with_daemon(kind), front);
        disk.fill();
        goes(kind, with_daemon(kind), front);
        // The next daemon finds the file `slots`, which needs no more room; `state` and the log have none.
        let daemon = dir.daemon();
        kill_at_once(daemon);
        Deadline::soon().ended(daemon);
        goes(kind, with_daemon(kind), front);
        let daemon = dir.daemon();
        send(daemon, nix::sys::signal::Signal::SIGTERM);
        assert!(Deadline::soon().ended(daemon), "{kind:?}");
        // It may have left a worker that is about to end.
        let deadline = Deadline::soon();
        while !dir.processes().is_empty() {
            assert!(
                !deadline.left().is_zero(),
                "{kind:?}: {:?}",
                dir.processes()
            );
        }
        disk.make_read_only();
        let said = goes(kind, without_daemon(kind), front);
        assert!(said.contains("Read-only file system"), "{kind:?}: {said:?}");
    }
}
