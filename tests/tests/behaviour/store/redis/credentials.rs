//! Credentials of Redis that the application supplies and changes.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{Credentials, Error, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::fake_redis::{FakeRedis, Says};
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::{RedisServer, Transport};
use ratelimit_tests::wait::{self, PATIENCE};
use tempfile::TempDir;

const WORKERS: usize = 4;

#[ratelimit(limit = 1000, per = FOREVER, scope = "global")]
async fn thousand() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(thousand));
}

/// The current password of the application, and the number of questions for it.
#[derive(Clone, Debug, Default)]
struct Vault(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    password: Mutex<String>,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Vault {
    fn with(password: &str) -> Self {
        let vault = Self::default();
        vault.keep(password);
        vault
    }

    fn keep(&self, password: &str) {
        password.clone_into(&mut self.0.password.lock().expect("nobody panics"));
    }

    fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    async fn credentials(self, takes: Duration) -> Result<Credentials, String> {
        let Inner { password, calls, under_way, most_under_way } = &*self.0;
        calls.fetch_add(1, SeqCst);
        most_under_way.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        under_way.fetch_sub(1, SeqCst);
        Ok(Credentials::new("app", password.lock().expect("nobody panics").clone()))
    }

    /// A limiter that asks for the password.
    fn builder(&self, takes: Duration) -> RateLimiterBuilder {
        let vault = self.clone();
        let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny);
        limiter.credentials(move || vault.clone().credentials(takes))
    }
}

/// Makes this the only password of the user `app`.
fn rotate(redis: &RedisServer, password: &str) {
    redis.ask::<()>(&["ACL", "SETUSER", "app", "on", "resetpass", &format!(">{password}"), "~*", "+@all"]);
    redis.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    redis.ask::<()>(&["CLIENT", "KILL", "USER", "app"]);
}

fn serve(builder: RateLimiterBuilder, url: &str) -> Served {
    Served::limited_by(&builder.store(url).build().expect("a URL"), WORKERS, routes)
}

#[test]
fn every_login_uses_the_password_of_the_moment() {
    let redis = RedisServer::on_port();
    let vault = Vault::with("");
    let server = serve(vault.builder(Duration::ZERO).deadline(PATIENCE), &redis.url());
    for round in 0..5 {
        let password = format!("secret-{round}");
        vault.keep(&password);
        rotate(&redis, &password);
        // Each worker has a connection of its own.
        assert_eq!(server.statuses("/", 2 * WORKERS), [200; 2 * WORKERS], "round {round}");
    }
}

#[test]
fn workers_that_log_in_at_the_same_time_share_a_call() {
    let redis = RedisServer::on_port();
    rotate(&redis, "secret");
    let vault = Vault::with("secret");
    let server = serve(vault.builder(Duration::from_millis(100)).deadline(PATIENCE), &redis.url());
    std::thread::scope(|scope| {
        for _ in 0..2 * WORKERS {
            scope.spawn(|| assert_eq!(server.get("/").status, 200));
        }
    });
    wait::until("each worker is connected", || server.get("/").status == 200 && redis.clients() == WORKERS);
    assert_eq!(vault.0.most_under_way.load(SeqCst), 1);
    assert!(vault.calls() <= 2, "{} calls for {WORKERS} workers", vault.calls());
}

#[test]
fn a_login_two_seconds_after_an_answer_asks_anew() {
    let redis = RedisServer::on_port();
    rotate(&redis, "secret");
    let vault = Vault::with("secret");
    let server = serve(vault.builder(Duration::ZERO).deadline(PATIENCE), &redis.url());
    assert_eq!(server.statuses("/", 2 * WORKERS), [200; 2 * WORKERS]);
    let before = vault.calls();
    let took = wait::until("a login asks for the password", || {
        // The password has not changed, and no server refuses it.
        rotate(&redis, "secret");
        std::thread::sleep(Duration::from_millis(50));
        server.get("/").status == 200 && vault.calls() > before
    });
    assert!(took < Duration::from_secs(5), "an answer is shared for {took:?}");
}

#[test]
fn a_call_that_takes_longer_than_an_attempt_to_connect_is_not_in_vain() {
    let redis = RedisServer::on_port();
    rotate(&redis, "secret");
    let vault = Vault::with("secret");
    let server = serve(vault.builder(Duration::from_millis(1500)), &redis.url());
    assert_eq!(server.get("/").status, 503);
    wait::until("the store is used", || server.get("/").status == 200);
    assert!(vault.calls() <= 2, "{} calls", vault.calls());
}

#[test]
fn the_nodes_of_a_cluster_are_logged_in_to() {
    let user = "user app on >secret ~* +@all";
    let cluster = RedisCluster::with(Transport::Tcp, &["user default off", user]);
    let vault = Vault::with("secret");
    let server = serve(vault.builder(Duration::ZERO).deadline(PATIENCE), &cluster.url());
    assert_eq!(server.statuses("/", WORKERS), [200; WORKERS]);
}

#[test]
fn sentinels_keep_the_login_of_the_url() {
    let user = "user app on >secret ~* +@all";
    let sentinel = RedisSentinel::with(Transport::Tcp, &["user default off", user], &["requirepass hush"]);
    let vault = Vault::with("secret");
    let url = sentinel.url_as("", "?sentinel_password=hush");
    let server = serve(vault.builder(Duration::ZERO).deadline(PATIENCE), &url);
    assert_eq!(server.statuses("/", WORKERS), [200; WORKERS]);
}

#[test]
fn a_callback_that_gives_a_password_alone_logs_in_as_the_default_user() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    let limiter = limiter.credentials(async || Ok::<_, String>(Credentials::password("secret")));
    assert_eq!(serve(limiter, &redis.url()).get("/").status, 200);
}

#[test]
fn a_function_that_panics_is_a_failure_of_the_store_and_no_more() {
    let redis = RedisServer::on_port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = move || {
        let call = counted.fetch_add(1, SeqCst);
        async move {
            assert!(call > 0, "this is thrown on purpose");
            Ok::<_, String>(Credentials::new("default", ""))
        }
    };
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).credentials(function);
    let server = serve(limiter, &redis.url());
    assert_eq!(server.get("/").status, 503);
    wait::until("the store is used", || server.get("/").status == 200);
}

#[test]
fn a_function_that_never_answers_is_asked_again() {
    let redis = RedisServer::on_port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = move || {
        let call = counted.fetch_add(1, SeqCst);
        async move {
            if call == 0 {
                std::future::pending::<()>().await;
            }
            Ok::<_, String>(Credentials::new("default", ""))
        }
    };
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).credentials(function);
    let server = serve(limiter, &redis.url());
    assert_eq!(server.get("/").status, 503);
    wait::until("the store is used", || server.get("/").status == 200);
    assert_eq!(calls.load(SeqCst), 2);
}

#[test]
fn a_function_that_fails_is_not_asked_by_each_worker_at_each_attempt() {
    let redis = RedisServer::on_port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = move || {
        counted.fetch_add(1, SeqCst);
        async { Err("there is no token".to_owned()) }
    };
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).credentials(function);
    let server = serve(limiter, &redis.url());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(server.get("/").status, 503);
    }
    let calls = calls.load(SeqCst);
    assert!((2..=6).contains(&calls), "{WORKERS} workers asked {calls} times in {:?}", start.elapsed());
}

#[test]
fn a_login_in_the_url_besides_is_an_error_at_the_start() {
    for url in [
        "redis://user:secret@127.0.0.1/",
        "redis+unix:///run/redis.sock?pass=secret",
        "redis+cluster://:secret@127.0.0.1",
        "redis+sentinel://:secret@127.0.0.1/main",
    ] {
        let error = Vault::default().builder(Duration::ZERO).store(url).build().expect_err(url);
        assert!(matches!(&error, Error::Url { part: "login", .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{url}: {error}");
    }
}

#[test]
fn neither_credentials_nor_a_builder_or_a_limiter_with_them_shows_them() {
    let vault = Vault::with("opensesame");
    let builder = vault.builder(Duration::ZERO).hash_secret("opensesame");
    let shown = format!("{builder:?} {:?}", Credentials::new("user", "opensesame"));
    let limiter = builder.store("redis://127.0.0.1/").build().expect("a URL");
    let shown = format!("{shown} {limiter:?}");
    assert!(!shown.contains("opensesame"), "{shown}");
}

#[test]
fn a_failure_to_get_credentials_is_logged_and_tried_again() {
    let redis = RedisServer::on_port();
    rotate(&redis, "secret");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("password");
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", redis.url()).env("APP_ON_STORE_ERROR", "deny");
    let mut app = Process::start(command.env("APP_USER", "app").env("APP_PASSWORD_FILE", &file));
    assert_eq!(app.get("/work").status, 503);
    wait::until("the failure is told", || app.lines_with(&["ERROR", "credentials", "No such file"]) == 1);
    fs::write(&file, "secret").expect("a file that can be written");
    wait::until("the store is used", || app.get("/work").status == 200);
    wait::until("both workers use it", || app.lines_with(&["WARN", "is back"]) == 1);
    // The next login is refused.
    fs::write(&file, "opensesame").expect("a file that can be written");
    rotate(&redis, "sesame");
    wait::until("the store is not used", || app.get("/work").status == 503);
    fs::write(&file, "sesame").expect("a file that can be written");
    wait::until("the store is used", || app.get("/work").status == 200);
    app.kill();
    assert!(app.lines_with(&["ERROR", "refuses the user or the password"]) >= 1, "{:#?}", app.output());
    assert!(app.lines_with(&["secret"]) + app.lines_with(&["sesame"]) == 0, "{:#?}", app.output());
}

/// The reply of a server that refuses every login.
fn refuse(_: &str) -> Says {
    Says::Text("-ERR unknown command 'AUTH', with args beginning with: 'app' 'opensesame' \r\n".to_owned())
}

#[test]
fn a_server_that_repeats_a_password_in_its_error_is_not_quoted() {
    let server = FakeRedis::start(refuse);
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    let url = format!("redis://app:opensesame@{}/3", server.address());
    let mut app = Process::start(command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny"));
    assert_eq!(app.get("/work").status, 503);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "refuses the user or the password"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["opensesame"]), 0, "{:#?}", app.output());
}

#[test]
fn a_server_older_than_users_is_told_the_password_alone() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = FakeRedis::start({
        let told = Arc::clone(&told);
        move |commands| {
            let has_user = commands.contains("$4\r\nAUTH\r\n$3\r\napp\r\n");
            told.lock().expect("nobody panics").push(commands.to_owned());
            let answer = match has_user {
                true => "-ERR wrong number of arguments for 'auth' command\r\n",
                false => "+OK\r\n",
            };
            Says::Text(answer.to_owned())
        }
    });
    let url = format!("redis://app:secret@{}/3", server.address());
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).store(&url).build().expect("a URL");
    let served = Served::limited_by(&limiter, 1, routes);
    served.get("/");
    let told = || told.lock().expect("nobody panics").clone();
    wait::until("the server has been asked something else", || told().len() > 2);
    let expected = ["*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"];
    assert_eq!(told()[1..3], expected);
}
