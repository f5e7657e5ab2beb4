//! What can go wrong with a request, and the words for the person who waits. The operator's words are elsewhere.

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
    /// server is away, for which nobody is let in first.
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

    /// A few words for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Failure::AppBroken => "This site is out of order",
            Failure::Away { .. } | Failure::Overloaded { .. } | Failure::Starting { .. } => {
                "One moment, please"
            }
            Failure::AppFailed | Failure::BadGateway => "Something went wrong",
            Failure::BadRequest => "That request made no sense here",
            Failure::BodyTooLarge => "That was too much at once",
            Failure::HeaderTooLarge => "That was too long a header",
            Failure::Misconfigured => "This site is not set up right",
            Failure::NotAnApp => "polycgi runs here",
            Failure::NotFound => "There is nothing here",
            Failure::RequestTimeout => "That did not arrive",
            Failure::TimedOut => "That took too long",
        }
    }

    /// One or two sentences for people: what happened, and what they can do or the page does by itself.
    pub(super) fn sentence(self, refreshes: bool) -> String {
        let words = match self {
            Failure::AppBroken => {
                "The program behind this page could not be started. Its owner finds the reason in \
                 the error log."
            }
            Failure::AppFailed => {
                "The program behind this page has failed. Please try again; if it happens again, \
                 tell the site's owner, who finds the reason in the error log."
            }
            Failure::BadGateway => {
                "The program behind this page stopped before it had answered. Please try again; if \
                 it happens again, tell the site's owner."
            }
            Failure::BadRequest => {
                "The request came in a form that this site cannot read. Please go back and try \
                 again."
            }
            Failure::BodyTooLarge => "What you sent is larger than this site accepts.",
            Failure::HeaderTooLarge => {
                "The header of the request is larger than this site accepts. Deleting this site's \
                 cookies may help."
            }
            Failure::Misconfigured => {
                "The owner of this site has to correct its configuration; the error log says where."
            }
            Failure::NotAnApp => "A web server ran polycgi itself and not an app file.",
            Failure::NotFound => {
                "This address is not part of this site. Please look whether it is spelled right."
            }
            Failure::Away { .. } | Failure::Overloaded { .. } | Failure::Starting { .. } => {
                let seconds = self.retry_after().unwrap_or(1);
                let unit = if seconds == 1 { "second" } else { "seconds" };
                let again = if refreshes {
                    "This page tries again by itself"
                } else {
                    "Please try again"
                };
                let why = match self {
                    Failure::Away { .. } => "The program behind this page is not running just now",
                    Failure::Starting { .. } => "This site is starting",
                    _ => "This site is very busy",
                };
                return format!("{why}. {again} in {seconds} {unit}.");
            }
            Failure::RequestTimeout => {
                "What you sent stopped on its way here. Please go back and try again."
            }
            Failure::TimedOut => {
                "The program behind this page did not answer in time. Please try again later."
            }
        };
        words.to_owned()
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
        let sentence = |retry_after| Failure::Overloaded { retry_after }.sentence(false);
        assert!(sentence(0).ends_with(" in 1 second."));
        assert!(sentence(1).ends_with(" in 1 second."));
        assert!(sentence(30).ends_with(" in 30 seconds."));
        assert_eq!(
            Failure::Overloaded { retry_after: 0 }.retry_after(),
            Some(1)
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

    #[test]
    fn words_are_one_line_and_need_no_escape() {
        for failure in Failure::all(5) {
            for words in [failure.title(), failure.phrase(), &failure.sentence(true)] {
                assert!(!words.contains(['<', '>', '&', '"', '\\', '\n']), "{words}");
                assert!(!words.contains("  "), "{words}");
            }
        }
    }
}
