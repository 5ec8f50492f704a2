//! Places in Redis: leases that the process renews.

use std::process::Command;
use std::time::{Duration, Instant};

use ratelimit_runtime::{OnStoreError, RateLimiter};
use ratelimit_tests::app::Served;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

use super::{Room, get, routes, start, wait_for_admission};

/// The bytes of a place.
const PLACE: usize = 26;

fn serve(redis: &RedisServer, on_store_error: OnStoreError, room: &Room) -> Served {
    serve_as(&redis.url(), Duration::from_secs(1), on_store_error, room)
}

fn serve_as(url: &str, deadline: Duration, on_store_error: OnStoreError, room: &Room) -> Served {
    let limiter = RateLimiter::builder().store(url).deadline(deadline).on_store_error(on_store_error);
    let room = room.clone();
    Served::limited(&limiter.build().expect("a URL"), move |config| routes(config, &room))
}

/// A process of its own, with a place that is kept for two seconds.
fn app(redis: &RedisServer) -> Process {
    Process::start(Command::new(env!("CARGO_BIN_EXE_app")).env("APP_STORE", redis.url()).env("APP_DEADLINE_MS", "2000"))
}

/// How many places the only counter has.
fn places(redis: &RedisServer) -> usize {
    // After an outage there are those of a probe.
    let keys: Vec<_> = redis.keys().into_iter().filter(|key| key.contains("-concurrency/")).collect();
    assert!(keys.len() <= 1 && redis.keys_without_expiry().is_empty(), "{keys:?}");
    let length = keys.first().map_or(0, |key| redis.ask::<usize>(&["STRLEN", key]));
    assert_eq!(length % PLACE, 0);
    length / PLACE
}

#[test]
fn the_place_of_a_long_request_is_renewed() {
    let (redis, room) = (RedisServer::on_port(), Room::default());
    let [here, there] = [0, 1].map(|_| serve(&redis, OnStoreError::Deny, &room));
    let mut running = [start(&here, "/wait"), start(&here, "/wait")];
    room.wait_for(2);
    let started = Instant::now();
    // More than twice as long as a place is kept.
    while started.elapsed() < Duration::from_secs(6) {
        assert_eq!((get(&there, "/wait").status, places(&redis)), (429, 2));
    }
    room.open();
    assert!(running.iter_mut().all(|client| client.reply().status == 200));
    wait::until("the places are released", || places(&redis) == 0);
}

#[test]
fn places_are_renewed_in_a_cluster() {
    let (cluster, room) = (RedisCluster::steady(), Room::default());
    let [here, there] = [0, 1].map(|_| serve_as(&cluster.url(), PATIENCE, OnStoreError::Deny, &room));
    let mut running = [start(&here, "/wait"), start(&there, "/wait")];
    room.wait_for(2);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(6) {
        assert_eq!(get(&there, "/wait").status, 429);
    }
    assert_eq!((cluster.keys().len(), cluster.keys_without_expiry().len()), (1, 0));
    room.open();
    assert!(running.iter_mut().all(|client| client.reply().status == 200));
    wait::until("the places are released", || cluster.keys().is_empty());
}

#[test]
fn a_free_place_is_given_at_once_after_a_refusal() {
    let (redis, room) = (RedisServer::on_port(), Room::default());
    let server = serve(&redis, OnStoreError::Deny, &room);
    for _ in 0..5 {
        room.close();
        let mut running = [start(&server, "/wait"), start(&server, "/wait")];
        room.wait_for(2);
        assert_eq!(get(&server, "/wait").status, 429);
        room.open();
        assert!(running.iter_mut().all(|client| client.reply().status == 200));
        wait::until("the places are released", || places(&redis) == 0);
        assert_eq!(get(&server, "/wait").status, 200);
    }
}

#[test]
fn a_killed_process_gives_its_place_back_after_hold() {
    let redis = RedisServer::on_port();
    let [mut here, there] = [0, 1].map(|_| app(&redis));
    let running = start(&here, "/place/100000");
    wait::until("the place is held", || places(&redis) == 1);
    assert_eq!(get(&there, "/place/0").status, 429);
    here.kill();
    assert_eq!(get(&there, "/place/0").status, 429);
    let waited = wait_for_admission(&there, "/place/0");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    drop(running);
}

#[test]
fn a_late_renewal_takes_its_place_again_only_if_there_is_room() {
    let redis = RedisServer::on_port();
    let [here, there] = [0, 1].map(|_| app(&redis));
    let first = start(&here, "/place/100000");
    wait::until("the place is held", || places(&redis) == 1);
    here.pause();
    wait_for_admission(&there, "/place/0");
    let mut second = start(&there, "/place/4000");
    wait::until("the place is held", || places(&redis) == 1);
    here.resume();
    let resumed = Instant::now();
    while !second.has_answer() && resumed.elapsed() < PATIENCE {
        assert!(places(&redis) <= 1);
        let status = get(&there, "/place/0").status;
        assert!(status == 429 || second.has_answer());
    }
    assert_eq!(second.reply().status, 200);
    // The first request still runs. Its place is taken again now that there is room.
    wait::until("the place is taken again", || get(&there, "/place/0").status == 429);
    drop(first);
}

#[test]
fn a_place_is_released_if_its_client_has_left_before_the_answer() {
    let (redis, room) = (RedisServer::on_port(), Room::default());
    let server = serve_as(&redis.url(), PATIENCE, OnStoreError::Deny, &room);
    // Connects.
    assert_eq!(get(&server, "/impatient").status, 504);
    wait::until("the place is released", || places(&redis) == 0);
    redis.pause();
    let entered = room.entered();
    assert_eq!(get(&server, "/impatient").status, 504);
    assert_eq!(room.entered(), entered);
    let taken = || redis.calls("set");
    redis.resume();
    wait::until("the place was taken", || taken() >= 2);
    wait::until("the place is released", || places(&redis) == 0);
}

#[test]
fn no_place_is_left_by_renewals_of_requests_that_end() {
    let (redis, room) = (RedisServer::on_port(), Room::default());
    let server = serve(&redis, OnStoreError::Deny, &room);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // A place of a minute would be seen in the end. Its first renewal comes after a sixth of `hold`.
                for _ in 0..12 {
                    get(&server, "/second");
                }
            });
        }
    });
    let waited = wait::until("the places are released", || places(&redis) == 0);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[test]
fn what_a_failing_store_means_for_places() {
    let mut redis = RedisServer::on_port();
    let room = Room::default();
    let short = Duration::from_millis(200);
    let [local, allow, deny] = [OnStoreError::Local, OnStoreError::Allow, OnStoreError::Deny]
        .map(|on_store_error| serve_as(&redis.url(), short, on_store_error, &room));
    let mut running = vec![start(&local, "/wait")];
    room.wait_for(1);
    redis.kill();
    // The process knows its own places.
    running.push(start(&local, "/wait"));
    room.wait_for(2);
    assert_eq!(get(&local, "/wait").status, 429);
    running.extend([start(&allow, "/wait"), start(&allow, "/wait"), start(&allow, "/wait")]);
    room.wait_for(5);
    assert_eq!(get(&deny, "/wait").status, 503);
    redis.restart();
    // Requests that run enter their places, as far as there is room. Those that nobody counted do not.
    wait::until("the places are entered", || places(&redis) == 2);
    assert_eq!(get(&local, "/wait").status, 429);
    room.open();
    assert!(running.iter_mut().all(|client| client.reply().status == 200));
    wait::until("the places are released", || places(&redis) == 0);
}

#[test]
fn places_need_no_further_privileges_and_replace_what_another_program_wrote() {
    let (redis, room) = (RedisServer::on_port(), Room::default());
    let privileges = format!("ACL SETUSER app on >secret ~rate-limit/* -@all {}", crate::APP_PRIVILEGES);
    redis.ask::<()>(&privileges.split(' ').collect::<Vec<_>>());
    let url = format!("redis://app:secret@{}/", redis.address());
    let server = serve_as(&url, PATIENCE, OnStoreError::Deny, &room);
    let mut running = start(&server, "/wait");
    room.wait_for(1);
    let key = redis.keys().pop().expect("a counter");
    assert!(key.ends_with("/2-concurrency/global"), "{key}");
    room.open();
    assert_eq!(running.reply().status, 200);
    wait::until("the place is released", || places(&redis) == 0);
    for garbage in [&["SET", &key, "garbage"][..], &["RPUSH", &key, "garbage"], &["SET", &key, &"x".repeat(PLACE)]] {
        redis.ask::<redis::Value>(garbage);
        assert_eq!(get(&server, "/wait").status, 200, "{garbage:?}");
        wait::until("the place is released", || places(&redis) == 0);
    }
}
