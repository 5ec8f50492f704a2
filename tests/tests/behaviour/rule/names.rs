//! The names of rules in headers and in the 429.

use std::collections::HashSet;

use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpServer, Responder};
use ratelimit_runtime::{RateLimitHeaders, RateLimitState, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::in_memory;

/// A handler at the path of its name for each of these rules, all with a limit of 1; it answers with the names.
macro_rules! handlers {
    ($($name:ident($([$($scope:tt)*])*);)*) => {
        $(
            $(#[ratelimit(limit = 1, per = 60, scope = $($scope)*)])*
            async fn $name(state: RateLimitState) -> impl Responder {
                names(&state)
            }
        )*

        const PATHS: &[&str] = &[$(concat!("/", stringify!($name))),*];

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }
    };
}

handlers! {
    plain(["ip"]);
    joined(["ip+user+header:X-Api-Key"]);
    generic([of::<'"'>]);
    generic_types([typed::<Vec<Option<&'static str>>>]);
    several_generic([of::<'a'>][of::<'b'>][of::<'\\'>]);
    qualified([<Tenants<'>'> as Named>::tenant]);
    foreign([größe]);
    raw([r#type]);
    odd_header(["header:x!#$%&'*.^_`|~"]);
    long([a_function_whose_name_is_so_long_that_nobody_would_want_it_in_a_header_of_every_answer_that_is_sent]);
    long_and_alike(
        [a_function_whose_name_is_so_long_that_nobody_would_want_it_in_a_header_of_every_answer_that_is_sent]
        [a_function_whose_name_is_so_long_that_nobody_would_want_it_in_a_header_of_every_answer_that_is_sent_2]
    );
    very_joined([["header:x-a-rather-long-name", "header:x-another-long-name", "header:x-and-one-more", "ip", "user"]]);
}

fn names(state: &RateLimitState) -> String {
    state.rules().map(|rule| rule.name()).collect::<Vec<_>>().join(" ")
}

fn of<const SIGN: char>(_: &HttpRequest) -> String {
    SIGN.to_string()
}

fn typed<T>(_: &HttpRequest) -> &'static str {
    std::any::type_name::<T>()
}

struct Tenants<const SIGN: char>;

trait Named {
    fn tenant(request: &HttpRequest) -> String;
}

impl<const SIGN: char> Named for Tenants<SIGN> {
    fn tenant(_: &HttpRequest) -> String {
        SIGN.to_string()
    }
}

fn größe(_: &HttpRequest) -> u32 {
    1
}

fn r#type(_: &HttpRequest) -> u32 {
    2
}

fn a_function_whose_name_is_so_long_that_nobody_would_want_it_in_a_header_of_every_answer_that_is_sent(
    _: &HttpRequest,
) -> u32 {
    3
}

fn a_function_whose_name_is_so_long_that_nobody_would_want_it_in_a_header_of_every_answer_that_is_sent_2(
    _: &HttpRequest,
) -> u32 {
    4
}

fn serve() -> Served {
    let limiter = ratelimit_runtime::RateLimiter::builder()
        .user(of::<'u'>)
        .clock(in_memory().1)
        .build()
        .expect("a limiter in memory");
    Served::start(move |listener| {
        let app =
            move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default().ietf()).configure(routes);
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    })
}

/// The names in a list of structured fields.
fn listed(field: &str) -> Vec<String> {
    let name = |item: &str| item.trim().strip_prefix('"')?.split_once("\";").map(|(name, _)| name.to_owned());
    field.split(',').map(|item| name(item).unwrap_or_else(|| panic!("{field}"))).collect()
}

#[test]
fn a_name_is_short_and_stands_in_headers_and_json_as_it_is() {
    let server = serve();
    for path in PATHS {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        let names: Vec<&str> = reply.body.split(' ').collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{path}: {names:?}");
        for name in &names {
            assert!(name.len() <= 66, "{name}");
            let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_.:+/".contains(char);
            assert!(name.chars().all(is_plain), "{name}");
        }
        for header in ["ratelimit-policy", "ratelimit"] {
            assert_eq!(listed(reply.header(header).expect(header)), names, "{path}");
        }
        let refusal = server.get(path);
        assert_eq!(refusal.status, 429, "{path}");
        let body: serde_json::Value = serde_json::from_str(&refusal.body).expect("JSON");
        assert_eq!(body["violated-policies"], serde_json::json!(names), "{path}");
    }
}

#[test]
fn a_rule_name_has_the_scope_and_the_rate() {
    let server = serve();
    for (path, name) in [
        ("/plain", "ip:1/60s"),
        ("/joined", "ip+user+x-api-key:1/60s"),
        ("/raw", "type:1/60s"),
        ("/odd_header", "x_______._____:1/60s"),
    ] {
        assert_eq!(server.get(path).body, name);
    }
}
