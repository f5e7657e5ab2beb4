//! Message-bodies that nginx announces and may never send. It gives a subrequest (`auth_request`, `mirror`, SSI) and an
//! internal redirect the length that the client has said, whether or not there is a body for it, and nothing in SCGI
//! ends one.
//!
//! Measured with nginx 1.22.1. CONTENT_LENGTH is what nginx counts, HTTP_CONTENT_LENGTH what the client has said:
//! | | CONTENT_LENGTH | then comes |
//! | --- | --- | --- |
//! | a client's request | all | all, with the header |
//! | with `scgi_request_buffering off` | what has come by then, often 0 | that with the header, and the rest |
//! | with `scgi_pass_request_body off` | all | nothing |
//! | a subrequest, once the body is read | all | all, with the header |
//! | a subrequest before that, or one without it | 0 | nothing |
//! | an internal redirect, once the body was passed on unbuffered, or was too large | 0 | nothing |
//!
//! So nothing counted means one of two things. A subrequest is not for the path that the client asked for. Nor is a
//! request whose path nginx has rewritten, but that mostly keeps a part of it.

use super::uri;

/// A message-body of which nothing may come. Once a byte of it has come, there is no doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The same as `Elsewhere` of a CGI (fcgiwrap's): its input ends without a byte, if nothing comes.
    Cgi,
    /// nginx has all of it, so it comes with the header, or not at all.
    Counted,
    /// The request is for another path than the client's: nothing comes.
    Elsewhere,
    /// It is for a path that was made of the client's, or looks as if it was.
    Rewritten,
}

/// Whether the path that nginx asks for is the client's; `None` if it is, or that can't be known.
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
