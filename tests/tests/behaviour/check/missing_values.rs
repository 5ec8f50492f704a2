//! Requests without a header, a user or a value, or with an empty one. They count for their address, under a substitute
//! counter that `peek` and `reset` find like any other.

use std::net::IpAddr;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{IntoScope, KeyPart, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::http::Server;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::scope_function;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::until;

use crate::in_memory;
use crate::store::each_store::Shared;

/// A handler at the path of its name for each of these rules, all with a limit of 2.
macro_rules! handlers {
    ($($name:ident($($arguments:tt)*);)*) => {
        $(
            #[ratelimit(limit = 2, per = FOREVER, key = "missing values", $($arguments)*)]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        #[ratelimit(limit = 2, per = FOREVER, scope = "global", key = tenant)]
        async fn key() -> impl Responder {
            HttpResponse::Ok()
        }

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
            config.route("key", web::get().to(key));
        }
    };
}

handlers! {
    ip();
    header(scope = "header:X-Tenant");
    user(scope = "user");
    function(scope = tenant);
    extracting(scope = extracted);
    own_type(scope = own);
    joined(scope = ["header:X-Tenant", tenant]);
}

/// Returns the value of the header, even an empty one. Nothing exempts the request.
fn tenant(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get("x-tenant")?;
    Some(value.to_str().unwrap_or_default().to_owned())
}

async fn extracted(request: HttpRequest) -> Option<String> {
    tenant(&request)
}

struct Own(Option<String>);

impl IntoScope for Own {
    fn into_scope(self) -> Result<Option<KeyPart>, actix_web::Error> {
        Ok(self.0.map(KeyPart::new))
    }
}

fn own(request: &HttpRequest) -> Own {
    Own(tenant(request))
}

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

/// A request from an address with these lines of `X-Tenant`.
struct Arrival(&'static str, [u8; 4], Vec<&'static [u8]>);

/// The status of each request, and the tokens that remain.
async fn answers(arrivals: Vec<Arrival>) -> Vec<(u16, Option<u32>)> {
    let limiter = RateLimiter::builder().user(tenant).clock(in_memory().1).build().expect("a limiter in memory");
    let headers = ratelimit_runtime::RateLimitHeaders::default();
    let app = init_service(App::new().app_data(limiter).wrap(headers).configure(routes)).await;
    let mut answers = Vec::new();
    for Arrival(path, address, lines) in arrivals {
        let mut request = TestRequest::get().uri(path).peer_addr((address, 4711).into());
        for line in lines {
            let name = HeaderName::from_static("x-tenant");
            request = request.append_header((name, HeaderValue::from_bytes(line).expect("a value")));
        }
        let answer = request.send_request(&app).await;
        let remaining = answer.headers().get("x-ratelimit-remaining").map(|left| left.to_str().expect("a number"));
        answers.push((answer.status().as_u16(), remaining.map(|left| left.parse().expect("a number"))));
    }
    answers
}

/// Whether an empty value, or one of white space, counts for the address.
async fn counts_for_the_address(path: &'static str) {
    for blank in [&b""[..], b" ", b"\t", b" \t "] {
        let from = |address, value| Arrival(path, address, vec![value]);
        let told = answers(vec![
            from(HERE, blank),
            from(HERE, blank),
            from(HERE, blank),
            from(THERE, blank),
            from(HERE, b"a"),
            Arrival("/ip", HERE, vec![]),
        ]);
        let counted = [(200, 1), (200, 0), (429, 0), (200, 1), (200, 1), (200, 1)];
        assert_eq!(told.await, counted.map(|(status, left)| (status, Some(left))), "{path} {blank:?}");
    }
}

#[actix_web::test]
async fn an_empty_value_counts_for_the_address() {
    for path in ["/header", "/user", "/function", "/extracting", "/own_type", "/joined", "/key"] {
        counts_for_the_address(path).await;
    }
}

#[actix_web::test]
async fn an_empty_value_is_the_same_as_none() {
    for path in ["/header", "/user"] {
        let told = answers(vec![Arrival(path, HERE, vec![]), Arrival(path, HERE, vec![b""])]);
        assert_eq!(told.await, [(200, Some(1)), (200, Some(0))], "{path}");
    }
}

#[actix_web::test]
async fn an_empty_value_does_not_exempt_as_none_does() {
    for path in ["/function", "/extracting", "/own_type", "/key"] {
        let mut arrivals: Vec<_> = (0..4).map(|_| Arrival(path, HERE, vec![])).collect();
        arrivals.push(Arrival(path, HERE, vec![b""]));
        let told = answers(arrivals).await;
        assert_eq!(told[..4], [(200, None); 4], "{path}");
        assert_eq!(told[4], (200, Some(1)), "{path}");
    }
}

#[actix_web::test]
async fn white_space_around_the_value_of_a_header_does_not_count() {
    let values: [&[u8]; 4] = [b"a b", b" a b", b"a b\t", b"  a b  "];
    let told = answers(values.map(|value| Arrival("/header", HERE, vec![value])).into()).await;
    assert_eq!(told, [(200, Some(1)), (200, Some(0)), (429, Some(0)), (429, Some(0))]);
}

#[actix_web::test]
async fn of_a_header_in_two_lines_the_first_counts_as_it_does_for_a_handler() {
    let told = answers(vec![
        Arrival("/header", HERE, vec![b"a", b"b"]),
        Arrival("/header", HERE, vec![b"a", b"c"]),
        Arrival("/header", HERE, vec![b"a"]),
        Arrival("/header", HERE, vec![b"b", b"a"]),
        // The first line is empty, so the request counts for its address.
        Arrival("/header", HERE, vec![b"", b"a"]),
        Arrival("/header", HERE, vec![]),
    ]);
    assert_eq!(told.await.iter().map(|(_, left)| left.expect("counted")).collect::<Vec<_>>(), [1, 0, 0, 1, 1, 0]);
}

#[actix_web::test]
async fn capitals_and_bytes_that_are_no_text_tell_values_apart() {
    let values: [&[u8]; 5] = [b"key", b"Key", b"\xffkey", b"\xfekey", b"\xc3\xa4"];
    let told = answers(values.map(|value| Arrival("/header", HERE, vec![value])).into()).await;
    assert_eq!(told, [(200, Some(1)); 5]);
}

/// For each request, by its path and its tenant: the substitute counter, and similar counters that are not.
fn stand_ins(address: IpAddr) -> Vec<(&'static str, Option<&'static str>, Target, Vec<Target>)> {
    let target = || Target::new("missing values", 2, FOREVER);
    let elsewhere = THERE.into();
    vec![
        (
            "/header",
            None,
            target().without_header("x-tenant", address),
            vec![target().ip(address), target().without_user(address), target().without_header("x-other", address)],
        ),
        (
            "/header",
            Some(""),
            target().without_header("X-Tenant", address),
            vec![target().header("x-tenant", "127.0.0.1")],
        ),
        (
            "/user",
            None,
            target().without_user(address),
            vec![target().ip(address), target().without_user(elsewhere), target().user("127.0.0.1")],
        ),
        (
            "/function",
            Some(""),
            target().without_value(scope_function!(tenant), address),
            vec![
                target().without_value(scope_function!(own), address),
                target().function(scope_function!(tenant), "127.0.0.1"),
                target().ip(address),
            ],
        ),
        (
            "/joined",
            Some(""),
            target().without_header("x-tenant", address).without_value(scope_function!(tenant), address),
            vec![target().without_value(scope_function!(tenant), address).without_header("x-tenant", address)],
        ),
        (
            "/key",
            Some(""),
            Target::without_key(address, 2, FOREVER).global(),
            vec![Target::given("127.0.0.1", 2, FOREVER), Target::without_key(elsewhere, 2, FOREVER)],
        ),
    ]
}

fn each_stand_in_is_found(store: &Shared) {
    for (path, tenant, target, others) in stand_ins([127, 0, 0, 1].into()) {
        let headers: Vec<_> = tenant.map(|tenant| ("X-Tenant", tenant)).into_iter().collect();
        for used in 1..=2 {
            // Over Redis, a worker may refuse for a second after a reset, from its cache.
            until("a request passes", || store.here.get_with(path, &headers).status == 200);
            assert_eq!(store.peek(&target).remaining(), 2 - used, "{path}, {}", store.name);
        }
        assert_eq!(store.here.get_with(path, &headers).status, 429, "{path}, {}", store.name);
        for other in &others {
            assert_eq!(store.peek(other).remaining(), 2, "{path}, {}: {other:?}", store.name);
            store.reset(other);
        }
        assert_eq!(store.peek(&target).remaining(), 0, "{path}, {}: the reset of another", store.name);
        store.reset(&target);
        assert_eq!(store.peek(&target).remaining(), 2, "{path}, {}", store.name);
    }
}

#[test]
fn a_counter_that_stands_in_is_found_by_its_address() {
    each_stand_in_is_found(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_socket();
        each_stand_in_is_found(&Shared::in_redis(&redis, routes));
        assert_eq!(redis.keys(), [""; 0], "a look, or a reset, leaves a key");
    }
}
