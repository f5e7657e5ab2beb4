//! A response, divided into what is compared. It takes any bytes: a head that no web server would take, too.

use std::collections::BTreeMap;
use std::fmt;

use crate::cgi::response::{Parsed, Scan};

/// The longest message-body that is compared by its text, in bytes; of a longer one only length and hash are.
const LONGEST_TEXT: usize = 256 << 10;

/// What can differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// Whether there is a whole response, and whether Apache would take its head.
    Validity,
    Status,
    /// By its name in lower case: its values in their order.
    Field(String),
    Body,
    /// Of the process: a variable of its environment, its umask and the like.
    Process(String),
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aspect::Body => f.write_str("body"),
            Aspect::Field(name) => write!(f, "header field {name}"),
            Aspect::Process(name) => write!(f, "environ {name}"),
            Aspect::Status => f.write_str("status"),
            Aspect::Validity => f.write_str("response"),
        }
    }
}

/// A response to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    aspects: BTreeMap<Aspect, String>,
}

impl Observed {
    /// Reads a whole response.
    pub fn of(response: &[u8]) -> Observed {
        let mut aspects = BTreeMap::new();
        let mut insert = |aspect, text| aspects.insert(aspect, text);
        let parsed = Scan::new(false).advance(response);
        let size = match parsed {
            Ok(Parsed::Head(head)) => {
                if let Err(bad) = head.check() {
                    insert(
                        Aspect::Validity,
                        format!("Apache would refuse the head: {bad}"),
                    );
                }
                head.size()
            }
            Ok(Parsed::Partial) => {
                insert(Aspect::Validity, "it has no complete head".to_owned());
                response.len()
            }
            Err(bad) => {
                insert(Aspect::Validity, format!("its head is not valid: {bad}"));
                0
            }
        };
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let (head, body) = response.split_at(size);
        let lines = head.split(|&byte| byte == b'\n').map(readable);
        for line in lines {
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or(("(no name)", line));
            let values = fields.entry(name.trim().to_ascii_lowercase()).or_default();
            values.push_str(value.trim());
            values.push('\n');
        }
        let status = fields.remove("status");
        let status = status.unwrap_or_else(|| unsaid_status(&fields).to_owned());
        insert(Aspect::Status, status);
        for (name, values) in fields {
            insert(Aspect::Field(name), values);
        }
        insert(Aspect::Body, body_text(body));
        Observed { aspects }
    }

    /// There was no response, and why.
    pub fn none(why: &str) -> Observed {
        let text = format!("there is none: {why}\n");
        Observed {
            aspects: BTreeMap::from([(Aspect::Validity, text)]),
        }
    }

    pub(super) fn aspects(&self) -> impl Iterator<Item = &Aspect> {
        self.aspects.keys()
    }

    /// Empty if the response has nothing of the kind.
    pub(super) fn text(&self, aspect: &Aspect) -> &str {
        self.aspects.get(aspect).map_or("", String::as_str)
    }
}

/// What a web server makes of a head without a Status (RFC 3875 6.2).
fn unsaid_status(fields: &BTreeMap<String, String>) -> &'static str {
    match fields.get("location").map(String::as_str) {
        None | Some("\n") => "none, which means 200",
        Some(path) if path.starts_with('/') => "none, for a local redirect",
        Some(_) => "none, which means 302",
    }
}

fn body_text(body: &[u8]) -> String {
    if body.len() <= LONGEST_TEXT && !body.contains(&0) {
        return readable(body);
    }
    let why = if body.len() > LONGEST_TEXT {
        "too long to be shown"
    } else {
        "not text"
    };
    let (length, hash) = (body.len(), hash(body));
    format!("{length} bytes, {why}, hash {hash:016x}\n")
}

/// UTF-8, or else each byte as a character: bytes that differ stay different.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// FNV-1a: what is compared was not made to deceive.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &[u8], aspect: &Aspect) -> String {
        Observed::of(response).text(aspect).to_owned()
    }

    #[test]
    fn a_response_is_divided() {
        let response = b"Status: 404 Not Found\r\nSet-Cookie: a=b\r\nset-cookie:c=d\n\nbody\n";
        assert_eq!(text(response, &Aspect::Status), "404 Not Found\n");
        let cookies = Aspect::Field("set-cookie".to_owned());
        assert_eq!(text(response, &cookies), "a=b\nc=d\n");
        assert_eq!(text(response, &Aspect::Body), "body\n");
        assert_eq!(text(response, &Aspect::Validity), "");
        assert_eq!(text(b"A: b\n\n", &Aspect::Status), "none, which means 200");
        assert_eq!(
            text(b"Location: http://a/\n\n", &Aspect::Status),
            "none, which means 302"
        );
    }

    #[test]
    fn what_is_no_response_is_compared_too() {
        let printed = text(b"hello\nContent-Type: a/b\n\n", &Aspect::Validity);
        assert!(printed.starts_with("Apache would refuse"), "{printed}");
        let partial = text(b"Content-Type: a/b\n", &Aspect::Validity);
        assert_eq!(partial, "it has no complete head");
        assert_ne!(
            text(b"A: b\n\n\0a", &Aspect::Body),
            text(b"A: b\n\n\0b", &Aspect::Body)
        );
        assert_eq!(text(b"A: b\n\n\xe9", &Aspect::Body), "\u{e9}");
    }
}
