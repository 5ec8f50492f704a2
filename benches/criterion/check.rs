//! The in-memory check in nanoseconds, beside governor.
//!
//! "check alone" compares the check with governor's `check_key`: an address in, a verdict out. Both hash the address with a
//! secret seed, find its counter, read the clock and count.
//!
//! "attribute" is what the attribute adds to a handler, from finding the limiter to keeping the state in the request: the
//! time of a call with it, less the time of the same call without it.
//!
//! With two threads, the time is what each of them sees.

#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

#[path = "check/clients.rs"]
mod clients;

use std::{
    hint::black_box,
    net::IpAddr,
    num::NonZeroU32,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::Quota;
use ratelimit_benches::{
    load::{ADMIT_ALL, Keys, Load, Verdict, WINDOW_SECONDS},
    offline::{self, Application},
};
use ratelimit_runtime::{
    RateLimiter,
    bench_internals::{Limit, MemoryCheck},
};

use crate::clients::Clients;

/// Requests are made in lots, outside the measured time. A lot is small enough to stay in the cache.
const LOT: u64 = 256;

/// Clients and threads.
const COLUMNS: &[(Clients, usize)] = &[
    (Clients::Uniform(1), 1),
    (Clients::Uniform(100_000), 1),
    (Clients::Zipf(1_000_000), 1),
    (Clients::Uniform(1), 2),
    (Clients::Uniform(100_000), 2),
];

const LOAD: Load = Load { verdict: Verdict::Admitted, keys: Keys::One };

fn check_alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check alone");
    for &(clients, threads) in COLUMNS {
        let column = format!("{clients}, {threads} thread(s)");

        let limiter = RateLimiter::in_memory();
        let limit = Limit::new(ADMIT_ALL.into(), WINDOW_SECONDS.into());
        let Some(check) = MemoryCheck::new(&limiter, limit) else { panic!("it counts in memory") };
        let ours = |client: &IpAddr| check.admits(*client);
        assert!(clients.all().all(|client| ours(&client)), "a first request is admitted");
        group.bench_function(BenchmarkId::new("ratelimit", &column), |bencher| {
            bencher.iter_custom(|checks| on_threads(threads, |thread| checks_in_lots(clients, thread, checks, ours)));
        });

        let limiter = governor::RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
        let governor = |client: &IpAddr| limiter.check_key(client).is_ok();
        assert!(clients.all().all(|client| governor(&client)), "a first request is admitted");
        group.bench_function(BenchmarkId::new("governor", &column), |bencher| {
            bencher
                .iter_custom(|checks| on_threads(threads, |thread| checks_in_lots(clients, thread, checks, governor)));
        });
    }
    group.finish();
}

fn attribute(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attribute");
    for &(clients, threads) in COLUMNS {
        let limiter = RateLimiter::in_memory();
        let service = offline::limited(LOAD, &limiter);
        clients.all().for_each(|client| {
            offline::call(&service, offline::request(client));
        });
        group.bench_function(format!("{clients}, {threads} thread(s)"), |bencher| {
            bencher.iter_custom(|calls| on_threads(threads, |thread| calls_in_lots(&limiter, clients, thread, calls)));
        });
    }
    group.finish();
}

/// The call without a limit, which is subtracted from every figure of this project.
fn call(criterion: &mut Criterion) {
    let service = offline::bare(&RateLimiter::in_memory());
    criterion.bench_function("call without a limit", |bencher| {
        bencher.iter_custom(|calls| in_lots(Clients::Uniform(1), 0, calls, |lot| call_all(&service, lot)));
    });
}

/// The time of calls with the attribute, less that of the same calls without.
fn calls_in_lots(limiter: &RateLimiter, clients: Clients, thread: u64, calls: u64) -> Duration {
    let (limited, bare) = (offline::limited(LOAD, limiter), offline::bare(limiter));
    let mut without = Duration::ZERO;
    // The two take turns lot by lot, so that other work of the machine affects both.
    let with = in_lots(clients, thread, calls, |lot| {
        without += call_all(&bare, lot);
        call_all(&limited, lot)
    });
    // Criterion needs a time above zero, but the difference of a few calls can be zero.
    with.saturating_sub(without).max(Duration::from_nanos(1))
}

fn call_all(service: &impl Application, lot: &[IpAddr]) -> Duration {
    let requests: Vec<_> = lot.iter().map(|&client| offline::request(client)).collect();
    let start = Instant::now();
    for request in requests {
        black_box(offline::call(service, request));
    }
    start.elapsed()
}

fn checks_in_lots(clients: Clients, thread: u64, checks: u64, check: impl Fn(&IpAddr) -> bool) -> Duration {
    in_lots(clients, thread, checks, |lot| {
        let start = Instant::now();
        for client in lot {
            black_box(check(client));
        }
        start.elapsed()
    })
}

/// The time of `number` calls, made in lots.
fn in_lots(clients: Clients, seed: u64, number: u64, mut time: impl FnMut(&[IpAddr]) -> Duration) -> Duration {
    let mut stream = clients.stream(seed);
    let mut left = number;
    let mut sum = Duration::ZERO;
    while left > 0 {
        let size = left.min(LOT);
        let lot: Vec<IpAddr> = stream.by_ref().take(usize::try_from(size).unwrap_or(usize::MAX)).collect();
        sum += time(&lot);
        left -= size;
    }
    sum
}

/// The mean of the threads' times. All threads begin together.
fn on_threads(threads: usize, time: impl Fn(u64) -> Duration + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let run = |thread| {
        barrier.wait();
        time(thread)
    };
    let times: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads as u64)
            .map(|thread| {
                let run = &run;
                scope.spawn(move || run(thread))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    assert_eq!(times.len(), threads, "a thread panicked");
    times.iter().sum::<Duration>() / u32::try_from(threads).unwrap_or(u32::MAX)
}

criterion_group!(benches, check_alone, call, attribute);
criterion_main!(benches);
