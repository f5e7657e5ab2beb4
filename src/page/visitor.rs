//! What a request says of its answer: the form, the language, and whether the client may ask again by itself. It does
//! not know what went wrong.

use super::accept::Form;
use super::language::Language;
use super::languages;
use crate::cgi::request::Request;

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The form that the client reads. `Failure::NotAnApp` is always plain text.
    pub form: Form,
    /// The language that the client reads.
    pub language: &'static Language,
    /// The request was HEAD: the same header fields, and no message-body.
    pub head_only: bool,
    /// What became of what the client has sent.
    pub posted: Posted,
}

/// Where the request may have got to, if it can change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Perhaps to another program, since the answer is a web server's error document.
    Elsewhere,
    /// To us, and from here to the app or not.
    Here,
    /// The request was GET or HEAD: a page may load itself again.
    Nothing,
}

impl Visitor {
    /// The one who has sent this request.
    pub fn of(request: &Request<'_>) -> Visitor {
        Visitor {
            form: Form::from_accept(request.accept()),
            language: languages::from_accept(request.accept_language()),
            head_only: request.is_head(),
            posted: match (request.may_change_something(), request.is_error_page()) {
                (false, _) => Posted::Nothing,
                (true, false) => Posted::Here,
                (true, true) => Posted::Elsewhere,
            },
        }
    }

    /// One of whom nothing is known.
    pub fn unknown() -> Visitor {
        Visitor {
            form: Form::Text,
            language: languages::DEFAULT,
            head_only: false,
            posted: Posted::Here,
        }
    }

    /// Whether it is a browser that gets a page, and can come back by itself.
    pub fn is_browser(self) -> bool {
        self.form == Form::Html && self.may_reload()
    }

    /// Whether the page may load itself again. Else a browser would lose the form that it has sent, or send it twice.
    pub(super) fn may_reload(self) -> bool {
        self.posted == Posted::Nothing
    }
}
