//! Our page in HTML, from its templates: page.html for all failures; waiting.html and waiting.css for those after which
//! it loads itself again. Each word in double braces is filled in as it is met, into one buffer.

use std::fmt::Write;

use super::Answer;
use super::words::{self, push_when};

const PAGE: &str = include_str!("page.html");
const WAITING: &str = include_str!("waiting.html");
const STYLE_OF_WAITING: &str = include_str!("waiting.css");

/// One page, while it is written.
pub(super) struct HtmlPage<'a> {
    answer: &'a Answer<'a>,
    /// With what stands around it; empty where the client sees none.
    reason: &'a str,
    /// In seconds; if the page loads itself again.
    reloads_after: Option<u32>,
}

impl HtmlPage<'_> {
    pub(super) fn new<'a>(answer: &'a Answer<'a>, reason: &'a str) -> HtmlPage<'a> {
        let retry_after = answer.failure.retry_after();
        HtmlPage {
            answer,
            reason,
            reloads_after: retry_after.filter(|_| answer.visitor.may_reload()),
        }
    }

    /// Adds the page to `out`.
    pub(super) fn write(&self, out: &mut String) {
        out.reserve(PAGE.len() + self.reason.len() + 1024);
        if self.reloads_after.is_some() {
            out.reserve(WAITING.len() + STYLE_OF_WAITING.len());
        }
        self.fill(PAGE, out);
    }

    fn fill(&self, template: &str, out: &mut String) {
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            out.push_str(before);
            self.part(name, out);
            rest = after;
        }
        out.push_str(rest);
    }

    /// What stands for a name in double braces. A String takes all that is written to it.
    fn part(&self, name: &str, out: &mut String) {
        let Answer {
            failure, visitor, ..
        } = *self.answer;
        let language = visitor.language;
        match name {
            "lang" => out.push_str(language.tag),
            "dir" => out.push_str(language.direction()),
            "title" => out.push_str(words::of(failure, language).0),
            "what" => out.push_str(words::of(failure, language).1),
            "status" => {
                let _ = write!(out, "{} {}", failure.status(), failure.phrase());
            }
            "reason" => out.push_str(self.reason),
            "advice" => {
                let sentences = words::advice(failure, visitor, true);
                if sentences != [""; 3] {
                    let seconds = failure.retry_after().unwrap_or_default();
                    out.push_str("<p>");
                    words::push(&sentences, language, seconds, out);
                    out.push_str("</p>\n");
                }
            }
            _ => {
                if let Some(seconds) = self.reloads_after {
                    self.part_of_waiting(name, seconds, out);
                }
            }
        }
    }

    fn part_of_waiting(&self, name: &str, seconds: u32, out: &mut String) {
        let language = self.answer.visitor.language;
        match name {
            "refresh" => {
                let _ = writeln!(out, r#"<meta http-equiv="refresh" content="{seconds}">"#);
            }
            "style" => self.fill(STYLE_OF_WAITING, out),
            "waiting" => self.fill(WAITING, out),
            "seconds" => {
                let _ = write!(out, "{seconds}");
            }
            "next" => out.push_str(language.next),
            "when" => push_when(language, seconds, out),
            "forms" => {
                for (category, form) in language.when {
                    let _ = write!(out, r#" data-{}="{form}""#, category.word());
                }
            }
            "now" => out.push_str(language.now),
            "try_now" => out.push_str(language.try_now),
            _ => {}
        }
    }
}
