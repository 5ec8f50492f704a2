//! The arguments of the attribute, one by one. Scopes and `over_limit` have modules of their own.

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::{START, in_memory, window_end};

const SEVEN: u32 = 7;

mod constants {
    pub(super) const NINE: usize = 9;
    pub(super) const MINUTE: u64 = 60;
}

/// A handler for each way to write a limit, and its meaning.
macro_rules! handlers {
    ($($name:ident($($arguments:tt)*) => $limit:expr, $per:expr;)*) => {
        $(
            #[ratelimit($($arguments)*)]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }

        const EXPECTED: &[(&str, u64, u64)] = &[$( (stringify!($name), $limit, $per) ),*];
    };
}

handlers! {
    integers(limit = 5, per = 60) => 5, 60;
    the_default_window(limit = 1_000) => 1000, 300;
    the_order_does_not_matter(per = 60, limit = 5) => 5, 60;
    constants_here(limit = SEVEN, per = constants::MINUTE) => 7, 60;
    constants_elsewhere(limit = constants::NINE, per = constants::MINUTE) => 9, 60;
    the_most(limit = 4_294_967_295, per = 2_147_483_647) => 4_294_967_295, 2_147_483_647;
    seconds(limit = 5, per = "90s") => 5, 90;
    minutes(limit = 5, per = "5m") => 5, 300;
    mixed_units(limit = 5, per = "1h 30m") => 5, 5400;
    rate_with_a_short_unit("300/5m") => 300, 300;
    rate_with_an_hour("4/1h") => 4, 3600;
    rate_with_per("10 per second") => 10, 1;
    rate_with_a_multiple("20 per 2 hours") => 20, 7200;
    rate_per_minute("3/minute") => 3, 60;
    rate_per_day("100/d") => 100, 86_400;
    rate_per_weeks("2 per 3 weeks") => 2, 1_814_400;
    rate_per_month("5/month") => 5, 2_592_000;
    rate_per_year("5/year") => 5, 31_536_000;
    rate_with_seconds("7/30s") => 7, 30;
    rate_with_minutes("7 per 2 m") => 7, 120;
    rate_in_capitals("7 Per 2 Minutes") => 7, 120;
    rate_with_other_arguments("6/minute", scope = "global", key = "six") => 6, 60;
    another_name_of_the_runtime(limit = 5, per = 60, crate = crate::http::attribute::renamed) => 5, 60;
}

/// The runtime as a dependency under another name.
mod renamed {
    pub(super) use ratelimit_runtime::codegen;
}

#[test]
fn limit_and_per_are_read_in_each_of_their_forms() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for (name, limit, per) in EXPECTED {
        let reply = server.get(&format!("/{name}"));
        assert_eq!(reply.status, 200, "{name}");
        assert_eq!(reply.x_headers(), (*limit, limit - 1, window_end(START, *per)), "{name}");
    }
}

#[ratelimit(limit = 3, per = 60)]
async fn three() -> impl Responder {
    HttpResponse::Ok()
}

fn serve_three() -> (Served, ManualClock) {
    let (limiter, clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/", web::get().to(three));
    });
    (server, clock)
}

#[test]
fn as_many_requests_as_the_limit_pass_and_the_next_is_refused() {
    let (server, _clock) = serve_three();
    assert_eq!(server.statuses("/", 5), [200, 200, 200, 429, 429]);
}

#[test]
fn the_next_window_starts_at_a_multiple_of_its_length() {
    let (server, clock) = serve_three();
    assert_eq!(server.statuses("/", 4), [200, 200, 200, 429]);
    clock.set(window_end(START, 60) - 1);
    assert_eq!(server.statuses("/", 1), [429], "one second before the edge");
    clock.set(window_end(START, 60));
    assert_eq!(server.statuses("/", 4), [200, 200, 200, 429], "at the edge");
}

#[test]
fn a_clock_that_is_moved_by_half_a_second_twice_is_a_second_later() {
    let (server, clock) = serve_three();
    clock.set(window_end(START, 60) - 1);
    assert_eq!(server.statuses("/", 4), [200, 200, 200, 429]);
    for status in [429, 200] {
        clock.advance(Duration::from_millis(500));
        assert_eq!(server.get("/").status, status);
    }
}

#[ratelimit(limit = 1, per = 60, send_x_headers = false)]
async fn silent() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = 60, send_x_headers = true)]
async fn outspoken() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn x_headers_are_sent_unless_the_attribute_says_otherwise() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/silent", web::get().to(silent)).route("/outspoken", web::get().to(outspoken));
    });
    for status in [200, 429] {
        let (silent, outspoken) = (server.get("/silent"), server.get("/outspoken"));
        assert_eq!((silent.status, outspoken.status), (status, status));
        assert!(silent.headers.iter().all(|(name, _)| !name.starts_with("x-ratelimit")), "{silent:?}");
        assert_eq!(outspoken.x_headers(), (1, 0, window_end(START, 60)));
    }
}

#[test]
fn a_refusal_says_when_to_come_back_even_without_x_headers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/", web::get().to(silent));
    });
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/").number("retry-after"), window_end(START, 60) - START);
}
