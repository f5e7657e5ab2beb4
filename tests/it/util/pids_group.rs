//! A control group of a test's own that holds one process and gives it no other (`pids.max`). Only root can make one.

use std::fs;
use std::path::{Path, PathBuf};

use super::not_tested;

/// The process is in it until this is dropped.
pub(crate) struct PidsGroup {
    folder: PathBuf,
    pid: i32,
}

impl PidsGroup {
    /// None, and said so, where this process may make no such group.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let folder = parent().map(|parent| parent.join(format!("polycgi-it-{pid}")));
        let Some(folder) = folder.filter(|folder| fs::create_dir(folder).is_ok()) else {
            not_tested("a group without processes to spare: none can be made here");
            return None;
        };
        let group = Self { folder, pid };
        group.join(&group.folder);
        fs::write(group.folder.join("pids.max"), "1").expect("a group has a limit");
        Some(group)
    }

    fn join(&self, folder: &Path) {
        fs::write(folder.join("cgroup.procs"), self.pid.to_string())
            .expect("root can move a process to another group");
    }
}

impl Drop for PidsGroup {
    fn drop(&mut self) {
        if let Some(parent) = self.folder.parent() {
            self.join(parent);
        }
        // It is empty by now.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The group of this test's where processes are counted, if they are in groups below it, too.
fn parent() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    // `ID:CONTROLLERS:PATH`; without controllers where there is one hierarchy for all.
    let path = |controllers: &str| {
        groups.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            (names == controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let alone = path("pids").map(|path| Path::new("/sys/fs/cgroup/pids").join(path));
    let all = || Some(Path::new("/sys/fs/cgroup").join(path("")?));
    let parent = alone.or_else(all)?;
    // Where it is one of several controllers, it may not be passed on to groups below.
    let controls = fs::read_to_string(parent.join("cgroup.subtree_control"));
    let counts = controls.map_or(true, |names| {
        names.split_whitespace().any(|name| name == "pids")
    });
    counts.then_some(parent)
}
