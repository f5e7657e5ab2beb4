//! To which requests a browser adds a ticket: the attributes of its Set-Cookie field (RFC 6265 4.1).

use super::{NAME, Ticket};
use crate::cgi::uri;

/// The longest Path: browsers ignore an attribute that is longer than 1,024 bytes (RFC 6265bis 5.6).
const LONGEST_PATH: usize = 1024;

/// Where a ticket counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    path: String,
    is_secure: bool,
}

impl Scope {
    /// Of the app that a request is for. `value`: its meta-variables; empty where there is none of this name.
    pub fn of<'a>(value: impl Fn(&str) -> &'a [u8]) -> Scope {
        let is_https = |name| {
            let value: &[u8] = value(name);
            value.eq_ignore_ascii_case(b"on")
                || value == b"1"
                || value.eq_ignore_ascii_case(b"https")
        };
        Scope {
            path: path(value("REQUEST_URI"), value("SCRIPT_NAME")),
            is_secure: is_https("HTTPS") || is_https("REQUEST_SCHEME"),
        }
    }

    /// The value of a Set-Cookie field. `value`: the [signed](super::SigningKeys::sign) ticket. A script of the page does
    /// not see it (HttpOnly), and other sites' forms and frames do not send it (SameSite).
    pub fn set_cookie(&self, ticket: &Ticket, value: &str) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!(
            "{NAME}={value}; Path={}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            self.path,
            ticket.lifetime().as_secs(),
        )
    }
}

/// The app's path as its client has written it: a browser compares characters and decodes nothing. Where the client has
/// asked for another path than SCRIPT_NAME, which a web server has rewritten, it is `/`. It ends before the first
/// segment that can't stand in a Path: then it is the path of more than the app, to which one ticket more does no harm.
fn path(request_uri: &[u8], script_name: &[u8]) -> String {
    let sent = uri::sent_prefix(request_uri, script_name).unwrap_or_default();
    let can_stand = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b';';
    let good = sent
        .iter()
        .take(LONGEST_PATH)
        .take_while(|byte| can_stand(byte));
    let good = good.count();
    let path = match good < sent.len() {
        true => &sent[..memchr::memrchr(b'/', &sent[..good]).unwrap_or(0)],
        false => sent,
    };
    let path = std::str::from_utf8(path).unwrap_or_default().trim_end();
    // A Path that does not begin with a slash is ignored, and one of two would be another host's in an address.
    match path.starts_with('/') {
        true => path.to_owned(),
        false => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_path_is_the_app_s_as_the_client_wrote_it() {
        // REQUEST_URI, SCRIPT_NAME, Path
        let cases = [
            (
                "/cgi-bin/wiki.cgi/Page?x",
                "/cgi-bin/wiki.cgi",
                "/cgi-bin/wiki.cgi",
            ),
            ("/wiki.cgi?x", "/wiki.cgi", "/wiki.cgi"),
            ("/wiki.cgi", "/wiki.cgi", "/wiki.cgi"),
            ("/a/b/x", "/a", "/a"),
            ("/a/", "/a/", "/a/"),
            ("/a/b", "/a/", "/a/"),
            ("http://host/wiki/x", "/wiki", "/wiki"),
            // at the site's root, rewritten, of another segment
            ("/x", "", "/"),
            ("/wiki/Page", "/cgi-bin/wiki.cgi", "/"),
            ("/wikix", "/wiki", "/"),
            ("/WIKI/x", "/wiki", "/"),
            ("", "/wiki", "/"),
            ("*", "", "/"),
            // encoded by the client
            ("/my%20wiki/x", "/my wiki", "/my%20wiki"),
            ("/%77iki/x", "/wiki", "/%77iki"),
            ("/a%3Bb/x", "/a;b", "/a%3Bb"),
            ("/caf%C3%A9", "/café", "/caf%C3%A9"),
            ("/wiki%2Fx", "/wiki", "/"),
            // what can't stand in a Path
            ("/site/a;b/x", "/site/a;b", "/site"),
            ("/a;b/x", "/a;b", "/"),
            ("/site/café/x", "/site/café", "/site"),
            ("/site/a\tb", "/site/a\tb", "/site"),
            ("/a /x", "/a ", "/a"),
        ];
        for (request_uri, script_name, expected) in cases {
            let found = path(request_uri.as_bytes(), script_name.as_bytes());
            assert_eq!(found, expected, "{request_uri} {script_name}");
        }
        let long = format!("/short/{}", "x".repeat(LONGEST_PATH));
        assert_eq!(path(long.as_bytes(), long.as_bytes()), "/short");
    }

    #[test]
    fn a_cookie_is_secure_where_the_request_was() {
        let ticket = Ticket::new(1, Duration::from_secs(1_800_000_000), 7);
        let set = |variables: &[(&str, &'static str)]| {
            let variables = variables.to_vec();
            let value = move |name: &str| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map_or(&b""[..], |(_, value)| value.as_bytes())
            };
            Scope::of(value).set_cookie(&ticket, "VALUE")
        };
        let plain = "polycgi-ticket=VALUE; Path=/; Max-Age=607; HttpOnly; SameSite=Lax";
        for variables in [
            &[][..],
            &[("HTTPS", "")],
            &[("HTTPS", "off")],
            &[("REQUEST_SCHEME", "http")],
        ] {
            assert_eq!(set(variables), plain, "{variables:?}");
        }
        for variables in [
            [("HTTPS", "on")],
            [("HTTPS", "ON")],
            [("HTTPS", "1")],
            [("REQUEST_SCHEME", "https")],
        ] {
            assert_eq!(set(&variables), format!("{plain}; Secure"), "{variables:?}");
        }
    }

    proptest! {
        #[test]
        fn no_path_adds_an_attribute(uri: Vec<u8>, name: Vec<u8>, end: Vec<u8>) {
            let both = [&b"/"[..], &name, b"/", &end].concat();
            let script_name = [&b"/"[..], &name].concat();
            for path in [path(&uri, &name), path(&both, &script_name)] {
                prop_assert!(path.starts_with('/') && path.len() <= LONGEST_PATH);
                prop_assert!(path.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';'));
                prop_assert!(!path.ends_with(' '));
            }
        }
    }
}
