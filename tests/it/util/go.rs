//! The CGI host of Go's standard library, net/http/cgi, in a web server of a few lines: tests/apps/host.go, which Debian's
//! Go compiles once for all tests. It logs to its stderr only, answers 400 to a body without a length, and serves a local
//! redirect by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::program::{Program, free_address, is_installed};
use super::server::Server;
use super::{Dir, PATH, Watch, run};

const GO: &str = "/usr/bin/go";

/// Starts it for what lies in `cgi-bin`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    // Where cargo builds the tests' user may not go.
    let program = root.join("host");
    run(Command::new("/bin/cp").arg(compiled()).arg(&program), b"").success();
    let watch = Watch::on(&root);
    let mut command = Program::command(
        program.to_str().expect("a test's paths are ASCII"),
        "golang-go",
    );
    command.arg(address.to_string()).arg(dir.path());
    let mut program = Program::start("host", command.stdin(Stdio::null()), &root);
    program.until_up(watch, || {
        std::fs::read_to_string(root.join("host.said"))
            .is_ok_and(|said| said.contains("listens at"))
    });
    Server::new(address, root, vec![program], |line| {
        line.starts_with("listens at ")
    })
}

/// The program, made by the first test that asks. Go keeps what it has compiled beside it.
#[track_caller]
fn compiled() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        is_installed(GO, "golang-go");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        let program = folder.join(format!("host.{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/host.go");
        let mut go = Command::new(GO);
        go.env_clear().env("PATH", PATH).env("HOME", &folder);
        go.env("GOCACHE", folder.join("cache"))
            .env("GO111MODULE", "off");
        // Without a C compiler.
        go.env("CGO_ENABLED", "0");
        run(go.args(["build", "-o"]).arg(&program).arg(source), b"").success();
        let kept = folder.join("host");
        std::fs::rename(program, &kept).expect("a file can be renamed beside itself");
        kept
    })
}
