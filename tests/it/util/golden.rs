//! The rows of a checked-in table of differences that are allowed, and why. It does not know
//! what a difference is: the test that has the table does.

use std::cell::Cell;
use std::fmt::Debug;

/// One line: `ROAD NAME WHAT`, and a reason.
#[derive(Debug)]
pub(crate) struct Row<What> {
    line: usize,
    /// Which comparison it is about.
    pub(crate) road: &'static str,
    pub(crate) name: &'static str,
    pub(crate) what: What,
    was_needed: Cell<bool>,
}

impl<What> Row<What> {
    /// A difference was seen that it allows.
    pub(crate) fn note_needed(&self) {
        self.was_needed.set(true);
    }
}

/// Reads a table; `#` begins a comment. `forms` says how a `WHAT` is written, for one that `read` does not know.
#[track_caller]
pub(crate) fn rows<What>(
    table: &'static str,
    forms: &str,
    read: impl Fn(&str) -> Option<What>,
) -> Vec<Row<What>> {
    let lines = table.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.map(|(number, line)| {
        let number = number + 1;
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (road, name, what) = (word(), word(), word());
        let what = read(what)
            .unwrap_or_else(|| panic!("line {number}: ROAD NAME {forms}, and why: {line}"));
        let has_reason = words.next().is_some();
        assert!(has_reason, "line {number} says no reason: {line}");
        Row {
            line: number,
            road,
            name,
            what,
            was_needed: Cell::new(false),
        }
    });
    rows.collect()
}

/// Those of the rows that no difference has needed.
pub(crate) fn unneeded<'a, What: Debug + 'a>(
    rows: impl IntoIterator<Item = &'a Row<What>>,
) -> Vec<String> {
    let rows = rows.into_iter().filter(|row| !row.was_needed.get());
    rows.map(|row| {
        format!(
            "line {}: {} {} {:?}",
            row.line, row.road, row.name, row.what
        )
    })
    .collect()
}

#[test]
#[should_panic(expected = "says no reason")]
fn a_row_without_a_reason_is_none() {
    rows("nginx A other\n", "other", |word| {
        (word == "other").then_some(())
    });
}

#[test]
#[should_panic(expected = "line 2: ROAD NAME other, and why")]
fn a_row_of_no_known_form_is_none() {
    rows("\nnginx A another x\n", "other", |word| {
        (word == "other").then_some(())
    });
}
