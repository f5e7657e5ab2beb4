//! Requests as a client sends them, byte by byte; and how proptest makes them. It knows no road.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::answer::{self, Answer};
use super::plan::{Plan, plan};
use crate::util::served::noise;

/// A request to an app, whatever the app is called.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    /// What follows the app's own path, and begins with `/` if it is there.
    pub(super) path: String,
    /// What follows `?`; None without one.
    pub(super) query: Option<String>,
    /// Each character is a byte.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) plan: Plan,
}

/// The message-body, and how its end is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Body {
    /// No message-body, and no header field about one.
    Absent,
    /// Chunks of at most that many bytes, and the size of the whole.
    Chunked(usize, usize),
    /// Content-Length.
    Length(usize),
}

const PLAIN: [&str; 8] = [
    "GET", "GET", "GET", "GET", "HEAD", "HEAD", "OPTIONS", "FROB",
];
const WITH_BODY: [&str; 6] = ["POST", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"];

/// What stands between the slashes of a path.
const PARTS: [&str; 22] = [
    "a",
    "hello.txt",
    "",
    ".",
    "d/../e",
    "a%20b",
    "%C3%A9",
    "%E2%82%AC",
    "%FF%FE",
    "a+b",
    "a%2Bb",
    "a%2Fb",
    "%2f",
    "%7Euser",
    "~user",
    "x;y=1",
    "50%25",
    "a%3Fb",
    "%23",
    "a:b@c",
    "!$&'()*,=",
    "%5C..",
];
const QUERIES: [&str; 17] = [
    "a=b",
    "a=1&a=2",
    "novalue",
    "-h",
    "a+b+c",
    "%2F=%3F",
    "%FF%C3",
    "=",
    "&&",
    "a==b;c",
    "?",
    "q=/x/../y",
    "'x'",
    "!*()",
    "\"<>|{}^`\\",
    "x=%0A%0D",
    "a:b@c,$",
];
const FIELDS: [(&str, &str); 18] = [
    ("Accept", "text/html, */*;q=0.8"),
    ("accept-language", "de-CH, en;q=0.5"),
    ("Cookie", "a=b; c=\"d\""),
    (
        "Content-Type",
        "application/x-www-form-urlencoded; charset=x",
    ),
    ("If-None-Match", "\"another\""),
    ("Proxy", "http://evil.example/"),
    ("Referer", "http://roads.example/?a=b"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux) \"odd\""),
    ("X-Comma", "a, b"),
    ("X-Empty", ""),
    ("X-Latin", "caf\u{e9} \u{ff}"),
    ("X-Repeated", "one"),
    ("X-Repeated", "two, three"),
    ("X-Spaces", " \ta  b\t "),
    ("X-Twin", "hyphen"),
    ("X_Twin", "underscore"),
    ("X_Under_Score", "underscore"),
    ("x-mIxEd-CaSe", "mixed"),
];

/// Any request that each of the web servers passes on.
pub(super) fn request() -> impl Strategy<Value = Request> {
    let size = prop_oneof![
        4 => select(&[0, 1, 100, 4_096, 70_000]),
        2 => 0..10_000_usize,
        1 => select(&[65_536, 131_073, 1_500_000]),
    ];
    let body = prop_oneof![
        2 => size.clone().prop_map(Body::Length),
        1 => (select(&[1, 100, 8_000, 100_000]), size).prop_map(|(most, size)| Body::Chunked(most, size)),
    ];
    let plain = (select(&PLAIN), Just(Body::Absent));
    let with_body = (select(&WITH_BODY), body);
    let method_and_body = prop_oneof![plain, with_body];
    let path = prop::collection::vec(select(&PARTS), 0..5).prop_map(|parts| {
        parts
            .iter()
            .map(|part| format!("/{part}"))
            .collect::<String>()
    });
    let query = prop_oneof![
        2 => Just(None),
        1 => Just(Some(String::new())),
        4 => prop::collection::vec(select(&QUERIES), 1..4).prop_map(|parts| Some(parts.join("&"))),
    ];
    let long = prop::option::weighted(
        0.2,
        (1..4_000_usize).prop_map(|size| ("X-Long", "x".repeat(size))),
    );
    let fields =
        (subsequence(&FIELDS, 0..=FIELDS.len()).prop_shuffle(), long).prop_map(|(fields, long)| {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, value.to_owned()));
            fields.chain(long).collect::<Vec<_>>()
        });
    (method_and_body, path, query, fields, plan()).prop_map(
        |((method, body), path, query, fields, plan)| Request {
            method,
            path,
            query,
            fields,
            body,
            plan,
        },
    )
}

impl Request {
    /// GET of the app itself.
    pub(super) fn simple() -> Self {
        Self {
            method: "GET",
            path: String::new(),
            query: None,
            fields: Vec::new(),
            body: Body::Absent,
            plan: Plan::simple(),
        }
    }

    /// A few that show what each web server does: they need every row of the table, whatever the random requests are.
    pub(super) fn of_each_kind() -> Vec<Self> {
        let simple = Self::simple();
        let all_fields = FIELDS.iter().filter(|(name, _)| *name != "X-Twin");
        let all_fields: Vec<_> = all_fields
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let target = |path: &str, query: &str| Self {
            path: path.to_owned(),
            query: Some(query.to_owned()),
            ..Self::simple()
        };
        let with_body = |method, body| Self {
            method,
            body,
            ..Self::simple()
        };
        let with_fields = |names: [&'static str; 2]| Self {
            fields: names.map(|name| (name, name.to_owned())).into(),
            ..Self::simple()
        };
        let mut requests = vec![
            target("/a%2Fb//c/./d/../%C3%A9%20+", "a=%2F+b"),
            target("/a/b", ""),
            target("/%FF", ""),
            target("", "\"<>|"),
            target("", "x=%0A"),
            Self {
                fields: all_fields,
                ..simple.clone()
            },
            with_fields(["X-Twin", "X_Twin"]),
            with_body("POST", Body::Length(70_000)),
            with_body("PUT", Body::Chunked(1_000, 70_000)),
            with_body("FROB", Body::Absent),
            with_body("HEAD", Body::Absent),
        ];
        requests.extend(Plan::of_each_kind().into_iter().map(|plan| Self {
            method: if plan.reads == "none" { "HEAD" } else { "GET" },
            plan,
            ..simple.clone()
        }));
        requests
    }

    /// The message-body without its chunks.
    pub(super) fn body(&self) -> Vec<u8> {
        match self.body {
            Body::Absent => Vec::new(),
            Body::Chunked(_, size) | Body::Length(size) => noise(size),
        }
    }

    /// What is special about it, as the table calls it.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let target = decoded(&format!(
            "{}{}",
            self.path,
            self.query.as_deref().unwrap_or_default()
        ));
        let has = |name: &str| self.fields.iter().any(|(field, _)| *field == name);
        let is = [
            ("request.not-utf8", std::str::from_utf8(&target).is_err()),
            ("request.control", target.iter().any(u8::is_ascii_control)),
            ("request.chunked", matches!(self.body, Body::Chunked(..))),
            ("request.made-up-method", self.method == "FROB"),
            ("request.twins", has("X-Twin") && has("X_Twin")),
        ];
        let kinds = is.into_iter().filter(|(_, is)| *is);
        kinds.map(|(kind, _)| kind).collect()
    }

    /// Sends it to that app, and reads the response to the connection's end.
    pub(super) fn send(&self, address: SocketAddr, app: &str) -> Result<Answer, String> {
        answer::ask(address, self.head(app), self.coded_body())
    }

    fn head(&self, app: &str) -> Vec<u8> {
        let Self { method, path, .. } = self;
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let mut head = format!(
            "{method} {app}{path}{query} HTTP/1.1\r\nHost: roads.example\r\nConnection: close\r\nX-Plan: {}\r\n",
            self.plan.encoded()
        );
        match self.body {
            Body::Absent => {}
            Body::Chunked(..) => head += "Transfer-Encoding: chunked\r\n",
            Body::Length(size) => head += &format!("Content-Length: {size}\r\n"),
        }
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        head.chars()
            .map(|character| u8::try_from(character).expect("each character is a byte"))
            .collect()
    }

    fn coded_body(&self) -> Vec<u8> {
        let body = self.body();
        let Body::Chunked(most, _) = self.body else {
            return body;
        };
        let chunks = body.chunks(most).map(|chunk| {
            let size = format!("{:x}\r\n", chunk.len()).into_bytes();
            [&size, chunk, b"\r\n"].concat()
        });
        let mut coded = chunks.collect::<Vec<_>>().concat();
        coded.extend_from_slice(b"0\r\n\r\n");
        coded
    }
}

/// The path with its percent-encoding undone; there is no wrong one here.
fn decoded(target: &str) -> Vec<u8> {
    let mut parts = target.split('%');
    let mut bytes: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits follow a percent sign"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}
