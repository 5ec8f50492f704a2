//! Places of checks that a program makes itself, and of policies that it looks at.

use ratelimit_runtime::{Policy, Subject, policy};
use ratelimit_tests::wait;

use super::{get, in_each_store, start};

static JOBS: Policy = policy!(concurrency = 2, key = "concurrency: jobs", scope = "user", hold = 5);
static BOTH: Policy =
    policy!(("100/day", scope = "user"), (concurrency = 1, scope = "global"), key = "concurrency: both");

#[test]
fn a_check_holds_its_place_until_the_last_clone_of_its_state_is_dropped() {
    in_each_store(|servers, _| {
        let alice = Subject::new().user("alice");
        let check = |index: usize| servers.wait_for(servers.limiters[index].check(&JOBS, &alice)).expect("a store");
        let (first, second) = (check(0), check(1));
        let third = check(1);
        assert_eq!((first.is_admitted(), second.is_admitted(), third.is_admitted()), (true, true, false));
        assert_eq!((first.limit(), first.remaining(), second.remaining(), third.retry_after()), (2, 1, 0, Some(1)));
        let rule = third.rules().next().expect("a rule");
        assert_eq!((rule.is_concurrency(), rule.name().as_ref(), rule.per()), (true, "user:2-at-once", 5));
        drop(third);
        let clone = first.clone();
        drop(first);
        assert!(!check(0).is_admitted());
        drop(clone);
        wait::until("the place is free", || check(0).is_admitted());
        drop(second);
        wait::until("all places are free", || {
            servers.wait_for(servers.limiters[1].peek(&JOBS, &alice)).expect("a store").remaining() == 2
        });
    });
}

#[test]
fn peek_sees_places_and_reset_frees_them() {
    in_each_store(|servers, _| {
        let alice = Subject::new().user("alice");
        let [here, there] = &servers.limiters;
        let left = || servers.wait_for(there.peek(&JOBS, &alice)).expect("a store").remaining();
        assert_eq!(left(), 2);
        let running = servers.wait_for(here.check(&JOBS, &alice)).expect("a store");
        assert_eq!(left(), 1);
        servers.wait_for(there.reset(&JOBS, &alice)).expect("a store");
        assert_eq!(left(), 2);
        let others: Vec<_> = (0..2).map(|_| servers.wait_for(there.check(&JOBS, &alice)).expect("a store")).collect();
        assert!(others.iter().all(|state| state.is_admitted()));
        // Its place is gone, and nobody else's is released in its stead.
        drop(running);
        assert!(!servers.wait_for(here.check(&JOBS, &alice)).expect("a store").is_admitted());
        assert_eq!(left(), 0);
    });
}

#[test]
fn rules_with_different_scopes_hold_all_places_or_none() {
    in_each_store(|servers, _| {
        let check = |user: &'static str| {
            servers.wait_for(servers.limiters[0].check(&BOTH, &Subject::new().user(user))).expect("a store")
        };
        let alice = check("alice");
        assert_eq!((alice.is_admitted(), alice.limit(), alice.remaining()), (true, 100, 99));
        let bob = check("bob");
        assert_eq!((bob.is_admitted(), bob.limit(), bob.remaining()), (false, 1, 0));
        let rates: Vec<_> = bob.rules().filter(|rule| !rule.is_concurrency()).map(|rule| rule.remaining()).collect();
        assert_eq!(rates, [100]);
        drop(alice);
        wait::until("the place is free", || check("bob").is_admitted());
    });
}

#[test]
fn a_handler_and_a_program_share_the_places_of_a_policy() {
    in_each_store(|servers, room| {
        let nobody = Subject::new();
        let mut running = start(&servers.here, "/shared");
        room.wait_for(1);
        let state = servers.wait_for(servers.limiters[1].check(&super::SHARED, &nobody)).expect("a store");
        assert!(!state.is_admitted());
        assert_eq!(state.to_response().status(), 429);
        room.open();
        assert_eq!(running.reply().status, 200);
        let held = wait::until_some("the place is free", || {
            let state = servers.wait_for(servers.limiters[1].check(&super::SHARED, &nobody)).expect("a store");
            state.is_admitted().then_some(state)
        });
        assert_eq!(get(&servers.here, "/shared").status, 429);
        drop(held);
        wait::until("the place is free", || {
            // The runtime of the check sends the release.
            servers.wait_for(actix_web::rt::task::yield_now());
            get(&servers.here, "/shared").status == 200
        });
    });
}
