//! `RateLimitState::settle` some time after the check: each algorithm's window, and what of it still counts.

use ratelimit_runtime::{ManualClock, Policy, RateLimiter, Subject, policy};

use crate::{START, in_memory, window_end};

/// A check in memory, settled later; what remains then.
fn settled_later(policy: &'static Policy, seconds: u64, cost: u64) -> u32 {
    let (limiter, clock) = in_memory();
    later(&limiter, &clock, policy, seconds, cost)
}

fn later(limiter: &RateLimiter, clock: &ManualClock, policy: &'static Policy, seconds: u64, cost: u64) -> u32 {
    actix_web::rt::System::new().block_on(async {
        let mut state = limiter.check(policy, &Subject::new()).await.expect("memory");
        clock.advance(std::time::Duration::from_secs(seconds));
        state.settle(cost);
        limiter.peek(policy, &Subject::new()).await.expect("memory").remaining()
    })
}

static MINUTE: Policy = policy!("100/minute", key = "settled minute", scope = "global", cost = 10);
static SLIDING_MINUTE: Policy =
    policy!("100/minute", key = "settled minute", scope = "global", cost = 10, algorithm = "sliding-window");
/// A token comes back each second.
static BUCKET: Policy =
    policy!("60/minute", burst = 100, key = "settled minute", scope = "global", cost = 10, algorithm = "gcra");

#[test]
fn a_charge_is_replaced_in_its_window_only() {
    let left = window_end(START, 60) - START;
    assert_eq!([settled_later(&MINUTE, left - 1, 40), settled_later(&MINUTE, left - 1, 0)], [60, 100]);
    assert_eq!([settled_later(&MINUTE, left, 40), settled_later(&MINUTE, left, 0)], [100, 100]);
    assert_eq!(settled_later(&MINUTE, 1000, u64::MAX), 100);
}

#[test]
fn a_sliding_window_is_settled_while_it_counts() {
    let left = window_end(START, 60) - START;
    // Half of the window counts in the middle of the next one.
    assert_eq!(settled_later(&SLIDING_MINUTE, left + 30, 40), 80);
    assert_eq!(settled_later(&SLIDING_MINUTE, left + 30, 0), 100);
    for seconds in [left + 60, left + 90, left + 150] {
        assert_eq!(settled_later(&SLIDING_MINUTE, seconds, 40), 100);
    }
}

#[test]
fn tokens_of_a_bucket_come_back_as_if_they_had_been_taken_in_advance() {
    for seconds in [0, 5, 10, 30, 39] {
        assert_eq!(settled_later(&BUCKET, seconds, 40), 60 + seconds as u32, "after {seconds} s");
    }
    assert_eq!([settled_later(&BUCKET, 40, 40), settled_later(&BUCKET, 5000, 40)], [100, 100]);
    assert_eq!([settled_later(&BUCKET, 5, 2), settled_later(&BUCKET, 10, 2)], [100, 100]);
}

#[test]
fn the_reset_of_a_bucket_moves_with_the_cost() {
    let (limiter, _clock) = in_memory();
    actix_web::rt::System::new().block_on(async {
        let mut state = limiter.check(&BUCKET, &Subject::new()).await.expect("memory");
        for (cost, seconds) in [(10, 10), (40, 40), (200, 100), (3, 3), (0, 0)] {
            state.settle(cost);
            assert_eq!(state.reset_at(), Some(START + seconds), "{cost}");
            assert_eq!(state.retry_after(), Some(seconds.max(1) as u32), "{cost}");
        }
    });
}
