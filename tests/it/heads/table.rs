//! The checked-in table of heads that a daemon answers otherwise than a plain CGI does, and why: each row must be
//! needed, and every difference must have a row.

use std::cell::Cell;

/// tests/golden/heads.txt
const TABLE: &str = include_str!("../../golden/heads.txt");

/// The rows, and which of them were needed.
#[derive(Debug)]
pub(super) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    line: usize,
    road: &'static str,
    kind: &'static str,
    what: What,
    was_needed: Cell<bool>,
}

/// What the daemon makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// Our page with status 502.
    Page502,
    /// The same answer, but for a 302 where that is a 200.
    Status302,
    /// The web server answers now so, now so: it is not compared.
    Varies,
}

impl Table {
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
            let (road, kind) = (word(), word());
            let what = match word() {
                "page-502" => What::Page502,
                "status-302" => What::Status302,
                "varies" => What::Varies,
                _ => panic!(
                    "line {}: ROAD KIND page-502|status-302|varies, and why: {line}",
                    number + 1
                ),
            };
            let has_reason = words.next().is_some();
            assert!(has_reason, "line {} says no reason: {line}", number + 1);
            Row {
                line: number + 1,
                road,
                kind,
                what,
                was_needed: Cell::new(false),
            }
        });
        Self(rows.collect())
    }

    /// What has to come of a head of these kinds on that road, if not the same: the first row counts.
    pub(super) fn other(&self, road: &str, kinds: &[&str]) -> Option<What> {
        let is_it = |row: &&Row| [road, "every"].contains(&row.road) && kinds.contains(&row.kind);
        let row = self.0.iter().find(is_it)?;
        row.was_needed.set(true);
        Some(row.what)
    }

    /// The rows of that road that nothing needed.
    pub(super) fn unneeded(&self, road: &str) -> Vec<String> {
        let rows = self
            .0
            .iter()
            .filter(|row| [road, "every"].contains(&row.road));
        let rows = rows.filter(|row| !row.was_needed.get());
        rows.map(|row| {
            format!(
                "line {}: {} {} {:?}",
                row.line, row.road, row.kind, row.what
            )
        })
        .collect()
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

    #[test]
    #[should_panic(expected = "says no reason")]
    fn a_row_without_a_reason_is_none() {
        Table::parse("every X varies\n");
    }
}
