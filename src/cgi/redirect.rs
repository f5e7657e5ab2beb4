//! Apache's internal redirects. Their requests have the first request's meta-variables with REDIRECT_ before the name,
//! once for each redirect. This file does not decide which of them an app gets.
//!
//! Measured with Apache 2.4.71, for a POST with a body of five bytes:
//! | | REQUEST_METHOD | REDIRECT_STATUS | REDIRECT_REQUEST_METHOD | CONTENT_LENGTH | bytes that come |
//! | --- | --- | --- | --- | --- | --- |
//! | ErrorDocument, after the body was read or discarded (404, 500) | GET | 404 | POST | 5 | 0 |
//! | ErrorDocument, before the body was read (401, 403, 503) | GET | 403 | POST | 5 | 5 |
//! | a local redirect by a CGI | GET | 200 | POST | | 0 |
//! | Action, mod_rewrite in a folder | POST | 200 | | 5 | 5 |
//! | DirectoryIndex, mod_rewrite elsewhere | POST | | | 5 | 5 |

const REDIRECT: &[u8] = b"REDIRECT_";

/// What describes a message-body: it is not the error page's.
pub(super) const BODY: [&[u8]; 2] = [b"CONTENT_LENGTH", b"HTTP_TRANSFER_ENCODING"];

/// What the meta-variables so far say of a redirect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Redirect {
    has_method: bool,
    has_status: bool,
    /// The first request may have changed something.
    has_sent: bool,
}

impl Redirect {
    /// Takes note of a meta-variable.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        let Some(mut rest) = name.strip_prefix(REDIRECT) else {
            return;
        };
        self.has_status |= rest == b"STATUS" && !matches!(value, b"" | b"200");
        // The error page may be redirected itself.
        while let Some(earlier) = rest.strip_prefix(REDIRECT) {
            rest = earlier;
        }
        if rest == b"REQUEST_METHOD" {
            self.has_method = true;
            self.has_sent |= !only_reads(value);
        }
    }

    /// Whether Apache asks for an error page.
    pub(super) fn is_to_error_page(self) -> bool {
        self.has_method && self.has_status
    }

    /// Whether it was another request than to read something, for which Apache asks for an error page.
    pub(super) fn has_sent(self) -> bool {
        self.has_sent
    }
}

/// Whether a request of this method only reads.
pub(super) fn only_reads(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD")
}

#[cfg(test)]
mod tests {
    use crate::cgi::meta::Peer;
    use crate::cgi::request::Request;

    #[test]
    fn an_error_page_is_told_from_other_redirects() {
        let cases = [
            ("", false),
            ("REDIRECT_STATUS=404 REDIRECT_REQUEST_METHOD=POST", true),
            ("REDIRECT_REQUEST_METHOD=GET REDIRECT_STATUS=403", true),
            (
                "REDIRECT_STATUS=404 REDIRECT_REDIRECT_REQUEST_METHOD=POST",
                true,
            ),
            ("REDIRECT_STATUS=404", false),
            ("REDIRECT_REQUEST_METHOD=POST", false),
            ("REDIRECT_STATUS=200 REDIRECT_REQUEST_METHOD=POST", false),
            ("REDIRECT_STATUS= REDIRECT_REQUEST_METHOD=POST", false),
            (
                "HTTP_REDIRECT_STATUS=404 HTTP_REDIRECT_REQUEST_METHOD=POST",
                false,
            ),
        ];
        let length = ("CONTENT_LENGTH", "5");
        for (words, is_error_page) in cases {
            let pairs = words
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            let pairs = || pairs.clone().chain([length]);
            let pairs = || pairs().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            for peer in [Peer::Own, Peer::Foreign { trusted: false }] {
                let cgi = Request::from_meta(pairs(), peer).unwrap();
                let scgi = Request::from_scgi_client(pairs(), peer).unwrap();
                for request in [cgi, scgi] {
                    let expected = (is_error_page, (!is_error_page).then_some(5));
                    let found = (request.is_error_page(), request.content_length());
                    assert_eq!(found, expected, "{words} {peer:?}");
                    assert_eq!(request.value("CONTENT_LENGTH").is_none(), is_error_page);
                }
            }
        }
    }

    #[test]
    fn what_may_come_behind_the_length() {
        let cases = [
            ("SERVER_SOFTWARE=Apache/2.4.71 CONTENT_LENGTH=5", true),
            ("SERVER_SOFTWARE=Apache CONTENT_LENGTH=5", true),
            ("SERVER_SOFTWARE=Apache CONTENT_LENGTH=0", false),
            ("SERVER_SOFTWARE=Apache", false),
            ("SERVER_SOFTWARE=Apache-Coyote/1.1 CONTENT_LENGTH=5", false),
            ("SERVER_SOFTWARE=nginx/1.22.1 CONTENT_LENGTH=5", false),
            (
                "SERVER_SOFTWARE=Apache REDIRECT_STATUS=404 REDIRECT_REQUEST_METHOD=GET",
                true,
            ),
        ];
        for (words, may_exceed) in cases {
            let pairs = words
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let request = Request::from_meta(pairs, Peer::Own).unwrap();
            assert_eq!(request.may_exceed_its_length(), may_exceed, "{words}");
        }
    }
}
