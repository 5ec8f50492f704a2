//! Exactly the limit passes, with many requests at once and through many processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use ratelimit_tests::http::{Connection, Reply, Server, request};
#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_cluster::RedisCluster;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ratelimit_tests::sql_server::{Sql, SqlServer};
#[cfg(feature = "sqlite")]
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::wait;

use crate::{EDGE, alone, app};

const PROCESSES: usize = 8;
const CONNECTIONS: usize = 80;
pub(crate) const REQUESTS: usize = 10_000;

/// The limit of `/burst` and `/leased` in the `app`.
pub(crate) const BURST: usize = 1000;

/// A deadline that nothing reaches, and no fallback: answers may be late, but none is lost.
#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(crate) fn patient(url: &str) -> [(&str, &str); 3] {
    [("APP_STORE", url), ("APP_ON_STORE_ERROR", "deny"), ("APP_DEADLINE_MS", "20000")]
}

#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn processes(url: &str) -> Vec<Process> {
    (0..PROCESSES).map(|_| app(&patient(url))).collect()
}

/// One process with this many worker threads that counts in memory.
fn in_memory() -> Vec<Process> {
    vec![app(&[("APP_STORE", "memory://"), ("APP_WORKERS", &PROCESSES.to_string())])]
}

fn addresses(processes: &[Process]) -> Vec<SocketAddr> {
    processes.iter().map(Process::address).collect()
}

/// Sends all requests before it reads the first answer. Returns the number of answers with each status.
pub(crate) fn race(processes: &[Process], path: &'static str) -> BTreeMap<u16, usize> {
    let each = REQUESTS / CONNECTIONS;
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let addresses = addresses(processes);
    let runners: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let (start, address) = (Arc::clone(&start), addresses[index % addresses.len()]);
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                start.wait();
                connection.send(&request("GET", path, &[]).repeat(each));
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

#[cfg(feature = "memcached")]
#[test]
fn eight_processes_admit_exactly_the_limit_in_memcached() {
    let _alone = alone();
    let server = MemcachedServer::start();
    assert_eq!(race(&processes(&server.url()), "/burst"), expected());
}

/// Creates the table of a store.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn migrate(url: &str) {
    let limiter = ratelimit_runtime::RateLimiter::open(url).expect("a URL");
    let migrated = actix_web::rt::Runtime::new().expect("a runtime").block_on(limiter.migrate());
    assert_eq!(migrated, Ok(()));
}

#[cfg(feature = "postgres")]
#[test]
fn eight_processes_admit_exactly_the_limit_in_postgres() {
    let _alone = alone();
    let server = SqlServer::start(Sql::Postgres);
    migrate(&server.url());
    let processes = processes(&server.url());
    assert_eq!(race(&processes, "/burst"), expected());
    assert_exact(&across_edges(&processes, "/edge"));
}

#[cfg(feature = "mysql")]
#[test]
fn eight_processes_admit_exactly_the_limit_in_mariadb() {
    let _alone = alone();
    let server = SqlServer::start(Sql::MariaDb);
    migrate(&server.url());
    let processes = processes(&server.url());
    assert_eq!(race(&processes, "/burst"), expected());
    assert_exact(&across_edges(&processes, "/edge"));
}

#[cfg(feature = "sqlite")]
#[test]
fn eight_processes_admit_exactly_the_limit_in_sqlite() {
    let _alone = alone();
    let file = SqliteFile::new();
    migrate(&file.url());
    let processes = processes(&file.url());
    assert_eq!(race(&processes, "/burst"), expected());
    assert_exact(&across_edges(&processes, "/edge"));
}

#[cfg(feature = "redis")]
#[test]
fn eight_processes_admit_exactly_the_limit_of_ten_thousand_requests() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    assert_eq!(race(&processes(&redis.url()), "/burst"), expected());
    let counters: Vec<usize> = redis.keys().iter().map(|key| redis.ask(&["GET", key])).collect();
    assert_eq!(counters, [BURST]);
}

#[cfg(feature = "redis")]
#[test]
fn eight_processes_admit_exactly_the_limit_in_a_cluster() {
    let _alone = alone();
    let cluster = RedisCluster::steady();
    assert_eq!(race(&processes(&cluster.url()), "/burst"), expected());
    let counters: Vec<_> = cluster.keys().iter().filter_map(|key| cluster.get(key)).collect();
    assert_eq!(counters, [BURST as u64]);
}

/// The number of requests that passed, for each value of a header.
#[cfg(feature = "redis")]
type Passed = BTreeMap<String, usize>;

/// Sends all pairs of two headers in an order of its own, often enough that both counters of `/cross` reach their limits.
#[cfg(feature = "redis")]
fn cross(mut connection: Connection, client: usize, passed: &Mutex<Passed>) {
    for request in 0..200 {
        let (a, b) = (format!("x-a:{}", (request * 7 + client) % 4), format!("x-b:{}", (request * 5 + client) % 14));
        let reply = connection.ask("GET", "/cross", &[("X-A", &a[4..]), ("X-B", &b[4..])]);
        assert!([200, 429].contains(&reply.status), "{reply:?}");
        if reply.status == 200 {
            for value in [a, b] {
                *passed.lock().unwrap().entry(value).or_default() += 1;
            }
        }
    }
}

#[cfg(feature = "redis")]
#[test]
fn rules_in_different_slots_never_exceed_a_limit_and_refund_what_they_do_not_use() {
    const LIMITS: [(&str, usize); 2] = [("x-a", 50), ("x-b", 20)];
    let _alone = alone();
    let cluster = RedisCluster::steady();
    let processes = processes(&cluster.url());
    let passed = Mutex::<Passed>::default();
    thread::scope(|scope| {
        for client in 0..2 * PROCESSES {
            let connection = processes[client % PROCESSES].open();
            let passed = &passed;
            scope.spawn(move || cross(connection, client, passed));
        }
    });
    let held = || -> Passed {
        let named = |key: &String| {
            let value = key.split_once("{header:")?.1.split_once('}')?.0.to_owned();
            Some((value, usize::try_from(cluster.get(key)?).expect("a count")))
        };
        cluster.keys().iter().filter_map(named).filter(|(_, count)| *count > 0).collect()
    };
    wait::until("Redis holds what has passed", || held() == *passed.lock().unwrap());
    // Nobody else takes or refunds tokens now, so all remaining tokens are available.
    cross(processes[0].open(), 0, &passed);
    let passed = passed.into_inner().unwrap();
    wait::until("Redis holds what has passed", || held() == passed);
    for (header, limit) in LIMITS {
        let of_header = || passed.iter().filter(|(value, _)| value.starts_with(header));
        assert!(of_header().all(|(_, count)| *count <= limit), "{passed:?}");
    }
    assert!((0..4).all(|a| passed[&format!("x-a:{a}")] == 50), "{passed:?}");
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

#[test]
fn eight_threads_admit_exactly_the_limit_of_ten_thousand_requests() {
    let _alone = alone();
    assert_eq!(race(&in_memory(), "/burst"), expected());
}

/// The numbers of admitted and refused requests in a window.
pub(crate) type Windows = BTreeMap<u64, [usize; 2]>;

/// Sends requests without a pause until some windows have begun and ended.
pub(crate) fn across_edges(processes: &[Process], path: &'static str) -> Windows {
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
                    ask_some(&mut connection, path, &windows);
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
    // The window that has just begun is not used up.
    windows.pop_last();
    windows
}

fn ask_some(connection: &mut Connection, path: &str, windows: &Mutex<Windows>) {
    const SOME: usize = 10;
    let before = seconds();
    connection.send(&request("GET", path, &[]).repeat(SOME));
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

pub(crate) fn assert_exact(windows: &Windows) {
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
    assert_exact(&across_edges(&processes(&redis.url()), "/edge"));
}

#[test]
fn no_window_admits_more_than_its_limit_through_eight_threads() {
    let _alone = alone();
    assert_exact(&across_edges(&in_memory(), "/edge"));
}
