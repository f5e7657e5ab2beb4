//! Random heads, the same in each run. Most lines are usual ones: otherwise no web server would accept any head.

use super::corpus::{Case, FIELDS, LOCATIONS, NAMES, OF_VALUES, STATUSES, VALUES};

/// That many cases; POLYCGI_SEED makes others, and POLYCGI_CASES more.
pub(super) fn generated(count: usize) -> Vec<Case> {
    let given = |name| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    let mut chance = Chance(given("POLYCGI_SEED").unwrap_or(16));
    let count = given("POLYCGI_CASES").map_or(count, |count: u64| count as usize);
    (0..count).map(|_| chance.case()).collect()
}

struct Chance(u64);

impl Chance {
    /// splitmix64 (Steele, Lea, Flood 2014).
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % most
    }

    fn one<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len())]
    }

    fn is(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn case(&mut self) -> Case {
        // With more odd lines hardly a head would be accepted.
        let odd = if self.is(40) { 20 } else { 0 };
        let eol = self.one(&[b"\n", b"\n", b"\r\n", b"\r\n", b"\r\r\n"]);
        let mut written = Vec::new();
        for _ in 0..self.below(7) {
            self.line(&mut written, odd);
            let eol = if self.is(odd / 2) {
                self.one(&[b"\n", b"\r\n", b"\n\r", b"\r", b""])
            } else {
                eol
            };
            written.extend_from_slice(eol);
        }
        if !self.is(5) {
            written.extend_from_slice(eol);
        }
        written.extend_from_slice(self.one(&[b"", b"ok\n", b"ok", b"\n\nok: ok\n", b"\0\xff\r\n"]));
        Case {
            written,
            method: if self.is(10) { "HEAD" } else { "GET" },
            field: match self.below(20) {
                0 => "If-None-Match: \"a\"\r\n",
                1 => "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                2 => "Range: bytes=0-0\r\n",
                _ => "",
            },
            is_split: self.is(5),
        }
    }

    fn line(&mut self, written: &mut Vec<u8>, odd: usize) {
        if self.is(60) {
            let line = FIELDS[self.below(FIELDS.len())].as_bytes();
            let colon = memchr::memchr(b':', line).expect("a field has a colon");
            let name = line[..colon].iter();
            let upper = self.is(10);
            written.extend(name.map(|byte| {
                if upper {
                    byte.to_ascii_uppercase()
                } else {
                    *byte
                }
            }));
            let separators: [&[u8]; 5] = [b":", b":\t", b":   ", b" : ", b""];
            written.extend_from_slice(if self.is(odd) {
                self.one(&separators)
            } else {
                b": "
            });
            written.extend_from_slice(line[colon + 1..].trim_ascii_start());
            return;
        }
        let name = match self.below(4) {
            0 => &b"Status"[..],
            1 => b"Location",
            2 if self.is(odd) => self.one(&NAMES),
            _ => OF_VALUES[self.below(OF_VALUES.len())].as_bytes(),
        };
        written.extend_from_slice(name);
        written.extend_from_slice(if self.is(odd) { b":" } else { b": " });
        let value = match name {
            b"Status" => self.one(&STATUSES),
            b"Location" => self.one(&LOCATIONS),
            _ if self.is(odd * 2) => self.one(&VALUES),
            _ => b"text/plain",
        };
        written.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_each_time() {
        let texts = || generated(50).into_iter().map(|case| case.written);
        assert!(texts().eq(texts()));
    }
}
