//! A request as a person types it: method, header fields, message-body and path become meta-variables. It runs nothing.

use crate::acting::CommandError;
use crate::app_file::AppFile;
use crate::cgi;
use crate::report::Exit;

/// The words of a command line that describe a request.
pub(super) struct RequestWords {
    /// `-X`.
    pub(super) method: Option<String>,
    /// `-H`, each.
    pub(super) header: Vec<String>,
    /// `-d`.
    pub(super) data: Option<String>,
    /// Path and query.
    pub(super) path: String,
}

impl RequestWords {
    pub(super) fn method(&self) -> &str {
        let default_method = if self.data.is_some() { "POST" } else { "GET" };
        self.method.as_deref().unwrap_or(default_method)
    }

    /// The message-body.
    pub(super) fn body(&self) -> Result<Vec<u8>, CommandError> {
        match self
            .data
            .as_deref()
            .map(|data| (data, data.strip_prefix('@')))
        {
            None => Ok(Vec::new()),
            Some((data, None)) => Ok(data.as_bytes().to_vec()),
            Some((_, Some(file))) => std::fs::read(file)
                .map_err(|error| (Exit::NoInput, format!("cannot read {file}: {error}"))),
        }
    }

    /// The meta-variables that a web server on this host would set (RFC 3875 4.1).
    pub(super) fn meta_variables(
        &self,
        app: &AppFile,
        length: usize,
    ) -> Result<Vec<(String, String)>, CommandError> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        if !path.starts_with('/') {
            return Err((
                Exit::Usage,
                format!("'{path}' is not a path: it begins with '/'"),
            ));
        }
        let name = app.path.file_name().unwrap_or_default().to_string_lossy();
        // Below the mount, since the app has no other paths. If the configuration is wrong, the front says so.
        let mount = app.load().ok().and_then(|config| config.mount);
        let script = mount.map_or_else(
            || format!("/{name}"),
            |mount| mount.script_name().to_owned(),
        );
        let uri = format!("{}{}", encoded(&script), self.path);
        let set = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("PATH_INFO", &decoded(path)),
            ("QUERY_STRING", query),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REQUEST_METHOD", self.method()),
            ("REQUEST_URI", &uri),
            ("SCRIPT_FILENAME", &app.path.to_string_lossy()),
            ("SCRIPT_NAME", &script),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            (
                "SERVER_SOFTWARE",
                concat!("polycgi/", env!("CARGO_PKG_VERSION")),
            ),
            ("HTTP_HOST", "localhost"),
        ];
        let mut meta: Vec<(String, String)> = set
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if self.data.is_some() {
            meta.push(("CONTENT_LENGTH".to_owned(), length.to_string()));
            meta.push((
                "CONTENT_TYPE".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            ));
        }
        self.add_fields(&mut meta)?;
        Ok(meta)
    }

    /// Adds the header fields of `-H`, each in place of one that is set already.
    fn add_fields(&self, meta: &mut Vec<(String, String)>) -> Result<(), CommandError> {
        for field in &self.header {
            let (name, value) = field.split_once(':').ok_or_else(|| {
                let sentence = format!("'{field}' is not of the form 'Name: value'");
                (Exit::Usage, sentence)
            })?;
            let name = name.trim().to_ascii_uppercase().replace('-', "_");
            let name = match name.as_str() {
                "CONTENT_TYPE" => name,
                _ => format!("HTTP_{name}"),
            };
            meta.retain(|(known, _)| *known != name);
            meta.push((name, value.trim().to_owned()));
        }
        Ok(())
    }
}

/// PATH_INFO is the decoded path.
fn decoded(path: &str) -> String {
    String::from_utf8_lossy(&cgi::uri::decoded(path.as_bytes())).into_owned()
}

/// The path for a URI: characters that would have a meaning there are escaped (RFC 3986 2.1).
fn encoded(path: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'%' | b'?' | b'#' | ..=b' ' | 127.. => format!("%{byte:02X}"),
        byte => char::from(byte).to_string(),
    };
    path.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded() {
        assert_eq!(decoded("/a%2Fb%20c"), "/a/b c");
        assert_eq!(decoded("/100%"), "/100%");
        assert_eq!(decoded("/%zz%4"), "/%zz%4");
        assert_eq!(decoded("/%C3%A9"), "/é");
    }

    #[test]
    fn a_mount_is_encoded() {
        for path in ["", "/wiki", "/a b%41", "/é?#"] {
            assert_eq!(decoded(&encoded(path)), path);
        }
        assert_eq!(encoded("/a b%41"), "/a%20b%2541");
    }
}
