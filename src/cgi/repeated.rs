//! Names that a web server gives twice, and means something by it. Which names are taken at all, and what becomes of
//! other duplicates, is decided behind this.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::unique::any_twice;

/// A meta-variable; its value may be made of several.
type Pair<'a> = (&'a [u8], Cow<'a, [u8]>);

/// Which web server it is, as far as that matters for names that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Lighttpd,
    Nginx,
    Other,
}

/// Fields that make no list: two of them are for nobody to choose from.
const SINGLE: [&[u8]; 5] = [
    b"HTTP_AUTHORIZATION",
    b"HTTP_CONTENT_LENGTH",
    b"HTTP_CONTENT_TYPE",
    b"HTTP_HOST",
    b"HTTP_TRANSFER_ENCODING",
];

/// The pairs with names once that this web server gives twice, and means something by it. All other duplicates are
/// left, to be merged or refused.
pub fn settled<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> impl Iterator<Item = Pair<'a>> {
    // In nearly every request there is nothing to settle, and nothing is allocated.
    let server = server(pairs.clone());
    let is_settled = server == Server::Other || !any_twice(pairs.clone().map(|(name, _)| name));
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

#[cold]
#[inline(never)]
fn joined(mut pairs: Vec<Pair<'_>>, server: Server) -> Vec<Pair<'_>> {
    // Sorted, as a header has room for too many names to compare each with each.
    let mut order: SmallVec<[usize; 64]> = (0..pairs.len()).collect();
    order.sort_unstable_by_key(|&index| (pairs[index].0, index));
    let mut surplus: SmallVec<[usize; 8]> = SmallVec::new();
    let mut found: SmallVec<[(usize, Cow<'_, [u8]>); 8]> = SmallVec::new();
    for same in order.chunk_by(|&one, &other| pairs[one].0 == pairs[other].0) {
        let &[first, .., last] = same else { continue };
        let name = pairs[first].0;
        let is_field = name.starts_with(b"HTTP_");
        let settled = match server {
            // A field that the client repeated, which all others join, as does nginx since 1.23.
            Server::Nginx if is_field && !SINGLE.contains(&name) => {
                // RFC 9110 5.3; RFC 6265 5.4
                let separator: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
                let values: Vec<&[u8]> = same.iter().map(|&i| pairs[i].1.as_ref()).collect();
                Cow::Owned(values.join(separator))
            }
            // What the operator sets with setenv comes behind what it replaces. Fields are the client's: `X-A` and
            // `X_A` have one name here.
            Server::Lighttpd if !is_field && !name.starts_with(b"CONTENT_") => {
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

/// By what each is known to send: nginx has a DOCUMENT_URI, and says who it is only where it was told to.
fn server<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Server {
    let value = |wanted: &[u8]| {
        let found = pairs.clone().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value)
    };
    match value(b"SERVER_SOFTWARE").unwrap_or_default() {
        software if software.starts_with(b"lighttpd/") => Server::Lighttpd,
        software if !software.is_empty() && !software.starts_with(b"nginx") => Server::Other,
        _ if value(b"DOCUMENT_URI").is_some() => Server::Nginx,
        _ => Server::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APACHE: &str = "SERVER_SOFTWARE=Apache/2.4.71 (Debian)\nDOCUMENT_ROOT=/var/www/html\n";
    const LIGHTTPD: &str = "SERVER_SOFTWARE=lighttpd/1.4.69\nGATEWAY_INTERFACE=CGI/1.1\n";

    /// What a server sends that matters here: names and values with a space between, one a line.
    fn pairs(text: &str) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        text.lines().map(str::trim).filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.as_bytes(), value.as_bytes()))
        })
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
            (
                nginx,
                "PATH_INFO=/a\nPATH_INFO=/b",
                "PATH_INFO=/a\nPATH_INFO=/b",
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
            // Nobody in particular.
            ("", "HTTP_X_A=1\nHTTP_X_A=2", "HTTP_X_A=1\nHTTP_X_A=2"),
        ];
        for (server, sent, expected) in cases {
            let (sent, expected) = (format!("{server}{sent}"), format!("{server}{expected}"));
            let settled: Vec<_> = settled(pairs(&sent)).collect();
            let settled: Vec<_> = settled.iter().map(|(n, v)| (*n, v.as_ref())).collect();
            assert_eq!(settled, pairs(&expected).collect::<Vec<_>>(), "{sent}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_up(given in prop::collection::vec(("(HTTP_)?[A-C]", "[01]"), 0..20), server in 0..3) {
            let server = ["DOCUMENT_URI=/", "SERVER_SOFTWARE=lighttpd/1", "X=y"][server as usize];
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
