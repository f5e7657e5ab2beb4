//! Names that a web server sends twice on purpose. It does not decide which names are admitted, nor about other
//! duplicates.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::unique::any_twice;

/// A meta-variable; its value may be joined from several.
type JoinedVariable<'a> = (&'a [u8], Cow<'a, [u8]>);

/// The web server, as far as that matters for names that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WebServer {
    Lighttpd,
    Nginx,
    /// One that runs CGIs, or is not known.
    Other,
    /// A FastCGI client that sends a pair for each line of a header.
    Records,
    /// Another SCGI client.
    Scgi,
}

/// Fields whose values are no list: two of them can't be joined.
const SINGLE: [&[u8]; 5] = [
    b"HTTP_AUTHORIZATION",
    b"HTTP_CONTENT_LENGTH",
    b"HTTP_CONTENT_TYPE",
    b"HTTP_HOST",
    b"HTTP_TRANSFER_ENCODING",
];

const CONTENT_LENGTH: &[u8] = b"CONTENT_LENGTH";

/// The pairs, with each name once that this web server sends twice on purpose. Other duplicates stay: later they are
/// merged or refused.
pub fn settled<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> impl Iterator<Item = JoinedVariable<'a>> {
    settled_from(web_server(pairs.clone()), pairs)
}

/// The same for what came by FastCGI.
pub fn settled_of_records<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> impl Iterator<Item = JoinedVariable<'a>> {
    let server = match web_server(pairs.clone()) {
        WebServer::Lighttpd => WebServer::Lighttpd,
        WebServer::Nginx => WebServer::Records,
        _ if sends_each_line(pairs.clone()) => WebServer::Records,
        _ => WebServer::Scgi,
    };
    settled_from(server, pairs)
}

fn settled_from<'a>(
    server: WebServer,
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> impl Iterator<Item = JoinedVariable<'a>> {
    // In nearly every request there is nothing to settle, and nothing is allocated.
    let is_settled = server == WebServer::Other || !any_twice(pairs.clone().map(|(name, _)| name));
    let (plain, settled) = if is_settled {
        (Some(pairs), Vec::new())
    } else {
        let pairs = pairs.map(|(name, value)| (name, Cow::Borrowed(value)));
        (None, joined(pairs.collect(), server))
    };
    let plain = plain.into_iter().flatten();
    plain
        .map(|(name, value)| (name, Cow::Borrowed(value)))
        .chain(settled)
}

/// The names to which the operator has given several values, of which the last counts; for a log line. No header
/// fields: those are the client's.
#[cold]
#[inline(never)]
pub fn overridden<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> BTreeSet<&'a [u8]> {
    let is_own = web_server(pairs.clone()) != WebServer::Other;
    let can_be = |name: &[u8]| !name.starts_with(b"HTTP_") && name != CONTENT_LENGTH;
    let own = pairs.filter(|(name, _)| is_own && can_be(name));
    let mut known = BTreeMap::new();
    own.filter(|&(name, value)| *known.entry(name).or_insert(value) != value)
        .map(|(name, _)| name)
        .collect()
}

#[cold]
#[inline(never)]
fn joined(mut pairs: Vec<JoinedVariable<'_>>, server: WebServer) -> Vec<JoinedVariable<'_>> {
    // Sorted: a header can hold too many names to compare each with each.
    let mut order: SmallVec<[usize; 64]> = (0..pairs.len()).collect();
    order.sort_unstable_by_key(|&index| (pairs[index].0, index));
    let mut surplus: SmallVec<[usize; 8]> = SmallVec::new();
    let mut found: SmallVec<[(usize, Cow<'_, [u8]>); 8]> = SmallVec::new();
    for same in order.chunk_by(|&one, &other| pairs[one].0 == pairs[other].0) {
        let &[first, .., last] = same else { continue };
        let name = pairs[first].0;
        let is_field = name.starts_with(b"HTTP_");
        let settled = match server {
            // A field that the client repeated. Other web servers join it, and so does nginx since 1.23.
            WebServer::Nginx | WebServer::Records if is_field && !SINGLE.contains(&name) => {
                // RFC 9110 5.3; RFC 6265 5.4
                let separator: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
                let values: Vec<&[u8]> = same.iter().map(|&i| pairs[i].1.as_ref()).collect();
                Cow::Owned(values.join(separator))
            }
            // The first is nginx's own: the bytes that it sends. Others are scgi_params, mostly $content_length, which
            // is the client's.
            WebServer::Nginx if name == CONTENT_LENGTH => {
                if first > 0 {
                    continue;
                }
                pairs[first].1.clone()
            }
            // What the operator sets (a scgi_param after an included file, setenv) comes after what it replaces. Not so
            // fields, which are the client's: `X-A` and `X_A` have the same name here.
            WebServer::Nginx | WebServer::Records if !is_field => pairs[last].1.clone(),
            WebServer::Lighttpd | WebServer::Scgi
                if !is_field && !name.starts_with(b"CONTENT_") =>
            {
                pairs[last].1.clone()
            }
            _ => continue,
        };
        found.push((first, settled));
        surplus.extend_from_slice(&same[1..]);
    }
    for (index, value) in found {
        pairs[index].1 = value;
    }
    surplus.sort_unstable();
    let mut surplus = surplus.into_iter().peekable();
    let mut index = 0;
    pairs.retain(|_| {
        let keep = surplus.next_if_eq(&index).is_none();
        index += 1;
        keep
    });
    pairs
}

/// HAProxy or h2o.
fn sends_each_line<'a>(mut pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    let software = pairs.find(|(name, _)| *name == b"SERVER_SOFTWARE");
    software.is_some_and(|(_, value)| value.starts_with(b"HAProxy") || value.starts_with(b"h2o"))
}

/// By what each sends. nginx sends DOCUMENT_URI, and SERVER_SOFTWARE only where it is configured to.
fn web_server<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> WebServer {
    let value = |wanted: &[u8]| {
        let found = pairs.clone().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value)
    };
    let is_scgi = value(b"SCGI").is_some();
    match value(b"SERVER_SOFTWARE").unwrap_or_default() {
        software if software.starts_with(b"lighttpd/") => WebServer::Lighttpd,
        software if !software.is_empty() && !software.starts_with(b"nginx") => {
            if is_scgi {
                WebServer::Scgi
            } else {
                WebServer::Other
            }
        }
        _ if value(b"DOCUMENT_URI").is_some() => WebServer::Nginx,
        _ if is_scgi => WebServer::Scgi,
        _ => WebServer::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APACHE: &str = "SERVER_SOFTWARE=Apache/2.4.71 (Debian)\nDOCUMENT_ROOT=/var/www/html\n";
    const LIGHTTPD: &str = "SERVER_SOFTWARE=lighttpd/1.4.69\nGATEWAY_INTERFACE=CGI/1.1\n";

    /// Meta-variables from a text: NAME=value, one a line.
    fn pairs(text: &str) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        text.lines().map(str::trim).filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.as_bytes(), value.as_bytes()))
        })
    }

    #[test]
    fn names_that_came_twice_by_fastcgi() {
        for software in ["h2o/2.2.5", "HAProxy 2.6.12", "nginx/1.22.1", ""] {
            let text = format!(
                "SERVER_SOFTWARE={software}\nDOCUMENT_URI=/\nCONTENT_LENGTH=5\nHTTP_COOKIE=a=b\nHTTP_VIA=one\nHTTP_HOST=h\n\
                 CONTENT_LENGTH=\nHTTP_COOKIE=c=d\nHTTP_VIA=two\nHTTP_HOST=i\nOWN=1\nOWN=2"
            );
            let found: Vec<_> = settled_of_records(pairs(&text))
                .map(|(name, value)| (name.to_vec(), value.into_owned()))
                .collect();
            let expected = format!(
                "SERVER_SOFTWARE={software}\nDOCUMENT_URI=/\nCONTENT_LENGTH=\nHTTP_COOKIE=a=b; c=d\nHTTP_VIA=one, two\nHTTP_HOST=h\n\
                 HTTP_HOST=i\nOWN=2"
            );
            let expected: Vec<_> = pairs(&expected)
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect();
            assert_eq!(found, expected, "{software}");
        }
        // What the client repeated is joined by the web server, or it is another name's.
        for software in ["lighttpd/1.4.69", "Apache/2.4.71", "Caddy"] {
            let text = format!("SERVER_SOFTWARE={software}\nHTTP_X_A=1\nOWN=1\nHTTP_X_A=2\nOWN=2");
            let found = settled_of_records(pairs(&text)).map(|(_, value)| value.into_owned());
            let expected = [software, "1", "2", "2"].map(|value| value.as_bytes().to_vec());
            let sorted = |mut values: Vec<Vec<u8>>| {
                values[1..].sort();
                values
            };
            assert_eq!(
                sorted(found.collect()),
                sorted(expected.to_vec()),
                "{software}"
            );
        }
    }

    #[test]
    fn names_that_came_twice() {
        let nginx = "DOCUMENT_URI=/a\n";
        let told = "DOCUMENT_URI=/a\nSERVER_SOFTWARE=nginx/1.22.1\n";
        let cases = [
            (
                nginx,
                "HTTP_X_A=1\nHTTP_B=b\nHTTP_X_A=2",
                "HTTP_X_A=1, 2\nHTTP_B=b",
            ),
            (
                told,
                "HTTP_X_A=1\nHTTP_X_A=1\nHTTP_X_A=2",
                "HTTP_X_A=1, 1, 2",
            ),
            (
                nginx,
                "HTTP_COOKIE=a=1\nHTTP_COOKIE=b=2",
                "HTTP_COOKIE=a=1; b=2",
            ),
            (
                nginx,
                "HTTP_HOST=a\nHTTP_HOST=b",
                "HTTP_HOST=a\nHTTP_HOST=b",
            ),
            // include scgi_params; scgi_param SERVER_NAME q;
            (
                nginx,
                "SERVER_NAME=h\nHTTP_B=b\nSERVER_NAME=p\nSERVER_NAME=q",
                "SERVER_NAME=q\nHTTP_B=b",
            ),
            (told, "CONTENT_TYPE=a\nCONTENT_TYPE=", "CONTENT_TYPE="),
            // Only if it is the first name of all: then it is nginx's own.
            (
                nginx,
                "CONTENT_LENGTH=0\nCONTENT_LENGTH=5",
                "CONTENT_LENGTH=0\nCONTENT_LENGTH=5",
            ),
            (
                "",
                "CONTENT_LENGTH=0\nSCGI=1\nDOCUMENT_URI=/a\nCONTENT_LENGTH=5\nCONTENT_LENGTH=",
                "CONTENT_LENGTH=0\nSCGI=1\nDOCUMENT_URI=/a",
            ),
            // An unknown SCGI client.
            (
                "SCGI=1\n",
                "PATH_INFO=/a\nPATH_INFO=/b\nHTTP_A=1\nHTTP_A=2",
                "PATH_INFO=/b\nHTTP_A=1\nHTTP_A=2",
            ),
            (
                "SCGI=1\n",
                "CONTENT_TYPE=a\nCONTENT_TYPE=b",
                "CONTENT_TYPE=a\nCONTENT_TYPE=b",
            ),
            // setenv.add-environment = ("SERVER_NAME" => "q")
            (
                LIGHTTPD,
                "SERVER_NAME=h\nHTTP_HOST=h\nSERVER_NAME=q",
                "SERVER_NAME=q\nHTTP_HOST=h",
            ),
            // X_B: y and X-B: z
            (LIGHTTPD, "HTTP_X_B=y\nHTTP_X_B=z", "HTTP_X_B=y\nHTTP_X_B=z"),
            (
                LIGHTTPD,
                "CONTENT_LENGTH=0\nCONTENT_LENGTH=5",
                "CONTENT_LENGTH=0\nCONTENT_LENGTH=5",
            ),
            (APACHE, "HTTP_X_A=1\nHTTP_X_A=2", "HTTP_X_A=1\nHTTP_X_A=2"),
            // An unknown web server.
            ("", "HTTP_X_A=1\nHTTP_X_A=2", "HTTP_X_A=1\nHTTP_X_A=2"),
            (
                "",
                "PATH_INFO=/a\nPATH_INFO=/b",
                "PATH_INFO=/a\nPATH_INFO=/b",
            ),
        ];
        for (server, sent, expected) in cases {
            let (sent, expected) = (format!("{server}{sent}"), format!("{server}{expected}"));
            let settled: Vec<_> = settled(pairs(&sent)).collect();
            let settled: Vec<_> = settled.iter().map(|(n, v)| (*n, v.as_ref())).collect();
            assert_eq!(settled, pairs(&expected).collect::<Vec<_>>(), "{sent}");
        }
    }

    #[test]
    fn names_that_the_operator_gives_two_values() {
        let cases: [(&str, &[&str]); 7] = [
            ("DOCUMENT_URI=/a\nA=1\nB=1\nA=1\nB=2", &["B"]),
            ("SCGI=1\nB=1\nA=1\nA=2\nB=2\nB=1", &["A", "B"]),
            ("SERVER_SOFTWARE=lighttpd/1\nA=1\nA=2", &["A"]),
            ("SERVER_SOFTWARE=x\nSCGI=1\nA=1\nA=2", &["A"]),
            ("A=1\nA=2", &[]),
            ("DOCUMENT_URI=/a\nHTTP_A=1\nHTTP_A=2", &[]),
            ("CONTENT_LENGTH=0\nDOCUMENT_URI=/a\nCONTENT_LENGTH=1", &[]),
        ];
        for (sent, names) in cases {
            let found: Vec<_> = overridden(pairs(sent)).into_iter().collect();
            let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(found, names, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_up(given in prop::collection::vec(("(HTTP_)?[A-C]", "[01]"), 0..20), server in 0..4) {
            let server = ["DOCUMENT_URI=/", "SERVER_SOFTWARE=lighttpd/1", "SCGI=1", "X=y"][server as usize];
            let text: String = given.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            let text = format!("{server}\n{text}");
            let settled: Vec<_> = settled(pairs(&text)).collect();
            for (name, value) in &settled {
                let sent: Vec<&[u8]> = pairs(&text).filter(|p| p.0 == *name).map(|p| p.1).collect();
                prop_assert!(sent.contains(&value.as_ref()) || sent.join(&b", "[..]) == value.as_ref());
            }
            for (name, _) in pairs(&text) {
                prop_assert!(settled.iter().any(|pair| pair.0 == name));
            }
        }
    }
}
