//! Each form of each failure's answer, with and without a reason, and the owner's page.

use super::*;
use crate::cgi::response::{Parsed, parse};

const BUSY: Failure = Failure::Overloaded { retry_after: 5 };

fn answer(failure: Failure, form: Form) -> Answer<'static> {
    Answer {
        failure,
        visitor: Visitor {
            form,
            posted: Posted::Nothing,
            ..Visitor::unknown()
        },
        reason: None,
        own_page: None,
        cookies: Cookies::Unread,
    }
}

/// The same for one who has sent something.
fn answer_to_post(failure: Failure, form: Form, posted: Posted) -> Answer<'static> {
    let mut answer = answer(failure, form);
    answer.visitor.posted = posted;
    answer
}

/// Header fields as text, and the message-body.
fn split(answer: &Answer<'_>) -> (String, String) {
    let response = String::from_utf8(answer.to_cgi_response()).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// It says what became of it, and neither loads itself again nor has a link that would.
#[test]
fn a_form_that_was_sent_is_not_sent_again() {
    for failure in Failure::all(7) {
        for posted in [Posted::Here, Posted::Elsewhere] {
            let (head, body) = split(&answer_to_post(failure, Form::Html, posted));
            for again in ["http-equiv=\"refresh\"", "<script", "<a ", "location"] {
                assert!(!body.contains(again), "{failure:?}: {again}");
            }
            let status = failure.status().as_u16();
            assert_eq!(head.contains("Retry-After: 7\r\n"), status == 503);
            assert_eq!(body.contains("try again in 7 seconds"), status == 503);
            let is_unsaved = body.contains("Nothing was saved.");
            assert_eq!(body.contains("what you typed"), is_unsaved);
            let never_reached =
                status == 503 || matches!(failure, Failure::AppBroken | Failure::Misconfigured);
            assert_eq!(
                is_unsaved,
                never_reached && posted == Posted::Here,
                "{failure:?}"
            );
            let is_unknown = body.contains("It is not certain whether");
            let may_have_reached = matches!(status, 502 | 504) || failure == Failure::AppFailed;
            let expected = may_have_reached || never_reached && posted == Posted::Elsewhere;
            assert_eq!(is_unknown, expected, "{failure:?} {posted:?}");
        }
    }
}

#[test]
fn a_page_that_was_asked_for_loads_itself_again() {
    let (_, body) = split(&answer(BUSY, Form::Html));
    assert!(body.contains("<meta http-equiv=\"refresh\" content=\"5\">"));
    assert!(body.contains("<a href=\"\">Try now</a>"));
    assert!(body.contains("This site is very busy.</p>\n<p>This page tries again by itself.</p>"));
    assert!(body.contains(
        "Next try: <b data-one=\"in {n} second\" data-other=\"in {n} seconds\">in 5 seconds</b>"
    ));
    assert!(body.contains("animation: fill 5s linear"));
    assert!(body.contains("role=\"status\" aria-live=\"polite\""));
    assert!(!body.contains("saved"));
}

#[test]
fn a_page_is_in_one_language_and_its_direction() {
    for language in languages::ALL {
        for failure in Failure::all(5) {
            for form in [Form::Html, Form::Json, Form::Text] {
                let mut answer = answer(failure, form);
                answer.visitor.language = language;
                let (head, body) = split(&answer);
                let is_text = failure == Failure::NotAnApp;
                let tag = if is_text { "en" } else { language.tag };
                let field = format!("\r\nContent-Language: {tag}");
                assert!(head.contains(&field), "{head}");
                assert!(head.contains("\r\nVary: Accept, Accept-Language\r\n"));
                if is_text {
                    continue;
                }
                let (title, what) = words::of(failure, language);
                assert!(body.contains(what), "{body}");
                if form == Form::Html {
                    let dir = if tag == "ar" { "rtl" } else { "ltr" };
                    assert!(body.contains(&format!("<html lang=\"{tag}\" dir=\"{dir}\">")));
                    assert!(body.contains(&format!("<title>{title}</title>")));
                    assert!(body.contains(&format!("<h1>{title}</h1>")));
                }
            }
        }
    }
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
            let mut head_only = whole;
            head_only.visitor.head_only = true;
            assert_eq!(head_only.to_cgi_response(), &response[..consumed]);
        }
    }
}

/// No page needs anything from elsewhere, and none is large: those of a plain CGI are written for each request.
#[test]
fn html_for_a_browser() {
    for language in languages::ALL {
        for failure in Failure::all(5) {
            if failure == Failure::NotAnApp {
                continue;
            }
            let mut answer = answer(failure, Form::Html);
            answer.visitor.language = language;
            let (head, body) = split(&answer);
            assert!(head.contains("Content-Type: text/html; charset=utf-8\r\n"));
            assert!(body.starts_with("<!DOCTYPE html>"));
            assert!(!body.contains("{{") && !body.contains("://"));
            let is_503 = failure.status().as_u16() == 503;
            let most = if is_503 { 6000 } else { 3000 };
            assert!(body.len() <= most, "{} {}", language.tag, body.len());
            let refreshes = body.contains("http-equiv=\"refresh\" content=\"5\"");
            assert_eq!(refreshes, is_503, "{failure:?}");
            assert_eq!(body.contains("<script>"), is_503);
        }
    }
}

#[test]
fn json_and_text() {
    let (head, body) = split(&answer(BUSY, Form::Json));
    assert!(head.contains("Content-Type: application/problem+json\r\n"));
    assert_eq!(
        body,
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
         \"detail\":\"This site is very busy. Please try again in 5 seconds.\",\
         \"retry_after\":5}\n"
    );
    let (head, body) = split(&answer(BUSY, Form::Text));
    assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n"));
    assert_eq!(
        body,
        "503 Service Unavailable: This site is very busy. Please try again in 5 seconds.\n"
    );
    let (_, body) = split(&answer_to_post(BUSY, Form::Text, Posted::Here));
    assert_eq!(
        body,
        "503 Service Unavailable: This site is very busy. Nothing was saved. Please try again in 5 \
         seconds.\n"
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
    assert!(
        of(Form::Html).contains(
            "<pre lang=\"en\" dir=\"ltr\">&lt;b&gt;&amp;&quot;{{title}}?[1m\nline 2</pre>"
        )
    );
    assert!(of(Form::Json).ends_with(",\"reason\":\"<b>&\\\"{{title}}\\u001b[1m\\nline 2\"}\n"));
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
            let mut of_head = plain;
            of_head.visitor.head_only = true;
            assert_eq!(of_head.outline(), outline.as_bytes());
        }
    }
}

#[test]
fn the_owners_page_stands_in_for_a_503_in_html_only() {
    let own = OwnPage {
        html: "<p>{name}: {retry_after}".to_owned(),
        name: "wiki".to_owned(),
    };
    let with = |answer: Answer<'static>| {
        split(&Answer {
            own_page: Some(&own),
            ..answer
        })
    };
    for failure in Failure::all(5) {
        let is_503 = failure.status().as_u16() == 503;
        let (head, body) = with(answer(failure, Form::Html));
        assert_eq!(body == "<p>wiki: 5", is_503, "{failure:?}");
        assert_eq!(head.contains("\r\nRefresh: 5"), is_503);
        assert_eq!(head.contains("\r\nContent-Language: "), !is_503);
        let (head, body) = with(answer_to_post(failure, Form::Html, Posted::Here));
        assert_eq!(body == "<p>wiki: 5", is_503, "{failure:?}");
        assert!(!head.contains("Refresh"), "a form is not sent again");
    }
    for form in [Form::Json, Form::Text] {
        let (head, body) = with(answer(BUSY, form));
        assert!(!head.contains("Refresh") && body.contains("very busy"));
    }
}

#[test]
fn an_owners_page_that_loads_itself_again_keeps_its_own_time() {
    let own = OwnPage {
        html: "<meta http-equiv=\"refresh\" content=\"60\">".to_owned(),
        name: String::new(),
    };
    let (head, body) = split(&Answer {
        own_page: Some(&own),
        ..answer(BUSY, Form::Html)
    });
    assert!(!head.contains("Refresh"));
    assert_eq!(body, own.html);
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
