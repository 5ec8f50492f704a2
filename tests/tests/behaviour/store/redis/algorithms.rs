//! Algorithms, costs and refunds over Redis: expiries, overwritten values, and the clock.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{CheckError, ManualClock, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

const WINDOW: u32 = 1_073_741_823;
const REFILL: u32 = 90 * 86_400;

#[ratelimit(limit = 5, per = WINDOW, scope = "header:x-id")]
async fn fixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = WINDOW, scope = "header:x-id", stagger = true)]
async fn staggered() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = WINDOW, scope = "header:x-id", algorithm = "sliding-window", stagger = true)]
async fn sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = REFILL, scope = "header:x-id", algorithm = "gcra")]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = 3, scope = "header:x-id")]
async fn short_fixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = 3, scope = "header:x-id", algorithm = "sliding-window", cost = 2)]
async fn short_sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = 3, scope = "header:x-id", algorithm = "gcra", cost = 2)]
async fn short_gcra() -> impl Responder {
    HttpResponse::Ok()
}

/// The limits are far apart, so each rule may be the one that refuses.
#[ratelimit(limit = 100, per = WINDOW, scope = "global", key = "all", cost = weight, count_if = counts)]
#[ratelimit(limit = 60, per = WINDOW, scope = "header:x-id", key = "each", algorithm = "sliding-window")]
#[ratelimit(limit = 70, per = REFILL, scope = "header:x-id", key = "each", algorithm = "gcra", cost = weight)]
async fn together(request: HttpRequest) -> impl Responder {
    if request.query_string() == "3" { HttpResponse::Accepted() } else { HttpResponse::Ok() }
}

fn weight(request: &HttpRequest) -> u64 {
    request.query_string().parse().expect("a number")
}

/// A request with a cost of 3 does not count.
fn counts(response: &HttpResponse) -> bool {
    response.status() == 200
}

fn routes(config: &mut ServiceConfig) {
    config.route("/fixed", web::get().to(fixed)).route("/staggered", web::get().to(staggered));
    config.route("/sliding", web::get().to(sliding)).route("/gcra", web::get().to(gcra));
    config.route("/short-fixed", web::get().to(short_fixed)).route("/short-sliding", web::get().to(short_sliding));
    config.route("/short-gcra", web::get().to(short_gcra)).route("/together", web::get().to(together));
}

const PATHS: [&str; 4] = ["/fixed", "/staggered", "/sliding", "/gcra"];

/// A limiter with a long deadline and without a fallback.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny)
}

fn serve(url: &str) -> Served {
    Served::limited(&patient().store(url).build().expect("a URL"), routes)
}

fn ask(server: &Served, path: &str, id: &str) -> Reply {
    server.get_with(path, &[("X-Id", id)])
}

#[test]
fn every_counter_expires_when_it_counts_no_more() {
    let redis = RedisServer::on_socket();
    let server = serve(&redis.url());
    for (path, kept) in [("/short-fixed", 3), ("/short-sliding", 6), ("/short-gcra", 5)] {
        for _ in 0..3 {
            let asked = redis.ask::<(u64, u64)>(&["TIME"]).0;
            ask(&server, path, "a");
            for key in redis.keys() {
                let expires: u64 = redis.ask(&["EXPIRETIME", &key]);
                assert!((asked..=asked + kept + 1).contains(&expires), "{path}: {key} stays until {expires}");
            }
        }
    }
    wait::until("the counters have left", || redis.ask::<i64>(&["DBSIZE"]) == 0);
}

#[test]
fn a_refused_client_passes_at_its_reset_time_and_not_before() {
    let redis = RedisServer::on_socket();
    let server = serve(&redis.url());
    let server = &server;
    let now = || redis.ask::<(u64, u64)>(&["TIME"]).0;
    for path in ["/short-fixed", "/short-sliding", "/short-gcra"] {
        let mut connection = server.open();
        let mut ask = || connection.ask("GET", path, &[("X-Id", "b")]);
        for round in 0..2 {
            let refusal = loop {
                let reply = ask();
                if reply.status == 429 {
                    break reply;
                }
            };
            let reset = refusal.number("x-ratelimit-reset");
            let (admitted, _) = wait::until_some("it passes", || {
                let reply = ask();
                (reply.status == 200).then_some(now())
            });
            // GCRA and a sliding window may admit within the second before. A busy machine may be late.
            let earliest = if path == "/short-fixed" { reset } else { reset - 1 };
            assert!(admitted >= earliest, "{path}, {round}: told {reset}, admitted at {admitted}");
            assert!(admitted <= reset + 2, "{path}, {round}: told {reset}, admitted at {admitted}");
        }
    }
}

#[test]
fn a_counter_that_something_else_has_overwritten_is_replaced_in_every_algorithm() {
    let redis = RedisServer::on_socket();
    let values =
        ["", "garbage", "-7", "1.5", "0:0", "1:1", "-1:-1", "5:", "99999999999999999999:1", "1:99999999999999999999"];
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let server = Served::limited_by(&limiter, 1, routes);
    for path in PATHS {
        for (index, value) in values.into_iter().enumerate() {
            let id = format!("{index}");
            assert_eq!(ask(&server, path, &id).x_headers().1, 4, "{path}");
            for key in redis.keys() {
                redis.ask::<()>(&["SET", &key, value]);
            }
            let reply = ask(&server, path, &id);
            assert_eq!((reply.status, reply.x_headers().1), (200, 4), "{path}, {value:?}");
            redis.ask::<()>(&["FLUSHALL"]);
        }
        assert_eq!(ask(&server, path, "list").x_headers().1, 4, "{path}");
        for key in redis.keys() {
            redis.ask::<()>(&["DEL", &key]);
            redis.ask::<()>(&["RPUSH", &key, "a"]);
        }
        assert_eq!(ask(&server, path, "list").x_headers().1, 4, "{path}");
        assert_eq!(redis.keys_without_expiry(), [""; 0], "{path}");
        redis.ask::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_user_needs_no_more_privileges_for_any_of_this() {
    let redis = RedisServer::on_port();
    let privileges = format!("ACL SETUSER app on >secret ~rate-limit/* -@all {}", crate::APP_PRIVILEGES);
    redis.ask::<()>(&privileges.split(' ').collect::<Vec<_>>());
    redis.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    let limiter = patient().store(format!("redis://app:secret@{}/", redis.address())).build().expect("a URL");
    let server = Served::limited(&limiter, routes);
    for path in PATHS {
        assert_eq!([(); 6].map(|()| ask(&server, path, "a").status), [200, 200, 200, 200, 200, 429], "{path}");
    }
    assert_eq!(ask(&server, "/together?3", "a").status, 202);
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    for target in [all(), sliding_of("a"), gcra_of("a")] {
        assert!(runtime.block_on(target.peek(&limiter)).is_ok());
        runtime.block_on(target.reset(&limiter)).expect("a reset");
    }
    let log: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn staggered_windows_are_the_same_in_each_server_whatever_its_clock() {
    let redis = RedisServer::on_socket();
    let servers = [0, 1_000_000].map(|ago| {
        let now = redis.ask::<(u64, u64)>(&["TIME"]).0;
        Served::limited(
            &patient().clock(ManualClock::new(now - ago)).store(redis.url()).build().expect("a URL"),
            routes,
        )
    });
    let mut resets = Vec::new();
    for client in 0..20 {
        let id = client.to_string();
        let reset = ask(&servers[0], "/staggered", &id).x_headers().2;
        assert_eq!(ask(&servers[1], "/staggered", &id).x_headers(), (5, 3, reset));
        resets.push(reset);
    }
    // A later process: the counter's name is all that it shares with the earlier ones.
    let restarted = serve(&redis.url());
    for (client, reset) in resets.iter().enumerate() {
        assert_eq!(ask(&restarted, "/staggered", &client.to_string()).x_headers(), (5, 2, *reset));
    }
    resets.sort_unstable();
    resets.dedup();
    assert!(resets.len() > 15, "{resets:?}");
}

fn all() -> Target {
    Target::new("all", 100, WINDOW).global()
}

fn sliding_of(id: &str) -> Target {
    Target::new("each", 60, WINDOW).sliding_window().header("x-id", id)
}

fn gcra_of(id: &str) -> Target {
    Target::new("each", 70, REFILL).gcra(70).header("x-id", id)
}

#[test]
fn what_many_clients_took_at_once_is_what_is_counted() {
    const CLIENTS: u64 = 24;
    let redis = RedisServer::on_socket();
    let limiters = [(); 2].map(|()| patient().store(redis.url()).build().expect("a URL"));
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let left = |target: &Target| u64::from(runtime.block_on(target.peek(&limiters[0])).expect("a store").remaining());
    for round in 0..6 {
        // One worker each, so that requests go to Redis together. New servers, whose caches know no refusal.
        let servers = limiters.each_ref().map(|limiter| Served::limited_by(limiter, 1, routes));
        let admitted = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (mut connection, admitted) = (servers[client as usize % 2].open(), &admitted);
                scope.spawn(move || {
                    for request in 0..10 {
                        // Some requests are identical, and the script counts them in one step.
                        let cost = if request % 2 == 0 { 1 } else { (client + request + round) % 6 };
                        let id = if (client / 2 + request) % 3 == 0 { "a" } else { "b" };
                        let reply = connection.ask("GET", &format!("/together?{cost}"), &[("X-Id", id)]);
                        match reply.status {
                            200 | 202 => admitted.lock().expect("no panic").push((id, cost)),
                            status => assert_eq!(status, 429, "{reply:?}"),
                        }
                    }
                });
            }
        });
        let admitted = admitted.into_inner().expect("no panic");
        let sum = |of: &str, by: &dyn Fn(u64) -> u64| -> u64 {
            admitted.iter().filter(|(id, _)| of.is_empty() || *id == of).map(|(_, cost)| by(*cost)).sum()
        };
        let counted = sum("", &|cost| if cost == 3 { 0 } else { cost });
        wait::until("what does not count is given back", || left(&all()) == 100 - counted);
        for id in ["a", "b"] {
            assert_eq!(left(&sliding_of(id)), 60 - sum(id, &|_| 1), "{id} in round {round}");
            assert_eq!(left(&gcra_of(id)), 70 - sum(id, &|cost| cost), "{id} in round {round}");
        }
        // Some rule is used up.
        let full =
            left(&all()) < 3 || ["a", "b"].iter().all(|id| left(&sliding_of(id)) == 0 || left(&gcra_of(id)) == 0);
        assert!(full || counted > 60, "in round {round}, {admitted:?}");
        assert_eq!(redis.keys_without_expiry(), [""; 0]);
        for target in [all(), sliding_of("a"), sliding_of("b"), gcra_of("a"), gcra_of("b")] {
            runtime.block_on(target.reset(&limiters[1])).expect("a reset");
        }
        assert_eq!(redis.keys(), [""; 0]);
    }
}

#[test]
fn a_store_that_does_not_answer_is_said_to() {
    let mut redis = RedisServer::on_socket();
    let limiter = RateLimiter::builder().store(redis.url()).build().expect("a URL");
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let target = all();
    let answers = || {
        // The connection's task lives on this runtime, which runs only within this call.
        runtime.block_on(async { actix_web::rt::time::sleep(Duration::from_millis(5)).await });
        runtime.block_on(target.peek(&limiter)).is_ok()
    };
    wait::until("Redis answers", answers);
    redis.kill();
    assert_eq!(runtime.block_on(target.peek(&limiter)).map(drop), Err(CheckError::StoreUnavailable));
    assert_eq!(runtime.block_on(target.reset(&limiter)), Err(CheckError::StoreUnavailable));
    redis.restart();
    wait::until("Redis answers", answers);
}
