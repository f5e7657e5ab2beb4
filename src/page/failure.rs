//! What can go wrong with a request. What a person is told of it is in words.rs; the operator's words are elsewhere.

use crate::cgi::StatusCode;

/// Why the app does not answer this request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 500: the app can't be started.
    AppBroken,
    /// 500: the app has raised an error instead of answering.
    AppFailed,
    /// 503: the app's server is not running, and it is not ours to start.
    Away {
        /// In seconds; 0 counts as 1.
        retry_after: u32,
    },
    /// 502: a worker died, or wrote no valid head.
    BadGateway,
    /// 400: bad meta-variables, a bad SCGI header.
    BadRequest,
    /// 413: the message-body is larger than `body-limit`.
    BodyTooLarge,
    /// 431: the header is larger than `header-limit`.
    HeaderTooLarge,
    /// 500: the app file is wrong, or a program that it names is missing.
    Misconfigured,
    /// 500: a web server runs polycgi itself and not an app file.
    NotAnApp,
    /// 404: the path is not below `mount`.
    NotFound,
    /// 503: there are too many requests.
    Overloaded {
        /// In seconds; 0 counts as 1, or a browser would not pause at all.
        retry_after: u32,
    },
    /// 408: the message-body did not come in time.
    RequestTimeout,
    /// 503: the app is being started, and a browser is not to wait for that without a word.
    Starting {
        /// In seconds; 0 counts as 1.
        retry_after: u32,
    },
    /// 504: the app did not answer in time.
    TimedOut,
}

impl Failure {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Failure::AppBroken
            | Failure::AppFailed
            | Failure::Misconfigured
            | Failure::NotAnApp => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Away { .. } | Failure::Overloaded { .. } | Failure::Starting { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Failure::BadGateway => StatusCode::BAD_GATEWAY,
            Failure::BadRequest => StatusCode::BAD_REQUEST,
            Failure::BodyTooLarge => StatusCode::CONTENT_TOO_LARGE,
            Failure::HeaderTooLarge => StatusCode::HEADER_FIELDS_TOO_LARGE,
            Failure::NotFound => StatusCode::NOT_FOUND,
            Failure::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The reason phrase of the status (RFC 9110 15, RFC 6585 5).
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Failure::AppBroken
            | Failure::AppFailed
            | Failure::Misconfigured
            | Failure::NotAnApp => "Internal Server Error",
            Failure::Away { .. } | Failure::Overloaded { .. } | Failure::Starting { .. } => {
                "Service Unavailable"
            }
            Failure::BadGateway => "Bad Gateway",
            Failure::BadRequest => "Bad Request",
            Failure::BodyTooLarge => "Content Too Large",
            Failure::HeaderTooLarge => "Request Header Fields Too Large",
            Failure::NotFound => "Not Found",
            Failure::RequestTimeout => "Request Timeout",
            Failure::TimedOut => "Gateway Timeout",
        }
    }

    /// In seconds, if trying again helps.
    pub(super) fn retry_after(self) -> Option<u32> {
        match self {
            Failure::Away { retry_after }
            | Failure::Overloaded { retry_after }
            | Failure::Starting { retry_after } => Some(retry_after.max(1)),
            _ => None,
        }
    }

    /// In seconds, if the failure is one of load: it passes, and first for those who have waited. Not that the app's
    /// server is away, for which no request is let in first.
    pub fn wait(self) -> Option<u32> {
        match self {
            Failure::Overloaded { retry_after } | Failure::Starting { retry_after } => {
                Some(retry_after.max(1))
            }
            _ => None,
        }
    }

    /// The same failure with another [wait](Failure::wait), if it has one.
    pub fn with_wait(self, seconds: u32) -> Failure {
        match self {
            Failure::Overloaded { .. } => Failure::Overloaded {
                retry_after: seconds,
            },
            Failure::Starting { .. } => Failure::Starting {
                retry_after: seconds,
            },
            other => other,
        }
    }
}

#[cfg(test)]
impl Failure {
    pub(crate) fn all(retry_after: u32) -> [Failure; 14] {
        [
            Failure::AppBroken,
            Failure::AppFailed,
            Failure::Away { retry_after },
            Failure::BadGateway,
            Failure::BadRequest,
            Failure::BodyTooLarge,
            Failure::HeaderTooLarge,
            Failure::Misconfigured,
            Failure::NotAnApp,
            Failure::NotFound,
            Failure::Overloaded { retry_after },
            Failure::RequestTimeout,
            Failure::Starting { retry_after },
            Failure::TimedOut,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let codes = Failure::all(5).map(|failure| failure.status().as_u16());
        assert_eq!(
            codes,
            [
                500, 500, 503, 502, 400, 413, 431, 500, 500, 404, 503, 408, 503, 504
            ]
        );
    }

    #[test]
    fn seconds() {
        let after = |retry_after| Failure::Overloaded { retry_after }.retry_after();
        assert_eq!(
            [after(0), after(1), after(30)],
            [Some(1), Some(1), Some(30)]
        );
        assert_eq!(Failure::TimedOut.retry_after(), None);
    }

    #[test]
    fn the_wait_of_load_can_be_another() {
        let with_wait = Failure::all(5).map(|failure| (failure, failure.with_wait(9)));
        for (failure, other) in with_wait {
            let is_load = matches!(
                failure,
                Failure::Overloaded { .. } | Failure::Starting { .. }
            );
            assert_eq!(failure.wait(), is_load.then_some(5), "{failure:?}");
            assert_eq!(other.wait(), is_load.then_some(9), "{failure:?}");
            assert_eq!(other == failure, !is_load, "{failure:?}");
            assert_eq!(other.status(), failure.status());
        }
        assert_eq!(Failure::Overloaded { retry_after: 0 }.wait(), Some(1));
    }
}
