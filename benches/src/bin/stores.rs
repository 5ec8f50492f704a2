//! How many checks each store takes in a second, all in one run on one machine. Arguments name the stores; without any, it is all of them.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use actix_web::rt::{self, System};
use anyhow::{Context, Result};
use ratelimit_benches::{redis_server::RedisServer, statistics::Spread, subject};
use ratelimit_runtime::{Policy, RateLimiter, Subject, policy};
use ratelimit_tests::{
    memcached_server::MemcachedServer,
    sql_server::{Sql, SqlServer},
    sqlite_file::SqliteFile,
};

/// How many requests are under way at once.
const CLIENTS: u32 = 64;

/// How long a round lasts, and how many rounds each store has.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 5;

/// How many counters there are where each request has its own.
const USERS: u32 = 10_000;

static RATE: Policy = policy!("1000000000/day", key = "rate", scope = "user");
static GCRA: Policy = policy!("1000000000/day", key = "gcra", scope = "user", algorithm = "gcra");

/// A kind of load.
struct Case {
    name: &'static str,
    policy: &'static Policy,
    clients: u32,
    users: u32,
}

const CASES: [Case; 4] = [
    Case { name: "one counter", policy: &RATE, clients: CLIENTS, users: 1 },
    Case { name: "many counters", policy: &RATE, clients: CLIENTS, users: USERS },
    Case { name: "GCRA, many counters", policy: &GCRA, clients: CLIENTS, users: USERS },
    Case { name: "one client", policy: &RATE, clients: 1, users: USERS },
];

fn main() -> Result<()> {
    let redis = RedisServer::start()?;
    let memcached = MemcachedServer::start();
    // The tests start them with less memory than the packages do.
    let postgres = SqlServer::with(Sql::Postgres, &["-c", "shared_buffers=128MB"]);
    let mariadb = SqlServer::with(
        Sql::MariaDb,
        &["--innodb-log-file-size=96M", "--innodb-buffer-pool-size=128M", "--innodb-use-native-aio=1"],
    );
    let sqlite = SqliteFile::new();
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut stores = vec![
        ("memory", "memory://".to_owned()),
        ("Redis", redis.url(subject::Store::Tcp).context("a URL")?),
        ("Memcached", memcached.url()),
        ("PostgreSQL", postgres.url()),
        ("MariaDB", mariadb.url()),
        ("SQLite", sqlite.url()),
    ];
    stores.retain(|(name, _)| names.is_empty() || names.iter().any(|other| other == name));
    let mut measured: Vec<_> = stores.iter().map(|_| [(); CASES.len()].map(|()| Vec::new())).collect();
    System::new().block_on(async {
        let limiter = |(_, url): &(&str, String)| {
            RateLimiter::builder().deadline(Duration::from_secs(10)).store(url).build().expect("a URL")
        };
        let limiters: Vec<_> = stores.iter().map(limiter).collect();
        for limiter in &limiters {
            limiter.migrate().await?;
            limiter.ping().await?;
        }
        for _ in 0..ROUNDS {
            for (limiter, measured) in limiters.iter().zip(&mut measured) {
                for (case, measured) in CASES.iter().zip(measured) {
                    measured.push(round(limiter, case).await);
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    println!("| store | {} |", CASES.map(|case| case.name).join(" | "));
    println!("|---|{}", "---|".repeat(CASES.len()));
    for ((name, _), measured) in stores.iter().zip(measured) {
        print!("| {name} |");
        for rates in measured {
            let Spread { median, min, max } = Spread::of(rates.into_iter()).context("rounds")?;
            print!(" {median:.0} ({min:.0} to {max:.0}) |");
        }
        println!();
    }
    Ok(())
}

/// Each client makes one request after the other. Returns how many were answered in a second.
async fn round(limiter: &RateLimiter, case: &Case) -> f64 {
    let started = Instant::now();
    let clients = (0..case.clients).map(|client| {
        let (limiter, policy, users) = (limiter.clone(), case.policy, case.users);
        rt::spawn(async move {
            let mut answered = 0_u32;
            while started.elapsed() < ROUND {
                let user = answered.wrapping_mul(7).wrapping_add(client.wrapping_mul(1009)) % users;
                let state = limiter.check(policy, &Subject::new().user(&user.to_string())).await.expect("a store");
                assert!(state.is_admitted() && !state.is_degraded(), "{state:?}");
                answered += 1;
                // A check in memory does not wait by itself.
                if answered.is_multiple_of(64) {
                    rt::task::yield_now().await;
                }
            }
            answered
        })
    });
    let mut answered = 0;
    for client in clients.collect::<Vec<_>>() {
        answered += client.await.expect("a client");
    }
    f64::from(answered) / started.elapsed().as_secs_f64()
}
