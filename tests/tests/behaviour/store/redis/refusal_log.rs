//! What the log says when Redis refuses a check: the missing privilege or the wrong URL, once.

use std::process::Command;

use ratelimit_tests::http::{Connection, Server, request};
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::{RedisServer, Transport};
use ratelimit_tests::wait::{self, PATIENCE};

use super::refusals::{connection_of, set_user, url};

fn app(url: &str, database: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", &*format!("{url}{database}")), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    Process::start(&mut command)
}

#[test]
fn a_cluster_of_one_shard_that_is_taken_for_a_server_decides_what_it_can() {
    let redis = RedisServer::as_cluster_of_one();
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", &*redis.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    let mut app = Process::start(command.env("APP_DEADLINE_MS", PATIENCE.as_millis().to_string()));
    let mut clients: Vec<Connection> = (0..8).map(|_| app.open()).collect();
    for round in 0..20 {
        for (index, client) in clients.iter_mut().enumerate() {
            let (path, id) = if index == 3 { ("/pair", String::new()) } else { ("/each", format!("{round}-{index}")) };
            client.send(&request("GET", path, &[("X-Id", &id)]));
        }
        let told: Vec<u16> = clients.iter_mut().map(|client| client.reply().status).collect();
        assert_eq!(told, [200, 200, 200, 503, 200, 200, 200, 200], "in round {round}");
    }
    assert_eq!(connection_of(&redis, "default").len(), 1);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "refuses", "CROSSSLOT", "redis+cluster://"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["rate limit store"]), 1, "{:#?}", app.output());
}

#[test]
fn a_missing_privilege_is_logged_once_and_so_is_its_end() {
    let redis = RedisServer::on_port();
    set_user(&redis, "~rate-limit/*", &["-incrby"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", &*url(&redis)), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "2")]);
    let mut app = Process::start(command.env("APP_DEADLINE_MS", PATIENCE.as_millis().to_string()));
    let mut clients: Vec<Connection> = (0..8).map(|_| app.open()).collect();
    let mut ask = || -> Vec<u16> { clients.iter_mut().map(|client| client.get("/burst").status).collect() };
    for _ in 0..50 {
        assert_eq!(ask(), [503; 8]);
    }
    assert_eq!(app.lines_with(&["rate limit store"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["ERROR", "refuses", "`ACL SETUSER … +incrby`"]), 1, "{:#?}", app.output());
    set_user(&redis, "~rate-limit/*", &[]);
    wait::until("all are decided", || ask() == [200; 8]);
    ask();
    app.kill();
    assert_eq!(app.lines_with(&["WARN", "decides all checks again", "NOPERM INCRBY"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["rate limit store"]), 2, "{:#?}", app.output());
}

#[test]
fn what_is_missing_for_any_check_at_all_is_named_as_a_failure_of_the_store() {
    let redis = RedisServer::on_port();
    for (privilege, database) in [("time", ""), ("evalsha", ""), ("eval", ""), ("select", "3")] {
        redis.ask::<()>(&["SCRIPT", "FLUSH"]);
        // The usual privileges do not include `select`, which a URL with a database needs.
        set_user(&redis, "~rate-limit/*", &[&format!("-{privilege}")]);
        let mut app = app(&url(&redis), database);
        assert_eq!(app.get("/quote").status, 503, "without {privilege}");
        let advice = format!("`ACL SETUSER … +{privilege}`");
        wait::until("the log says what is missing", || app.lines_with(&["ERROR", "fails", &advice]) > 0);
        set_user(&redis, "~rate-limit/*", &["+select"]);
        wait::until("the store is used", || app.get("/work").status == 200);
        app.kill();
        assert_eq!(app.lines_with(&["ERROR", "rate limit store"]), 1, "{:#?}", app.output());
    }
}

#[test]
fn what_a_cluster_needs_besides_is_named_where_it_is_missing() {
    let user =
        format!("user app on >secret ~rate-limit/* -@all {} {}", crate::APP_PRIVILEGES, crate::CLUSTER_PRIVILEGES);
    let cluster = RedisCluster::with(Transport::Tcp, &["user default off", &user]);
    let change =
        |change: &str| (0..6).for_each(|node| cluster.node(node).ask::<()>(&["ACL", "SETUSER", "app", change]));
    change("-cluster|slots");
    let app = app(&cluster.url_as("app:secret@"), "");
    assert_eq!(app.get("/quote").status, 503);
    wait::until("the log says what is missing", || app.lines_with(&["ERROR", "fails", "+cluster|slots`"]) > 0);
    change("+cluster|slots");
    wait::until("the store is used", || app.get("/work").status == 200);
    change("-asking");
    let slot = cluster.slot("{header:x-id:new}");
    let step = cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")));
    let ask = || app.get_with("/each", &[("X-Id", "new")]).status;
    assert_eq!(ask(), 503);
    wait::until("the log says what is missing", || app.lines_with(&["ERROR", "refuses", "+asking`"]) > 0);
    change("+asking");
    wait::until("the store is used", || ask() == 200);
    step.finish();
}

#[test]
fn what_sentinels_must_allow_is_named_where_it_is_missing() {
    let watcher = "user watcher on >hush -@all +ping";
    let sentinel = RedisSentinel::with(Transport::Tcp, &[], &["user default off", watcher]);
    let url = sentinel.url_as("", "?sentinel_user=watcher&sentinel_password=hush");
    let app = app(&url, "");
    assert_eq!(app.get("/quote").status, 503);
    wait::until("the log says what is missing", || app.lines_with(&["ERROR", "fails", "+sentinel|master`"]) > 0);
}
