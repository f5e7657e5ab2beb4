//! The cases of other projects' suites, and the two specifications as lists: for each case its name there, what it
//! demands, and the test that shows it here. The facts are theirs; code and words are ours.
//!
//! A case that was tested already is named and not written twice; the others are tests in the file of their suite, by
//! [`ways`] where no web server is needed. [`Shown`] says how a test is named.

mod apache;
mod go;
mod gunicorn;
mod lighttpd;
mod mod_wsgi;
mod nginx;
mod pep3333;
mod rfc3875;
mod speedycgi;
mod ways;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// One suite, or one specification.
struct Suite {
    name: &'static str,
    cases: &'static [Case],
}

/// A case: its name in the suite or its section, what it demands, how that is shown.
struct Case(&'static str, &'static str, Shown);

/// The tests are named `FILE::NAME`, without the parts that a macro puts between; `src/FILE: NAME` is a unit test, and
/// `adaptor: NAME` a test of tests/adaptor/test_both.py or a row of its table.
enum Shown {
    /// These tests show that it is so.
    By(&'static [&'static str]),
    /// It is otherwise on purpose, for this reason, as these tests show.
    Otherwise(&'static str, &'static [&'static str]),
    /// It is decided before a request comes to polycgi, or is no matter of a CGI: by this.
    Outside(&'static str),
}

const SUITES: [Suite; 9] = [
    apache::SUITE,
    go::SUITE,
    gunicorn::SUITE,
    lighttpd::SUITE,
    mod_wsgi::SUITE,
    nginx::SUITE,
    pep3333::SUITE,
    rfc3875::SUITE,
    speedycgi::SUITE,
];

/// All tests that there are.
struct Known {
    /// The paths of the integration tests.
    integration: Vec<String>,
    /// tests/adaptor/test_both.py
    adaptor: String,
}

impl Known {
    fn read() -> Self {
        let this = std::env::current_exe().expect("a program knows its path");
        let output = Command::new(this).arg("--list").output();
        let output = output.expect("the tests can be listed");
        let list = String::from_utf8_lossy(&output.stdout);
        let integration = list.lines().filter_map(|line| line.strip_suffix(": test"));
        Self {
            integration: integration.map(str::to_owned).collect(),
            adaptor: source("tests/adaptor/test_both.py").expect("it is there"),
        }
    }

    fn has(&self, test: &str) -> bool {
        match test.split_once(": ") {
            Some(("adaptor", name)) => {
                let forms = [format!("    def {name}("), format!("    ('{name}', '")];
                forms.iter().any(|form| self.adaptor.contains(form))
            }
            Some((file, name)) => source(file).is_some_and(|text| {
                let mut functions = text.split("#[test]\n").skip(1);
                let function = format!("fn {name}(");
                functions.any(|text| text.trim_start().starts_with(&function))
            }),
            None => self.of(test).next().is_some(),
        }
    }

    /// The integration tests of that name.
    fn of<'a>(&'a self, test: &'a str) -> impl Iterator<Item = &'a String> {
        let (file, name) = test.rsplit_once("::").unwrap_or(("", test));
        self.integration.iter().filter(move |path| {
            let inner = path
                .strip_prefix(file)
                .and_then(|rest| rest.strip_suffix(name));
            inner.is_some_and(|inner| {
                inner == "::" || inner.starts_with("::") && inner.ends_with("::")
            })
        })
    }
}

fn source(file: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()
}

fn tests(shown: &Shown) -> &'static [&'static str] {
    match shown {
        Shown::By(tests) | Shown::Otherwise(_, tests) => tests,
        Shown::Outside(_) => &[],
    }
}

#[test]
fn every_case_is_shown_by_tests_that_are_there() {
    let known = Known::read();
    let mut missing = Vec::new();
    for suite in &SUITES {
        let mut names = HashSet::new();
        for Case(name, demands, shown) in suite.cases {
            assert!(names.insert(name), "{}: {name} stands twice", suite.name);
            assert!(
                !demands.is_empty(),
                "{}: {name} demands nothing",
                suite.name
            );
            match shown {
                Shown::By(tests) => assert!(!tests.is_empty(), "{}: {name}", suite.name),
                Shown::Otherwise(why, tests) => {
                    assert!(
                        !why.is_empty() && !tests.is_empty(),
                        "{}: {name}",
                        suite.name
                    );
                }
                Shown::Outside(what) => assert!(!what.is_empty(), "{}: {name}", suite.name),
            }
            let unknown = tests(shown).iter().filter(|test| !known.has(test));
            missing.extend(unknown.map(|test| format!("{}: {name}: {test}", suite.name)));
        }
    }
    assert_eq!(missing, [""; 0], "no such tests");
}

/// A test of these files that no case names would be of no suite.
#[test]
fn every_ported_test_belongs_to_a_case() {
    let known = Known::read();
    let cases = SUITES.iter().flat_map(|suite| suite.cases);
    let named: HashSet<_> = cases
        .flat_map(|Case(.., shown)| tests(shown))
        .flat_map(|test| known.of(test))
        .collect();
    let files = known.integration.iter();
    let of_suites = |path: &&String| {
        let file = path.strip_prefix("ported::");
        file.is_some_and(|file| file.contains("::") && !file.starts_with("ways::"))
    };
    let ported = files.filter(of_suites);
    let idle: Vec<_> = ported.filter(|path| !named.contains(path)).collect();
    assert_eq!(idle, [""; 0], "no case names these");
}

#[test]
fn a_test_that_is_not_there_is_found() {
    let known = Known::read();
    for there in [
        "keys::max_requests",
        "stderr::of_a_request",
        "matrix::requests::nginx_scgi::paths",
        "src/cgi/head.rs: what_is_refused",
        "adaptor: ... too large",
        "adaptor: test_environ",
    ] {
        assert!(known.has(there), "{there}");
    }
    for missing in [
        "keys::max_request",
        "key::max_requests",
        "keys::x_requests",
        "stderr::a_request",
        "matrix::requests::nginx_scgi::path",
        "src/cgi/head.rs: what_is",
        "src/cgi/none.rs: what_is_refused",
        "adaptor: too large",
        "adaptor: environ",
    ] {
        assert!(!known.has(missing), "{missing}");
    }
}
