//! Words that programs read: exit statuses, members and words of JSON, metrics, rules, and what becomes of requests.

use super::page::ManualPage;
use super::{differences, members};
use crate::control::{self, ACTIVITIES, CONDITIONS, STATES};
use crate::figures::{Counted, Quantiles};
use crate::incidents::Mishap;
use crate::policy::route::Rule;
use crate::report::Exit;
use crate::{cli, compare, views};

pub(super) fn complaints(
    commands: &ManualPage<'_>,
    front: &ManualPage<'_>,
    daemon: &ManualPage<'_>,
) -> Vec<String> {
    let mut wrong = exits(commands, front, daemon);
    let status = commands.section("Status in JSON");
    let known = members::of_json(&whole_status());
    wrong.extend(differences(
        "status --json",
        members::of_lists(&status),
        known,
    ));
    let findings = commands.section("Findings in JSON");
    let known = members::of_json(&cli::finding_in_json());
    wrong.extend(differences(
        "check --json",
        members::of_lists(&findings),
        known,
    ));
    let compared = commands.section("Differences in JSON");
    let known = members::of_json(&compare::report_in_json());
    wrong.extend(differences(
        "compare --json",
        members::of_lists(&compared),
        known,
    ));
    wrong.extend(values(&status, &findings));
    wrong.extend(rules(front));
    wrong.extend(outcomes(front));
    wrong.extend(metrics(commands));
    wrong
}

fn exits(
    commands: &ManualPage<'_>,
    front: &ManualPage<'_>,
    daemon: &ManualPage<'_>,
) -> Vec<String> {
    let told = |page: &ManualPage<'_>| {
        let items = page.section("EXIT STATUS").items();
        let numbers = items.iter().filter_map(|item| item.head.behind(".It "));
        numbers.map(str::to_owned).collect::<Vec<String>>()
    };
    let known = Exit::ALL.iter().map(|exit| (*exit as u8).to_string());
    let known: Vec<String> = known.collect();
    let mut wrong = differences("exit status", told(commands), known.clone());
    for page in [front, daemon] {
        let told = told(page);
        let unknown = told.iter().filter(|number| !known.contains(number));
        wrong.extend(unknown.map(|number| format!("exit status: the code has no {number}")));
    }
    wrong
}

/// A status with a value for every member.
fn whole_status() -> String {
    let mut status = control::busy_status();
    status.user = Some("www-data".to_owned());
    let times = Some(Quantiles {
        p50: 1,
        p95: 2,
        p99: 3,
    });
    status.figures.recent.waited = times;
    for minute in &mut status.figures.minutes {
        (minute.waited, minute.served) = (times, times);
    }
    status.to_json()
}

/// The words that a member may have.
fn values(status: &ManualPage<'_>, findings: &ManualPage<'_>) -> Vec<String> {
    let failures = Mishap::ALL.map(Mishap::word);
    let [daemon, worker, server] = [
        STATES.map(|(_, word)| word).to_vec(),
        ACTIVITIES.map(|(_, word)| word).to_vec(),
        CONDITIONS.map(|(_, word)| word).to_vec(),
    ];
    let mut wrong = Vec::new();
    for (path, known) in [
        (&["state"][..], daemon),
        (&["workers", "state"], worker),
        (&["server", "state"], server),
        (&["failures", "kind"], failures.to_vec()),
        (&["kind"], vec!["wsgi", "cgi", "scgi", "connect"]),
        (
            &["way"],
            vec!["daemon", "cgi", "start", "refused", "broken"],
        ),
    ] {
        wrong.extend(differences(&path.join("."), words_of(status, path), known));
    }
    wrong.extend(differences(
        "kind of a finding",
        words_of(findings, &["kind"]),
        cli::finding_kinds(),
    ));
    let known = cli::finding_severities();
    wrong.extend(differences(
        "severity",
        words_of(findings, &["severity"]),
        known,
    ));
    wrong
}

/// The words in the text of a member.
fn words_of<'a>(page: &ManualPage<'a>, path: &[&str]) -> Vec<&'a str> {
    let mut page = page.clone();
    for name in path {
        let items = page.items();
        let item = items
            .into_iter()
            .find(|item| item.head.marked("Li").contains(name));
        page = item.map_or(ManualPage::of(""), |item| item.body);
    }
    page.without_lists().marked("Li")
}

fn rules(front: &ManualPage<'_>) -> Vec<String> {
    let section = front.section("HOW A REQUEST IS SERVED");
    let items = section.items();
    let told = items.iter().flat_map(|item| item.head.marked("Li"));
    let known = Rule::ALL.map(Rule::word);
    // It decides no way: a sentence behind the list has it.
    let by_hand = section.without_lists().marked("Li").contains(&"by-hand");
    differences("rules", told.chain(by_hand.then_some("by-hand")), known)
}

/// Each with its status; those without one are the app's answers.
fn outcomes(front: &ManualPage<'_>) -> Vec<String> {
    let section = front.section("WHAT THE CLIENT GETS");
    let ours = section.items().into_iter().filter_map(|item| {
        let status = item.head.behind(".It ")?.split(' ').next()?;
        let word = item.head.marked("Li").first().copied()?;
        status
            .parse::<u16>()
            .is_ok()
            .then(|| format!("{status} {word}"))
    });
    let full = front.section("Why a client gets 503").items();
    let full = full.iter().flat_map(|item| item.head.marked("Li"));
    let full = full.map(|word| format!("503 {word}"));
    let told: Vec<String> = ours.chain(full).collect();
    let known = Counted::ALL.into_iter().filter_map(|what| {
        let status = what.status()?;
        Some(format!("{status} {}", what.word()))
    });
    let mut wrong = differences("what becomes of a request", told, known);
    let apps = section.without_lists().marked("Li");
    let apps = apps
        .into_iter()
        .filter(|word| Counted::from_word(word).is_some());
    let known = Counted::ALL
        .into_iter()
        .filter(|what| what.status().is_none());
    wrong.extend(differences(
        "answers of the app",
        apps,
        known.map(Counted::word),
    ));
    wrong
}

fn metrics(commands: &ManualPage<'_>) -> Vec<String> {
    let items = commands.section("Metrics").items();
    let told = items.iter().flat_map(|item| item.head.marked("Li"));
    let text = views::exposition(&[views::rushed()]);
    let heads = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    let known: Vec<&str> = heads.filter_map(|head| head.split(' ').next()).collect();
    differences("metrics", told, known)
}
