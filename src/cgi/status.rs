//! A status code that can't be out of range. Reason phrases are elsewhere.

use std::fmt;
use std::num::NonZeroU16;

/// A status code, 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusCode(NonZeroU16);

impl StatusCode {
    /// 200
    pub const OK: StatusCode = StatusCode::known(200);
    /// 400
    pub const BAD_REQUEST: StatusCode = StatusCode::known(400);
    /// 404
    pub const NOT_FOUND: StatusCode = StatusCode::known(404);
    /// 408
    pub const REQUEST_TIMEOUT: StatusCode = StatusCode::known(408);
    /// 413
    pub const CONTENT_TOO_LARGE: StatusCode = StatusCode::known(413);
    /// 431
    pub const HEADER_FIELDS_TOO_LARGE: StatusCode = StatusCode::known(431);
    /// 500
    pub const INTERNAL_SERVER_ERROR: StatusCode = StatusCode::known(500);
    /// 502
    pub const BAD_GATEWAY: StatusCode = StatusCode::known(502);
    /// 503
    pub const SERVICE_UNAVAILABLE: StatusCode = StatusCode::known(503);
    /// 504
    pub const GATEWAY_TIMEOUT: StatusCode = StatusCode::known(504);

    /// `None` outside 100 to 599.
    pub const fn new(code: u16) -> Option<StatusCode> {
        match NonZeroU16::new(code) {
            Some(number) if code >= 100 && code <= 599 => Some(StatusCode(number)),
            _ => None,
        }
    }

    /// The number itself.
    pub const fn as_u16(self) -> u16 {
        self.0.get()
    }

    const fn known(code: u16) -> StatusCode {
        match StatusCode::new(code) {
            Some(status) => status,
            None => panic!("not a status code"),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_100_to_599() {
        for code in [0, 1, 99, 600, 999, u16::MAX] {
            assert_eq!(StatusCode::new(code), None, "{code}");
        }
        for code in [100, 200, 404, 599] {
            assert_eq!(StatusCode::new(code).map(StatusCode::as_u16), Some(code));
        }
        assert_eq!(StatusCode::SERVICE_UNAVAILABLE.to_string(), "503");
    }
}
