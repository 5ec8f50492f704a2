//! Every form of every argument.

#![deny(warnings)]
#![allow(unused_qualifications)] // A path is written as it is on purpose.

use actix_web::{App, Error, HttpRequest, HttpResponse, web};
use ratelimit_runtime::{RateLimitState, ratelimit};

const LIMIT: u32 = 300;
const COST_2: u64 = 5;

mod config {
    pub(crate) const WINDOW: usize = 60;
    pub(crate) struct Api;
    impl Api {
        pub(crate) const LIMIT: i64 = 10;
    }
}

fn plain(request: &HttpRequest) -> String {
    request.path().to_owned()
}

// Named as the parameters of the closures in the output are.
fn request(_: &HttpRequest) -> Option<String> {
    None
}

async fn tenant(path: web::Path<String>) -> String {
    path.into_inner()
}

fn generic<T>(_: &HttpRequest) -> String {
    std::any::type_name::<T>().to_owned()
}

fn sorry(_: &HttpRequest, _: &RateLimitState) -> HttpResponse {
    HttpResponse::TooManyRequests().finish()
}

fn weight(_: &HttpRequest) -> u128 {
    5
}

async fn rows(rows: web::Path<u8>) -> Result<u8, std::io::Error> {
    Ok(rows.into_inner())
}

fn office(_: &HttpRequest) -> Result<bool, Error> {
    Ok(true)
}

async fn partner(partners: web::Data<Vec<String>>) -> bool {
    partners.is_empty()
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn any_body<B>(response: &HttpResponse<B>) -> bool {
    response.status().is_success()
}

async fn state() -> &'static str {
    "sorry"
}

macro_rules! handlers {
    ($($name:ident: #[$attribute:meta])*) => {
        $(
            #[$attribute]
            async fn $name() -> &'static str {
                "text"
            }
        )*

        fn main() {
            let _app = App::new()$(.route(stringify!($name), web::get().to($name)))*;
        }
    };
}

handlers! {
    limit: #[ratelimit(limit = 300)]
    limit_underscores: #[ratelimit(limit = 1_000)]
    limit_hexadecimal: #[ratelimit(limit = 0xff)]
    limit_suffix: #[ratelimit(limit = 300u64, per = 1i8)]
    limit_largest: #[ratelimit(limit = 4294967295, per = 2147483647)]
    limit_const: #[ratelimit(limit = LIMIT)]
    limit_path: #[ratelimit(limit = crate::config::Api::LIMIT, per = config::WINDOW)]
    limit_qualified: #[ratelimit(limit = <config::Api>::LIMIT)]
    limit_foreign: #[ratelimit(limit = u8::MAX, per = std::primitive::u16::MAX)]
    per: #[ratelimit(limit = 300, per = 60)]
    per_text: #[ratelimit(limit = 300, per = "1h 30m")]
    trailing_comma: #[ratelimit(limit = 300, per = "90s",)]
    rate: #[ratelimit("300/5m")]
    rates: #[ratelimit("10 per second; 1000/hour, 5000 per 2 days")]
    raw_rate: #[ratelimit(r#"300/5m"#)]
    rate_last: #[ratelimit(scope = "user", "300/5m")]
    ip: #[ratelimit("300/5m", scope = "ip")]
    user: #[ratelimit("300/5m", scope = "user")]
    global: #[ratelimit("300/5m", scope = "global")]
    header: #[ratelimit("300/5m", scope = "header:X-Api-Key")]
    joined: #[ratelimit("300/5m", scope = "ip + user+header:X-Api-Key")]
    function: #[ratelimit("300/5m", scope = plain)]
    shadowed: #[ratelimit("300/5m", scope = request, key = request, over_limit = state)]
    extractors: #[ratelimit("300/5m", scope = tenant)]
    generic_function: #[ratelimit("300/5m", scope = generic::<u8>)]
    array: #[ratelimit("300/5m", scope = ["ip", "user+header:X-Tenant", self::tenant])]
    key: #[ratelimit("300/5m", key = "search")]
    key_function: #[ratelimit("300/5m", key = plain)]
    over_limit_function: #[ratelimit("300/5m", over_limit = sorry)]
    over_limit_handler: #[ratelimit("300/5m", over_limit = state)]
    over_limit_allow: #[ratelimit("300/5m", over_limit = "allow")]
    headers: #[ratelimit("300/5m", send_x_headers = true)]
    no_headers: #[ratelimit("300/5m", send_x_headers = false)]
    store_local: #[ratelimit("300/5m", on_store_error = "local")]
    store_allow: #[ratelimit("300/5m", on_store_error = "allow")]
    store_deny: #[ratelimit("300/5m", on_store_error = "deny")]
    fixed_window: #[ratelimit("300/5m", algorithm = "fixed-window")]
    sliding_window: #[ratelimit("300/5m", algorithm = "sliding-window")]
    gcra: #[ratelimit("300/5m", algorithm = "gcra")]
    gcra_const: #[ratelimit(limit = LIMIT, algorithm = "gcra")]
    gcra_rates: #[ratelimit("10/second; 1000/hour", algorithm = "gcra")]
    burst: #[ratelimit("300/5m", algorithm = "gcra", burst = 20)]
    burst_above_the_limit: #[ratelimit("1/s", burst = 7776000, algorithm = "gcra")]
    burst_const: #[ratelimit("300/5m", algorithm = "gcra", burst = config::WINDOW)]
    stagger: #[ratelimit("300/5m", stagger = true)]
    stagger_sliding_window: #[ratelimit("300/5m", algorithm = "sliding-window", stagger = true)]
    stagger_rates: #[ratelimit("10/second; 1000/hour", stagger = true)]
    no_stagger: #[ratelimit("300/5m", algorithm = "gcra", stagger = false)]
    cost: #[ratelimit("300/5m", cost = 5)]
    cost_of_all: #[ratelimit("10/second; 1000/hour", cost = 10)]
    cost_above_the_limit: #[ratelimit("1/s", algorithm = "gcra", burst = 10, cost = 10)]
    cost_const: #[ratelimit("300/5m", cost = COST_2)]
    cost_path: #[ratelimit("300/5m", cost = config::Api::LIMIT)]
    cost_function: #[ratelimit("300/5m", cost = weight)]
    cost_handler: #[ratelimit("300/5m", cost = self::rows)]
    count_if: #[ratelimit("300/5m", count_if = failed)]
    count_if_generic: #[ratelimit("300/5m", count_if = any_body)]
    exempt: #[ratelimit("300/5m", exempt = office)]
    exempt_handler: #[ratelimit("300/5m", exempt = partner)]
    methods: #[ratelimit("300/5m", methods = ["POST", "PUT"])]
    method: #[ratelimit("300/5m", methods = "POST")]
    methods_of_others: #[ratelimit("300/5m", methods = ["PURGE", "propfind", "M-SEARCH"])]
    lease: #[ratelimit("300/5m", lease = 100)]
    lease_of_all: #[ratelimit(limit = LIMIT, lease = 300)]
    lease_const: #[ratelimit(limit = LIMIT, lease = config::WINDOW)]
    lease_with_cost: #[ratelimit("300/5m", cost = 10, lease = 10)]
    lease_with_cost_const: #[ratelimit("300/5m", cost = COST_2, lease = 10)]
    lease_staggered: #[ratelimit("300/5m", stagger = true, lease = 10)]
    no_lease_with_cost: #[ratelimit("300/5m", cost = COST_2, lease = 1)]
    no_lease: #[ratelimit("300/5m", lease = 1)]
    crate_path: #[ratelimit("300/5m", crate = ::ratelimit_runtime)]
    crate_text: #[ratelimit("300/5m", crate = "::ratelimit_runtime")]
    everything: #[ratelimit(
        limit = LIMIT,
        per = "5m",
        algorithm = "fixed-window",
        stagger = true,
        scope = ["ip", tenant],
        key = plain,
        cost = COST_2,
        exempt = office,
        methods = ["GET"],
        over_limit = sorry,
        send_x_headers = false,
        on_store_error = "deny",
        lease = 10,
        crate = ::ratelimit_runtime,
    )]
}
