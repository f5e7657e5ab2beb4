//! The owner's page (`overload-page`): what is filled in, and whether it loads itself again. Where it lies is not known
//! here.

use std::fmt::Write;

use super::escape::Html;

const RETRY_AFTER: &str = "{retry_after}";
const NAME: &str = "{name}";

/// The owner's page, in place of ours for a 503 in HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPage {
    /// As it is in its file.
    pub html: String,
    /// The app's name.
    pub name: String,
}

impl OwnPage {
    /// Adds the page to `out` with each `{retry_after}` and `{name}` filled in. Other braces stay.
    pub(super) fn fill(&self, retry_after: u32, out: &mut String) {
        out.reserve(self.html.len());
        let mut rest = self.html.as_str();
        while let Some(at) = memchr::memchr(b'{', rest.as_bytes()) {
            let (before, braced) = rest.split_at(at);
            out.push_str(before);
            // A String takes all that is written to it.
            rest = if let Some(rest) = braced.strip_prefix(RETRY_AFTER) {
                let _ = write!(out, "{retry_after}");
                rest
            } else if let Some(rest) = braced.strip_prefix(NAME) {
                let _ = write!(out, "{}", Html(&self.name));
                rest
            } else {
                out.push('{');
                &braced[1..]
            };
        }
        out.push_str(rest);
    }

    /// Whether it has a `<meta http-equiv="refresh">` itself.
    pub(super) fn has_refresh(&self) -> bool {
        let bytes = self.html.as_bytes();
        memchr::memchr_iter(b'<', bytes).any(|at| is_refresh(&bytes[at + 1..]))
    }
}

/// Whether a tag is such an element; it begins behind its `<`.
fn is_refresh(tag: &[u8]) -> bool {
    let Some(tag) = without(tag, b"meta") else {
        return false;
    };
    let end = memchr::memchr(b'>', tag).unwrap_or(tag.len());
    let tag = &tag[..end];
    memchr::memchr2_iter(b'h', b'H', tag).any(|at| {
        let value = without(&tag[at..], b"http-equiv")
            .map(<[u8]>::trim_ascii_start)
            .and_then(|rest| rest.strip_prefix(b"="))
            .map(<[u8]>::trim_ascii_start);
        let value = value.map(|value| match value {
            [b'"' | b'\'', value @ ..] => value,
            value => value,
        });
        value.is_some_and(|value| without(value, b"refresh").is_some())
    })
}

/// What follows a word, in upper or lower case.
fn without<'a>(bytes: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = bytes.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> OwnPage {
        OwnPage {
            html: html.to_owned(),
            name: "a<b>&\"'".to_owned(),
        }
    }

    fn filled(html: &str) -> String {
        let mut out = String::new();
        page(html).fill(7, &mut out);
        out
    }

    #[test]
    fn two_names_are_filled_in() {
        let name = "a&lt;b&gt;&amp;&quot;&#39;";
        let cases = [
            ("", ""),
            ("in {retry_after} s", "in 7 s"),
            ("{retry_after}{retry_after}", "77"),
            (
                "<p title=\"{name}\">{name}",
                &format!("<p title=\"{name}\">{name}"),
            ),
            // what is not a name of ours
            ("p { color: red } é{", "p { color: red } é{"),
            (
                "{ name } {Name} {names} {{}}",
                "{ name } {Name} {names} {{}}",
            ),
            ("{{retry_after}}", "{7}"),
            ("{retry_after", "{retry_after"),
        ];
        for (html, expected) in cases {
            assert_eq!(filled(html), expected, "{html}");
        }
    }

    #[test]
    fn a_page_that_loads_itself_again_is_known() {
        let cases = [
            ("<meta http-equiv=\"refresh\" content=\"5\">", true),
            (
                "<!DOCTYPE html><META CONTENT=9 HTTP-EQUIV = 'Refresh'>",
                true,
            ),
            ("<meta\nhttp-equiv=refresh content=5>", true),
            ("<p>busy", false),
            ("<meta charset=utf-8><p>http-equiv=refresh", false),
            (
                "<meta http-equiv=\"content-type\" content=\"refresh\">",
                false,
            ),
            ("<meta http-equiv", false),
            ("<meta", false),
            ("<", false),
        ];
        for (html, expected) in cases {
            assert_eq!(page(html).has_refresh(), expected, "{html}");
        }
    }
}
