//! The checked-in table of heads that a daemon answers otherwise than a plain CGI does, and why: each row must be
//! needed, and every difference must have a row.

use super::super::util::golden::{self, Row};

/// tests/golden/heads.txt
const TABLE: &str = include_str!("../../golden/heads.txt");

/// The rows, and which of them were needed.
#[derive(Debug)]
pub(super) struct Table(Vec<Row<What>>);

/// The daemon's answer, where it differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// Our page with status 502.
    Page502,
    /// The same answer with status 302 instead of 200.
    Status302,
    /// The web server's answer varies: it is not compared.
    Varies,
}

impl Table {
    #[track_caller]
    pub(super) fn checked_in() -> Self {
        Self::parse(TABLE)
    }

    #[track_caller]
    fn parse(text: &'static str) -> Self {
        let read = |word: &str| match word {
            "page-502" => Some(What::Page502),
            "status-302" => Some(What::Status302),
            "varies" => Some(What::Varies),
            _ => None,
        };
        Self(golden::rows(text, "page-502|status-302|varies", read))
    }

    /// How the answer to a head of these kinds has to differ on that road, if at all: by the first row.
    pub(super) fn other(&self, road: &str, kinds: &[&str]) -> Option<What> {
        let is_it =
            |row: &&Row<What>| [road, "every"].contains(&row.road) && kinds.contains(&row.name);
        let row = self.0.iter().find(is_it)?;
        row.note_needed();
        Some(row.what)
    }

    /// The rows of that road that nothing needed.
    pub(super) fn unneeded(&self, road: &str) -> Vec<String> {
        let is_its = |row: &&Row<What>| [road, "every"].contains(&row.road);
        golden::unneeded(self.0.iter().filter(is_its))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let table =
            Table::parse("# a comment\n\na X varies x\nevery X page-502 x\na Y status-302 x\n");
        assert_eq!(table.other("a", &["X", "Y"]), Some(What::Varies));
        assert_eq!(table.other("b", &["Y"]), None);
        assert_eq!(
            table.unneeded("a"),
            ["line 4: every X Page502", "line 5: a Y Status302"]
        );
        assert_eq!(table.other("b", &["X"]), Some(What::Page502));
        assert_eq!(table.unneeded("b"), [""; 0]);
    }
}
