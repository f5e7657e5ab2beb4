//! A request as its meta-variables describe it (RFC 3875 4.1), checked once. It never sees the message-body.

pub use super::bad_request::BadRequest;
use super::doubt::{self, Doubt};
use super::extent::{Extent, is_chunked};
use super::meta::{Peer, admitted};
use super::redirect::{self, Redirect};
use super::unique::{Meta, merge_duplicates};

/// A request's meta-variables: in the order they came, each name once, only those that the peer may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    meta: Meta<'a>,
    content_length: Option<u64>,
    doubt: Option<Doubt>,
    is_error_page: bool,
    has_sent: bool,
}

impl<'a> Request<'a> {
    /// Takes what the peer may send and drops the rest. Merges equal duplicates; an empty CONTENT_LENGTH counts as
    /// none.
    ///
    /// # Errors
    /// Any pair that can't be put into an environment, dropped or not; two values for a name that is taken; a
    /// CONTENT_LENGTH that is not a number; a message-body whose chunks nobody has decoded.
    pub fn from_meta(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        peer: Peer,
    ) -> Result<Request<'a>, BadRequest> {
        let mut request = Request::checked(pairs, peer)?;
        if peer != Peer::Own {
            request.drop_what_contradicts_the_length();
        }
        Ok(request)
    }

    fn checked(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        peer: Peer,
    ) -> Result<Request<'a>, BadRequest> {
        let mut meta = Meta::new();
        let mut redirect = Redirect::default();
        for (name, value) in pairs {
            check(name, value)?;
            redirect.note(name, value);
            if admitted(name, peer) {
                meta.push((name, value));
            }
        }
        merge_duplicates(&mut meta)?;
        let is_error_page = redirect.is_to_error_page();
        meta.retain(|pair| *pair != (b"CONTENT_LENGTH", b""));
        if is_error_page {
            meta.retain(|(name, _)| !redirect::BODY.contains(name));
        }
        let digits = find(&meta, b"CONTENT_LENGTH");
        let content_length = digits.map(number).transpose()?;
        let request = Request {
            meta,
            content_length,
            doubt: None,
            is_error_page,
            has_sent: is_error_page && redirect.has_sent(),
        };
        if request.is_still_coded() {
            return Err(BadRequest::Coded);
        }
        Ok(request)
    }

    /// busybox httpd passes chunks on as they are, with their sizes: an app would take those for a part of the body.
    fn is_still_coded(&self) -> bool {
        let is_busybox = |software: &[u8]| software.starts_with(b"busybox");
        self.extent() == Extent::ToEnd && self.value("SERVER_SOFTWARE").is_some_and(is_busybox)
    }

    /// The same from a web server's own SCGI module, whatever its uid. These send no GATEWAY_INTERFACE (nginx, Apache),
    /// the Transfer-Encoding that they have decoded (nginx), and the PATH of their host (Apache).
    ///
    /// # Errors
    /// As [`Request::from_meta`].
    pub fn from_scgi_client(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        peer: Peer,
    ) -> Result<Request<'a>, BadRequest> {
        let mut request = Request::checked(pairs, peer)?;
        request.count_what_is_still_to_come();
        request.become_of_cgi();
        Ok(request)
    }

    /// The same by FastCGI. Where the message-body ends its last record says.
    ///
    /// # Errors
    /// As [`Request::from_meta`].
    pub fn from_fastcgi_client(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        peer: Peer,
    ) -> Result<Request<'a>, BadRequest> {
        // Caddy's word for a body in chunks.
        let is_unknown = |pair: &(&[u8], &[u8])| *pair == (b"CONTENT_LENGTH", b"-1");
        let pairs = pairs.into_iter().filter(|pair| !is_unknown(pair));
        let mut request = Request::checked(pairs, peer)?;
        request.forget_a_length_that_was_made_up();
        request.leave_path_undivided();
        request.become_of_cgi();
        Ok(request)
    }

    /// HAProxy counts what it has of a body in chunks at that moment, and sends the rest all the same.
    fn forget_a_length_that_was_made_up(&mut self) {
        let encoding = self.value("HTTP_TRANSFER_ENCODING").unwrap_or_default();
        if is_chunked(encoding) || self.is_from_haproxy() {
            self.content_length = None;
            self.meta.retain(|(name, _)| *name != b"CONTENT_LENGTH");
        }
    }

    /// Without PATH_INFO, SCRIPT_NAME is all of the path: by nginx's own fastcgi_params, and by HAProxy without
    /// `path-info`. It is left to [`super::edge`], as if it had not been sent.
    fn leave_path_undivided(&mut self) {
        if self.value("PATH_INFO").is_some() {
            return;
        }
        let script_name = self.value("SCRIPT_NAME");
        if self.is_from_haproxy() {
            for (name, _) in &mut self.meta {
                if *name == b"SCRIPT_NAME" {
                    *name = b"PATH_INFO";
                }
            }
        } else if script_name.is_some() && script_name == self.value("DOCUMENT_URI") {
            self.meta.retain(|(name, _)| *name != b"SCRIPT_NAME");
        }
    }

    fn is_from_haproxy(&self) -> bool {
        let software = self.value("SERVER_SOFTWARE").unwrap_or_default();
        software.starts_with(b"HAProxy")
    }

    fn become_of_cgi(&mut self) {
        self.drop_what_contradicts_the_length();
        self.meta.retain(|(name, _)| *name != b"PATH");
        if self.value("GATEWAY_INTERFACE").is_none() {
            self.meta.push((b"GATEWAY_INTERFACE", b"CGI/1.1"));
        }
    }

    /// With `scgi_request_buffering off` nginx's CONTENT_LENGTH is what it has received so far, and it sends the rest
    /// later. The client's Content-Length says how much that will be.
    fn count_what_is_still_to_come(&mut self) {
        if find(&self.meta, b"DOCUMENT_URI").is_none() {
            return;
        }
        let field = find(&self.meta, b"HTTP_CONTENT_LENGTH");
        let is_coded = find(&self.meta, b"HTTP_TRANSFER_ENCODING").is_some();
        let whole = field.filter(|_| !is_coded);
        let whole = whole.and_then(|digits| Some((digits, number(digits).ok()?)));
        match (self.content_length, whole) {
            (Some(counted), Some((digits, length))) if counted < length => {
                self.content_length = Some(length);
                for (name, value) in &mut self.meta {
                    if *name == b"CONTENT_LENGTH" {
                        *value = digits;
                    }
                }
                self.doubt = self.doubt_of_path().filter(|_| counted == 0);
            }
            (Some(counted), _) => self.doubt = (counted > 0).then_some(Doubt::Counted),
            (None, _) => {}
        }
    }

    /// An SCGI client has decoded any transfer coding and counted the message-body. What contradicts the count is
    /// stale, or an attempt at request smuggling.
    fn drop_what_contradicts_the_length(&mut self) {
        let digits = find(&self.meta, b"CONTENT_LENGTH");
        self.meta.retain(|(name, value)| match *name {
            b"HTTP_CONTENT_LENGTH" => Some(*value) == digits,
            b"HTTP_TRANSFER_ENCODING" => digits.is_none(),
            _ => true,
        });
    }

    /// All meta-variables. An empty CONTENT_LENGTH is not among them.
    pub fn meta(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.meta
    }

    /// The value of one meta-variable.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        find(&self.meta, name.as_bytes())
    }

    /// The size of the message-body in bytes; `None` if the request gives none, which is not the same as 0.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether Apache asks for its ErrorDocument: with GET, and with the length of the body that the client sent for
    /// the first request. The page does not get that body; what comes of it is read and discarded.
    pub fn is_error_page(&self) -> bool {
        self.is_error_page
    }

    /// Whether the client asked for something else than to read. For an error page its first request counts.
    pub fn may_change_something(&self) -> bool {
        self.has_sent || !redirect::only_reads(self.method())
    }

    /// Whether more bytes may come than the length says: Apache measures a body before its input filters (mod_deflate)
    /// change it.
    pub fn may_exceed_its_length(&self) -> bool {
        let software = self.value("SERVER_SOFTWARE").unwrap_or_default();
        let has_body = self.is_error_page || self.content_length.is_some_and(|length| length > 0);
        has_body && (software == b"Apache" || software.starts_with(b"Apache/"))
    }

    /// Why the message-body may never come: for a request from a web server's own SCGI module.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// The same for a CGI. nginx gives FastCGI, and so fcgiwrap, the client's Content-Length even for a subrequest
    /// without a message-body.
    pub fn doubt_of_cgi(&self) -> Option<Doubt> {
        let has_body = self.content_length.is_some_and(|length| length > 0);
        let doubt = has_body.then(|| self.doubt_of_path()).flatten();
        (doubt == Some(Doubt::Elsewhere)).then_some(Doubt::Cgi)
    }

    fn doubt_of_path(&self) -> Option<Doubt> {
        doubt::of_path(self.value("REQUEST_URI"), self.value("DOCUMENT_URI"))
    }

    /// Where the message-body ends. A length wins over `chunked`: the web server that counted it has decoded the
    /// chunks.
    pub fn extent(&self) -> Extent {
        match (self.content_length, self.value("HTTP_TRANSFER_ENCODING")) {
            (Some(length), _) => Extent::Length(length),
            (None, Some(encoding)) if is_chunked(encoding) => Extent::ToEnd,
            (None, _) => Extent::None,
        }
    }

    /// The same request with other meta-variables, which are not checked again.
    pub(super) fn with_meta<'b>(
        &self,
        meta: impl Iterator<Item = (&'b [u8], &'b [u8])>,
        content_length: Option<u64>,
    ) -> Request<'b> {
        Request {
            meta: meta.collect(),
            content_length,
            doubt: self.doubt.filter(|_| content_length == self.content_length),
            is_error_page: self.is_error_page,
            has_sent: self.has_sent,
        }
    }

    /// The same, borrowed for a shorter time.
    pub fn reborrow(&self) -> Request<'_> {
        self.with_meta(self.meta.iter().copied(), self.content_length)
    }

    /// REQUEST_METHOD, or GET where there is none.
    pub fn method(&self) -> &'a [u8] {
        match self.value("REQUEST_METHOD") {
            None | Some(b"") => b"GET",
            Some(method) => method,
        }
    }

    /// The client's Accept field, empty if it sent none.
    pub fn accept(&self) -> &'a [u8] {
        self.value("HTTP_ACCEPT").unwrap_or_default()
    }

    /// The client's Accept-Language field, empty if it sent none.
    pub fn accept_language(&self) -> &'a [u8] {
        self.value("HTTP_ACCEPT_LANGUAGE").unwrap_or_default()
    }

    /// Whether the response must not have a message-body (RFC 3875 4.3.3).
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }
}

fn check(name: &[u8], value: &[u8]) -> Result<(), BadRequest> {
    if name.is_empty() {
        Err(BadRequest::EmptyName)
    } else if name.iter().any(|byte| matches!(byte, b'=' | 0)) {
        Err(BadRequest::Name)
    } else if memchr::memchr(0, value).is_some() {
        Err(BadRequest::Value)
    } else {
        Ok(())
    }
}

fn find<'a>(meta: &[(&'a [u8], &'a [u8])], name: &[u8]) -> Option<&'a [u8]> {
    meta.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// Digits only: `str::parse` would take "+5".
fn number(digits: &[u8]) -> Result<u64, BadRequest> {
    digits
        .iter()
        .try_fold(0u64, |number, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(BadRequest::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: Peer = Peer::Foreign { trusted: false };

    /// `A=b C=d`, as pairs.
    fn pairs(text: &str) -> Vec<(&[u8], &[u8])> {
        let words = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        words
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect()
    }

    fn request(text: &str, peer: Peer) -> Result<Request<'_>, BadRequest> {
        Request::from_meta(pairs(text), peer)
    }

    #[test]
    fn what_is_taken() {
        // given, own, foreign
        let cases = [
            ("", "", ""),
            // Go's TestDropProxyHeader
            (
                "HTTP_PROXY=should_be_stripped HTTP_X_FOO=a",
                "HTTP_X_FOO=a",
                "HTTP_X_FOO=a",
            ),
            ("HTTP_PROXY=a HTTP_PROXY=b", "", ""),
            // Go's TestDupHeaders: the web server has joined the values
            (
                "HTTP_COOKIE=n;y HTTP_X=1,2",
                "HTTP_COOKIE=n;y HTTP_X=1,2",
                "HTTP_COOKIE=n;y HTTP_X=1,2",
            ),
            ("PATH=/bin REMOTE_USER=x", "PATH=/bin REMOTE_USER=x", ""),
            (
                "B=2 SCRIPT_NAME= B=2 A== B=2",
                "B=2 SCRIPT_NAME= A==",
                "SCRIPT_NAME=",
            ),
            ("PATH=a HTTPS=on PATH=a", "PATH=a HTTPS=on", "HTTPS=on"),
            ("CONTENT_LENGTH= SCGI=1", "SCGI=1", ""),
        ];
        for (given, own, foreign) in cases {
            assert_eq!(
                request(given, Peer::Own).unwrap().meta(),
                pairs(own),
                "own {given}"
            );
            assert_eq!(
                request(given, FOREIGN).unwrap().meta(),
                pairs(foreign),
                "foreign {given}"
            );
        }
    }

    #[test]
    fn what_contradicts_the_length_is_dropped_from_a_foreign_request() {
        let cases = [
            ("CONTENT_LENGTH=5 HTTP_CONTENT_LENGTH=6", "CONTENT_LENGTH=5"),
            (
                "HTTP_CONTENT_LENGTH=5 CONTENT_LENGTH=5",
                "HTTP_CONTENT_LENGTH=5 CONTENT_LENGTH=5",
            ),
            (
                "HTTP_TRANSFER_ENCODING=chunked CONTENT_LENGTH=0",
                "CONTENT_LENGTH=0",
            ),
            (
                "HTTP_TRANSFER_ENCODING=chunked HTTP_CONTENT_LENGTH=5",
                "HTTP_TRANSFER_ENCODING=chunked",
            ),
        ];
        for (given, foreign) in cases {
            assert_eq!(
                request(given, Peer::Own).unwrap().meta(),
                pairs(given),
                "own {given}"
            );
            assert_eq!(
                request(given, FOREIGN).unwrap().meta(),
                pairs(foreign),
                "foreign {given}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        use BadRequest::*;
        let cases = [
            ("=x", EmptyName),
            ("A\0B=x", Name),
            ("A=x\0y", Value),
            ("PATH_INFO=/a HTTP_X= PATH_INFO=/b", Duplicate),
            ("PATH_INFO=/a PATH_INFO=/a PATH_INFO=/b", Duplicate),
            ("CONTENT_LENGTH= CONTENT_LENGTH=5", Duplicate),
            ("CONTENT_LENGTH=05 CONTENT_LENGTH=5", Duplicate),
            ("CONTENT_LENGTH=+5", ContentLength),
            ("CONTENT_LENGTH=-1", ContentLength),
            ("CONTENT_LENGTH=5,5", ContentLength),
            ("CONTENT_LENGTH=0x10", ContentLength),
            ("CONTENT_LENGTH=18446744073709551616", ContentLength),
            (
                "HTTP_TRANSFER_ENCODING=chunked SERVER_SOFTWARE=busybox/1",
                Coded,
            ),
        ];
        for (given, bad) in cases {
            assert_eq!(request(given, Peer::Own), Err(bad), "own {given:?}");
            assert_eq!(request(given, FOREIGN), Err(bad), "foreign {given:?}");
        }
        let odd: [(&[u8], &[u8]); 1] = [(b"A=B", b"x")];
        assert_eq!(Request::from_meta(odd, FOREIGN), Err(Name));
        let spaced: [(&[u8], &[u8]); 1] = [(b"CONTENT_LENGTH", b" 5")];
        assert_eq!(Request::from_meta(spaced, FOREIGN), Err(ContentLength));
    }

    #[test]
    fn content_length() {
        let cases = [
            ("", None),
            ("CONTENT_LENGTH=", None),
            ("CONTENT_LENGTH=0", Some(0)),
            ("CONTENT_LENGTH=007", Some(7)),
            ("CONTENT_LENGTH=18446744073709551615", Some(u64::MAX)),
        ];
        for (given, length) in cases {
            assert_eq!(
                request(given, FOREIGN).unwrap().content_length(),
                length,
                "{given}"
            );
        }
    }

    #[test]
    fn method_and_accept() {
        let none = request("", FOREIGN).unwrap();
        assert_eq!(
            (none.method(), none.accept(), none.is_head()),
            (&b"GET"[..], &b""[..], false)
        );
        assert_eq!(
            request("REQUEST_METHOD=", FOREIGN).unwrap().method(),
            b"GET"
        );
        let head = request("REQUEST_METHOD=HEAD HTTP_ACCEPT=a/b", FOREIGN).unwrap();
        assert_eq!(
            (head.method(), head.accept(), head.is_head()),
            (&b"HEAD"[..], &b"a/b"[..], true)
        );
        assert_eq!(head.value("PATH_INFO"), None);
    }
}
