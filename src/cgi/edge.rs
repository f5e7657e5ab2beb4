//! Divides a request's path into SCRIPT_NAME and PATH_INFO where a web server's own SCGI module left it undivided or
//! divided it wrongly. Each rule is a row of the table below, which was measured. It changes no other request.

use super::request::Request;
use super::script::ScriptPath;
use super::uri;

/// The right division of a request's path; `None` if it came with that division. Without a `mount` the app's place in
/// the site is not known: then an undivided path is all PATH_INFO, as if the app were the whole site.
pub fn divided(request: &Request<'_>) -> Option<ScriptPath> {
    let script_name = request.value("SCRIPT_NAME");
    let path_info = request.value("PATH_INFO");
    let text = |name| request.value(name).unwrap_or_default();
    let document_uri = text("DOCUMENT_URI");
    let asked = || uri::path(text("REQUEST_URI")).filter(|path| !path.contains(&0));
    match (script_name, path_info) {
        (None, Some(path_info)) => Some(ScriptPath::new(b"", path_info)),
        // An empty SCRIPT_NAME without PATH_INFO counts as none: no path is empty.
        (None | Some(b""), None) if !document_uri.is_empty() => {
            Some(ScriptPath::new(b"", document_uri))
        }
        (None | Some(b""), None) => {
            let path = uri::resolved_as(&asked()?, b"");
            Some(ScriptPath::new(b"", &path))
        }
        // lighttpd for the whole site without fix-root-scriptname. No script's name ends in a slash.
        (Some(b"/"), None) => Some(ScriptPath::new(b"", b"/")),
        // nginx with a scgi_param for SCRIPT_NAME and none for PATH_INFO.
        (Some(script_name), None) if !document_uri.is_empty() => {
            let path_info = document_uri.strip_prefix(script_name)?;
            path_info
                .starts_with(b"/")
                .then(|| ScriptPath::new(script_name, path_info))
        }
        (Some(path), None) if is_proxied(request) && !is_file(request, path) => {
            Some(ScriptPath::new(b"", path))
        }
        // Apache with proxy-scgi-pathinfo: PATH_INFO is not decoded, and SCRIPT_NAME is cut by its encoded length.
        (Some(script_name), Some(path_info)) if is_proxied(request) => {
            let path = uri::resolved_as(&asked()?, script_name);
            // ProxyPass sends a slash where nothing follows its path.
            let is_nothing = path_info == b"/" && !path.ends_with(b"/");
            let path_info = uri::decoded(if is_nothing { b"" } else { path_info });
            let is_right = path == [script_name, text("PATH_INFO")].concat();
            let script_name = path.strip_suffix(path_info.as_slice())?;
            (!is_right).then(|| ScriptPath::new(script_name, &path_info))
        }
        _ => None,
    }
}

/// Whether Apache's mod_proxy_scgi sent it.
fn is_proxied(request: &Request<'_>) -> bool {
    let text = |name| request.value(name).unwrap_or_default();
    text("SERVER_SOFTWARE").starts_with(b"Apache") && text("SCRIPT_FILENAME").starts_with(b"proxy:")
}

/// Whether Apache found the script as a file, as with `SetHandler`. Then the path is divided, even if nothing follows
/// the script's name.
fn is_file(request: &Request<'_>, script_name: &[u8]) -> bool {
    let text = |name| request.value(name).unwrap_or_default();
    let root = text("DOCUMENT_ROOT");
    !root.is_empty() && text("SCRIPT_FILENAME").ends_with(&[root, script_name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::Peer;

    /// Meta-variables from a text: NAME=value, one a line.
    fn pairs(text: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        text.lines().map(str::trim).filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.as_bytes(), value.as_bytes()))
        })
    }

    /// SCRIPT_NAME and PATH_INFO after [`divided`].
    fn repaired(text: &str) -> (Option<String>, Option<String>) {
        let request = Request::from_scgi_client(pairs(text), Peer::Own).unwrap();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let both = |request: &Request<'_>| {
            let value = |name| request.value(name).map(text);
            (value("SCRIPT_NAME"), value("PATH_INFO"))
        };
        divided(&request).map_or_else(|| both(&request), |path| both(&request.at(&path)))
    }

    const NGINX: &str = "DOCUMENT_ROOT=/usr/share/nginx/html\nSERVER_PROTOCOL=HTTP/1.1\n";
    const APACHE: &str = "SERVER_SOFTWARE=Apache/2.4.71 (Debian)\nDOCUMENT_ROOT=/var/www/html\n";
    const LIGHTTPD: &str = "SERVER_SOFTWARE=lighttpd/1.4.69\nGATEWAY_INTERFACE=CGI/1.1\n";

    /// Measured with nginx 1.22.1 (Debian's scgi_params), Apache 2.4.71 and lighttpd 1.4.69.
    #[test]
    fn paths_as_they_were_measured() {
        let cases = [
            // location / or /wiki: neither is sent
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b/c%2Fd?x=1%20\nDOCUMENT_URI=/wiki/a b/c/d",
                (Some(""), Some("/wiki/a b/c/d")),
            ),
            (
                NGINX,
                "REQUEST_URI=/wiki//a///b/./x/../c\nDOCUMENT_URI=/wiki/a/b/c",
                (Some(""), Some("/wiki/a/b/c")),
            ),
            (
                NGINX,
                "REQUEST_URI=/\nDOCUMENT_URI=/",
                (Some(""), Some("/")),
            ),
            // rewrite ^/wiki/(.*)$ /w/$1 break
            (
                NGINX,
                "REQUEST_URI=/wiki/a\nDOCUMENT_URI=/w/a",
                (Some(""), Some("/w/a")),
            ),
            // scgi_param SCRIPT_NAME and PATH_INFO, as its manual has it for FastCGI
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b\nDOCUMENT_URI=/wiki/a b\nSCRIPT_NAME=/wiki\nPATH_INFO=/a b",
                (Some("/wiki"), Some("/a b")),
            ),
            (
                NGINX,
                "REQUEST_URI=/wiki\nDOCUMENT_URI=/wiki\nSCRIPT_NAME=/wiki\nPATH_INFO=",
                (Some("/wiki"), Some("")),
            ),
            // one of them only
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b\nDOCUMENT_URI=/wiki/a b\nSCRIPT_NAME=/wiki",
                (Some("/wiki"), Some("/a b")),
            ),
            (
                NGINX,
                "REQUEST_URI=/wikix\nDOCUMENT_URI=/wikix\nSCRIPT_NAME=/wiki",
                (Some("/wiki"), None),
            ),
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b\nDOCUMENT_URI=/wiki/a b\nPATH_INFO=/wiki/a b",
                (Some(""), Some("/wiki/a b")),
            ),
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b\nDOCUMENT_URI=/wiki/a b\nSCRIPT_NAME=",
                (Some(""), Some("/wiki/a b")),
            ),
            // a location without scgi_params
            (NGINX, "HTTP_HOST=h", (None, None)),
            // and with REQUEST_URI only
            (
                NGINX,
                "REQUEST_URI=/wiki/a%20b//c?x",
                (Some(""), Some("/wiki/a b//c")),
            ),
            // ProxyPass /wiki scgi://127.0.0.1:4000/wiki, and / scgi://127.0.0.1:4000/
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/wiki/aA\nREQUEST_URI=http://h/wiki/a%41?q\nSCRIPT_NAME=/wiki/aA",
                (Some(""), Some("/wiki/aA")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/wiki\nREQUEST_URI=/wiki\nSCRIPT_NAME=/wiki",
                (Some(""), Some("/wiki")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/\nREQUEST_URI=/\nSCRIPT_NAME=/",
                (Some(""), Some("/")),
            ),
            // ProxyPass /wiki/ scgi://127.0.0.1:4000/: the path that the client asked for, not the one it was mapped to
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/a/b/c\nREQUEST_URI=/wiki//a///b/./x/../c\nSCRIPT_NAME=/wiki/a/b/c",
                (Some(""), Some("/wiki/a/b/c")),
            ),
            // SetHandler proxy:unix:/s|scgi://localhost/ in a Location
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://localhost//var/www/html/wiki\nREQUEST_URI=/wiki/a\nSCRIPT_NAME=/wiki\nPATH_INFO=/a",
                (Some("/wiki"), Some("/a")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://localhost//var/www/html/wiki\nREQUEST_URI=/wiki\nSCRIPT_NAME=/wiki",
                (Some("/wiki"), None),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/var/www/html/app\nREQUEST_URI=/app/a%20b?x\nSCRIPT_NAME=/app\nPATH_INFO=/a b",
                (Some("/app"), Some("/a b")),
            ),
            // SetEnvIf Request_URI . proxy-scgi-pathinfo=1
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/a%20b/c/d\nREQUEST_URI=/wiki/a%20b/c%2Fd?x=1%20\nSCRIPT_NAME=/wiki/a b\nPATH_INFO=/a%20b/c/d",
                (Some("/wiki"), Some("/a b/c/d")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/wiki/a%20b/c/d\nREQUEST_URI=/wiki/a%20b/c%2Fd?x=1%20\nSCRIPT_NAME=/wiki/a b\nPATH_INFO=/wiki/a%20b/c/d",
                (Some(""), Some("/wiki/a b/c/d")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/a/b/c\nREQUEST_URI=/wiki//a///b/./x/../c\nSCRIPT_NAME=/wiki\nPATH_INFO=/a/b/c",
                (Some("/wiki"), Some("/a/b/c")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://127.0.0.1:4000/\nREQUEST_URI=/\nSCRIPT_NAME=\nPATH_INFO=/",
                (Some(""), Some("/")),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://localhost/\nREQUEST_URI=/wiki?x\nSCRIPT_NAME=/wiki\nPATH_INFO=/",
                (Some("/wiki"), None),
            ),
            (
                APACHE,
                "SCRIPT_FILENAME=proxy:scgi://localhost/\nREQUEST_URI=/wiki/\nSCRIPT_NAME=/wiki\nPATH_INFO=/",
                (Some("/wiki"), Some("/")),
            ),
            // scgi.server = ("/wiki" => ...)
            (
                LIGHTTPD,
                "REQUEST_URI=/wiki/a%20b/c%2Fd?x=1%20\nSCRIPT_NAME=/wiki\nPATH_INFO=/a b/c/d",
                (Some("/wiki"), Some("/a b/c/d")),
            ),
            (
                LIGHTTPD,
                "REQUEST_URI=/wiki\nSCRIPT_NAME=/wiki",
                (Some("/wiki"), None),
            ),
            // "/" => ... with fix-root-scriptname
            (
                LIGHTTPD,
                "REQUEST_URI=/wiki\nSCRIPT_NAME=\nPATH_INFO=/wiki",
                (Some(""), Some("/wiki")),
            ),
            // and without: only the root is changed. Other paths need a mount, since SCRIPT_NAME may well be right.
            (
                LIGHTTPD,
                "REQUEST_URI=/\nSCRIPT_NAME=/",
                (Some(""), Some("/")),
            ),
            (
                LIGHTTPD,
                "REQUEST_URI=/wiki/a\nSCRIPT_NAME=/wiki\nPATH_INFO=/a",
                (Some("/wiki"), Some("/a")),
            ),
        ];
        for (server, sent, (script_name, path_info)) in cases {
            let expected = (script_name.map(str::to_owned), path_info.map(str::to_owned));
            assert_eq!(repaired(&format!("{server}{sent}")), expected, "{sent}");
        }
    }

    /// Not of the path; measured with the same versions.
    #[test]
    fn what_else_an_scgi_client_sends() {
        // sent, lost, added
        let cases = [
            (
                "SERVER_SOFTWARE=Apache/2.4.71 (Debian)\nPATH=/usr/bin:/bin\nSERVER_SIGNATURE=\nproxy-scgi-pathinfo=1",
                "PATH",
                "GATEWAY_INTERFACE",
            ),
            (
                "CONTENT_LENGTH=3\nDOCUMENT_URI=/wiki/p\nHTTP_TRANSFER_ENCODING=chunked",
                "HTTP_TRANSFER_ENCODING",
                "GATEWAY_INTERFACE",
            ),
            (
                "CONTENT_LENGTH=3\nDOCUMENT_URI=/wiki/p\nHTTP_CONTENT_LENGTH=3\nHTTP_CONTENT_TYPE=a/b",
                "",
                "GATEWAY_INTERFACE",
            ),
            (
                "CONTENT_LENGTH=3\nHTTP_CONTENT_LENGTH=4",
                "HTTP_CONTENT_LENGTH",
                "GATEWAY_INTERFACE",
            ),
            (
                "CONTENT_LENGTH=5\nDOCUMENT_URI=/wiki/p\nHTTP_CONTENT_LENGTH=4",
                "HTTP_CONTENT_LENGTH",
                "GATEWAY_INTERFACE",
            ),
            (
                "DOCUMENT_URI=/wiki/p\nHTTP_PROXY=evil",
                "HTTP_PROXY",
                "GATEWAY_INTERFACE",
            ),
            (
                "GATEWAY_INTERFACE=CGI/1.1\nREDIRECT_STATUS=200\nREDIRECT_URI=/wiki/aA?q",
                "",
                "",
            ),
        ];
        for (sent, lost, added) in cases {
            let request = Request::from_scgi_client(pairs(sent), Peer::Own).unwrap();
            for (name, value) in pairs(sent) {
                let found = request.meta().iter().find(|pair| pair.0 == name);
                let expected = (name != lost.as_bytes()).then_some((name, value));
                assert_eq!(found.copied(), expected, "{sent}");
            }
            let is_added = |&&(name, _): &&(&[u8], &[u8])| pairs(sent).all(|sent| sent.0 != name);
            let more: Vec<_> = request.meta().iter().filter(is_added).collect();
            let expected: &[_] = &[&(&b"GATEWAY_INTERFACE"[..], &b"CGI/1.1"[..])];
            assert_eq!(
                more,
                if added.is_empty() { &[] } else { expected },
                "{sent}"
            );
        }
    }

    /// nginx 1.22.1 with scgi_request_buffering off counts what it has received so far.
    #[test]
    fn what_is_still_to_come_is_counted() {
        let cases = [
            (
                "CONTENT_LENGTH=0\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=12",
                Some(12),
            ),
            (
                "CONTENT_LENGTH=9058\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=3000000",
                Some(3_000_000),
            ),
            (
                "CONTENT_LENGTH=12\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=12",
                Some(12),
            ),
            (
                "CONTENT_LENGTH=12\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=5",
                Some(12),
            ),
            (
                "CONTENT_LENGTH=12\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=+13",
                Some(12),
            ),
            ("CONTENT_LENGTH=12\nHTTP_CONTENT_LENGTH=13", Some(12)),
            (
                "CONTENT_LENGTH=12\nDOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=13\nHTTP_TRANSFER_ENCODING=chunked",
                Some(12),
            ),
            ("DOCUMENT_URI=/u\nHTTP_CONTENT_LENGTH=13", None),
        ];
        for (sent, length) in cases {
            for peer in [Peer::Own, Peer::Foreign { trusted: false }] {
                let request = Request::from_scgi_client(pairs(sent), peer).unwrap();
                assert_eq!(request.content_length(), length, "{sent}");
                let said = length.map(|length| length.to_string());
                let value = request.value("CONTENT_LENGTH");
                assert_eq!(value, said.as_deref().map(str::as_bytes), "{sent}");
            }
        }
    }
}
