//! Heads as programs write them, and as none should. It knows no web server; `@APP@` stands for the app's name.

/// What a program writes, and the request that it answers.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// All of the response.
    pub(super) written: Vec<u8>,
    pub(super) method: &'static str,
    /// A header field of the request, with its end.
    pub(super) field: &'static str,
    /// It is written in pieces of few bytes.
    pub(super) is_split: bool,
}

impl Case {
    fn of(written: impl Into<Vec<u8>>) -> Self {
        Self {
            written: written.into(),
            method: "GET",
            field: "",
            is_split: false,
        }
    }

    /// The lines of its head without their LF, and whether it ends: with a line of nothing but CRs, or one that begins
    /// with NUL, where C strings end.
    fn lines(&self) -> (Vec<&[u8]>, bool) {
        let mut lines: Vec<&[u8]> = self.written.split(|&byte| byte == b'\n').collect();
        lines.pop();
        let is_end = |line: &&[u8]| matches!(line.iter().find(|&&b| b != b'\r'), None | Some(0));
        let end = lines.iter().position(is_end);
        lines.truncate(end.unwrap_or(lines.len()));
        (lines, end.is_some())
    }

    /// What is special about it, as the table calls it.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let (lines, ends) = self.lines();
        let size: usize = lines.iter().map(|line| line.len() + 1).sum();
        let is_lone = |pair: &[u8]| pair[0] == b'\r' && pair[1] != b'\n';
        // fcgiwrap takes that for the end too.
        let mut begun = self.written.windows(3);
        let ends = ends || begun.any(|text| text[0] == b'\n' && is_lone(&text[1..]));
        let is = [
            ("head.lone-cr", self.written.windows(2).any(is_lone)),
            ("head.split", self.is_split),
            ("head.unended", !ends),
            ("head.large", size >= 65_536),
            ("head.redirect", is_redirect(&lines)),
        ];
        let kinds = is.into_iter().filter(|(_, is)| *is);
        kinds.map(|(kind, _)| kind).collect()
    }

    /// The status that the head has.
    pub(super) fn status(&self) -> Option<u16> {
        let (lines, _) = self.lines();
        let mut values = lines.iter().filter_map(|line| {
            let line = line.strip_prefix(b"\r").unwrap_or(line);
            let (name, value) = line.split_at_checked(7)?;
            name.eq_ignore_ascii_case(b"Status:").then_some(value)
        });
        let value = values.next_back()?.trim_ascii_start().get(..3)?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// A Location that is no path of the web server's own, and no Status.
fn is_redirect(lines: &[&[u8]]) -> bool {
    let mut is_elsewhere = false;
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name: Vec<u8> = line[..colon]
            .iter()
            .filter(|&&b| b != b'\r')
            .copied()
            .collect();
        if name.eq_ignore_ascii_case(b"Status") {
            return false;
        }
        if name.eq_ignore_ascii_case(b"Location") {
            let value = line[colon + 1..].trim_ascii_start();
            is_elsewhere = !matches!(value.first(), None | Some(b'/' | 0));
        }
    }
    is_elsewhere
}

/// What `Location: /cgi-bin/@APP@/0` leads to.
const FIRST: &str = "Content-Type: text/plain\n\nthe first\n";
const TYPE: &str = "Content-Type: text/plain\n";

pub(super) const FIELDS: [&str; 20] = [
    "Content-Type: text/plain",
    "Status: 404 Not Here",
    "Location: http://x.example/",
    "Location: /cgi-bin/@APP@/0",
    "X-A: b",
    "Set-Cookie: a=b",
    "ETag: \"a\"",
    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
    "Content-Length: 3",
    "Content-Range: bytes 0-2/3",
    "Content-Encoding: x",
    "Content-Language: de",
    "Connection: close",
    "Transfer-Encoding: chunked",
    "Expires: 0",
    "Server: mine",
    "Keep-Alive: timeout=5",
    "Upgrade: x",
    "WWW-Authenticate: Basic realm=\"a\"",
    "Vary: a",
];
pub(super) const STATUSES: [&[u8]; 61] = [
    b"200",
    b"200 OK",
    b"200OK",
    b"200\tOK",
    b"200  two",
    b"200.5",
    b"+200",
    b"-200",
    b"0x200",
    b"200 caf\xc3\xa9",
    b"200 \xff\xfe",
    b"99",
    b"099 x",
    b"000 x",
    b"100",
    b"100 Continue",
    b"101",
    b"103 Early Hints",
    b"199 x",
    b"204",
    b"204 No Content",
    b"205",
    b"206",
    b"226 IM Used",
    b"299",
    b"300 x",
    b"301",
    b"302",
    b"304",
    b"304 Not Modified",
    b"399",
    b"399x",
    b"400",
    b"404",
    b"404 a\tb",
    b"404 \x01",
    b"404 a\x7f",
    b"404 a\0b",
    b"404;x",
    b"404-x",
    b"404 Not Found\r",
    b"  404  Spaced  ",
    b"418",
    b"500",
    b"502 mine",
    b"503 x",
    b"599 x",
    b"600",
    b"600 x",
    b"999",
    b"1000",
    b"1000 x",
    b"20",
    b"2",
    b"0",
    b"abc",
    b"abc def",
    b"",
    b" ",
    b"HTTP/1.1 200 OK",
    b"4294967496",
];
pub(super) const LOCATIONS: [&[u8]; 12] = [
    b"http://x.example/",
    b"/cgi-bin/@APP@/0",
    b"/cgi-bin/@APP@/0?a=b#c",
    b"relative",
    b"",
    b" ",
    b"//x/y",
    b"\t/cgi-bin/@APP@/0 ",
    b"http://\xff/",
    b"http://x/\x01",
    b"?a",
    b"HTTP:x",
];
pub(super) const NAMES: [&[u8]; 44] = [
    b"X",
    b"X ",
    b"X\t",
    b" X",
    b"\tX",
    b"",
    b" ",
    b"X Y",
    b"X\0",
    b"X\0Y",
    b"\0",
    b"X\x01",
    b"X\x7f",
    b"\xc3\xa9",
    b"\xff",
    b"<html>",
    b"X(Y)",
    b"X/Y",
    b"X@",
    b"X\"",
    b"X=",
    b"X[",
    b"X\\",
    b"X{",
    b"X,",
    b"X;",
    b"X?",
    b"X\r",
    b"\rX",
    b"X\rY",
    b"!#$%&'*+-.^_`|~",
    b"Content-Type ",
    b"Content-Type\t",
    b" Content-Type",
    b"CONTENT-TYPE",
    b"Content_Type",
    b"Status ",
    b" Status",
    b"sTaTuS",
    b"Location ",
    b"X\x0b",
    b"X\x0c",
    b"HTTP/1.1 200 OK",
    b"X-",
];
pub(super) const VALUES: [&[u8]; 36] = [
    b"",
    b" ",
    b"\t",
    b"a",
    b"a ",
    b"a\tb",
    b"a\0b",
    b"\0",
    b"a\x01b",
    b"a\x7f",
    b"a\x0bb",
    b"\x0ba",
    b"\x0c",
    b"a\x0c",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"\x80",
    b"a\rb",
    b"a\r",
    b"a\r\r",
    b"\r",
    b"\ra",
    b"a\x1bb",
    b"a\n b",
    b"a\n\tb",
    b"a\n b: c",
    b"a\n  ",
    b"a\r\n b",
    b"a\r\n b: c",
    b"a: b",
    b":",
    b"a\n\0b",
    b"\"",
    b"a,b",
    b"3, 3",
    b"-1",
];
pub(super) const OF_VALUES: [&str; 10] = [
    "X-A",
    "Content-Type",
    "Status",
    "Location",
    "Set-Cookie",
    "ETag",
    "Last-Modified",
    "Content-Length",
    "Content-Range",
    "Transfer-Encoding",
];
/// Whole responses.
const WHOLE: [&[u8]; 36] = [
    b"",
    b"\n",
    b"\r\n",
    b"\nok\n",
    b"\r\n\r\nok",
    b"ok\n",
    b"ok",
    b"\n\n\n",
    b"Content-Type: text/plain\n",
    b"Content-Type: text/plain",
    b"X-A: b",
    b"Location: http://x.example/\n",
    b"Set-Cookie: a=b\nSet-Cookie: c=d\n\nok",
    b"<html>\n<body>\n\nok\n",
    b"Traceback (most recent call last):\n  File \"x\", line 3\nNameError: x\n",
    b"\nContent-Type: text/plain\n\nok\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nok",
    b"HTTP/1.0 404 No\nContent-Type: text/plain\n\nok\n",
    b"Content-Type: text/plain\nHTTP/1.1 200 OK\n\nok\n",
    b"HTTP/1.1\n\n",
    b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\n\n\x01\x02",
    b"Content-Type: text/plain\r\rX-A: b\r\r\r\rok",
    b"Content-Type: text/plain\rX-A: b\r\rok",
    b"Content-Type: text/plain\n\rok\n",
    b"Content-Type: text/plain\r\n\rok\n",
    b"Content-Type: text/plain\r\r\nX-A: b\r\r\n\r\r\nok",
    b"Content-Type: text/plain\r\nX-A: b\n\nok",
    b"Content-Type: text/plain\nX-A: b\r\n\nok",
    b"Content-Type: text/plain\n\n\0\x01\x02\xff\xfe",
    b"Content-Type: text/plain\nno colon\nX-A: b\n\nok\n",
    b"Content-Type: text/plain\n\0garbage\n\nok\n",
    b"Content-Type: text/plain\n \n\nok\n",
    b"Content-Type: text/plain\n\xff\xfe\n\nok\n",
    b"Content-Type: text/plain\nContent-Length: 300\n\nok\n",
    b"Content-Type: text/plain\nContent-Length: 2\nContent-Length: 3\n\nok\n",
    b"Content-Type: text/plain\nTransfer-Encoding: chunked\n\n3\r\nok\n\r\n0\r\n\r\n",
];

/// The same for every web server.
pub(super) fn fixed() -> Vec<Case> {
    let mut cases = vec![Case::of(FIRST)];
    let mut add = |parts: &[&[u8]]| cases.push(Case::of(parts.concat()));
    let (ct, ok) = (TYPE.as_bytes(), &b"\nok\n"[..]);
    for field in FIELDS {
        let (name, field) = (
            field.split(':').next().unwrap_or_default(),
            field.as_bytes(),
        );
        add(&[field, b"\n", ok]);
        add(&[ct, field, b"\r\n", ok]);
        add(&[ct, field, b"\n", field, b"\n", ok]);
        add(&[ct, field, b"\n", name.as_bytes(), b": other\n", ok]);
    }
    for status in STATUSES {
        add(&[b"Status: ", status, b"\n", ct, ok]);
        add(&[b"Status:", status, b"\n", ok]);
    }
    for location in LOCATIONS {
        let location = &[b"Location: ", location, b"\n"].concat()[..];
        add(&[location, b"\n"]);
        add(&[ct, location, ok]);
        add(&[location, b"X-A: b\nSet-Cookie: a=b\n\n"]);
        add(&[b"Location: http://first/\n", location, b"\n"]);
        add(&[location, b"Location: /cgi-bin/@APP@/0\n\n"]);
        for status in ["200", "201 Created", "204", "303 x", "404", "99"] {
            add(&[b"Status: ", status.as_bytes(), b"\n", location, ct, ok]);
        }
    }
    for name in NAMES {
        add(&[name, b": 404 x/y\n", ct, ok]);
        add(&[ct, name, b":\n", ok]);
    }
    for value in VALUES {
        for name in OF_VALUES {
            add(&[b"X-B: c\n", name.as_bytes(), b": ", value, b"\n", ok]);
        }
    }
    for size in [4_000, 8_184, 8_185, 8_186, 20_000, 66_000] {
        let value = &b"a".repeat(size)[..];
        add(&[ct, b"X-A: ", value, b"\n", ok]);
        add(&[ct, b"X-A: ", value, b"\r\r\n", ok]);
    }
    for count in [7, 31, 62, 66] {
        let line = [b"X-Y: ", &b"y".repeat(1_017)[..], b"\r\n"].concat();
        add(&[ct, &line.repeat(count), ok]);
    }
    add(&[ct, &b"X-A: b\n".repeat(1_000), ok]);
    WHOLE.iter().for_each(|whole| add(&[whole]));
    let more = cases.clone().into_iter().step_by(23).map(|case| Case {
        is_split: true,
        ..case
    });
    let more: Vec<_> = more.filter(|case| case.written.len() < 1_000).collect();
    cases.extend(more);
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special() {
        for (written, kinds) in [
            ("A: b\n\n", &[][..]),
            ("\n", &[]),
            ("A: b\n", &["head.unended"]),
            ("A: b\r\r\n\r\n", &["head.lone-cr"]),
            ("Location: x\n\n", &["head.redirect"]),
            ("Location: /x\nLOCATION: y\n\n", &["head.redirect"]),
            ("Location: y\nLocation: /x\n\n", &[]),
            ("Location: y\nStatus: 200\n\n", &[]),
        ] {
            assert_eq!(Case::of(written).kinds(), kinds, "{written:?}");
        }
    }
}
