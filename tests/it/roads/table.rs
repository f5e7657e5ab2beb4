//! The checked-in table of what may differ, and why: each row must be seen, and what is seen must have a row.

use std::cell::Cell;

use super::account::Difference;

/// tests/golden/environ.txt
const TABLE: &str = include_str!("../../golden/environ.txt");

/// The rows, and which of them were needed.
#[derive(Debug)]
pub(super) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    line: usize,
    /// Which comparison it is about.
    road: &'static str,
    name: &'static str,
    what: What,
    was_seen: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// The reference has it, and this road has it not.
    Absent,
    /// Only this road has it.
    Added,
    /// Both have it, with different values.
    Other,
    /// Requests of this kind end with a page of that status, and the application does not run.
    Refused(u16),
    /// No two values are the same: they are not compared.
    Varies,
}

impl What {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "absent" => Some(Self::Absent),
            "added" => Some(Self::Added),
            "other" => Some(Self::Other),
            "varies" => Some(Self::Varies),
            _ => Some(Self::Refused(word.strip_prefix("refused-")?.parse().ok()?)),
        }
    }
}

impl Table {
    /// The one that is checked in.
    #[track_caller]
    pub(super) fn checked_in() -> Self {
        Self::parse(TABLE)
    }

    #[track_caller]
    fn parse(text: &'static str) -> Self {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let rows = lines.map(|(number, line)| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_default();
            let (road, name, what) = (word(), word(), word());
            let what = What::parse(what).unwrap_or_else(|| {
                panic!(
                    "line {}: ROAD NAME absent|added|other|refused-STATUS|varies, and why: {line}",
                    number + 1
                )
            });
            assert!(
                words.next().is_some(),
                "line {} says no reason: {line}",
                number + 1
            );
            Row {
                line: number + 1,
                road,
                name,
                what,
                was_seen: Cell::new(false),
            }
        });
        Self(rows.collect())
    }

    /// The names whose values are not compared on any road.
    pub(super) fn varying(&self) -> Vec<&'static str> {
        let rows = self.0.iter().filter(|row| row.what == What::Varies);
        rows.map(|row| row.name).collect()
    }

    /// Those names were in an account.
    pub(super) fn has_varied(&self, name: &str) {
        let rows = self
            .0
            .iter()
            .filter(|row| row.what == What::Varies && row.name == name);
        rows.for_each(|row| row.was_seen.set(true));
    }

    /// The status with which a request of one of these kinds is refused on that road.
    pub(super) fn refused(&self, road: &str, kinds: &[&str]) -> Option<u16> {
        let mut rows = self
            .0
            .iter()
            .filter(|row| row.road == road && kinds.contains(&row.name));
        rows.find_map(|row| match row.what {
            What::Refused(status) => {
                row.was_seen.set(true);
                Some(status)
            }
            _ => None,
        })
    }

    /// Those of the differences that no row of these roads allows.
    pub(super) fn unknown(&self, roads: &[&str], differences: Vec<Difference>) -> Vec<Difference> {
        let is_unknown = |difference: &Difference| {
            let what = match (&difference.one, &difference.other) {
                (Some(_), None) => What::Absent,
                (None, _) => What::Added,
                (Some(_), Some(_)) => What::Other,
            };
            let is_it = |row: &&Row| {
                roads.contains(&row.road) && row.name == difference.name && row.what == what
            };
            let row = self.0.iter().find(is_it);
            row.inspect(|row| row.was_seen.set(true)).is_none()
        };
        differences.into_iter().filter(is_unknown).collect()
    }

    /// The rows that nothing needed.
    pub(super) fn unseen(&self) -> Vec<String> {
        let rows = self.0.iter().filter(|row| !row.was_seen.get());
        rows.map(|row| {
            format!(
                "line {}: {} {} {:?}",
                row.line, row.road, row.name, row.what
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: &str = "# a comment\n\nnginx environ.A other it is so\nnginx B absent x\nnginx C added x\nall D varies x\n\
        nginx request.odd refused-400 x\n";

    fn difference(name: &str, one: Option<&str>, other: Option<&str>) -> Difference {
        Difference {
            name: name.to_owned(),
            one: one.map(str::to_owned),
            other: other.map(str::to_owned),
        }
    }

    #[test]
    fn a_row_allows_what_it_says_and_no_more() {
        let table = Table::parse(PLANTED);
        assert_eq!(table.varying(), ["D"]);
        let allowed = [
            difference("environ.A", Some("1"), Some("2")),
            difference("B", Some("1"), None),
            difference("C", None, Some("2")),
        ];
        let planted = [
            difference("environ.A", Some("1"), None),
            difference("B", Some("1"), Some("2")),
            difference("C", Some("1"), None),
            difference("E", None, Some("")),
        ];
        let all = [&allowed[..], &planted].concat();
        assert_eq!(table.unknown(&["lighttpd", "nginx"], all), planted);
        let elsewhere = allowed.to_vec();
        assert_eq!(table.unknown(&["lighttpd"], elsewhere), allowed);
    }

    #[test]
    fn a_row_that_nothing_needs_is_found() {
        let table = Table::parse(PLANTED);
        table.unknown(&["nginx"], vec![difference("B", Some("1"), None)]);
        table.has_varied("D");
        assert_eq!(
            table.refused("nginx", &["request.even", "request.odd"]),
            Some(400)
        );
        assert_eq!(table.refused("nginx", &["request.even", "B"]), None);
        assert_eq!(table.refused("lighttpd", &["request.odd"]), None);
        assert_eq!(
            table.unseen(),
            ["line 3: nginx environ.A Other", "line 5: nginx C Added"]
        );
    }

    #[test]
    #[should_panic(expected = "says no reason")]
    fn a_row_without_a_reason_is_none() {
        Table::parse("nginx A other\n");
    }
}
