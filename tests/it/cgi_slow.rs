//! Slow clients of a CGI program under the daemon: they cost no place, lose nothing, and get each block as it comes.

use super::slow;
use super::util::patient::{PatientRead, PatientWrite};
use super::util::process::descriptors;
use super::util::served::{assert_same, blocks, noise};
use super::util::{Dir, Served, SmallDisk, daemon};

/// No block is held back, after a slow phase either, and at a socket.
#[test]
fn streaming_still_streams() {
    const SIZE: usize = 2_000_000;
    let served = Served::cgi("max-procs = 2\n");
    let whole = blocks(SIZE);
    for is_slow in [false, true] {
        // A gate for each client: the first one would otherwise pass for both.
        let names = if is_slow { ["c", "d"] } else { ["a", "b"] };
        let mut gates = names.map(|name| served.dir.gate(name));
        let target = |name| format!("/burst?size={SIZE}&gate={name}");
        let mut front = served.front(&target(names[0]));
        let mut plain = served.plain(&target(names[1]));
        if is_slow {
            // No client reads before all of both responses waits.
            gates.iter_mut().for_each(|gate| _ = gate.entered());
        }
        front.stdout.response_head();
        assert_same(&front.stdout.exactly(SIZE), &whole);
        plain.stream().response_head();
        assert_same(&plain.stream().exactly(SIZE), &whole);
        if !is_slow {
            gates.iter_mut().for_each(|gate| _ = gate.entered());
        }
        for line in [b"one\n", b"two\n"] {
            for gate in &mut gates {
                gate.open(1);
            }
            assert_eq!(front.stdout.exactly(4), line);
            assert_eq!(plain.stream().exactly(4), line);
            if line == b"one\n" {
                gates.iter_mut().for_each(|gate| _ = gate.entered());
            }
        }
        assert_eq!(front.stdout.to_the_end(), b"");
        assert_eq!(plain.stream().to_the_end(), b"");
    }
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

/// The program's place is free as soon as it has ended, however long its client takes.
#[test]
fn a_slow_client_costs_no_place() {
    const SIZE: usize = 50_000_000;
    let served = Served::cgi("max-procs = 1\n");
    let fds = descriptors(served.daemon);
    let mut front = served.front(&format!("/counted?size={SIZE}"));
    served.dir.until_status("its place is free", |status| {
        daemon::workers_that_are(status, "busy") == 0 && served.dir.lines("marks").len() == 1
    });
    served.hello();
    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &blocks(SIZE));
    assert!(front.ended().success());
    served.until_spooled("all is given back", <[u64]>::is_empty);
    assert!(descriptors(served.daemon) <= fds + 1);
    served.is_well();
}

#[test]
fn a_full_spool_is_back_pressure() {
    const LIMIT: usize = 2 << 20;
    const SIZE: usize = 8_000_000;
    let served = Served::cgi("max-procs = 2\nspool-limit = 2M\n");
    let target = format!("/counted?size={SIZE}");
    let mut front = served.front(&target);
    let mut plain = served.plain(&target);
    served.until_spooled("a full spool", |files| {
        files.iter().sum::<u64>() > (LIMIT - 200_000) as u64
    });
    assert!(served.spooled().iter().sum::<u64>() <= LIMIT as u64);
    assert_eq!(served.dir.lines("marks"), [""; 0], "all of it was taken");
    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &blocks(SIZE));
    plain.stream().response_head();
    assert_same(&plain.stream().to_the_end(), &blocks(SIZE));
    assert!(front.ended().success());
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

/// The spool has no room at all: a client that reads gets all of its response.
#[test]
fn a_full_disk_is_back_pressure() {
    const SIZE: usize = 4_000_000;
    let dir = Dir::new();
    let spool = dir.folder("spool", 0o700);
    let Some(disk) = SmallDisk::on(&spool, "256k") else {
        return;
    };
    let served = Served::cgi_in_dir(dir, "max-procs = 2\n");
    let disk = disk; // Dropped before the directory.
    for is_full in [false, true] {
        if is_full {
            disk.fill();
        }
        let target = format!("/big?size={SIZE}");
        let mut front = served.front(&target);
        let mut plain = served.plain(&target);
        front.stdout.response_head();
        assert_same(&front.stdout.to_the_end(), &blocks(SIZE));
        plain.stream().response_head();
        assert_same(&plain.stream().to_the_end(), &blocks(SIZE));
        assert!(front.ended().success());
    }
    served.is_well();
}

#[test]
fn large_bodies_both_ways() {
    slow::large_bodies(&Served::cgi("max-procs = 2\n"));
}

/// Client and program each write before they read: the daemon throws the body away, once the input is closed.
#[test]
fn a_program_that_closes_its_input() {
    let served = Served::cgi("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    let body = noise(3_000_000);
    let mut front = served.posting("/closes-input?gate=gate", body.len());
    // All of the body is taken, though the program reads nothing and has not answered.
    front.stdin().give(&body);
    gate.entered();
    gate.open(1);
    let (response, words, _) = front.end();
    assert!(response.ends_with(b"no more\n"), "{words}");
    let mut plain = served.plain_posting("/closes-input?gate=gate", body.len());
    plain.send(&body);
    gate.entered();
    gate.open(1);
    assert_eq!(plain.reply().ok(), "no more\n");
    served.is_well();
}
