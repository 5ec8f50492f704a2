//! Every form of every argument.

#![deny(warnings)]
#![allow(unused_qualifications)] // A path is written as it is on purpose.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::{App, Error, HttpRequest, HttpResponse, Responder, web};
use ratelimit_runtime::{RateLimitState, ratelimit};

const LIMIT: u32 = 300;
const COST_2: u64 = 5;
const DEBT: i64 = -10;
const POSITIVE: NonZeroU32 = NonZeroU32::new(7).unwrap();

macro_rules! number {
    () => {
        30
    };
}

mod config {
    pub(crate) const WINDOW: usize = 60;
    pub(crate) const HOUR: super::Duration = super::Duration::from_secs(3600);
    pub(crate) const LIMITS: [u16; 2] = [10, 20];
    pub(crate) const fn of(factor: u32) -> u32 {
        factor * 10
    }
    pub(crate) struct Sizes {
        pub(crate) page: u8,
    }
    pub(crate) const SIZES: Sizes = Sizes { page: 20 };
    pub(crate) struct Api;
    impl Api {
        pub(crate) const LIMIT: i64 = 10;
    }
}

fn plain(request: &HttpRequest) -> String {
    request.path().to_owned()
}

fn borrowed(request: &HttpRequest) -> Option<&str> {
    request.headers().get("x-tenant")?.to_str().ok()
}

fn copied_if_need_be(request: &HttpRequest) -> Result<Cow<'_, str>, Error> {
    Ok(request.path().into())
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

async fn sorry_handler() -> &'static str {
    "sorry"
}

// In this edition, the result may borrow from both arguments, as far as the compiler knows.
fn opaque(_: &HttpRequest, _: &RateLimitState) -> impl Responder {
    "sorry"
}

fn borrowed_answer<'a>(request: &'a HttpRequest, _: &RateLimitState) -> Borrowed<'a> {
    Borrowed(request.path())
}

struct Borrowed<'a>(&'a str);

impl Responder for Borrowed<'_> {
    type Body = String;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse<String> {
        HttpResponse::with_body(actix_web::http::StatusCode::CONFLICT, self.0.to_owned())
    }
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
    limit_product: #[ratelimit(limit = 60 * 5)]
    limit_product_beyond_i32: #[ratelimit(limit = 60_000 * 60_000)]
    limit_product_of_const: #[ratelimit(limit = LIMIT * 2, per = 60 * 60 * 24)]
    limit_negated: #[ratelimit(limit = -DEBT)]
    limit_block: #[ratelimit(limit = { LIMIT })]
    limit_labelled_block: #[ratelimit(limit = 'found: { break 'found LIMIT })]
    limit_field: #[ratelimit(limit = config::SIZES.page)]
    limit_parentheses: #[ratelimit(limit = (LIMIT), per = (60))]
    limit_cast: #[ratelimit(limit = COST_2 as u32)]
    limit_method: #[ratelimit(limit = POSITIVE.get())]
    limit_positive: #[ratelimit(limit = POSITIVE, per = POSITIVE)]
    limit_call: #[ratelimit(limit = config::of(5))]
    limit_index: #[ratelimit(limit = config::LIMITS[1])]
    limit_length: #[ratelimit(limit = config::LIMITS.len())]
    limit_condition: #[ratelimit(limit = if cfg!(debug_assertions) { 10 } else { 1000 })]
    limit_choice: #[ratelimit(limit = match LIMIT { 300 => 5, _ => 10 })]
    limit_macro: #[ratelimit(limit = number!(), per = number!() * 2)]
    limit_shifted: #[ratelimit(limit = 1 << 10u8)]
    limit_of_a_const_block: #[ratelimit(limit = const { LIMIT + 1 })]
    per_duration: #[ratelimit(limit = 300, per = config::HOUR)]
    per_duration_call: #[ratelimit(limit = 300, per = Duration::from_secs(60))]
    per_duration_condition: #[ratelimit(limit = 300, per = if cfg!(test) { Duration::MAX } else { config::HOUR })]
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
    header_after_a_space: #[ratelimit("300/5m", scope = "header: X-Api-Key")]
    joined: #[ratelimit("300/5m", scope = "ip + user+header:X-Api-Key")]
    function: #[ratelimit("300/5m", scope = plain)]
    function_borrowing: #[ratelimit("300/5m", scope = borrowed, key = copied_if_need_be)]
    extractors: #[ratelimit("300/5m", scope = tenant)]
    generic_function: #[ratelimit("300/5m", scope = generic::<u8>)]
    array: #[ratelimit("300/5m", scope = ["ip", "user+header:X-Tenant", self::tenant])]
    key: #[ratelimit("300/5m", key = "search")]
    key_function: #[ratelimit("300/5m", key = plain)]
    over_limit_function: #[ratelimit("300/5m", over_limit = sorry)]
    over_limit_handler: #[ratelimit("300/5m", over_limit = sorry_handler)]
    over_limit_opaque: #[ratelimit("300/5m", over_limit = opaque)]
    over_limit_borrowing: #[ratelimit("300/5m", over_limit = borrowed_answer)]
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
    burst_expression: #[ratelimit("300/5m", algorithm = "gcra", burst = LIMIT / 2)]
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
    cost_expression: #[ratelimit("300/5m", cost = COST_2 + 1)]
    cost_call: #[ratelimit("300/5m", cost = config::of(2))]
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
    lease_expression: #[ratelimit(limit = LIMIT, lease = LIMIT / 10)]
    lease_with_cost: #[ratelimit("300/5m", cost = 10, lease = 10)]
    lease_with_cost_const: #[ratelimit("300/5m", cost = COST_2, lease = 10)]
    lease_staggered: #[ratelimit("300/5m", stagger = true, lease = 10)]
    no_lease_with_cost: #[ratelimit("300/5m", cost = COST_2, lease = 1)]
    no_lease_with_any_cost: #[ratelimit("300/5m", cost = 5, lease = 1)]
    no_lease: #[ratelimit("300/5m", lease = 1)]
    concurrency: #[ratelimit(concurrency = 2)]
    concurrency_beside_a_rate: #[ratelimit("10/s; 300/5m", concurrency = 2, hold = "30s", scope = "user")]
    concurrency_beside_a_limit: #[ratelimit(limit = LIMIT, per = 60, concurrency = 2, hold = 30)]
    concurrency_const: #[ratelimit(concurrency = LIMIT, hold = config::HOUR)]
    concurrency_expression: #[ratelimit(concurrency = LIMIT / 10, hold = 60 * 2, on_store_error = "deny")]
    concurrency_shadow: #[ratelimit(concurrency = 1, over_limit = "allow", exempt = office, methods = ["POST"])]
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
