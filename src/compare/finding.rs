//! What differs between the ways.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::diff::{self, Hunk};
use super::observed::{Aspect, Observed};
use super::template::Template;

/// The most lines of a diff.
const LONGEST_DIFF: usize = 200;

/// The result.
#[derive(Debug)]
pub struct Comparison {
    /// The status of the first plain CGI, for a head line.
    pub(super) status: String,
    pub(super) daemon_runs: usize,
    pub(super) differences: Vec<Difference>,
    /// What changes by itself.
    pub(super) varying: Vec<Aspect>,
}

impl Comparison {
    /// Adds what the processes start with: names and values, of a plain CGI and of a worker.
    pub fn add_processes(&mut self, cgi: &[(String, String)], daemon: &[(String, String)]) {
        let names: BTreeSet<&String> = cgi.iter().chain(daemon).map(|(name, _)| name).collect();
        let value = |of: &[(String, String)], name: &String| {
            let mut pairs = of.iter();
            pairs
                .find(|(known, _)| known == name)
                .map_or(String::new(), |(_, value)| format!("{value}\n"))
        };
        for name in names {
            let (cgi, daemon) = (value(cgi, name), value(daemon, name));
            if cgi != daemon {
                self.differences.push(Difference {
                    aspect: Aspect::Process(name.clone()),
                    cgi,
                    daemon,
                    diff: String::new(),
                    first: 1,
                    runs: self.daemon_runs,
                    changes: false,
                });
            }
        }
    }

    /// Whether the ways differ.
    pub fn differs(&self) -> bool {
        !self.differences.is_empty()
    }
}

/// An aspect that differs between the ways.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) aspect: Aspect,
    /// The first plain CGI's.
    pub(super) cgi: String,
    /// The daemon's, in the first run that differs.
    pub(super) daemon: String,
    /// What differs there, in unified form.
    pub(super) diff: String,
    /// The number of that run, from 1.
    pub(super) first: usize,
    /// How many runs differ.
    pub(super) runs: usize,
    /// Those that differ are not all the same.
    pub(super) changes: bool,
}

/// Compares the daemon's answers with those of plain CGIs. There is at least one of each.
pub fn compare(cgi: &[Rc<Observed>], daemon: &[Rc<Observed>]) -> Comparison {
    let mut aspects: BTreeSet<&Aspect> = BTreeSet::from([&Aspect::Status]);
    aspects.extend(cgi.iter().chain(daemon).flat_map(|answer| answer.aspects()));
    let status = cgi
        .first()
        .map_or("", |answer| answer.text(&Aspect::Status));
    let mut comparison = Comparison {
        status: status.trim_end().to_owned(),
        daemon_runs: daemon.len(),
        differences: Vec::new(),
        varying: Vec::new(),
    };
    for aspect in aspects {
        let template = Template::of(cgi.iter().map(|answer| answer.text(aspect)));
        if template.is_open() {
            comparison.varying.push(aspect.clone());
        }
        let first = cgi.first().map_or("", |answer| answer.text(aspect));
        let texts = daemon.iter().map(|answer| answer.text(aspect));
        let difference = difference(aspect, first, &template, texts);
        comparison.differences.extend(difference);
    }
    comparison
}

fn difference<'a>(
    aspect: &Aspect,
    cgi: &str,
    template: &Template<'_>,
    daemon: impl Iterator<Item = &'a str>,
) -> Option<Difference> {
    let mut found: Option<(Difference, Vec<String>)> = None;
    let mut last: Option<(&str, Vec<Hunk>)> = None;
    for (nth, text) in daemon.enumerate() {
        let hunks = match last.take() {
            Some((before, hunks)) if before == text => hunks,
            _ => template.misfits(text),
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        if !hunks.is_empty() {
            let new = hunks.iter().map(|hunk| lines[hunk.new.clone()].concat());
            let new: Vec<String> = new.collect();
            match &mut found {
                Some((difference, first)) => {
                    difference.runs += 1;
                    difference.changes |= *first != new;
                }
                None => {
                    let difference = Difference {
                        aspect: aspect.clone(),
                        cgi: cgi.to_owned(),
                        daemon: text.to_owned(),
                        diff: diff::unified(&template.lines(), &lines, &hunks, LONGEST_DIFF),
                        first: nth + 1,
                        runs: 1,
                        changes: false,
                    };
                    found = Some((difference, new));
                }
            }
        }
        last = Some((text, hunks));
    }
    found.map(|(difference, _)| difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(cgi: &[&str], daemon: &[&str]) -> Comparison {
        let answers = |texts: &[&str]| -> Vec<Rc<Observed>> {
            let texts = texts.iter();
            texts
                .map(|text| Rc::new(Observed::of(text.as_bytes())))
                .collect()
        };
        compare(&answers(cgi), &answers(daemon))
    }

    #[test]
    fn what_survives_in_the_daemon_differs() {
        let run = |number| format!("Status: 200 OK\n\nvisit {number}\n");
        let (one, two, three) = (&run(1)[..], &run(2)[..], &run(3)[..]);
        let comparison = compared(&[one; 4], &[one, two, three]);
        let [difference] = &comparison.differences[..] else {
            panic!("{comparison:?}");
        };
        assert_eq!(difference.aspect, Aspect::Body);
        assert_eq!((difference.first, difference.runs), (2, 2));
        assert!(difference.changes);
        assert_eq!(difference.diff, "@@ -1 +1 @@\n-visit 1\n+visit 2\n");
        assert!(comparison.varying.is_empty());
    }

    #[test]
    fn what_changes_by_itself_does_not() {
        let run = |second| format!("Date: 12:00:{second}\nX: y\n\nat {second}, in /srv\n");
        let cgi = [run("01"), run("02"), run("03")];
        let cgi: Vec<&str> = cgi.iter().map(String::as_str).collect();
        let comparison = compared(&cgi, &[&run("01"), &run("09")]);
        assert!(!comparison.differs(), "{comparison:?}");
        assert_eq!(comparison.varying.len(), 2);
        let moved = run("09").replace("/srv", "/");
        let comparison = compared(&cgi, &[&run("02"), &moved]);
        assert_eq!(comparison.differences[0].aspect, Aspect::Body);
        assert!(!comparison.differences[0].changes);
    }

    #[test]
    fn processes_differ_by_name() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut comparison = compared(&["A: b\n\nx"; 2], &["A: b\n\nx"]);
        let cgi = pairs(&[("LANG", "C"), ("TZ", ""), ("HOME", "/a")]);
        let worker = pairs(&[("HOME", "/a"), ("LANG", "de"), ("EXTRA", "1")]);
        comparison.add_processes(&cgi, &worker);
        let found = comparison.differences.iter();
        let found: Vec<_> = found
            .map(|one| (one.aspect.to_string(), &one.cgi[..], &one.daemon[..]))
            .collect();
        let expected = [
            ("EXTRA", "", "1\n"),
            ("LANG", "C\n", "de\n"),
            ("TZ", "\n", ""),
        ];
        let expected = expected.map(|(name, cgi, daemon)| (format!("environ {name}"), cgi, daemon));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_field_of_one_way_differs() {
        let comparison = compared(&["A: b\n\nx"; 2], &["A: b\nVary: Cookie\n\nx"]);
        let [difference] = &comparison.differences[..] else {
            panic!("{comparison:?}");
        };
        assert_eq!(difference.aspect, Aspect::Field("vary".to_owned()));
        assert_eq!(
            (&difference.cgi[..], &difference.daemon[..]),
            ("", "Cookie\n")
        );
    }
}
