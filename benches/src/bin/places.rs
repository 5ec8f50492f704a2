//! The processor time that a Redis server takes for a check: under a rate, and under a rate with `concurrency`.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::expect_used)]

use actix_web::rt::{self, System};
use anyhow::{Context, Result};
use ratelimit_benches::{cpu, redis_server::RedisServer, statistics::Spread, subject::Store};
use ratelimit_runtime::{Policy, RateLimiter, Subject, policy};

/// How many requests are under way at once.
const CLIENTS: u32 = 16;

/// How many requests each client makes in a round, and how many rounds there are.
const REQUESTS: u32 = 20_000;
const ROUNDS: u32 = 4;

static RATE: Policy = policy!("1000000000/day", key = "rate", scope = "ip");
static PLACES: Policy = policy!(("1000000000/day", scope = "ip"), (concurrency = 2, scope = "ip"), key = "places");

fn main() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url(Store::Unix).context("a URL")?;
    let mut micros = [Vec::new(), Vec::new()];
    System::new().block_on(async {
        let limiter = RateLimiter::open(&url)?;
        for _ in 0..ROUNDS {
            for (policy, micros) in [&RATE, &PLACES].into_iter().zip(&mut micros) {
                let before = cpu::of_process(redis.pid())?;
                round(&limiter, policy).await;
                let used = cpu::of_process(redis.pid())? - before;
                micros.push(used.as_secs_f64() * 1e6 / f64::from(CLIENTS * REQUESTS));
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    for (name, micros) in ["a rate", "a rate with places"].iter().zip(&micros) {
        let Spread { median, min, max } = Spread::of(micros.iter().copied()).context("rounds")?;
        println!("{name}: {median:.1} us of the server for each request ({min:.1} to {max:.1})");
    }
    let ratios = micros[0].iter().zip(&micros[1]).map(|(rate, places)| places / rate);
    let Spread { median, min, max } = Spread::of(ratios).context("rounds")?;
    println!("ratio: {median:.2} ({min:.2} to {max:.2})");
    Ok(())
}

/// Each client makes one request after the other, and holds its place for a turn of the runtime.
async fn round(limiter: &RateLimiter, policy: &'static Policy) {
    let clients = (0..CLIENTS).map(|client| {
        let limiter = limiter.clone();
        rt::spawn(async move {
            let subject = Subject::new().ip([10, 0, 0, client as u8].into());
            for _ in 0..REQUESTS {
                let state = limiter.check(policy, &subject).await.expect("a store");
                assert!(state.is_admitted() && !state.is_degraded(), "{state:?}");
                rt::task::yield_now().await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
}
