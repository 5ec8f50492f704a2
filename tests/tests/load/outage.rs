//! An application under load, in front of a Redis that can be hurt, and what its clients saw.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratelimit_tests::http::{Connection, Reply, Server};
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::app;

/// The deadline of a check: longer than the default, so that a busy machine is not taken for a second outage.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);

/// How much later than it should something may happen because the machine has other things to do.
pub(crate) const NOISE: Duration = Duration::from_millis(400);

const CLIENTS: usize = 4;

/// Everything that takes part.
pub(crate) struct Stage {
    // Ends first.
    load: Load,
    pub(crate) redis: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) app: Process,
    on_store_error: &'static str,
}

/// An answer, and how long it took.
struct Seen {
    reply: Reply,
    took: Duration,
}

/// Clients that ask without a pause until they are told to stop.
struct Load {
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Stage {
    /// A healthy application under load that counts in Redis.
    pub(crate) fn set(on_store_error: &'static str) -> Self {
        let redis = RedisServer::on_port();
        let proxy = Proxy::to(redis.address());
        let settings = [
            ("APP_STORE", &*proxy.url()),
            ("APP_ON_STORE_ERROR", on_store_error),
            ("APP_DEADLINE_MS", &DEADLINE.as_millis().to_string()),
        ];
        let app = app(&settings);
        let load = Load::on(&app);
        let stage = Self { load, redis, proxy, app, on_store_error };
        stage.answer_more("the application is at work");
        wait::until("the application counts in Redis", || stage.count().is_some());
        stage
    }

    /// What the counter of the load holds.
    pub(crate) fn count(&self) -> Option<u64> {
        let key = self.redis.keys().into_iter().find(|key| key.contains("work"))?;
        self.redis.ask(&["GET", &key])
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

    /// Asserts that the store, which is back from now on, is used again within a second.
    pub(crate) fn recover(&self) {
        let before = self.count();
        let took = wait::until("Redis is used again", || self.count() > before);
        assert!(took < Duration::from_secs(1) + NOISE, "Redis is back for {took:?} before it is used");
        wait::until("the recovery is logged", || self.recoveries_logged() > 0);
        self.answer_more("requests are answered after the outage");
    }

    pub(crate) fn failures_logged(&self) -> usize {
        self.app.lines_with(&["ERROR", "store", "fails"])
    }

    pub(crate) fn recoveries_logged(&self) -> usize {
        self.app.lines_with(&["store", "is back after"])
    }

    /// Ends the load and asserts what every client may expect, whatever happened to the store.
    pub(crate) fn clear(mut self) {
        let seen = self.load.stop();
        let worst = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
        assert!(worst < DEADLINE + NOISE, "a request took {worst:?} with a deadline of {DEADLINE:?}");
        for Seen { reply, .. } in &seen {
            match (reply.status, self.on_store_error) {
                (200, _) => {}
                (503, "deny") => {
                    assert!(reply.number("retry-after") >= 1, "{reply:?}");
                    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
                }
                _ => panic!("with on_store_error = {:?}: {reply:?}", self.on_store_error),
            }
        }
        let refused = seen.iter().any(|seen| seen.reply.status == 503);
        assert_eq!(refused, self.on_store_error == "deny" && self.failures_logged() > 0);
        assert_eq!(self.redis.keys_without_expiry(), [""; 0]);
    }
}

impl Load {
    fn on(app: &Process) -> Self {
        let (seen, over) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let address = app.address();
        let clients = (0..CLIENTS).map(|_| {
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                while !over.load(SeqCst) {
                    let start = Instant::now();
                    let reply = connection.get("/work");
                    seen.lock().unwrap().push(Seen { reply, took: start.elapsed() });
                }
            })
        });
        let clients = clients.collect();
        Self { seen, over, clients }
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
