//! Memory pressure as a test wants it, for the processes of the test only: below a mount namespace of theirs the kernel's
//! file is covered by one of the test's. Only root can have that; it is shown to be read before it counts.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

use super::{Dir, as_user, not_tested, run};

const COVERED: &str = "/proc/pressure/memory";

pub(crate) struct Pressure {
    file: PathBuf,
}

impl Pressure {
    /// So many percent of the last 10 s. None, and said so, where no file can be covered.
    #[track_caller]
    pub(crate) fn of(dir: &Dir, percent: f64) -> Option<Self> {
        if !Uid::effective().is_root() || !fs::exists(COVERED).unwrap_or(false) {
            not_tested("memory pressure: only root can cover what the kernel says, if it says it");
            return None;
        }
        let pressure = Self {
            file: dir.join("pressure"),
        };
        fs::write(&pressure.file, text(percent)).expect("a file can be written");
        let mut show = as_user("cat");
        let shown = run(pressure.over(show.arg(COVERED)), b"").success();
        assert_eq!(shown, text(percent), "the fault");
        Some(pressure)
    }

    /// From now on it is another one.
    pub(crate) fn set(&self, percent: f64) {
        // In one write of the same length: a reader finds one or the other.
        let file = OpenOptions::new().write(true).open(&self.file);
        let mut file = file.expect("the test's own file can be opened");
        file.write_all(text(percent).as_bytes())
            .expect("the test's own file can be written");
    }

    /// The command, and all that it starts, reads this pressure.
    pub(crate) fn over<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let ours = CString::new(self.file.as_os_str().as_bytes()).expect("a path has no NUL");
        let mount_over = move || -> io::Result<()> {
            const NONE: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(NONE, c"/", NONE, private, NONE)?;
            let ours = Some(ours.as_c_str());
            mount(ours, COVERED, NONE, MsFlags::MS_BIND, NONE)?;
            Ok(())
        };
        // SAFETY: between fork and exec, system calls only.
        unsafe { command.pre_exec(mount_over) }
    }
}

/// As long as any other.
fn text(percent: f64) -> String {
    let averages = format!("avg10={percent:06.2} avg60=0.00 avg300=0.00 total=0");
    format!("some {averages}\nfull {averages}\n")
}
