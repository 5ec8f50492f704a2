//! The map of a cluster's slots: which nodes a process asks, which it believes, and which worker asks again.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::Runtime;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::fake_redis::{FakeRedis, Says};
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 1000, per = FOREVER, scope = "global", key = "all")]
async fn all() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(all));
}

fn target() -> Target {
    Target::new("all", 1000, FOREVER).global()
}

fn limiter(url: &str, deadline: Duration) -> RateLimiter {
    let builder = RateLimiter::builder().deadline(deadline).on_store_error(OnStoreError::Deny);
    builder.store(url).build().expect("a URL")
}

/// How often the nodes were asked for the map.
fn readings(cluster: &RedisCluster) -> usize {
    (0..6).map(|node| cluster.node(node).calls("cluster|slots")).sum()
}

#[test]
fn nodes_that_do_not_answer_are_asked_side_by_side() {
    let cluster = RedisCluster::steady();
    // The kernel accepts connections for them, and nobody answers.
    let silent = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let silent = silent.each_ref().map(|listener| listener.local_addr().expect("an address").to_string());
    let url = cluster.url_of("", &[0]);
    let (scheme, node) = url.split_once("://").expect("a URL");
    for round in 0..5 {
        let limiter = limiter(&format!("{scheme}://{},{node}", silent.join(",")), Duration::from_secs(1));
        let server = Served::limited_by(&limiter, 1, routes);
        // One after the other would take 300 ms for each silent node before the one that answers.
        assert_eq!(server.get("/").status, 200, "in round {round}");
    }
}

#[test]
fn a_process_asks_for_the_map_once_for_all_of_its_workers() {
    let cluster = RedisCluster::steady();
    let limiter = limiter(&cluster.url(), PATIENCE);
    let servers = [(); 4].map(|()| Served::limited_by(&limiter, 2, routes));
    let before = readings(&cluster);
    thread::scope(|scope| {
        for server in servers.iter().cycle().take(16) {
            scope.spawn(|| assert_eq!(server.get("/").status, 200));
        }
    });
    // Three nodes, of which two that agree are enough.
    assert!((2..=3).contains(&(readings(&cluster) - before)), "{} readings", readings(&cluster) - before);
}

#[test]
fn a_worker_that_is_gone_or_stands_still_is_no_loss() {
    let mut cluster = RedisCluster::start();
    let limiter = limiter(&cluster.url(), PATIENCE);
    let look = |runtime: &Runtime| runtime.block_on(target().peek(&limiter)).map(|peek| peek.remaining());
    // Between two calls, its tasks do not run.
    let [gone, still] = [(); 2].map(|()| Runtime::new().expect("a runtime"));
    assert_eq!((look(&gone), look(&still)), (Ok(1000), Ok(1000)));
    drop(gone);
    let server = Served::limited_by(&limiter, 2, routes);
    assert_eq!(server.get("/").status, 200);
    let slot = cluster.slot("{global}");
    let primary = cluster.primary_of(slot).expect("a primary");
    cluster.kill(primary);
    cluster.wait_for_promotion(slot);
    wait::until("the replica that was promoted is found", || server.get("/").status == 200);
    drop(server);
    wait::until("it is found in the other runtime, too", || look(&still).is_ok());
}

#[test]
fn a_node_that_is_cut_off_from_the_others_is_not_believed() {
    let cluster = RedisCluster::steady();
    // This node claims all slots.
    let stray = RedisServer::in_a_cluster_of_its_own();
    for _ in 0..10 {
        let limiter = limiter(&cluster.url().replace("://", &format!("://{},", stray.address())), PATIENCE);
        assert_eq!(Served::limited_by(&limiter, 1, routes).get("/").status, 200);
    }
    assert_eq!(stray.keys(), [""; 0]);
    assert_eq!(cluster.get(&cluster.keys()[0]), Some(10));
}

#[test]
fn while_no_node_tells_the_map_requests_do_not_wait_and_it_is_soon_asked_for_again() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let node = FakeRedis::start({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.lock().unwrap().push(Instant::now());
            Says::Text("-LOADING Redis is loading the dataset in memory\r\n".to_owned())
        }
    });
    let server = Served::limited_by(&limiter(&format!("redis+cluster://{}", node.address()), PATIENCE), 1, routes);
    let start = Instant::now();
    assert_eq!(server.statuses("/", 3), [503; 3]);
    assert!(start.elapsed() < PATIENCE / 2, "three answers took {:?}", start.elapsed());
    wait::until("the node is asked several times", || asked.lock().unwrap().len() > 3);
    let asked = asked.lock().unwrap();
    let pause = asked.windows(2).map(|pair| pair[1] - pair[0]).min();
    // The longest turn of a worker that does not report its end.
    assert!(pause < Some(Duration::from_millis(1500)), "{pause:?}");
}
