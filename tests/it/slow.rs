//! Slow clients hold no worker: what they do not read is in the spool, the loop waits for what they have not sent, and
//! the workers serve the others.

use std::time::Duration;

use super::util::patient::{PatientRead, PatientWrite, do_not_block};
use super::util::process::{descriptors, files_of, peak_memory};
use super::util::served::{assert_same, blocks, noise};
use super::util::slow::{Crowd, Slow};
use super::util::{Deadline, Mpm, Served, Site, daemon, digest, served};

/// Slow clients of each kind.
const CROWD: usize = 200;
const PAGE: usize = 1_000_000;
const BODY: usize = 100_000;
/// What a pipe, or a Unix socket, may hold on the way to a client who reads nothing.
const ON_THE_WAY: usize = 300_000;

/// 200 clients that read 1 kB/s of 1 MB, 200 that send 100 kB at 1 kB/s, and the others.
#[test]
fn hundreds_of_slow_clients_and_four_workers() {
    // Small buffers: otherwise the kernel would hold each page whole.
    let mut site = Site::with(Mpm::Event, 2 * CROWD as u32 + 16, "SendBufferSize 16384\n");
    // All readers come at once, which `queue-target = 1s` would take for overload.
    served::app_file(
        &site.dir,
        "max-procs = 4\nqueue-size = 500\nqueue-timeout = 60s\nqueue-target = 30s\n",
    );
    site.get("/hello").ok();
    let dir = &site.dir;
    let (serving, spool) = (dir.daemon(), dir.join("spool"));
    let (memory, fds) = (peak_memory(serving), descriptors(serving));

    let address = site.server.address();
    let page = format!("/cgi-bin/app/big?size={PAGE}");
    let body = noise(BODY);
    let readers = (0..CROWD).map(|_| Slow::reader(address, &page));
    let senders = (0..CROWD).map(|_| Slow::sender(address, "/cgi-bin/app/digest", body.clone()));
    let crowd = Crowd::start(readers.chain(senders).collect());
    // Now the responses are made and spooled, and the daemon waits for the bodies.
    dir.until_status("all of them are held", |status| {
        let held = files_of(serving, &spool).into_iter();
        let held = held.filter(|size| *size > (PAGE - 2 * ON_THE_WAY) as u64);
        // mod_cgid starts one front after the other.
        held.count() >= CROWD
            && daemon::workers_that_are(status, "busy") == 0
            && dir.fronts().len() == 2 * CROWD
    });

    for _ in 0..200 {
        assert_eq!(site.get("/status/200").ok(), "status 200\n");
    }
    let status = dir.status();
    assert!(
        daemon::workers_that_are(&status, "idle") > 0,
        "all are held by slow clients: {status:?}"
    );
    assert!(status.contains(&"queue = 0".to_owned()), "{status:?}");
    assert_eq!(dir.fronts().len(), 2 * CROWD, "they are all still there");

    let mut readers = crowd.stop();
    let mut senders = readers.split_off(CROWD);
    for reader in &readers {
        let read = reader.read.len();
        assert!(!reader.has_ended && read > 0 && read < PAGE / 2, "{read}");
    }
    for sender in &senders {
        let sent = sender.sent;
        assert!(sender.read.is_empty() && sent > 0 && sent < BODY, "{sent}");
    }
    let grown = peak_memory(serving) - memory;
    assert!(grown < 24 << 20, "the daemon has grown by {grown} bytes");

    // Some of them read and send at full speed now, and get what other clients get.
    let (whole, expected) = (blocks(PAGE), format!("{} {BODY}\n", digest(&body)));
    for _ in 0..3 {
        let reader = readers.pop().expect("many are left").finish();
        assert_eq!(reader.status(), 200);
        assert_same(&reader.body, &whole);
        assert_eq!(
            senders.pop().expect("many are left").finish().ok(),
            expected
        );
    }
    // Nothing is left of clients that hang up.
    drop((readers, senders));
    dir.until_status("all is given back", |_| {
        files_of(serving, &spool).is_empty()
            && dir.fronts().is_empty()
            && descriptors(serving) <= fds + 16
    });
    assert_eq!(dir.daemon(), serving);
    site.get("/hello").ok();
    // Apache may log that clients have gone.
    site.log();
}

/// The client has the first block before the second is made, after a slow phase too.
#[test]
fn streaming_still_streams() {
    const SIZE: usize = 2_000_000;
    let served = Served::start("max-procs = 1\n");
    let whole = blocks(SIZE);
    for is_slow in [false, true] {
        let name = if is_slow { "slow" } else { "fast" };
        let mut gate = served.dir.gate(name);
        let target = format!("/burst?size={SIZE}&gate={name}");
        let mut front = served.front(&target);
        if is_slow {
            // The client reads nothing before all of the response waits.
            gate.entered();
            served.until_spooled("a spool", |files| {
                files.iter().sum::<u64>() > (SIZE - ON_THE_WAY) as u64
            });
        }
        front.stdout.response_head();
        assert_same(&front.stdout.exactly(SIZE), &whole);
        if !is_slow {
            gate.entered();
        }
        gate.open(1);
        assert_eq!(front.stdout.exactly(4), b"one\n");
        gate.entered();
        gate.open(1);
        assert_eq!(front.stdout.to_the_end(), b"two\n");
        assert!(front.ended().success());
        if is_slow {
            // The same at a socket.
            let mut plain = served.plain(&target);
            let stream = plain.stream();
            gate.entered();
            served.until_spooled("a spool", |files| {
                files.iter().sum::<u64>() > (SIZE - 2 * ON_THE_WAY) as u64
            });
            stream.response_head();
            assert_same(&stream.exactly(SIZE), &whole);
            for line in [b"one\n", b"two\n"] {
                gate.open(1);
                assert_eq!(stream.exactly(4), line);
                if line == b"one\n" {
                    gate.entered();
                }
            }
            assert_eq!(stream.to_the_end(), b"");
        }
    }
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

#[test]
fn a_full_spool_is_back_pressure() {
    const LIMIT: usize = 2 << 20;
    const SIZE: usize = 8_000_000;
    let served = Served::start("max-procs = 2\nspool-limit = 2M\n");
    let target = format!("/counted?size={SIZE}");
    let whole = blocks(SIZE);
    let mut front = served.front(&target);
    let mut plain = served.plain(&target);
    // The spool is filled up to its limit; then the workers wait, and so the application.
    served.until_spooled("a full spool", |files| {
        files.iter().sum::<u64>() > (LIMIT - 200_000) as u64
    });
    let status = served.dir.status();
    assert_eq!(daemon::workers_that_are(&status, "busy"), 2, "{status:?}");
    assert_eq!(served.dir.lines("marks"), [""; 0], "all of it was taken");
    // Each worker looks by itself how much room is left, so the limit is approximate.
    let spooled: u64 = served.spooled().iter().sum();
    assert!(spooled <= 2 * LIMIT as u64, "{spooled}");

    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &whole);
    assert!(front.ended().success());
    plain.stream().response_head();
    assert_same(&plain.stream().to_the_end(), &whole);
    assert_eq!(served.dir.lines("marks"), ["all taken"; 2]);
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

#[test]
fn large_bodies_both_ways() {
    large_bodies(&Served::start("max-procs = 2\n"));
}

/// 64 MB each way, by pipes and by a socket, and the daemon does not grow.
#[track_caller]
pub(super) fn large_bodies(served: &Served) {
    const SIZE: usize = 64 << 20;
    let body = noise(SIZE);
    let expected = format!("{} {SIZE}\n", digest(&body));
    let memory = peak_memory(served.daemon);
    let target = format!("/big?size={SIZE}");

    let mut front = served.posting("/digest", SIZE);
    front.stdin().give(&body);
    front.stdout.response_head();
    assert_eq!(front.stdout.to_the_end(), expected.as_bytes());
    assert!(front.ended().success());
    let mut plain = served.plain_posting("/digest", SIZE);
    assert_eq!(plain.send(&body).reply().ok(), expected);
    drop(body);

    let whole = blocks(SIZE);
    let mut front = served.front(&target);
    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &whole);
    assert!(front.ended().success());
    assert_same(&served.plain(&target).reply().body, &whole);
    // The same with a client that reads nothing at first: all of it is spooled.
    let mut front = served.front(&target);
    served.until_spooled("a spool", |files| {
        files.iter().sum::<u64>() > (SIZE - ON_THE_WAY) as u64
    });
    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &whole);
    assert!(front.ended().success());

    let grown = peak_memory(served.daemon) - memory;
    assert!(grown < 8 << 20, "the daemon has grown by {grown} bytes");
    served.is_well();
}

/// An upload whose first MiB comes within 100 ms goes to the application while the rest is still to come; a slower one
/// is spooled whole before the application starts.
#[test]
fn a_fast_upload_goes_straight() {
    const SIZE: usize = 32 << 20;
    let served = Served::start("max-procs = 1\n");
    let body = noise(SIZE);
    let expected = format!("{} {SIZE}\n", digest(&body));
    let mut gate = served.dir.gate("gate");
    // A busy machine may miss those 100 ms, but not each time.
    let went_straight = (0..5).any(|_| {
        let mut front = served.posting("/gated-digest?gate=gate", SIZE);
        let mut sent = 0;
        let taken = Deadline::soon();
        let is_straight = loop {
            sent += front.stdin().offer(&body[sent..]);
            if gate.was_entered() {
                break sent < SIZE;
            }
            assert!(!taken.left().is_zero(), "neither read nor told");
            Deadline::after(Duration::from_millis(5)).writable(front.stdin());
        };
        if is_straight {
            let kept: u64 = served.spooled().iter().sum();
            assert!(kept < 4 << 20, "{kept} bytes were kept");
        }
        gate.open(1);
        front.stdin().give(&body[sent..]);
        let (response, words, status) = front.end();
        assert!(status.success() && words.is_empty(), "{status}: {words}");
        assert!(response.ends_with(expected.as_bytes()));
        is_straight
    });
    assert!(went_straight);

    // The application does not start with half of a body.
    let half = body.len() / 64;
    let mut slow = served.plain_posting("/gated-digest?gate=gate", 2 * half);
    do_not_block(slow.stream());
    slow.stream().give(&body[..half]);
    served.until_spooled("a spool", |files| {
        files.iter().sum::<u64>() >= (half - 65536) as u64
    });
    for _ in 0..3 {
        served.hello();
    }
    assert!(!gate.was_entered(), "the only worker has it");
    slow.stream().give(&body[half..2 * half]);
    gate.entered();
    gate.open(1);
    let expected = format!("{} {}\n", digest(&body[..2 * half]), 2 * half);
    slow.stream().response_head();
    assert_eq!(slow.stream().to_the_end(), expected.as_bytes());
    served.is_well();
}

#[test]
fn a_body_over_the_limit_is_read_out() {
    let served = Served::start("body-limit = 10k\n");
    let body = noise(5_000_000);
    let mut front = served.posting("/digest", body.len());
    // All of the body is read, and dropped: a client that still sends would see no answer.
    front.stdin().give(&body);
    let (response, words, status) = front.end();
    assert!(response.starts_with(b"Status: 413 "), "{response:?}");
    assert!(status.success() && words.is_empty(), "{status}: {words}");
    let mut plain = served.plain_posting("/digest", body.len());
    do_not_block(plain.stream());
    plain.stream().give(&body);
    assert!(plain.stream().response_head().starts_with("Status: 413 "));
    assert!(served.spooled().is_empty());
    served.is_well();
}

/// Clients hang up when half of their bodies is spooled.
#[test]
fn a_client_that_hangs_up_in_a_body_frees_everything() {
    const SIZE: usize = 400_000;
    let served = Served::start("max-procs = 1\n");
    let fds = descriptors(served.daemon);
    let body = noise(SIZE / 2);
    let mut front = served.posting("/digest", SIZE);
    front.stdin().give(&body);
    let mut ends_early = served.posting("/digest", SIZE);
    ends_early.stdin().give(&body);
    let mut plain = served.plain_posting("/digest", SIZE);
    plain.send(&body);
    served.until_spooled("three spools", |files| {
        files.len() == 3
            && files
                .iter()
                .all(|size| *size >= (body.len() - 65536) as u64)
    });
    // A web server ends the front and closes its pipes; another one closes only the body's, and waits for an answer.
    drop(front);
    drop(plain);
    ends_early.stdin = None;
    let (response, _, _) = ends_early.end();
    assert!(response.starts_with(b"Status: 400 "), "{response:?}");
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.dir.until_status("no descriptor is left", |_| {
        descriptors(served.daemon) <= fds + 1
    });
    served.is_well();
}

#[test]
fn a_body_that_stalls_is_a_408() {
    const SIZE: usize = 100_000;
    let served = Served::start("max-procs = 1\nrequest-timeout = SECOND\n");
    let body = noise(SIZE / 2);
    let mut front = served.posting("/digest", SIZE);
    let mut plain = served.plain_posting("/digest", SIZE);
    front.stdin().give(&body);
    plain.send(&body);
    // Meanwhile the only worker serves other requests.
    served.hello();
    assert!(front.stdout.response_head().starts_with("Status: 408 "));
    assert!(plain.stream().response_head().starts_with("Status: 408 "));
    front.stdout.to_the_end();
    plain.stream().to_the_end();
    assert!(front.ended().success());
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}
