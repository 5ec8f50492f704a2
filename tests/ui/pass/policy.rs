//! Policies in statics of each kind, and handlers under them.

#![deny(warnings)]

use actix_web::{App, HttpRequest, web};
use ratelimit_runtime::{Policy, RateLimit, policy, ratelimit};

mod policies {
    use ratelimit_runtime::Policy;

    pub(crate) static LOGIN: Policy = ratelimit_runtime::policy!("5/minute", key = "login", scope = "ip");

    pub(crate) static API: Policy = ratelimit_runtime::policy!(
        ("10/second; 100/minute", scope = "ip"),
        (limit = 1000, per = "1 day", scope = ["user", super::tenant], cost = 2, over_limit = "allow"),
        key = "api",
        crate = ::ratelimit_runtime,
    );
}

const LIMIT: u32 = 7;

static CONSTANTS: Policy = policy!(limit = if LIMIT > 5 { LIMIT } else { 5 }, per = 60, key = "constants");
static GENERIC: Policy = policy!("5/minute", scope = named::<u8, u16>, key = "generic");
static ONE_IN_PARENTHESES: Policy = policy!(("5/minute"), key = "one");

fn tenant(_: &HttpRequest) -> String {
    String::new()
}

fn named<A, B>(_: &HttpRequest) -> String {
    format!("{} {}", size_of::<A>(), size_of::<B>())
}

#[ratelimit(policy = policies::LOGIN)]
async fn login() -> &'static str {
    "text"
}

#[ratelimit(policy = policies::API, crate = ::ratelimit_runtime)]
#[ratelimit("10/s", scope = "user")]
#[ratelimit(policy = CONSTANTS)]
async fn several() -> &'static str {
    "text"
}

struct Api;

impl Api {
    #[ratelimit(policy = GENERIC)]
    async fn associated<T: 'static>(_: web::Query<Vec<(String, String)>>) -> &'static str {
        std::any::type_name::<T>()
    }
}

fn main() {
    static LOCAL: Policy = policy!("5/minute", key = "local");
    let app = App::new().wrap(RateLimit::new(&LOCAL)).wrap(RateLimit::new(&ONE_IN_PARENTHESES));
    let _ = app
        .route("/login", web::get().to(login))
        .route("/several", web::get().to(several))
        .route("/associated", web::get().to(Api::associated::<u8>));
}
