//! Which of our three forms a client reads, by its Accept header field (RFC 9110 12.5.1). It negotiates nothing else.

use super::weight::quality;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a browser.
    Html,
    /// For a program that asks for JSON: problem details (RFC 9457).
    Json,
    /// For everything else.
    Text,
}

impl Form {
    /// HTML if it is named, since only browsers name it. JSON if it is named with a higher weight. A mere `*/*` comes
    /// from a command line or a script: text.
    pub fn from_accept(accept: &[u8]) -> Form {
        let (mut html, mut json) = (0, 0);
        for range in accept.split(|&byte| byte == b',') {
            let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let media_type = parts.next().unwrap_or_default();
            if is_html(media_type) {
                html = html.max(quality(parts));
            } else if is_json(media_type) {
                json = json.max(quality(parts));
            }
        }
        match (html, json) {
            (0, 0) => Form::Text,
            (html, json) if json > html => Form::Json,
            _ => Form::Html,
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/problem+json",
            Form::Text => "text/plain; charset=utf-8",
        }
    }
}

fn is_html(media_type: &[u8]) -> bool {
    media_type.eq_ignore_ascii_case(b"text/html")
        || media_type.eq_ignore_ascii_case(b"application/xhtml+xml")
}

fn is_json(media_type: &[u8]) -> bool {
    let suffix = media_type
        .len()
        .checked_sub(b"+json".len())
        .map(|at| &media_type[at..]);
    media_type.eq_ignore_ascii_case(b"application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        use Form::*;
        let cases = [
            ("", Text),
            ("*/*", Text),
            ("text/*", Text),
            ("text/plain", Text),
            ("image/avif,image/webp,*/*;q=0.8", Text),
            ("text/htmlx, application/jsonx", Text),
            // Firefox, Chromium, Safari
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Html,
            ),
            (
                "text/html,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                Html,
            ),
            ("application/xhtml+xml", Html),
            ("TEXT/HTML", Html),
            ("text/html;level=1;q=0.1", Html),
            ("text/html ; q=0.001", Html),
            ("text/html;q=0", Text),
            ("text/html;q=0.000, */*", Text),
            ("text/html;q=0, application/json;q=0.1", Json),
            // axios, fetch in some libraries, curl -H
            ("application/json, text/plain, */*", Json),
            ("application/json", Json),
            ("Application/JSON; charset=utf-8", Json),
            ("application/problem+json", Json),
            ("application/vnd.api+JSON;q=0.2", Json),
            ("application/json;q=0", Text),
            ("application/json, text/html;q=0.9", Json),
            ("application/json;q=0.9, text/html", Html),
            ("application/json, text/html", Html),
            ("text/html;q=0.80, application/json;q=0.8", Html),
            ("text/html;q=0.79, application/json;q=0.8", Json),
            ("text/html;q=high", Html),
            (",;,;q=,", Text),
        ];
        for (accept, form) in cases {
            assert_eq!(Form::from_accept(accept.as_bytes()), form, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(accept in prop::collection::vec(any::<u8>(), 0..200)) {
            Form::from_accept(&accept);
        }

        #[test]
        fn near_misses(accept in "((text/html|\\+json|q)?[;,= ]{0,2}q?=?[0-9.]{0,5},?){0,4}") {
            Form::from_accept(accept.as_bytes());
        }
    }
}
