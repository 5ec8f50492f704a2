//! Exactly the limit passes, however many ask at once and through however many processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use ratelimit_tests::http::{Connection, Reply, Server, request};
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::{alone, app};

const PROCESSES: usize = 8;
const CONNECTIONS: usize = 80;
const REQUESTS: usize = 10_000;

/// The limits of the `app`.
const BURST: usize = 1000;
const EDGE: usize = 150;

/// A deadline that nothing reaches, and no way around the store: a late answer is late, and none is lost.
#[cfg(feature = "redis")]
fn processes(redis: &RedisServer) -> Vec<Process> {
    let url = redis.url();
    let settings = [("APP_STORE", url.as_str()), ("APP_ON_STORE_ERROR", "deny"), ("APP_DEADLINE_MS", "20000")];
    (0..PROCESSES).map(|_| app(&settings)).collect()
}

/// One process that counts in memory, on as many threads.
fn in_memory() -> Vec<Process> {
    vec![app(&[("APP_STORE", "memory://"), ("APP_WORKERS", &PROCESSES.to_string())])]
}

fn addresses(processes: &[Process]) -> Vec<SocketAddr> {
    processes.iter().map(Process::address).collect()
}

/// Puts all requests on their way before it reads the first answer; returns how many answers had each status.
fn race(processes: &[Process]) -> BTreeMap<u16, usize> {
    let each = REQUESTS / CONNECTIONS;
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let addresses = addresses(processes);
    let runners: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let (start, address) = (Arc::clone(&start), addresses[index % addresses.len()]);
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                start.wait();
                connection.send(&request("GET", "/burst", &[]).repeat(each));
                (0..each).map(|_| connection.reply().status).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut statuses = BTreeMap::new();
    for status in runners.into_iter().flat_map(|runner| runner.join().expect("a runner")) {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

fn expected() -> BTreeMap<u16, usize> {
    BTreeMap::from([(200, BURST), (429, REQUESTS - BURST)])
}

#[cfg(feature = "redis")]
#[test]
fn eight_processes_admit_exactly_the_limit_of_ten_thousand_requests() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    assert_eq!(race(&processes(&redis)), expected());
    let counters: Vec<usize> = redis.keys().iter().map(|key| redis.ask(&["GET", key])).collect();
    assert_eq!(counters, [BURST]);
}

#[test]
fn eight_threads_admit_exactly_the_limit_of_ten_thousand_requests() {
    let _alone = alone();
    assert_eq!(race(&in_memory()), expected());
}

/// How many passed and how many were refused in a window.
type Windows = BTreeMap<u64, [usize; 2]>;

/// Asks without a pause until some windows have begun and ended.
fn across_edges(processes: &[Process]) -> Windows {
    const CLIENTS: usize = 16;
    let windows = Arc::new(Mutex::new(Windows::new()));
    let over = Arc::new(AtomicBool::new(false));
    let addresses = addresses(processes);
    let runners: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let (windows, over) = (Arc::clone(&windows), Arc::clone(&over));
            let mut connection = Connection::open(addresses[index % addresses.len()]);
            thread::spawn(move || {
                while !over.load(SeqCst) {
                    ask_some(&mut connection, &windows);
                }
            })
        })
        .collect();
    wait::until("some windows have ended", || windows.lock().unwrap().len() > 4);
    over.store(true, SeqCst);
    for runner in runners {
        runner.join().expect("a runner");
    }
    let mut windows = Arc::into_inner(windows).expect("all runners have ended").into_inner().unwrap();
    // Nobody has used up the one that has just begun.
    windows.pop_last();
    windows
}

fn ask_some(connection: &mut Connection, windows: &Mutex<Windows>) {
    const SOME: usize = 10;
    let before = seconds();
    connection.send(&request("GET", "/edge", &[]).repeat(SOME));
    let replies: Vec<Reply> = (0..SOME).map(|_| connection.reply()).collect();
    let after = seconds();
    let mut windows = windows.lock().unwrap();
    for reply in replies {
        let window = reply.number("x-ratelimit-reset");
        assert!(before < window && window <= after + 1, "a request of {before} to {after} counts in {window}");
        assert!([200, 429].contains(&reply.status), "{reply:?}");
        windows.entry(window).or_default()[usize::from(reply.status == 429)] += 1;
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn assert_exact(windows: &Windows) {
    assert!(windows.values().filter(|[_, refused]| *refused > 0).count() > 1, "too few requests: {windows:?}");
    for (window, [passed, refused]) in windows {
        let exact = if *refused > 0 { *passed == EDGE } else { *passed <= EDGE };
        assert!(exact, "{passed} passed and {refused} were refused in the window until {window}: {windows:?}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn no_window_admits_more_than_its_limit_through_eight_processes() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    assert_exact(&across_edges(&processes(&redis)));
}

#[test]
fn no_window_admits_more_than_its_limit_through_eight_threads() {
    let _alone = alone();
    assert_exact(&across_edges(&in_memory()));
}
