//! A request whose message-body had no length and was read to its end: its meta-variables then. It never sees the
//! body's bytes.

use super::extent::undone;
use super::request::Request;

/// The length of a message-body that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    bytes: u64,
    digits: String,
}

impl Measured {
    /// `bytes`: the length.
    pub fn new(bytes: u64) -> Measured {
        Measured {
            bytes,
            digits: bytes.to_string(),
        }
    }

    /// The length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length as CONTENT_LENGTH has it.
    pub fn digits(&self) -> &[u8] {
        self.digits.as_bytes()
    }

    /// The request as if the client had sent this length.
    pub fn request<'a>(&'a self, request: &'a Request<'_>) -> Request<'a> {
        let length = (&b"CONTENT_LENGTH"[..], self.digits());
        let rest = request.meta().iter().copied().filter_map(undone);
        request.with_meta(std::iter::once(length).chain(rest), Some(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::extent::Extent;
    use super::super::meta::Peer;
    use super::*;

    #[test]
    fn what_a_measured_request_says() {
        let measured = Measured::new(70_000);
        for (encoding, left) in [("chunked", None), ("gzip, br , Chunked,", Some("gzip, br"))] {
            let given = [
                ("REQUEST_METHOD", "POST"),
                ("HTTP_TRANSFER_ENCODING", encoding),
                ("HTTP_X", "1"),
            ];
            let pairs = given.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let mut request = Request::from_meta(pairs, Peer::Own).unwrap();
            if encoding == "chunked" {
                // A length that is not true.
                let said = (&b"CONTENT_LENGTH"[..], &b"5"[..]);
                request = request.with_meta(request.meta().iter().copied().chain([said]), Some(5));
            }
            let now = measured.request(&request);
            assert_eq!(now.extent(), Extent::Length(70_000));
            assert_eq!(now.content_length(), Some(70_000));
            assert_eq!(now.value("CONTENT_LENGTH"), Some(&b"70000"[..]));
            let encoding = now.value("HTTP_TRANSFER_ENCODING");
            assert_eq!(encoding, left.map(str::as_bytes));
            assert_eq!(now.value("HTTP_X"), Some(&b"1"[..]));
            assert_eq!(now.meta().len(), 3 + usize::from(left.is_some()));
        }
    }
}
