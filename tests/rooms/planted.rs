//! Sources that break the house's rules, planted here: tests/rooms.rs is itself shown to fail.

use super::complaints;

#[track_caller]
fn refused(file: &str, text: &str, complaint: &str) {
    let found = complaints(file, text);
    assert_eq!(found.len(), 1, "{file}: {text}: {found:?}");
    assert!(found[0].contains(complaint), "{found:?}");
}

#[track_caller]
fn fine(file: &str, text: &str) {
    assert_eq!(complaints(file, text), [""; 0], "{file}: {text}");
}

#[test]
fn imports_that_climb() {
    refused(
        "app/wsgi.rs",
        "use crate::daemon;",
        "app/wsgi.rs:1: app may not import daemon",
    );
    refused(
        "app/wsgi.rs",
        "\nfn f() { crate::daemon::run() }",
        ":2: app may not import daemon",
    );
    refused(
        "app/wsgi.rs",
        "fn f() { super::super::daemon::run() }",
        "app may not import daemon",
    );
    refused(
        "app/mod.rs",
        "mod tests { use super::super::daemon; }",
        "app may not import daemon",
    );
    refused(
        "relay.rs",
        "use super::daemon::{self, Loop};",
        "relay may not import daemon",
    );
    refused(
        "relay.rs",
        "use super::{\n  sys,\n  app::{wsgi, cgi},\n};",
        ":3: relay may not import app",
    );
    refused(
        "relay.rs",
        "use crate::{sys, daemon};",
        "relay may not import daemon",
    );
    refused(
        "relay.rs",
        "fn f(x: &crate::cli::Words<'_>) {}",
        "relay may not import cli",
    );
    refused(
        "relay.rs",
        "macro_rules! m { () => { $crate::cli::run() } }",
        "relay may not import cli",
    );
    refused(
        "relay.rs",
        "fn f() { polycgi::cli::run() }",
        "relay may not import cli",
    );
    refused(
        "relay.rs",
        "use self::super::cli;",
        "relay may not import cli",
    );
    refused(
        "app/wsgi.rs",
        "use super::{cgi, super::daemon};",
        "app may not import daemon",
    );
    refused(
        "relay.rs",
        "impl From<crate :: cli :: X> for Y {}",
        "relay may not import cli",
    );
    refused(
        "relay.rs",
        "fn f<'a>(c: char) { if c == '\\'' { crate::cli::x() } }",
        "relay may not import cli",
    );
    refused(
        "relay.rs",
        "const A: &str = r#\"\"\"#; use crate::cli;",
        "relay may not import cli",
    );
}

#[test]
fn rooms_of_one_floor() {
    refused(
        "daemon/mod.rs",
        "use crate::front;",
        "daemon may not import front",
    );
    refused(
        "front/mod.rs",
        "use crate::app_cgi;",
        "front may not import app_cgi",
    );
    refused(
        "cgi/request.rs",
        "use crate::scgi;",
        "cgi may not import scgi",
    );
    refused(
        "slots.rs",
        "use crate::start;",
        "slots may not import start",
    );
    refused("sys/poll.rs", "use crate::cgi;", "sys may not import cgi");
    refused("page/body.rs", "use crate::sys;", "page may not import sys");
    fine("scgi/decode.rs", "use crate::cgi::Request;");
    fine("start.rs", "use crate::{place, slots, report};");
    fine(
        "daemon/client.rs",
        "use super::workers; use crate::{app, relay, policy::pool, sys};",
    );
    fine(
        "applet.rs",
        "use crate::{front, daemon, cli}; fn f() { crate::app_cgi::main() }",
    );
}

#[test]
fn what_hides_a_path() {
    refused("relay.rs", "use crate as root;", "another name");
    refused("relay.rs", "use super::*;", "a glob");
    refused("relay.rs", "use crate::{self as root};", "as a whole");
    refused("relay.rs", "extern crate self as root;", "a second name");
    refused("relay.rs", "#[path = \"cli/mod.rs\"] mod x;", "#[path]");
    refused("relay.rs", "include!(\"cli/mod.rs\");", "include!");
    refused("relay.rs", "use crate::CONSTANT;", "no room");
    refused("attic.rs", "", "no room");
}

#[test]
fn tests_in_a_file_of_their_own() {
    fine(
        "policy/pool.rs",
        "#[cfg(test)] #[path = \"pool_tests.rs\"] mod tests;",
    );
    fine(
        "policy/pool_tests.rs",
        "use super::*; use super::super::route; use std::fs;",
    );
    refused(
        "policy/pool_tests.rs",
        "use super::super::super::daemon;",
        "policy may not import daemon",
    );
    refused(
        "policy/pool.rs",
        "#[path = \"../daemon/client_tests.rs\"] mod tests;",
        "#[path]",
    );
}

#[test]
fn unsafe_and_nix() {
    refused(
        "relay.rs",
        "fn f() { unsafe { x() } }",
        "`unsafe` outside sys",
    );
    refused("cgi/meta.rs", "use nix::unistd;", "nix outside sys");
    refused(
        "daemon/mod.rs",
        "fn f() { ::nix::unistd::fork() }",
        "nix outside sys",
    );
    refused("main.rs", "use nix as n;", "nix outside sys");
    let c_main = "#[unsafe(no_mangle)]\npub extern \"C\" fn main() -> i32 { 0 }";
    fine("main.rs", c_main);
    refused("cli/mod.rs", c_main, "`unsafe` outside sys");
    for other in [
        "#[unsafe(no_mangle)] fn x() {}",
        "fn main() { unsafe { x() } }",
    ] {
        refused("main.rs", other, "`unsafe` outside sys");
    }
    refused("lib.rs", "extern crate libc;", "nix outside sys");
    fine("sys/poll.rs", "use nix::poll; fn f() { unsafe { x() } }");
    fine(
        "relay.rs",
        "use crate::sys::nix;\n#[allow(unsafe_code)] fn unsafely(nix: u8) {}",
    );
}

#[test]
fn pure_rooms() {
    refused(
        "page/mod.rs",
        "//! #![forbid(unsafe_code)]",
        "begins with #![forbid(unsafe_code)]",
    );
    refused("control.rs", "", "begins with #![forbid(unsafe_code)]");
    fine("control.rs", "//! Words.\n#![forbid(unsafe_code)]");
    fine("page/body.rs", "");
    refused(
        "policy/pool.rs",
        "fn f() { let now = Instant::now(); }",
        "no clock",
    );
    refused(
        "policy/pool.rs",
        "use std::time::{Duration, SystemTime};",
        "no clock",
    );
    refused("policy/pool.rs", "use std::{fmt, fs};", "no system calls");
    refused("policy/pool.rs", "fn f() { log::info!(\"x\") }", "no log");
    fine(
        "policy/pool.rs",
        "use std::time::{Duration, Instant}; #[cfg(test)] mod tests { use std::fs; }",
    );
    fine(
        "policy/pool.rs",
        "fn f(log: f64) { x.log(); std::fmt::Error; self.fs(); }",
    );
}

#[test]
fn comments_and_strings_name_nothing() {
    fine(
        "relay.rs",
        "// use crate::cli;\n/* crate::cli /* nested */ crate::cli */ /// unsafe\n",
    );
    fine(
        "relay.rs",
        "const A: &str = \"crate::cli \\\" unsafe\"; const B: &[u8] = br##\"nix::x\"# crate::cli\"##;",
    );
    fine(
        "relay.rs",
        "const A: [char; 3] = ['\"', '\\'', 'é']; // crate::cli\nconst B: &str = \"'\"; const C: u8 = b'\"';",
    );
    fine(
        "relay.rs",
        "pub(crate) fn f(&self) -> Self { self.x() } pub(super) struct A; pub(in crate) struct B;",
    );
    fine(
        "daemon/mod.rs",
        "mod a { mod b { use super::super::client; } } use self::client::Client;",
    );
}
