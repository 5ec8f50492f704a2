//! Checks that a working Redis refuses. They fail as their rules say, and no other check notices.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{CheckError, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server, request};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::PATIENCE;

use super::script::SOURCE;

/// Long, and short enough for GCRA.
const PER: u32 = 7_000_000;

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id", key = "fixed")]
async fn fixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id", key = "pair")]
#[ratelimit(limit = 6, per = PER, scope = "header:x-id", key = "pair")]
async fn pair() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = PER, scope = "header:x-id", key = "sliding", algorithm = "sliding-window")]
async fn sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = PER, scope = "header:x-id", key = "gcra", algorithm = "gcra")]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

/// Rules of all algorithms.
#[ratelimit(limit = 7, per = PER, scope = "header:x-id", key = "mixed")]
#[ratelimit(limit = 6, per = PER, scope = "header:x-id", key = "mixed", algorithm = "sliding-window")]
#[ratelimit(limit = 5, per = PER, scope = "header:x-id", key = "mixed", algorithm = "gcra")]
async fn mixed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = PER, scope = "header:x-id", key = "sliding allowed", algorithm = "sliding-window", on_store_error = "allow")]
async fn sliding_allowed() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id", key = "back", count_if = never)]
async fn given_back() -> impl Responder {
    HttpResponse::Ok()
}

fn never(_: &HttpResponse) -> bool {
    false
}

fn routes(config: &mut ServiceConfig) {
    config.route("/fixed", web::get().to(fixed)).route("/pair", web::get().to(pair));
    config.route("/sliding", web::get().to(sliding)).route("/gcra", web::get().to(gcra));
    config.route("/mixed", web::get().to(mixed)).route("/sliding-allowed", web::get().to(sliding_allowed));
    config.route("/given-back", web::get().to(given_back));
}

/// A limiter with a long deadline and without a fallback.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny)
}

/// A server of one worker, so that all checks share a connection.
fn serve(limiter: &RateLimiter) -> Served {
    Served::limited_by(limiter, 1, routes)
}

fn statuses(server: &Served, path: &str, id: &str, times: usize) -> Vec<u16> {
    let mut connection = server.open();
    (0..times).map(|_| connection.ask("GET", path, &[("X-Id", id)]).status).collect()
}

/// Sends all requests at once, so that their checks go to Redis together.
fn statuses_at_once(connections: &mut [Connection], paths: &[&str], id: &str) -> Vec<u16> {
    for (connection, path) in connections.iter_mut().zip(paths) {
        connection.send(&request("GET", path, &[("X-Id", id)]));
    }
    connections.iter_mut().map(|connection| connection.reply().status).collect()
}

/// The application's connections, by the numbers that the server gave them.
pub(super) fn connection_of(redis: &RedisServer, user: &str) -> Vec<String> {
    let list: String = redis.ask(&["CLIENT", "LIST", "TYPE", "normal"]);
    let of_user = |line: &&str| line.split(' ').any(|field| field == format!("user={user}"));
    let id = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    list.lines().filter(of_user).map(id).collect()
}

/// Makes a user `app` with the usual privileges and these changes.
pub(super) fn set_user(redis: &RedisServer, keys: &str, changes: &[&str]) {
    let user = format!("ACL SETUSER app reset on >secret {keys} -@all {}", crate::APP_PRIVILEGES);
    let mut command: Vec<&str> = user.split(' ').collect();
    command.extend(changes);
    redis.ask::<()>(&command);
}

pub(super) fn url(redis: &RedisServer) -> String {
    format!("redis://app:secret@{}/", redis.address())
}

const PATHS: [&str; 5] = ["/fixed", "/pair", "/sliding", "/gcra", "/mixed"];

/// Whether requests of this path need the privilege, besides the script itself.
fn needs(path: &str, privilege: &str) -> bool {
    let needed: &[&str] = match path {
        "/fixed" | "/pair" => &["incrby", "expireat"],
        "/sliding" => &["hincrby", "hget", "hdel", "expireat"],
        "/gcra" => &["get", "set"],
        _ => &["incrby", "expireat", "hincrby", "hget", "hdel", "get", "set"],
    };
    needed.contains(&privilege)
}

/// The tests have users with exactly these privileges.
#[test]
fn the_guide_names_the_privileges_that_suffice() {
    let guide = include_str!("../../../../../ratelimit-runtime/src/guide/redis.md").replace("\\|", "|");
    let of = |row: &str| {
        let start = format!("| {row} | `");
        let cell = guide.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix("` |"));
        cell.unwrap_or_else(|| panic!("the guide has no row for {row}"))
    };
    let everything = of("everything").strip_prefix("~rate-limit/* ").expect("the pattern of keys");
    assert_eq!(format!("{everything} {}", of("sliding windows")), crate::APP_PRIVILEGES);
    assert_eq!(of("a cluster"), crate::CLUSTER_PRIVILEGES);
    assert_eq!(of("the user whom the sentinels know"), crate::SENTINEL_PRIVILEGES);
    assert_eq!(of("a URL with a database"), "+select");
}

#[test]
fn a_missing_privilege_fails_the_checks_that_need_it_and_no_others() {
    let redis = RedisServer::on_port();
    for privilege in ["get", "set", "del", "incrby", "expireat", "hget", "hincrby", "hdel"] {
        redis.ask::<()>(&["FLUSHALL"]);
        set_user(&redis, "~rate-limit/*", &[&format!("-{privilege}")]);
        let limiter = patient().store(url(&redis)).build().expect("a URL");
        let server = serve(&limiter);
        for path in PATHS {
            let expected = if needs(path, privilege) { vec![503; 6] } else { vec![200, 200, 200, 200, 200, 429] };
            assert_eq!(statuses(&server, path, "a", 6), expected, "{path} without {privilege}");
        }
        let paths = [PATHS, PATHS].concat();
        let mut clients: Vec<Connection> = paths.iter().map(|_| server.open()).collect();
        for _ in 0..3 {
            let expected: Vec<u16> = paths.iter().map(|path| if needs(path, privilege) { 503 } else { 200 }).collect();
            assert_eq!(statuses_at_once(&mut clients, &paths, "b")[..5], expected[..5], "without {privilege}");
            redis.ask::<()>(&["FLUSHALL"]);
        }
        assert_eq!(redis.keys_without_expiry(), [""; 0], "without {privilege}");
        let before = connection_of(&redis, "app");
        set_user(&redis, "~rate-limit/*", &[]);
        for path in PATHS {
            let expected = [200, 200, 200, 200, 200, 429];
            assert_eq!(statuses(&server, path, "c", 6), expected, "{path} with {privilege} again");
        }
        assert_eq!((connection_of(&redis, "app"), before.len()), (before.clone(), 1), "without {privilege}");
        assert_eq!(redis.keys_without_expiry(), [""; 0], "with {privilege} again");
    }
}

#[test]
fn a_request_that_fails_under_one_rule_counts_under_none() {
    let redis = RedisServer::on_port();
    for privilege in ["hincrby", "hget", "hdel", "get", "set"] {
        redis.ask::<()>(&["FLUSHALL"]);
        set_user(&redis, "~rate-limit/*", &[&format!("-{privilege}")]);
        let server = serve(&patient().store(url(&redis)).build().expect("a URL"));
        assert_eq!(statuses(&server, "/mixed", "a", 3), [503; 3], "without {privilege}");
        set_user(&redis, "~rate-limit/*", &[]);
        assert_eq!(statuses(&server, "/mixed", "a", 6), [200, 200, 200, 200, 200, 429], "with {privilege} again");
    }
}

/// No key stays without an expiry, whatever the user's privileges are, as long as one command is allowed that can prevent
/// it.
#[test]
fn no_set_of_privileges_leaves_a_key_without_an_expiry() {
    const OTHERS: [&str; 7] = ["get", "set", "del", "expireat", "hget", "hdel", "time"];
    let redis = RedisServer::on_port();
    set_user(&redis, "~*", &[]);
    let client = redis::Client::open(url(&redis)).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let end = redis.ask::<(u64, u64)>(&["TIME"]).0 / 100 * 100 + 100_000;
    let window = format!("{end} 200000");
    let calls = [
        ("fixed", format!("take 1 1 1 5 {window}")),
        ("fixed", format!("take 1 4 1 5 {window}")),
        ("fixed", format!("take 1 4 1 5 {window}")),
        ("one", format!("all 1 1 2 fixed 5 1 1 1 {window}")),
        ("none", format!("all 1 1 1 fixed 5 6 6 1 {window}")),
        ("sliding", format!("all 1 1 2 sliding 5 1 1 1 {window}")),
        ("no-sliding", format!("all 1 1 1 sliding 5 6 6 1 {window}")),
        ("gcra", "all 1 1 2 gcra 5 1 1 1 1000000000 60".to_owned()),
        ("a b c", format!("all 1 3 1 fixed 5 1 1 1 {window} sliding 5 1 1 1 {window} gcra 5 1 1 1 1000000000 60")),
        ("mark", "mark 1".to_owned()),
        ("fixed mark", "refund_fixed 1 1 1".to_owned()),
        ("sliding", format!("refund_sliding 1 1 {end}")),
        ("gcra", "refund_gcra 1 1 1000000000 5 60".to_owned()),
        ("one mark", "reset 1 1".to_owned()),
    ];
    for set in 0..1 << OTHERS.len() {
        let missing: Vec<&str> = (0..OTHERS.len()).filter(|bit| set >> bit & 1 == 1).map(|bit| OTHERS[bit]).collect();
        let changes: Vec<String> = missing.iter().map(|privilege| format!("-{privilege}")).collect();
        redis.ask::<()>(&["FLUSHALL"]);
        set_user(&redis, "~*", &changes.iter().map(String::as_str).collect::<Vec<_>>());
        for (keys, arguments) in &calls {
            let keys: Vec<&str> = keys.split(' ').collect();
            let mut command = redis::cmd("EVAL");
            command.arg(SOURCE).arg(keys.len()).arg(keys).arg(arguments.split(' ').collect::<Vec<_>>());
            // Other tests check the reply.
            let _ = command.query::<redis::Value>(&mut connection);
        }
        let lacks = |privileges: &[&str]| privileges.iter().all(|privilege| missing.contains(privilege));
        let nothing_helps = lacks(&["expireat", "del", "set"]) || lacks(&["expireat", "del", "hdel"]);
        let kept = redis.keys_without_expiry();
        assert!(kept.is_empty() || nothing_helps, "without {missing:?}: {kept:?}");
    }
}

#[test]
fn looking_and_resetting_need_privileges_too() {
    let redis = RedisServer::on_port();
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let targets = [
        ("get", "del", Target::new("fixed", 5, FOREVER).header("x-id", "a")),
        ("hget", "del", Target::new("sliding", 5, PER).sliding_window().header("x-id", "a")),
        ("get", "del", Target::new("gcra", 5, PER).gcra(5).header("x-id", "a")),
    ];
    for (look, reset, target) in targets {
        for privilege in ["get", "hget", "del"] {
            set_user(&redis, "~rate-limit/*", &[&format!("-{privilege}")]);
            let limiter = patient().store(url(&redis)).build().expect("a URL");
            let looked = runtime.block_on(target.peek(&limiter)).map(|peek| peek.remaining());
            let expected = if look == privilege { Err(CheckError::StoreUnavailable) } else { Ok(5) };
            assert_eq!(looked, expected, "{target:?} without {privilege}");
            let expected = if reset == privilege { Err(CheckError::StoreUnavailable) } else { Ok(()) };
            assert_eq!(runtime.block_on(target.reset(&limiter)), expected, "{target:?} without {privilege}");
        }
    }
}

#[test]
fn keys_that_the_user_may_not_use_are_refused_to_their_rules_alone() {
    let redis = RedisServer::on_port();
    set_user(&redis, "~rate-limit/=fixed/* ~rate-limit/fixed/* ~rate-limit/probe/*", &[]);
    let server = serve(&patient().store(url(&redis)).build().expect("a URL"));
    let paths = ["/fixed", "/sliding-allowed", "/sliding", "/fixed", "/gcra", "/fixed", "/pair", "/fixed"];
    let mut clients: Vec<Connection> = paths.iter().map(|_| server.open()).collect();
    for round in 0..20 {
        let told = statuses_at_once(&mut clients, &paths, &format!("{round}"));
        assert_eq!(told, [200, 200, 503, 200, 503, 200, 503, 200], "in round {round}");
    }
    assert_eq!(connection_of(&redis, "app").len(), 1);
}

#[test]
fn checks_that_are_always_refused_cost_others_no_second_call_for_ever() {
    let redis = RedisServer::on_port();
    set_user(&redis, "~rate-limit/fixed/* ~rate-limit/probe/*", &[]);
    let server = serve(&patient().store(url(&redis)).build().expect("a URL"));
    let paths = ["/fixed", "/gcra", "/fixed", "/fixed"];
    let mut clients: Vec<Connection> = paths.iter().map(|_| server.open()).collect();
    let denied = || -> usize {
        let stats: String = redis.ask(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        line.split("rejected_calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    statuses_at_once(&mut clients, &paths, "first");
    let before = denied();
    for round in 0..10 {
        assert_eq!(statuses_at_once(&mut clients, &paths, &round.to_string()), [200, 503, 200, 200]);
    }
    assert_eq!(denied() - before, 10, "only the refused checks are refused");
}

#[test]
fn a_command_that_the_server_does_not_have_fails_the_checks_that_need_it() {
    let redis = RedisServer::with_configuration(&["rename-command HINCRBY \"\""]);
    let server = serve(&patient().store(redis.url()).build().expect("a URL"));
    let paths = ["/fixed", "/sliding", "/gcra", "/mixed", "/sliding-allowed"];
    let mut clients: Vec<Connection> = paths.iter().map(|_| server.open()).collect();
    for id in ["a", "b", "c"] {
        assert_eq!(statuses_at_once(&mut clients, &paths, id), [200, 503, 200, 503, 200]);
    }
    assert_eq!((connection_of(&redis, "default").len(), redis.keys_without_expiry()), (1, vec![]));
}

#[test]
fn a_failed_refund_stays_counted_and_hurts_nobody() {
    let redis = RedisServer::on_port();
    set_user(&redis, "~rate-limit/*", &["-get"]);
    let server = serve(&patient().store(url(&redis)).build().expect("a URL"));
    assert_eq!(statuses(&server, "/given-back", "a", 6), [200, 200, 200, 200, 200, 429]);
    assert_eq!(statuses(&server, "/fixed", "a", 6), [200, 200, 200, 200, 200, 429]);
    set_user(&redis, "~rate-limit/*", &[]);
    assert_eq!(statuses(&server, "/given-back", "b", 20), [200; 20]);
    assert_eq!(connection_of(&redis, "app").len(), 1);
}
