//! The harness itself, shown to fail: what a test leaves behind is found, and fails the test.
//!
//! What every test is to be held to at its end is looked at in `Dir::clear` (util/dir.rs) or, for an error log, where
//! `Hosted` is dropped. Each such look has a test here that leaves the thing behind, and names the sentence by
//! `should_panic(expected)`: without it the look could find nothing for ever.

use std::io::Read;
use std::time::Duration;

use super::util::machine::Machine;
use super::util::{Dir, Mpm, Site, Way, as_user, run};

#[test]
#[should_panic(expected = "the test left behind:\nprocess")]
fn a_process_that_stays_fails_the_test() {
    let mut site = Site::start(Mpm::Prefork, Way::Reference);
    site.dir.patience = Duration::from_secs(1);
    // It has its own session and a clean environment: only its working directory shows that it is this test's.
    let stray = "setsid --fork sleep 600 </dev/null >/dev/null 2>&1";
    run(
        as_user("/bin/sh")
            .args(["-c", stray])
            .current_dir(site.dir.path()),
        b"",
    )
    .success();
}

#[test]
#[should_panic(expected = "temporary file")]
fn a_temporary_file_that_stays_fails_the_test() {
    let dir = Dir::new();
    dir.file("tmp/stray", "", 0o644);
}

#[test]
#[should_panic(expected = "the test left behind:\nsocket")]
fn a_listening_socket_that_stays_fails_the_test() {
    let mut dir = Dir::new();
    dir.patience = Duration::from_secs(1);
    let path = dir.join("run/stray");
    // The test's own process holds it, and is not looked at.
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    drop(dir);
}

#[test]
#[should_panic(expected = "in the error log")]
fn a_line_in_the_error_log_fails_the_test() {
    let site = Site::start(Mpm::Prefork, Way::Reference);
    assert_eq!(site.get("/complain").status(), 200);
}

/// Listens at port 80, and greets one client after the first process has ended.
const GREETER: &str = "
import os, socket
server = socket.create_server((\"127.0.0.1\", 80))
if os.fork() == 0:
    for fd in range(3):
        os.close(fd)
    server.accept()[0].sendall(b\"hello\")";

#[test]
fn a_machine_of_the_test_s_own_leaves_this_one_as_it_is() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let mark = "/usr/lib/polycgi-was-here";
    machine.put(mark, "hello\n", 0o644);
    let script = format!("cat {mark}; systemctl is-active dbus.socket; useradd --create-home ada");
    assert_eq!(machine.run(&script).success(), "hello\nactive\n");
    let home = machine.run_as("ada", "pwd; id --groups --name").success();
    assert_eq!(home, "/home/ada\nada\n");
    machine.install_polycgi();
    let shown = "polycgi --version; stat --format=%a /run/polycgi";
    let shown = machine.run_as("ada", shown).success();
    assert!(shown.ends_with("\n1777\n"), "{shown}");
    machine.run(&format!("python3 -c '{GREETER}'")).success();
    let mut greeted = String::new();
    let mut connection = machine.connect(80);
    connection.read_to_string(&mut greeted).expect("a text");
    assert_eq!(greeted, "hello");
    // It stands below no folder of this machine, and ends with the test.
    let path = machine.at(mark);
    assert!(path.exists() && !std::path::Path::new(mark).exists());
    drop(machine);
    assert!(!path.exists());
}

#[test]
fn machines_beside_each_other_do_not_meet() {
    let (Some(one), Some(other)) = (Machine::boot(), Machine::boot()) else {
        return;
    };
    for machine in [&one, &other] {
        let start = "systemd-run --quiet --unit=web --property=KillMode=mixed \
                     sh -c 'sleep 1000 & exec sleep 1000'";
        machine.run(start).success();
    }
    let stop = "systemctl stop web; journalctl --no-pager --unit=web";
    let said = other.run(stop).success();
    assert!(said.contains("Stopped "), "{said}");
    // What is left in the group of a service gets SIGKILL, which needs a group without processes of others.
    assert!(!said.contains("Failed to kill"), "{said}");
    assert_eq!(one.run("systemctl is-active web").success(), "active\n");
}
