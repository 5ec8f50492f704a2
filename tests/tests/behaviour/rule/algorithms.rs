//! What each algorithm admits as time passes, and what its answers say. In memory, where a test moves the clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;

use crate::{START, window_end};

const MINUTE: u64 = 60;

#[ratelimit("6/minute", cost = cost)]
async fn fixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("6/minute", cost = cost, stagger = true, scope = "header:x-id")]
async fn staggered() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("6/minute", cost = cost, algorithm = "sliding-window")]
async fn sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("6/minute", cost = cost, algorithm = "sliding-window", stagger = true, scope = "header:x-id")]
async fn sliding_staggered() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("6/minute", cost = cost, algorithm = "gcra")]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("7/minute", cost = cost, algorithm = "gcra", burst = 4)]
async fn gcra_with_burst() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("6/minute", cost = wide)]
async fn too_wide() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("10/second; 7/minute", algorithm = "gcra")]
#[ratelimit("6/minute", algorithm = "sliding-window", scope = "global")]
#[ratelimit("8/hour", scope = "global", cost = 2)]
async fn several(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.name(), rule.limit(), rule.remaining())).collect::<Vec<_>>())
}

/// Whether waiting requests may continue, and their number.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waiting: AtomicUsize,
}

async fn gate(request: HttpRequest, gate: Data<Gate>) -> String {
    gate.open.store(request.query_string() == "open", Relaxed);
    format!("{} waits", gate.waiting.load(Relaxed))
}

/// Takes as long as the header `x-seconds` says, on the manual clock.
async fn slowly(request: HttpRequest, clock: Data<ManualClock>) -> impl Responder {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let seconds = header("x-seconds").and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    clock.advance(Duration::from_secs(seconds));
    if header("x-waits").is_some() {
        let gate = request.app_data::<Data<Gate>>().expect("the gate");
        gate.waiting.fetch_add(1, Relaxed);
        while !gate.open.load(Relaxed) {
            actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        }
    }
    if header("x-fails").is_some() { HttpResponse::Forbidden() } else { HttpResponse::Ok() }
}

#[ratelimit("6/minute", key = "login", count_if = failed)]
async fn fixed_login(request: HttpRequest, clock: Data<ManualClock>) -> impl Responder {
    slowly(request, clock).await
}

#[ratelimit("6/minute", key = "login", algorithm = "sliding-window", count_if = failed)]
async fn sliding_login(request: HttpRequest, clock: Data<ManualClock>) -> impl Responder {
    slowly(request, clock).await
}

#[ratelimit("6/minute", key = "login", algorithm = "gcra", count_if = failed)]
async fn gcra_login(request: HttpRequest, clock: Data<ManualClock>) -> impl Responder {
    slowly(request, clock).await
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn cost(request: &HttpRequest) -> u64 {
    request.query_string().parse().unwrap_or(1)
}

/// A cost with more bits than the limiter stores. Truncated, it would be 1.
fn wide(_: &HttpRequest) -> u128 {
    (1 << 64) + 1
}

fn routes(config: &mut ServiceConfig) {
    config.route("/wide", web::get().to(too_wide));
    config.route("/fixed", web::get().to(fixed)).route("/staggered", web::get().to(staggered));
    config.route("/sliding", web::get().to(sliding)).route("/gcra", web::get().to(gcra));
    config.route("/sliding-staggered", web::get().to(sliding_staggered));
    config.route("/burst", web::get().to(gcra_with_burst));
    config.route("/login/fixed", web::get().to(fixed_login)).route("/login/sliding", web::get().to(sliding_login));
    config.route("/login/gcra", web::get().to(gcra_login)).route("/several", web::get().to(several));
}

fn serve() -> (Served, ManualClock, RateLimiter) {
    let clock = ManualClock::new(START);
    let limiter = RateLimiter::builder().clock(clock.clone()).build().expect("a limiter in memory");
    let (its_clock, its_gate) = (clock.clone(), Data::new(Gate::default()));
    let server = Served::limited(&limiter, move |config| {
        config.app_data(Data::new(its_clock.clone())).app_data(its_gate.clone());
        config.route("/gate", web::get().to(gate));
        routes(config);
    });
    (server, clock, limiter)
}

/// Uses up the whole limit, with one request of each cost after the other.
fn fill(server: &Served, path: &str) -> u64 {
    (0..20).map(|_| u64::from(server.get(path).status == 200)).sum()
}

#[test]
fn a_refused_request_passes_when_the_answer_said_and_not_before() {
    for path in ["/fixed", "/staggered", "/sliding", "/sliding-staggered", "/gcra", "/burst"] {
        for cost in [1, 2, 3, 4] {
            let (server, clock, _) = serve();
            let path_with_cost = format!("{path}?{cost}");
            let mut now = START;
            fill(&server, path);
            // Each round starts at another second.
            for pause in [0, 7, 13, 1, 29] {
                now += pause;
                clock.set(now);
                let refusal = loop {
                    let reply = server.get(&path_with_cost);
                    if reply.status == 429 {
                        break reply;
                    }
                };
                let reset = refusal.number("x-ratelimit-reset");
                assert_eq!(refusal.number("retry-after"), reset - now, "{path_with_cost}: {refusal:?}");
                assert!((now + 1..=now + 2 * MINUTE).contains(&reset), "{path_with_cost} at {now}: {refusal:?}");
                for earlier in [(now + reset) / 2, reset - 1].into_iter().filter(|earlier| *earlier > now) {
                    clock.set(earlier);
                    let reply = server.get(&path_with_cost);
                    assert_eq!((reply.status, reply.number("x-ratelimit-reset")), (429, reset), "{path_with_cost}");
                }
                now = reset;
                clock.set(now);
                assert_eq!(server.get(&path_with_cost).status, 200, "{path_with_cost}, {refusal:?}");
            }
        }
    }
}

#[test]
fn what_never_fits_is_refused_whenever_it_comes_and_takes_nothing() {
    for path in ["/fixed?7", "/sliding?7", "/gcra?7", "/burst?5", "/gcra?18446744073709551615", "/wide"] {
        let (server, clock, _) = serve();
        let limit = server.get(path).x_headers().0;
        for _ in 0..5 {
            let reply = server.get(path);
            assert_eq!((reply.status, reply.x_headers().1), (429, limit), "{path}");
            assert!((1..=2 * MINUTE).contains(&reply.number("retry-after")), "{path}: {reply:?}");
            clock.advance(Duration::from_secs(reply.number("retry-after")));
        }
    }
}

#[test]
fn a_sliding_window_fades() {
    let (server, clock, _) = serve();
    let end = window_end(START, MINUTE);
    assert_eq!(fill(&server, "/sliding"), 6);
    for (after, remaining) in [(0, None), (9, None), (10, Some(0)), (19, None), (20, Some(0)), (59, Some(2))] {
        clock.set(end + after);
        let reply = server.get("/sliding");
        assert_eq!(
            (reply.status == 200).then(|| reply.x_headers().1),
            remaining,
            "{after} s after the window: {reply:?}"
        );
    }
    clock.set(end + 2 * MINUTE);
    assert_eq!(server.get("/sliding").x_headers(), (6, 5, end + 3 * MINUTE));
}

#[test]
fn a_reset_forgets_the_last_window_of_a_sliding_one_too() {
    // From a window with an even number to one with an odd one, and the other way round.
    for windows in [1, 2] {
        let (server, clock, limiter) = serve();
        let target =
            Target::new(concat!(module_path!(), "::sliding"), 6, 60).sliding_window().ip([127, 0, 0, 1].into());
        let wait_for = |future| actix_web::rt::System::new().block_on(future);
        let left = || actix_web::rt::System::new().block_on(target.peek(&limiter)).expect("a store").remaining();
        clock.set(window_end(START, MINUTE) + windows * MINUTE - 1);
        assert_eq!(fill(&server, "/sliding"), 6);
        clock.advance(Duration::from_secs(11));
        assert_eq!((fill(&server, "/sliding"), left()), (1, 0));
        wait_for(target.reset(&limiter)).expect("a store");
        assert_eq!((left(), fill(&server, "/sliding")), (6, 6));
    }
}

#[test]
fn gcra_lets_a_burst_pass_and_then_one_at_a_time() {
    let (server, clock, _) = serve();
    assert_eq!(fill(&server, "/burst"), 4);
    // A token comes back in 8 4/7 seconds.
    for (seconds, passed) in [(8, 0), (1, 1), (8, 0), (1, 1), (8, 1), (26, 3), (1000, 4)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(fill(&server, "/burst"), passed, "after {seconds} s more");
    }
    clock.advance(Duration::from_secs(1000));
    // The time at which all tokens are back.
    let (limit, remaining, reset) = server.get("/burst?3").x_headers();
    assert_eq!((limit, remaining, reset - now(&server)), (4, 1, 26));
}

/// The time of the clock, computed from the headers of a refusal.
fn now(server: &Served) -> u64 {
    let reply = server.get("/fixed?7");
    reply.number("x-ratelimit-reset") - reply.number("retry-after")
}

#[test]
fn a_clock_set_back_neither_forgets_what_was_counted_nor_holds_it_for_long() {
    for path in ["/fixed", "/staggered", "/gcra", "/burst"] {
        let (server, clock, _) = serve();
        fill(&server, path);
        // Refunds into the same window, and into the one before.
        for seconds in [5, 30] {
            clock.set(START - seconds);
            assert_eq!(fill(&server, path), 0, "{path}: set back by {seconds} s");
        }
        clock.set(START - 3600);
        assert!(fill(&server, path) >= 4, "{path}: set back by an hour");
        assert_eq!(fill(&server, path), 0, "{path}");
        clock.advance(Duration::from_secs(MINUTE));
        assert!(fill(&server, path) >= 4, "{path}: a minute after that");
    }
}

#[test]
fn the_headers_list_rules_of_every_algorithm() {
    let (limiter, _) = crate::in_memory();
    let server = Served::start(move |listener| {
        let app = move || {
            let headers = RateLimitHeaders::default().ietf();
            actix_web::App::new().app_data(limiter.clone()).wrap(headers).configure(|config| {
                config.route("/several", web::get().to(several));
            })
        };
        actix_web::HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    let names = ["ip:10/1s", "ip:7/60s", "global:6/60s", "global:8/3600s"];
    let reply = server.get("/several");
    assert_eq!(reply.body, format!("{:?}", [(names[0], 10, 9), (names[1], 7, 6), (names[2], 6, 5), (names[3], 8, 6)]));
    let policy =
        "\"ip:10/1s\";q=10;w=1, \"ip:7/60s\";q=7;w=60, \"global:6/60s\";q=6;w=60, \"global:8/3600s\";q=8;w=3600";
    assert_eq!(reply.header("ratelimit-policy"), Some(policy));
    let [minute, hour] = [MINUTE, 3600].map(|per| window_end(START, per) - START);
    let limits = |left: [u64; 4], gcra: [u64; 2]| {
        let times = [gcra[0], gcra[1], minute, hour];
        let rules =
            names.iter().zip(left).zip(times).map(|((name, left), time)| format!("\"{name}\";r={left};t={time}"));
        rules.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(reply.header("ratelimit"), Some(&*limits([9, 6, 5, 6], [1, 9])));
    assert_eq!(server.statuses("/several", 3), [200; 3]);
    let refusal = server.get("/several");
    assert_eq!((refusal.status, refusal.x_headers()), (429, (8, 0, window_end(START, 3600))));
    assert_eq!(refusal.number("retry-after"), hour);
    assert_eq!(refusal.header("ratelimit"), Some(&*limits([6, 3, 2, 0], [1, 35])), "what was refused is counted");
}

#[test]
fn counters_have_windows_of_their_own_where_they_are_staggered() {
    for path in ["/staggered", "/sliding-staggered"] {
        let servers = [serve().0, serve().0];
        let reset = |server: &Served, id: &str| server.get_with(path, &[("X-Id", id)]).x_headers().2;
        let mut resets: Vec<u64> = Vec::new();
        for client in 0..40 {
            let id = client.to_string();
            let here = reset(&servers[0], &id);
            assert!((START + 1..=START + MINUTE).contains(&here), "{path}: {here}");
            assert_eq!(reset(&servers[1], &id), here, "{path}: another server has another window");
            resets.push(here);
        }
        resets.sort_unstable();
        resets.dedup();
        assert!(resets.len() > 15, "{path}: {resets:?}");
    }
}

#[test]
fn refund_restores_the_charged_window() {
    let login = |server: &Served, path: &str, headers: &[(&str, &str)]| -> (u16, u64) {
        let reply: Reply = server.get_with(path, headers);
        (reply.status, reply.x_headers().1)
    };
    for (path, after_the_window, peeked) in [("/login/fixed", 6, 5), ("/login/sliding", 3, 2), ("/login/gcra", 6, 5)] {
        let (server, clock, limiter) = serve();
        let target = Target::new("login", 6, 60).ip([127, 0, 0, 1].into());
        let target = match path {
            "/login/fixed" => target,
            "/login/sliding" => target.sliding_window(),
            _ => target.gcra(6),
        };
        let left = || actix_web::rt::System::new().block_on(target.peek(&limiter)).expect("a store").remaining();
        clock.set(window_end(START, MINUTE));
        for remaining in [5, 4, 3] {
            assert_eq!(login(&server, path, &[("X-Fails", "1")]), (403, remaining), "{path}");
        }
        assert_eq!(login(&server, path, &[]), (200, 3), "{path}");
        // The request begins in this window and ends in the next one, whose count must stay.
        assert_eq!(login(&server, path, &[("X-Seconds", "60")]), (200, 3), "{path}");
        assert_eq!(left(), after_the_window, "{path}");
        assert_eq!(login(&server, path, &[("X-Fails", "1")]).0, 403, "{path}");
        assert_eq!(left(), peeked, "{path}");
        assert_eq!(login(&server, path, &[]).0, 200, "{path}");
        assert_eq!(left(), peeked, "{path}");
    }
}

#[test]
fn a_late_refund_does_not_reach_the_next_window() {
    for path in ["/login/fixed", "/login/sliding"] {
        let (server, clock, _) = serve();
        clock.set(window_end(START, MINUTE));
        let mut slow = server.open();
        slow.send(&ratelimit_tests::http::request("GET", path, &[("X-Waits", "1")]));
        wait::until("the slow one is counted", || server.get("/gate?closed").body == "1 waits");
        clock.advance(Duration::from_secs(MINUTE));
        let fail = || server.get_with(path, &[("X-Fails", "1")]);
        assert_eq!([fail(), fail()].map(|reply| reply.status), [403, 403], "{path}");
        server.get("/gate?open");
        assert_eq!(slow.reply().status, 200);
        assert_eq!(fail().x_headers().1, 3, "{path}: three of six are left after three failures");
    }
}

#[test]
fn gcra_gets_no_token_back_twice() {
    for (seconds, left) in [(9, 1), (10, 0)] {
        let (server, clock, _) = serve();
        let mut slow = server.open();
        slow.send(&ratelimit_tests::http::request("GET", "/login/gcra", &[("X-Waits", "1")]));
        // The token comes back by itself, ten seconds later.
        wait::until("the slow one is counted", || server.get("/gate?closed").body == "1 waits");
        clock.advance(Duration::from_secs(seconds));
        let failures = (0..7).map(|_| server.get_with("/login/gcra", &[("X-Fails", "1")]).status == 403);
        assert_eq!(failures.filter(|passed| *passed).count(), if seconds < 10 { 5 } else { 6 });
        server.get("/gate?open");
        assert_eq!(slow.reply().status, 200);
        let more = (0..3).map(|_| server.get_with("/login/gcra", &[("X-Fails", "1")]).status == 403);
        assert_eq!(more.filter(|passed| *passed).count(), left, "after {seconds} s");
    }
}
