//! What a release hands out: packages of the installed program, each put on a Debian machine of its own and used there.

mod cargo;
mod deb;
mod rpm;
mod tarball;
mod units;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::util::machine::Machine;
use super::util::{Conversation, Dir, Reply, digest, installed, run};

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// The package that `make WHAT` puts into that folder.
#[track_caller]
pub(crate) fn made(dir: &Dir, what: &str, folder: &str) -> PathBuf {
    let mut make = Command::new("make");
    make.args(["-s", "-C", SOURCES, what]);
    make.arg(format!("BINARY={}", installed("polycgi").display()));
    make.arg(format!("PACKAGES={}", dir.join(folder).display()));
    let said = run(&mut make, b"").success();
    let path = said.lines().last().unwrap_or_default();
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{said}");
    path
}

/// Copies a file of this machine into that one.
#[track_caller]
fn copy(machine: &Machine, from: &Path, to: &str) {
    let contents = std::fs::read(from).expect("what was made can be read");
    machine.put(to, contents, 0o644);
}

/// What the machine's web server answers to a GET.
#[track_caller]
fn get(machine: &Machine, target: &str) -> Reply {
    get_with(machine, target, "")
}

/// The same with these header fields, each with its line's end.
#[track_caller]
fn get_with(machine: &Machine, target: &str, fields: &str) -> Reply {
    let mut stream = machine.connect(80);
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it takes a head");
    Conversation::of(stream, Vec::new()).reply()
}

/// A WSGI app in that folder, `wiki:application`, that answers with its PATH_INFO and whether it got Authorization.
#[track_caller]
fn put_wiki(machine: &Machine, folder: &str) {
    const WIKI: &str = "def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    password = environ.get('HTTP_AUTHORIZATION', 'nothing')
    return [f\"{environ['PATH_INFO']} with {password}\\n\".encode()]
";
    machine.put(&format!("{folder}/wiki.py"), WIKI, 0o644);
}

/// Nothing in a package depends on when and where it was made.
#[test]
fn two_packages_of_one_program_are_one() {
    let dir = Dir::new();
    for what in ["deb", "rpm", "tarball"] {
        let [first, second] =
            ["first", "second"].map(|folder| std::fs::read(made(&dir, what, folder)).unwrap());
        assert_eq!(digest(&first), digest(&second), "{what}");
    }
}

/// A crate that is linked is a part of the program that is handed out.
#[test]
fn authors_of_each_linked_crate_are_named() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--manifest-path"]);
    cargo.arg(Path::new(SOURCES).join("Cargo.toml"));
    cargo.args([
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
    ]);
    let listed = run(&mut cargo, b"").success();
    let copyright = include_str!("../../../packaging/copyright");
    let files = copyright
        .lines()
        .filter_map(|line| line.strip_prefix("Files: "));
    let named: Vec<&str> = files.flat_map(str::split_whitespace).collect();
    let parts = listed.lines().filter_map(|line| line.split(' ').next());
    let parts: Vec<&str> = parts.filter(|name| *name != "polycgi").collect();
    for part in &parts {
        assert!(named.contains(part), "packaging/copyright lacks {part}");
    }
    for name in named {
        let is_of_toolchain = ["*", "glibc", "libgcc", "std"].contains(&name);
        assert!(
            is_of_toolchain || parts.contains(&name),
            "{name} is no part"
        );
    }
}
