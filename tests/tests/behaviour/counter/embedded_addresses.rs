//! Clients whose IPv6 address contains an IPv4 address count for that address.

use std::future::Future;
use std::net::IpAddr;

use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpRequest, HttpResponse, Responder, get};
use ratelimit_runtime::{RateLimiter, RateLimiterBuilder, TrustedProxies, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::target::Target;

const CLIENT: &str = "192.0.2.33";

/// Addresses that all contain [`CLIENT`].
const SAME: [&str; 9] = [
    "::ffff:192.0.2.33",
    "::192.0.2.33",
    "::ffff:0:192.0.2.33",
    "64:ff9b::192.0.2.33",
    "64:ff9b:1:c000:2:2100::",
    "64:ff9b:1:ffc0:0:221::",
    "64:ff9b:1:ffff:c0:2:2100:0",
    "64:ff9b:1:ffff::192.0.2.33",
    "2002:c000:221:ffff:1:2:3:4",
];

/// Teredo, with another server and another port each time.
const TEREDO: [&str; 2] = ["2001:0:102:304:8000:63bf:3fff:fdde", "2001::a:3fff:fdde"];

#[get("/")]
#[ratelimit(limit = 100, per = FOREVER, key = "a key")]
async fn counted() -> impl Responder {
    HttpResponse::Ok()
}

async fn ask(limiter: &RateLimiter, request: TestRequest) {
    let app = init_service(App::new().app_data(limiter.clone()).service(counted)).await;
    assert_eq!(request.uri("/").send_request(&app).await.status(), 200);
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

fn from(peer: &str) -> TestRequest {
    TestRequest::get().peer_addr((address(peer), 4711).into())
}

fn used(limiter: &RateLimiter, client: &str) -> impl Future<Output = u32> + use<> {
    let (limiter, target) = (limiter.clone(), Target::new("a key", 100, FOREVER).ip(address(client)));
    async move { 100 - target.peek(&limiter).await.expect("memory").remaining() }
}

/// Whether requests from two addresses count for one client.
async fn is_one(builder: RateLimiterBuilder, one: &str, other: &str) -> bool {
    let limiter = builder.build().expect("a limiter in memory");
    ask(&limiter, from(one)).await;
    assert_eq!(used(&limiter, one).await, 1, "{one}");
    let is_one = used(&limiter, other).await == 1;
    ask(&limiter, from(other)).await;
    assert_eq!(used(&limiter, one).await, if is_one { 2 } else { 1 }, "{one} and {other}");
    is_one
}

#[actix_web::test]
async fn an_embedded_ipv4_address_is_that_client() {
    for text in SAME.into_iter().chain(TEREDO) {
        assert!(is_one(RateLimiter::builder(), text, CLIENT).await, "{text}");
    }
}

#[actix_web::test]
async fn clients_behind_one_translator_are_counted_apart() {
    for (one, other) in [
        ("64:ff9b::192.0.2.33", "64:ff9b::192.0.2.34"),
        ("64:ff9b:1::192.0.2.33", "64:ff9b:1::192.0.2.34"),
        ("64:ff9b:1:c000:2:2100::", "64:ff9b:1:c000:2:2200::"),
        ("2001:0:102:304:8000:63bf:3fff:fdde", "2001:0:102:304:8000:63bf:3fff:fddd"),
        ("::192.0.2.33", "::192.0.2.34"),
    ] {
        assert!(!is_one(RateLimiter::builder(), one, other).await, "{one} and {other}");
    }
}

#[actix_web::test]
async fn a_client_of_6to4_is_one_whatever_network_behind_its_tunnel_it_uses() {
    assert!(is_one(RateLimiter::builder(), "2002:c000:221:1::1", "2002:c000:221:ffff::2").await);
}

#[actix_web::test]
async fn an_address_that_the_client_chooses_itself_is_not_believed() {
    for (chosen, network) in [
        ("2001:db8:1:2:0:5efe:192.0.2.33", "2001:db8:1:2::1"),
        ("2001:db8:1:2:200:5efe:192.0.2.33", "2001:db8:1:2::1"),
        ("2001:db8:1:2::192.0.2.33", "2001:db8:1:2::1"),
        ("2001:db8:1:2:0:ffff:192.0.2.33", "2001:db8:1:2::1"),
        ("64:ff9b:0:1::192.0.2.33", "64:ff9b:0:1::1"),
        ("2001:1::3fff:fdde", "2001:1::1"),
    ] {
        assert!(!is_one(RateLimiter::builder(), chosen, CLIENT).await, "{chosen}");
        assert!(is_one(RateLimiter::builder(), chosen, network).await, "{chosen}");
    }
}

#[actix_web::test]
async fn loopback_of_ipv6_is_no_ipv4_address() {
    for other in ["0.0.0.1", "127.0.0.1", "::ffff:0.0.0.1"] {
        assert!(!is_one(RateLimiter::builder(), "::1", other).await, "{other}");
    }
}

#[actix_web::test]
async fn an_address_in_a_forwarding_header_is_read_in_the_same_way() {
    for text in SAME.into_iter().chain(TEREDO) {
        let proxies = TrustedProxies::networks(["10.0.0.1"]).expect("an address");
        let limiter = RateLimiter::builder().trusted_proxies(proxies).build().expect("a limiter in memory");
        for header in [text.to_owned(), format!("[{text}]:4711")] {
            ask(&limiter, from("10.0.0.1").insert_header(("X-Forwarded-For", header))).await;
        }
        assert_eq!(used(&limiter, CLIENT).await, 2, "{text}");
    }
}

#[actix_web::test]
async fn a_proxy_is_not_trusted_for_the_address_within_its_own() {
    let proxies = TrustedProxies::networks(["10.0.0.1"]).expect("an address");
    let limiter = RateLimiter::builder().trusted_proxies(proxies).build().expect("a limiter in memory");
    ask(&limiter, from("64:ff9b::10.0.0.1").insert_header(("X-Forwarded-For", CLIENT))).await;
    assert_eq!((used(&limiter, CLIENT).await, used(&limiter, "10.0.0.1").await), (0, 1));
}

#[actix_web::test]
async fn a_prefix_of_a_network_of_ones_own_is_set() {
    // The examples of RFC 6052, section 2.4.
    for (prefix, text) in [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b:1:c000::/56", "64:ff9b:1:c0c0:0:221::"),
    ] {
        let builder = || RateLimiter::builder().nat64_prefix(prefix);
        assert!(is_one(builder(), text, CLIENT).await, "{text}");
        assert!(!is_one(builder(), text, "2001:db9::1").await);
        assert!(is_one(builder(), "64:ff9b::192.0.2.33", CLIENT).await, "{prefix} beside the well-known one");
    }
    let both = || RateLimiter::builder().nat64_prefix("2001:db8:1::/96").nat64_prefix("2001:db8:2::/96");
    assert!(is_one(both(), "2001:db8:1::192.0.2.33", "2001:db8:2::192.0.2.33").await);
}

#[get("/claimed")]
#[ratelimit(limit = 1, per = FOREVER, scope = claimed_address)]
async fn claimed() -> impl Responder {
    HttpResponse::Ok()
}

fn claimed_address(request: &HttpRequest) -> Option<IpAddr> {
    request.headers().get("x-real-ip")?.to_str().ok()?.parse().ok()
}

#[actix_web::test]
async fn an_address_that_a_function_gives_is_one_client_in_both_forms_of_ipv4() {
    let app = init_service(App::new().app_data(RateLimiter::in_memory()).service(claimed)).await;
    let mut statuses = Vec::new();
    for address in ["192.0.2.33", "::ffff:192.0.2.33", "2001:db8::1", "2001:db8::2"] {
        let request = TestRequest::get().uri("/claimed").insert_header(("X-Real-IP", address));
        statuses.push(request.send_request(&app).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 429, 200, 200], "each address of IPv6 is a value of its own");
}

#[test]
fn a_prefix_that_is_none_is_an_error_that_names_it() {
    for text in ["", "2001:db8::", "2001:db8::/65", "2001:db8::/128", "192.0.2.0/24", "nat64"] {
        let limiter = RateLimiter::builder().nat64_prefix(text).nat64_prefix("2001:db8:1::/96").build();
        let error = limiter.err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
    }
}
