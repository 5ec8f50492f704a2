//! The subject that a rule counts.

use actix_web::dev::Payload;
use actix_web::error::{ErrorForbidden, ErrorUnauthorized};
use actix_web::http::header::HeaderName;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, TrustedProxies, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use std::future::{Ready, ready};

use crate::in_memory;

/// A handler at the path of its name for each of these scopes, all with a limit of 1.
macro_rules! handlers {
    ($($name:ident($($scope:tt)*);)*) => {
        $(
            #[ratelimit(limit = 1, per = 60, scope = $($scope)*)]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }
    };
}

handlers! {
    ip("ip");
    user("user");
    global("global");
    api_key("header:X-Api-Key");
    ip_and_user("ip+user");
    key_and_tenant(["header:x-api-key", tenant]);
    plain(tenant);
    plain_static(kind);
    plain_borrowed(borrowed_tenant);
    plain_number(number);
    optional(optional_tenant);
    fallible(fallible_tenant);
    with_an_extractor(claimed);
    with_extractors(claimed_and_path);
    in_a_module(functions::tenant);
}

fn header<'a>(request: &'a HttpRequest, name: &'static str) -> Option<&'a str> {
    request.headers().get(HeaderName::from_static(name))?.to_str().ok()
}

fn tenant(request: &HttpRequest) -> String {
    header(request, "x-tenant").unwrap_or("nobody").to_owned()
}

fn borrowed_tenant(request: &HttpRequest) -> Option<&str> {
    header(request, "x-tenant")
}

fn kind(request: &HttpRequest) -> &'static str {
    if header(request, "x-tenant").is_some() { "tenant" } else { "guest" }
}

fn number(request: &HttpRequest) -> u64 {
    header(request, "x-tenant").map_or(0, |tenant| tenant.len() as u64)
}

fn optional_tenant(request: &HttpRequest) -> Option<String> {
    header(request, "x-tenant").map(str::to_owned)
}

fn fallible_tenant(request: &HttpRequest) -> Result<String, Error> {
    header(request, "x-tenant").map(str::to_owned).ok_or_else(|| ErrorForbidden("no tenant"))
}

/// An extractor that fails without its header.
struct Claims(String);

impl FromRequest for Claims {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let claims = header(request, "x-tenant").map(|tenant| Self(tenant.to_owned()));
        ready(claims.ok_or_else(|| ErrorUnauthorized("no claims")))
    }
}

async fn claimed(claims: Claims) -> String {
    claims.0
}

async fn claimed_and_path(claims: Option<Claims>, request: HttpRequest) -> Option<String> {
    Some(format!("{}{}", claims?.0, request.path()))
}

mod functions {
    use super::HttpRequest;

    pub(super) fn tenant(request: &HttpRequest) -> String {
        super::tenant(request)
    }
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// The status of one more request to `path` with these headers.
fn status(server: &Served, path: &str, headers: Headers<'_>) -> u16 {
    server.get_with(path, headers).status
}

/// Whether the two kinds of requests have a counter each.
fn are_counted_apart(server: &Served, path: &str, first: Headers<'_>, second: Headers<'_>) -> bool {
    assert_eq!(status(server, path, first), 200, "{path} {first:?}");
    assert_eq!(status(server, path, first), 429, "{path} {first:?}");
    status(server, path, second) == 200
}

fn serve() -> Served {
    Served::limited(&in_memory().0, routes)
}

/// A server that takes the address and the user from headers.
fn serve_with_users() -> Served {
    let limiter = RateLimiter::builder()
        .trusted_proxies(TrustedProxies::hops(1))
        .user(|request: &HttpRequest| header(request, "x-user").map(str::to_owned))
        .build()
        .expect("a limiter in memory");
    Served::limited(&limiter, routes)
}

const ALICE: (&str, &str) = ("X-User", "alice");
const BOB: (&str, &str) = ("X-User", "bob");
const HERE: (&str, &str) = ("X-Forwarded-For", "192.0.2.1");
const THERE: (&str, &str) = ("X-Forwarded-For", "192.0.2.2");

#[test]
fn ip_counts_addresses() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/ip", &[HERE, ALICE], &[THERE, ALICE]));
}

#[test]
fn global_counts_everybody_together() {
    let server = serve_with_users();
    assert!(!are_counted_apart(&server, "/global", &[HERE, ALICE], &[THERE, BOB]));
}

#[test]
fn user_counts_users_wherever_they_are() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/user", &[HERE, ALICE], &[HERE, BOB]));
    assert_eq!(status(&server, "/user", &[THERE, ALICE]), 429);
}

#[test]
fn user_counts_the_address_of_those_who_are_nobody() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/user", &[HERE], &[THERE]));
    assert_eq!(status(&server, "/user", &[HERE, ALICE]), 200);
}

#[test]
fn a_user_whose_name_is_an_address_is_not_that_address() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/user", &[HERE, ("X-User", "ip:192.0.2.2")], &[THERE]));
    assert!(are_counted_apart(&server, "/user", &[HERE, ("X-User", "192.0.2.9")], &[("X-Forwarded-For", "192.0.2.9")]));
}

#[test]
fn user_without_a_user_function_is_an_error_that_names_the_setting() {
    let server = serve();
    assert_eq!(status(&server, "/user", &[ALICE]), 500);
    assert_eq!(status(&server, "/ip", &[]), 200, "other handlers are not touched");
}

#[test]
fn the_user_function_may_be_written_like_a_handler() {
    let limiter = RateLimiter::builder().user(claimed).build().expect("a limiter in memory");
    let server = Served::limited(&limiter, routes);
    assert!(are_counted_apart(&server, "/user", &[("X-Tenant", "a")], &[("X-Tenant", "b")]));
    let reply = server.get("/user");
    assert_eq!((reply.status, reply.body.as_str()), (401, "no claims"));
}

#[test]
fn a_header_counts_its_values_and_its_name_has_no_case() {
    let server = serve();
    assert!(are_counted_apart(&server, "/api_key", &[("x-api-key", "a")], &[("X-API-KEY", "b")]));
}

#[test]
fn a_request_without_the_header_is_counted_by_its_address() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/api_key", &[HERE], &[THERE]));
    assert_eq!(status(&server, "/api_key", &[HERE, ("X-Api-Key", "a")]), 200);
}

#[test]
fn joined_scopes_count_each_pair() {
    let server = serve_with_users();
    assert!(are_counted_apart(&server, "/ip_and_user", &[HERE, ALICE], &[HERE, BOB]));
    assert_eq!(status(&server, "/ip_and_user", &[THERE, ALICE]), 200);
    assert_eq!(status(&server, "/ip_and_user", &[THERE, BOB]), 200);
    assert_eq!(status(&server, "/ip_and_user", &[THERE, BOB]), 429);
}

#[test]
fn functions_of_every_shape_say_whom_to_count() {
    let server = serve();
    for path in [
        "/plain",
        "/plain_borrowed",
        "/plain_number",
        "/optional",
        "/fallible",
        "/with_an_extractor",
        "/with_extractors",
        "/in_a_module",
    ] {
        assert!(are_counted_apart(&server, path, &[("X-Tenant", "a")], &[("X-Tenant", "bb")]), "{path}");
    }
    assert!(are_counted_apart(&server, "/plain_static", &[("X-Tenant", "a")], &[]));
    let (a, b) = ([("X-Tenant", "a"), ("X-Api-Key", "k")], [("X-Tenant", "b"), ("X-Api-Key", "k")]);
    assert!(are_counted_apart(&server, "/key_and_tenant", &a, &b));
}

#[test]
fn none_exempts_the_request() {
    let server = serve();
    for path in ["/optional", "/with_extractors"] {
        for _ in 0..3 {
            let reply = server.get(path);
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.header("x-ratelimit-limit"), None, "{path}: nothing is counted, so nothing is told");
        }
    }
}

#[test]
fn an_error_of_a_scope_function_or_its_extractor_is_the_answer() {
    let server = serve();
    for (path, status, body) in [("/fallible", 403, "no tenant"), ("/with_an_extractor", 401, "no claims")] {
        for _ in 0..2 {
            let reply = server.get(path);
            assert_eq!((reply.status, reply.body.as_str()), (status, body), "{path}");
        }
    }
}

#[test]
fn no_value_of_a_client_collides_with_another() {
    let long = "x".repeat(5000);
    let longer = format!("{long}y");
    let values = [
        "a",
        "A",
        "a/b",
        "a%2Fb",
        "a%252Fb",
        "a+b",
        "a b",
        "a%20b",
        "a:b",
        "a=b",
        "!",
        "!a",
        "ip:127.0.0.1",
        "global",
        "*",
        "a/1-60/global/1700000040",
        "%",
        "%00",
        "..",
        &long,
        &longer,
        "\u{e4}",
        "\u{f6}",
    ];
    let server = serve();
    let mut connection = server.open();
    for path in ["/api_key", "/plain"] {
        for value in values {
            // `to_str` fails on some values. The tenant is "nobody" then.
            let headers = [("X-Api-Key", value), ("X-Tenant", value)];
            if path == "/api_key" || value.is_ascii() {
                assert_eq!(connection.ask("GET", path, &headers).status, 200, "{path} {value}");
                assert_eq!(connection.ask("GET", path, &headers).status, 429, "{path} {value}");
            }
        }
    }
}

#[test]
fn the_parts_of_a_joined_scope_cannot_be_shifted() {
    let server = serve();
    let shifted = |key: &'static str, tenant: &'static str| [("X-Api-Key", key), ("X-Tenant", tenant)];
    let mut connection = server.open();
    for (key, tenant) in [("a", "b+c"), ("a+b", "c"), ("a+fn:tenant=b", "c"), ("a", "b+fn:tenant=c"), ("a%2Bb", "c")] {
        let statuses = [1, 2].map(|_| connection.ask("GET", "/key_and_tenant", &shifted(key, tenant)).status);
        assert_eq!(statuses, [200, 429], "{key} {tenant}");
    }
}
