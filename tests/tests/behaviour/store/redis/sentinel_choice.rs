//! Sentinels that disagree: which one is believed, and for how long.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::fake_redis::{FakeRedis, Says};
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 1000, per = FOREVER, scope = "global", key = "all")]
async fn all() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(all));
}

/// The value of the only counter.
fn counted(redis: &RedisServer) -> u32 {
    redis.keys().first().map_or(0, |key| redis.ask(&["GET", key]))
}

/// The reply of a sentinel about a primary, after this many failovers.
fn primary(port: u16, epoch: usize) -> Says {
    let fields = ["ip", "127.0.0.1", "port", &port.to_string(), "config-epoch", &epoch.to_string()];
    let fields = fields.map(|field| format!("${}\r\n{field}\r\n", field.len())).concat();
    Says::Text(format!("*6\r\n{fields}"))
}

fn limiter(sentinels: &[&FakeRedis]) -> RateLimiter {
    let sentinels: Vec<_> = sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    limiter.store(format!("redis+sentinel://{}/main", sentinels.join(","))).build().expect("a URL")
}

fn serve(limiter: &RateLimiter) -> Served {
    Served::limited_by(limiter, 1, routes)
}

#[test]
fn the_sentinel_that_knows_of_the_latest_failover_is_believed_whoever_answers_first() {
    const ROUNDS: u32 = 6;
    for is_latest_first in [true, false] {
        let servers = [RedisServer::on_port(), RedisServer::on_port()];
        let [old, new] = &servers;
        let answered = Arc::new(AtomicBool::new(false));
        let says = |port: u16, epoch: usize, is_first: bool| {
            let answered = Arc::clone(&answered);
            FakeRedis::start(move |_| {
                if !is_first {
                    wait::until("the first has answered", || answered.load(SeqCst));
                    // So that the first reply is alone for a moment.
                    std::thread::sleep(Duration::from_millis(5));
                }
                answered.store(is_first, SeqCst);
                primary(port, epoch)
            })
        };
        let sentinels = [says(old.port(), 9, !is_latest_first), says(new.port(), 10, is_latest_first)];
        for _ in 0..ROUNDS {
            assert_eq!(serve(&limiter(&sentinels.each_ref())).get("/").status, 200);
        }
        // On a busy machine, the second reply may come too late.
        let counted = servers.each_ref().map(counted);
        assert_eq!(counted[0] + counted[1], ROUNDS);
        assert!(counted[1] > ROUNDS / 2, "{counted:?}, the latest first: {is_latest_first}");
    }
}

#[test]
fn what_one_worker_has_heard_of_a_failover_holds_for_another_that_hears_of_none() {
    let (old, new) = (RedisServer::on_port(), RedisServer::on_port());
    let asked = AtomicUsize::new(0);
    let (old_port, new_port) = (old.port(), new.port());
    let sentinel = FakeRedis::start(move |_| match asked.fetch_add(1, SeqCst) % 2 {
        0 => primary(new_port, 2),
        _ => primary(old_port, 1),
    });
    wait::until("two workers asked within a second", || {
        let limiter = limiter(&[&sentinel]);
        let (start, servers) = (Instant::now(), [serve(&limiter), serve(&limiter)]);
        let before = counted(&new);
        assert_eq!(servers.each_ref().map(|server| server.get("/").status), [200, 200]);
        let is_in_time = start.elapsed() < Duration::from_millis(900);
        assert!(!is_in_time || counted(&new) == before + 2, "{} more in place of 2", counted(&new) - before);
        is_in_time
    });
}

#[test]
fn sentinels_that_are_set_up_anew_and_count_failovers_from_the_start_are_believed() {
    let (mut old, new) = (RedisServer::on_port(), RedisServer::on_port());
    let is_anew = Arc::new(AtomicBool::new(false));
    let sentinel = FakeRedis::start({
        let (is_anew, old_port, new_port) = (Arc::clone(&is_anew), old.port(), new.port());
        move |_| if is_anew.load(SeqCst) { primary(new_port, 0) } else { primary(old_port, 5) }
    });
    let server = serve(&limiter(&[&sentinel]));
    assert_eq!(server.get("/").status, 200);
    is_anew.store(true, SeqCst);
    old.kill();
    wait::until("the new primary counts", || server.get("/").status == 200 && counted(&new) > 0);
}

#[test]
fn one_worker_asks_the_sentinels_for_a_process() {
    const WORKERS: usize = 4;
    let redis = RedisServer::on_port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let sentinel = FakeRedis::start({
        let (asked, port) = (Arc::clone(&asked), redis.port());
        move |_| {
            asked.lock().unwrap().push(Instant::now());
            primary(port, 1)
        }
    });
    let limiter = limiter(&[&sentinel]);
    let servers = [(); WORKERS].map(|()| serve(&limiter));
    assert_eq!(servers.each_ref().map(|server| server.get("/").status), [200; WORKERS]);
    // Each worker asks once when it connects, and then one of them asks once a second.
    wait::until("they are asked again, and once more", || asked.lock().unwrap().len() >= WORKERS + 2);
    let asked = asked.lock().unwrap();
    let pause = asked[WORKERS + 1] - asked[WORKERS];
    assert!(pause >= Duration::from_millis(250), "{pause:?}");
}
