//! The one list of meta-variables, and which peer may send which. It knows no value's meaning.

use crate::bounded::Word;

/// The process that sent a request's meta-variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// One of our own uid: the web server that set our environment, or our front.
    Own,
    /// Any other client of a socket.
    Foreign {
        /// `listen-allow` names it: it may also send the user's identity.
        trusted: bool,
    },
}

/// Never admitted: the header field 'Proxy' would set the variable by which HTTP libraries find their proxy (httpoxy).
pub const HTTP_PROXY: Word = Word::new("HTTP_PROXY");

/// Never admitted: it is the word of a command to the daemon, and no part of a request.
const CONTROL: Word = Word::new("POLYCGI_CONTROL");

/// Whether this peer may send a meta-variable of this name.
pub fn admitted(name: &[u8], peer: Peer) -> bool {
    if HTTP_PROXY.says(name) || CONTROL.says(name) {
        return false;
    }
    match peer {
        Peer::Own => true,
        Peer::Foreign { trusted } => is_known(name) || (trusted && is_identity(name)),
    }
}

/// RFC 3875 4.1 without what is in `is_identity`, and what every web server adds. Sorted.
const KNOWN: [&[u8]; 24] = [
    b"CONTENT_LENGTH",
    b"CONTENT_TYPE",
    b"DOCUMENT_ROOT",
    b"DOCUMENT_URI",
    b"GATEWAY_INTERFACE",
    b"HTTPS",
    b"PATH_INFO",
    b"PATH_TRANSLATED",
    b"QUERY_STRING",
    b"REMOTE_ADDR",
    b"REMOTE_HOST",
    b"REMOTE_IDENT",
    b"REMOTE_PORT",
    b"REQUEST_METHOD",
    b"REQUEST_SCHEME",
    b"REQUEST_URI",
    b"SCRIPT_FILENAME",
    b"SCRIPT_NAME",
    b"SERVER_ADDR",
    b"SERVER_NAME",
    b"SERVER_PORT",
    b"SERVER_PROTOCOL",
    b"SERVER_SOFTWARE",
    b"UNIQUE_ID",
];

fn is_known(name: &[u8]) -> bool {
    name.strip_prefix(b"HTTP_")
        .is_some_and(|field| !field.is_empty())
        || KNOWN.binary_search(&name).is_ok()
}

/// Names from which an app learns who the user is: only our own processes, and web servers that `listen-allow` names,
/// may send them.
pub fn is_identity(name: &[u8]) -> bool {
    matches!(name, b"AUTH_TYPE" | b"REMOTE_USER") || name.starts_with(b"SSL_CLIENT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Peer = Peer::Foreign { trusted: false };
    const TRUSTED: Peer = Peer::Foreign { trusted: true };

    #[test]
    fn known_is_sorted() {
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn table() {
        // name, own, trusted, stranger
        let cases: &[(&str, bool, bool, bool)] = &[
            ("CONTENT_LENGTH", true, true, true),
            ("GATEWAY_INTERFACE", true, true, true),
            ("HTTPS", true, true, true),
            ("HTTP_ACCEPT", true, true, true),
            ("HTTP_COOKIE", true, true, true),
            ("HTTP_PROXY_CONNECTION", true, true, true),
            ("PATH_INFO", true, true, true),
            ("REMOTE_ADDR", true, true, true),
            ("REQUEST_URI", true, true, true),
            ("SCRIPT_FILENAME", true, true, true),
            ("SERVER_SOFTWARE", true, true, true),
            ("UNIQUE_ID", true, true, true),
            // the user's identity
            ("AUTH_TYPE", true, true, false),
            ("REMOTE_USER", true, true, false),
            ("SSL_CLIENT_S_DN", true, true, false),
            // what only our own web server's environment may hold
            ("HTTP_", true, false, false),
            ("LD_PRELOAD", true, false, false),
            ("PATH", true, false, false),
            ("POLYCGI", true, false, false),
            ("PYTHONPATH", true, false, false),
            ("REDIRECT_STATUS", true, false, false),
            ("SCGI", true, false, false),
            ("SSL_PROTOCOL", true, false, false),
            ("content_length", true, false, false),
            ("http_proxy", true, false, false),
            ("", true, false, false),
            // never
            ("HTTP_PROXY", false, false, false),
            ("POLYCGI_CONTROL", false, false, false),
        ];
        for &(name, own, trusted, stranger) in cases {
            let name = name.as_bytes();
            assert_eq!(
                admitted(name, Peer::Own),
                own,
                "own {}",
                name.escape_ascii()
            );
            assert_eq!(
                admitted(name, TRUSTED),
                trusted,
                "trusted {}",
                name.escape_ascii()
            );
            assert_eq!(
                admitted(name, STRANGER),
                stranger,
                "stranger {}",
                name.escape_ascii()
            );
        }
    }

    #[test]
    fn rfc_3875_4_1_is_taken_from_a_trusted_peer() {
        let names = "AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE GATEWAY_INTERFACE PATH_INFO \
            PATH_TRANSLATED QUERY_STRING REMOTE_ADDR REMOTE_HOST REMOTE_IDENT REMOTE_USER \
            REQUEST_METHOD SCRIPT_NAME SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE";
        for name in names.split_whitespace() {
            assert!(admitted(name.as_bytes(), TRUSTED), "{name}");
        }
    }
}
