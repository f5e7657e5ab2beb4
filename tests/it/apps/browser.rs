//! What a browser does that the tests' HTTP client does not: it keeps cookies, and packs forms.

use std::collections::BTreeMap;

use super::super::util::{Reply, Site};

const BOUNDARY: &str = "----a-boundary-of-the-tests";

/// One person's browser at one app.
pub(super) struct Browser<'a> {
    site: &'a Site,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(site: &'a Site) -> Self {
        Self {
            site,
            cookies: BTreeMap::new(),
        }
    }

    #[track_caller]
    pub(super) fn get(&mut self, target: &str) -> Reply {
        self.send("GET", target, &[], None)
    }

    /// Posts a form: with a file as multipart/form-data, without one as application/x-www-form-urlencoded.
    #[track_caller]
    pub(super) fn post(
        &mut self,
        target: &str,
        fields: &[(&str, &str)],
        file: Option<(&str, &[u8])>,
    ) -> Reply {
        let Some((name, bytes)) = file else {
            let pairs: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let form = [("Content-Type", "application/x-www-form-urlencoded")];
            return self.send("POST", target, &form, Some(pairs.join("&").as_bytes()));
        };
        let mut body = Vec::new();
        let part =
            |words: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {words}\r\n");
        for (name, value) in fields {
            let head = part(&format!("name=\"{name}\""));
            body.extend_from_slice(format!("{head}\r\n{value}\r\n").as_bytes());
        }
        let head = part(&format!("name=\"{name}\"; filename=\"file.bin\""));
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"Content-Type: application/octet-stream\r\n\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send(
            "POST",
            target,
            &[("Content-Type", &media_type)],
            Some(&body),
        )
    }

    #[track_caller]
    fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = pairs.join("; ");
        let mut fields = fields.to_vec();
        if !cookies.is_empty() {
            fields.push(("Cookie", &cookies));
        }
        let reply = self.site.send(method, target, &fields, body);
        for (name, value) in &reply.head.fields {
            if name.eq_ignore_ascii_case("Set-Cookie") {
                let pair = value.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie has a name");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }
}
