//! Clients that ask again and again while a test does something else, with random pauses. It knows no server.

use std::env;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether the clients go on.
pub(crate) struct Load {
    is_over: AtomicBool,
}

/// Ends the load for all clients when it is dropped, by a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Runs `clients` threads that call `ask(client, number)` with 0, 1, 2 ... until `meanwhile` has returned; what
    /// each has got, in order. A client that fails, fails the test.
    #[track_caller]
    pub(crate) fn beside<T: Send>(
        clients: usize,
        ask: impl Fn(usize, usize) -> T + Sync,
        meanwhile: impl FnOnce(&Load),
    ) -> Vec<Vec<T>> {
        let load = Load {
            is_over: AtomicBool::new(false),
        };
        let one = |client| {
            let _end = End(&load.is_over);
            let numbers = (0..).take_while(|_| !load.is_over.load(Ordering::SeqCst));
            numbers.map(|number| ask(client, number)).collect()
        };
        thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> = (0..clients)
                .map(|client| scope.spawn(move || one(client)))
                .collect();
            let end = End(&load.is_over);
            meanwhile(&load);
            drop(end);
            let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
            results
                .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// Fails if a client has failed: then there is nothing more to wait for.
    #[track_caller]
    pub(crate) fn assert_goes_on(&self) {
        assert!(
            !self.is_over.load(Ordering::SeqCst),
            "a client has failed, see above"
        );
    }
}

/// Lets time pass that the test is about: the interval between two looks at the code, or the pace of a client. It is no
/// wait for an event.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Random numbers; the same again from the same seed.
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From POLYCGI_SEED, or else the clock. The seed is printed, to repeat a run.
    pub(crate) fn new() -> Self {
        let of_clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(1, |since| since.as_nanos() as u64)
        };
        let seed = env::var("POLYCGI_SEED").ok();
        let seed = seed
            .map(|seed| seed.parse().expect("POLYCGI_SEED is a number"))
            .unwrap_or_else(of_clock);
        println!("POLYCGI_SEED={seed}");
        Self(seed)
    }

    /// Numbers for one of several clients: they do not depend on the order in which clients ask.
    pub(crate) fn of(&self, which: usize) -> Self {
        let mut own = Self(self.0 ^ (which as u64).wrapping_mul(0xff51_afd7_ed55_8ccd));
        own.next();
        own
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A time below this one.
    pub(crate) fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[test]
#[should_panic(expected = "no answer")]
fn a_client_that_fails_fails_the_test() {
    Load::beside(
        3,
        |client, number| assert!(client != 1 || number < 2, "no answer"),
        |load| {
            let deadline = super::Deadline::soon();
            while !load.is_over.load(Ordering::SeqCst) && !deadline.left().is_zero() {
                thread::yield_now();
            }
        },
    );
}
