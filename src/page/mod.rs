//! The answers that we write ourselves, whole, for people, programs and terminals. It does not decide when one is
//! needed.
#![forbid(unsafe_code)]

mod accept;
mod escape;
mod failure;
mod html;
mod language;
mod languages;
mod own_page;
mod visitor;
mod weight;
mod words;

pub use accept::Form;
pub use escape::Html;
pub use failure::Failure;
pub use language::Language;
pub use own_page::OwnPage;
pub use visitor::{Posted, Visitor};

use std::borrow::Cow;
use std::fmt::{Display, Write};

use escape::{Json, Plain};
use html::HtmlPage;

/// For a person who has put the binary itself into cgi-bin, and for an app's hook that ran it by mistake.
const NOT_AN_APP: &str = include_str!("not_an_app.txt");

/// Upper limit for a reason on a page, in characters. Of a longer one the beginning is kept, which names the error, and
/// more of the end: of a traceback that is where it was raised.
const LONGEST_REASON: usize = 8000;
/// How much of a longer one is kept of its beginning.
const BEGINNING: usize = 2000;

/// Room for the head of an answer, in bytes.
const HEAD: usize = 512;

/// What divides an [outline](Answer::outline); no page contains it, since control characters are replaced.
const DIVIDER: char = '\0';

/// A time for Retry-After: whole seconds, at least one (RFC 9110 10.2.3).
pub fn whole_seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// What an answer has to do with cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies<'a> {
    /// It would be the same without the request's.
    #[default]
    Unread,
    /// Those of the request say how long its client has to wait.
    Read,
    /// The same, and it sets this one: the value of a Set-Cookie field.
    Set(&'a str),
}

/// An answer of our own, in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What went wrong.
    pub failure: Failure,
    /// Whom it is for.
    pub visitor: Visitor,
    /// The operator's reason; only for a client that may see it (`show-errors`).
    pub reason: Option<&'a str>,
    /// The owner's page (`overload-page`), in place of ours for a 503 in HTML.
    pub own_page: Option<&'a OwnPage>,
    /// Of the waiting room.
    pub cookies: Cookies<'a>,
}

impl Answer<'_> {
    /// A document response (RFC 3875 6.2.1) that no cache may keep.
    pub fn to_cgi_response(&self) -> Vec<u8> {
        let form = self.form();
        let reason = self.reason.map(|reason| {
            let (opening, closing) = around_reason(form);
            format!("{opening}{}{closing}", escaped(form, &shortened(reason)))
        });
        let body = self.body(&reason.unwrap_or_default());
        let mut response = self.head(body.len(), body.len());
        if !self.visitor.head_only {
            response.push_str(&body);
        }
        response.into_bytes()
    }

    /// The response for another program to fill in (`page` in src/app/late.py), which learns of a reason when we are
    /// gone. In five parts with a NUL between: up to Content-Length's number; from there up to the reason; what stands
    /// before a reason and what behind it, if there is one; the rest. It has a message-body for HEAD as well, and
    /// neither `reason` nor `own_page` is in it.
    pub fn outline(&self) -> Vec<u8> {
        let (opening, closing) = around_reason(self.form());
        let reason = format!("{DIVIDER}{opening}{DIVIDER}{closing}{DIVIDER}");
        let plain = Answer {
            own_page: None,
            ..*self
        };
        let body = plain.body(&reason);
        let mut outline = plain.head(DIVIDER, body.len());
        outline.push_str(&body);
        outline.into_bytes()
    }

    fn form(&self) -> Form {
        match self.failure {
            Failure::NotAnApp => Form::Text,
            _ => self.visitor.form,
        }
    }

    /// The owner's page with the seconds of Retry-After, if that is the answer.
    fn own_page(&self) -> Option<(&OwnPage, u32)> {
        let page = self.own_page.filter(|_| self.form() == Form::Html)?;
        Some((page, self.failure.retry_after()?))
    }

    /// `room`: for what is to follow, in bytes.
    fn head(&self, length: impl Display, room: usize) -> String {
        let mut head = String::with_capacity(HEAD + room);
        // A String takes all that is written to it.
        let _ = write!(
            head,
            "Status: {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nVary: Accept, Accept-Language",
            self.failure.status(),
            self.failure.phrase(),
            self.form().media_type(),
        );
        if self.cookies != Cookies::Unread {
            head.push_str(", Cookie");
        }
        head.push_str("\r\n");
        if let Cookies::Set(cookie) = self.cookies {
            let _ = write!(head, "Set-Cookie: {cookie}\r\n");
        }
        if let Some(seconds) = self.failure.retry_after() {
            let _ = write!(head, "Retry-After: {seconds}\r\n");
        }
        match self.own_page() {
            Some((page, seconds)) if self.visitor.may_reload() && !page.has_refresh() => {
                let _ = write!(head, "Refresh: {seconds}\r\n");
            }
            Some(_) => {}
            None => {
                let tag = match self.failure {
                    Failure::NotAnApp => "en",
                    _ => self.visitor.language.tag,
                };
                let _ = write!(head, "Content-Language: {tag}\r\n");
            }
        }
        head.push_str("\r\n");
        head
    }

    /// `reason`: with what stands around it; empty where the client sees none.
    fn body(&self, reason: &str) -> String {
        let mut body = String::new();
        match (self.own_page(), self.form()) {
            (Some((page, seconds)), _) => page.fill(seconds, &mut body),
            (None, Form::Html) => HtmlPage::new(self, reason).write(&mut body),
            (None, Form::Json) => self.push_json(reason, &mut body),
            (None, Form::Text) => self.push_text(reason, &mut body),
        }
        body
    }

    /// Problem details (RFC 9457), with `retry_after` and `reason` besides.
    fn push_json(&self, reason: &str, out: &mut String) {
        let _ = write!(
            out,
            r#"{{"type":"about:blank","title":"{}","status":{},"detail":""#,
            self.failure.phrase(),
            self.failure.status(),
        );
        self.push_sentences(out);
        out.push('"');
        if let Some(seconds) = self.failure.retry_after() {
            let _ = write!(out, r#","retry_after":{seconds}"#);
        }
        out.push_str(reason);
        out.push_str("}\n");
    }

    fn push_text(&self, reason: &str, out: &mut String) {
        if self.failure == Failure::NotAnApp {
            out.push_str(NOT_AN_APP);
        } else {
            let _ = write!(out, "{} {}: ", self.failure.status(), self.failure.phrase());
            self.push_sentences(out);
            out.push('\n');
        }
        out.push_str(reason);
    }

    /// All that a person is told, in one line.
    fn push_sentences(&self, out: &mut String) {
        let language = self.visitor.language;
        let (_, what) = words::of(self.failure, language);
        let [saved, keep, next] = words::advice(self.failure, self.visitor, false);
        let seconds = self.failure.retry_after().unwrap_or_default();
        words::push(&[what, saved, keep, next], language, seconds, out);
    }
}

/// What stands before a reason, and what behind it.
fn around_reason(form: Form) -> (&'static str, &'static str) {
    match form {
        Form::Html => ("<pre lang=\"en\" dir=\"ltr\">", "</pre>\n"),
        Form::Json => (",\"reason\":", ""),
        Form::Text => ("\n", "\n"),
    }
}

fn escaped(form: Form, reason: &str) -> String {
    match form {
        Form::Html => Html(reason).to_string(),
        Form::Json => Json(reason).to_string(),
        Form::Text => Plain(reason).to_string(),
    }
}

/// The reason without blanks at its end, and no longer than [`LONGEST_REASON`].
fn shortened(reason: &str) -> Cow<'_, str> {
    let reason = reason.trim_end();
    let count = reason.chars().count();
    if count <= LONGEST_REASON {
        return reason.into();
    }
    let beginning: String = reason.chars().take(BEGINNING).collect();
    let end = reason.chars().skip(count - (LONGEST_REASON - BEGINNING));
    format!("{beginning}\n...\n{}", end.collect::<String>()).into()
}

#[cfg(test)]
mod tests;
