//! A store of an application's own that fails, hangs, refuses or panics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use actix_web::rt::{Runtime, time::sleep};
use ratelimit_runtime::{
    Applied, CheckError, OnStoreError, Operation, Policy, RateLimitState, RateLimiter, Store, StoreError, Subject,
    policy,
};
use ratelimit_tests::{map_store::MapStore, wait};

static LIMIT: Policy = policy!("3/day", key = "external", scope = "user");
static PLACES: Policy = policy!(concurrency = 1, hold = "1s", key = "external-places", scope = "user");

const WORKS: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;
const REFUSES: u8 = 3;
const PANICS: u8 = 4;

/// A map whose behaviour a test switches.
#[derive(Default)]
struct Switched {
    map: MapStore,
    behaviour: AtomicU8,
    calls: AtomicUsize,
}

impl Store for Switched {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        self.calls.fetch_add(1, SeqCst);
        match self.behaviour.load(SeqCst) {
            FAILS => Err(StoreError::of_store("out of order")),
            // The key of a counter is the only one that this store refuses.
            REFUSES if operation.keys().any(|key| key.contains("mallory")) => Err(StoreError::of_check("not this one")),
            PANICS => panic!("a store that panics"),
            HANGS => {
                sleep(Duration::from_secs(3600)).await;
                self.map.update(operation).await
            }
            _ => self.map.update(operation).await,
        }
    }
}

struct Limited {
    store: Arc<Switched>,
    limiter: RateLimiter,
    runtime: Runtime,
}

impl Limited {
    fn new(on_store_error: OnStoreError) -> Self {
        let store = Arc::new(Switched::default());
        let builder = RateLimiter::builder().deadline(Duration::from_millis(100)).on_store_error(on_store_error);
        let limiter = builder.store(Arc::clone(&store)).build().expect("a store");
        Self { store, limiter, runtime: Runtime::new().expect("a runtime") }
    }

    fn set(&self, behaviour: u8) {
        self.store.behaviour.store(behaviour, SeqCst);
    }

    fn calls(&self) -> usize {
        self.store.calls.load(SeqCst)
    }

    fn check(&self, user: &str) -> Result<RateLimitState, CheckError> {
        self.runtime.block_on(self.limiter.check(&LIMIT, &Subject::new().user(user)))
    }
}

#[test]
fn a_store_that_fails_in_any_way_is_answered_within_the_deadline_and_comes_back() {
    for behaviour in [FAILS, HANGS, PANICS] {
        let limited = Limited::new(OnStoreError::Deny);
        assert!(limited.check("alice").is_ok_and(|state| state.remaining() == 2));
        limited.set(behaviour);
        let started = Instant::now();
        assert_eq!(limited.check("alice").err(), Some(CheckError::StoreUnavailable), "{behaviour}");
        assert!(started.elapsed() < wait::PATIENCE / 4, "{behaviour}: {:?}", started.elapsed());
        limited.set(WORKS);
        wait::until("the store is asked again", || limited.check("alice").is_ok_and(|state| state.remaining() == 1));
    }
}

#[test]
fn a_store_that_is_down_is_asked_once_in_a_while() {
    let limited = Limited::new(OnStoreError::Local);
    limited.set(FAILS);
    for _ in 0..20 {
        assert!(limited.check("bob").is_ok_and(|state| state.is_degraded()));
    }
    let (before, started) = (limited.calls(), Instant::now());
    while started.elapsed() < Duration::from_millis(500) {
        assert!(limited.check("bob").is_ok_and(|state| state.is_degraded()));
    }
    let asked = limited.calls() - before;
    assert!(asked <= 5, "asked {asked} times in half a second");
    assert!(limited.runtime.block_on(limited.limiter.ping()).is_err());
    limited.set(WORKS);
    wait::until("the store is back", || limited.check("bob").is_ok_and(|state| !state.is_degraded()));
    assert_eq!(limited.runtime.block_on(limited.limiter.ping()), Ok(()));
}

#[test]
fn requests_are_counted_on_from_what_the_process_has_seen() {
    let limited = Limited::new(OnStoreError::Local);
    for remaining in [2, 1] {
        assert!(limited.check("carol").is_ok_and(|state| state.remaining() == remaining));
    }
    limited.set(FAILS);
    let told = [(); 3].map(|()| limited.check("carol").map(|state| (state.is_degraded(), state.is_admitted())));
    assert_eq!(told, [Ok((true, true)), Ok((true, false)), Ok((true, false))]);
}

#[test]
fn a_check_that_the_store_refuses_hurts_no_other() {
    let limited = Limited::new(OnStoreError::Deny);
    limited.set(REFUSES);
    for _ in 0..20 {
        assert_eq!(limited.check("mallory").err(), Some(CheckError::StoreUnavailable));
    }
    for remaining in [2, 1, 0] {
        assert!(limited.check("alice").is_ok_and(|state| state.remaining() == remaining));
    }
    assert_eq!(limited.calls(), 23, "each check is asked for");
}

#[test]
fn a_client_that_goes_away_does_not_stop_its_check() {
    let limited = Limited::new(OnStoreError::Deny);
    limited.runtime.block_on(async {
        let alice = Subject::new().user("alice");
        let mut check = Box::pin(limited.limiter.check(&LIMIT, &alice));
        // It is started, and then dropped.
        assert!(first_look(check.as_mut()).await.is_none());
        drop(check);
    });
    wait::until("it is counted", || {
        limited.runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        limited.store.map.counters().len() == 1
    });
}

/// The result of a future, if it is there at the first look.
async fn first_look<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn a_place_is_renewed_while_its_request_runs_and_free_afterwards() {
    let limited = Limited::new(OnStoreError::Deny);
    let dave = Subject::new().user("dave");
    let check = || limited.limiter.check(&PLACES, &dave);
    limited.runtime.block_on(async {
        let first = check().await.expect("a store");
        assert!(first.is_admitted());
        // Longer than the place would be held by itself.
        sleep(Duration::from_millis(3500)).await;
        assert!(!check().await.expect("a store").is_admitted(), "the place is renewed");
        drop(first);
        let started = Instant::now();
        while !check().await.expect("a store").is_admitted() {
            assert!(started.elapsed() < Duration::from_millis(900), "the place is not free");
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_store_is_named_by_its_type_and_by_no_contents() {
    let limited = Limited::new(OnStoreError::Local);
    assert!(limited.check("erin").is_ok());
    let shown = format!("{:?}", limited.limiter);
    assert!(shown.contains("Switched") && !shown.contains("erin"), "{shown}");
}
