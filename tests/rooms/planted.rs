//! Sources that break the house's rules, planted here: tests/rooms.rs is itself shown to fail.

use super::circles::circles;
use super::complaints;
use super::storeys::storeys;
use super::walks::astray;

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

/// What `circles` says of these files of the room `app`.
#[track_caller]
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let file = |(file, text): &(&str, &str)| (format!("app/{file}.rs"), (*text).to_owned());
    let files: Vec<(String, String)> = files.iter().map(file).collect();
    circles(&files)
}

#[track_caller]
fn circle(files: &[(&str, &str)], arrows: &[&str]) {
    let found = circles_of(files);
    let arrows = arrows.iter().map(|arrow| {
        let (from, to) = arrow.split_once(" -> ").expect("FROM -> TO");
        format!("\n  app/{from} names what app/{to}.rs has")
    });
    let expected = format!("a circle of files:{}", arrows.collect::<String>());
    assert_eq!(found, [expected], "{files:?}");
}

#[track_caller]
fn no_circle(files: &[(&str, &str)]) {
    assert_eq!(circles_of(files), [""; 0], "{files:?}");
}

#[test]
fn files_in_a_circle() {
    let both = ["a.rs:1 -> b", "b.rs:1 -> a"];
    for a in [
        "use super::b;",
        "use super::b::B;",
        "use crate::app::b::B as C;",
        "use super::{c::C, b::{self, B}};",
        "use crate::{sys, app::b::B};",
        "fn f(b: &super::b::B) {}",
        "mod inner { use super::super::b::B; }",
        "fn f() -> impl Fn() + use<> { super::b::f }",
        "macro_rules! m { () => { $crate::app::b::f() } }",
        "pub(super) use super::b::B;",
    ] {
        circle(&[("a", a), ("b", "use super::a::A;")], &both);
        no_circle(&[("a", a), ("b", "use super::c::C;")]);
    }
    circle(
        &[
            ("a", "\nuse super::b::B;"),
            ("b", "use super::c::C;"),
            ("c", "\n\nuse super::a::A; use super::d::D;"),
            ("d", "use super::e::E;"),
        ],
        &["a.rs:2 -> b", "b.rs:1 -> c", "c.rs:3 -> a"],
    );
    let two = [
        ("a", "use super::b::B;"),
        ("b", "use super::a::A; use super::c::C;"),
        ("c", "use super::d::D;"),
        ("d", "use super::c::C;"),
    ];
    assert_eq!(circles_of(&two).len(), 2);
}

#[test]
fn circles_through_names_that_are_handed_on() {
    let both = ["a.rs:1 -> b", "b.rs:1 -> a"];
    for above in [
        "mod b; pub use b::B;",
        "pub use self::b::{B as C, B}; mod b;",
        "use crate::app::b::B;",
        "pub mod x { pub use super::b::B; } pub use x::B;",
    ] {
        let a = ("a", "use super::B;");
        circle(&[("mod", above), a, ("b", "use super::a::A;")], &both);
        no_circle(&[("mod", above), a, ("b", "use super::c::C;")]);
    }
    circle(
        &[
            ("a", "use super::b::C;"),
            ("b", "pub use super::c::C;"),
            ("c", "use super::a::A;"),
        ],
        &["a.rs:1 -> b", "a.rs:1 -> c", "b.rs:1 -> c", "c.rs:1 -> a"],
    );
    no_circle(&[("mod", "pub use a::X;"), ("a", "pub use super::X;")]);
    let glob = [("a", "use super::b::*;"), ("b", "")];
    let expected = "app/a.rs:1: a glob of a module hides paths from this test";
    assert_eq!(circles_of(&glob), [expected]);
    no_circle(&[("a", "use super::b::B::*;"), ("b", "pub enum B {}")]);
}

#[test]
fn what_draws_no_circle() {
    let a = "use super::b::B;";
    // A module and what is below it.
    let above = "mod a; pub use a::A; pub struct X; fn f() { a::f() }";
    no_circle(&[("mod", above), ("a", "use super::X; fn f() {}")]);
    no_circle(&[
        ("b", "mod c; use self::c::C;"),
        ("b/c", "use super::B; use crate::app::b::f;"),
    ]);
    // Tests.
    no_circle(&[
        ("a", a),
        ("b", "#[cfg(test)] mod tests { use super::super::a::A; }"),
    ]);
    no_circle(&[
        ("a", a),
        ("b", "#[cfg(test)] mod tests;"),
        ("b/tests", "use crate::app::a::A;"),
    ]);
    // Comments, strings and other crates.
    no_circle(&[
        ("a", a),
        (
            "b",
            "// super::a::A\nuse a::A; const A: &str = \"super::a::A\";",
        ),
    ]);
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

/// What `storeys` says of a file of the daemon, beside one of each other storey.
#[track_caller]
fn storeys_of(file: &str, text: &str) -> Vec<String> {
    let others = [
        "carrier",
        "clients/mod",
        "door/mod",
        "foreign/mod",
        "foreign/runs",
        "ground",
        "house",
        "life/leave",
        "life/leaving",
        "mod",
        "setup",
        "token",
        "workers/mod",
    ];
    let others = others.iter().filter(|other| **other != file);
    let mut files: Vec<(String, String)> = others
        .map(|other| (format!("daemon/{other}.rs"), String::new()))
        .collect();
    files.push((format!("daemon/{file}.rs"), text.to_owned()));
    storeys(&files)
}

#[test]
fn the_storeys_of_the_daemon() {
    for (file, text, above) in [
        ("token", "use super::clients::Clients;", "clients/mod"),
        ("ground", "use super::house::Daemon;", "house"),
        (
            "clients/mod",
            "use crate::daemon::workers::Workers;",
            "workers/mod",
        ),
        ("clients/mod", "use crate::daemon::NAME;", "mod"),
        ("workers/mod", "use super::foreign::Foreign;", "foreign/mod"),
        ("foreign/mod", "use super::door::Door;", "door/mod"),
        (
            "door/mod",
            "fn f(carrier: super::carrier::Carrier) {}",
            "carrier",
        ),
        ("carrier", "use super::house::Daemon;", "house"),
        ("life/leaving", "use crate::daemon::house::Daemon;", "house"),
        ("life/leave", "use crate::daemon::NAME;", "mod"),
        ("house", "use super::life::leave::f;", "life/leave"),
    ] {
        let expected = format!("daemon/{file}.rs:1: daemon/{above}.rs is not below it");
        assert_eq!(storeys_of(file, text), [expected], "{file}: {text}");
    }
    for (file, text) in [
        ("token", "use super::ground::Ground;"),
        (
            "foreign/mod",
            "use crate::daemon::foreign::runs::Runs; use super::clients::Clients;",
        ),
        (
            "carrier",
            "use super::foreign::Foreign; use super::workers::Workers;",
        ),
        (
            "life/leave",
            "use super::leaving::Leaving; use crate::daemon::house::Daemon; impl Daemon {}",
        ),
        ("setup", "use super::NAME; impl Daemon {}"),
        ("mod", "impl Daemon {}"),
    ] {
        assert_eq!(storeys_of(file, text), [""; 0], "{file}: {text}");
    }
    for file in [
        "token",
        "clients/mod",
        "workers/mod",
        "carrier",
        "house",
        "life/leaving",
    ] {
        let found = storeys_of(file, "impl Daemon {}");
        assert_eq!(found.len(), 1, "{file}");
        assert!(found[0].contains("impl of Daemon"), "{found:?}");
    }
    let found = storeys_of("attic", "");
    assert!(found[0].contains("on no storey"), "{found:?}");
}

#[test]
fn a_walk_that_leads_astray() {
    let text = |name: &str| (name == "a/b.rs").then_some("fn seen() {} // fn other() {}");
    let astray = |page: &str| astray(page, text);
    assert_eq!(astray("`a/b.rs` `seen`, then 'done' and `Ready`."), [""; 0]);
    assert_eq!(
        astray("\n`a/b.rs` `seen`, `other`"),
        ["walks.md:2: a/b.rs has no function other"]
    );
    assert_eq!(
        astray("`a/c.rs` `seen`"),
        ["walks.md:1: there is no a/c.rs"]
    );
}
