//! Redis under load: killed, stopped, restarted empty, flushed, slow, full, read-only, busy and locked. Clients see in time
//! what `on_store_error` says, and the store is used again as soon as it is back.

use std::net::TcpStream;
use std::time::Duration;

use ratelimit_tests::http::Server;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::outage::{Authenticated, DEADLINE, NOISE, Proxied, Stage};
use crate::{alone, app};

/// A failure of the store, until a test undoes it.
struct Fault {
    hurt: fn(&mut Proxied),
    heal: fn(&mut Proxied),
    /// The reason in the log line, in lower case.
    named: &'static str,
    loses_data: bool,
}

/// Lets the store fail and come back. Asserts what clients see and the log says.
fn outage(on_store_error: &'static str, fault: &Fault) {
    let _alone = alone();
    let mut stage = Stage::set(on_store_error);
    if fault.loses_data {
        stage = stage.losing_data();
    }
    (fault.hurt)(&mut stage.store);
    stage.suffer();
    (fault.heal)(&mut stage.store);
    stage.recover();
    stage.assert_logged_once();
    let output = stage.app.output();
    let named = output.iter().any(|line| line.contains("ERROR") && line.to_lowercase().contains(fault.named));
    assert!(named, "no line has {:?}: {output:#?}", fault.named);
    stage.clear();
}

macro_rules! outages {
    ($($name:ident: $on_store_error:literal, $fault:expr;)*) => { $(
        #[test]
        fn $name() {
            outage($on_store_error, &$fault);
        }
    )* };
}

outages! {
    a_killed_store_is_replaced_by_memory: "local", KILLED;
    a_killed_store_lets_everybody_pass: "allow", KILLED;
    a_killed_store_is_a_503: "deny", KILLED;
    a_stopped_store_is_replaced_by_memory: "local", STOPPED;
    a_stopped_store_lets_everybody_pass: "allow", STOPPED;
    a_stopped_store_is_a_503: "deny", STOPPED;
    a_slow_store_is_replaced_by_memory: "local", SLOW;
    a_slow_store_lets_everybody_pass: "allow", SLOW;
    a_slow_store_is_a_503: "deny", SLOW;
    a_full_store_is_replaced_by_memory: "local", FULL;
    a_full_store_is_a_503: "deny", FULL;
    a_read_only_store_is_replaced_by_memory: "local", READ_ONLY;
    a_read_only_store_is_a_503: "deny", READ_ONLY;
    a_busy_store_is_a_503: "deny", BUSY;
    a_store_whose_password_has_changed_is_replaced_by_memory: "local", LOCKED;
    a_store_whose_password_has_changed_is_a_503: "deny", LOCKED;
    a_store_that_has_taken_its_permissions_away_is_a_503: "deny", FORBIDDEN;
}

const KILLED: Fault =
    Fault { hurt: |store| store.redis.kill(), heal: |store| store.redis.restart(), named: "", loses_data: true };

const STOPPED: Fault = Fault {
    hurt: |store| store.redis.pause(),
    heal: |store| store.redis.resume(),
    named: "no answer within",
    loses_data: false,
};

const SLOW: Fault = Fault {
    hurt: |store| store.proxy.delay_replies(DEADLINE * 3),
    heal: |store| store.proxy.heal(),
    named: "no answer within",
    loses_data: false,
};

/// A server that answers and takes no writes.
const FULL: Fault = Fault {
    hurt: |store| store.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]),
    heal: |store| store.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]),
    named: "oom",
    loses_data: false,
};

/// A replica of an unreachable primary keeps its data, and takes no writes.
const READ_ONLY: Fault = Fault {
    hurt: |store| store.redis.ask(&["REPLICAOF", "127.0.0.1", "1"]),
    heal: |store| store.redis.ask(&["REPLICAOF", "NO", "ONE"]),
    named: "readonly",
    loses_data: false,
};

/// Another client's script does not end.
const BUSY: Fault = Fault {
    hurt: |store| {
        store.redis.ask::<()>(&["CONFIG", "SET", "lua-time-limit", "10"]);
        store.redis.tell(&["EVAL", "while true do end", "0"]);
    },
    heal: |store| {
        store.redis.ask::<()>(&["SCRIPT", "KILL"]);
        wait::until("the script has ended", || store.redis.try_ask::<()>(&["PING"]).is_ok());
    },
    named: "busy",
    loses_data: false,
};

const LOCKED: Fault = Fault {
    hurt: |store| {
        store.redis.ask::<()>(&["CONFIG", "SET", "requirepass", "changed"]);
        store.redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    },
    heal: |store| store.redis.ask(&["CONFIG", "SET", "requirepass", ""]),
    named: "noauth",
    loses_data: false,
};

const FORBIDDEN: Fault = Fault {
    hurt: |store| store.redis.ask(&["ACL", "SETUSER", "default", "-@all"]),
    heal: |store| store.redis.ask(&["ACL", "SETUSER", "default", "+@all"]),
    named: "noperm",
    loses_data: false,
};

#[test]
fn a_password_that_has_expired_and_is_renewed_is_used_again() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let stage = Stage::before(Authenticated(redis), "deny");
    stage.store.0.ask::<()>(&["ACL", "SETUSER", "app", "resetpass", ">another"]);
    stage.store.0.ask::<()>(&["CLIENT", "KILL", "USER", "app"]);
    stage.suffer();
    stage.store.0.ask::<()>(&["ACL", "SETUSER", "app", ">secret"]);
    stage.recover();
    let output = stage.app.output();
    assert!(
        output.iter().any(|line| line.contains("ERROR") && line.to_lowercase().contains("password")),
        "{output:#?}"
    );
    assert!(!output.iter().any(|line| line.contains("secret")), "{output:#?}");
    stage.clear();
}

#[test]
fn a_store_that_loads_its_data_is_used_when_it_has() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    redis.restart_loading();
    wait::until("the server listens", || TcpStream::connect(redis.address()).is_ok());
    let deadline = DEADLINE.as_millis().to_string();
    let app = app(&[("APP_STORE", &redis.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_DEADLINE_MS", &deadline)]);
    assert_eq!(app.get("/work").status, 503);
    wait::until("the log says why", || app.output().iter().any(|line| line.to_lowercase().contains("loading")));
    redis.wait();
    let took = wait::until("the store is used", || app.get("/work").status == 200);
    assert!(took < Duration::from_secs(1) + NOISE, "the store is ready for {took:?} before it is used");
}

#[test]
fn a_store_that_is_stopped_for_five_seconds_is_asked_now_and_then() {
    let _alone = alone();
    let stage = Stage::set("deny");
    let before = stage.store.proxy.accepted();
    stage.store.redis.pause();
    std::thread::sleep(Duration::from_secs(5));
    let attempts = stage.store.proxy.accepted() - before;
    stage.answer_more("requests are answered during the outage");
    stage.store.redis.resume();
    stage.recover();
    assert!((1..=30).contains(&attempts), "two workers tried {attempts} times in five seconds");
    stage.assert_logged_once();
    stage.clear();
}

/// A failure so short that nobody need notice it.
fn incident(mut stage: Stage<Proxied>, happens: fn(&mut Proxied)) {
    for _ in 0..5 {
        happens(&mut stage.store);
        stage.answer_more("requests are answered all the while");
    }
    let before = stage.count();
    wait::until("Redis is used", || stage.count() > before);
    stage.settle();
    stage.clear();
}

#[test]
fn a_store_that_restarts_empty_at_once_costs_nobody_an_answer() {
    let _alone = alone();
    incident(Stage::set("local").losing_data(), |store| store.redis.restart());
}

#[test]
fn a_script_flush_under_load_costs_nobody_an_answer() {
    let _alone = alone();
    let stage = Stage::set("deny");
    for _ in 0..20 {
        stage.store.redis.ask::<()>(&["SCRIPT", "FLUSH"]);
        stage.answer_more("requests are answered all the while");
    }
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn a_counter_that_vanishes_under_load_costs_nobody_an_answer() {
    let _alone = alone();
    incident(Stage::set("deny").losing_data(), |store| store.redis.ask(&["FLUSHALL"]));
}

#[test]
fn dropped_connections_cost_nobody_an_answer() {
    let _alone = alone();
    incident(Stage::set("local"), |store| store.proxy.drop_connections());
}

#[test]
fn connections_that_redis_ends_cost_nobody_an_answer() {
    let _alone = alone();
    incident(Stage::set("deny"), |store| store.redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]));
}

#[test]
fn a_connection_cut_within_a_reply_costs_nobody_an_answer() {
    let _alone = alone();
    incident(Stage::set("local"), |store| {
        store.proxy.cut_after_reply_bytes(101);
        wait::until("the connection is cut", || store.proxy.has_cut());
        store.proxy.heal();
    });
}

#[test]
fn a_store_that_is_slow_within_the_deadline_is_used() {
    let _alone = alone();
    let stage = Stage::set("deny");
    stage.store.proxy.delay_replies(Duration::from_millis(5));
    let before = stage.count();
    stage.answer_more("requests are answered slowly");
    assert!(stage.count() > before);
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn clients_that_leave_before_their_answer_cost_nobody_else_one() {
    let _alone = alone();
    let stage = Stage::set("deny");
    stage.store.proxy.delay_replies(Duration::from_millis(5));
    for round in 0..20 {
        for client in 0..20 {
            let request = format!("GET /each HTTP/1.1\r\nHost: test\r\nX-Id: {round}-{client}\r\n\r\n");
            stage.app.open().send(&request);
        }
        stage.answer_more("those that stay are answered");
    }
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn an_application_that_is_told_to_end_does_not_wait_for_its_store() {
    let _alone = alone();
    let unlimited = app(&[]).end();
    let redis = RedisServer::on_port();
    let mut app = app(&[("APP_STORE", &redis.url()), ("APP_DEADLINE_MS", "15000")]);
    assert_eq!(app.get("/leased").status, 200);
    redis.pause();
    let took = app.end();
    redis.resume();
    assert!(took < unlimited + NOISE, "it took {took:?}, and {unlimited:?} where no store was asked");
}

#[test]
fn every_outage_is_logged_once() {
    let _alone = alone();
    let mut stage = Stage::set("local").losing_data();
    for outages in 1..=3 {
        stage.store.redis.kill();
        wait::until("the outage is logged", || stage.failures_logged() == outages);
        stage.answer_more("requests are answered during the outage");
        stage.store.redis.restart();
        wait::until("the recovery is logged", || stage.recoveries_logged() == outages);
        stage.answer_more("requests are answered after the outage");
        assert_eq!((stage.failures_logged(), stage.recoveries_logged()), (outages, outages));
    }
    stage.clear();
}
