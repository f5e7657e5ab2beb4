//! What the application is asked to answer, and what a client must get then. It knows no web server.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// See tests/apps/roads.py.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) status: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) blocks: Vec<usize>,
    pub(super) by: &'static str,
    pub(super) reads: &'static str,
}

const STATUSES: [&str; 16] = [
    "200 OK",
    "200 d'accord, \u{e9}t\u{e9}",
    "201 Created",
    "202 Anything (goes): here",
    "204 No Content",
    "206 Partial Content",
    "301 Moved Permanently",
    "303 See Other",
    "304 Not Modified",
    "400 Bad Request",
    "404 Not Found",
    "418 I'm a teapot",
    "451 Unavailable For Legal Reasons",
    "500 Internal Server Error",
    "503 Service Unavailable",
    "599 x",
];

const FIELDS: [(&str, &str); 14] = [
    ("Cache-Control", "no-store, max-age=0"),
    ("Content-Disposition", "attachment; filename=\"a b.txt\""),
    ("Content-Language", "de, en"),
    ("ETag", "\"an-entity\""),
    ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("Link", "</style.css>; rel=preload"),
    ("Set-Cookie", "a=b; Path=/"),
    (
        "Set-Cookie",
        "c=d; HttpOnly; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
    ),
    ("Vary", "Cookie"),
    ("X-Empty", ""),
    ("X-Repeated", "one"),
    ("X-Repeated", "two"),
    ("x_odd.Name", "caf\u{e9} \t=: \"x\""),
];

const TYPES: [&str; 3] = [
    "text/html; charset=utf-8",
    "text/plain",
    "application/octet-stream",
];
const SIZES: [usize; 6] = [0, 1, 100, 5_000, 70_000, 300_000];
const BY: [&str; 3] = ["list", "iterator", "write"];
const READS: [&str; 6] = ["all", "exact", "blocks", "lines", "half", "none"];

/// Any answer that an application may give.
pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let blocks = prop::collection::vec(select(&SIZES), 0..4);
    let content_type = prop::option::weighted(0.8, select(&TYPES));
    let fields = subsequence(&FIELDS, 0..=FIELDS.len()).prop_shuffle();
    (
        select(&STATUSES),
        content_type,
        any::<bool>(),
        fields,
        blocks,
        select(&BY),
        select(&READS),
    )
        .prop_map(
            |(status, content_type, with_length, fields, blocks, by, reads)| {
                let mut plan = Plan {
                    status: status.to_owned(),
                    fields: Vec::new(),
                    blocks,
                    by,
                    reads,
                };
                let content_type = content_type.map(|value| ("Content-Type", value.to_owned()));
                let location = match plan.code() {
                    301 => Some("http://elsewhere.example/there?a=b#c"),
                    // With a status a Location is for the client, and not for the web server.
                    201 | 303 => Some("/elsewhere/%2F"),
                    _ => None,
                };
                let location = location.map(|value| ("Location", value.to_owned()));
                let length = plan.blocks.iter().sum::<usize>().to_string();
                let length =
                    Some(("Content-Length", length)).filter(|_| with_length && !plan.has_no_body());
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name, value.to_owned()));
                plan.fields = content_type
                    .into_iter()
                    .chain(location)
                    .chain(length)
                    .chain(fields)
                    .collect();
                plan
            },
        )
}

impl Plan {
    /// An ordinary answer.
    pub(super) fn simple() -> Self {
        Self {
            status: "200 OK".to_owned(),
            fields: vec![("Content-Type", "text/plain".to_owned())],
            blocks: vec![100],
            by: "list",
            reads: "all",
        }
    }

    /// A few that show what each web server does.
    pub(super) fn of_each_kind() -> Vec<Self> {
        let of = |status: &str, fields: &[(&'static str, &str)]| {
            let fields = fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            let mut plan = Self::simple();
            plan.status = status.to_owned();
            plan.fields.extend(fields);
            plan
        };
        let mut with_length = of("200 OK", &[("Content-Length", "100")]);
        with_length.reads = "none";
        let all = FIELDS.to_vec();
        vec![
            of("200 d'accord", &all),
            of("206 Partial Content", &[]),
            of("304 Not Modified", &[]),
            with_length,
        ]
    }

    /// As the header field X-Plan carries it.
    pub(super) fn encoded(&self) -> String {
        let Self {
            status,
            blocks,
            by,
            reads,
            ..
        } = self;
        let blocks: Vec<_> = blocks.iter().map(usize::to_string).collect();
        let mut text = format!(
            "status {status}\nblocks {}\nby {by}\nreads {reads}",
            blocks.join(" ")
        );
        for (name, value) in &self.fields {
            text += &format!("\nfield {name}: {value}");
        }
        text.chars().fold(String::new(), |mut digits, character| {
            // All of it is Latin-1.
            write!(digits, "{:02x}", u32::from(character)).expect("a String takes everything");
            digits
        })
    }

    pub(super) fn code(&self) -> u16 {
        self.status[..3]
            .parse()
            .expect("a plan's status has a number")
    }

    /// RFC 9110: these end with the head.
    pub(super) fn has_no_body(&self) -> bool {
        matches!(self.code(), 204 | 304)
    }

    /// How much of a message-body of that size the application reads.
    pub(super) fn reads_of(&self, size: usize) -> usize {
        match self.reads {
            "none" => 0,
            "half" => size / 2,
            _ => size,
        }
    }

    /// The message-body, if that is the checksum of what the application read.
    pub(super) fn body(&self, read: u32) -> Vec<u8> {
        let numbered = self.blocks.iter().enumerate();
        let blocks = numbered.map(|(number, size)| {
            let word = format!("{number}:{read:08x}.").into_bytes();
            word.into_iter().cycle().take(*size).collect::<Vec<u8>>()
        });
        blocks.collect::<Vec<_>>().concat()
    }
}
