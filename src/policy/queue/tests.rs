//! The queue under an invented clock: which requests it takes in, which it sheds, and when something is due.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

fn limits(size: usize) -> QueueRules {
    QueueRules {
        size,
        target: S(1),
        timeout: S(10),
        turn: 0,
        start_page: None,
        has_room: true,
    }
}

/// A queue that has been served from the beginning.
fn queue(size: usize) -> Queue {
    let mut queue = Queue::new(limits(size));
    queue.start_clock(S(0));
    queue.pass(true, S(0));
    queue
}

fn other(number: Number, since: Duration) -> Waiting {
    Waiting {
        number,
        rank: Rank::Anonymous,
        is_browser: false,
        uses: 0,
        since,
    }
}

fn known(number: Number, since: Duration) -> Waiting {
    let rank = Rank::Known;
    Waiting {
        rank,
        ..other(number, since)
    }
}

fn browser(number: Number, since: Duration) -> Waiting {
    Waiting {
        is_browser: true,
        ..other(number, since)
    }
}

/// With a ticket of the same number, that was issued then and used so often.
fn ticket(number: Number, issued: Duration, uses: u32) -> Waiting {
    Waiting {
        rank: Rank::Ticket { id: number, issued },
        uses,
        ..browser(number, S(0))
    }
}

fn pop_all(queue: &mut Queue) -> Vec<Number> {
    std::iter::from_fn(|| pop(queue)).collect()
}

/// All workers have a request.
const BUSY: Capacity = Capacity {
    free: 0,
    is_idle: false,
    start_patience: Duration::from_secs(45),
};

/// The next request that has waited too long for those before it.
fn expired(queue: &mut Queue, now: Duration) -> Option<Number> {
    queue.pop_expired(BUSY, now).map(|expired| match expired {
        Expired::Crowd(request) => request.number,
        Expired::Start(number) | Expired::StartPage(number) => {
            panic!("{number} waits for others")
        }
    })
}

/// Which is refused when this one comes.
fn push(queue: &mut Queue, request: Waiting) -> Option<Number> {
    queue.push(request, 0).map(|refused| refused.number)
}

fn pop(queue: &mut Queue) -> Option<Number> {
    queue.pop(true).map(|request| request.number)
}

#[test]
fn is_bounded_and_first_in_first_out() {
    let mut queue = queue(2);
    assert_eq!(push(&mut queue, other(1, S(0))), None);
    assert_eq!(push(&mut queue, known(2, S(1))), None);
    assert!(queue.is_full(0));
    assert_eq!(push(&mut queue, other(3, S(2))), Some(3));
    assert_eq!(
        (pop(&mut queue), pop(&mut queue), pop(&mut queue)),
        (Some(1), Some(2), None)
    );
}

#[test]
fn a_known_one_takes_the_place_of_the_one_whose_turn_is_farthest() {
    let mut queue = queue(3);
    for number in 1..=3 {
        queue.push(other(number, S(0)), 0);
    }
    assert_eq!(
        push(&mut queue, known(4, S(0))),
        Some(3),
        "calm: the newest"
    );
    queue.pass(true, S(2));
    assert_eq!(
        push(&mut queue, known(5, S(2))),
        Some(1),
        "overloaded: the oldest"
    );
    assert_eq!(push(&mut queue, known(6, S(2))), Some(2));
    assert_eq!(push(&mut queue, known(7, S(2))), Some(7), "all are known");
}

#[test]
fn waiting_counts_only_from_the_first_ready_worker() {
    let mut queue = Queue::new(limits(9));
    queue.push(other(1, S(0)), 0);
    assert_eq!(queue.next_deadline(BUSY), None);
    assert_eq!(expired(&mut queue, S(1000)), None);
    queue.start_clock(S(1000));
    assert_eq!(queue.next_deadline(BUSY), Some(S(1010)));
    assert_eq!(expired(&mut queue, S(1009)), None);
    queue.push(other(2, S(1005)), 0);
    assert_eq!(expired(&mut queue, S(1010)), Some(1));
    assert_eq!(queue.next_deadline(BUSY), Some(S(1015)));
}

#[test]
fn one_that_hung_up_leaves() {
    let mut queue = queue(9);
    for number in 1..=3 {
        queue.push(other(number, S(0)), 0);
    }
    assert!(queue.remove(2) && !queue.remove(2));
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(1), Some(3)));
}

#[test]
fn one_that_is_put_back_has_its_old_place() {
    let mut queue = queue(9);
    for number in 1..=3 {
        queue.push(other(number, S(number)), 0);
    }
    let first = queue.pop(true).unwrap();
    queue.put_back(first);
    assert_eq!(pop(&mut queue), Some(1));
}

#[test]
fn a_standing_delay_turns_the_order_round_and_sheds_the_oldest() {
    let mut queue = queue(9);
    queue.push(other(1, S(0)), 0);
    queue.push(other(2, MS(1500)), 0);
    assert_eq!(queue.next_deadline(BUSY), Some(S(2)), "twice the target");
    queue.pass(true, MS(1999));
    assert_eq!(expired(&mut queue, MS(1999)), None);
    queue.pass(true, S(2));
    assert_eq!(expired(&mut queue, S(2)), Some(1));
    queue.pass(true, S(2));
    // What is left is younger than the target.
    queue.push(other(3, S(2)), 0);
    assert_eq!(pop(&mut queue), Some(2));
}

#[test]
fn overload_lasts_until_the_oldest_waits_less_than_the_target() {
    let mut queue = queue(9);
    for (number, since) in [(1, S(0)), (2, MS(500)), (3, S(2))] {
        queue.push(other(number, since), 0);
    }
    queue.pass(true, S(2));
    assert_eq!(pop(&mut queue), Some(3), "the newest");
    assert_eq!(expired(&mut queue, S(2)), Some(1));
    queue.pass(true, S(2));
    queue.push(other(4, S(2)), 0);
    assert_eq!(queue.next_deadline(BUSY), Some(MS(2500)), "2 is shed then");
    assert_eq!(pop(&mut queue), Some(4));
    queue.push(other(5, S(2)), 0);
    queue.pass(true, MS(2500));
    assert_eq!(expired(&mut queue, MS(2500)), Some(2));
    queue.push(other(6, MS(2500)), 0);
    queue.pass(true, MS(2500));
    assert_eq!(pop(&mut queue), Some(5), "calm: the oldest");
}

#[test]
fn what_the_workers_take_in_one_turn_only_waits() {
    let mut queue = queue(9);
    queue.obey(QueueRules {
        turn: 2,
        ..limits(9)
    });
    queue.push(other(1, S(0)), 0);
    queue.push(other(2, S(0)), 0);
    queue.pass(true, S(5));
    assert_eq!(queue.next_deadline(BUSY), Some(S(10)), "the time-out");
    assert_eq!(expired(&mut queue, S(5)), None);
    // A third makes it a queue that stands, from now on.
    queue.push(other(3, S(5)), 0);
    assert_eq!(queue.next_deadline(BUSY), Some(S(6)));
    queue.pass(true, S(6));
    assert_eq!(expired(&mut queue, S(6)), Some(1));
    queue.pass(true, S(6));
    assert_eq!(expired(&mut queue, S(9)), None);
    assert_eq!(pop(&mut queue), Some(2), "calm: the oldest");
}

#[test]
fn a_delay_that_does_not_stand_is_no_overload() {
    let mut queue = queue(9);
    queue.push(other(1, S(0)), 0);
    queue.push(other(2, S(1)), 0);
    queue.pass(true, MS(1900));
    assert_eq!(pop(&mut queue), Some(1));
    // 2 is the oldest now, and has not waited for the target: the time above it starts anew.
    queue.pass(true, MS(1900));
    assert_eq!(queue.next_deadline(BUSY), Some(S(3)));
    queue.push(other(3, S(2)), 0);
    queue.pass(true, MS(2900));
    assert_eq!(pop(&mut queue), Some(2));
}

#[test]
fn the_known_are_shed_last_and_served_first_if_they_may() {
    let mut queue = queue(9);
    queue.push(known(1, S(0)), 0);
    queue.push(known(2, S(0)), 0);
    queue.push(other(3, S(0)), 0);
    queue.push(other(4, S(1)), 0);
    queue.pass(true, S(2));
    assert_eq!(expired(&mut queue, S(2)), Some(3));
    assert_eq!(expired(&mut queue, S(2)), None, "another one waits");
    let others_turn = queue.pop(false).map(|request| request.number);
    assert_eq!((pop(&mut queue), others_turn), (Some(2), Some(4)));
    queue.pass(true, S(2));
    assert_eq!(expired(&mut queue, S(2)), Some(1));
}

#[test]
fn no_request_is_shed_for_a_time_in_which_no_worker_served() {
    let mut queue = queue(9);
    queue.push(other(1, S(0)), 0);
    queue.pass(false, S(1));
    assert_eq!(queue.next_deadline(BUSY), Some(S(10)));
    queue.pass(true, S(5));
    assert_eq!(queue.next_deadline(BUSY), Some(S(7)));
    queue.pass(true, S(6));
    assert_eq!(expired(&mut queue, S(6)), None);
}

/// Two workers, none of which has a request.
const IDLE: Capacity = Capacity {
    free: 2,
    is_idle: true,
    start_patience: Duration::from_secs(45),
};

#[test]
fn a_request_for_a_free_worker_is_taken_in_however_small_the_queue_is() {
    let mut queue = queue(0);
    assert_eq!(queue.push(other(1, S(0)), 2), None);
    assert_eq!(queue.push(other(2, S(0)), 2), None);
    assert_eq!(queue.push(other(3, S(0)), 2), Some(other(3, S(0))));
    assert_eq!(pop(&mut queue), Some(1));
    assert_eq!(
        queue.push(other(4, S(0)), 1),
        Some(other(4, S(0))),
        "one has a worker"
    );
}

#[test]
fn a_start_is_waited_for_longer_than_others_are() {
    let mut queue = queue(9);
    queue.obey(QueueRules {
        turn: 3,
        ..limits(9)
    });
    for number in 1..=3 {
        queue.push(other(number, S(0)), 2);
    }
    assert_eq!(queue.next_deadline(IDLE), Some(S(10)));
    assert_eq!(
        queue.pop_expired(IDLE, S(10)),
        Some(Expired::Crowd(other(3, S(0))))
    );
    assert_eq!(queue.pop_expired(IDLE, S(44)), None);
    assert_eq!(queue.next_deadline(IDLE), Some(S(45)));
    let failed = Capacity {
        start_patience: S(0),
        ..IDLE
    };
    assert_eq!(queue.next_deadline(failed), Some(S(10)));
    assert_eq!(queue.pop_expired(failed, S(10)), Some(Expired::Start(1)));
    assert_eq!(
        queue.pop_expired(BUSY, S(10)),
        Some(Expired::Crowd(other(2, S(0))))
    );
}

#[test]
fn tickets_go_before_others_the_oldest_first_and_one_used_of_late_as_if_younger() {
    let mut queue = queue(9);
    queue.push(other(1, S(0)), 0);
    for request in [
        ticket(2, S(7), 1),
        ticket(3, S(5), 2),
        ticket(4, S(9), 0),
        ticket(5, MS(6500), 1),
        ticket(7, S(2), 2),
    ] {
        queue.push(request, 0);
    }
    queue.push(known(6, S(0)), 0);
    assert_eq!(queue.preferred(), 6);
    assert_eq!((queue.count_ticket(4), queue.count_ticket(1)), (1, 0));
    assert_eq!(queue.pop(false).map(|request| request.number), Some(7));
    assert_eq!(queue.pop(false).map(|request| request.number), Some(4));
    let five = queue.pop(false).expect("a ticket");
    assert_eq!(five.number, 5);
    queue.put_back(five);
    assert_eq!(pop(&mut queue), Some(6), "known ones before them");
    assert_eq!(pop_all(&mut queue), [5, 2, 3, 1]);
    assert_eq!(queue.preferred(), 0);
    queue.push(other(1, S(0)), 0);
    queue.push(known(2, S(0)), 0);
    assert_eq!(pop_all(&mut queue), [1, 2], "without tickets as they came");
}

#[test]
fn in_a_full_queue_one_takes_the_place_of_a_lower_rank_or_of_a_later_ticket() {
    let mut queue = queue(3);
    queue.push(other(1, S(0)), 0);
    queue.push(browser(2, S(0)), 0);
    queue.push(ticket(3, S(5), 1), 0);
    assert_eq!(push(&mut queue, ticket(4, S(9), 1)), Some(2));
    assert_eq!(push(&mut queue, ticket(5, S(4), 1)), Some(1));
    assert_eq!(push(&mut queue, ticket(6, S(9), 1)), Some(6), "the last");
    assert_eq!(push(&mut queue, ticket(7, S(8), 1)), Some(4));
    assert_eq!(push(&mut queue, browser(8, S(0))), Some(8));
    assert_eq!(push(&mut queue, known(9, S(0))), Some(7));
    assert_eq!(pop_all(&mut queue), [9, 5, 3]);
}

#[test]
fn anonymous_ones_are_shed_before_tickets_and_these_before_known_ones() {
    let mut queue = queue(9);
    queue.push(known(1, S(0)), 0);
    queue.push(ticket(2, S(0), 0), 0);
    queue.push(ticket(3, S(0), 0), 0);
    queue.push(other(4, S(0)), 0);
    for shed in [4, 2, 3, 1] {
        queue.pass(true, S(2));
        assert_eq!(expired(&mut queue, S(2)), Some(shed));
    }
}

#[test]
fn an_overloaded_queue_keeps_two_turns_of_those_that_can_return() {
    let mut queue = queue(99);
    queue.obey(QueueRules {
        turn: 2,
        ..limits(99)
    });
    for number in 1..=8 {
        queue.push(browser(number, S(0)), 0);
    }
    queue.push(other(9, MS(1500)), 0);
    queue.push(ticket(10, S(0), 0), 0);
    queue.pass(true, MS(1999));
    assert_eq!(expired(&mut queue, MS(1999)), None, "calm");
    let refused = |queue: &mut Queue, now| {
        let refused = std::iter::from_fn(|| expired(queue, now));
        refused.collect::<Vec<_>>()
    };
    queue.pass(true, S(2));
    let ages = refused(&mut queue, S(2));
    assert_eq!(ages, [1, 2, 3, 4, 5, 6, 7, 8], "too many, then too old");
    // New ones take their places: no delay stands, and yet the crowd is the same.
    for number in 11..=15 {
        queue.push(browser(number, S(2)), 0);
    }
    queue.pass(true, S(2));
    assert_eq!(refused(&mut queue, S(2)), [11]);
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(10), Some(15)));
    queue.pass(true, MS(2100));
    queue.push(browser(16, MS(2100)), 0);
    queue.push(browser(17, MS(2100)), 0);
    queue.pass(true, MS(2100));
    assert_eq!(refused(&mut queue, MS(2100)), [12]);
    assert_eq!(pop(&mut queue), Some(17));
    assert_eq!(pop(&mut queue), Some(16));
    // However few are left, a crowd is expected for a while.
    queue.push(browser(18, MS(2100)), 0);
    queue.pass(true, MS(2599));
    assert_eq!(pop(&mut queue), Some(18), "the newest");
    queue.pass(true, MS(2600));
    assert_eq!(pop_all(&mut queue), [9, 13, 14], "calm: the oldest");
}

#[test]
fn a_browser_is_told_of_a_start_and_other_clients_wait() {
    let mut queue = Queue::new(QueueRules {
        start_page: Some(S(30)),
        ..limits(9)
    });
    queue.pass(false, S(0));
    queue.push(other(1, S(1)), 0);
    queue.push(browser(2, S(2)), 0);
    queue.push(browser(3, S(3)), 0);
    assert_eq!(queue.next_deadline(IDLE), Some(S(32)));
    assert_eq!(queue.pop_expired(IDLE, MS(31_999)), None);
    assert_eq!(queue.pop_expired(IDLE, S(32)), Some(Expired::StartPage(2)));
    assert_eq!(queue.pop_expired(IDLE, S(32)), None);
    assert_eq!(queue.next_deadline(IDLE), Some(S(33)));
    assert_eq!(queue.pop_expired(IDLE, S(33)), Some(Expired::StartPage(3)));
    assert_eq!(queue.next_deadline(IDLE), None);
    assert_eq!(pop(&mut queue), Some(1));
}

#[test]
fn a_browser_is_not_told_of_a_start_that_has_failed() {
    let mut queue = Queue::new(QueueRules {
        start_page: Some(S(3)),
        ..limits(9)
    });
    let failed = Capacity {
        start_patience: Duration::ZERO,
        ..IDLE
    };
    queue.start_clock(S(0));
    queue.pass(false, S(0));
    queue.push(browser(1, S(1)), 0);
    let due = S(1) + limits(9).timeout;
    assert_eq!(queue.next_deadline(failed), Some(due));
    assert_eq!(queue.pop_expired(failed, due), Some(Expired::Start(1)));
}

#[test]
fn what_counts_for_the_start_page_is_the_time_in_which_no_worker_serves() {
    let mut queue = queue(9);
    queue.obey(QueueRules {
        start_page: Some(S(3)),
        timeout: S(100),
        turn: 9,
        ..limits(9)
    });
    queue.push(browser(1, S(0)), 0);
    queue.pass(true, S(8));
    assert_eq!(queue.pop_expired(BUSY, S(8)), None, "it waits for others");
    queue.pass(false, S(8));
    assert_eq!(queue.next_deadline(BUSY), Some(S(11)));
    assert_eq!(queue.pop_expired(BUSY, S(10)), None);
    assert_eq!(queue.pop_expired(BUSY, S(11)), Some(Expired::StartPage(1)));
}
