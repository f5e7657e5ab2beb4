//! What a person is told of a failure: its title, what happened, and what comes next. The sentences themselves are each
//! language's.

use std::fmt::Write;

use super::failure::Failure;
use super::language::Language;
use super::visitor::{Posted, Visitor};

/// A title, and what happened.
pub(super) fn of(failure: Failure, language: &Language) -> (&'static str, &'static str) {
    match failure {
        Failure::AppBroken => language.app_broken,
        Failure::AppFailed => language.app_failed,
        Failure::Away { .. } => (language.one_moment, language.away),
        Failure::BadGateway => language.bad_gateway,
        Failure::BadRequest => language.bad_request,
        Failure::BodyTooLarge => language.body_too_large,
        Failure::HeaderTooLarge => language.header_too_large,
        Failure::Misconfigured => language.misconfigured,
        // It is a text of its own, and no page.
        Failure::NotAnApp => ("", ""),
        Failure::NotFound => language.not_found,
        Failure::Overloaded { .. } => (language.one_moment, language.busy),
        Failure::RequestTimeout => language.request_timeout,
        Failure::Starting { .. } => (language.one_moment, language.starting),
        Failure::TimedOut => language.timed_out,
    }
}

/// What became of what the client has sent, how to keep it, and what comes next. Some of these sentences are empty.
/// `is_page`: for a browser.
pub(super) fn advice(failure: Failure, visitor: Visitor, is_page: bool) -> [&'static str; 3] {
    let language = visitor.language;
    let [saved, keep] = match (visitor.posted, receipt(failure)) {
        (Posted::Nothing, _) | (_, Receipt::Untold) => ["", ""],
        (Posted::Here, Receipt::NotByApp) if is_page => [language.unsaved, language.keep],
        (Posted::Here, Receipt::NotByApp) => [language.unsaved, ""],
        (Posted::Here, Receipt::ByApp) | (Posted::Elsewhere, _) => [language.unknown, ""],
    };
    let next = match (failure.retry_after(), visitor.posted, receipt(failure)) {
        (Some(_), Posted::Nothing, _) if is_page => language.by_itself,
        (Some(_), ..) => language.again,
        (None, Posted::Nothing, Receipt::ByApp) => language.again_or_tell,
        (None, ..) => "",
    };
    [saved, keep, next]
}

/// Whether the app has got a request.
enum Receipt {
    /// The app has got none of it.
    NotByApp,
    /// The app may have got it.
    ByApp,
    /// The failure is the request's own, and its sentence says all.
    Untold,
}

fn receipt(failure: Failure) -> Receipt {
    match failure {
        Failure::AppBroken
        | Failure::Away { .. }
        | Failure::Misconfigured
        | Failure::Overloaded { .. }
        | Failure::Starting { .. } => Receipt::NotByApp,
        Failure::AppFailed | Failure::BadGateway | Failure::TimedOut => Receipt::ByApp,
        Failure::BadRequest
        | Failure::BodyTooLarge
        | Failure::HeaderTooLarge
        | Failure::NotAnApp
        | Failure::NotFound
        | Failure::RequestTimeout => Receipt::Untold,
    }
}

/// Adds those sentences that are not empty. `seconds`: for `{when}`.
pub(super) fn push(sentences: &[&str], language: &Language, seconds: u32, out: &mut String) {
    let sentences = sentences.iter().filter(|sentence| !sentence.is_empty());
    for (number, sentence) in sentences.enumerate() {
        if number > 0 {
            out.push_str(language.space);
        }
        let (before, after) = sentence.split_once("{when}").unwrap_or((sentence, ""));
        out.push_str(before);
        if before.len() < sentence.len() {
            push_when(language, seconds, out);
        }
        out.push_str(after);
    }
}

/// Adds 'in 5 seconds'.
pub(super) fn push_when(language: &Language, seconds: u32, out: &mut String) {
    let form = language.when(seconds);
    let Some((before, after)) = form.split_once("{n}") else {
        return out.push_str(form);
    };
    // A String takes all that is written to it.
    let _ = write!(out, "{before}{seconds}{after}");
}
