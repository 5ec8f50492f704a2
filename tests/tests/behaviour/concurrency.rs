//! `concurrency = 2`: at most so many requests at the same time.

mod direct;
mod middleware;
#[cfg(feature = "redis")]
mod redis;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadGateway, ErrorGatewayTimeout};
use actix_web::middleware::{Next, from_fn};
use actix_web::rt::time::{sleep, timeout};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{Error, HttpResponse, Responder};
use ratelimit_runtime::{Policy, RateLimitState, policy, ratelimit};
use ratelimit_tests::http::{Connection, Reply, Server, request};
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::store::each_store::Shared;

/// What handlers share with a test.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<State>);

#[derive(Default)]
struct State {
    inside: AtomicUsize,
    most: AtomicUsize,
    entered: AtomicUsize,
    /// Whether those inside may leave.
    is_open: AtomicBool,
}

/// Counts a request that is inside.
struct Visit(Room);

impl Room {
    fn enter(&self) -> Visit {
        self.0.entered.fetch_add(1, SeqCst);
        let inside = self.0.inside.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(inside, SeqCst);
        Visit(self.clone())
    }

    pub(crate) fn inside(&self) -> usize {
        self.0.inside.load(SeqCst)
    }

    /// The most that were inside at the same time.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    pub(crate) fn entered(&self) -> usize {
        self.0.entered.load(SeqCst)
    }

    pub(crate) fn open(&self) {
        self.0.is_open.store(true, SeqCst);
    }

    pub(crate) fn close(&self) {
        self.0.is_open.store(false, SeqCst);
    }

    pub(crate) fn wait_for(&self, inside: usize) {
        wait::until("requests are inside", || self.inside() == inside);
    }

    async fn until_open(&self) {
        while !self.0.is_open.load(SeqCst) {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.0.inside.fetch_sub(1, SeqCst);
    }
}

#[ratelimit(concurrency = 2, scope = "global", hold = "2s")]
async fn wait_inside(room: web::Data<Room>) -> impl Responder {
    let _visit = room.enter();
    room.until_open().await;
    "done"
}

#[ratelimit(concurrency = 2, scope = "global", hold = 1)]
async fn race(room: web::Data<Room>) -> impl Responder {
    let _visit = room.enter();
    sleep(Duration::from_millis(5)).await;
    "done"
}

#[ratelimit("3/day", concurrency = 1, scope = "user", hold = "1m")]
async fn rated(state: RateLimitState, room: web::Data<Room>) -> String {
    let _visit = room.enter();
    room.until_open().await;
    let rules: Vec<_> = state.rules().map(|rule| format!("{} {}", rule.name(), rule.remaining())).collect();
    format!("{}; {} left", rules.join(", "), state.remaining())
}

#[ratelimit(concurrency = 1, scope = "global")]
async fn fails() -> Result<&'static str, Error> {
    Err(ErrorBadGateway("no"))
}

#[ratelimit(concurrency = 1, scope = "global")]
async fn panics() -> &'static str {
    panic!("as the test wants it")
}

#[ratelimit(concurrency = 1, scope = "global")]
async fn streams(room: web::Data<Room>) -> impl Responder {
    let visit = room.enter();
    HttpResponse::Ok().body(Endless { visit, is_sent: false })
}

/// A body that sends a piece at once, and the last one when the room is open.
struct Endless {
    visit: Visit,
    is_sent: bool,
}

impl MessageBody for Endless {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Error>>> {
        if !self.is_sent {
            self.is_sent = true;
            return std::task::Poll::Ready(Some(Ok(Bytes::from_static(b"first"))));
        }
        if self.visit.0.0.is_open.load(SeqCst) {
            return std::task::Poll::Ready(None);
        }
        let waker = cx.waker().clone();
        actix_web::rt::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            waker.wake();
        });
        std::task::Poll::Pending
    }
}

#[ratelimit(concurrency = 1, scope = "global", over_limit = "allow")]
async fn shadowed(room: web::Data<Room>) -> impl Responder {
    let _visit = room.enter();
    room.until_open().await;
    "done"
}

#[ratelimit(concurrency = 1, scope = "global")]
async fn never_ends(room: web::Data<Room>) -> &'static str {
    let _visit = room.enter();
    std::future::pending().await
}

/// Its place is kept for six seconds, and renewed after one at the earliest.
#[ratelimit(concurrency = 4, scope = "global", hold = "6s")]
async fn second(room: web::Data<Room>) -> &'static str {
    let _visit = room.enter();
    sleep(Duration::from_millis(1010)).await;
    "done"
}

pub(crate) static SHARED: Policy = policy!(concurrency = 1, scope = "global", key = "concurrency: shared");

#[ratelimit(policy = SHARED)]
async fn shared(room: web::Data<Room>) -> impl Responder {
    let _visit = room.enter();
    room.until_open().await;
    HttpResponse::Ok()
}

/// A middleware that gives up on a request.
async fn give_up(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match timeout(Duration::from_millis(20), next.call(request)).await {
        Ok(response) => response,
        Err(_) => Err(ErrorGatewayTimeout("too slow")),
    }
}

fn routes(config: &mut ServiceConfig, room: &Room) {
    config
        .app_data(web::Data::new(room.clone()))
        .route("/wait", web::get().to(wait_inside))
        .route("/race", web::get().to(race))
        .route("/rated", web::get().to(rated))
        .route("/fails", web::get().to(fails))
        .route("/panics", web::get().to(panics))
        .route("/streams", web::get().to(streams))
        .service(web::resource("/impatient").wrap(from_fn(give_up)).route(web::get().to(never_ends)))
        .route("/second", web::get().to(second))
        .route("/shared", web::get().to(shared))
        .route("/shadowed", web::get().to(shadowed));
}

/// Runs a test in each store.
fn in_each_store(test: impl Fn(&Shared, &Room)) {
    let start = |of: &dyn Fn(Room) -> Shared| {
        let room = Room::default();
        let shared = of(room.clone());
        println!("{}", shared.name);
        test(&shared, &room);
        room.open();
    };
    start(&|room| Shared::in_memory(move |config| routes(config, &room)));
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_port();
        start(&|room| Shared::in_redis(&redis, move |config| routes(config, &room)));
        let cluster = RedisCluster::steady();
        start(&|room| Shared::in_cluster(&cluster, move |config| routes(config, &room)));
    }
}

/// A request whose answer is not awaited.
pub(crate) fn start(server: &impl Server, path: &str) -> Connection {
    let mut client = Connection::open(server.address());
    client.send(&request("GET", path, &[]));
    client
}

pub(crate) fn get(server: &impl Server, path: &str) -> Reply {
    Connection::open(server.address()).get(path)
}

/// Waits until a request is admitted.
pub(crate) fn wait_for_admission(server: &impl Server, path: &str) -> Duration {
    wait::until("a place is free", || get(server, path).status == 200)
}

#[test]
fn places_are_held_while_requests_run() {
    in_each_store(|servers, room| {
        let mut running = [start(&servers.here, "/wait"), start(&servers.there, "/wait")];
        room.wait_for(2);
        for server in [&servers.here, &servers.there] {
            let refused = get(server, "/wait");
            assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
            assert!(refused.body.contains(r#""violated-policies":["global:2-at-once"]"#), "{}", refused.body);
            assert_eq!(refused.header("x-ratelimit-limit"), None);
        }
        room.open();
        for client in &mut running {
            assert_eq!(client.reply().status, 200);
        }
        wait_for_admission(&servers.there, "/wait");
        assert_eq!(room.most(), 2);
    });
}

#[test]
fn a_place_is_released_when_the_handler_has_failed_or_panicked() {
    in_each_store(|servers, _| {
        for _ in 0..3 {
            wait::until("a place is free", || get(&servers.here, "/fails").status == 502);
            wait::until("a place is free", || {
                let mut client = Connection::open(servers.here.address());
                client.send(&request("GET", "/panics", &[]));
                client.try_reply().is_err()
            });
        }
        wait::until("a place is free", || get(&servers.there, "/fails").status == 502);
    });
}

#[test]
fn a_place_is_held_until_a_stream_ends_or_its_client_is_gone() {
    in_each_store(|servers, room| {
        let mut stream = start(&servers.here, "/streams");
        room.wait_for(1);
        assert_eq!(get(&servers.there, "/streams").status, 429);
        room.open();
        assert_eq!(stream.reply().body, "first");
        wait_for_admission(&servers.there, "/streams");
        room.wait_for(0);
        room.close();
        let entered = room.entered();
        let mut stream = None;
        wait::until("a place is free", || {
            stream = Some(start(&servers.here, "/streams"));
            wait::holds(|| room.entered() > entered || stream.as_mut().is_none_or(|stream| stream.has_answer()));
            room.entered() > entered
        });
        drop(stream);
        room.wait_for(0);
        room.open();
        wait_for_admission(&servers.there, "/streams");
    });
}

#[test]
fn a_place_is_released_when_the_request_is_cancelled() {
    in_each_store(|servers, room| {
        for _ in 0..3 {
            // The handler never ends by itself.
            wait::until("a place is free", || get(&servers.here, "/impatient").status == 504);
        }
        assert_eq!(room.inside(), 0);
        wait::until("a place is free", || get(&servers.there, "/impatient").status == 504);
    });
}

#[test]
fn no_more_than_the_limit_are_inside() {
    in_each_store(|servers, room| {
        std::thread::scope(|scope| {
            for index in 0..8 {
                let server = if index % 2 == 0 { &servers.here } else { &servers.there };
                scope.spawn(move || {
                    let mut client = Connection::open(server.address());
                    for _ in 0..60 {
                        assert!(matches!(client.get("/race").status, 200 | 429));
                    }
                });
            }
        });
        assert_eq!(room.most(), 2);
        wait_for_admission(&servers.here, "/race");
    });
}

#[test]
fn a_rate_and_places_are_one_decision() {
    in_each_store(|servers, room| {
        let ask = |user: &str| {
            let mut client = Connection::open(servers.there.address());
            client.send(&request("GET", "/rated", &[("x-user", user)]));
            client
        };
        let mut running = ask("alice");
        room.wait_for(1);
        // What the places refuse costs the rate nothing.
        for _ in 0..5 {
            let refused = ask("alice").reply();
            assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
            assert!(refused.body.contains(r#"["user:1-at-once"]"#), "{}", refused.body);
            assert_eq!((refused.number("x-ratelimit-limit"), refused.number("x-ratelimit-remaining")), (3, 2));
        }
        room.open();
        assert_eq!(running.reply().body, "user:3/86400s 2, user:1-at-once 0; 2 left");
        let mut left = 2;
        wait::until("the rate is used up", || {
            left -= u64::from(ask("alice").reply().status == 200);
            left == 0
        });
        // What the rate refuses takes no place.
        for _ in 0..3 {
            let refused = ask("alice").reply();
            assert!(refused.body.contains("user:3/86400s"), "{}", refused.body);
            assert!(refused.number("retry-after") > 1);
        }
        assert_eq!(ask("bob").reply().status, 200);
    });
}

#[test]
fn a_shadow_counts_places_and_refuses_nothing() {
    in_each_store(|servers, room| {
        let mut running = [start(&servers.here, "/shadowed"), start(&servers.there, "/shadowed")];
        room.wait_for(2);
        room.open();
        assert!(running.iter_mut().all(|client| client.reply().status == 200));
    });
}
