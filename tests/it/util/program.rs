//! The process of a server from a Debian package: started as the tests' user in a process group of its own, its output
//! kept in a file, stopped by its pid. It knows no protocol and no configuration.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::{Deadline, Watch, as_user, command, deadline};

/// A server under way.
pub(crate) struct Program {
    name: &'static str,
    child: Option<Child>,
    said: PathBuf,
    /// Its children do not end with it: the whole group is signalled.
    pub(crate) stops_as_group: bool,
}

impl Program {
    /// A command for it as the tests' user; the test fails where it is not installed.
    #[track_caller]
    pub(crate) fn command(path: &str, package: &str) -> Command {
        is_installed(path, package);
        as_user(path)
    }

    /// Starts it in a folder, where its output goes to the file `NAME.said`.
    #[track_caller]
    pub(crate) fn start(name: &'static str, command: &mut Command, root: &Path) -> Self {
        let said = root.join(format!("{name}.said"));
        let words = File::create(&said).expect("a file can be made");
        let child = command
            .current_dir(root)
            // Some send SIGTERM to their whole group when they end: it must not be that of the tests.
            .process_group(0)
            .stdout(words.try_clone().expect("a descriptor can be copied"))
            .stderr(words)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name,
            child: Some(child),
            said,
            stops_as_group: false,
        }
    }

    /// Waits until it is up, which shows in its folder.
    #[track_caller]
    pub(crate) fn until_up(&mut self, mut watch: Watch, mut is_up: impl FnMut() -> bool) {
        let pidfd = deadline::pidfd(self.pid()).expect("a child that was not waited for is there");
        if !watch.until_or(Deadline::soon(), &[pidfd.as_fd()], &mut is_up) {
            self.did_not_start();
        }
    }

    /// Waits until it takes connections, by trying: for a server that writes nothing when it is up.
    #[track_caller]
    pub(crate) fn until_it_listens(&mut self, address: SocketAddr) {
        self.until(|| TcpStream::connect(address).is_ok());
    }

    /// Waits until the condition holds, by looking again and again: for what no event tells of.
    #[track_caller]
    pub(super) fn until(&mut self, is_so: impl Fn() -> bool) {
        let deadline = Deadline::soon();
        while !is_so() {
            if deadline.left().is_zero() || Deadline::now().ended(self.pid()) {
                self.did_not_start();
            }
            std::thread::yield_now();
        }
    }

    /// Stops it, and waits until it has gone.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = Pid::from_raw(child.id().cast_signed());
        // It may have ended by itself, which wait() shows.
        let _ = if self.stops_as_group {
            killpg(pid, Signal::SIGTERM)
        } else {
            kill(pid, Signal::SIGTERM)
        };
        if command::wait(&mut child, Deadline::within(Duration::from_secs(15))).is_none() {
            // Killed and reaped, so that the failure is about the stop and not about what follows.
            let _ = child.kill();
            let _ = child.wait();
            assert!(
                std::thread::panicking(),
                "{} did not stop in time",
                self.name
            );
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child
            .as_ref()
            .expect("it was not stopped")
            .id()
            .cast_signed()
    }

    #[track_caller]
    fn did_not_start(&mut self) -> ! {
        self.stop();
        let folder = self.said.parent().expect("a file is in a folder");
        let log = fs::read(folder.join("error.log")).unwrap_or_default();
        panic!(
            "{} did not start: {}{}",
            self.name,
            fs::read_to_string(&self.said).unwrap_or_default(),
            String::from_utf8_lossy(&log)
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Fails with the name of Debian's package where a file of it is missing.
#[track_caller]
pub(crate) fn is_installed(path: &str, package: &str) {
    assert!(
        Path::new(path).exists(),
        "{path} is not there: install Debian's package {package} (tests/install-deps.sh does)"
    );
}

/// An address of 127/8 that no other test has, and a port that is free there: no other test takes it meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0.0.x may be in use; 127.128.0.0 to 127.255.255.255 are the tests' own.
    let address = IpAddr::V4(Ipv4Addr::new(
        127,
        high | 0x80,
        low,
        1 + (count % 254) as u8,
    ));
    let listener =
        TcpListener::bind((address, 0)).expect("every address of 127/8 is this machine's");
    listener.local_addr().expect("a listener has an address")
}
