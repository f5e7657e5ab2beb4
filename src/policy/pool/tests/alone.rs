//! One client with one request at a time, in a world where everything may be slow or fail: it may be told that the app
//! is broken or too slow, but never that the app is overloaded.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What will happen, and to which process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Later {
    Done(WorkerId),
    Looked,
    WorkerGone(WorkerId),
    WorkerReady(WorkerId),
    ZygoteGone(Generation),
    ZygoteReady(Generation),
}

#[derive(Debug)]
struct Alone {
    pool: Pool,
    now: Duration,
    dice: Dice,
    /// What will happen, in no order.
    later: Vec<(Duration, Later)>,
    /// The worker of the client's request; none as long as it waits for one.
    asked: Option<(Number, Option<WorkerId>)>,
    asked_at: Duration,
    last_number: Number,
    longest: Duration,
    told: BTreeMap<&'static str, u32>,
    is_over: bool,
}

impl Alone {
    fn soon(&mut self, what: Later, most: u64) {
        // Mostly it does not take long.
        let most = if self.dice.one_in(4) { most } else { most / 50 };
        let at = self.now + MS(1 + self.dice.roll() % most.max(1));
        self.later.push((at, what));
    }

    fn forget(&mut self, is: impl Fn(Later) -> bool) {
        self.later.retain(|&(_, what)| !is(what));
    }

    /// A worker's end, in place of all that it would have done later.
    fn end(&mut self, worker: WorkerId) {
        let of = [Later::Done, Later::WorkerGone, Later::WorkerReady].map(|what| what(worker));
        self.forget(|what| of.contains(&what));
        self.soon(Later::WorkerGone(worker), 5000);
    }

    fn answered(&mut self, how: &'static str) {
        self.asked = None;
        *self.told.entry(how).or_default() += 1;
        self.longest = self.longest.max(self.now - self.asked_at);
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.pool.handle(event, self.now, &mut actions);
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Accept { .. } | Action::Recall(_) => panic!("a request that comes alone"),
            Action::AskPressure => {
                let some = Some(self.dice.fraction() * 20.0);
                let is_watched = self.dice.one_in(2);
                self.tell(Event::Pressure { some, is_watched });
            }
            Action::AskProgress(worker) => {
                let moved = self.dice.one_in(2);
                self.tell(Event::Progress { worker, moved });
            }
            Action::Dispatch { number, worker } => {
                assert_eq!(self.asked, Some((number, None)));
                self.asked = Some((number, Some(worker)));
                if self.dice.one_in(10) {
                    self.end(worker);
                } else {
                    self.soon(Later::Done(worker), 100_000);
                }
            }
            Action::Exit => self.is_over = true,
            Action::Interrupt(worker) | Action::Kill(worker) | Action::Retire(worker) => {
                self.end(worker);
            }
            Action::Leave(_) => self.tell(Event::Left),
            // As a request that can't go elsewhere.
            Action::SendAway => {}
            Action::Look(_) => self.soon(Later::Looked, 10_000),
            Action::Refuse { number, refusal } => {
                assert_eq!(self.asked, Some((number, None)));
                match refusal {
                    Refusal::Broken => self.answered("broken"),
                    Refusal::HostRefused { .. } => self.answered("refused by the host"),
                    Refusal::Overloaded { .. } => panic!("alone, and a crowd: {self:#?}"),
                    Refusal::StartTimedOut => self.answered("too slow"),
                    Refusal::Starting { .. } => self.answered("told to come back"),
                }
            }
            Action::Rest(_) => {}
            Action::RetireZygote(generation) => {
                let of = [Later::ZygoteGone, Later::ZygoteReady].map(|what| what(generation));
                self.forget(|what| of.contains(&what) || what == Later::Looked);
            }
            Action::Spawn { worker, .. } => {
                let is_broken = self.dice.one_in(3);
                let end = if is_broken {
                    Later::WorkerGone(worker)
                } else {
                    Later::WorkerReady(worker)
                };
                self.soon(end, 60_000);
            }
            Action::StartZygote(generation) => {
                let is_broken = self.dice.one_in(6);
                let end = if is_broken {
                    Later::ZygoteGone(generation)
                } else {
                    Later::ZygoteReady(generation)
                };
                self.soon(end, 60_000);
            }
        }
    }

    fn happen(&mut self, what: Later) {
        match what {
            Later::Done(worker) => {
                self.answered("served");
                let last = self.dice.one_in(20);
                if last {
                    self.end(worker);
                }
                self.tell(Event::WorkerDone { worker, last });
            }
            Later::Looked => {
                let changed = self.dice.one_in(2);
                self.tell(Event::Looked { changed });
            }
            Later::WorkerGone(worker) => {
                if self.asked.is_some_and(|(_, with)| with == Some(worker)) {
                    self.answered("lost");
                }
                self.tell(Event::WorkerGone(worker));
            }
            Later::WorkerReady(worker) => self.tell(Event::WorkerReady(worker)),
            Later::ZygoteGone(generation) => self.tell(Event::ZygoteGone(generation)),
            Later::ZygoteReady(generation) => self.tell(Event::ZygoteReady(generation)),
        }
    }

    fn step(&mut self) {
        if self.asked.is_none() && self.dice.one_in(2) {
            self.last_number += 1;
            self.asked = Some((self.last_number, None));
            self.asked_at = self.now;
            let is_browser = self.dice.one_in(2);
            self.tell(Event::Arrived(Arrived {
                number: self.last_number,
                rank: Rank::Anonymous,
                is_browser,
            }));
            return;
        }
        let first = (0..self.later.len()).min_by_key(|&nth| self.later[nth].0);
        let happens = first.map(|nth| self.later[nth].0);
        let due = self.pool.next_deadline();
        match (happens, due) {
            (Some(at), due) if due.is_none_or(|due| at < due) => {
                let (at, what) = self.later.swap_remove(first.unwrap_or_default());
                self.now = self.now.max(at);
                self.happen(what);
            }
            (_, Some(due)) => {
                self.now = self.now.max(due);
                self.tell(Event::Tick);
            }
            (_, None) => {}
        }
    }
}

proptest! {
    #[test]
    fn one_client_is_never_a_crowd(
        (max_procs, min_idle, min_procs) in (1u16..4, 0u16..3, 0u16..3),
        max_requests in 1u32..6,
        (size, target, timeout) in (0usize..3, 0u64..3, 0u64..12),
        (looks, stays, seed) in (any::<bool>(), any::<bool>(), any::<u64>()),
    ) {
        let limits = PoolRules {
            look_interval: if looks { MS(500) } else { Duration::MAX },
            max_procs,
            max_requests,
            min_idle: min_idle.min(max_procs),
            min_procs: min_procs.min(max_procs),
            queue: QueueRules {
                size,
                target: S(target),
                timeout: S(timeout),
                turn: max_procs.into(),
                start_page: Some(S(20)),
                has_room: true,
            },
            stays,
            worker_idle_timeout: S(5),
            ..limits()
        };
        let mut alone = Alone {
            pool: Pool::new(limits, S(0)),
            now: S(0),
            dice: Dice(seed),
            later: Vec::new(),
            asked: None,
            asked_at: S(0),
            last_number: 0,
            longest: S(0),
            told: BTreeMap::new(),
            is_over: false,
        };
        alone.tell(Event::Tick);
        for _ in 0..400 {
            if alone.is_over {
                break;
            }
            alone.step();
        }
        // A look, a change, a start, and another start right after it; or a request that does not end by itself.
        let served = alone.told.contains_key("served");
        prop_assert!(alone.longest < S(400) || served, "{alone:#?}");
    }
}
