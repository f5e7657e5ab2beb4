//! What a descriptor of the loop is, packed into the number that epoll gives back.

use crate::policy::pool::{Generation, WorkerId};
use crate::policy::queue::Number;

/// The number of a server; none is given twice.
pub(super) type ServerId = u32;

/// A request that a foreign app has. To the pool it is a worker.
pub(super) type RunId = WorkerId;

/// A process of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An SCGI server.
    Server(ServerId),
    Worker(WorkerId),
    Zygote(Generation),
}

/// One of the descriptors of a FastCGI connection whose request is being served: the connection, or our end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireEnd {
    Connection,
    Input,
    Output,
    Errors,
}

impl WireEnd {
    pub(super) const ALL: [WireEnd; 4] = [
        WireEnd::Connection,
        WireEnd::Input,
        WireEnd::Output,
        WireEnd::Errors,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The end at which a foreign app takes its request.
    AppInput(WorkerId),
    /// The end from which its response comes.
    AppOutput(WorkerId),
    Channel(Source),
    Connection(Number),
    /// The web server's error log.
    Errors(Number),
    /// The descriptor that a message-body is drained from.
    Input(Number),
    Listener(u32),
    /// The descriptor that a page, or what was spooled, goes to.
    Output(Number),
    /// The kernel tells of memory pressure.
    Pressure,
    Signals,
    Stderr(Source),
    Wire(Number, WireEnd),
}

const SHIFT: u32 = 56;
/// Set beside the number of a generation, which has 32 bits.
const ZYGOTE: u64 = 1 << 32;
const SERVER: u64 = 1 << 33;

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        let source = |source| match source {
            Source::Server(id) => SERVER | u64::from(id),
            Source::Worker(id) => u64::from(id),
            Source::Zygote(generation) => ZYGOTE | u64::from(generation),
        };
        let (kind, number) = match token {
            Token::Channel(from) => (0, source(from)),
            Token::Connection(number) => (1, number),
            Token::Input(number) => (2, number),
            Token::Listener(number) => (3, u64::from(number)),
            Token::Output(number) => (4, number),
            Token::Signals => (5, 0),
            Token::Stderr(from) => (6, source(from)),
            Token::Errors(number) => (7, number),
            Token::AppInput(place) => (8, u64::from(place)),
            Token::AppOutput(place) => (9, u64::from(place)),
            Token::Pressure => (10, 0),
            Token::Wire(number, end) => (11 + end as u64, number),
        };
        kind << SHIFT | number
    }
}

impl From<u64> for Token {
    fn from(packed: u64) -> Token {
        let number = packed & ((1 << SHIFT) - 1);
        let source = if number & ZYGOTE != 0 {
            Source::Zygote(number as Generation)
        } else if number & SERVER != 0 {
            Source::Server(number as ServerId)
        } else {
            Source::Worker(number as WorkerId)
        };
        match packed >> SHIFT {
            0 => Token::Channel(source),
            1 => Token::Connection(number),
            2 => Token::Input(number),
            3 => Token::Listener(number as u32),
            4 => Token::Output(number),
            5 => Token::Signals,
            6 => Token::Stderr(source),
            7 => Token::Errors(number),
            8 => Token::AppInput(number as WorkerId),
            9 => Token::AppOutput(number as WorkerId),
            10 => Token::Pressure,
            end => {
                let at = usize::try_from(end - 11).unwrap_or_default() % WireEnd::ALL.len();
                Token::Wire(number, WireEnd::ALL[at])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        for source in [
            Source::Server(1),
            Source::Server(ServerId::MAX),
            Source::Worker(0),
            Source::Worker(WorkerId::MAX),
            Source::Zygote(0),
            Source::Zygote(Generation::MAX),
        ] {
            for token in [Token::Channel(source), Token::Stderr(source)] {
                assert_eq!(Token::from(u64::from(token)), token);
            }
        }
        let others = [
            Token::AppInput(3),
            Token::AppOutput(WorkerId::MAX),
            Token::Connection(1),
            Token::Errors(2),
            Token::Input(7),
            Token::Listener(0),
            Token::Listener(u32::MAX),
            Token::Output((1 << SHIFT) - 1),
            Token::Pressure,
            Token::Signals,
            Token::Wire(1, WireEnd::Connection),
            Token::Wire((1 << SHIFT) - 1, WireEnd::Errors),
        ];
        for token in others {
            assert_eq!(Token::from(u64::from(token)), token);
        }
    }
}
