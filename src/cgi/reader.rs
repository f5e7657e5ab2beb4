//! Which web server reads a response, and what it makes of a head by itself. The rows were measured; what none names
//! is read as Apache reads it.
//!
//! | web server | refuses | makes of a client redirect without Status |
//! | --- | --- | --- |
//! | Apache, mod_cgi and mod_cgid | see `head` | a 302 with a document of its own |
//! | Apache, mod_proxy_scgi | as mod_cgi | a 200: Status is added |
//! | busybox | nothing: it sends what comes | a 200: Status is added |
//! | lighttpd | a Status that is not one; a line that is no field is dropped, or all is the message-body | a 302 |
//! | nginx, with fcgiwrap too | few control characters, more than its buffer; a line without a colon is a field | a 302 |
//! | others | not known | not known: Status is added |

use super::request::Request;

/// The web server behind which the response is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// mod_cgi, mod_cgid, or what runs CGIs like them.
    Apache,
    /// mod_proxy_scgi.
    ApacheProxy,
    /// Its httpd.
    Busybox,
    /// mod_cgi, or mod_scgi.
    Lighttpd,
    /// scgi_pass, or fastcgi_pass to what runs CGIs.
    Nginx,
    /// One that was not measured, or does not say who it is.
    Other,
    /// Our own `request`, which shows a head as the program wrote it.
    Polycgi,
}

impl Reader {
    /// By what each is known to send: nginx has a DOCUMENT_URI, and says who it is only where it was told to.
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

    /// What Apache refuses is refused before the web server sees it.
    pub fn is_like_apache(self) -> bool {
        match self {
            Reader::Apache | Reader::ApacheProxy | Reader::Other => true,
            Reader::Busybox | Reader::Lighttpd | Reader::Nginx | Reader::Polycgi => false,
        }
    }

    /// It has to be told that a client redirect is one.
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
