//! Places that this process does not see, since they lie in another view of the file systems: a web server whose service
//! has `PrivateTmp=true` has a /tmp of its own, and one in a chroot a root of its own. Knows processes and their views;
//! asks no daemon.
//!
//! # How they are found
//! The app's daemon and its CGIs have the web server's view and this user's uid. /proc/PID/root leads into the view of a
//! process; the kernel lets only its user and root follow it. Any process of this uid will do: it is never taken for a
//! daemon. What lies there has to be proved as in our own view: real directories of this uid, mode 0700, and, by the
//! caller, a listener of this uid that was bound to the app's name. Without such a process the place can't be found.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::app_file::AppFile;
use crate::place::Place;
use crate::sys::files::{self, Identity};
use crate::sys::process;

/// The most views of one user's processes that are examined.
const MOST_VIEWS: usize = 16;
/// So many bytes of a command line are read.
const LONGEST_NAME: u64 = 4096;

/// The places of the app that are proved to be this uid's, in the views of its processes that are not ours.
pub fn places(app: &AppFile, uid: u32, runtime_dir: Option<&Path>) -> Vec<Place> {
    let roots = roots(uid);
    if roots.is_empty() {
        return Vec::new();
    }
    let ours = Place::proved(app, uid, runtime_dir);
    unseen(
        &ours,
        |root| Place::proved_below(root, app, uid, runtime_dir),
        &roots,
    )
}

/// The same of all apps, in the usual runtime directories; only in the view of a web server.
pub fn all(uid: u32) -> Vec<Place> {
    let tmps: Vec<String> = behind_private_tmp().map(|(_, mounts)| mounts.tmp).collect();
    if tmps.is_empty() {
        return Vec::new();
    }
    let mut roots = roots(uid);
    roots.retain(|root| {
        let mounts = root.parent().and_then(mounts);
        mounts.is_some_and(|mounts| tmps.contains(&mounts.tmp))
    });
    let (ours, _) = Place::all(uid);
    unseen(&ours, |root| Place::all_below(root, uid).0, &roots)
}

/// The users who may have such places, by what their processes call themselves: for root, which has a process of each
/// look there. What a process calls itself is in its own memory, and its user can make a reader wait: call
/// this where that does no harm.
pub fn users() -> Vec<u32> {
    let tmps: Vec<String> = behind_private_tmp().map(|(_, mounts)| mounts.tmp).collect();
    if tmps.is_empty() {
        return Vec::new();
    }
    let daemons = all_processes().filter(|process| {
        mounts(process).is_some_and(|mounts| tmps.contains(&mounts.tmp))
            && calls_itself_daemon(process)
    });
    let owners = daemons.filter_map(|process| fs::metadata(process).ok());
    owners.map(|found| found.uid()).collect()
}

/// What `find` finds in each view, without `ours`, which other views may show as well, and each once.
fn unseen(ours: &[Place], find: impl Fn(&Path) -> Vec<Place>, roots: &[PathBuf]) -> Vec<Place> {
    let identity = |place: &Place| files::identity(&place.dir).ok();
    let mut seen: Vec<Identity> = ours.iter().filter_map(identity).collect();
    let mut places = Vec::new();
    for place in roots.iter().flat_map(|root| find(root)) {
        // One whose process has ended is gone from sight.
        if let Some(identity) = identity(&place)
            && !seen.contains(&identity)
        {
            seen.push(identity);
            places.push(place);
        }
    }
    places
}

/// What a process sees of the file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    mounts: Identity,
    root: Identity,
}

impl View {
    /// An error: the process has ended, or may not be examined.
    fn of(process: &Path) -> io::Result<View> {
        Ok(View {
            mounts: files::identity(&process.join("ns/mnt"))?,
            root: files::identity(&process.join("root"))?,
        })
    }
}

/// The roots of this uid's processes, one for each view that is not ours.
fn roots(uid: u32) -> Vec<PathBuf> {
    let own = Path::new("/proc/self");
    let (Ok(ours), Some(own)) = (View::of(own), mounts(own)) else {
        return Vec::new();
    };
    // As under `PrivateTmp=true`; a container has another root.
    let is_private_tmp = |process: &Path| {
        mounts(process).is_some_and(|its| its.root == own.root && its.tmp != own.tmp)
    };
    let mut found: Vec<(View, PathBuf)> = Vec::new();
    for process in processes(uid) {
        let Ok(view) = View::of(&process) else {
            continue;
        };
        match found.iter().position(|(known, _)| *known == view) {
            // A CGI may end at once; what calls itself a daemon is likelier to stay. That is all it is believed for.
            Some(nth) if calls_itself_daemon(&process) => found[nth].1 = process,
            Some(_) => {}
            None if view == ours || found.len() >= MOST_VIEWS => {}
            // In a chroot, only a daemon: not whatever else of this user has a root of its own.
            None if is_private_tmp(&process) || calls_itself_daemon(&process) => {
                found.push((view, process));
            }
            None => {}
        }
    }
    let roots = found.into_iter().map(|(_, process)| process.join("root"));
    roots.collect()
}

fn calls_itself_daemon(process: &Path) -> bool {
    let mut words = Vec::new();
    let file = File::open(process.join("cmdline"));
    let read = file.and_then(|file| file.take(LONGEST_NAME).read_to_end(&mut words));
    if read.is_err() {
        return false;
    }
    let name = words.split(|&byte| byte == 0).next().unwrap_or_default();
    name.ends_with(b"scgi-daemon")
}

/// The folders in /proc of the processes that have this uid and no other.
fn processes(uid: u32) -> impl Iterator<Item = PathBuf> {
    all_processes().filter(move |process| is_of(process, uid))
}

fn all_processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = entries.filter(|entry| {
        let name = entry.file_name();
        name.as_bytes().iter().all(u8::is_ascii_digit)
    });
    numbered.map(|entry| entry.path())
}

/// By proc_pid_status(5): real, effective, saved and file system uid. The folder's owner, the effective uid, is looked at
/// first: that is cheaper.
fn is_of(process: &Path, uid: u32) -> bool {
    if fs::metadata(process).map_or(true, |found| found.uid() != uid) {
        return false;
    }
    let status = fs::read(process.join("status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.is_some_and(|uids| {
        let mut uids = uids.split_whitespace().peekable();
        uids.peek().is_some() && uids.all(|number| number.parse() == Ok(uid))
    })
}

/// Programs that run CGIs, by the names of their processes.
const WEB_SERVERS: [&[u8]; 8] = [
    b"apache2",
    b"caddy",
    b"fcgiwrap",
    b"h2o",
    b"httpd",
    b"lighttpd",
    b"nginx",
    b"thttpd",
];

/// A web server's process of our uid, by its pid, that does not see this place: it has a /tmp of its own. Unlike what is
/// in that /tmp, this can be seen of any process.
pub fn hides(place: &Place) -> Option<i32> {
    if !place.dir.starts_with("/tmp") {
        return None;
    }
    let mut servers = behind_private_tmp();
    let (server, _) = servers.find(|(server, _)| is_of(server, process::uid()))?;
    server.file_name()?.to_str()?.parse().ok()
}

/// The web servers' processes that have our root but another /tmp, as under `PrivateTmp=true`. None if our own /tmp is
/// not the host's.
fn behind_private_tmp() -> impl Iterator<Item = (PathBuf, Mounts)> {
    let hosts = mounts(Path::new("/proc/1"));
    let ours = mounts(Path::new("/proc/self")).filter(|ours| hosts.as_ref() == Some(ours));
    let servers = ours.iter().flat_map(|_| all_processes());
    let servers = servers.filter(|process| {
        let name = fs::read(process.join("comm")).unwrap_or_default();
        WEB_SERVERS.contains(&name.trim_ascii())
    });
    let servers: Vec<PathBuf> = servers.collect();
    servers.into_iter().filter_map(move |process| {
        let its = mounts(&process)?;
        let ours = ours.as_ref()?;
        (its.root == ours.root && its.tmp != ours.tmp).then_some((process, its))
    })
}

/// What is mounted at / and at /tmp: device, and root within it. Empty: nothing is.
#[derive(Debug, PartialEq, Eq)]
struct Mounts {
    root: String,
    tmp: String,
}

/// By proc_pid_mountinfo(5).
fn mounts(process: &Path) -> Option<Mounts> {
    let mounts = fs::read(process.join("mountinfo")).ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mounted = |wanted: &str| {
        let mut found = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(2);
            let (device, root, at) = (words.next()?, words.next()?, words.next()?);
            (at == wanted).then(|| format!("{device} {root}"))
        });
        // The last one covers those before it.
        found.next_back().unwrap_or_default()
    };
    Some(Mounts {
        root: mounted("/"),
        tmp: mounted("/tmp"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_view_is_not_another() {
        let ours = View::of(Path::new("/proc/self")).unwrap();
        for root in roots(process::uid()) {
            let other = View::of(root.parent().unwrap());
            assert!(other.is_err() || other.unwrap() != ours, "{root:?}");
        }
        let own = PathBuf::from(format!("/proc/{}", process::pid()));
        assert!(processes(process::uid()).any(|process| process == own));
        assert!(!is_of(&own, process::uid() + 1));
        let own = mounts(&own).unwrap();
        assert!(own.root.contains(" /"), "{own:?}");
    }
}
