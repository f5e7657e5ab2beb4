//! What can be wrong with a value of any kind, and the sentence for each. It does not know which key a value is for.

use std::fmt;
use std::ops::Range;

use super::words::BadWords;

/// What can be wrong with a value. Sentences follow the value in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadValue {
    Address(BadAddress),
    BelowLeast {
        least: &'static str,
        why: &'static str,
    },
    Empty,
    HeaderTooLarge,
    LogIsACommand,
    NoCallable,
    NoProgram,
    NoUnit,
    NotACookieName,
    NotACount {
        least: u32,
        most: u32,
    },
    NotAGroup,
    NotALoad,
    NotAMount,
    NotAPercentage,
    NotARate,
    NotASize,
    NotASitePath,
    NotASocketMode,
    NotATarget,
    NotATime,
    NotAboveZero,
    NotAbsolute,
    NotOneOf(&'static [&'static str]),
    RateTooHigh,
    TargetIsAFile,
    Tilde,
    TimeTooLong,
    TooLarge,
    Words(BadWords),
    ZeroLimit,
}

/// What is wrong with a value, and which bytes of it are; `None`: all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misread {
    pub(super) what: BadValue,
    pub(super) at: Option<Range<usize>>,
}

impl From<BadValue> for Misread {
    fn from(what: BadValue) -> Misread {
        Misread { what, at: None }
    }
}

impl From<BadWords> for Misread {
    fn from(bad: BadWords) -> Misread {
        Misread {
            what: BadValue::Words(bad),
            at: Some(bad.at()..bad.at() + 1),
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadValue::Address(bad) => return bad.fmt(f),
            BadValue::Words(bad) => return bad.fmt(f),
            BadValue::NotACount { least, most } => {
                return write!(f, "is not a whole number from {least} to {most}");
            }
            BadValue::NotOneOf(choices) => return write_choices(f, choices),
            BadValue::BelowLeast { least, why } => return write!(f, "is below {least}: {why}"),
            BadValue::Empty => "no value",
            BadValue::HeaderTooLarge => "is above 128k, which is what one message to a worker holds",
            BadValue::NotAboveZero => "is not above 0",
            BadValue::LogIsACommand => "is a command; name a file",
            BadValue::NotACookieName => "is not the name of a cookie",
            BadValue::NotALoad => "is not a load per core: a number such as 1 or 0.75, at most 1000",
            BadValue::NotAMount => "is not a path of the site: it must begin with '/'",
            BadValue::NotAPercentage => {
                "is not a percentage: a number such as 10 or 2.5, at most 100"
            }
            BadValue::NotARate => "is not a rate: a whole number and /s, /m or /h, as in 6/m",
            BadValue::NotASize => "is not a size: a whole number of bytes, or with k, M or G, as in 64k",
            BadValue::NotASitePath => "is not a path below the app's address, as in /polycgi-status",
            BadValue::NotASocketMode => "is not a mode: octal digits up to 0777, as in 0660",
            BadValue::NotATarget => "is not 'module:callable', as in wiki.main:application",
            BadValue::NotATime => "is not a time: a whole number and ms, s, m or h, as in 45s",
            BadValue::NotAbsolute => "is not an absolute path",
            BadValue::NotAGroup => "is not the name of a group",
            BadValue::NoCallable => {
                "names no callable; write 'module:callable', often 'module:application' or 'module:app'"
            }
            BadValue::NoProgram => "names no program",
            BadValue::NoUnit => "has no unit: ms, s, m or h",
            BadValue::RateTooHigh => "is more than 1000; take a smaller unit, as in 20/s for 1200/m",
            BadValue::TargetIsAFile => {
                "names a file; write the module as 'import' has it, without folder and .py"
            }
            BadValue::Tilde => "begins with '~', which is not expanded; write the path in full",
            BadValue::TimeTooLong => "is more than a year (8760h)",
            BadValue::TooLarge => "is too large",
            BadValue::ZeroLimit => "is no limit to some servers and nothing to others; write 'none' for no limit",
        })
    }
}

fn write_choices(f: &mut fmt::Formatter<'_>, choices: &[&str]) -> fmt::Result {
    f.write_str("is not one of ")?;
    for (index, choice) in choices.iter().enumerate() {
        let between = if index == 0 { "" } else { ", " };
        write!(f, "{between}{choice}")?;
    }
    Ok(())
}

/// What can be wrong with an address. Sentences follow the address in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadAddress {
    HostBits,
    HostName,
    NotAnAddress,
    NotANetwork,
    NotAUser,
    NoHost,
    Port,
    SocketPathTooLong,
    UnixPrefix,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAddress::HostBits => {
                "has bits set after its prefix; write the network's first address"
            }
            BadAddress::HostName => {
                "names a host; write the IP address on which to listen, or localhost"
            }
            BadAddress::NotAnAddress => "is neither the absolute path of a socket nor host:port",
            BadAddress::NotANetwork => "is not a network, as in 192.0.2.0/24 or 2001:db8::/32",
            BadAddress::NotAUser => "is neither a user nor a network",
            BadAddress::NoHost => {
                "names no host; write 127.0.0.1 for this machine alone, 0.0.0.0 for all of IPv4"
            }
            BadAddress::Port => "has no port from 1 to 65535",
            BadAddress::SocketPathTooLong => {
                "is longer than the 107 bytes that a socket's path may have"
            }
            BadAddress::UnixPrefix => "has 'unix:' before the path; write the path alone",
        })
    }
}

impl From<BadAddress> for BadValue {
    fn from(bad: BadAddress) -> BadValue {
        BadValue::Address(bad)
    }
}
