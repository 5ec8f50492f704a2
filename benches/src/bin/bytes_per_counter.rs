//! The memory of a counter among a million: the growth of the process's resident memory, in a separate process for each
//! store. Usage: `bytes_per_counter [memory|governor]`; both without an argument.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::expect_used, clippy::panic)]

use std::{fs, hint::black_box, num::NonZeroU32, process::Command};

use governor::Quota;
use ratelimit_benches::{
    load::{Keys, Load, Verdict},
    offline,
};
use ratelimit_runtime::RateLimiter;

const COUNTERS: u32 = 1_000_000;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => ["memory", "governor"].into_iter().for_each(in_a_process),
        Some("memory") => report("ratelimit, memory", memory()),
        Some("governor") => report("governor 0.10, keyed by IpAddr", governor()),
        Some(other) => panic!("usage: bytes_per_counter [memory|governor], not {other}"),
    }
}

fn in_a_process(store: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let status = Command::new(program).arg(store).status().expect("this program can be started again");
    assert!(status.success(), "bytes_per_counter {store} ended with {status}");
}

fn report(store: &str, bytes: usize) {
    println!("{store}: {:.1} bytes a counter at {COUNTERS} counters", bytes as f64 / f64::from(COUNTERS));
}

fn memory() -> usize {
    let load = Load { verdict: Verdict::Admitted, keys: Keys::One };
    // Actix allocates its memory for requests before the first reading.
    let other = RateLimiter::builder().capacity(1).build().expect("a limiter in memory");
    let service = offline::limited(load, &other);
    for _ in 0..1000 {
        offline::call(&service, offline::request(offline::address(0)));
    }

    let before = resident();
    let limiter = RateLimiter::builder().capacity(COUNTERS as usize).build().expect("a limiter in memory");
    let service = offline::limited(load, &limiter);
    for client in 0..COUNTERS {
        offline::call(&service, offline::request(offline::address(client)));
    }
    let after = resident();
    black_box(&limiter);
    after - before
}

fn governor() -> usize {
    let before = resident();
    let limiter = governor::RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
    for client in 0..COUNTERS {
        limiter.check_key(&offline::address(client)).expect("the burst is large");
    }
    let after = resident();
    black_box(&limiter);
    after - before
}

/// The process's resident memory, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux tells a process its memory");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field of statm");
    pages * rustix::param::page_size()
}
