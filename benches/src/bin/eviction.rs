//! The effect of a flood of new keys on clients that the in-memory store already knows. It prints how many of a thousand clients,
//! under a limit of five a minute, are forgotten after how many requests. `eviction [CAPACITY]`; a million unless given.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::expect_used, clippy::panic)]

use actix_web::{App, Resource, http::StatusCode, test, web};
use futures_util::FutureExt;
use ratelimit_benches::offline::{self, Application};
use ratelimit_runtime::{ManualClock, Policy, RateLimiter, Subject, policy, ratelimit};

/// The clients. No flood uses their addresses.
const CLIENTS: u32 = 1000;
const FIRST_CLIENT: u32 = 1 << 24;

const LIMIT: u32 = 5;

/// The longest flood, in requests for each counter of the capacity. A flood also ends when half of the clients are
/// forgotten.
const MOST: usize = 10;

static CLIENT: Policy = policy!(limit = LIMIT, per = 60, key = "client");

#[ratelimit(policy = CLIENT)]
async fn client() -> &'static str {
    "known"
}

#[ratelimit(limit = 300, per = 3600)]
async fn with_room() -> &'static str {
    "one of 300"
}

#[ratelimit(limit = 10, per = 3600, cost = 4)]
async fn costly() -> &'static str {
    "four of ten"
}

#[ratelimit(limit = LIMIT, per = 60)]
async fn same_limit() -> &'static str {
    "all of five"
}

#[ratelimit(limit = 1, per = 3600)]
async fn exhausted() -> &'static str {
    "all of one"
}

/// A flood: its name, its path, and the number of requests of each of its keys.
const FLOODS: [(&str, &str, u32); 4] = [
    ("1 of 300 an hour", "/with_room", 1),
    ("4 of 10 an hour, by cost", "/costly", 1),
    ("5 of 5 a minute", "/same_limit", LIMIT),
    ("1 of 1 an hour", "/exhausted", 1),
];

fn main() {
    let capacity = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("usage: eviction [CAPACITY]"));
    println!("capacity {capacity}; requests of a flood of new keys until clients at 5 a minute are forgotten");
    println!("| each key of the flood uses | clients that have used | the first | 1 % | 10 % | 50 % |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, path, requests) in FLOODS {
        for used in [LIMIT, LIMIT - 1, 1] {
            let cells = flood(capacity, path, requests, used).map(|requests| match requests {
                Some(requests) => requests.to_string(),
                None => format!("more than {}", MOST * capacity),
            });
            println!("| {name} | {used} of {LIMIT} | {} |", cells.join(" | "));
        }
    }
}

/// The number of requests until one client, 1 %, 10 % and 50 % of the clients are forgotten.
fn flood(capacity: usize, path: &str, requests: u32, used: u32) -> [Option<usize>; 4] {
    // Time stands still, so all requests fall into the windows of the clients.
    let limiter = RateLimiter::builder()
        .capacity(capacity)
        .clock(ManualClock::new(1_700_000_000))
        .build()
        .expect("a limiter in memory");
    let app = App::new().app_data(limiter.clone()).service(web::resource("/client").get(client));
    let resources: [Resource; 4] = [
        web::resource("/with_room").get(with_room),
        web::resource("/costly").get(costly),
        web::resource("/same_limit").get(same_limit),
        web::resource("/exhausted").get(exhausted),
    ];
    let app = resources.into_iter().fold(app, App::service);
    let service = test::init_service(app).now_or_never().expect("an application in memory starts without waiting");

    for address in FIRST_CLIENT..FIRST_CLIENT + CLIENTS {
        (0..used).for_each(|_| ask(&service, "/client", address));
    }
    let mut forgotten_after = [None; 4];
    let mut made = 0;
    for address in 0.. {
        if address % (capacity as u32 / 100).max(1) == 0 {
            let forgotten = forgotten(&limiter, used);
            for (after, share) in forgotten_after.iter_mut().zip([0.001, 0.01, 0.1, 0.5]) {
                if after.is_none() && f64::from(forgotten) >= share * f64::from(CLIENTS) {
                    *after = Some(made);
                }
            }
            if made > MOST * capacity || forgotten_after[3].is_some() {
                break;
            }
        }
        (0..requests).for_each(|_| ask(&service, path, address));
        made += requests as usize;
    }
    forgotten_after
}

fn ask(service: &impl Application, path: &str, address: u32) {
    let address = std::net::SocketAddr::new(offline::address(address), 4711);
    let request = test::TestRequest::get().uri(path).peer_addr(address).to_request();
    assert_eq!(offline::call(service, request), StatusCode::OK, "{path}");
}

/// The number of clients whose counters hold less than they have used.
fn forgotten(limiter: &RateLimiter, used: u32) -> u32 {
    let is_forgotten = |address: &u32| {
        let client = Subject::new().ip(offline::address(*address));
        let peek = limiter
            .peek(&CLIENT, &client)
            .now_or_never()
            .expect("memory waits for nothing")
            .expect("and does not fail");
        peek.remaining() > LIMIT - used
    };
    (FIRST_CLIENT..FIRST_CLIENT + CLIENTS).filter(is_forgotten).count() as u32
}
