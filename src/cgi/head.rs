//! What a response's header fields say together: which of the four responses it is, and its status.
//! Where a field begins and ends is not its concern.

use smallvec::SmallVec;

use super::response::BadHead;
use super::status::StatusCode;

/// The four responses of RFC 3875 6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// 6.2.1. Also where a Location stands beside a status that does not redirect, as with 201.
    Document,
    /// 6.2.2: the web server is to answer with this path of its own. Only without Status; web
    /// servers look at nothing else then, so other fields are no error here.
    LocalRedirect(&'a [u8]),
    /// 6.2.3
    ClientRedirect(&'a [u8]),
    /// 6.2.4
    ClientRedirectWithDocument(&'a [u8]),
}

/// A whole head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    kind: Kind<'a>,
    status: StatusCode,
    reason: &'a [u8],
    fields: Fields<'a>,
}

pub(super) type Fields<'a> = SmallVec<[(&'a [u8], &'a [u8]); 16]>;

impl<'a> Head<'a> {
    /// Which of the four responses it is.
    pub fn kind(&self) -> Kind<'a> {
        self.kind
    }

    /// The status: as given, else 302 for a client redirect and 200 for all others.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The words after the status code; empty where the app gave none.
    pub fn reason(&self) -> &'a [u8] {
        self.reason
    }

    /// Every header field as it came, Status too; values without the white space around them.
    pub fn fields(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.fields
    }

    /// The value of the first header field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|field| field.0.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.1)
    }

    /// The head of these lines, if together they are one.
    pub(super) fn from_fields(fields: Fields<'a>) -> Result<Head<'a>, BadHead> {
        let content_type = single(&fields, "Content-Type")?;
        let location = single(&fields, "Location")?;
        let given = single(&fields, "Status")?;
        if content_type.is_none() && location.is_none() && given.is_none() {
            return Err(BadHead::NoCgiField);
        }
        let given = given.map(status).transpose()?;
        let kind = match (location, given) {
            (None, _) => Kind::Document,
            (Some(b""), _) => return Err(BadHead::Location),
            (Some(_), Some((code, _))) if !(300..=399).contains(&code.as_u16()) => Kind::Document,
            (Some(path @ [b'/', ..]), None) => Kind::LocalRedirect(path),
            (Some(uri), _) if content_type.is_some() => Kind::ClientRedirectWithDocument(uri),
            (Some(uri), _) => Kind::ClientRedirect(uri),
        };
        let (status, reason) = given.unwrap_or(match kind {
            Kind::ClientRedirect(_) | Kind::ClientRedirectWithDocument(_) => {
                (StatusCode::FOUND, b"")
            }
            Kind::Document | Kind::LocalRedirect(_) => (StatusCode::OK, b""),
        });
        Ok(Head {
            kind,
            status,
            reason,
            fields,
        })
    }
}

fn single<'a>(fields: &[(&'a [u8], &'a [u8])], name: &str) -> Result<Option<&'a [u8]>, BadHead> {
    let mut values = fields
        .iter()
        .filter(|field| field.0.eq_ignore_ascii_case(name.as_bytes()));
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|field| field.1)),
        _ => Err(BadHead::Duplicate),
    }
}

/// `200` or `200 OK`.
fn status(value: &[u8]) -> Result<(StatusCode, &[u8]), BadHead> {
    let (digits, reason) = match value {
        [_, _, _] => (value, &b""[..]),
        [_, _, _, b' ', reason @ ..] => (&value[..3], reason.trim_ascii_start()),
        _ => return Err(BadHead::Status),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadHead::Status);
    }
    let code = digits
        .iter()
        .fold(0, |code, &byte| code * 10 + u16::from(byte - b'0'));
    Ok((StatusCode::new(code).ok_or(BadHead::Status)?, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::response::{Parsed, parse};

    fn head(text: &str) -> Result<Head<'_>, BadHead> {
        match parse(text.as_bytes(), 1000)? {
            Parsed::Head { head, consumed } => {
                assert_eq!(consumed, text.len(), "{text:?}");
                Ok(head)
            }
            Parsed::Partial => panic!("partial: {text:?}"),
        }
    }

    #[test]
    fn the_four_responses() {
        use Kind::*;
        let cases: &[(&str, Kind<'_>, u16, &str)] = &[
            ("Content-Type: text/html\n\n", Document, 200, ""),
            ("content-type:text/html\r\n\r\n", Document, 200, ""),
            ("Content-Type: text/html\r\nX-A: b\n\r\n", Document, 200, ""),
            (
                "Status: 404 Not Found\nContent-Type: text/plain\n\n",
                Document,
                404,
                "Not Found",
            ),
            ("Status: 204\n\n", Document, 204, ""),
            ("STATUS:200 \n\n", Document, 200, ""),
            (
                "Status: 200 d'accord, \u{e9}t\u{e9}\n\n",
                Document,
                200,
                "d'accord, \u{e9}t\u{e9}",
            ),
            ("Status: 599 x\n\n", Document, 599, "x"),
            (
                "Status: 201 Created\nLocation: /new\nContent-Type: a/b\n\n",
                Document,
                201,
                "Created",
            ),
            ("Content-Type:\n\n", Document, 200, ""),
            // Go's TestInternalRedirect and TestRedirect
            ("Location: /foo\n\n", LocalRedirect(b"/foo"), 200, ""),
            (
                "Location: http://foo.com/\n\n",
                ClientRedirect(b"http://foo.com/"),
                302,
                "",
            ),
            (
                "Location: /foo?a=b\nContent-Type: text/html\n\n",
                LocalRedirect(b"/foo?a=b"),
                200,
                "",
            ),
            (
                "Location: https://a/\nSet-Cookie: a=b\nSet-Cookie: c=d\n\n",
                ClientRedirect(b"https://a/"),
                302,
                "",
            ),
            (
                "Status: 301 Moved\nLocation: https://a/#b\nContent-Type: a/b\n\n",
                ClientRedirectWithDocument(b"https://a/#b"),
                301,
                "Moved",
            ),
            // What WSGI apps do: a reference of their own with a status is for the client.
            (
                "Status: 303 See Other\nLocation: /a\n\n",
                ClientRedirect(b"/a"),
                303,
                "See Other",
            ),
        ];
        for &(text, kind, status, reason) in cases {
            let head = head(text).unwrap();
            assert_eq!(head.kind(), kind, "{text:?}");
            assert_eq!(head.status().as_u16(), status, "{text:?}");
            assert_eq!(head.reason(), reason.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        use BadHead::*;
        let cases: &[(&str, BadHead)] = &[
            ("\n", NoCgiField),
            ("\r\n", NoCgiField),
            ("X-Powered-By: nothing\n\n", NoCgiField),
            ("Content-Type: a/b\ncontent-type: a/b\n\n", Duplicate),
            ("Status: 200\nStatus: 200\n\n", Duplicate),
            ("Location: /a\nLocation: /b\n\n", Duplicate),
            ("Location: \n\n", Location),
            ("Content-Type : a/b\n\n", SpaceBeforeColon),
            ("Status:\n\n", Status),
            ("Status: 20\n\n", Status),
            ("Status: 2000\n\n", Status),
            ("Status: 099\n\n", Status),
            ("Status: 600\n\n", Status),
            ("Status: +20\n\n", Status),
            ("Status: 200OK\n\n", Status),
            ("Status: 200\tOK\n\n", Status),
            ("Status: OK\n\n", Status),
            ("Status: HTTP/1.1 200 OK\n\n", Status),
        ];
        for &(text, bad) in cases {
            assert_eq!(head(text), Err(bad), "{text:?}");
        }
    }

    #[test]
    fn fields_in_order_and_in_any_case() {
        let head =
            head("Content-Type: \ta/b \nX-A: 1\nx-a: 2\nStatus: 200 OK\nX-Empty:\n\n").unwrap();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"Content-Type", b"a/b"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"Status", b"200 OK"),
            (b"X-Empty", b""),
        ];
        assert_eq!(head.fields(), expected);
        assert_eq!(head.field("X-a"), Some(&b"1"[..]));
        assert_eq!(head.field("X-B"), None);
    }
}
