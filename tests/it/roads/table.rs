//! The checked-in table of what may differ, and why: each row must be needed, and each difference must have a row.

use super::super::util::golden::{self, Row};
use super::account::Difference;

/// tests/golden/environ.txt
const TABLE: &str = include_str!("../../golden/environ.txt");

/// The rows, and which of them were needed.
#[derive(Debug)]
pub(super) struct Table(Vec<Row<What>>);

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
        let forms = "absent|added|other|refused-STATUS|varies";
        Self(golden::rows(text, forms, What::parse))
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
        rows.for_each(|row| row.note_needed());
    }

    /// The status with which a request of one of these kinds is refused on that road.
    pub(super) fn refused(&self, road: &str, kinds: &[&str]) -> Option<u16> {
        let mut rows = self
            .0
            .iter()
            .filter(|row| row.road == road && kinds.contains(&row.name));
        rows.find_map(|row| match row.what {
            What::Refused(status) => {
                row.note_needed();
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
            let is_it = |row: &&Row<What>| {
                roads.contains(&row.road) && row.name == difference.name && row.what == what
            };
            let row = self.0.iter().find(is_it);
            row.inspect(|row| row.note_needed()).is_none()
        };
        differences.into_iter().filter(is_unknown).collect()
    }

    /// The rows that nothing needed.
    pub(super) fn unneeded(&self) -> Vec<String> {
        golden::unneeded(&self.0)
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
            table.unneeded(),
            ["line 3: nginx environ.A Other", "line 5: nginx C Added"]
        );
    }
}
