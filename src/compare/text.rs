//! The report for a person.

use std::fmt::Write;
use std::time::Duration;

use super::Report;
use super::finding::{Comparison, Difference};
use super::observed::Aspect;
use super::times::Times;
use crate::printable;

/// The most lines of what a plain CGI or the daemon has said.
const MOST_LINES: usize = 20;

/// The report, with nothing in it that a terminal would obey.
pub fn to_text(report: &Report<'_>) -> String {
    let mut text = String::new();
    let comparison = report.comparison;
    let runs = match comparison.daemon_runs {
        1 => "once each way".to_owned(),
        runs => format!("{runs} times each way, in turns"),
    };
    // A String takes all that is written.
    let _ = writeln!(text, "{}: {}, {runs}", report.app, report.request);
    add_differences(&mut text, comparison);
    add_times(&mut text, report);
    if let Some(failure) = report.failure {
        text.push_str("\nThe daemon could not start the app:\n");
        add_some_lines(&mut text, failure);
    }
    if let Some(profile) = report.profile {
        profile.add_to_text(&mut text);
    }
    if !report.stderr.is_empty() {
        text.push_str("\nThe first plain CGI wrote to standard error:\n");
        add_some_lines(&mut text, report.stderr);
    }
    printable::lines(&text)
}

fn add_some_lines(text: &mut String, lines: &str) {
    let lines: Vec<&str> = lines.lines().collect();
    for line in lines.iter().take(MOST_LINES) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > MOST_LINES {
        let _ = writeln!(text, "  ... and {} more lines", lines.len() - MOST_LINES);
    }
}

fn add_differences(text: &mut String, comparison: &Comparison) {
    if !comparison.differs() {
        let _ = writeln!(
            text,
            "\nThe ways do not differ: status {}.",
            comparison.status
        );
    }
    for difference in &comparison.differences {
        let aspect = &difference.aspect;
        let _ = writeln!(text, "\n{aspect}: {}", how_often(difference, comparison));
        match aspect {
            Aspect::Body => {
                let _ = write!(text, "--- plain CGI\n+++ daemon\n{}", difference.diff);
            }
            _ => {
                add_values(text, "plain CGI", &difference.cgi);
                add_values(text, "daemon", &difference.daemon);
            }
        }
    }
    if !comparison.varying.is_empty() {
        let names: Vec<String> = comparison.varying.iter().map(Aspect::to_string).collect();
        let names = names.join(", ");
        let _ = writeln!(
            text,
            "\nWhat changes from run to run of the plain CGI is not compared: {names}."
        );
    }
}

fn how_often(difference: &Difference, comparison: &Comparison) -> String {
    let (runs, all) = (difference.runs, comparison.daemon_runs);
    let mut sentence = match (runs, difference.first) {
        (runs, _) if runs == all => "differs".to_owned(),
        (runs, 1) => format!("differs in {runs} of {all} runs by the daemon"),
        (runs, first) => {
            format!("differs in {runs} of {all} runs by the daemon, first in number {first}")
        }
    };
    if difference.changes {
        sentence.push_str(", and not always in the same way");
    }
    sentence
}

fn add_values(text: &mut String, way: &str, values: &str) {
    if values.is_empty() {
        let _ = writeln!(text, "  {way:<10} (none)");
    }
    for value in values.lines() {
        let _ = writeln!(text, "  {way:<10} {value}");
    }
}

fn add_times(text: &mut String, report: &Report<'_>) {
    let columns = [
        "first", "minimum", "median", "p95", "user", "system", "faults", "bytes",
    ];
    let _ = write!(text, "\n{:9}", "");
    for column in columns {
        let _ = write!(text, "{column:>8}");
    }
    text.push('\n');
    for (way, times) in [("plain CGI", &report.cgi), ("daemon", &report.daemon)] {
        add_row(text, way, times);
    }
    if !report.parts.is_empty() {
        text.push_str("\nA plain CGI's time, by the fastest runs:\n");
        for part in report.parts {
            let time = milliseconds(part.time);
            let _ = writeln!(text, "{time:>11}  {}", part.name);
        }
    }
}

fn add_row(text: &mut String, way: &str, times: &Times) {
    let others = times.others;
    let of = |time: Option<Duration>| time.map_or("-".to_owned(), milliseconds);
    let cells = [
        milliseconds(times.first),
        of(others.map(|others| others.minimum)),
        of(others.map(|others| others.median)),
        of(others.map(|others| others.p95)),
        of(times.cost.map(|cost| cost.user)),
        of(times.cost.map(|cost| cost.system)),
        times
            .cost
            .map_or("-".to_owned(), |cost| cost.faults.to_string()),
        times.bytes.to_string(),
    ];
    let _ = write!(text, "{way:9}");
    for cell in cells {
        // A long number is kept from the one before it.
        let _ = write!(text, " {cell:>7}");
    }
    text.push('\n');
}

fn milliseconds(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.2} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{Observed, Timing, compare};
    use super::*;

    #[test]
    fn a_person_reads_what_differs() {
        let answer = |text: &str| Rc::new(Observed::of(text.as_bytes()));
        let cgi = [
            answer("Status: 200 OK\n\na\n"),
            answer("Status: 200 OK\n\na\n"),
        ];
        let daemon = [answer("Status: 500 Bad\n\n\x1b[2Jb\n")];
        let comparison = compare(&cgi, &daemon);
        let run = Timing {
            wall: Duration::from_millis(25),
            cost: None,
            bytes: 17,
        };
        let times = Times::of(&[run]);
        let report = Report {
            app: "wiki.cgi",
            request: "GET /",
            comparison: &comparison,
            cgi: times,
            daemon: times,
            parts: &[],
            profile: None,
            failure: None,
            stderr: "",
        };
        let text = to_text(&report);
        let expected = "wiki.cgi: GET /, once each way

status: differs
  plain CGI  200 OK
  daemon     500 Bad

body: differs
--- plain CGI
+++ daemon
@@ -1 +1 @@
-a
+?[2Jb

            first minimum  median     p95    user  system  faults   bytes
plain CGI   25 ms       -       -       -       -       -       -      17
daemon      25 ms       -       -       -       -       -       -      17
";
        assert_eq!(text, expected);
    }
}
