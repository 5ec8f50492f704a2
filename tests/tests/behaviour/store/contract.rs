//! What holds for each algorithm in each store: in memory, in Redis, and in a cluster.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimitState, ratelimit};
use ratelimit_tests::http::{Connection, Reply, Server};
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::store::each_store::{Shared, wanted};

/// Windows whose edge no test meets: they end in the year 2038.
const WINDOW: u32 = 1_073_741_823;

/// As long as GCRA may take for all of its tokens: one comes back in weeks.
const REFILL: u32 = 90 * 86_400;

const TWO: u64 = 2;

/// The handlers of one algorithm, each of which lets 5 pass.
struct Handlers {
    name: &'static str,
    /// What `/counted` has counted, without its scope.
    counted: fn() -> Target,
}

impl Handlers {
    fn path(&self, handler: &str) -> String {
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

        const ALGORITHMS: &[Handlers] =
            &[$(Handlers { name: stringify!($module), counted: $module::target }),*];

        fn routes(config: &mut ServiceConfig) {
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

/// Holds a request back until it is opened.
struct Gate(usize);

static OPEN_GATES: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

impl Gate {
    fn closed() -> Self {
        static GATES: AtomicUsize = AtomicUsize::new(0);
        Self(GATES.fetch_add(1, SeqCst))
    }

    fn open(&self) {
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

/// What holds for each algorithm: `id` is a client that has not been here.
type Check = fn(&Shared, &Handlers, &str);

fn in_each_store(name: &str, check: Check) {
    let memory = Shared::in_memory(routes);
    with_each_algorithm(&memory, name, check);
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_socket();
        with_each_algorithm(&Shared::in_redis(&redis, routes), name, check);
        assert_eq!(redis.keys_without_expiry(), [""; 0]);
    }
}

fn with_each_algorithm(store: &Shared, name: &str, check: Check) {
    for handlers in ALGORITHMS {
        println!("{name}: {}, {}", handlers.name, store.name);
        check(store, handlers, name);
    }
}

macro_rules! contract {
    ($(fn $name:ident($store:ident: _, $handlers:ident: _, $id:ident: _) $body:block)*) => {
        $(
            #[test]
            fn $name() {
                in_each_store(stringify!($name), checks::$name);
            }
        )*

        #[cfg(feature = "redis")]
        #[test]
        fn all_of_this_holds_in_a_cluster() {
            let cluster = RedisCluster::steady();
            let store = Shared::in_cluster(&cluster, routes);
            $(with_each_algorithm(&store, stringify!($name), checks::$name);)*
            assert_eq!(cluster.keys_without_expiry(), [""; 0]);
        }

        mod checks {
            use super::*;

            $(
                #[allow(unused_variables)]
                pub(super) fn $name($store: &Shared, $handlers: &Handlers, $id: &str) $body
            )*
        }
    };
}

fn ask(server: &impl Server, path: &str, id: &str) -> (u16, u64) {
    let reply = server.get_with(path, &[("X-Id", id)]);
    (reply.status, reply.number("x-ratelimit-remaining"))
}

fn left(store: &Shared, handlers: &Handlers, id: &str) -> u32 {
    store.peek(&(handlers.counted)().header("x-id", id)).remaining()
}

contract! {
    fn exactly_the_limit_passes(store: _, handlers: _, id: _) {
        let path = handlers.path("counted");
        for (server, remaining) in [(&store.here, 4), (&store.there, 3), (&store.here, 2), (&store.there, 1)] {
            assert_eq!(ask(server, &path, id), (200, remaining));
        }
        let last = store.here.get_with(&path, &[("X-Id", id)]);
        assert_eq!((last.status, last.x_headers().0, last.x_headers().1), (200, 5, 0));
        for server in [&store.there, &store.here, &store.there] {
            assert_eq!(ask(server, &path, id), (429, 0));
        }
        assert_eq!(left(store, handlers, id), 0);
        assert_eq!(ask(&store.here, &path, "another"), (200, 4));
        store.reset(&(handlers.counted)().header("x-id", "another"));
    }

    fn exactly_the_limit_passes_of_many_at_once(store: _, handlers: _, id: _) {
        for (path, expected) in [("counted", 5), ("three", 1), ("two", 2), ("weighed?4", 1)] {
            let id = format!("{id} {path}");
            let path = handlers.path(path);
            let request = ratelimit_tests::http::request("GET", &path, &[("X-Id", &id)]).repeat(4);
            let ask = |mut connection: Connection| {
                let request = request.clone();
                thread::spawn(move || {
                    connection.send(&request);
                    (0..4).filter(|_| connection.reply().status == 200).count()
                })
            };
            let connections = [&store.here, &store.there].into_iter().flat_map(|server| [(); 6].map(|()| server.open()));
            let threads: Vec<_> = connections.map(ask).collect();
            let passed: usize = threads.into_iter().map(|thread| thread.join().expect("a client")).sum();
            assert_eq!(passed, expected, "{path}");
        }
    }

    fn a_request_costs_what_it_says_or_nothing(store: _, handlers: _, id: _) {
        for (server, handler, expected) in [
            (&store.here, "three", (200, 2)),
            (&store.there, "three", (429, 2)),
            (&store.here, "weighed?0", (200, 2)),
            (&store.there, "weighed?3", (429, 2)),
            (&store.here, "weighed?18446744073709551615", (429, 2)),
            (&store.there, "rows/6", (429, 2)),
            (&store.here, "rows/1", (200, 1)),
            (&store.there, "two", (429, 1)),
            (&store.here, "counted", (200, 0)),
            (&store.there, "counted", (429, 0)),
            (&store.here, "weighed?0", (200, 0)),
            (&store.there, "rows/0", (200, 0)),
        ] {
            assert_eq!(ask(server, &handlers.path(handler), id), expected, "{handler}");
        }
        store.reset(&(handlers.counted)().header("x-id", id));
        let two = |expected| wait::until("a worker that has been refused asks again", || {
            ask(&store.here, &handlers.path("two"), id) == expected
        });
        two((200, 3));
        two((200, 1));
        assert_eq!(ask(&store.here, &handlers.path("two"), id), (429, 1));
    }

    fn an_error_of_a_function_answers_and_costs_nothing(store: _, handlers: _, id: _) {
        for handler in ["cost-fails", "rows/none", "unless-partner/broken"] {
            let reply = store.here.get_with(&handlers.path(handler), &[("X-Id", id)]);
            assert!([404, 418].contains(&reply.status), "{handler}: {reply:?}");
            assert_eq!(reply.header("x-ratelimit-limit"), None, "{handler}");
        }
        assert_eq!(left(store, handlers, id), 5);
    }

    fn a_response_that_does_not_count_is_refunded(store: _, handlers: _, id: _) {
        let login = |status: &str| store.here.get_with(&handlers.path("login"), &[("X-Id", id), ("X-Status", status)]);
        let remaining = |reply: &Reply| (reply.status, reply.number("x-ratelimit-remaining"));
        for remains in (0..5).rev() {
            let success = login("200");
            assert_eq!(remaining(&success), (200, u64::from(remains) + 1));
            wait::until("a success is given back", || left(store, handlers, id) == remains + 1);
            assert_eq!(remaining(&login("403")), (403, remains.into()));
            assert_eq!(left(store, handlers, id), remains);
        }
        assert_eq!(remaining(&login("200")), (429, 0));
        assert_eq!(left(store, handlers, id), 0);
    }

    fn an_extractor_that_fails_is_a_response_too(store: _, handlers: _, id: _) {
        // It is no JSON.
        for _ in 0..8 {
            assert_eq!(ask(&store.here, &handlers.path("order"), id), (400, 5));
            wait::until("an error is given back", || left(store, handlers, id) == 5);
        }
    }

    fn an_exempt_request_is_neither_counted_nor_refused(store: _, handlers: _, id: _) {
        let monitor = || store.here.get_with(&handlers.path("unless-monitor"), &[("X-Id", id), ("X-Monitor", "1")]);
        let partner = |name: &str| {
            store.there.get_with(&handlers.path(&format!("unless-partner/{name}")), &[("X-Id", id)])
        };
        for remaining in [4, 2, 0] {
            for exempt in [monitor(), partner("partner")] {
                assert_eq!((exempt.status, exempt.header("x-ratelimit-limit")), (200, None));
            }
            assert_eq!(ask(&store.here, &handlers.path("unless-monitor"), id), (200, remaining));
            if remaining > 0 {
                assert_eq!(partner("other").x_headers().1, remaining - 1);
            }
        }
        assert_eq!((partner("other").status, monitor().status, partner("partner").status), (429, 200, 200));
    }

    fn only_the_methods_that_are_named_count(store: _, handlers: _, id: _) {
        let ask = |method: &str| store.here.open().ask(method, &handlers.path("written"), &[("X-Id", id)]);
        for (method, remaining) in [("POST", Some("4")), ("GET", None), ("PUT", Some("3")), ("DELETE", None), ("HEAD", None)] {
            let reply = ask(method);
            assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (200, remaining), "{method}");
        }
        for _ in 0..3 {
            assert_eq!(ask("POST").status, 200);
        }
        assert_eq!(["POST", "PUT", "GET", "post"].map(|method| ask(method).status), [429, 429, 200, 200]);
    }

    fn a_function_that_panics_leaves_nothing_counted(store: _, handlers: _, id: _) {
        let breaks = |handler: &str| {
            let mut connection = store.here.open();
            connection.send(&ratelimit_tests::http::request("GET", &handlers.path(handler), &[("X-Id", id)]));
            assert!(connection.is_closed(), "{handler}: an answer to a handler that panics");
        };
        for _ in 0..3 {
            breaks("cost-panics");
            breaks("exempt-panics");
        }
        assert_eq!(left(store, handlers, id), 5);
        // Whether it counts, nobody said: it stays counted.
        breaks("count-if-panics");
        assert_eq!(left(store, handlers, id), 4);
        assert_eq!(ask(&store.here, &handlers.path("counted"), id), (200, 3));
    }

    fn a_look_counts_nothing_and_sees_what_the_headers_say(store: _, handlers: _, id: _) {
        let target = (handlers.counted)().header("x-id", id);
        let unused = store.peek(&target);
        assert_eq!((unused.limit(), unused.remaining()), (5, 5));
        for handler in ["counted", "two", "two", "two"] {
            let (limit, remaining, reset) = store.here.get_with(&handlers.path(handler), &[("X-Id", id)]).x_headers();
            for _ in 0..3 {
                let peek = store.peek(&target);
                assert_eq!((u64::from(peek.limit()), u64::from(peek.remaining())), (limit, remaining), "{handler}");
                // Of a refused request, the headers say when it fits.
                if handlers.name.starts_with("fixed") || remaining != 0 {
                    assert_eq!(peek.reset_at(), reset, "{handler}");
                }
            }
        }
    }

    fn a_reset_admits_again(store: _, handlers: _, id: _) {
        let target = (handlers.counted)().header("x-id", id);
        let path = handlers.path("counted");
        for round in 0..2 {
            for _ in 0..8 {
                // Often enough that each worker knows it.
                ask(&store.here, &path, id);
                ask(&store.there, &path, id);
            }
            assert_eq!((ask(&store.here, &path, id), ask(&store.there, &path, id)), ((429, 0), (429, 0)));
            store.reset(&target);
            assert_eq!(store.peek(&target).remaining(), 5);
            let took = wait::until("those who were refused are admitted", || ask(&store.here, &path, id).0 == 200);
            assert!(took.as_secs() < 3, "refused for {took:?} after a reset, in round {round}");
        }
        store.reset(&(handlers.counted)().header("x-id", "nobody was here"));
    }

    fn a_refund_after_a_reset_is_taken_from_the_new_count(store: _, handlers: _, id: _) {
        let (gate, mut held) = (Gate::closed(), store.here.open());
        let headers = [("X-Id", id), ("X-Gate", &gate.0.to_string())];
        held.send(&ratelimit_tests::http::request("GET", &handlers.path("held"), &headers));
        wait::until("the request is counted", || left(store, handlers, id) == 4);
        store.reset(&(handlers.counted)().header("x-id", id));
        for remaining in [4, 3] {
            assert_eq!(ask(&store.there, &handlers.path("counted"), id), (200, remaining));
        }
        gate.open();
        assert_eq!(held.reply().status, 200);
        wait::until("the request is given back", || left(store, handlers, id) == 4);
    }
}

#[test]
fn rules_of_several_algorithms_are_all_or_nothing() {
    mixed_rules(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    {
        let (redis, cluster) = (RedisServer::on_socket(), RedisCluster::steady());
        mixed_rules(&Shared::in_redis(&redis, routes));
        mixed_rules(&Shared::in_cluster(&cluster, routes));
        assert_eq!((redis.keys_without_expiry(), cluster.keys_without_expiry()), (vec![], vec![]));
    }
}

fn mixed_rules(store: &Shared) {
    let ask = |server: &ratelimit_tests::app::Served, fixed: &str, sliding: &str, gcra: &str| {
        let headers = [("X-Fixed", fixed), ("X-Sliding", sliding), ("X-Gcra", gcra), ("X-Watched", "all")];
        let reply = server.get_with("/mixed", &headers);
        (reply.status, reply.body)
    };
    let ok = |body: &str| (200, body.to_owned());
    assert_eq!(ask(&store.here, "a", "a", "a"), ok("[4, 4, 0, 0]"), "{}", store.name);
    for server in [&store.here, &store.there, &store.here] {
        assert_eq!(ask(server, "a", "a", "a").0, 429, "{}", store.name);
    }
    assert_eq!(ask(&store.there, "a", "a", "b"), ok("[3, 3, 0, 0]"), "{}", store.name);
    for (gcra, expected) in ["c", "d", "e"].into_iter().zip(["[2, 4, 0, 0]", "[1, 3, 0, 0]", "[0, 2, 0, 0]"]) {
        assert_eq!(ask(&store.here, "a", "b", gcra), ok(expected), "{}", store.name);
    }
    for server in [&store.here, &store.there] {
        assert_eq!(ask(server, "a", "c", "f").0, 429, "{}", store.name);
    }
    assert_eq!(ask(&store.there, "b", "c", "f"), ok("[4, 4, 0, 0]"), "{}: what was refused counted", store.name);
}
