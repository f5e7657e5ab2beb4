//! Debian's Apache, started by its program and not by the system's service: unprivileged, on a loopback address
//! of its own, with nothing of /etc/apache2. It knows how to start and stop it and what it logged.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Deadline, Dir, Watch, as_user, command, deadline};

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// The two kinds of Apache that differ in how they run a CGI.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mpm {
    /// Threads, and mod_cgid: a helper process forks the CGI, whose stdin and stdout are one Unix socket.
    Event,
    /// Processes, and mod_cgi: the CGI's stdin, stdout and stderr are pipes.
    Prefork,
}

/// A running Apache, which serves `cgi-bin` of the test's directory at `/cgi-bin/`.
pub(crate) struct Apache {
    address: SocketAddr,
    child: Option<Child>,
    root: PathBuf,
}

impl Apache {
    /// Starts it for up to `concurrency` requests at once and with these more lines of configuration, and waits
    /// until it listens.
    #[track_caller]
    pub(crate) fn start(dir: &Dir, mpm: Mpm, concurrency: u32, more: &str) -> Self {
        for needed in [PROGRAM, MODULES] {
            assert!(
                Path::new(needed).exists(),
                "{needed} is not there: install Debian's package apache2-bin"
            );
        }
        let address = free_address();
        let root = dir.folder("apache", 0o755);
        let config = dir.file(
            "apache/httpd.conf",
            &(config(dir, &root, mpm, concurrency, address) + more),
            0o644,
        );
        let mut watch = Watch::on(&root);
        let said = File::create(root.join("said")).expect("a file can be made");
        let child = as_user(PROGRAM)
            .args(["-D", "FOREGROUND", "-d"])
            .arg(&root)
            .arg("-f")
            .arg(&config)
            .current_dir(&root)
            .stdin(Stdio::null())
            // At its end it sends SIGTERM to its whole group, which must not be the other tests'.
            .process_group(0)
            .stdout(said.try_clone().expect("a descriptor can be copied"))
            .stderr(said)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {PROGRAM}: {error}"));
        let pid = child.id().cast_signed();
        let pidfd = deadline::pidfd(pid).expect("a child that was not waited for is there");
        let mut apache = Self {
            address,
            child: Some(child),
            root,
        };
        let mut is_up = || apache.text().contains("resuming normal operations");
        if !watch.until_or(Deadline::soon(), &[pidfd.as_fd()], &mut is_up) {
            apache.stop();
            let said = fs::read_to_string(apache.root.join("said")).unwrap_or_default();
            panic!("apache2 did not start: {said}{}", apache.text());
        }
        apache
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, and waits until it has gone and its log is complete.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It may have ended by itself; wait() tells.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        if command::wait(&mut child, Deadline::after(Duration::from_secs(15))).is_none() {
            // Killed and reaped, so that the failure is about the stop and not about what follows.
            let _ = child.kill();
            let _ = child.wait();
            assert!(std::thread::panicking(), "apache2 did not stop in time");
        }
    }

    /// What it has logged so far about requests, and what their CGIs wrote to stderr; all of it once it has
    /// stopped. Not that it started and stopped.
    pub(crate) fn log(&self) -> String {
        let notice = |line: &str| line.starts_with('[') && line.contains(":notice] ");
        // The event MPM says so of a connection whose response is over when it is told to stop: by then its pollset is
        // closed, and the connection still to be.
        let stopped = |line: &str| line.contains(" AH03092: process_lingering_close: ");
        self.text()
            .split_inclusive('\n')
            .filter(|line| !notice(line) && !stopped(line))
            .collect()
    }

    /// Waits until the log has that text.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) {
        let logged = Watch::on(&self.root).until(Deadline::soon(), || self.text().contains(text));
        assert!(
            logged,
            "not in the error log: {text}; but:\n{}",
            self.text()
        );
    }

    fn text(&self) -> String {
        let log = fs::read(self.root.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        self.stop();
    }
}

fn config(dir: &Dir, root: &Path, mpm: Mpm, concurrency: u32, address: SocketAddr) -> String {
    let (modules, processes) = match mpm {
        Mpm::Event => (
            ["mpm_event", "cgid"],
            format!(
                "StartServers 1\nServerLimit 1\nThreadLimit {concurrency}\nThreadsPerChild {concurrency}\n\
                 MinSpareThreads 1\nMaxSpareThreads {concurrency}\nMaxRequestWorkers {concurrency}\n\
                 ScriptSock {root}/cgid.sock",
                root = root.display()
            ),
        ),
        Mpm::Prefork => (
            ["mpm_prefork", "cgi"],
            // Those for a small test are forked when they are needed, those for a large one at once.
            format!(
                "StartServers {start}\nMinSpareServers 1\nMaxSpareServers {concurrency}\n\
                 ServerLimit {concurrency}\nMaxRequestWorkers {concurrency}",
                start = if concurrency > 16 { concurrency } else { 2 }
            ),
        ),
    };
    let load: String = modules
        .iter()
        .chain(&["authz_core", "alias", "env"])
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    format!(
        "ServerRoot {root}\n{load}{processes}\n\
         PidFile {root}/pid\nDefaultRuntimeDir {root}\nListen {address}\nServerName {address}\nTimeout 30\n\
         ErrorLog {root}/error.log\nLogLevel notice\nAllowEncodedSlashes On\nSetEnv HTTP_PROXY http://evil.example/\n\
         ScriptAlias /cgi-bin/ {cgi_bin}/\n\
         <Directory {cgi_bin}>\nRequire all granted\nAcceptPathInfo On\n</Directory>\n",
        root = root.display(),
        cgi_bin = dir.join("cgi-bin").display(),
    )
}

/// An address of 127/8 that no other test has, and a port that is free there: nobody else can take it meanwhile.
fn free_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0.0.x is everybody's; 128 to 255 is ours.
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
