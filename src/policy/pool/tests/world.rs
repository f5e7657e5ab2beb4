//! A world around the pool that does at random all that can happen, and checks the pool's actions against what it
//! knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Starting,
    Idle,
    /// It takes requests itself.
    Accepting {
        is_busy: bool,
        is_recalled: bool,
    },
    Serving(Number),
    /// It was interrupted, and only a kill ends it.
    Stuck(Number),
    /// It was killed, or told to leave.
    Leaving,
}

#[derive(Debug)]
struct World {
    pool: Pool,
    limits: PoolRules,
    now: Duration,
    dice: Dice,
    next_number: Number,
    announced: BTreeSet<Number>,
    waiting: BTreeSet<Number>,
    answered: Vec<Number>,
    workers: BTreeMap<WorkerId, (Generation, Doing)>,
    /// Those that were not told to go, and whether they are ready.
    zygotes: BTreeMap<Generation, bool>,
    newest: Generation,
    looks: Option<Generation>,
    leave_asked: bool,
    exited: bool,
}

impl World {
    fn new(limits: PoolRules, seed: u64) -> World {
        World {
            pool: Pool::new(limits, S(0)),
            limits,
            now: S(0),
            dice: Dice(seed),
            next_number: 1,
            announced: BTreeSet::new(),
            waiting: BTreeSet::new(),
            answered: Vec::new(),
            workers: BTreeMap::new(),
            zygotes: BTreeMap::new(),
            newest: 0,
            looks: None,
            leave_asked: false,
            exited: false,
        }
    }

    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let generation = self.pool.generation();
            let mut actions = Vec::new();
            self.pool.handle(event.clone(), self.now, &mut actions);
            assert!(self.pool.generation() >= generation, "back to the old code");
            let due = self.pool.next_deadline();
            assert!(
                due.is_none_or(|due| due > self.now),
                "a loop that never blocks, after {event:?}: {:?}",
                self.pool
            );
            for action in actions {
                events.extend(self.carry_out(action));
            }
            if events.is_empty() {
                assert_eq!(self.pool.queued(), self.waiting.len());
            }
            assert!(self.zygotes.len() <= 2, "{:?}", self.zygotes);
        }
    }

    /// What the daemon would do, and the event that follows at once. Long, since it has an arm for each action.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        assert!(
            !self.exited || matches!(action, Action::Refuse { .. }),
            "{action:?} after Exit"
        );
        match action {
            Action::Accept { worker, requests } => {
                let (generation, doing) = self.workers.get_mut(&worker).expect("a worker");
                assert_eq!(*doing, Doing::Idle, "accepts while not idle");
                assert_eq!(*generation, self.pool.generation(), "an old generation");
                assert!(self.limits.accepts && requests > 0);
                assert!(self.waiting.is_empty(), "a request waits");
                *doing = Doing::Accepting {
                    is_busy: false,
                    is_recalled: false,
                };
            }
            Action::Recall(worker) => {
                let (_, doing) = self.workers.get_mut(&worker).expect("a worker");
                let Doing::Accepting { is_recalled, .. } = doing else {
                    panic!("recalled while {doing:?}");
                };
                assert!(!std::mem::replace(is_recalled, true), "recalled twice");
            }
            Action::AskPressure => {
                let some = (!self.dice.one_in(50)).then(|| self.dice.fraction() * 20.0);
                let is_watched = self.dice.one_in(2);
                return Some(Event::Pressure { some, is_watched });
            }
            Action::AskProgress(worker) => {
                assert!(matches!(self.workers[&worker].1, Doing::Serving(_)));
                let moved = self.dice.one_in(2);
                return Some(Event::Progress { worker, moved });
            }
            Action::Dispatch { number, worker } => return self.dispatch(number, worker),
            Action::Exit => {
                assert!(self.waiting.is_empty() && self.announced.is_empty());
                assert!(self.workers.is_empty(), "exit loses one");
                assert!(self.zygotes.is_empty(), "exit leaves one");
                self.exited = true;
            }
            Action::Interrupt(worker) => {
                let doing = self.workers.get_mut(&worker).expect("a worker");
                let Doing::Serving(number) = doing.1 else {
                    panic!("interrupted while {doing:?}");
                };
                doing.1 = Doing::Stuck(number);
            }
            Action::Kill(worker) => {
                let doing = self.workers.get_mut(&worker).expect("a worker");
                if let Doing::Stuck(number) = doing.1 {
                    self.answered.push(number);
                }
                doing.1 = Doing::Leaving;
            }
            Action::Leave(_) => {
                assert!(!self.leave_asked && !self.limits.stays);
                self.leave_asked = true;
            }
            Action::SendAway => {
                let all_leave = self.workers.values().all(|w| w.1 == Doing::Leaving);
                assert!(all_leave, "a worker serves");
                // The pool may not have heard yet that the last one was sent away.
                if self.dice.one_in(2) {
                    let number = self.waiting.pop_first()?;
                    self.answered.push(number);
                    return Some(Event::HungUp(number));
                }
            }
            Action::Look(generation) => {
                assert_eq!(
                    self.zygotes.get(&generation),
                    Some(&true),
                    "no zygote to look"
                );
                assert_eq!(self.looks, None, "looks already");
                self.looks = Some(generation);
            }
            Action::Refuse { number, .. } => {
                assert!(
                    self.waiting.remove(&number),
                    "only a waiting request is refused"
                );
                self.answered.push(number);
            }
            Action::Rest(reason) => {
                assert!(self.limits.stays && !self.leave_asked);
                let nothing = self.zygotes.is_empty() && self.looks.is_none();
                let is_failed = matches!(reason, Reason::Broken | Reason::HostRefused);
                assert!(nothing || is_failed, "rests with a zygote");
                assert!(!self.pool.has_code());
            }
            Action::Retire(worker) => {
                let doing = self.workers.get_mut(&worker).expect("a worker");
                assert_eq!(doing.1, Doing::Idle, "retired while not idle");
                doing.1 = Doing::Leaving;
            }
            Action::RetireZygote(generation) => {
                assert!(self.zygotes.remove(&generation).is_some(), "gone already");
                if self.looks == Some(generation) {
                    self.looks = None;
                }
            }
            Action::Spawn { worker, generation } => {
                assert_eq!(
                    self.zygotes.get(&generation),
                    Some(&true),
                    "no zygote to fork from"
                );
                let serves = |w: &(Generation, Doing)| {
                    w.0 == self.pool.generation()
                        && !matches!(w.1, Doing::Leaving | Doing::Stuck(_))
                };
                let is_added =
                    generation == self.pool.generation() && self.workers.values().any(serves);
                assert!(!is_added || !self.pool.is_short_of_memory(), "added");
                let started = (generation, Doing::Starting);
                assert_eq!(self.workers.insert(worker, started), None);
                let most = usize::from(self.limits.max_procs);
                assert!(self.workers.len() <= most, "too many");
            }
            Action::StartZygote(generation) => {
                assert!(generation > self.newest);
                self.newest = generation;
                self.zygotes.insert(generation, false);
            }
        }
        None
    }

    fn dispatch(&mut self, number: Number, worker: WorkerId) -> Option<Event> {
        assert!(self.waiting.remove(&number), "a request goes to one worker");
        let (generation, doing) = self.workers.get_mut(&worker).expect("a ready worker");
        assert_eq!(*doing, Doing::Idle, "two requests for one worker");
        assert_eq!(*generation, self.pool.generation(), "an old generation");
        if self.dice.one_in(20) {
            self.answered.push(number);
            return Some(Event::NotTaken(worker));
        }
        if self.dice.one_in(20) {
            *doing = Doing::Leaving;
            self.waiting.insert(number);
            return Some(Event::Returned(worker));
        }
        *doing = Doing::Serving(number);
        None
    }

    fn any(&mut self, is: impl Fn(Doing) -> bool) -> Option<WorkerId> {
        let those = self.workers.iter().filter(|(_, w)| is(w.1));
        let those: Vec<WorkerId> = those.map(|(&id, _)| id).collect();
        let roll = self.dice.roll() as usize;
        (!those.is_empty()).then(|| those[roll % those.len()])
    }

    /// One thing that can happen now.
    fn step(&mut self, what: u8) {
        match what % 16 {
            0..=2 => self.arrive(),
            3 => {
                let number = self.next_number;
                self.next_number += 1;
                self.announced.insert(number);
                self.tell(Event::Announced(number));
            }
            4 => self.read_body(),
            5 => self.zygote_is_ready(),
            6 => self.worker_is_ready(),
            7 | 8 => self.worker_is_done(),
            9 if self.dice.one_in(4) => {
                let victim = self.any(|_| true);
                self.worker_dies(victim);
            }
            10 if self.dice.one_in(2) => self.leave_one(),
            10 => self.accepting_goes_on(),
            11 => {
                let any = self.waiting.union(&self.announced).next().copied();
                if let Some(number) = any {
                    self.waiting.remove(&number);
                    self.announced.remove(&number);
                    self.answered.push(number);
                    self.tell(Event::HungUp(number));
                }
            }
            12 if self.dice.one_in(3) => self.zygote_dies(),
            13 if self.dice.one_in(4) => self.tell(Event::Reload),
            14 => self.look_ends(),
            15 if self.dice.one_in(12) => self.tell(Event::Broken),
            15 if self.dice.one_in(4) => self.tell(Event::Proven),
            15 if self.dice.one_in(4) => self.tell(Event::Stalled),
            _ => self.pass_time(),
        }
    }

    /// The app can be imported: most of what can happen comes later.
    fn start(&mut self) {
        self.tell(Event::Tick);
        self.zygote_is_ready();
        self.worker_is_ready();
    }

    fn arrive(&mut self) {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.insert(number);
        let roll = self.dice.roll();
        let rank = match number % 3 {
            0 => Rank::Known,
            // Few tickets, so that one is used too often.
            1 => Rank::Ticket {
                id: roll % 4,
                issued: MS(roll % 9),
            },
            _ => Rank::Anonymous,
        };
        self.tell(Event::Arrived(Arrived {
            number,
            rank,
            is_browser: roll.is_multiple_of(2),
        }));
    }

    fn read_body(&mut self) {
        if let Some(number) = self.announced.pop_first() {
            self.waiting.insert(number);
            self.tell(arrived(number));
        }
    }

    fn zygote_is_ready(&mut self) {
        let waiting = self.zygotes.iter_mut().find(|(_, ready)| !**ready);
        if let Some((&generation, ready)) = waiting {
            *ready = true;
            self.tell(Event::ZygoteReady(generation));
        }
    }

    fn zygote_dies(&mut self) {
        let nth = self.dice.roll() as usize % self.zygotes.len().max(1);
        let Some(generation) = self.zygotes.keys().nth(nth).copied() else {
            return;
        };
        self.zygotes.remove(&generation);
        if self.looks == Some(generation) {
            self.looks = None;
        }
        let unborn = |w: &(Generation, Doing)| *w == (generation, Doing::Starting);
        let unborn: Vec<_> = self.workers.iter().filter(|(_, w)| unborn(w)).collect();
        let unborn: Vec<WorkerId> = unborn.into_iter().map(|(&id, _)| id).collect();
        for worker in unborn {
            if self.dice.one_in(2) {
                self.workers.remove(&worker);
                self.tell(Event::ForkFailed(worker));
            }
        }
        if self.dice.one_in(2) {
            self.tell(Event::HostRefused(generation));
        }
        self.tell(Event::ZygoteGone(generation));
    }

    fn worker_is_ready(&mut self) {
        if let Some(worker) = self.any(|doing| doing == Doing::Starting) {
            self.doing(worker, Doing::Idle);
            self.tell(Event::WorkerReady(worker));
        }
    }

    fn doing(&mut self, worker: WorkerId, what: Doing) {
        self.workers.get_mut(&worker).expect("a worker").1 = what;
    }

    fn worker_is_done(&mut self) {
        let serves = |doing| matches!(doing, Doing::Serving(_) | Doing::Stuck(_));
        if let Some(worker) = self.any(serves) {
            let last = self.dice.one_in(8);
            let (_, Doing::Serving(number) | Doing::Stuck(number)) = self.workers[&worker] else {
                return;
            };
            let was_stuck = self.workers[&worker].1 == Doing::Stuck(number);
            self.answered.push(number);
            let leaves = last && !was_stuck;
            self.doing(worker, if leaves { Doing::Leaving } else { Doing::Idle });
            self.tell(Event::WorkerDone { worker, last });
        }
    }

    /// A worker that takes requests itself does what it may do next.
    fn accepting_goes_on(&mut self) {
        let accepts = |doing| matches!(doing, Doing::Accepting { .. });
        let Some(worker) = self.any(accepts) else {
            return;
        };
        let Doing::Accepting {
            is_busy,
            is_recalled,
        } = self.workers[&worker].1
        else {
            return;
        };
        let is_over = self
            .pool
            .accept_until()
            .is_none_or(|until| until <= self.now);
        if is_busy && self.dice.one_in(3) {
            let (number, since) = (self.next_number, self.now);
            self.next_number += 1;
            self.doing(worker, Doing::Serving(number));
            self.tell(Event::Adopted {
                worker,
                number,
                since,
            });
        } else if !is_busy && (is_recalled || is_over) {
            let last = self.dice.one_in(8);
            self.doing(worker, if last { Doing::Leaving } else { Doing::Idle });
            self.tell(Event::Back { worker, last });
        } else {
            self.doing(
                worker,
                Doing::Accepting {
                    is_busy: !is_busy,
                    is_recalled,
                },
            );
            self.tell(Event::Seen(vec![OwnWork {
                worker,
                served: u32::from(is_busy),
                took: MS(5),
                ended: self.now,
                busy_since: (!is_busy).then_some(self.now),
            }]));
        }
    }

    fn worker_dies(&mut self, worker: Option<WorkerId>) {
        let Some(worker) = worker else {
            return;
        };
        let (_, was) = self.workers.remove(&worker).expect("a worker");
        if let Doing::Serving(number) | Doing::Stuck(number) = was {
            self.answered.push(number);
        }
        if was == Doing::Starting && self.dice.one_in(2) {
            self.tell(Event::ForkFailed(worker));
        } else {
            if self.dice.one_in(4) {
                self.tell(Event::HostRefused(self.newest));
            }
            self.tell(Event::WorkerGone(worker));
        }
    }

    fn leave_one(&mut self) {
        let leaving = self.any(|doing| doing == Doing::Leaving);
        self.worker_dies(leaving);
    }

    fn look_ends(&mut self) {
        if self.looks.take().is_some() {
            let changed = self.dice.one_in(3);
            self.tell(Event::Looked { changed });
        }
    }

    fn pass_time(&mut self) {
        self.now += MS(1 + self.dice.roll() % 4000);
        self.tell(Event::Tick);
    }

    fn obey(&mut self, max_procs: u16) {
        self.limits.max_procs = max_procs;
        self.pool.obey(self.limits);
        self.tell(Event::Tick);
    }

    /// For a while nothing fails, except that stuck workers stay stuck, and some requests end only when asked for their
    /// progress. Imports succeed, or no request is served at all.
    fn behave(&mut self) {
        self.leave_one();
        self.accepting_goes_on();
        self.zygote_is_ready();
        self.worker_is_ready();
        self.read_body();
        if self.looks.take().is_some() {
            self.tell(Event::Looked { changed: false });
        }
        let lazy = |doing| matches!(doing, Doing::Serving(number) if !number.is_multiple_of(5));
        if self.any(lazy).is_some() {
            self.worker_is_done();
        }
        if let Some(due) = self.pool.next_deadline() {
            self.now = self.now.max(due);
        }
        self.tell(Event::Tick);
    }

    /// All waiting requests are answered while the pool stays; then a stop must end, with every request answered.
    fn settle(&mut self) {
        for round in 0.. {
            let busy = self
                .workers
                .values()
                .any(|w| !matches!(w.1, Doing::Starting | Doing::Idle | Doing::Leaving));
            if self.waiting.is_empty() && self.announced.is_empty() && !busy {
                break;
            }
            assert!(round < 2000, "no request is served: {self:#?}");
            self.behave();
        }
        if !self.pool.is_full() {
            // It serves still.
            self.arrive();
        }
        self.tell(Event::Left);
        for round in 0.. {
            if self.exited {
                break;
            }
            assert!(round < 2000, "the stop does not end: {self:#?}");
            self.behave();
        }
        let mut answered = std::mem::take(&mut self.answered);
        answered.sort_unstable();
        let all: Vec<Number> = (1..self.next_number).collect();
        assert_eq!(answered, all, "each request is answered exactly once");
    }
}

proptest! {
    #[test]
    fn no_request_is_lost_or_answered_twice(
        (max_procs, min_idle, min_procs) in (1u16..5, 0u16..3, 0u16..3),
        max_requests in 1u32..6,
        (size, target) in (1usize..6, 0u64..12),
        request_limit in prop::option::of(1u64..60),
        quiet in prop::option::of(0u64..4),
        (is_long_lived, stays, heeds_memory, accepts) in any::<(bool, bool, bool, bool)>(),
        looks_often in any::<bool>(),
        seed in any::<u64>(),
        steps in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (target, timeout) = (S(target), S(10));
        let mut world = World::new(PoolRules {
            accepts,
            heeds_memory,
            idle_timeout: if stays { S(15) } else { S(300) },
            look_interval: if looks_often { MS(500) } else { S(60) },
            max_procs,
            max_requests,
            min_idle,
            min_lifetime: if is_long_lived { S(1_000_000) } else { S(20) },
            min_procs,
            queue: QueueRules { size, target, timeout, turn: size / 2, start_page: Some(S(20)), has_room: true },
            quiet: quiet.map(|count| Quiet { count, unit: S(10), timeout: S(20) }),
            request_limit: request_limit.map(S),
            request_timeout: S(8),
            start_timeout: S(20),
            stays,
            worker_idle_timeout: S(30),
        }, seed);
        if !seed.is_multiple_of(4) {
            world.start();
        }
        for (nth, what) in steps.into_iter().enumerate() {
            world.step(what);
            if nth == 150 {
                world.obey(1 + u16::from(what % 5));
            }
        }
        world.settle();
    }
}
