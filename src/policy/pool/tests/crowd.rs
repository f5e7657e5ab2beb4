//! People among a swarm: a simulated minute in which ten times as many requests come as two workers can serve, with what
//! people, scrapers and those that keep their tickets do. Nothing is left to the machine: the clock is invented, and
//! chance is the same in every run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::*;

mod cases;

/// Requests a second that two workers serve in 20 ms each.
const CAPACITY: f64 = 100.0;
/// When the swarm comes, and for how long.
const BEGINS: Duration = Duration::from_secs(5);
const LASTS: Duration = Duration::from_secs(60);
/// Until when people come.
const ENDS: Duration = Duration::from_secs(75);

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    /// Reads pages one after another; comes back after Retry-After, with the ticket.
    Person(usize),
    /// One of many addresses that ask on whatever the answers are. It has no cookies.
    Scraper,
    /// The same, of those that keep their cookies.
    Keeper(usize),
    /// Comes back after Retry-After, as a person does, and asks on at once without the ticket, for another one.
    Discarder(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Asks(Asker),
    Done(WorkerId),
    Ready(WorkerId),
}

/// A page that a person asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    asked: Duration,
    retries: u32,
    /// How long it took, with all retries.
    took: Option<Duration>,
}

/// A ticket, good from `due` to the end of the test.
#[derive(Clone, Copy, Debug)]
struct Kept {
    id: u64,
    issued: Duration,
    due: Duration,
}

/// One who keeps the ticket of a 503.
#[derive(Clone, Debug, Default)]
struct Jar {
    ticket: Option<Kept>,
    pages: Vec<Reading>,
    served: usize,
}

/// Who comes, and how many requests a second they send.
#[derive(Clone, Copy, Debug)]
struct Mix {
    workers: u16,
    /// What a request takes.
    work: Duration,
    /// Of people, that each read three.
    pages: f64,
    scrapers: f64,
    /// Those that keep their cookies, and the requests of all of them.
    keepers: usize,
    keepers_ask: f64,
    /// They share the cookies of one.
    is_shared: bool,
    /// Those that throw each ticket away once it was good for a page.
    discarders: usize,
    has_room: bool,
}

const MIX: Mix = Mix {
    workers: 2,
    work: Duration::from_millis(20),
    pages: CAPACITY / 2.0,
    scrapers: 9.5 * CAPACITY,
    keepers: 0,
    keepers_ask: 0.0,
    is_shared: false,
    discarders: 0,
    has_room: true,
};

struct Crowd {
    mix: Mix,
    pool: Pool,
    now: Duration,
    dice: Dice,
    due: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    nth: u64,
    here: BTreeMap<Number, Asker>,
    people: Vec<Jar>,
    keepers: Vec<Jar>,
    discarders: Vec<Jar>,
    next_number: Number,
    served: Vec<Duration>,
}

/// What came of the pages that people asked for while the swarm was there.
#[derive(Debug)]
struct Upshot {
    /// How many were served with one retry at most: a part of 1.
    within_one: f64,
    p95: Duration,
    /// The same of pages asked for a second after the swarm's end, and later.
    after: Duration,
    longest: Duration,
    most_retries: u32,
    /// What the app answered while the swarm was there: a part of what it can.
    goodput: f64,
    /// Pages that one keeper got, at most.
    most_kept: usize,
    /// As `within_one`, of the pages that people asked for after their first.
    later: f64,
    /// Pages that all discarders got.
    discarded: usize,
}

impl Upshot {
    /// `cost`: how many more people than without it may need more than one retry.
    #[track_caller]
    fn assert_good(&self, cost: f64) {
        assert!(self.within_one >= 0.99 - cost, "{self:?}");
        assert!(self.p95 <= S(3), "{self:?}");
        assert!(self.after <= MS(500), "{self:?}");
        assert!(self.goodput >= 0.95, "{self:?}");
    }
}

impl Crowd {
    fn new(mix: Mix) -> Crowd {
        let pool = ready(PoolRules {
            max_procs: mix.workers,
            max_requests: u32::MAX,
            queue: QueueRules {
                size: 100,
                target: S(1),
                timeout: S(10),
                turn: mix.workers.into(),
                start_page: None,
                has_room: mix.has_room,
            },
            worker_idle_timeout: S(600),
            ..limits()
        });
        let keepers = if mix.is_shared { 1 } else { mix.keepers };
        Crowd {
            mix,
            pool,
            now: S(0),
            dice: Dice(3),
            due: BinaryHeap::new(),
            nth: 0,
            here: BTreeMap::new(),
            people: Vec::new(),
            keepers: vec![Jar::default(); keepers],
            discarders: vec![Jar::default(); mix.discarders],
            next_number: 1,
            served: Vec::new(),
        }
    }

    fn run(mix: Mix) -> Upshot {
        let mut crowd = Crowd::new(mix);
        crowd.plan_people();
        crowd.plan_swarm();
        while let Some(Reverse((at, _, next))) = crowd.due.pop() {
            while let Some(tick) = crowd.pool.next_deadline()
                && tick < at
                && tick < ENDS + S(30)
            {
                crowd.now = tick;
                crowd.tell(Event::Tick);
            }
            crowd.now = at;
            match next {
                Due::Asks(who) => crowd.ask(who),
                Due::Done(worker) => crowd.tell(done(worker)),
                Due::Ready(worker) => crowd.tell(Event::WorkerReady(worker)),
            }
        }
        crowd.upshot()
    }

    fn at(&mut self, at: Duration, next: Due) {
        self.nth += 1;
        self.due.push(Reverse((at, self.nth, next)));
    }

    /// A time until the next of so many a second that come at random.
    fn wait(&mut self, rate: f64) -> Duration {
        let fraction = self.dice.fraction();
        Duration::from_secs_f64(-(1.0 - fraction).ln() / rate)
    }

    fn plan_people(&mut self) {
        let mut at = S(0);
        loop {
            at += self.wait(self.mix.pages / 3.0);
            if at > ENDS {
                return;
            }
            self.people.push(Jar::default());
            let nth = self.people.len() - 1;
            self.at(at, Due::Asks(Asker::Person(nth)));
        }
    }

    fn plan_swarm(&mut self) {
        for nth in 0..self.discarders.len() {
            let later = self.wait(1.0);
            self.at(BEGINS + later, Due::Asks(Asker::Discarder(nth)));
        }
        let mut at = BEGINS;
        let all = self.mix.scrapers + self.mix.keepers_ask;
        if all == 0.0 {
            return;
        }
        loop {
            at += self.wait(all);
            if at > BEGINS + LASTS {
                return;
            }
            let is_keeper = self.dice.fraction() * all < self.mix.keepers_ask;
            let nth = self.dice.roll() as usize;
            let who = match is_keeper {
                true => Asker::Keeper(nth % self.keepers.len()),
                false => Asker::Scraper,
            };
            self.at(at, Due::Asks(who));
        }
    }

    fn jar(&mut self, who: Asker) -> Option<&mut Jar> {
        match who {
            Asker::Keeper(nth) => self.keepers.get_mut(nth),
            Asker::Person(nth) => self.people.get_mut(nth),
            Asker::Discarder(nth) => self.discarders.get_mut(nth),
            Asker::Scraper => None,
        }
    }

    fn ask(&mut self, who: Asker) {
        let number = self.next_number;
        self.next_number += 1;
        self.here.insert(number, who);
        let now = self.now;
        let has_room = self.mix.has_room;
        let is_new = |jar: &Jar| jar.pages.last().is_none_or(|page| page.took.is_some());
        let ticket = self.jar(who).and_then(|jar| {
            if matches!(who, Asker::Person(_)) && is_new(jar) {
                jar.pages.push(Reading {
                    asked: now,
                    ..Reading::default()
                });
            }
            jar.ticket
        });
        let due = ticket.filter(|ticket| has_room && ticket.due <= now);
        let rank = |Kept { id, issued, .. }| Rank::Ticket { id, issued };
        self.tell(Event::Arrived(Arrived {
            number,
            rank: due.map_or(Rank::Anonymous, rank),
            is_browser: true,
        }));
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.pool.handle(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Dispatch { number, worker } => {
                    self.at(self.now + self.mix.work, Due::Done(worker));
                    self.serve(number);
                }
                Action::Refuse { number, refusal } => self.refuse(number, refusal),
                Action::Spawn { worker, .. } => self.at(self.now, Due::Ready(worker)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn serve(&mut self, number: Number) {
        let who = self.here.remove(&number).expect("it waits");
        let end = self.now + self.mix.work;
        self.served.push(end);
        let Some(jar) = self.jar(who) else {
            return;
        };
        jar.served += 1;
        if let Asker::Discarder(_) = who {
            jar.ticket = None;
            self.ask_on(end, who);
        } else if let Asker::Person(_) = who {
            let page = jar.pages.last_mut().expect("a page");
            page.took = Some(end - page.asked);
            if jar.pages.len() < 3 {
                let reads = self.wait(0.2);
                self.at(end + reads, Due::Asks(who));
            }
        }
    }

    /// A discarder does, while the swarm is there.
    fn ask_on(&mut self, at: Duration, who: Asker) {
        if at < BEGINS + LASTS {
            self.at(at, Due::Asks(who));
        }
    }

    fn refuse(&mut self, number: Number, refusal: Refusal) {
        let Refusal::Overloaded { retry_after, .. } = refusal else {
            panic!("{refusal:?}");
        };
        let who = self.here.remove(&number).expect("it waits");
        let (now, id) = (self.now, self.dice.roll());
        let retry_after = S(retry_after.as_millis().div_ceil(1000) as u64);
        let Some(jar) = self.jar(who) else {
            return;
        };
        jar.ticket.get_or_insert(Kept {
            id,
            issued: now,
            due: now + retry_after,
        });
        if let Asker::Person(_) = who {
            jar.pages.last_mut().expect("a page").retries += 1;
            // The way there and back.
            self.at(now + retry_after + MS(30), Due::Asks(who));
        }
        if let Asker::Discarder(_) = who {
            self.ask_on(now + retry_after, who);
        }
    }

    fn upshot(&self) -> Upshot {
        let end = BEGINS + LASTS;
        let pages = |first| {
            self.people
                .iter()
                .flat_map(move |p| p.pages.iter().skip(first))
        };
        let is_during = |page: &&Reading| (BEGINS..end).contains(&page.asked);
        let during = |first| pages(first).filter(is_during);
        let within = |at: &&Duration| (BEGINS..end).contains(*at);
        let served = self.served.iter().filter(within).count() as u32;
        let busy = (served * self.mix.work).div_duration_f64(LASTS);
        Upshot {
            within_one: within_one(during(0)),
            p95: p95(during(0)),
            after: p95(pages(0).filter(|page| page.asked > end + S(1))),
            longest: during(0)
                .filter_map(|page| page.took)
                .max()
                .unwrap_or_default(),
            most_retries: during(0).map(|page| page.retries).max().unwrap_or_default(),
            goodput: busy / f64::from(self.mix.workers),
            later: within_one(during(1)),
            discarded: self.discarders.iter().map(|jar| jar.served).sum(),
            most_kept: self
                .keepers
                .iter()
                .map(|jar| jar.served)
                .max()
                .unwrap_or_default(),
        }
    }
}

/// Which part of them was served with one retry at most.
fn within_one<'a>(pages: impl Iterator<Item = &'a Reading> + Clone) -> f64 {
    let good = pages.clone().filter(|page| page.retries <= 1);
    good.count() as f64 / pages.count() as f64
}

fn p95<'a>(pages: impl Iterator<Item = &'a Reading>) -> Duration {
    let mut took: Vec<_> = pages.map(|p| p.took.unwrap_or(Duration::MAX)).collect();
    took.sort_unstable();
    took[took.len() * 95 / 100]
}
