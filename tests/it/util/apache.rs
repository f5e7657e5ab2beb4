//! Debian's Apache, started by its program and not by the system's service: unprivileged, on a loopback address
//! of its own, with nothing of /etc/apache2. It knows its configuration, and which of its lines are about requests.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::program::{Program, free_address, is_installed};
use super::server::Server;
use super::{Dir, Output, Watch, process, run};

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";
const PACKAGE: &str = "apache2-bin";

/// The socket of mod_cgid's helper process; the process ID of Apache is added to it.
const SCRIPT_SOCK: &str = "cgid.sock";

/// The two kinds of Apache that differ in how they run a CGI.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mpm {
    /// Threads, and mod_cgid: a helper process forks the CGI, whose stdin and stdout are one Unix socket.
    Event,
    /// Processes, and mod_cgi: the CGI's stdin, stdout and stderr are pipes.
    Prefork,
}

/// Apache in a folder of that name, for up to `concurrency` requests at once and with these more lines of
/// configuration; it listens. `cgi-bin` of the test's directory is at `/cgi-bin/`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str, mpm: Mpm, concurrency: u32, more: &str) -> Server {
    start_by(command(), dir, folder, mpm, concurrency, more)
}

/// The command that starts Apache as the tests' user.
#[track_caller]
pub(super) fn command() -> Command {
    is_installed(MODULES, PACKAGE);
    Program::command(PROGRAM, PACKAGE)
}

/// Apache by a command that ends with an exec of it.
#[track_caller]
pub(super) fn start_by(
    command: Command,
    dir: &Dir,
    folder: &str,
    mpm: Mpm,
    concurrency: u32,
    more: &str,
) -> Server {
    let more = of_cgi_bin(dir) + more;
    start_bare(command, dir, folder, mpm, concurrency, &more)
}

/// The same with no paths of CGIs but those of `own`.
#[track_caller]
pub(super) fn start_bare(
    command: Command,
    dir: &Dir,
    folder: &str,
    mpm: Mpm,
    concurrency: u32,
    own: &str,
) -> Server {
    start_with(command, dir, folder, |root, address| {
        config(root, mpm, concurrency, address) + own
    })
}

/// With no module that runs CGIs, and no paths but those of `own`.
#[track_caller]
pub(super) fn start_without_cgi(dir: &Dir, folder: &str, own: &str) -> Server {
    start_with(command(), dir, folder, |root, address| {
        let config = config(root, Mpm::Prefork, 16, address);
        config.replace(&load(&["cgi"]), "") + own
    })
}

/// With the configuration that is made of its folder and its address.
#[track_caller]
fn start_with(
    mut command: Command,
    dir: &Dir,
    folder: &str,
    config: impl FnOnce(&Path, SocketAddr) -> String,
) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    let text = config(&root, address);
    let config = dir.file(&format!("{folder}/httpd.conf"), &text, 0o644);
    let watch = Watch::on(&root);
    command.args(["-D", "FOREGROUND", "-d"]).arg(&root);
    command.arg("-f").arg(&config).stdin(Stdio::null());
    let mut program = Program::start("apache2", &mut command, &root);
    program.until_up(watch, || {
        let log = fs::read(root.join("error.log")).unwrap_or_default();
        memchr::memmem::find(&log, b"resuming normal operations").is_some()
    });
    // mod_cgid's helper process starts beside it; one that finds its socket gone as Apache stops logs that.
    let helper = format!("{}.{}", SCRIPT_SOCK, program.pid());
    if text.contains(SCRIPT_SOCK) {
        program.until(|| process::listens(&root.join(&helper)));
    }
    Server::new(address, root, vec![program], is_about_itself)
}

/// Lines by which mod_proxy_scgi asks the server at `scgi`, a path or `host:port`, for `target`.
pub(super) fn proxy(target: &str, scgi: &str) -> String {
    let to = if scgi.starts_with('/') {
        format!("unix:{scgi}|scgi://localhost")
    } else {
        format!("scgi://{scgi}")
    };
    format!(
        "{}ProxyPass {target} {to} disablereuse=on retry=0\n",
        load(&["proxy", "proxy_scgi"])
    )
}

/// The same by mod_proxy_fcgi, which keeps its connections.
pub(super) fn proxy_fcgi(target: &str, to: &str) -> String {
    let to = if to.starts_with('/') {
        format!("unix:{to}|fcgi://localhost")
    } else {
        format!("fcgi://{to}")
    };
    format!(
        "{}ProxyPass {target} {to} enablereuse=on retry=0\n",
        load(&["proxy", "proxy_fcgi"])
    )
}

/// The lines that load modules of these names.
pub(super) fn load(modules: &[&str]) -> String {
    let line = |name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
    modules.iter().map(line).collect()
}

fn is_about_itself(line: &str) -> bool {
    let notice = line.starts_with('[') && line.contains(":notice] ");
    // The event MPM logs this when it is stopped while it still closes a connection: its pollset is closed first.
    // It logs the next when a connection was reset: the second of its threads finds the socket closed; and the last when
    // one of its processes takes long to stop.
    notice
        || line.contains(" AH03092: process_lingering_close: ")
        || line.contains("(9)Bad file descriptor: AH00468: error closing socket")
        || line.contains(" AH00045: child process ")
}

/// Apache does not wait longer than 3 s for the end of a CGI whose response is complete. On a busy machine an
/// interpreter may need more.
pub(super) fn is_about_a_slow_end(line: &str) -> bool {
    line.contains(" AH01259: CGI process ") && line.contains("didn't exit, sending SIGKILL")
}

/// Lines that make CGIs of the files in `cgi-bin`.
fn of_cgi_bin(dir: &Dir) -> String {
    format!(
        "AllowEncodedSlashes On\nSetEnv HTTP_PROXY http://evil.example/\n\
         ScriptAlias /cgi-bin/ {cgi_bin}/\n\
         <Directory {cgi_bin}>\nRequire all granted\nAcceptPathInfo On\n</Directory>\n",
        cgi_bin = dir.join("cgi-bin").display(),
    )
}

/// Lets Apache check a configuration with these lines.
#[track_caller]
pub(super) fn check(dir: &Dir, folder: &str, mpm: Mpm, own: &str) -> Output {
    let root = dir.folder(folder, 0o755);
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let config = config(&root, mpm, 16, address) + own;
    let config = dir.file(&format!("{folder}/httpd.conf"), &config, 0o644);
    let mut command = command();
    command
        .arg("-t")
        .arg("-d")
        .arg(&root)
        .arg("-f")
        .arg(&config);
    run(&mut command, b"")
}

fn config(root: &Path, mpm: Mpm, concurrency: u32, address: SocketAddr) -> String {
    let (modules, processes) = match mpm {
        Mpm::Event => (
            ["mpm_event", "cgid"],
            format!(
                "StartServers 1\nServerLimit 1\nThreadLimit {concurrency}\nThreadsPerChild {concurrency}\n\
                 MinSpareThreads 1\nMaxSpareThreads {concurrency}\nMaxRequestWorkers {concurrency}\n\
                 ScriptSock {root}/{SCRIPT_SOCK}",
                root = root.display()
            ),
        ),
        Mpm::Prefork => (
            ["mpm_prefork", "cgi"],
            // For a small test processes are forked when they are needed, for a large one at once.
            format!(
                "StartServers {start}\nMinSpareServers 1\nMaxSpareServers {concurrency}\n\
                 ServerLimit {concurrency}\nMaxRequestWorkers {concurrency}",
                start = if concurrency > 16 { concurrency } else { 2 }
            ),
        ),
    };
    let load = load(&modules) + &load(&["authz_core", "alias", "env"]);
    format!(
        "ServerRoot {root}\n{load}{processes}\n\
         PidFile {root}/pid\nDefaultRuntimeDir {root}\nListen {address}\nServerName {address}\nTimeout 30\n\
         ErrorLog {root}/error.log\nLogLevel notice\n",
        root = root.display(),
    )
}
