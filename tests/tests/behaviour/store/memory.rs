//! The in-memory store: bounded, and without a thread that cleans up.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, Responder, web};
use ratelimit_runtime::{ManualClock, RateLimitState, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Server, request};

use crate::{START, in_memory, window_end};

#[ratelimit(limit = 2, per = 60, scope = "header:x-id")]
async fn twice() -> impl Responder {
    HttpResponse::Ok()
}

fn serve(limiter: &RateLimiter) -> Served {
    Served::limited(limiter, |config| {
        config.route("/", web::get().to(twice));
    })
}

fn with_capacity(capacity: usize) -> (Served, ManualClock) {
    let clock = ManualClock::new(START);
    (
        serve(&RateLimiter::builder().capacity(capacity).clock(clock.clone()).build().expect("a limiter in memory")),
        clock,
    )
}

/// The number of these clients whose next request passes.
fn pass(server: &Served, clients: impl Iterator<Item = String>) -> usize {
    let requests: Vec<_> = clients.map(|client| request("GET", "/", &[("X-Id", &client)])).collect();
    let mut connection = server.open();
    let mut passed = 0;
    // Few requests at a time, so that no buffer fills up.
    for some in requests.chunks(50) {
        connection.send(&some.concat());
        passed += some.iter().filter(|_| connection.reply().status == 200).count();
    }
    passed
}

fn clients(group: usize, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |client| format!("{group}-{client}"))
}

#[test]
fn within_its_capacity_it_forgets_nobody() {
    let (server, _clock) = with_capacity(1000);
    assert_eq!([1, 2, 3].map(|_| pass(&server, clients(0, 250))), [250, 250, 0]);
}

#[test]
fn past_its_capacity_it_stays_bounded_and_admits_newcomers() {
    let (server, _clock) = with_capacity(100);
    assert_eq!(pass(&server, clients(0, 3000)), 3000, "a newcomer was refused");
    let remembered = remembered(&server, clients(0, 3000));
    assert!((50..=400).contains(&remembered), "{remembered} of 3000 clients are remembered with a capacity of 100");
}

/// The number of clients that the store remembers, out of clients with one request each.
fn remembered(server: &Served, clients: impl Iterator<Item = String>) -> usize {
    // A remembered client is at its limit now. A forgotten one is new.
    let mut connection = server.open();
    let remaining = |client: String| connection.ask("GET", "/", &[("X-Id", &client)]).x_headers().1;
    clients.collect::<Vec<_>>().into_iter().rev().map(remaining).filter(|left| *left == 0).count()
}

#[cfg(feature = "redis")]
#[test]
fn what_stands_in_for_a_failing_store_is_bounded_by_the_capacity_too() {
    let limiter = RateLimiter::builder().capacity(100).clock(ManualClock::new(START));
    let server = serve(&limiter.store("redis+unix:///no/such/redis.sock").build().expect("a URL"));
    assert_eq!(pass(&server, clients(0, 3000)), 3000, "a newcomer was refused");
    let remembered = remembered(&server, clients(0, 3000));
    assert!((50..=400).contains(&remembered), "{remembered} of 3000 clients are remembered with a capacity of 100");
}

#[test]
fn a_flood_of_newcomers_does_not_free_a_client_at_its_limit() {
    let (server, _clock) = with_capacity(100);
    let offender = || std::iter::once(String::from("offender"));
    assert_eq!([1, 2, 3].map(|_| pass(&server, offender())), [1, 1, 0]);
    assert_eq!(pass(&server, clients(0, 3000)), 3000);
    assert_eq!(pass(&server, offender()), 0);
}

#[test]
fn expired_counters_make_room() {
    let (server, clock) = with_capacity(100);
    for minute in 0..40 {
        let passed = [1, 2, 3].map(|_| pass(&server, clients(minute, 50)));
        assert_eq!(passed, [50, 50, 0], "in minute {minute}");
        clock.advance(Duration::from_secs(60));
    }
}

#[ratelimit(limit = 4, per = 300, algorithm = "gcra", scope = "header:x-id")]
async fn four_tokens() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn tokens_are_all_there_also_while_a_second_ends() {
    let server = Served::limited(&RateLimiter::in_memory(), |config| {
        config.route("/", web::get().to(four_tokens));
    });
    let mut connection = server.open();
    let started = Instant::now();
    // One client after the other, so that some start just before the end of a second and continue after it.
    for client in 0.. {
        if started.elapsed() > Duration::from_millis(4200) {
            break;
        }
        let remaining = [3, 2, 1, 0].map(|_| {
            let reply = connection.ask("GET", "/", &[("X-Id", &client.to_string())]);
            (reply.status, reply.x_headers().1)
        });
        assert_eq!(remaining, [(200, 3), (200, 2), (200, 1), (200, 0)], "{:?} after the start", started.elapsed());
    }
}

#[ratelimit(limit = 5, per = 60, scope = "header:x-id")]
#[ratelimit(limit = 5, per = 3600, scope = "header:x-id")]
#[ratelimit(limit = 5, per = 86_400, scope = "header:x-id")]
async fn five_by_three_rules(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

#[test]
fn new_counters_of_one_request_do_not_take_each_others_place() {
    // They are all in one set of the table.
    let limiter =
        RateLimiter::builder().capacity(1).clock(ManualClock::new(START)).build().expect("a limiter in memory");
    let server = Served::limited(&limiter, |config| {
        config.route("/", web::get().to(five_by_three_rules));
    });
    for body in ["[4, 4, 4]", "[3, 3, 3]", "[2, 2, 2]"] {
        assert_eq!(server.get("/").body, body);
    }
}

#[test]
fn the_smallest_capacity_still_serves() {
    let (server, _clock) = with_capacity(1);
    assert_eq!(pass(&server, clients(0, 200)), 200);
}

#[test]
fn the_largest_capacity_takes_no_more_memory_than_there_is() {
    let (server, _clock) = with_capacity(268_435_456);
    assert_eq!([1, 2, 3].map(|_| pass(&server, clients(0, 200))), [200, 200, 0]);
}

#[ratelimit(limit = 5, per = 60, scope = "global", lease = 5)]
async fn leased() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn in_memory_a_lease_has_no_effect() {
    let server = Served::limited(&in_memory().0, |config| {
        config.route("/", web::get().to(leased));
    });
    // Each connection may be of another worker.
    let replies = [(); 6].map(|()| server.get("/")).map(|reply| (reply.status, reply.x_headers().1));
    assert_eq!(replies, [(200, 4), (200, 3), (200, 2), (200, 1), (200, 0), (429, 0)]);
}

#[test]
fn a_clock_that_is_set_back_neither_panics_nor_locks_out() {
    let (limiter, clock) = in_memory();
    let server = serve(&limiter);
    let client = || std::iter::once(String::from("client"));
    assert_eq!([1, 2, 3].map(|_| pass(&server, client())), [1, 1, 0]);
    clock.set(START - 86_400);
    let reply = server.get_with("/", &[("X-Id", "client")]);
    assert_eq!((reply.status, reply.x_headers().2), (200, window_end(START - 86_400, 60)));
    clock.set(0);
    assert_eq!(server.get_with("/", &[("X-Id", "client")]).x_headers(), (2, 1, 60));
}

#[test]
fn limiters_share_nothing_and_clones_share_everything() {
    let (one, other) = (RateLimiter::in_memory(), RateLimiter::in_memory());
    let servers = [serve(&one), serve(&one.clone()), serve(&other)];
    let client = || std::iter::once(String::from("client"));
    let passed = [0, 1, 0, 1, 2, 2, 2].map(|server| pass(&servers[server], client()));
    assert_eq!(passed, [1, 1, 0, 0, 1, 1, 0]);
}
