//! The answers that we write ourselves, whole, for people, programs and terminals. It does not decide when one is
//! needed.
#![forbid(unsafe_code)]

mod accept;
mod escape;
mod failure;

pub use accept::Form;
pub use failure::Failure;

use escape::{Html, Json, Plain};

/// The HTML page for every failure; what is in double braces is filled in.
const TEMPLATE: &str = include_str!("overload.html");

/// For a person who has put the binary itself into cgi-bin, and for an app's hook that ran it by mistake.
const NOT_AN_APP: &str = include_str!("not_an_app.txt");

/// A time for Retry-After: whole seconds, at least one (RFC 9110 10.2.3).
pub fn whole_seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000))
        .unwrap_or(u32::MAX)
        .max(1)
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
}

impl Answer<'_> {
    /// A document response (RFC 3875 6.2.1) that no cache may keep.
    pub fn to_cgi_response(&self) -> Vec<u8> {
        let form = if self.failure == Failure::NotAnApp {
            Form::Text
        } else {
            self.form
        };
        let body = match form {
            Form::Html => self.html(),
            Form::Json => self.json(),
            Form::Text => self.text(),
        };
        let mut response = format!(
            "Status: {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n",
            self.failure.status(),
            self.failure.phrase(),
            form.media_type(),
            body.len(),
        );
        if let Some(seconds) = self.failure.retry_after() {
            response.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        response.push_str("\r\n");
        if !self.head_only {
            response.push_str(&body);
        }
        response.into_bytes()
    }

    fn html(&self) -> String {
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
        let reason = self
            .reason
            .map(|reason| format!("<pre>{}</pre>\n", Html(reason)));
        fill(
            TEMPLATE,
            &[
                ("refresh", &refresh),
                ("title", self.failure.title()),
                ("sentence", &self.failure.sentence(self.refreshes)),
                ("bar", &bar),
                ("reason", &reason.unwrap_or_default()),
                (
                    "status",
                    &format!("{} {}", self.failure.status(), self.failure.phrase()),
                ),
            ],
        )
    }

    fn json(&self) -> String {
        let mut json = format!(
            r#"{{"status":{},"error":{},"message":{}"#,
            self.failure.status(),
            Json(self.failure.phrase()),
            Json(&self.failure.sentence(false)),
        );
        if let Some(seconds) = self.failure.retry_after() {
            json.push_str(&format!(r#","retry_after":{seconds}"#));
        }
        if let Some(reason) = self.reason {
            json.push_str(&format!(r#","reason":{}"#, Json(reason)));
        }
        json.push_str("}\n");
        json
    }

    fn text(&self) -> String {
        let mut text = match self.failure {
            Failure::NotAnApp => NOT_AN_APP.to_owned(),
            failure => format!(
                "{} {}: {}\n",
                failure.status(),
                failure.phrase(),
                failure.sentence(false)
            ),
        };
        if let Some(reason) = self.reason {
            text.push_str(&format!("\n{}\n", Plain(reason.trim_end())));
        }
        text
    }
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
