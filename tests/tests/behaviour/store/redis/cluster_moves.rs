//! A slot that moves from one primary to another for a long time: some counters are at one, some at the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::{RedisCluster, SlotMove};
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;

const WINDOW: u32 = 1_073_741_823;
const REFILL: u32 = 90 * 86_400;

/// The limit of every path.
const LIMIT: usize = 6;

/// Each rule alone, and rules of all algorithms together with one that is the tightest, under keys of their own.
macro_rules! handlers {
    ($name:ident: $fixed:literal, $sliding:literal, $gcra:literal, $first:literal, $second:literal, $third:literal) => {
        mod $name {
            use super::*;

            #[ratelimit(limit = 6, per = FOREVER, scope = "header:x-id", key = $fixed)]
            async fn fixed() -> impl Responder {
                HttpResponse::Ok()
            }

            #[ratelimit(limit = 6, per = WINDOW, scope = "header:x-id", key = $sliding, algorithm = "sliding-window")]
            async fn sliding() -> impl Responder {
                HttpResponse::Ok()
            }

            #[ratelimit(limit = 6, per = REFILL, scope = "header:x-id", key = $gcra, algorithm = "gcra")]
            async fn gcra() -> impl Responder {
                HttpResponse::Ok()
            }

            #[ratelimit(limit = 20, per = FOREVER, scope = "header:x-id", key = $first)]
            #[ratelimit(limit = 6, per = WINDOW, scope = "header:x-id", key = $second, algorithm = "sliding-window")]
            #[ratelimit(limit = 30, per = REFILL, scope = "header:x-id", key = $third, algorithm = "gcra")]
            async fn together() -> impl Responder {
                HttpResponse::Ok()
            }

            pub(super) fn routes(config: &mut ServiceConfig) {
                let scope = web::scope(stringify!($name));
                let scope = scope.route("/fixed", web::get().to(fixed)).route("/sliding", web::get().to(sliding));
                let scope = scope.route("/gcra", web::get().to(gcra)).route("/together", web::get().to(together));
                config.service(scope);
            }
        }
    };
}

handlers!(known: "fixed", "sliding", "gcra", "first", "second", "third");
// The same clients, and so the same slots.
handlers!(new: "new fixed", "new sliding", "new gcra", "new first", "new second", "new third");

fn routes(config: &mut ServiceConfig) {
    known::routes(config);
    new::routes(config);
}

/// No slot in these tests arrives within a deadline.
fn limiter(cluster: &RedisCluster) -> RateLimiter {
    let builder = RateLimiter::builder().deadline(Duration::from_secs(3)).on_store_error(OnStoreError::Deny);
    builder.store(cluster.url()).build().expect("a URL")
}

/// Moves the slot of a client away from its primary, and no keys.
fn begin_move<'a>(cluster: &'a RedisCluster, id: &str) -> SlotMove<'a> {
    let slot = cluster.slot(&format!("{{header:x-id:{id}}}"));
    cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")))
}

/// Sends many requests at once to these servers until the limit is used up. Returns the number that passed.
fn use_up(servers: &[Served], path: &str, id: &str, left: usize) {
    let admitted = AtomicUsize::new(0);
    let ask = |server: &Served| match server.get_with(path, &[("X-Id", id)]).status {
        200 => drop(admitted.fetch_add(1, Relaxed)),
        status => assert_eq!(status, 429, "{path} of {id}"),
    };
    thread::scope(|scope| {
        for client in 0..8 {
            let server = &servers[client % servers.len()];
            scope.spawn(move || (0..3).for_each(|_| ask(server)));
        }
    });
    // A request that one rule refuses may take tokens for a moment that another request needs. The other request is refused
    // for a second then.
    wait::until("all that may pass have passed", || {
        servers.iter().for_each(ask);
        admitted.load(Relaxed) >= left
    });
    servers.iter().cycle().take(6).for_each(ask);
    assert_eq!(admitted.load(Relaxed), left, "{path} of {id}");
}

#[test]
fn a_slot_that_stays_half_moved_costs_nobody_an_answer_and_no_limit_is_exceeded() {
    let cluster = RedisCluster::steady();
    let limiter = limiter(&cluster);
    let servers = [(); 2].map(|()| Served::limited_by(&limiter, 2, routes));
    for kind in ["fixed", "sliding", "gcra", "together"] {
        let (known, new) = (format!("/known/{kind}"), format!("/new/{kind}"));
        let ask = |server: usize| servers[server].get_with(&known, &[("X-Id", kind)]).status;
        assert_eq!(ask(0), 200);
        let step = begin_move(&cluster, kind);
        assert_eq!(ask(1), 200, "{kind}: all counters are where they were");
        step.move_keys_if(|key| key.contains("/second/"));
        assert_eq!(ask(0), 200, "{kind}: one is at the new primary");
        use_up(&servers, &known, kind, LIMIT - 3);
        use_up(&servers, &new, kind, LIMIT);
        step.move_keys();
        use_up(&servers, &known, kind, 0);
        step.finish();
        use_up(&servers, &new, kind, 0);
    }
    // A refused request is counted nowhere.
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    for [first, second, third] in [["first", "second", "third"], ["new first", "new second", "new third"]] {
        let targets = [
            Target::new(first, 20, FOREVER),
            Target::new(second, 6, WINDOW).sliding_window(),
            Target::new(third, 30, REFILL).gcra(30),
        ];
        let left = targets.map(|target| {
            let target = target.header("x-id", "together");
            runtime.block_on(target.peek(&limiter)).expect("a store").remaining()
        });
        assert_eq!(left, [14, 0, 24], "{first}");
    }
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

#[test]
fn a_counter_whose_slot_stays_half_moved_can_be_looked_at_and_reset() {
    let cluster = RedisCluster::steady();
    let limiter = limiter(&cluster);
    let server = Served::limited_by(&limiter, 1, routes);
    for path in ["/known/sliding", "/known/fixed", "/known/gcra"] {
        assert_eq!(server.get_with(path, &[("X-Id", "one")]).status, 200);
    }
    let step = begin_move(&cluster, "one");
    step.move_keys_if(|key| key.contains("/sliding/"));
    let targets = [
        Target::new("fixed", 6, FOREVER),
        Target::new("sliding", 6, WINDOW).sliding_window(),
        Target::new("gcra", 6, REFILL).gcra(6),
    ];
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    for target in targets.map(|target| target.header("x-id", "one")) {
        let left = || runtime.block_on(target.peek(&limiter)).expect("a store").remaining();
        assert_eq!(left(), 5);
        runtime.block_on(target.reset(&limiter)).expect("a reset");
        assert_eq!(left(), 6);
    }
    step.finish();
}

#[test]
fn a_slot_that_servers_move_as_one_step_costs_nobody_an_answer() {
    let cluster = RedisCluster::steady();
    let limiter = limiter(&cluster);
    let server = Served::limited_by(&limiter, 2, routes);
    let ask = |path: &str| server.get_with(path, &[("X-Id", "one")]).status;
    let slot = cluster.slot("{header:x-id:one}");
    let from = cluster.primary_of(slot).expect("a primary");
    assert_eq!(ask("/known/together"), 200);
    let is_over = AtomicBool::new(false);
    let is_moved = thread::scope(|scope| {
        let asking = (0..20_000).take_while(|_| !is_over.load(Relaxed));
        let others = scope.spawn(|| asking.filter(|_| ask("/new/together") == 503).count());
        let is_moved = cluster.move_at_once(slot, cluster.another_primary(from));
        is_over.store(true, Relaxed);
        assert_eq!(others.join().expect("no panic"), 0, "moved at once: {is_moved}");
        is_moved
    });
    let statuses: Vec<u16> = (0..LIMIT).map(|_| ask("/known/together")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    assert_ne!(is_moved, cluster.primary_of(slot) == Some(from));
}
