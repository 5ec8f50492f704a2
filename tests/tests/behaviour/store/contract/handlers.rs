//! The handlers of the contract: the same set for each algorithm, with each argument that changes the count.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimitState, ratelimit};
use ratelimit_tests::target::Target;

use crate::store::each_store::wanted;

/// Windows that end in the year 2038, so no test meets their edge.
const WINDOW: u32 = 1_073_741_823;

/// The longest time in which GCRA's tokens may come back: one token takes weeks.
const REFILL: u32 = 90 * 86_400;

const TWO: u64 = 2;

/// The handlers of one algorithm. Each admits 5 requests.
pub(crate) struct Handlers {
    pub(crate) name: &'static str,
    /// The counter of `/counted`, without its scope.
    pub(crate) counted: fn() -> Target,
}

impl Handlers {
    pub(crate) fn path(&self, handler: &str) -> String {
        format!("/{}/{handler}", self.name)
    }
}

macro_rules! algorithms {
    ($($module:ident: ($limit:expr, $per:expr) ($($arguments:tt)*) $(.$target:ident($($argument:tt)*))*;)*) => {
        $(
            mod $module {
                use super::*;

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", $($arguments)*)]
                async fn counted() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = 3, $($arguments)*)]
                async fn three() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = TWO, $($arguments)*)]
                async fn two() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = weight, $($arguments)*)]
                async fn weighed() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = rows, $($arguments)*)]
                async fn rows_of(_: web::Path<u64>) -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", count_if = failed, $($arguments)*)]
                async fn login(request: HttpRequest) -> impl Responder {
                    wanted(&request)
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", count_if = failed, $($arguments)*)]
                async fn held(request: HttpRequest) -> impl Responder {
                    Gate::wait_for(&request).await;
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", count_if = succeeded, $($arguments)*)]
                async fn order(_: web::Json<u32>) -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", exempt = monitor, $($arguments)*)]
                async fn unless_monitor() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", exempt = partner, $($arguments)*)]
                async fn unless_partner(_: web::Path<String>) -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", methods = ["POST", "PUT"], $($arguments)*)]
                async fn written() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = fails, $($arguments)*)]
                async fn cost_fails() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", cost = panics, $($arguments)*)]
                async fn cost_panics() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", exempt = exempt_panics, $($arguments)*)]
                async fn exempt_panics_() -> impl Responder {
                    HttpResponse::Ok()
                }

                #[ratelimit(limit = LIMIT, per = PER, scope = "header:x-id", key = "counted", count_if = count_if_panics, $($arguments)*)]
                async fn count_if_panics_() -> impl Responder {
                    HttpResponse::Ok()
                }

                const LIMIT: u32 = $limit;
                const PER: u32 = $per;

                pub(super) fn target() -> Target {
                    Target::new("counted", LIMIT, PER)$(.$target($($argument)*))*
                }

                pub(super) fn routes(config: &mut ServiceConfig) {
                    let path = |handler: &str| format!("/{}/{handler}", stringify!($module));
                    config.route(&path("counted"), web::get().to(counted)).route(&path("three"), web::get().to(three));
                    config.route(&path("two"), web::get().to(two)).route(&path("weighed"), web::get().to(weighed));
                    config.route(&path("rows/{rows}"), web::get().to(rows_of)).route(&path("login"), web::get().to(login));
                    config.route(&path("order"), web::get().to(order)).route(&path("held"), web::get().to(held));
                    config.route(&path("unless-monitor"), web::get().to(unless_monitor));
                    config.route(&path("unless-partner/{name}"), web::get().to(unless_partner));
                    config.route(&path("written"), web::to(written)).route(&path("cost-fails"), web::get().to(cost_fails));
                    config.route(&path("cost-panics"), web::get().to(cost_panics));
                    config.route(&path("exempt-panics"), web::get().to(exempt_panics_));
                    config.route(&path("count-if-panics"), web::get().to(count_if_panics_));
                }
            }
        )*

        pub(crate) const ALGORITHMS: &[Handlers] =
            &[$(Handlers { name: stringify!($module), counted: $module::target }),*];

        pub(crate) fn routes(config: &mut ServiceConfig) {
            $($module::routes(config);)*
            config.route("/mixed", web::get().to(mixed));
        }
    };
}

algorithms! {
    fixed: (5, WINDOW) ();
    staggered: (5, WINDOW) (stagger = true).stagger();
    sliding: (5, WINDOW) (algorithm = "sliding-window").sliding_window();
    sliding_staggered: (5, WINDOW) (algorithm = "sliding-window", stagger = true).sliding_window().stagger();
    gcra: (5, REFILL) (algorithm = "gcra").gcra(5);
    gcra_with_burst: (50, 10 * (REFILL - 1)) (algorithm = "gcra", burst = 5).gcra(5);
}

#[ratelimit(limit = 5, per = WINDOW, scope = "header:x-fixed")]
#[ratelimit(limit = 5, per = WINDOW, scope = "header:x-sliding", algorithm = "sliding-window")]
#[ratelimit(limit = 2, per = REFILL, scope = "header:x-gcra", algorithm = "gcra", cost = 2)]
#[ratelimit(limit = 1, per = WINDOW, scope = "header:x-watched", over_limit = "allow")]
async fn mixed(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

fn weight(request: &HttpRequest) -> u64 {
    request.query_string().parse().expect("a number")
}

async fn rows(rows: web::Path<u64>) -> u64 {
    rows.into_inner()
}

fn fails(_: &HttpRequest) -> Result<u8, actix_web::Error> {
    Err(actix_web::error::ErrorImATeapot("no cost"))
}

fn panics(_: &HttpRequest) -> u8 {
    panic!("a cost function that panics")
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn succeeded(response: &HttpResponse) -> bool {
    response.status().is_success()
}

fn count_if_panics(_: &HttpResponse) -> bool {
    panic!("a count_if function that panics")
}

fn monitor(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-monitor")
}

async fn exempt_panics(_: HttpRequest) -> bool {
    panic!("an exempt function that panics")
}

async fn partner(name: web::Path<String>) -> Result<bool, actix_web::Error> {
    match name.as_str() {
        "broken" => Err(actix_web::error::ErrorImATeapot("no partner")),
        name => Ok(name == "partner"),
    }
}

/// Holds a request back until a test opens it.
pub(crate) struct Gate(pub(crate) usize);

static OPEN_GATES: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

impl Gate {
    pub(crate) fn closed() -> Self {
        static GATES: AtomicUsize = AtomicUsize::new(0);
        Self(GATES.fetch_add(1, SeqCst))
    }

    pub(crate) fn open(&self) {
        OPEN_GATES.lock().unwrap().insert(self.0);
    }

    /// Waits for the gate that the request names.
    async fn wait_for(request: &HttpRequest) {
        let gate = request.headers().get("x-gate").and_then(|gate| gate.to_str().ok()?.parse().ok());
        let gate = gate.expect("the number of a gate");
        while !OPEN_GATES.lock().unwrap().contains(&gate) {
            actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
