//! Both ends of an exchange in one process, an app and a client that take turns by chance: nothing may be lost, come
//! twice, come in another order, or come before there is a head.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;
use crate::sys::socket;

const HEAD: &[u8] = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n";

/// What the descriptors are.
#[derive(Clone, Copy, Debug)]
enum By {
    Pipe,
    Socket,
}

/// Two ends that don't wait: what is written to the second comes out of the first.
fn ends(by: By) -> (File, File) {
    let (out, into) = match by {
        By::Pipe => files::pipe().unwrap(),
        By::Socket => {
            let (one, other) = UnixStream::pair().unwrap();
            (one.into(), other.into())
        }
    };
    socket::set_nonblocking(out.as_fd()).unwrap();
    socket::set_nonblocking(into.as_fd()).unwrap();
    (File::from(out), File::from(into))
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 3 + n / 1000) as u8).collect()
}

/// Some of `bytes`, as far as there is room; how many.
fn write_some(into: &mut File, bytes: &[u8]) -> usize {
    match into.write(bytes) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

/// What there is, at most so much; `false` at the end.
fn read_some(out: &mut File, most: usize, read: &mut Vec<u8>) -> bool {
    let mut block = vec![0; most];
    match out.read(&mut block) {
        Ok(0) => false,
        Ok(count) => {
            read.extend_from_slice(&block[..count]);
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        Err(error) => panic!("{error}"),
    }
}

/// An exchange with everybody around it.
struct Scene {
    exchange: Exchange,
    scratch: Scratch,
    directory: tempfile::TempDir,
    spool: Option<Outgoing>,
    limit: u64,
    now: Duration,
    input: File,
    output: File,
    /// The other ends: what the app reads, where it writes, what the client reads.
    app_in: File,
    app_out: Option<File>,
    client_in: File,
}

impl Scene {
    /// `kinds`: of the app's ends, the client's output, the client's input.
    fn new(kinds: [By; 3], ahead: &[u8], rest: &[u8], limit: u64) -> (Scene, File) {
        let (app_in, to) = ends(kinds[0]);
        let (from, app_out) = ends(kinds[0]);
        let (client_in, output) = ends(kinds[1]);
        let (input, client_out) = ends(kinds[2]);
        let feed = Feed::new(to.into(), ahead.to_vec(), None, rest.len() as u64);
        let world = Scene {
            exchange: Exchange::new(feed, from.into(), Reader::Apache),
            scratch: Scratch::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            spool: None,
            limit,
            now: Duration::from_secs(1),
            input,
            output,
            app_in,
            app_out: Some(app_out),
            client_in,
        };
        (world, client_out)
    }

    fn pass_on(&mut self) -> Passing {
        let held = self.spool.as_ref().map_or(0, Outgoing::spooled);
        let way = Way {
            output: self.output.as_fd(),
            spool: &mut self.spool,
            room: Room {
                directory: self.directory.path(),
                left: self.limit.saturating_sub(held),
            },
            is_wanted: false,
        };
        self.exchange.pass_on(way, &mut self.scratch, self.now)
    }

    fn send(&mut self) -> Fed {
        let input = Some(self.input.as_fd());
        self.exchange.send(input, &mut self.scratch)
    }

    /// The spool is sent after the exchange, as for a client that is slow.
    fn finish(&mut self, read: &mut Vec<u8>) {
        while let Some(spool) = &mut self.spool {
            match spool.send(self.output.as_fd(), &mut self.scratch) {
                Progress::Finished => self.spool = None,
                Progress::Lost => panic!("lost"),
                Progress::Waits(_) => assert!(read_some(&mut self.client_in, 1 << 20, read)),
            }
        }
        let before = read.len();
        read_some(&mut self.client_in, 1 << 20, read);
        if read.len() > before {
            self.finish(read);
        }
    }
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![Just(By::Pipe), Just(By::Socket)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_is_lost_or_comes_twice(
        kinds in [by(), by(), by()],
        ahead in 0usize..70_000,
        rest in 0usize..300_000,
        answer in 0usize..600_000,
        limit in prop_oneof![Just(0u64), Just(100_000), Just(1 << 30)],
        turns in prop::collection::vec((0u8..5, 1usize..100_000), 1..80),
        dies in any::<bool>(),
    ) {
        let request = pattern(ahead + rest);
        let response = [HEAD, &pattern(answer)].concat();
        let (mut world, mut client_out) =
            Scene::new(kinds, &request[..ahead], &request[ahead..], limit);
        let (mut taken, mut seen) = (Vec::new(), Vec::new());
        let (mut sent, mut said) = (ahead, 0);
        let mut ended = false;
        for &(who, size) in turns.iter().cycle().take(100_000) {
            match who {
                0 => {
                    read_some(&mut world.app_in, size, &mut taken);
                }
                1 => {
                    if let Some(app_out) = &mut world.app_out {
                        let end = response.len().min(said + size);
                        said += write_some(app_out, &response[said..end]);
                    }
                }
                2 => {
                    read_some(&mut world.client_in, size, &mut seen);
                }
                3 => {
                    let end = request.len().min(sent + size);
                    sent += write_some(&mut client_out, &request[sent..end]);
                }
                _ => world.now += Duration::from_micros(size as u64),
            }
            world.send();
            if said == response.len() && taken.len() == request.len() && world.app_out.is_some() {
                if dies {
                    // It ends, and something that it started holds the pipe.
                    world.exchange.note_app_gone();
                } else {
                    world.app_out = None;
                }
            }
            let passing = world.pass_on();
            if said < HEAD.len() {
                prop_assert!(!world.exchange.has_begun());
                prop_assert!(files::waiting(world.client_in.as_fd()).unwrap() == 0);
            }
            match passing {
                Passing::Waits(_) => {}
                Passing::Ended => {
                    ended = true;
                    break;
                }
                other => prop_assert!(false, "{:?}", other),
            }
            if turns.iter().all(|turn| turn.0 != 0) {
                read_some(&mut world.app_in, 50_000, &mut taken);
            }
            for side in [1, 2, 3, 4] {
                if turns.iter().any(|turn| turn.0 == side) {
                    continue;
                }
                match side {
                    1 => if let Some(app_out) = &mut world.app_out {
                        said += write_some(app_out, &response[said..]);
                    },
                    2 => _ = read_some(&mut world.client_in, 10_000, &mut seen),
                    3 => sent += write_some(&mut client_out, &request[sent..]),
                    _ => world.now += Duration::from_millis(1),
                }
            }
        }
        prop_assert!(ended, "said {} taken {} seen {}", said, taken.len(), seen.len());
        world.finish(&mut seen);
        prop_assert!(seen == response);
        prop_assert!(taken == request);
    }

    #[test]
    fn no_byte_goes_out_before_a_head_that_is_one(
        text in prop_oneof![
            Just(&b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nbody"[..]),
            Just(&b"Content-Type: a/b\nX-Y\n\nbody"[..]),
            Just(&b"X Y: a/b\n\nbody"[..]),
            Just(&b"<html>\n"[..]),
            Just(&b"Status: 99\n\n"[..]),
        ],
        cuts in prop::collection::vec(1usize..9, 1..40),
    ) {
        let (mut world, _client_out) = Scene::new([By::Pipe; 3], b"", b"", 0);
        let mut rest = text;
        let mut bad = None;
        for cut in cuts.iter().cycle() {
            let app_out = world.app_out.as_mut().unwrap();
            let count = write_some(app_out, &rest[..rest.len().min(*cut)]);
            rest = &rest[count..];
            match world.pass_on() {
                Passing::Waits(waits) => prop_assert!(waits.for_app),
                Passing::Bad(found) => {
                    bad = Some(found);
                    break;
                }
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert!(!rest.is_empty());
        }
        prop_assert!(bad.is_some() && !world.exchange.has_begun());
        prop_assert!(text.starts_with(world.exchange.beginning()));
        prop_assert_eq!(files::waiting(world.client_in.as_fd()).unwrap(), 0);
    }
}

#[test]
fn an_end_before_the_head_is_short() {
    for said in [&b""[..], b"Content-Type: a/b\n"] {
        let (mut world, _client_out) = Scene::new([By::Pipe; 3], b"", b"", 0);
        world.app_out.as_mut().unwrap().write_all(said).unwrap();
        assert!(matches!(world.pass_on(), Passing::Waits(_)));
        world.app_out = None;
        assert!(matches!(world.pass_on(), Passing::Short(None)));
        assert_eq!(world.exchange.beginning(), said);
        assert!(!world.exchange.has_begun());
    }
}

#[test]
fn a_head_that_does_not_end_is_too_large() {
    let (mut world, _client_out) = Scene::new([By::Socket; 3], b"", b"", 0);
    let line = b"X-Y: 12345678901234567890\n".repeat(100);
    loop {
        write_some(world.app_out.as_mut().unwrap(), &line);
        match world.pass_on() {
            Passing::Waits(_) => {}
            Passing::Bad(bad) => break assert_eq!(bad, BadHead::TooLarge),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_others_write_after_the_program_has_ended_is_not_its_response() {
    let (mut world, _client_out) = Scene::new([By::Pipe; 3], b"", b"", 0);
    let mut helper = world.app_out.take().unwrap();
    helper.write_all(HEAD).unwrap();
    helper.write_all(b"its own").unwrap();
    world.exchange.note_app_gone();
    helper.write_all(b"another process's").unwrap();
    assert!(matches!(world.pass_on(), Passing::Ended));
    let mut seen = Vec::new();
    read_some(&mut world.client_in, 1000, &mut seen);
    assert_eq!(seen, [HEAD, b"its own"].concat());
}

#[test]
fn a_slow_client_is_waited_for_a_moment_and_then_spooled_for() {
    for kind in [By::Pipe, By::Socket] {
        let (mut world, _client_out) = Scene::new([By::Pipe, kind, By::Pipe], b"", b"", 1 << 20);
        let app_out = world.app_out.as_mut().unwrap();
        app_out.write_all(HEAD).unwrap();
        let mut waits = loop {
            write_some(world.app_out.as_mut().unwrap(), &[b'x'; 65_536]);
            match world.pass_on() {
                Passing::Waits(waits) if waits.for_client => break waits,
                Passing::Waits(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(world.spool.is_none() && !waits.for_app, "{kind:?}");
        assert_eq!(waits.until, Some(world.now + PATIENCE));
        for _ in 0..10 {
            // A socket takes a little more by copying than by splicing, and is waited for again.
            world.now += PATIENCE;
            let Passing::Waits(then) = world.pass_on() else {
                panic!("{kind:?}");
            };
            waits = then;
            write_some(world.app_out.as_mut().unwrap(), &[b'x'; 65_536]);
        }
        assert!(waits.for_app && waits.for_client, "{kind:?}");
        assert!(
            world
                .spool
                .as_ref()
                .is_some_and(|spool| spool.spooled() > 200_000)
        );
        // The spool is full at some time, and nothing more is read.
        while waits.for_app {
            write_some(world.app_out.as_mut().unwrap(), &[b'x'; 65_536]);
            let Passing::Waits(then) = world.pass_on() else {
                panic!("{kind:?}");
            };
            waits = then;
        }
        assert_eq!(world.spool.as_ref().map(Outgoing::spooled), Some(1 << 20));
        drop(world.client_in);
        world.client_in = File::from(files::null().unwrap());
        assert!(matches!(world.pass_on(), Passing::Lost), "{kind:?}");
    }
}

#[test]
fn an_app_that_closes_its_input_has_the_rest_thrown_away() {
    let body = pattern(300_000);
    let (mut world, mut client_out) = Scene::new([By::Pipe; 3], b"", &body, 0);
    world.app_in = File::from(files::null().unwrap());
    let mut sent = 0;
    loop {
        sent += write_some(&mut client_out, &body[sent..]);
        if world.send() == Fed::Done {
            break;
        }
    }
    assert_eq!((sent, world.exchange.feed.left()), (body.len(), 0));
}

#[test]
fn a_client_that_ends_early_ends_what_the_app_reads() {
    for kind in [By::Pipe, By::Socket] {
        let (mut world, mut client_out) = Scene::new([kind, By::Pipe, By::Pipe], b"12", &[0; 9], 0);
        client_out.write_all(b"345").unwrap();
        drop(client_out);
        while world.send() != Fed::Done {}
        let mut read = Vec::new();
        world.app_in.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"12345", "{kind:?}");
    }
}

#[test]
fn a_server_has_taken_what_it_has_read_of() {
    let (from, mut server) = ends(By::Socket);
    let to = files::duplicate(&from).unwrap();
    let feed = Feed::new(to, pattern(3_000_000), None, 0);
    let mut exchange = Exchange::new(feed, from.into(), Reader::Apache);
    let mut scratch = Scratch::new().unwrap();
    assert_eq!(exchange.send(None, &mut scratch), Fed::ForApp);
    assert!(!exchange.was_taken());
    // More is sent as soon as there is room, so that something is unread all the while.
    let mut read = Vec::new();
    while read.len() < 1_000_000 {
        read_some(&mut server, 10_000, &mut read);
        exchange.send(None, &mut scratch);
    }
    assert!(exchange.was_taken());
}
