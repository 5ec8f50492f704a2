//! An application under load with a store that fails, and the answers of its clients.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratelimit_tests::http::{Connection, Reply, Server};
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::{EDGE, WORKERS, app};

/// The deadline of a check. It is above the default, so that a busy machine causes no second outage.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);

/// The delay that the machine's other work may cause. The delay of unlimited requests is measured and added.
pub(crate) const NOISE: Duration = Duration::from_millis(400);

/// The paths of the load: one counter, two counters, two counters in different slots, many short windows, and now and then
/// no limit.
const PATHS: [&str; 5] = ["/work", "/pair", "/both", "/edge", FREE];
const FREE: &str = "/free";

/// The most memory that an application may add after the load begins, in KiB.
const GROWTH: u64 = 32 * 1024;

/// A store that a test can break.
pub(crate) trait Store {
    /// The URL for the application.
    fn url(&self) -> String;

    /// The value of the counter of a path that is never over its limit.
    fn count(&self, path: &str) -> Option<u64>;

    /// The keys without an expiry.
    fn keys_without_expiry(&self) -> Vec<String>;

    /// The number of connections of applications to each server that they need.
    fn clients(&self) -> usize;
}

/// One server, and the proxy between it and the application.
pub(crate) struct Proxied {
    pub(crate) redis: RedisServer,
    pub(crate) proxy: Proxy,
}

/// One server where the application is the user `app` with the password `secret`.
pub(crate) struct Authenticated(pub(crate) RedisServer);

/// The servers, the application and its clients.
pub(crate) struct Stage<S> {
    // Declared first, so that it ends first.
    load: Load,
    pub(crate) store: S,
    pub(crate) app: Process,
    on_store_error: &'static str,
    loses_data: bool,
    /// The memory and the threads of the application when the load began.
    began_with: [Option<u64>; 2],
}

/// An answer, and its latency.
struct Seen {
    path: &'static str,
    reply: Reply,
    took: Duration,
}

/// Clients that ask without a pause until they are told to stop.
struct Load {
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Stage<Proxied> {
    /// A healthy application under load that counts in one Redis.
    pub(crate) fn set(on_store_error: &'static str) -> Self {
        let redis = RedisServer::on_port();
        let proxy = Proxy::to(redis.address());
        Self::before(Proxied { redis, proxy }, on_store_error)
    }
}

impl<S: Store> Stage<S> {
    /// A healthy application under load that counts in this store.
    pub(crate) fn before(store: S, on_store_error: &'static str) -> Self {
        let settings = [
            ("APP_STORE", &*store.url()),
            ("APP_ON_STORE_ERROR", on_store_error),
            ("APP_DEADLINE_MS", &DEADLINE.as_millis().to_string()),
            ("APP_WORKERS", &WORKERS.to_string()),
        ];
        let app = app(&settings);
        let load = Load::on(&app);
        let mut stage = Self { load, store, app, on_store_error, loses_data: false, began_with: [None; 2] };
        stage.answer_more("the application is at work");
        wait::until("the application counts in the store", || stage.count().is_some());
        stage.began_with = stage.usage();
        stage
    }

    /// Declares that the store loses its data. Then nothing checks how many requests a window admits.
    pub(crate) fn losing_data(mut self) -> Self {
        self.loses_data = true;
        self
    }

    /// The value of the load's counter.
    pub(crate) fn count(&self) -> Option<u64> {
        self.store.count("work")
    }

    /// Waits until many more requests have been answered.
    pub(crate) fn answer_more(&self, what: &str) {
        let before = self.load.answers();
        wait::until(what, || self.load.answers() > before + 100);
    }

    /// Waits until the application has noticed that its store fails, and has answered many requests since.
    pub(crate) fn suffer(&self) {
        wait::until("the outage is logged", || self.failures_logged() > 0);
        self.answer_more("requests are answered during the outage");
    }

    /// Asserts that the application uses the store, which is back now, within a second.
    pub(crate) fn recover(&self) {
        let before = self.count();
        let took = wait::until("the store is used again", || self.count() > before);
        assert!(took < Duration::from_secs(1) + self.load.noise(), "the store is back for {took:?} before it is used");
        self.settle();
        self.answer_more("requests are answered after the outage");
    }

    /// Waits until the log says that the failure is over.
    pub(crate) fn settle(&self) {
        let settled = wait::holds(|| self.failures_logged() == self.recoveries_logged());
        assert!(settled, "a failure is not over: {:#?}", self.app.output());
    }

    /// Asserts that the log has one line for the failure and one for its end. On a busy machine a late answer may add one
    /// of each.
    pub(crate) fn assert_logged_once(&self) {
        assert!((1..=2).contains(&self.failures_logged()), "{:#?}", self.app.output());
    }

    pub(crate) fn failures_logged(&self) -> usize {
        self.app.lines_with(&["ERROR", "store", "fails"])
    }

    pub(crate) fn recoveries_logged(&self) -> usize {
        self.app.lines_with(&["store", "is back after"])
    }

    /// Ends the load. Asserts what every client may expect, whatever happened to the store, and that nothing is left
    /// behind.
    pub(crate) fn clear(mut self) {
        wait::until("each worker has one connection", || self.store.clients() <= WORKERS);
        let noise = self.load.noise();
        let seen = self.load.stop();
        let Seen { path, reply, took } = seen.iter().max_by_key(|seen| seen.took).expect("a request");
        assert!(*took < DEADLINE + noise, "{path} took {took:?} of {DEADLINE:?} and {noise:?} of noise: {reply:?}");
        for seen in &seen {
            self.assert_by_the_rules(seen);
        }
        let denied = seen.iter().any(|seen| seen.reply.status == 503);
        assert_eq!(denied, self.on_store_error == "deny" && self.failures_logged() > 0);
        self.assert_no_window_admits_too_many(&seen);
        assert_eq!(self.store.keys_without_expiry(), [""; 0]);
        let ([memory, threads], [began_with, began_as]) = (self.usage(), self.began_with);
        assert!(memory <= began_with.map(|began_with| began_with + GROWTH), "from {began_with:?} to {memory:?} KiB");
        assert_eq!(threads, began_as, "threads");
    }

    fn assert_by_the_rules(&self, Seen { path, reply, .. }: &Seen) {
        match (reply.status, self.on_store_error) {
            (200, _) => {}
            (429, _) if *path == "/edge" => {}
            (503, "deny") => {
                assert!(reply.number("retry-after") >= 1, "{reply:?}");
                assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            }
            _ => panic!("{path} with on_store_error = {:?}: {reply:?}", self.on_store_error),
        }
    }

    /// Neither the store nor the process's fallback admits more than the limit.
    fn assert_no_window_admits_too_many(&self, seen: &[Seen]) {
        let times = match self.on_store_error {
            "deny" => 1,
            "local" => 2,
            _ => return,
        };
        let mut windows = BTreeMap::<u64, usize>::new();
        for Seen { reply, .. } in seen.iter().filter(|seen| seen.path == "/edge" && seen.reply.status == 200) {
            *windows.entry(reply.number("x-ratelimit-reset")).or_default() += 1;
        }
        let most = windows.values().max().copied().unwrap_or_default();
        assert!(self.loses_data || most <= times * EDGE, "{most} passed in a window: {windows:?}");
    }

    fn usage(&self) -> [Option<u64>; 2] {
        ["VmRSS", "Threads"].map(|field| self.app.usage(field))
    }
}

impl Store for Proxied {
    fn url(&self) -> String {
        self.proxy.url()
    }

    fn count(&self, path: &str) -> Option<u64> {
        count(&self.redis.keys(), path, |key| self.redis.ask(&["GET", key]))
    }

    fn keys_without_expiry(&self) -> Vec<String> {
        self.redis.keys_without_expiry()
    }

    fn clients(&self) -> usize {
        self.redis.clients()
    }
}

impl Store for Authenticated {
    fn url(&self) -> String {
        format!("redis://app:secret@{}/", self.0.address())
    }

    fn count(&self, path: &str) -> Option<u64> {
        count(&self.0.keys(), path, |key| self.0.ask(&["GET", key]))
    }

    fn keys_without_expiry(&self) -> Vec<String> {
        self.0.keys_without_expiry()
    }

    fn clients(&self) -> usize {
        self.0.clients()
    }
}

impl Store for RedisCluster {
    fn url(&self) -> String {
        RedisCluster::url(self)
    }

    fn count(&self, path: &str) -> Option<u64> {
        count(&self.keys(), path, |key| self.get(key))
    }

    fn keys_without_expiry(&self) -> Vec<String> {
        RedisCluster::keys_without_expiry(self)
    }

    fn clients(&self) -> usize {
        self.most_clients()
    }
}

impl Store for RedisSentinel {
    fn url(&self) -> String {
        RedisSentinel::url(self)
    }

    fn count(&self, path: &str) -> Option<u64> {
        let redis = self.server(self.primary()?);
        count(&redis.keys(), path, |key| redis.ask(&["GET", key]))
    }

    fn keys_without_expiry(&self) -> Vec<String> {
        self.current().keys_without_expiry()
    }

    fn clients(&self) -> usize {
        RedisSentinel::clients(self)
    }
}

fn count(keys: &[String], path: &str, get: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    get(keys.iter().find(|key| key.contains(path))?)
}

impl Load {
    fn on(app: &Process) -> Self {
        let (seen, over) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let address = app.address();
        let clients = PATHS.map(|path| {
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                while !over.load(SeqCst) {
                    let start = Instant::now();
                    let reply = connection.get(path);
                    seen.lock().unwrap().push(Seen { path, reply, took: start.elapsed() });
                    if path == FREE {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        });
        Self { seen, over, clients: clients.into() }
    }

    /// The delay that a test accepts.
    fn noise(&self) -> Duration {
        let seen = self.seen.lock().unwrap();
        NOISE + seen.iter().filter(|seen| seen.path == FREE).map(|seen| seen.took).max().unwrap_or_default()
    }

    fn answers(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn stop(&mut self) -> Vec<Seen> {
        self.over.store(true, SeqCst);
        let failed = self.clients.drain(..).filter_map(|client| client.join().err()).count();
        assert!(failed == 0 || thread::panicking(), "{failed} clients got no answer");
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}
