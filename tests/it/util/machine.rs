//! A Debian machine of the test's own, booted by systemd: what this one has installed lies below a layer that is thrown
//! away, so that a test may install packages, make users, and use ports and folders that the system's own servers use.
//! It has its own processes, `/run`, `/tmp` and network, with nothing but the loopback address. Only root can boot one.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

use super::process::children;
use super::{Deadline, Output, not_tested, prefix, run};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Below `/mnt`, in a mount namespace that ends with the machine. No service starts by itself but what systemd needs.
const BOOT: &str = r#"
mount -t tmpfs -o mode=0755 machine /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work machine /mnt/root
mount -t tmpfs -o mode=0755 machine /run
echo 0123456789abcdef0123456789abcdef >/mnt/root/etc/machine-id
rm -f /mnt/root/usr/sbin/policy-rc.d
# Groups of its own: systemd would take those of a machine beside it for its own.
groups=
for hierarchy in '.*name=systemd:systemd' '0::unified' '0::.'; do
    at=/sys/fs/cgroup/${hierarchy##*:}$(sed -n "s/^${hierarchy%:*}://p" /proc/self/cgroup)
    if [ -w "$at/cgroup.procs" ]; then
        mkdir "$at/machine-$$"
        echo $$ >"$at/machine-$$/cgroup.procs"
        groups="$groups $at"
    fi
done
systemd-nspawn --quiet --register=no --keep-unit --directory=/mnt/root --private-network --hostname=debian \
    --machine=debian --console=pipe --boot -- --unit=basic.target </dev/null &
nspawn=$!
# Until the test has ended, in whichever way.
read -r _ || true
# The first process, and so all others: it would outlive nspawn.
kill -KILL $(cat "/proc/$nspawn/task/$nspawn/children")
wait "$nspawn" || true
for at in $groups; do
    echo $$ >"$at/cgroup.procs"
    find "$at/machine-$$" -depth -type d -exec rmdir {} + || true
done
"#;

/// A booted machine. It ends when this is dropped, and when the test does.
pub(crate) struct Machine {
    keeper: Child,
    /// Its end is the machine's.
    lifeline: Option<ChildStdin>,
    init: i32,
}

impl Machine {
    /// None, and said so, where the tests' user is not root.
    #[track_caller]
    pub(crate) fn boot() -> Option<Self> {
        if !Uid::effective().is_root() {
            not_tested("a machine of the test's own: only root can boot one");
            return None;
        }
        let mut keeper = Command::new("/usr/bin/unshare")
            .args(["--mount", "--", "/bin/bash", "-euc", BOOT])
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let lifeline = keeper.stdin.take();
        let Some(init) = first_process(&keeper) else {
            drop(lifeline);
            let said = keeper.wait_with_output().expect("it can be waited for");
            let said = String::from_utf8_lossy(&said.stderr);
            panic!("no machine boots; systemd-nspawn is in Debian's systemd-container\n{said}");
        };
        let machine = Self {
            keeper,
            lifeline,
            init,
        };
        machine.booted();
        Some(machine)
    }

    #[track_caller]
    fn booted(&self) {
        let deadline = Deadline::soon();
        // Until systemd listens, the question itself fails.
        while !matches!(
            self.run("systemctl is-system-running --wait || :")
                .stdout
                .as_slice(),
            b"running\n" | b"degraded\n"
        ) {
            assert!(!deadline.left().is_zero(), "systemd is not up");
            thread::yield_now();
        }
    }

    /// Runs a script of bash in it, as root; it ends at the first command that fails.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Output {
        run(&mut self.command(&[], script), b"")
    }

    /// The same as a user of the machine's, in their home folder.
    #[track_caller]
    pub(crate) fn run_as(&self, user: &str, script: &str) -> Output {
        let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
        let words = ["setpriv", &uid, &gid, "--init-groups", "--reset-env", "--"];
        run(&mut self.command(&words, &format!("cd; {script}")), b"")
    }

    /// What runs the script, after these words.
    fn command(&self, words: &[&str], script: &str) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .args(["--all", "--target", &self.init.to_string(), "--"])
            .args(words)
            .args(["/bin/bash", "-euo", "pipefail", "-c", script])
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
        command
    }

    /// Where the test finds a path of the machine.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let inside = path.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.init)).join(inside)
    }

    /// A file of root's in it, whatever was there.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) {
        let at = self.at(path);
        let folder = at.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("root can make folders");
        fs::write(&at, contents).expect("root can write");
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).expect("root can change modes");
    }

    /// The program and what belongs to it in /usr/local, as `make install` puts them there.
    #[track_caller]
    pub(crate) fn install_polycgi(&self) {
        for folder in ["bin", "share"] {
            let (from, to) = (prefix().join(folder), self.at("/usr/local"));
            run(Command::new("cp").arg("-a").args([from, to]), b"").success();
        }
        let tmpfiles = include_str!("../../../packaging/tmpfiles.d/polycgi.conf");
        self.put("/usr/local/lib/tmpfiles.d/polycgi.conf", tmpfiles, 0o644);
        self.run("systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/polycgi.conf")
            .success();
    }

    /// A connection to a server that listens on its loopback address.
    #[track_caller]
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.init)).expect("it runs");
        // A thread of its own: the others stay in this machine's network.
        let connected = thread::spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).expect("root can enter");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        });
        let connected = connected
            .join()
            .expect("a connection fails without a panic");
        connected.unwrap_or_else(|error| panic!("port {port} of the machine: {error}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let ended = self.keeper.wait();
        if !thread::panicking() {
            assert!(ended.is_ok());
            assert!(Deadline::soon().ended(self.init), "the machine goes on");
        }
    }
}

/// The process that systemd is, by its number here.
fn first_process(keeper: &Child) -> Option<i32> {
    let is_systemd = |pid: &i32| {
        let command = fs::read_to_string(format!("/proc/{pid}/comm"));
        command.is_ok_and(|command| command == "systemd\n")
    };
    let deadline = Deadline::soon();
    while !deadline.left().is_zero() {
        let nspawn = children(keeper.id().cast_signed());
        let mut below = nspawn.iter().flat_map(|pid| children(*pid));
        if let Some(init) = below.find(is_systemd) {
            return Some(init);
        }
        thread::yield_now();
    }
    None
}
