//! Message-bodies that nginx announces and may never send. A subrequest (`auth_request`, `mirror`, SSI) and an internal
//! redirect get the client's Content-Length, whether or not nginx sends a body with them, and SCGI has no mark for a
//! body's end.
//!
//! Measured with nginx 1.22.1. CONTENT_LENGTH is what nginx has counted, HTTP_CONTENT_LENGTH what the client sent:
//! | | CONTENT_LENGTH | then comes |
//! | --- | --- | --- |
//! | a client's request | all | all, with the header |
//! | with `scgi_request_buffering off` | what has come by then, often 0 | that with the header, then the rest |
//! | with `scgi_pass_request_body off` | all | nothing |
//! | a subrequest, once the body is read | all | all, with the header |
//! | a subrequest before that, or one without it | 0 | nothing |
//! | an internal redirect, once the body was passed on unbuffered, or was too large | 0 | nothing |
//!
//! So a CONTENT_LENGTH of 0 means one of two things: the body follows, or there is none. The path tells them apart. A
//! subrequest is for another path than the client's. So is a request whose path nginx has rewritten, but a rewritten
//! path mostly keeps a part of the client's.

use super::uri;

/// Why nothing may come of a message-body. The first byte of it ends the doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// `Elsewhere`, of a CGI that fcgiwrap runs. If no body comes, its input ends without a byte.
    Cgi,
    /// nginx has the whole body: it comes with the header or not at all.
    Counted,
    /// The request is for another path than the client's: a subrequest, and no body comes.
    Elsewhere,
    /// The request is for a path that was made from the client's, or looks so: a body may come.
    Rewritten,
}

/// What the two paths say: nginx's (DOCUMENT_URI) and the client's (REQUEST_URI). `None` if they are the same, or one
/// is missing.
pub(super) fn of_path(request_uri: Option<&[u8]>, document_uri: Option<&[u8]>) -> Option<Doubt> {
    let document_uri = document_uri.filter(|uri| !uri.is_empty())?;
    let asked = uri::path(request_uri?)?;
    let asked = uri::resolved_as(&asked, document_uri);
    if asked == document_uri {
        return None;
    }
    let is_below = |path: &[u8], of: &[u8]| {
        let rest = path.strip_prefix(of.strip_suffix(b"/").unwrap_or(of));
        of.len() > 1 && rest.is_some_and(|rest| rest.starts_with(b"/"))
    };
    let last = |path: &[u8]| path.rsplit(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
    let has_same_end =
        last(&asked).is_some_and(|end| !end.is_empty()) && last(&asked) == last(document_uri);
    let is_made_of_it =
        has_same_end || is_below(document_uri, &asked) || is_below(&asked, document_uri);
    Some(if is_made_of_it {
        Doubt::Rewritten
    } else {
        Doubt::Elsewhere
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::Peer;
    use crate::cgi::request::Request;

    #[test]
    fn whose_path_it_is() {
        use Doubt::{Elsewhere, Rewritten};
        // REQUEST_URI, DOCUMENT_URI
        let cases = [
            ("/a/b?c", "/a/b", None),
            ("/a/../b/%20x//y", "/b/ x/y", None),
            ("http://h/a", "/a", None),
            ("/", "/", None),
            ("*", "/a", None),
            ("/guarded", "/auth", Some(Elsewhere)),
            ("/guarded?x=/auth", "/auth", Some(Elsewhere)),
            ("/", "/auth", Some(Elsewhere)),
            ("/a/", "/b/", Some(Elsewhere)),
            ("/a", "/", Some(Elsewhere)),
            ("/ab", "/a", Some(Elsewhere)),
            // rewrite ^/wiki/(.*)$ /w/$1; index; a path for the script alone
            ("/wiki/a/b", "/w/a/b", Some(Rewritten)),
            ("/dir/", "/dir/index.cgi", Some(Rewritten)),
            ("/dir", "/dir/index.cgi", Some(Rewritten)),
            ("/app/a/b", "/app", Some(Rewritten)),
        ];
        for (request_uri, document_uri, doubt) in cases {
            let (asked, own) = (Some(request_uri.as_bytes()), Some(document_uri.as_bytes()));
            assert_eq!(of_path(asked, own), doubt, "{request_uri} {document_uri}");
            assert_eq!(of_path(None, own), None);
            assert_eq!(of_path(asked, None), None);
        }
    }

    #[test]
    fn what_nginx_may_not_send() {
        use Doubt::{Counted, Elsewhere, Rewritten};
        // DOCUMENT_URI for a request to /a/b; CONTENT_LENGTH, HTTP_CONTENT_LENGTH and HTTP_TRANSFER_ENCODING
        let cases = [
            ("/a/b", "0", "0", "", (0, None)),
            ("/a/b", "5", "5", "", (5, Some(Counted))),
            ("/a/b", "0", "5", "", (5, None)),
            ("/a/b", "3", "5", "", (5, None)),
            ("/a/b", "5", "", "chunked", (5, Some(Counted))),
            ("/auth", "0", "5", "", (5, Some(Elsewhere))),
            ("/auth", "0", "0", "", (0, None)),
            ("/auth", "5", "5", "", (5, Some(Counted))),
            // No subrequest: something was counted, and not all.
            ("/auth", "3", "5", "", (5, None)),
            ("/auth", "0", "", "chunked", (0, None)),
            ("/w/b", "0", "5", "", (5, Some(Rewritten))),
            // Another web server counts all of it, and sends it when it comes.
            ("", "5", "5", "", (5, None)),
            ("", "0", "5", "", (0, None)),
        ];
        for (document_uri, counted, said, coding, (length, doubt)) in cases {
            let pairs = [
                ("CONTENT_LENGTH", counted),
                ("SCGI", "1"),
                ("REQUEST_URI", "/a/b"),
                ("DOCUMENT_URI", document_uri),
                ("HTTP_CONTENT_LENGTH", said),
                ("HTTP_TRANSFER_ENCODING", coding),
            ];
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let request = Request::from_scgi_client(pairs, Peer::Own).unwrap();
            let found = (request.content_length(), request.doubt());
            assert_eq!(
                found,
                (Some(length), doubt),
                "{document_uri} {counted} {said}"
            );
        }
    }
}
