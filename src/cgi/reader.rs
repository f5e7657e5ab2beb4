//! Which web server reads a response, and what it does with a head. The rows were measured; a web server without a row
//! is treated as Apache.
//!
//! | web server | refuses | sends for a client redirect without Status |
//! | --- | --- | --- |
//! | Apache, mod_cgi and mod_cgid | see `head` | a 302 with a document of its own |
//! | Apache, mod_proxy_scgi | as mod_cgi | a 200: we add Status |
//! | busybox | nothing: it sends what comes | a 200: we add Status |
//! | lighttpd | an invalid Status; it drops a line that is no field, or takes all for the message-body | a 302 |
//! | nginx, with fcgiwrap too | some control characters, and more than its buffer; it takes a line without a colon for a field | a 302 |
//! | others | not known | not known: we add Status |

use super::request::Request;

/// The web server that reads the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// mod_cgi, mod_cgid, or another module that runs CGIs.
    Apache,
    /// mod_proxy_scgi.
    ApacheProxy,
    /// busybox httpd.
    Busybox,
    /// mod_cgi, or mod_scgi.
    Lighttpd,
    /// scgi_pass, or fastcgi_pass to fcgiwrap.
    Nginx,
    /// One that was not measured, or does not send its name.
    Other,
    /// Our own `polycgi request`, which shows a head as the program wrote it.
    Polycgi,
}

impl Reader {
    /// By what each sends. nginx sends DOCUMENT_URI, and SERVER_SOFTWARE only where it is configured to.
    pub fn of(request: &Request<'_>) -> Reader {
        let text = |name| request.value(name).unwrap_or_default();
        let software = text("SERVER_SOFTWARE");
        let end = software.iter().position(|byte| b"/ ".contains(byte));
        match &software[..end.unwrap_or(software.len())] {
            b"Apache" if text("SCRIPT_FILENAME").starts_with(b"proxy:") => Reader::ApacheProxy,
            b"Apache" => Reader::Apache,
            b"busybox" => Reader::Busybox,
            b"lighttpd" => Reader::Lighttpd,
            b"nginx" => Reader::Nginx,
            b"polycgi" => Reader::Polycgi,
            b"" if request.value("DOCUMENT_URI").is_some() => Reader::Nginx,
            _ => Reader::Other,
        }
    }

    /// Whether a head that Apache would refuse is answered with a page of ours.
    pub fn is_like_apache(self) -> bool {
        match self {
            Reader::Apache | Reader::ApacheProxy | Reader::Other => true,
            Reader::Busybox | Reader::Lighttpd | Reader::Nginx | Reader::Polycgi => false,
        }
    }

    /// Whether a client redirect needs a Status, or it would be a 200.
    pub fn needs_status(self) -> bool {
        match self {
            Reader::ApacheProxy | Reader::Busybox | Reader::Other => true,
            Reader::Apache | Reader::Lighttpd | Reader::Nginx | Reader::Polycgi => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::Peer;

    #[test]
    fn by_what_they_send() {
        let cases: [(&[(&str, &str)], Reader); 11] = [
            (&[("SERVER_SOFTWARE", "Apache")], Reader::Apache),
            (
                &[("SERVER_SOFTWARE", "Apache/2.4.71 (Debian)")],
                Reader::Apache,
            ),
            (
                &[
                    ("SERVER_SOFTWARE", "Apache/2.4.71 (Debian)"),
                    ("SCRIPT_FILENAME", "proxy:scgi://localhost/app"),
                ],
                Reader::ApacheProxy,
            ),
            (&[("SERVER_SOFTWARE", "Apache-Coyote/1.1")], Reader::Other),
            (
                &[("SERVER_SOFTWARE", "busybox httpd/1.35.0")],
                Reader::Busybox,
            ),
            (&[("SERVER_SOFTWARE", "lighttpd/1.4.69")], Reader::Lighttpd),
            (&[("SERVER_SOFTWARE", "nginx/1.22.1")], Reader::Nginx),
            (&[("DOCUMENT_URI", "/app")], Reader::Nginx),
            (
                &[("SERVER_SOFTWARE", "test"), ("DOCUMENT_URI", "/app")],
                Reader::Other,
            ),
            (&[("SERVER_SOFTWARE", "polycgi/0.1.0")], Reader::Polycgi),
            (&[], Reader::Other),
        ];
        for (pairs, reader) in cases {
            let pairs = pairs.iter().chain(&[("REQUEST_METHOD", "GET")]);
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let request = Request::from_meta(pairs, Peer::Own).unwrap();
            assert_eq!(Reader::of(&request), reader);
        }
    }
}
