//! The same answer by every road: requests of any kind are sent to one application behind each web server and in each
//! way; all that the application saw and all that the client got is compared.

mod account;
mod answer;
mod plan;
mod request;
mod table;
mod ways;

use std::thread;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use self::account::{Account, differences};
use self::request::{Request, request};
use self::table::Table;
use self::ways::{Road, Roads};

#[test]
fn the_same_answer_by_every_road() {
    let (roads, table) = (Roads::open(), Table::checked_in());
    for request in Request::of_each_kind() {
        if let Err(wrong) = compare(&roads, &table, &request) {
            panic!("{wrong}\n{request:#?}");
        }
    }
    assert_eq!(table.unneeded(), [""; 0], "rows that no request needs");
    let result = TestRunner::new(config()).run(&request(), |request| {
        compare(&roads, &table, &request).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// As many requests as a run has time for, the same each time, so that a failure stays until it is mended.
/// PROPTEST_RNG_SEED makes others, PROPTEST_CASES more.
fn config() -> Config {
    let given = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    Config {
        cases: given("PROPTEST_CASES").unwrap_or(60),
        failure_persistence: None,
        max_shrink_time: 60_000,
        rng_seed: RngSeed::Fixed(given("PROPTEST_RNG_SEED").unwrap_or(4).into()),
        ..Config::default()
    }
}

/// Sends the request by every road, and compares the accounts.
fn compare(roads: &Roads, table: &Table, request: &Request) -> Result<(), String> {
    let varies = table.varying();
    let accounts: Vec<Result<Account, String>> = thread::scope(|scope| {
        let roads = roads.all.iter();
        let travels: Vec<_> = roads
            .map(|road| scope.spawn(|| road.travel(request, &varies)))
            .collect();
        let travels = travels.into_iter();
        travels
            .map(|travel| travel.join().expect("a traveller comes back"))
            .collect()
    });
    let mut wrong = Vec::new();
    let mut came: Vec<(&Road, Account)> = Vec::new();
    for (road, account) in roads.all.iter().zip(accounts) {
        match account {
            Ok(account) => came.push((road, account)),
            Err(error) => wrong.push(format!("{}: {error}", road.name())),
        }
    }
    let kinds = request.kinds();
    let is_refused = |origin: &str| table.refused(origin, &kinds);
    for it @ (road, account) in &came {
        for name in varies.iter().filter(|name| account.0.contains_key(**name)) {
            table.has_varied(name);
        }
        let errors = match is_refused(road.origin()) {
            Some(status) => account.is_no_refusal(status),
            None => account.errors(request, road.is_daemon),
        };
        wrong.extend(
            errors
                .iter()
                .map(|error| format!("{}: {error}", road.name())),
        );
        // The first account of that origin.
        let first = |origin: &str| came.iter().find(|(other, _)| other.origin() == origin);
        let (Some(way), Some(base)) = (first(road.origin()), first(road.base())) else {
            continue;
        };
        wrong.extend(unlike(table, way, it, road.way));
        let is_first = std::ptr::eq(way.0, *road);
        if is_first && is_refused(base.0.origin()) == is_refused(road.origin()) {
            wrong.extend(unlike(table, base, it, road.origin()));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// Differences between two roads that no row allows: neither one of the road's name nor one of its kind of way.
fn unlike(
    table: &Table,
    one: &(&Road, Account),
    other: &(&Road, Account),
    row: &str,
) -> Vec<String> {
    let between = if one.0.is_daemon == other.0.is_daemon {
        row
    } else {
        "daemon"
    };
    let found = table.unknown(&[row, between], differences(&one.1, &other.1));
    let shown = found
        .iter()
        .map(|difference| format!("{} and {}: {difference}", one.0.name(), other.0.name()));
    shown.collect()
}
