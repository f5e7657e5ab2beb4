//! What the application saw of a request and what the client got, as names and values that can be compared. It knows
//! what differs in any case from one connection or one test to the next, and nothing of any web server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::answer::Answer;
use super::request::Request;

/// `answer.` what the client got, `read` what the application read of the message-body, `environ.` and `os.` what
/// else it saw, `runs` how often it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account(pub(super) BTreeMap<String, String>);

/// Values that are the test's own (paths, ports), and the words that replace them.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Anywhere in a value.
    pub(super) texts: Vec<(String, &'static str)>,
    /// A whole value: a port's number may well be in another.
    pub(super) values: Vec<(String, &'static str)>,
}

impl Own {
    fn replaced(&self, value: &str) -> String {
        match self.values.iter().find(|(own, _)| own == value) {
            Some((_, stands)) => (*stands).to_owned(),
            None => self
                .texts
                .iter()
                .fold(value.to_owned(), |value, (own, stands)| {
                    value.replace(own, stands)
                }),
        }
    }
}

/// Header fields of the web server's own, or of the connection.
const OF_THE_SERVER: [&str; 5] = [
    "connection",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
];

impl Account {
    /// From the answer and the application's records of this request. `varies`: names whose values can't be equal.
    pub(super) fn new(
        request: &Request,
        answer: &Answer,
        record: &str,
        own: &Own,
        varies: &[&str],
    ) -> Self {
        let mut account = Self::default();
        account.add_answer(request, answer);
        let records = record.lines().filter(|line| *line == ".").count();
        account.set("runs", records);
        for (name, value) in record.lines().filter_map(|line| line.split_once(' ')) {
            let varies = varies.contains(&name);
            account.set(
                name,
                if varies {
                    "varies".to_owned()
                } else {
                    own.replaced(value)
                },
            );
        }
        account
    }

    fn add_answer(&mut self, request: &Request, answer: &Answer) {
        let fields = answer
            .fields
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value));
        let fields = fields.filter(|(name, _)| {
            // Content-Length and chunks are the web server's choice as well: Apache drops a script's length, counts if
            // it sees the end at once, and makes chunks otherwise. The body's length was compared before.
            !OF_THE_SERVER.contains(&name.as_str())
                && (name != "content-length" || request.method == "HEAD")
        });
        let fields: Vec<_> = fields.collect();
        let order: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        self.set("answer.order", order.join(" "));
        for (name, value) in &fields {
            let values = self.0.entry(format!("answer.{name}"));
            // RFC 9110 5.3: to a client it is the same.
            let values = values.and_modify(|values| *values += ", ").or_default();
            *values += value;
        }
        self.set("answer.status", &answer.status);
        self.set("answer.reason", &answer.reason);
        self.set("answer.body", digest(&answer.body));
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// What is wrong in it without a comparison: the bytes that must come through are known.
    pub(super) fn errors(&self, request: &Request, is_daemon: bool) -> Vec<Difference> {
        let plan = &request.plan;
        let body = request.body();
        let read = &body[..plan.reads_of(body.len())];
        let response = if plan.has_no_body() || request.method == "HEAD" {
            Vec::new()
        } else {
            plan.body(crc32(read))
        };
        let expected = [
            ("answer.body", digest(&response)),
            ("answer.status", plan.code().to_string()),
            // Otherwise the request has gone another road.
            (
                "environ.wsgi.run_once",
                if is_daemon { "False" } else { "True" }.to_owned(),
            ),
            ("read", digest(read)),
            ("runs", "1".to_owned()),
        ];
        self.unlike(&expected)
    }

    /// What is wrong in the account of a request that is to be refused.
    pub(super) fn is_no_refusal(&self, status: u16) -> Vec<Difference> {
        self.unlike(&[
            ("answer.status", status.to_string()),
            ("runs", "0".to_owned()),
        ])
    }

    fn unlike(&self, expected: &[(&str, String)]) -> Vec<Difference> {
        let expected = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let differences = differences(&Self(expected.collect()), self);
        differences
            .into_iter()
            .filter(|difference| difference.one.is_some())
            .collect()
    }
}

/// A name under which two accounts differ, and both values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) name: String,
    pub(super) one: Option<String>,
    pub(super) other: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| {
            value
                .as_ref()
                .map_or("absent".to_owned(), |value| format!("`{value}`"))
        };
        write!(
            f,
            "{}: {} and {}",
            self.name,
            value(&self.one),
            value(&self.other)
        )
    }
}

/// All of them, by name.
pub(super) fn differences(one: &Account, other: &Account) -> Vec<Difference> {
    let names: BTreeSet<_> = one.0.keys().chain(other.0.keys()).collect();
    let all = names.into_iter().map(|name| Difference {
        name: name.clone(),
        one: one.0.get(name).cloned(),
        other: other.0.get(name).cloned(),
    });
    all.filter(|difference| difference.one != difference.other)
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("{} bytes, crc32 {:08x}", bytes.len(), crc32(bytes))
}

/// As Python's zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(pairs: &[(&str, &str)]) -> Account {
        Account(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_checksum_is_the_usual_one() {
        assert_eq!(digest(b"123456789"), "9 bytes, crc32 cbf43926");
    }

    /// The differential test could not fail if this did not see a difference.
    #[test]
    fn what_differs_is_found() {
        let one = account(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(differences(&one, &one), []);
        let planted = [
            (
                account(&[("a", "1"), ("b", "2 "), ("c", "3")]),
                "b: `2` and `2 `",
            ),
            (account(&[("a", "1"), ("c", "3")]), "b: `2` and absent"),
            (
                account(&[("a", "1"), ("aa", ""), ("b", "2"), ("c", "3")]),
                "aa: absent and ``",
            ),
        ];
        for (other, shown) in planted {
            let found = differences(&one, &other);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].to_string(), shown);
        }
    }

    #[test]
    fn what_did_not_come_through_is_found() {
        let request = Request::simple();
        let body = digest(&request.plan.body(crc32(b"")));
        let right = [
            ("answer.body", body.as_str()),
            ("answer.status", "200"),
            ("environ.PATH_INFO", ""),
            ("environ.wsgi.run_once", "True"),
            ("read", "0 bytes, crc32 00000000"),
            ("runs", "1"),
        ];
        assert_eq!(account(&right).errors(&request, false), []);
        for planted in [0, 1, 3, 4, 5] {
            let mut wrong = right;
            wrong[planted].1 = "2";
            let errors = account(&wrong).errors(&request, false);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0].name, right[planted].0);
        }
    }

    #[test]
    fn what_is_the_connection_s_is_left_out() {
        let answer = |fields: &[(&str, &str)]| Answer {
            status: "200".to_owned(),
            reason: "OK".to_owned(),
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Vec::new(),
        };
        let made = |fields: &[(&str, &str)], record: &str| {
            let own = Own {
                texts: vec![("/tmp/x".to_owned(), "DIR")],
                values: vec![("80".to_owned(), "PORT")],
            };
            Account::new(
                &Request::simple(),
                &answer(fields),
                record,
                &own,
                &["environ.REMOTE_PORT"],
            )
        };
        let one = made(
            &[("Date", "today"), ("X-A", "b")],
            "environ.P /tmp/x/y\nenviron.REMOTE_PORT 1\nenviron.Q 80\n.\n",
        );
        let two = made(
            &[("x-a", "b"), ("DATE", "")],
            "environ.P DIR/y\nenviron.REMOTE_PORT 2\nenviron.Q PORT\n.\n",
        );
        assert_eq!(differences(&one, &two), []);
        assert_eq!(one.0["runs"], "1");
        let three = made(
            &[("X-B", "c"), ("X-A", "b"), ("X-A", "d")],
            "environ.P DIR/z\nenviron.Q 800\n",
        );
        let found = differences(&two, &three);
        let names: Vec<_> = found
            .iter()
            .map(|difference| difference.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "answer.order",
                "answer.x-a",
                "answer.x-b",
                "environ.P",
                "environ.Q",
                "environ.REMOTE_PORT",
                "runs"
            ]
        );
    }
}
