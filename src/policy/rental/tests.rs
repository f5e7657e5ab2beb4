//! The decision by its table, its bound against the best choice in hindsight, and its cost on traces.

use proptest::prelude::*;

use super::*;

mod traces;

const S: fn(u64) -> Duration = Duration::from_secs;
const T: Duration = Duration::from_secs(300);

/// What a site pays whose requests have these pauses between them, in milliseconds of a daemon's memory. It is run as
/// the front and the daemon do: each request is first noted, then a front that has found no daemon decides.
fn paid(pauses: &[Duration], even: Duration) -> u64 {
    let mut rental = Rental::default();
    let mut kept = Duration::ZERO;
    // The first request finds no daemon, and starts none.
    let mut all = even;
    for &pause in pauses {
        let is_warm = pause <= kept && !kept.is_zero();
        all += match is_warm {
            true => pause,
            false => kept + even,
        };
        let served = match is_warm {
            true => Served::Warm,
            false => Served::Cold { kept },
        };
        rental.note(pause, served, even);
        kept = match is_warm || rental.pays(None, even) {
            true => rental.kept(even),
            false => Duration::ZERO,
        };
    }
    millis(all)
}

/// The least that these requests can cost, by dynamic programming over whether there is a daemon after each.
/// `start`: what a request waits that starts one; `even`: as a plain CGI.
fn least(pauses: &[Duration], even: Duration, start: Duration) -> u64 {
    let (even, start) = (millis(even), millis(start));
    let (mut without, mut with) = (even, start);
    for &pause in pauses {
        let pause = millis(pause);
        let kept = with + pause;
        let gone = without.min(with);
        (without, with) = (gone + even, kept.min(gone + start));
    }
    without.min(with)
}

/// The same, by trying every sequence of choices: at each request without a daemon to start one or not, and after each
/// to keep the daemon for no time, half the pause, or all of it.
fn least_of_all(pauses: &[Duration], even: u64, start: u64, has_daemon: bool) -> u64 {
    let Some((&pause, rest)) = pauses.split_first() else {
        return 0;
    };
    let pause = millis(pause);
    let without = |kept: u64| {
        let cgi = kept + even + least_of_all(rest, even, start, false);
        cgi.min(kept + start + least_of_all(rest, even, start, true))
    };
    if !has_daemon {
        return without(0);
    }
    let whole = pause + least_of_all(rest, even, start, true);
    whole.min(without(pause / 2)).min(without(0))
}

fn steady(pause: u64, count: usize) -> Vec<Duration> {
    vec![S(pause); count]
}

/// After these pauses, each of which ended in a plain CGI.
fn after(pauses: &[Duration]) -> Rental {
    let mut rental = Rental::default();
    for &pause in pauses {
        let kept = Duration::ZERO;
        rental.note(pause, Served::Cold { kept }, T);
    }
    rental
}

#[test]
fn a_break_even_is_what_a_load_costs_in_memory() {
    let prices = |load: u64, mebibytes: u64| Prices {
        load: Some(LoadTime::Cgi(Duration::from_millis(load))),
        memory: Some(mebibytes << 20),
    };
    #[rustfmt::skip]
    let table = [
        ("nothing was measured", Prices::default(), 300),
        ("300 ms, a sixteenth of a gibibyte", prices(300, 64), 288),
        ("a second of it", prices(1000, 64), 960),
        ("the same in more memory", prices(1000, 128), 480),
        ("a shell script", prices(5, 4), 240),
        ("a minute", prices(60_000, 64), 1800),
        ("no memory", prices(300, 0), 1800),
        ("the memory was not measured", Prices { memory: None, ..prices(300, 0) }, 307),
    ];
    for (what, prices, expected) in table {
        assert_eq!(prices.break_even().as_secs(), expected, "{what}");
    }
    let start = LoadTime::Start(Duration::from_millis(300));
    let by_start = Prices {
        load: Some(start),
        ..prices(0, 64)
    };
    assert_eq!(by_start.break_even(), prices(300, 64).break_even());
}

#[test]
fn a_new_app_gets_a_daemon_at_its_seventh_request() {
    for pause in [1, 8, 60, 200] {
        for count in 0..6 {
            let rental = after(&steady(pause, count));
            assert!(!rental.pays(None, T), "{pause} s, {count} pauses");
            assert_eq!(rental.kept(T), T, "a daemon that is there stays: {count}");
        }
        assert!(after(&steady(pause, 6)).pays(None, T), "{pause} s");
    }
}

#[test]
fn what_comes_seldom_stays_a_plain_cgi() {
    for pause in [320, 3600, 86_400] {
        let rental = after(&steady(pause, 500));
        assert!(!rental.pays(None, T), "{pause} s");
        assert_eq!(rental.kept(T), LEAST_KEPT, "one that is there goes soon");
    }
}

#[test]
fn a_daemon_is_kept_as_long_as_requests_may_come() {
    let visits: Vec<Duration> = [40, 40, 40, 40, 40, 40, 40, 40, 7200].map(S).repeat(20);
    let mut rental = Rental::default();
    for &pause in &visits {
        let served = match pause < T {
            true => Served::Warm,
            false => Served::Cold { kept: LEAST_KEPT },
        };
        rental.note(pause, served, T);
    }
    // The first request of a visit starts it.
    assert!(rental.pays(None, T));
    assert_eq!(rental.kept(T), LEAST_KEPT);
    // Every fourth comes after four minutes.
    let slow = Rental {
        used: 0,
        ..after(&[20, 20, 20, 235].map(S).repeat(5))
    };
    assert_eq!(slow.kept(T), S(240));
    assert_eq!(slow.kept(S(1800)), S(240));
}

#[test]
fn a_number_for_idle_timeout_is_weighed_as_it_is() {
    let minutes = after(&steady(60, 20));
    assert!(minutes.pays(None, T));
    assert!(minutes.pays(Some(S(60)), T), "kept for just long enough");
    assert!(!minutes.pays(Some(S(30)), T), "it would be gone each time");
}

#[test]
fn who_was_misled_keeps_to_the_break_even() {
    // Everything so far says that requests are an hour apart; now they come each minute.
    let mut rental = after(&steady(3600, 900));
    assert!(!rental.pays(None, T));
    let mut count = 0;
    while !rental.pays(None, T) {
        let kept = Duration::ZERO;
        rental.note(S(60), Served::Cold { kept }, T);
        count += 1;
    }
    // Each of them costs 0.6 loads more than it may, and what was earned is spent.
    assert!((15..=20).contains(&count), "{count}");
    assert!(rental.kept(T) >= LEAST_KEPT);
}

#[test]
fn old_pauses_are_forgotten() {
    let mut rental = after(&steady(3600, 5000));
    assert!(rental.count() <= MOST_PAUSES);
    for _ in 0..3000 {
        rental.note(S(10), Served::Warm, T);
    }
    assert!(rental.shorter_than(T) * 10 > rental.count() * 9);
    assert_eq!(rental.kept(T), LEAST_KEPT);
}

#[test]
fn any_numbers_are_a_rental() {
    for number in [0, 1, 1 << 40, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX] {
        let mut rental = Rental::from_numbers(&[number; Rental::NUMBERS]);
        rental.note(Duration::MAX, Served::Warm, T);
        rental.note(Duration::ZERO, Served::Cold { kept: T }, Duration::ZERO);
        let _ = (rental.pays(None, T), rental.pays(Some(T), T));
        assert!((LEAST_KEPT..=T).contains(&rental.kept(T)), "{number}");
    }
    let rental = after(&[1, 5, 70, 4000, 100_000].map(S));
    assert_eq!(Rental::from_numbers(&rental.numbers()), rental);
    assert_eq!(Rental::default().numbers(), [0; Rental::NUMBERS]);
}

#[test]
fn the_least_is_right_where_it_is_known() {
    let even = T;
    // A start that costs as much as a CGI: each pause for itself.
    let pauses = [10, 299, 301, 4000].map(S);
    assert_eq!(
        least(&pauses, even, even),
        (300 + 10 + 299 + 300 + 300) * 1000
    );
    // A start that costs three CGIs: two requests are not worth one, ten are.
    let dear = even * 3;
    assert_eq!(least(&steady(1, 1), even, dear), 600_000);
    assert_eq!(least(&steady(1, 9), even, dear), 909_000);
}

proptest! {
    #[test]
    fn the_least_is_that_of_all_choices(
        pauses in prop::collection::vec(0u64..900, 0..6),
        even in 1u64..600,
        start in 1u64..1200,
    ) {
        let pauses: Vec<Duration> = pauses.into_iter().map(S).collect();
        let (even, start) = (S(even), S(start));
        // The first request has no pause before it.
        let first = [Duration::ZERO].into_iter().chain(pauses.iter().copied());
        let first: Vec<Duration> = first.collect();
        let all = least_of_all(&first, millis(even), millis(start), false);
        prop_assert_eq!(least(&pauses, even, start), all);
    }

    #[test]
    fn never_worse_than_twice(
        runs in prop::collection::vec((0u64..4_000_000, 1usize..30), 1..20),
        even in LEAST_BREAK_EVEN.as_secs()..=MOST_BREAK_EVEN.as_secs(),
    ) {
        let pauses = runs.iter().flat_map(|&(pause, count)| {
            vec![Duration::from_millis(pause); count]
        });
        let pauses: Vec<Duration> = pauses.collect();
        let even = S(even);
        let credit = FIRST_CREDIT.unsigned_abs() * millis(even);
        let best = least(&pauses, even, even);
        let cost = paid(&pauses, even);
        // Sums are in billionths of a load.
        prop_assert!(cost <= 2 * best + credit + 10, "{} for {}", cost, best);
    }

    /// A host that hates us: each request comes a moment after the daemon is gone, or, where there is none, at once.
    #[test]
    fn not_even_against_an_enemy(
        even in LEAST_BREAK_EVEN.as_secs()..=MOST_BREAK_EVEN.as_secs(),
        patience in 1u32..40,
    ) {
        let even = S(even);
        let mut rental = Rental::default();
        let mut kept = Duration::ZERO;
        let (mut cost, mut best) = (millis(even), millis(even));
        for nth in 0..300 {
            let is_kind = nth % patience == 0;
            let pause = match is_kind {
                true => S(7),
                false => kept + Duration::from_millis(1),
            };
            let is_warm = pause <= kept;
            cost += match is_warm {
                true => millis(pause),
                false => millis(kept + even),
            };
            best += millis(pause.min(even));
            let served = match is_warm {
                true => Served::Warm,
                false => Served::Cold { kept },
            };
            rental.note(pause, served, even);
            kept = match is_warm || rental.pays(None, even) {
                true => rental.kept(even),
                false => Duration::ZERO,
            };
            let credit = FIRST_CREDIT.unsigned_abs() * millis(even);
            prop_assert!(cost <= 2 * best + credit + 10, "{}: {} for {}", nth, cost, best);
        }
    }
}
