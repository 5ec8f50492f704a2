//! The forms of the headers: the reset as a delta, and the older drafts of the IETF.

use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, web};
use ratelimit_runtime::{IetfDraft, Rate, RateLimitHeaders, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};

use crate::{START, in_memory, window_end};

#[ratelimit("100/minute")]
async fn one_rule() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("10/minute")]
#[ratelimit("3/hour")]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

/// The second and the fourth rule have the same limit, and so have the other two.
#[ratelimit("3/minute", scope = "ip")]
#[ratelimit("2/minute", scope = "ip")]
#[ratelimit("3/hour", scope = "global")]
#[ratelimit("2/hour", scope = "global")]
async fn equal_limits() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("9/minute", scope = "global", send_x_headers = false)]
async fn silent() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 60, algorithm = "gcra", burst = 4)]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan, scope = "global")]
async fn planned() -> impl Responder {
    HttpResponse::Ok()
}

fn plan(_: &HttpRequest) -> Rate {
    Rate::per_minute(7)
}

#[ratelimit("9/minute", exempt = everybody)]
async fn exempt() -> impl Responder {
    HttpResponse::Ok()
}

fn everybody(_: &HttpRequest) -> bool {
    true
}

fn serve(limiter: &RateLimiter, headers: RateLimitHeaders) -> Served {
    let limiter = limiter.clone();
    Served::start(move |listener| {
        let app = move || {
            App::new()
                .app_data(limiter.clone())
                .wrap(headers.clone())
                .route("/one", web::get().to(one_rule))
                .route("/two", web::get().to(two_rules))
                .route("/equal", web::get().to(equal_limits))
                .route("/silent", web::get().to(silent))
                .route("/gcra", web::get().to(gcra))
                .route("/planned", web::get().to(planned))
                .route("/exempt", web::get().to(exempt))
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    })
}

/// The fields without `X-`, sorted.
fn ietf_fields(reply: &Reply) -> Vec<(&str, &str)> {
    let fields = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| name.starts_with("ratelimit")).collect();
    fields.sort_unstable();
    fields
}

#[test]
fn reset_in_seconds_writes_what_is_left_of_the_window() {
    let (limiter, clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().reset_in_seconds());
    let end = window_end(START, 60);
    assert_eq!(server.get("/one").x_headers(), (100, 99, end - START));
    clock.set(end - 1);
    assert_eq!(server.get("/one").x_headers(), (100, 98, 1));
    clock.advance(Duration::from_millis(999));
    assert_eq!(server.get("/one").x_headers(), (100, 97, 1), "rounded up, and never 0");
    clock.advance(Duration::from_millis(1));
    assert_eq!(server.get("/one").x_headers(), (100, 99, 60), "a new window");
}

#[test]
fn reset_in_seconds_agrees_with_retry_after() {
    let (limiter, _clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().reset_in_seconds());
    let replies: Vec<_> = (0..5).map(|_| server.get("/gcra")).collect();
    let resets: Vec<_> = replies.iter().map(Reply::x_headers).collect();
    assert_eq!(resets, [(4, 3, 30), (4, 2, 60), (4, 1, 90), (4, 0, 120), (4, 0, 30)]);
    assert_eq!((replies[4].status, replies[4].number("retry-after")), (429, 30));
}

#[test]
fn draft_6_has_a_field_for_each_number() {
    let (limiter, _clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft6));
    let left = (window_end(START, 60) - START).to_string();
    let expected = [
        ("ratelimit-limit", "100"),
        ("ratelimit-policy", "100;w=60"),
        ("ratelimit-remaining", "99"),
        ("ratelimit-reset", &left),
    ];
    let reply = server.get("/one");
    assert_eq!(ietf_fields(&reply), expected);
    assert_eq!(reply.x_headers(), (100, 99, window_end(START, 60)), "beside those with X-");
}

#[test]
fn draft_7_has_one_field_for_the_numbers() {
    let (limiter, _clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft7));
    let numbers = format!("limit=100, remaining=99, reset={}", window_end(START, 60) - START);
    let expected = [("ratelimit", numbers.as_str()), ("ratelimit-policy", "100;w=60")];
    assert_eq!(ietf_fields(&server.get("/one")), expected);
}

#[test]
fn ietf_writes_draft_10() {
    let (limiter, _clock) = in_memory();
    let left = window_end(START, 60) - START;
    for (remaining, headers) in [
        (99, RateLimitHeaders::default().ietf()),
        (98, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft10)),
        (97, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft6).ietf()),
    ] {
        let numbers = format!("\"ip:100/60s\";r={remaining};t={left}");
        let expected = [("ratelimit", numbers.as_str()), ("ratelimit-policy", "\"ip:100/60s\";q=100;w=60")];
        assert_eq!(ietf_fields(&serve(&limiter, headers).get("/one")), expected);
    }
}

#[test]
fn older_drafts_speak_of_the_tightest_of_several_rules() {
    let (limiter, _clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft7));
    let left = window_end(START, 3600) - START;
    for (status, remaining) in [(200, 2), (200, 1), (200, 0), (429, 0)] {
        let reply = server.get("/two");
        let numbers = format!("limit=3, remaining={remaining}, reset={left}");
        let expected = [("ratelimit", numbers.as_str()), ("ratelimit-policy", "10;w=60, 3;w=3600")];
        assert_eq!((reply.status, ietf_fields(&reply)), (status, expected.to_vec()));
    }
}

#[test]
fn older_drafts_list_each_limit_once_and_the_tightest_rule_always() {
    let (limiter, _clock) = in_memory();
    for draft in [IetfDraft::Draft6, IetfDraft::Draft7] {
        let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(draft));
        assert_eq!(server.get("/equal").header("ratelimit-policy"), Some("3;w=60, 2;w=3600"), "{draft:?}");
    }
}

#[test]
fn older_drafts_list_rules_that_send_no_x_headers() {
    let (limiter, _clock) = in_memory();
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft6));
    let reply = server.get("/silent");
    assert_eq!((ietf_fields(&reply).len(), reply.header("x-ratelimit-limit")), (4, None));
}

#[test]
fn older_drafts_write_the_rate_of_the_request() {
    let (limiter, _clock) = in_memory();
    let left = (window_end(START, 60) - START).to_string();
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft6));
    let expected = [
        ("ratelimit-limit", "7"),
        ("ratelimit-policy", "7;w=60"),
        ("ratelimit-remaining", "6"),
        ("ratelimit-reset", &left),
    ];
    assert_eq!(ietf_fields(&server.get("/planned")), expected);
    let server = serve(&limiter, RateLimitHeaders::default().ietf_draft(IetfDraft::Draft7));
    let numbers = format!("limit=7, remaining=5, reset={left}");
    let expected = [("ratelimit", numbers.as_str()), ("ratelimit-policy", "7;w=60")];
    assert_eq!(ietf_fields(&server.get("/planned")), expected);
}

#[test]
fn a_request_that_nobody_counts_has_no_field_of_any_draft() {
    let (limiter, _clock) = in_memory();
    for draft in [IetfDraft::Draft6, IetfDraft::Draft7, IetfDraft::Draft10] {
        let headers = RateLimitHeaders::default().reset_in_seconds().ietf_draft(draft);
        assert_eq!(ietf_fields(&serve(&limiter, headers).get("/exempt")), [], "{draft:?}");
    }
}
