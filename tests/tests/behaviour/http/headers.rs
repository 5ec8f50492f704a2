//! Which header is on which answer.

use std::collections::{HashMap, HashSet};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadGateway, ErrorImATeapot};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};

use crate::{START, in_memory, window_end};

#[ratelimit(limit = 2, per = 60)]
async fn success() -> impl Responder {
    HttpResponse::Created()
}

#[ratelimit(limit = 2, per = 60)]
async fn failure() -> Result<HttpResponse, Error> {
    Err(ErrorImATeapot("short and stout"))
}

#[ratelimit(limit = 2, per = 60)]
async fn bad_extractor(_: web::Path<u32>) -> impl Responder {
    HttpResponse::Ok()
}

async fn unlimited() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 60)]
async fn its_own() -> impl Responder {
    HttpResponse::Ok()
        .insert_header(("X-RateLimit-Limit", "mine"))
        .insert_header(("X-RateLimit-Reset", "mine too"))
        .append_header(("RateLimit", "and mine"))
        .append_header(("RateLimit", "and mine again"))
        .finish()
}

#[ratelimit(limit = 10, per = 60)]
#[ratelimit(limit = 3, per = 3600)]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

/// The hour is refunded, so the minute has less left.
#[ratelimit(limit = 3, per = 3600, count_if = failed)]
#[ratelimit(limit = 3, per = 60)]
async fn one_refunded() -> impl Responder {
    HttpResponse::Ok()
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[ratelimit(limit = 9, per = 60, scope = nobody)]
async fn exempt() -> impl Responder {
    HttpResponse::Ok()
}

fn nobody(_: &HttpRequest) -> Option<String> {
    None
}

#[ratelimit(limit = 3, per = 60, scope = "global")]
#[ratelimit(limit = 3, per = 3600)]
async fn equals() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = 60)]
#[ratelimit(limit = 2, per = 60, scope = "global", send_x_headers = false)]
#[ratelimit(limit = 6, per = 3600)]
async fn the_tightest_is_silent() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = 60, send_x_headers = false)]
#[ratelimit(limit = 2, per = 60, scope = "global", send_x_headers = false)]
async fn all_are_silent() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 60, key = "here")]
#[ratelimit(limit = 2, per = 60, key = "there")]
#[ratelimit(limit = 2, per = 60)]
async fn alike_but_for_their_keys() -> impl Responder {
    HttpResponse::Ok()
}

/// Of the second rule, one request is left; of the first, eighteen.
#[ratelimit(limit = 20, per = 1)]
#[ratelimit(limit = 1000, per = 3600, cost = 300)]
async fn dear() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/dear", web::get().to(dear));
    config.route("/alike", web::get().to(alike_but_for_their_keys));
    config.route("/success", web::get().to(success)).route("/success", web::head().to(success));
    config.route("/failure", web::get().to(failure)).route("/extractor/{id}", web::get().to(bad_extractor));
    config.route("/unlimited", web::get().to(unlimited)).route("/its-own", web::get().to(its_own));
    config.route("/two-rules", web::get().to(two_rules)).route("/one-refunded", web::get().to(one_refunded));
    config.route("/exempt", web::get().to(exempt)).route("/equals", web::get().to(equals));
    config.route("/tightest-silent", web::get().to(the_tightest_is_silent));
    config.route("/all-silent", web::get().to(all_are_silent));
}

fn serve_ietf(limiter: &RateLimiter) -> Served {
    let limiter = limiter.clone();
    Served::start(move |listener| {
        let app = move || {
            let headers = RateLimitHeaders::default().ietf();
            App::new().app_data(limiter.clone()).wrap(headers).configure(routes)
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    })
}

fn rate_limit_headers(reply: &Reply) -> Vec<&str> {
    let names = reply.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.contains("ratelimit")).collect()
}

#[test]
fn successes_errors_and_refusals_alike_carry_the_x_headers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let reset = window_end(START, 60);
    for (path, status) in [("/success", 201), ("/failure", 418), ("/extractor/text", 404)] {
        for (status, remaining) in [(status, 1), (status, 0), (429, 0)] {
            let reply = server.get(path);
            assert_eq!((reply.status, reply.x_headers()), (status, (2, remaining, reset)), "{path}");
        }
    }
}

#[test]
fn retry_after_stands_on_refusals_alone() {
    let (limiter, clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let reset = window_end(START, 60);
    assert_eq!(server.get("/success").header("retry-after"), None);
    assert_eq!(server.get("/success").header("retry-after"), None);
    assert_eq!(server.get("/success").number("retry-after"), reset - START);
    clock.set(reset - 1);
    assert_eq!(server.get("/success").number("retry-after"), 1);
    clock.advance(std::time::Duration::from_millis(999));
    assert_eq!(server.get("/success").number("retry-after"), 1, "rounded up, and never 0");
}

#[test]
fn a_request_that_nobody_counts_has_no_such_header() {
    let (limiter, _clock) = in_memory();
    for server in [Served::limited(&limiter, routes), serve_ietf(&limiter)] {
        for path in ["/unlimited", "/exempt"] {
            let reply = server.get(path);
            assert_eq!((reply.status, rate_limit_headers(&reply)), (200, vec![]), "{path}");
        }
    }
}

#[test]
fn without_the_middleware_only_the_refusal_speaks() {
    let (limiter, _clock) = in_memory();
    let server = Served::start(move |listener| {
        let app = move || App::new().app_data(limiter.clone()).configure(routes);
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    assert_eq!(rate_limit_headers(&server.get("/success")), [""; 0]);
    assert_eq!(server.get("/success").status, 201);
    let refusal = server.get("/success");
    assert_eq!(refusal.status, 429);
    assert!(refusal.header("retry-after").is_some(), "{refusal:?}");
}

#[test]
fn a_header_that_the_handler_set_is_left_alone() {
    let (limiter, _clock) = in_memory();
    let server = serve_ietf(&limiter);
    let reply = server.get("/its-own");
    assert_eq!(reply.all("x-ratelimit-limit"), ["mine"]);
    assert_eq!(reply.all("x-ratelimit-remaining"), ["1"]);
    assert_eq!(reply.all("x-ratelimit-reset"), ["mine too"]);
    assert_eq!(reply.all("ratelimit"), ["and mine", "and mine again"]);
    assert_eq!(reply.all("ratelimit-policy").len(), 1);
}

/// Turns an answer of the handler into an `Err`, as an application's middleware might.
async fn spoil(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = next.call(request).await?;
    Err(ErrorBadGateway(format!("spoiled {}", answer.status().as_u16())))
}

#[test]
fn an_error_of_an_inner_middleware_carries_the_headers_too() {
    let (limiter, _clock) = in_memory();
    let server = Served::start(move |listener| {
        let app = move || {
            let inner = web::scope("").wrap(from_fn(spoil)).configure(routes);
            App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default().ietf()).service(inner)
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    for (body, remaining) in [("spoiled 201", 1), ("spoiled 201", 0), ("spoiled 429", 0)] {
        let reply = server.get("/success");
        assert_eq!((reply.status, reply.body.as_str()), (502, body));
        assert_eq!(reply.x_headers(), (2, remaining, window_end(START, 60)));
        assert!(reply.header("ratelimit").is_some(), "{reply:?}");
    }
}

#[test]
fn headers_are_those_of_the_tightest_rule() {
    let (limiter, clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let hour = window_end(START, 3600);
    for remaining in [2, 1, 0] {
        assert_eq!(server.get("/two-rules").x_headers(), (3, remaining, hour));
    }
    assert_eq!(server.get("/two-rules").x_headers(), (3, 0, hour));
    clock.set(hour);
    for remaining in [2, 1, 0] {
        assert_eq!(server.get("/two-rules").x_headers(), (3, remaining, hour + 3600));
    }
}

#[test]
fn of_equally_tight_rules_the_one_that_ends_last_is_in_the_headers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for remaining in [2, 1, 0] {
        assert_eq!(server.get("/equals").x_headers(), (3, remaining, window_end(START, 3600)));
    }
}

#[test]
fn the_tightest_rule_has_the_fewest_requests_left_whatever_they_cost() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for (status, left) in [(200, 700), (200, 400), (200, 100), (429, 100)] {
        let reply = server.get("/dear");
        let (limit, remaining, _) = reply.x_headers();
        assert_eq!((reply.status, limit, remaining), (status, 1000, left));
    }
}

#[test]
fn after_a_refund_the_headers_are_those_of_the_new_tightest_rule() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for remaining in [2, 1, 0] {
        assert_eq!(server.get("/one-refunded").x_headers(), (3, remaining, window_end(START, 60)));
    }
}

#[test]
fn a_rule_without_x_headers_leaves_them_to_the_tightest_of_the_others() {
    let (limiter, _clock) = in_memory();
    let server = serve_ietf(&limiter);
    for (status, remaining) in [(200, 5), (200, 4), (429, 4)] {
        let reply = server.get("/tightest-silent");
        assert_eq!((reply.status, reply.x_headers()), (status, (6, remaining, window_end(START, 3600))));
        assert_eq!(members(reply.header("ratelimit").expect("RateLimit")).len(), 3, "they list every rule");
    }
    let reply = server.get("/all-silent");
    let names: HashSet<_> = rate_limit_headers(&reply).into_iter().collect();
    assert_eq!(names, HashSet::from(["ratelimit-policy", "ratelimit"]));
}

/// The members of a structured-field list of strings with integer parameters.
fn members(field: &str) -> Vec<(String, HashMap<String, u64>)> {
    let member = |text: &str| {
        let mut parts = split_outside_strings(text, ';').into_iter();
        let name = parts.next()?.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned();
        let parameters = parts.map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        });
        Some((name, parameters.collect::<Option<_>>()?))
    };
    let members: Option<_> = split_outside_strings(field, ',').into_iter().map(member).collect();
    members.unwrap_or_else(|| panic!("{field:?} is no list of strings with integers"))
}

/// No string in these tests has an escape.
fn split_outside_strings(text: &str, at: char) -> Vec<&str> {
    let mut within = false;
    let outside = |char| {
        within ^= char == '"';
        char == at && !within
    };
    text.split(outside).collect()
}

#[test]
fn rules_that_are_alike_but_for_their_keys_have_names_of_their_own() {
    let (limiter, _clock) = in_memory();
    let reply = serve_ietf(&limiter).get("/alike");
    let names = |header| members(reply.header(header).expect(header)).into_iter().map(|(name, _)| name);
    let policies: Vec<_> = names("ratelimit-policy").collect();
    assert_eq!(policies.iter().collect::<HashSet<_>>().len(), 3, "{policies:?}");
    assert_eq!(names("ratelimit").collect::<Vec<_>>(), policies, "each limit names its policy");
}

#[test]
fn the_ietf_headers_list_every_rule() {
    let (limiter, _clock) = in_memory();
    let server = serve_ietf(&limiter);
    let reply = server.get("/two-rules");
    let policies = members(reply.header("ratelimit-policy").expect("RateLimit-Policy"));
    let limits = members(reply.header("ratelimit").expect("RateLimit"));
    assert_eq!((policies.len(), limits.len()), (2, 2));
    let left = |per| window_end(START, per) - START;
    for (quota, window, remaining) in [(10, 60, 9), (3, 3600, 2)] {
        let (name, policy) = policies.iter().find(|(_, policy)| policy["q"] == quota).expect("the rule");
        assert_eq!(policy["w"], window);
        let (_, limit) = limits.iter().find(|(known, _)| known == name).expect("a limit of the policy's name");
        assert_eq!((limit["r"], limit["t"]), (remaining, left(window)));
    }
    assert_ne!(policies[0].0, policies[1].0, "two rules have two names");
}

#[test]
fn the_ietf_headers_stand_on_refusals_and_only_when_asked_for() {
    let (limiter, _clock) = in_memory();
    let (plain, ietf) = (Served::limited(&limiter, routes), serve_ietf(&limiter));
    assert_eq!(plain.get("/success").header("ratelimit"), None);
    assert_eq!(ietf.get("/success").status, 201);
    let refusal = ietf.get("/success");
    assert_eq!(refusal.status, 429);
    let limits = members(refusal.header("ratelimit").expect("RateLimit"));
    assert_eq!((limits[0].1["r"], limits[0].1["t"]), (0, window_end(START, 60) - START));
    assert_eq!(refusal.x_headers(), (2, 0, window_end(START, 60)), "both kinds together");
}

#[test]
fn the_answer_to_head_carries_the_headers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let mut connection = server.open();
    for (status, remaining) in [(201, 1), (201, 0), (429, 0)] {
        let reply = connection.ask("HEAD", "/success", &[]);
        assert_eq!((reply.status, reply.x_headers()), (status, (2, remaining, window_end(START, 60))));
    }
}
