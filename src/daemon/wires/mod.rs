//! FastCGI connections whose requests are being served: records become a request's input, and its output and errors
//! become records. Knows connections and pipes, and of a request only its number and that it is over.

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use self::wire::{Step, Wire};
use super::clients::{Clients, HeaderReader};
use super::framed::Framed;
use super::ground::Ground;
use super::limited::Limited;
use super::outcome::Outcome;
use crate::policy::queue::Number;
use crate::sys::clock;

/// What is read of a connection at once, in bytes: a whole record, with its head.
const BLOCK: usize = 65_536;
/// How long what a web server still sends of a body is read, once it has its answer: closing would reset the connection,
/// and the answer might be lost.
const LINGER: Duration = Duration::from_secs(2);

/// All such connections, by their requests' numbers.
pub(super) struct Wires {
    by_number: BTreeMap<Number, Wire>,
    /// What the web server may take to read the rest of a response whose client is gone.
    limited: Limited,
    block: Vec<u8>,
}

impl Wires {
    pub(super) fn new() -> Wires {
        Wires {
            by_number: BTreeMap::new(),
            limited: Limited::default(),
            block: vec![0; BLOCK],
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.limited.next_deadline()
    }

    /// The header of a request has come.
    pub(super) fn take(&mut self, framed: Framed, clients: &mut Clients, ground: &mut Ground) {
        let number = framed.number;
        let wire = Wire::new(framed);
        if wire.is_gone {
            ground.tell(Outcome::FramedGone(number));
        }
        self.by_number.insert(number, wire);
        self.advance(number, clients, ground);
    }

    /// The connection, or one of the pipes, is ready.
    pub(super) fn advance(&mut self, number: Number, clients: &mut Clients, ground: &mut Ground) {
        let Some(wire) = self.by_number.get_mut(&number) else {
            return;
        };
        wire.keeps &= clients.keeps_open();
        match wire.advance(&ground.poll, number, &mut self.block) {
            Step::Gone => ground.tell(Outcome::FramedGone(number)),
            Step::Waits { moved } if moved && wire.over.is_some() => {
                let due = clock::now() + ground.config.timeouts.request;
                self.limited.insert(number, due);
            }
            Step::Waits { .. } => {}
            Step::Over { keeps } => self.end(number, keeps, clients, ground),
            Step::Lingers { begins: true } => {
                self.limited.insert(number, clock::now() + LINGER);
            }
            Step::Lingers { begins: false } => {}
        }
    }

    /// What became of the clients is heard.
    pub(super) fn see(&mut self, clients: &mut Clients, ground: &mut Ground) {
        for (number, end) in clients.take_over_requests() {
            let Some(wire) = self.by_number.get_mut(&number) else {
                continue;
            };
            if wire.note_end(end) {
                let due = clock::now() + ground.config.timeouts.request;
                self.limited.insert(number, due);
            }
            self.advance(number, clients, ground);
        }
    }

    /// The connections that there are now are closed behind their requests.
    pub(super) fn keep_none(&mut self) {
        for wire in self.by_number.values_mut() {
            wire.keeps = false;
        }
    }

    /// Closes the connections whose web servers take nothing.
    pub(super) fn pass_time(&mut self, now: Duration, clients: &mut Clients, ground: &mut Ground) {
        while let Some(number) = self.limited.pop(now) {
            self.end(number, false, clients, ground);
        }
    }

    /// The request is over: the connection waits for another, or is closed.
    fn end(&mut self, number: Number, keeps: bool, clients: &mut Clients, ground: &mut Ground) {
        self.limited.remove(number);
        let Some(mut wire) = self.by_number.remove(&number) else {
            return;
        };
        wire.forget(&ground.poll);
        clients.unwire(number);
        if let (true, Some((connection, caller, reader))) = (keeps, wire.into_idle()) {
            clients.take_in(connection, caller, HeaderReader::kept_open(reader), ground);
        }
    }
}
