//! Makes checks in memory and nothing else, for instructions.sh to count: `checks KIND NUMBER`.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::expect_used, clippy::panic)]

use ratelimit_benches::{
    load::{Keys, Load, Verdict},
    offline::{self, Application},
};
use ratelimit_runtime::RateLimiter;

const USAGE: &str =
    "usage: checks bare|admitted|headers|refused|middleware|plan|cost|settled|places|block|blocked NUMBER";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, number] = arguments.as_slice() else { panic!("{USAGE}") };
    let number = number.parse().expect(USAGE);
    let limiter = RateLimiter::in_memory();
    let load = |verdict| Load { verdict, keys: Keys::One };
    match what.as_str() {
        "bare" => make(number, 200, &offline::bare(&limiter)),
        "admitted" => make(number, 200, &offline::limited(load(Verdict::Admitted), &limiter)),
        "headers" => make(number, 200, &offline::limited_with_headers(load(Verdict::Admitted), &limiter)),
        "refused" => make(number, 429, &offline::limited(load(Verdict::Refused), &limiter)),
        "middleware" => make(number, 200, &offline::in_middleware(&limiter)),
        "plan" => make(number, 200, &offline::planned(&limiter)),
        "cost" => make(number, 200, &offline::priced(&limiter)),
        "places" => make(number, 200, &offline::placed(&limiter)),
        "block" => make(number, 200, &offline::blocking(&limiter)),
        "blocked" => make(number, 429, &offline::blocked(&limiter)),
        "settled" => make(number, 200, &offline::settled(&limiter)),
        _ => panic!("{USAGE}"),
    }
}

fn make(number: u32, status: u16, service: &impl Application) {
    let address = offline::address(0);
    // Whatever the verdict, the first request is admitted.
    offline::call(service, offline::request(address));
    for _ in 0..number {
        assert_eq!(offline::call(service, offline::request(address)).as_u16(), status, "a wrong answer");
    }
}
