//! The answers that we write ourselves, whole, for people, programs and terminals. It does not decide when one is
//! needed.
#![forbid(unsafe_code)]

mod accept;
mod escape;
mod failure;

pub use accept::Form;
pub use escape::Html;
pub use failure::Failure;

use std::borrow::Cow;

use escape::{Json, Plain};

/// The HTML page for every failure; what is in double braces is filled in.
const TEMPLATE: &str = include_str!("overload.html");

/// For a person who has put the binary itself into cgi-bin, and for an app's hook that ran it by mistake.
const NOT_AN_APP: &str = include_str!("not_an_app.txt");

/// Upper limit for a reason on a page, in characters. Of a longer one the beginning is kept, which names the error, and
/// more of the end: of a traceback that is where it was raised.
const LONGEST_REASON: usize = 8000;
/// How much of a longer one is kept of its beginning.
const BEGINNING: usize = 2000;

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
    /// The form that the client reads. `Failure::NotAnApp` is always plain text.
    pub form: Form,
    /// The request was HEAD: the same header fields, and no message-body.
    pub head_only: bool,
    /// Whether the page may load itself again: the request was GET. Else a browser would lose the form that it has
    /// sent.
    pub refreshes: bool,
    /// The operator's reason; only for a client that may see it (`show-errors`).
    pub reason: Option<&'a str>,
    /// The owner's page (`overload-page`), in place of ours for a 503 in HTML.
    pub html: Option<&'a str>,
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
        let body = self.body(form, &reason.unwrap_or_default());
        let mut response = self.head(form, &body.len().to_string());
        if !self.head_only {
            response.push_str(&body);
        }
        response.into_bytes()
    }

    /// The response for another program to fill in (`page` in src/app/late.py), which learns of a reason when we are
    /// gone. In five parts with a NUL between: up to Content-Length's number; from there up to the reason; what stands
    /// before a reason and what behind it, if there is one; the rest. It has a message-body for HEAD as well, and
    /// neither `reason` nor `html` is in it.
    pub fn outline(&self) -> Vec<u8> {
        let form = self.form();
        let (opening, closing) = around_reason(form);
        let reason = format!("{DIVIDER}{opening}{DIVIDER}{closing}{DIVIDER}");
        let body = Answer {
            html: None,
            ..*self
        }
        .body(form, &reason);
        let outline = self.head(form, &DIVIDER.to_string()) + &body;
        outline.into_bytes()
    }

    fn form(&self) -> Form {
        match self.failure {
            Failure::NotAnApp => Form::Text,
            _ => self.form,
        }
    }

    fn head(&self, form: Form, length: &str) -> String {
        let mut head = format!(
            "Status: {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\n",
            self.failure.status(),
            self.failure.phrase(),
            form.media_type(),
        );
        if let Some(seconds) = self.failure.retry_after() {
            head.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if self.cookies != Cookies::Unread {
            head.push_str("Vary: Accept, Cookie\r\n");
        }
        if let Cookies::Set(cookie) = self.cookies {
            head.push_str(&format!("Set-Cookie: {cookie}\r\n"));
        }
        head + "\r\n"
    }

    /// `reason`: with what stands around it; empty where the client sees none.
    fn body(&self, form: Form, reason: &str) -> String {
        match form {
            Form::Html => self.html(reason),
            Form::Json => self.json(reason),
            Form::Text => self.text(reason),
        }
    }

    fn html(&self, reason: &str) -> String {
        let retry_after = self.failure.retry_after();
        if let (Some(own), Some(_)) = (self.html, retry_after) {
            return own.to_owned();
        }
        let refresh = retry_after.filter(|_| self.refreshes).map(|seconds| {
            (
                format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">\n"),
                format!(
                    "<div class=\"bar\"><i style=\"animation-duration:{seconds}s\"></i></div>\n"
                ),
            )
        });
        let (refresh, bar) = refresh.unwrap_or_default();
        fill(
            TEMPLATE,
            &[
                ("refresh", &refresh),
                ("title", self.failure.title()),
                ("sentence", &self.failure.sentence(self.refreshes)),
                ("bar", &bar),
                ("reason", reason),
                (
                    "status",
                    &format!("{} {}", self.failure.status(), self.failure.phrase()),
                ),
            ],
        )
    }

    fn json(&self, reason: &str) -> String {
        let mut json = format!(
            r#"{{"status":{},"error":{},"message":{}"#,
            self.failure.status(),
            Json(self.failure.phrase()),
            Json(&self.failure.sentence(false)),
        );
        if let Some(seconds) = self.failure.retry_after() {
            json.push_str(&format!(r#","retry_after":{seconds}"#));
        }
        json + reason + "}\n"
    }

    fn text(&self, reason: &str) -> String {
        let text = match self.failure {
            Failure::NotAnApp => NOT_AN_APP.to_owned(),
            failure => format!(
                "{} {}: {}\n",
                failure.status(),
                failure.phrase(),
                failure.sentence(false)
            ),
        };
        text + reason
    }
}

/// What stands before a reason, and what behind it.
fn around_reason(form: Form) -> (&'static str, &'static str) {
    match form {
        Form::Html => ("<pre>", "</pre>\n"),
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

/// Replaces each `{{name}}` by its value. Braces in a value, such as a reason, are left alone.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|value| value.0 == name);
        debug_assert!(value.is_some(), "no value for {name}");
        filled.push_str(value.map_or("", |value| value.1));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::response::{Parsed, parse};

    const BUSY: Failure = Failure::Overloaded { retry_after: 5 };

    fn answer(failure: Failure, form: Form) -> Answer<'static> {
        Answer {
            failure,
            form,
            head_only: false,
            refreshes: true,
            reason: None,
            html: None,
            cookies: Cookies::Unread,
        }
    }

    /// Header fields as text, and the message-body.
    fn split(answer: &Answer<'_>) -> (String, String) {
        let response = String::from_utf8(answer.to_cgi_response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn a_form_that_was_sent_is_not_left_behind() {
        let failure = Failure::Overloaded { retry_after: 7 };
        let get = Answer {
            refreshes: true,
            ..answer(failure, Form::Html)
        };
        let post = Answer {
            refreshes: false,
            ..get
        };
        let text = |answer: Answer<'_>| String::from_utf8(answer.to_cgi_response()).unwrap();
        assert!(text(get).contains("http-equiv=\"refresh\" content=\"7\""));
        assert!(text(get).contains("by itself in 7 seconds"));
        assert!(!text(post).contains("http-equiv=\"refresh\""));
        assert!(text(post).contains("Please try again in 7 seconds"));
        assert!(text(post).contains("Retry-After: 7"));
    }

    #[test]
    fn an_answer_that_depends_on_cookies_says_so() {
        let head = |cookies| {
            let (head, _) = split(&Answer {
                cookies,
                ..answer(BUSY, Form::Html)
            });
            let fields: Vec<String> = head.lines().map(str::to_owned).collect();
            let field = |name: &str| {
                let found = fields.iter().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_default().to_owned()
            };
            (field("Vary: ").ends_with(", Cookie"), field("Set-Cookie: "))
        };
        assert_eq!(head(Cookies::Unread), (false, String::new()));
        assert_eq!(head(Cookies::Read), (true, String::new()));
        assert_eq!(head(Cookies::Set("a=b")), (true, "a=b".to_owned()));
    }

    #[test]
    fn every_answer_is_a_whole_cgi_response() {
        for failure in Failure::all(7) {
            for form in [Form::Html, Form::Json, Form::Text] {
                let whole = answer(failure, form);
                let response = whole.to_cgi_response();
                let Ok(Parsed::Head(head)) = parse(&response) else {
                    panic!("{failure:?}");
                };
                let consumed = head.size();
                let field = |name| {
                    head.field(name)
                        .map(|value| String::from_utf8_lossy(&value).into_owned())
                };
                let text = |value: &dyn std::fmt::Display| Some(value.to_string());
                let status = format!("{} {}", failure.status(), failure.phrase());
                assert_eq!(field("Status"), text(&status));
                let size = response.len() - consumed;
                assert_eq!(field("Content-Length"), text(&size));
                assert_eq!(field("Cache-Control"), text(&"no-store"));
                let has_seconds = failure.status().as_u16() == 503;
                assert_eq!(field("Retry-After"), has_seconds.then(|| "7".to_owned()));
                let head_only = Answer {
                    head_only: true,
                    ..whole
                }
                .to_cgi_response();
                assert_eq!(head_only, &response[..consumed]);
            }
        }
    }

    #[test]
    fn html_for_a_browser() {
        for failure in Failure::all(5) {
            if failure == Failure::NotAnApp {
                continue;
            }
            let (head, body) = split(&answer(failure, Form::Html));
            assert!(head.contains("Content-Type: text/html; charset=utf-8\r\n"));
            assert!(
                body.starts_with("<!DOCTYPE html>") && body.len() < 3072,
                "{}",
                body.len()
            );
            assert!(!body.contains("{{") && !body.contains("<script") && !body.contains("://"));
            assert!(body.contains(failure.title()));
            let refreshes = body.contains("http-equiv=\"refresh\" content=\"5\"");
            let is_503 = failure.status().as_u16() == 503;
            assert_eq!(refreshes, is_503, "{failure:?}");
            assert_eq!(body.contains("animation-duration:5s"), is_503);
        }
        let (_, body) = split(&answer(BUSY, Form::Html));
        let sentence = "This site is very busy. This page tries again by itself in 5 seconds.";
        assert!(body.contains(sentence));
    }

    #[test]
    fn json_and_text() {
        let (head, body) = split(&answer(BUSY, Form::Json));
        assert!(head.contains("Content-Type: application/json\r\n"));
        assert_eq!(
            body,
            "{\"status\":503,\"error\":\"Service Unavailable\",\"message\":\"This site is very \
             busy. Please try again in 5 seconds.\",\"retry_after\":5}\n"
        );
        let (head, body) = split(&answer(BUSY, Form::Text));
        assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n"));
        assert_eq!(
            body,
            "503 Service Unavailable: This site is very busy. Please try again in 5 seconds.\n"
        );
    }

    #[test]
    fn a_reason_is_escaped_and_never_filled_in() {
        let reason = Some("<b>&\"{{title}}\u{1b}[1m\nline 2");
        let of = |form| {
            split(&Answer {
                reason,
                ..answer(Failure::AppBroken, form)
            })
            .1
        };
        assert!(of(Form::Html).contains("<pre>&lt;b&gt;&amp;&quot;{{title}}?[1m\nline 2</pre>"));
        assert!(
            of(Form::Json).ends_with(",\"reason\":\"<b>&\\\"{{title}}\\u001b[1m\\nline 2\"}\n")
        );
        assert!(of(Form::Text).ends_with(".\n\n<b>&\"{{title}}?[1m\nline 2\n"));
    }

    #[test]
    fn a_long_reason_is_cut_in_its_middle() {
        let long = format!("Error: x\n{}\nline 9\n", "é".repeat(20_000));
        let (_, body) = split(&Answer {
            reason: Some(&long),
            ..answer(Failure::AppFailed, Form::Text)
        });
        assert!(body.contains("\n\nError: x\né") && body.ends_with("é\nline 9\n"));
        assert!(body.contains("é\n...\né"));
        assert!(body.chars().count() < 8_300, "{}", body.len());
        assert_eq!(shortened(&"x".repeat(8_000)), "x".repeat(8_000));
    }

    /// `page` in src/app/late.py does this.
    #[test]
    fn an_outline_that_is_filled_in_is_the_page() {
        for failure in Failure::all(5) {
            for form in [Form::Html, Form::Json, Form::Text] {
                let plain = answer(failure, form);
                let outline = String::from_utf8(plain.outline()).unwrap();
                let parts: Vec<&str> = outline.split(DIVIDER).collect();
                let [start, head, opening, closing, end] = parts[..] else {
                    panic!("{outline}");
                };
                for reason in [None, Some("a <b> & \"c\"")] {
                    let form = plain.form();
                    let reason_part = reason.map_or(String::new(), |reason| {
                        format!("{opening}{}{closing}", escaped(form, reason))
                    });
                    let (_, before) = head.split_once("\r\n\r\n").unwrap();
                    let length = before.len() + reason_part.len() + end.len();
                    let filled = format!("{start}{length}{head}{reason_part}{end}");
                    let page = Answer { reason, ..plain }.to_cgi_response();
                    assert_eq!(filled, String::from_utf8(page).unwrap());
                }
                let of_head = Answer {
                    head_only: true,
                    ..plain
                };
                assert_eq!(of_head.outline(), outline.as_bytes());
            }
        }
    }

    #[test]
    fn the_owners_page_stands_in_for_overload_in_html_only() {
        let with = |failure, form| {
            split(&Answer {
                html: Some("<p>own"),
                ..answer(failure, form)
            })
            .1
        };
        assert_eq!(with(BUSY, Form::Html), "<p>own");
        assert_ne!(with(BUSY, Form::Text), "<p>own");
        assert_ne!(with(Failure::TimedOut, Form::Html), "<p>own");
    }

    #[test]
    fn not_an_app_is_plain_text_in_every_form() {
        for form in [Form::Html, Form::Json, Form::Text] {
            let (head, body) = split(&answer(Failure::NotAnApp, form));
            assert!(head.starts_with("Status: 500 ") && head.contains("text/plain"));
            for words in [
                "polycgi runs here",
                "polycgi new",
                "#!/usr/local/bin/polycgi -\n",
            ] {
                assert!(body.contains(words), "{words}");
            }
            assert!(body.contains("#!/usr/bin/env") && body.contains("env -u GATEWAY_INTERFACE"));
            assert!(body.lines().all(|line| line.len() < 80));
        }
    }
}
