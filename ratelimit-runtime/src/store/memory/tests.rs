//! Counters in memory, without a request around them.

use super::*;
use crate::{
    counter::{BaseHash, BaseName, Counter, Name, SubjectPart, key_part::KeyPart},
    rule::limit::Limit,
};

fn hit(key: &str, limit: u32, per: u32) -> Hit {
    let text = KeyPart::from_bytes(key.as_bytes());
    let (key, scope) = (Name::Given(&text), smallvec::smallvec![SubjectPart::Global]);
    let counter = Counter { base_hash: BaseHash::new(0), base: BaseName { key, per, kind: "", ordinal: 0 }, scope };
    let limit = Limit { limit, per };
    let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
    Hit { hash: counter.hash(), terms, refuses: true, lease: 1, on_store_error: None, place: 0, block: None }
}

fn admits(store: &MemoryStore, now: u64, hits: &[Hit]) -> bool {
    store.hit(Duration::from_secs(now), hits).iter().all(|outcome| !outcome.over)
}

#[test]
fn a_window_admits_its_limit_and_the_next_one_again() {
    let store = MemoryStore::new(10);
    let hits = [hit("a", 2, 10)];
    let admitted: Vec<bool> = [100, 105, 109, 110].map(|now| admits(&store, now, &hits)).into();
    assert_eq!(admitted, [true, true, false, true]);
}

#[test]
fn a_refused_request_costs_the_other_rules_nothing() {
    let store = MemoryStore::new(10);
    let both = [hit("wide", 3, 10), hit("narrow", 1, 10)];
    assert!(admits(&store, 0, &both));
    assert!(!admits(&store, 0, &both));
    assert_eq!(store.hit(Duration::ZERO, &[hit("wide", 3, 10)])[0].remaining, 1);
}

#[test]
fn a_clock_set_back_neither_forgets_the_window_nor_holds_it_for_long() {
    let store = MemoryStore::new(10);
    let hits = [hit("a", 1, 10)];
    assert!(admits(&store, 1000, &hits));
    assert!(!admits(&store, 1000 - 5, &hits), "the window is kept");
    assert!(admits(&store, 100, &hits), "the window is not waited for");
}

#[test]
fn times_whose_lower_bits_wrap_are_told_apart() {
    let store = MemoryStore::new(10);
    let hits = [hit("a", 1, 100)];
    let wrap = u64::from(u32::MAX) + 1;
    assert!(admits(&store, wrap - 10, &hits));
    assert!(!admits(&store, wrap + 2, &hits), "2^32 + 4 is the end of the window");
    assert!(admits(&store, wrap + 4, &hits));
}

#[test]
fn a_full_set_gives_up_the_counter_that_lost_the_least() {
    let store = MemoryStore::new(1);
    let busy = [hit("busy", 2, 10)];
    assert!(admits(&store, 0, &busy) && admits(&store, 0, &busy));
    for other in 0..1000 {
        assert!(admits(&store, 0, &[hit(&other.to_string(), 2, 10)]));
    }
    assert!(!admits(&store, 0, &busy));
}

#[test]
fn many_threads_are_admitted_as_often_as_the_limit_says() {
    const LIMIT: u32 = 5000;
    // In few sets, so that threads wait for each other, and with newcomers that take slots over.
    let store = MemoryStore::new(64);
    let admitted: usize = std::thread::scope(|scope| {
        let request = |thread: u32| {
            let (one, other) = (hit("one", LIMIT, 1000), hit("other", LIMIT, 1000));
            let both = if thread.is_multiple_of(2) { [one, other] } else { [other, one] };
            let admitted = |number: &u32| {
                admits(&store, 1, &[hit(&format!("{thread}-{number}"), LIMIT, 1)]);
                admits(&store, u64::from(*number) % 100, &both)
            };
            (0..LIMIT).filter(admitted).count()
        };
        let threads = (0..4).map(|thread| scope.spawn(move || request(thread))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    assert_eq!(admitted, LIMIT as usize);
}
