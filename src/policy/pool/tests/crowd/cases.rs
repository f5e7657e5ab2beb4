//! What people and scrapers get in each mix of them.

use super::*;

/// The bar: ten times the capacity for a minute, half of it people.
#[test]
fn people_get_through_a_swarm() {
    let upshot = Crowd::run(MIX);
    upshot.assert_good(0.0);
    assert_eq!(upshot.most_retries, 1, "{upshot:?}");
}

/// Without it they would not.
#[test]
fn without_the_room_they_do_not() {
    let upshot = Crowd::run(Mix {
        has_room: false,
        ..MIX
    });
    assert!(upshot.within_one < 0.3, "{upshot:?}");
    assert!(upshot.p95 > S(30), "{upshot:?}");
    assert!(upshot.goodput > 0.95, "{upshot:?}");
}

/// One worker or many, short requests or long: an answer of its app takes a person what the retry takes, and a few
/// requests more.
#[test]
fn so_they_do_whatever_a_request_takes() {
    for (workers, work) in [(1, MS(20)), (4, MS(2)), (2, MS(100)), (8, MS(400))] {
        let capacity = f64::from(workers) / work.as_secs_f64();
        let upshot = Crowd::run(Mix {
            workers,
            work,
            pages: capacity / 2.0,
            scrapers: capacity * 9.5,
            ..MIX
        });
        upshot.assert_good(0.0);
    }
}

/// Scrapers that keep their cookies, each asking nine times a second: together for the whole capacity and more.
#[test]
fn who_keeps_cookies_gains_no_more_than_a_person() {
    for keepers in [10, 50, 100] {
        let asking = 9.0 * keepers as f64;
        let upshot = Crowd::run(Mix {
            keepers,
            keepers_ask: asking,
            scrapers: MIX.scrapers - asking,
            ..MIX
        });
        upshot.assert_good(0.0);
        // A person who reads on and on: sixteen pages, then one in two seconds; and places that no other client asks for.
        assert!(upshot.most_kept <= 16 + 30 + 40, "{upshot:?}");
    }
    // More of them than can be served, if each may do what a person may.
    let upshot = Crowd::run(Mix {
        keepers: 250,
        keepers_ask: 900.0,
        scrapers: 50.0,
        ..MIX
    });
    upshot.assert_good(0.04);
}

#[test]
fn who_shares_one_ticket_gains_nothing() {
    let upshot = Crowd::run(Mix {
        keepers: 500,
        keepers_ask: MIX.scrapers,
        scrapers: 0.0,
        is_shared: true,
        ..MIX
    });
    upshot.assert_good(0.0);
    // All of them together have what people leave.
    assert!(upshot.most_kept < 35 * 100, "{upshot:?}");
}

/// People only, twice as many as can be served: the oldest ticket first, and Retry-After grows.
#[test]
fn more_people_than_can_be_served_wait_their_turn() {
    let mix = Mix {
        pages: 2.0 * CAPACITY,
        scrapers: 0.0,
        ..MIX
    };
    let (room, off) = (
        Crowd::run(mix),
        Crowd::run(Mix {
            has_room: false,
            ..mix
        }),
    );
    assert!(room.goodput > 0.95, "{room:?}");
    assert!(
        room.p95 < off.p95 && room.longest < off.longest,
        "{room:?}, {off:?}"
    );
    assert!(room.most_retries < off.most_retries, "{room:?}, {off:?}");
}

/// Each of them is served once for a ticket, and then asks for another: together for more than people leave.
#[test]
fn who_discards_a_ticket_after_one_use_goes_after_who_keeps_it() {
    let mix = Mix {
        discarders: 100,
        scrapers: 5.0 * CAPACITY,
        ..MIX
    };
    let upshot = Crowd::run(mix);
    upshot.assert_good(0.0);
    assert!(upshot.discarded > 40 * 60, "they ask: {upshot:?}");
    // So many more that those who have come first can't be told from people.
    let upshot = Crowd::run(Mix {
        discarders: 150,
        ..mix
    });
    assert!(upshot.later >= 0.99, "{upshot:?}");
    assert!(upshot.within_one >= 0.96, "{upshot:?}");
}
