//! The path in a request's URI, as scripts get it: decoded and resolved. It does not know which part is the script's
//! name.

use memchr::{memchr, memchr2, memchr3, memmem};

/// The decoded path of a REQUEST_URI. `None` if it has none: see [`sent`].
pub(super) fn path(request_uri: &[u8]) -> Option<Vec<u8>> {
    let path = sent(request_uri)?;
    // RFC 9110 4.2.3
    Some(if path.is_empty() {
        b"/".to_vec()
    } else {
        decoded(path)
    })
}

/// The path of a REQUEST_URI as the client sent it: a request-target (RFC 9112 3.2) in origin-form, or in the
/// absolute-form that Apache passes on as it came. `None` if it has no path: `*`, or the target of CONNECT.
fn sent(request_uri: &[u8]) -> Option<&[u8]> {
    let rest = if request_uri.starts_with(b"/") {
        request_uri
    } else {
        let scheme_end = memmem::find(request_uri, b"://")?;
        if memchr3(b'/', b'?', b'#', &request_uri[..scheme_end]).is_some() {
            return None;
        }
        let rest = &request_uri[scheme_end + 3..];
        &rest[memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len())..]
    };
    Some(&rest[..memchr2(b'?', b'#', rest).unwrap_or(rest.len())])
}

/// The part of a REQUEST_URI's path, as the client sent it, that stands for this decoded path; `None` if the request is
/// for nothing that is at it or below it.
pub fn sent_prefix<'a>(request_uri: &'a [u8], decoded_path: &[u8]) -> Option<&'a [u8]> {
    let sent = sent(request_uri)?;
    let mut rest = sent;
    for &wanted in decoded_path {
        let (byte, length) = first(rest)?;
        if byte != wanted {
            return None;
        }
        rest = &rest[length..];
    }
    let is_whole = decoded_path.ends_with(b"/") || matches!(rest, [] | [b'/', ..]);
    is_whole.then(|| &sent[..sent.len() - rest.len()])
}

/// Percent-decoded once (RFC 3986 2.1). What is no valid escape stays.
pub fn decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'%', rest) {
        decoded.extend_from_slice(&rest[..at]);
        let Some((byte, length)) = first(&rest[at..]) else {
            break;
        };
        decoded.push(byte);
        rest = &rest[at + length..];
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// The first byte of a text once it is decoded, and how many bytes stand for it.
fn first(text: &[u8]) -> Option<(u8, usize)> {
    let escaped = match text {
        [b'%', high, low, ..] => nibble(*high).zip(nibble(*low)),
        _ => None,
    };
    match escaped {
        Some((high, low)) => Some((high << 4 | low, 3)),
        None => text.first().map(|&byte| (byte, 1)),
    }
}

/// Removes dot segments (RFC 3986 5.2.4). Every web server does so before a script sees a path, and a script that opens
/// files by its PATH_INFO relies on it. `merges`: removes empty segments too.
fn resolved(path: &[u8], merges: bool) -> Vec<u8> {
    let mut resolved = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let parent = memchr::memrchr(b'/', &resolved);
                    resolved.truncate(parent.unwrap_or(0));
                }
                if is_last {
                    resolved.push(b'/');
                }
            }
            b"" if merges && !is_last => {}
            _ => {
                resolved.push(b'/');
                resolved.extend_from_slice(segment);
            }
        }
    }
    resolved
}

/// Resolves the path as the web server has resolved `own`: empty segments are merged, unless `own` has some or is
/// empty.
pub(super) fn resolved_as(path: &[u8], own: &[u8]) -> Vec<u8> {
    let merges = !own.is_empty() && !has_empty_segment(own);
    resolved(path, merges)
}

/// Whether there are two slashes beside each other.
fn has_empty_segment(path: &[u8]) -> bool {
    memmem::find(path, b"//").is_some()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths() {
        let cases: [(&str, Option<&[u8]>); 22] = [
            ("/", Some(b"/")),
            ("/a?b", Some(b"/a")),
            ("/a?b?c#d", Some(b"/a")),
            ("/a#b?c", Some(b"/a")),
            ("?a", None),
            ("/a%20b%2Fc%2f", Some(b"/a b/c/")),
            ("/%C3%A9", Some(b"/\xc3\xa9")),
            ("/a+b", Some(b"/a+b")),
            ("/%2541", Some(b"/%41")),
            ("/%00", Some(b"/\0")),
            ("/%", Some(b"/%")),
            ("/%4", Some(b"/%4")),
            ("/%zz%41", Some(b"/%zzA")),
            ("/%%41", Some(b"/%A")),
            ("//a//b", Some(b"//a//b")),
            ("http://h/a%41?q", Some(b"/aA")),
            ("HTTPS://user@h:8000//a", Some(b"//a")),
            ("http://h", Some(b"/")),
            ("http://h?q", Some(b"/")),
            ("*", None),
            ("h:443", None),
            ("a/b://c/d", None),
        ];
        for (given, expected) in cases {
            assert_eq!(path(given.as_bytes()).as_deref(), expected, "{given}");
        }
        assert_eq!(path(b""), None);
    }

    #[test]
    fn what_is_resolved() {
        // given, empty segments kept, merged
        let cases = [
            ("/", "/", "/"),
            ("/a/./b", "/a/b", "/a/b"),
            ("/a/../b", "/b", "/b"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/.", "/a/", "/a/"),
            ("/.", "/", "/"),
            ("/..", "/", "/"),
            ("/../../a", "/a", "/a"),
            ("/...", "/...", "/..."),
            ("/a..b/.c", "/a..b/.c", "/a..b/.c"),
            ("//a///b", "//a///b", "/a/b"),
            ("/a//", "/a//", "/a/"),
            ("//", "//", "/"),
            // RFC 3986 5.2.4 takes an empty segment for one
            ("/a//../b", "/a/b", "/b"),
            ("", "", ""),
        ];
        for (given, kept, merged) in cases {
            let text = |merges| String::from_utf8(resolved(given.as_bytes(), merges)).unwrap();
            assert_eq!(text(false), kept, "{given}");
            assert_eq!(text(true), merged, "{given}");
        }
    }

    proptest! {
        #[test]
        fn nothing_climbs(given in "(/|[.]|a|%2e|%2F){0,12}", merges: bool) {
            let uri = format!("/{given}");
            let path = path(uri.as_bytes()).unwrap();
            let resolved = resolved(&path, merges);
            prop_assert!(resolved.starts_with(b"/"));
            let mut segments = resolved.split(|&byte| byte == b'/');
            prop_assert!(segments.all(|segment| !matches!(segment, b"." | b"..")));
            prop_assert!(!merges || !has_empty_segment(&resolved));
            prop_assert_eq!(super::resolved(&resolved, merges), resolved);
        }
    }
}
