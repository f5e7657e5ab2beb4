//! A FastCGI connection whose request's header has come, on its way from the room that has read it to the one that moves
//! the records.

use std::os::fd::OwnedFd;

use super::guest::Caller;
use crate::fastcgi::RequestReader;
use crate::policy::queue::Number;

/// What a FastCGI connection has to know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestEnd {
    /// Its client is gone, and a part of the response is missing.
    Cut,
    /// The connection is for no other request: others need its place.
    Last,
    /// All of the response is in its pipe.
    Whole,
}

/// A connection, and our ends of the pipes that its request has for input, output and errors.
#[derive(Debug)]
pub(super) struct Framed {
    /// The request's.
    pub(super) number: Number,
    pub(super) connection: OwnedFd,
    pub(super) caller: Caller,
    pub(super) begun: Begun,
}

/// What has come of a request by the time that its header is whole.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) reader: Box<RequestReader>,
    /// In each record of the response.
    pub(super) id: u16,
    /// The connection is for another request behind this one.
    pub(super) keeps: bool,
    /// Of the message-body, and not yet in its pipe.
    pub(super) body: Vec<u8>,
    /// All of the body has come.
    pub(super) is_whole: bool,
    /// The web server wants no answer any more.
    pub(super) is_aborted: bool,
    /// What it sends makes no sense: nothing more is read.
    pub(super) is_broken: bool,
    /// To be sent before anything else.
    pub(super) replies: Vec<u8>,
    pub(super) input: Option<OwnedFd>,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
}
