//! The memory that a flood of clients takes in Redis, and the counters in a full Redis.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

const REFILL: u32 = 90 * 86_400;

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id")]
#[ratelimit(limit = 5, per = 1_073_741_823, scope = "header:x-id", algorithm = "sliding-window")]
#[ratelimit(limit = 5, per = REFILL, scope = "header:x-id", algorithm = "gcra")]
async fn five() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 3, per = FOREVER, scope = "header:x-id")]
#[ratelimit(limit = 3, per = 1_073_741_823, scope = "header:x-id", algorithm = "sliding-window")]
#[ratelimit(limit = 3, per = REFILL, scope = "header:x-id", algorithm = "gcra")]
#[ratelimit(limit = 10, per = FOREVER, scope = "ip")]
async fn each_and_all() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1_000_000, per = FOREVER, scope = "ip")]
async fn fixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1_000_000, per = 1_073_741_823, scope = "header:x-id", algorithm = "sliding-window")]
async fn sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1_000_000, per = REFILL, scope = "header:x-id", algorithm = "gcra")]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/fixed", web::get().to(fixed));
    config.route("/sliding", web::get().to(sliding));
    config.route("/gcra", web::get().to(gcra));
    config.route("/five", web::get().to(five)).route("/each-and-all", web::get().to(each_and_all));
}

fn serve(url: &str) -> Served {
    let builder = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    Served::limited_by(&builder.store(url).build().expect("a URL"), 1, routes)
}

fn ask(server: &Served, path: &str, id: &str) -> u16 {
    server.get_with(path, &[("X-Id", id)]).status
}

/// The README's advice: a Redis of its own, with a limit of memory and `volatile-lfu`.
#[test]
fn a_full_redis_that_evicts_forgets_those_that_came_once_and_fails_no_check() {
    const FLOOD: &str = "for number = 1, 1000 do \
            redis.call('SET', 'flood/' .. ARGV[1] .. '/' .. number, '1', 'EX', 100000) \
        end";
    let redis = RedisServer::on_socket();
    let used: u64 = redis.info(&["INFO", "memory"], "used_memory").expect("memory").parse().expect("a number");
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lfu"]);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", &(used + 4_000_000).to_string()]);
    for _ in 0..10 {
        // Each knows nothing, and asks.
        let server = serve(&redis.url());
        for _ in 0..4 {
            ask(&server, "/five", "regular");
        }
    }
    assert_eq!(ask(&serve(&redis.url()), "/five", "regular"), 429);
    for number in 0..60_u32 {
        redis.ask::<()>(&["EVAL", FLOOD, "0", &number.to_string()]);
    }
    let evicted = redis.info(&["INFO", "stats"], "evicted_keys").expect("a number");
    assert!(evicted.parse::<u64>().expect("a number") > 10_000, "{evicted} keys were evicted");
    let server = serve(&redis.url());
    assert_eq!(ask(&server, "/five", "regular"), 429);
    for number in 0..100 {
        assert_eq!(ask(&server, "/five", &format!("new {number}")), 200);
    }
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

/// As the README says it of names of usual length.
#[test]
fn a_counter_takes_no_more_than_280_bytes_of_redis() {
    const EXPIRY: u64 = 32;
    let redis = RedisServer::on_socket();
    let server = serve(&redis.url());
    for path in ["/fixed", "/sliding", "/gcra"] {
        assert_eq!(ask(&server, path, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), 200, "{path}");
    }
    let keys = redis.keys();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in keys {
        // The figure does not include the key's entry in the table of expiries.
        let bytes = redis.ask::<u64>(&["MEMORY", "USAGE", &key]) + EXPIRY;
        assert!(bytes <= 280, "{key} takes {bytes} bytes");
    }
}

#[test]
fn a_client_that_rotates_a_header_leaves_no_more_keys_than_its_address_may_make() {
    let (redis, cluster) = (RedisServer::on_socket(), RedisCluster::steady());
    for url in [redis.url(), cluster.url()] {
        let server = serve(&url);
        let statuses = (0..30).map(|number| ask(&server, "/each-and-all", &number.to_string()));
        assert_eq!(statuses.filter(|status| *status == 200).count(), 10, "{url}");
    }
    // Three counters for each admitted request, and that of the address.
    assert_eq!(redis.keys().len(), 3 * 10 + 1);
    // In a cluster, the counters of one request are in two slots, and the count of one of them is refunded.
    wait::until("what was given back is gone", || cluster.keys().len() == 3 * 10 + 1);
}
