//! How a request's path is divided: SCRIPT_NAME is the app's own path, PATH_INFO what follows it (RFC 3875 3.3). It
//! does not know which web server sent the request.

use super::request::Request;
use super::uri;

/// SCRIPT_NAME and PATH_INFO for the app, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptPath {
    /// Empty where the app is the whole site.
    pub(super) script_name: Vec<u8>,
    /// Empty, or it begins with `/`.
    pub(super) path_info: Vec<u8>,
}

impl ScriptPath {
    /// What the app is asked for.
    pub fn path_info(&self) -> &[u8] {
        &self.path_info
    }
}

/// Why a request is not for the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// The path holds NUL, which can't be put into an environment. A 400.
    Nul,
    /// This path is not below the mount. A 404.
    Outside(Vec<u8>),
}

/// The request's path, divided after the mount (a SCRIPT_NAME). Below `/wiki` are `/wiki` and all of `/wiki/`, but not
/// `/wikix`; below an empty mount is everything.
///
/// # Errors
/// The path is not below the mount, or holds NUL.
pub fn mounted(request: &Request<'_>, script_name: &str) -> Result<ScriptPath, Unmounted> {
    let path = path(request);
    if memchr::memchr(0, &path).is_some() {
        return Err(Unmounted::Nul);
    }
    let below = path.strip_prefix(script_name.as_bytes());
    match below.filter(|rest| matches!(rest, [] | [b'/', ..])) {
        // The root of a site is `/`.
        Some(_) if path.is_empty() => Ok(ScriptPath::new(b"", b"/")),
        Some(path_info) => Ok(ScriptPath::new(script_name.as_bytes(), path_info)),
        None => Err(Unmounted::Outside(path)),
    }
}

/// The path that the client asked for, decoded and resolved: that of REQUEST_URI, or without one the web server's.
fn path(request: &Request<'_>) -> Vec<u8> {
    let text = |name| request.value(name).unwrap_or_default();
    let own = match text("DOCUMENT_URI") {
        b"" => [text("SCRIPT_NAME"), text("PATH_INFO")].concat(),
        document_uri => document_uri.to_vec(),
    };
    match text("REQUEST_URI") {
        b"" => own,
        // `*` is no path: it is below no mount.
        request_uri => match uri::path(request_uri) {
            Some(path) => uri::resolved_as(&path, &own),
            None => request_uri.to_vec(),
        },
    }
}

impl ScriptPath {
    pub(super) fn new(script_name: &[u8], path_info: &[u8]) -> ScriptPath {
        ScriptPath {
            script_name: script_name.to_vec(),
            path_info: path_info.to_vec(),
        }
    }
}

impl<'a> Request<'a> {
    /// The same request with its path divided so. A PATH_TRANSLATED that was made from another PATH_INFO is dropped.
    pub fn at<'b>(&self, path: &'b ScriptPath) -> Request<'b>
    where
        'a: 'b,
    {
        let (script_name, path_info) = (&path.script_name[..], &path.path_info[..]);
        let is_same = self.value("PATH_INFO").unwrap_or_default() == path_info;
        let kept = self.meta().iter().copied().filter(|(name, _)| match *name {
            b"PATH_INFO" | b"SCRIPT_NAME" => false,
            b"PATH_TRANSLATED" => is_same,
            _ => true,
        });
        let script_name = (&b"SCRIPT_NAME"[..], script_name);
        // RFC 3875 4.1.5: without one, nothing follows the script's name.
        let path_info = (!path_info.is_empty()).then_some((&b"PATH_INFO"[..], path_info));
        self.with_meta(
            kept.chain([script_name]).chain(path_info),
            self.content_length(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::Peer;

    fn request<'a>(meta: &[(&'a str, &'a str)]) -> Request<'a> {
        let pairs = meta
            .iter()
            .map(|&(name, value)| (name.as_bytes(), value.as_bytes()));
        Request::from_meta(pairs, Peer::Own).unwrap()
    }

    /// PATH_INFO, or what is wrong.
    fn path_info(meta: &[(&str, &str)], mount: &str) -> String {
        match mounted(&request(meta), mount) {
            Ok(path) => {
                assert_eq!(path.script_name, mount.as_bytes());
                String::from_utf8_lossy(&path.path_info).into_owned()
            }
            Err(Unmounted::Nul) => "NUL".to_owned(),
            Err(Unmounted::Outside(_)) => "outside".to_owned(),
        }
    }

    #[test]
    fn below_a_mount() {
        let cases = [
            ("/wiki", "", "/wiki"),
            ("/wiki?a=/b", "", "/wiki"),
            ("/wiki/", "/", "/wiki/"),
            ("/wiki/a%20b?c", "/a b", "/wiki/a b"),
            ("/wiki/a%2Fb", "/a/b", "/wiki/a/b"),
            ("/%77iki/a", "/a", "/wiki/a"),
            ("%2Fwiki/a", "outside", "outside"),
            ("/%2577iki", "outside", "/%77iki"),
            ("/wiki%2Fa", "/a", "/wiki/a"),
            ("http://h/wiki/a", "/a", "/wiki/a"),
            ("/wikix", "outside", "/wikix"),
            ("/Wiki", "outside", "/Wiki"),
            ("/", "outside", "/"),
            ("http://h", "outside", "/"),
            ("*", "outside", "outside"),
            ("/wiki/a%00b", "NUL", "NUL"),
            ("/a%00b", "NUL", "NUL"),
            ("/wiki/../a", "outside", "/a"),
            ("/wiki/%2e%2e/a", "outside", "/a"),
            ("/wiki/b%2F..%2F../a", "outside", "/a"),
            ("/a/../wiki/./b", "/b", "/wiki/b"),
        ];
        for (uri, wiki, root) in cases {
            let meta = [("REQUEST_URI", uri)];
            assert_eq!(path_info(&meta, "/wiki"), wiki, "{uri}");
            assert_eq!(path_info(&meta, ""), root, "{uri}");
        }
        assert_eq!(path_info(&[("REQUEST_URI", "/a%2fb/c")], "/a/b"), "/c");
        assert_eq!(path_info(&[("REQUEST_URI", "/%C3%A9/c")], "/é"), "/c");
    }

    #[test]
    fn empty_segments_are_the_web_server_s() {
        let cases = [
            // Without a path of the web server's own nothing is merged.
            (("SCRIPT_NAME", ""), "//a///b"),
            (("SCRIPT_NAME", "/wiki/a/b"), "/a/b"),
            (("DOCUMENT_URI", "/wiki/a/b"), "/a/b"),
            (("DOCUMENT_URI", "/wiki//a///b"), "//a///b"),
        ];
        for (own, expected) in cases {
            let meta = [("REQUEST_URI", "/wiki//a///b"), own];
            assert_eq!(path_info(&meta, "/wiki"), expected, "{own:?}");
        }
    }

    #[test]
    fn without_a_request_uri() {
        let both = [("SCRIPT_NAME", "/wiki"), ("PATH_INFO", "/a%20b")];
        assert_eq!(path_info(&both, "/wiki"), "/a%20b");
        assert_eq!(path_info(&both, ""), "/wiki/a%20b");
        let document = [("SCRIPT_NAME", "/x"), ("DOCUMENT_URI", "/wiki/a")];
        assert_eq!(path_info(&document, "/wiki"), "/a");
        assert_eq!(path_info(&[], "/wiki"), "outside");
        assert_eq!(path_info(&[], ""), "/");
    }
}
