//! Redis killed, stopped, restarted empty, flushed, slow and full, under load: what clients see is what
//! `on_store_error` says, in time, and the store is used again as soon as it is back.

use std::time::Duration;

use crate::alone;
use crate::outage::{DEADLINE, Stage};

/// Lets the store fail and come back, and asserts what clients and the log say.
fn outage(on_store_error: &'static str, hurt: fn(&mut Stage), heal: fn(&mut Stage)) {
    let _alone = alone();
    let mut stage = Stage::set(on_store_error);
    hurt(&mut stage);
    stage.suffer();
    heal(&mut stage);
    stage.recover();
    assert_eq!((stage.failures_logged(), stage.recoveries_logged()), (1, 1), "{:#?}", stage.app.output());
    stage.clear();
}

macro_rules! outages {
    ($($name:ident: $on_store_error:literal, $hurt:expr, $heal:expr;)*) => { $(
        #[test]
        fn $name() {
            outage($on_store_error, $hurt, $heal);
        }
    )* };
}

outages! {
    a_killed_store_is_replaced_by_memory: "local", kill, restart;
    a_killed_store_lets_everybody_pass: "allow", kill, restart;
    a_killed_store_is_a_503: "deny", kill, restart;
    a_stopped_store_is_replaced_by_memory: "local", pause, resume;
    a_stopped_store_lets_everybody_pass: "allow", pause, resume;
    a_stopped_store_is_a_503: "deny", pause, resume;
    a_slow_store_is_replaced_by_memory: "local", slow_down, speed_up;
    a_slow_store_lets_everybody_pass: "allow", slow_down, speed_up;
    a_slow_store_is_a_503: "deny", slow_down, speed_up;
    a_full_store_is_replaced_by_memory: "local", fill_up, make_room;
    a_full_store_is_a_503: "deny", fill_up, make_room;
}

fn kill(stage: &mut Stage) {
    stage.redis.kill();
}

fn restart(stage: &mut Stage) {
    stage.redis.restart();
}

fn pause(stage: &mut Stage) {
    stage.redis.pause();
}

fn resume(stage: &mut Stage) {
    stage.redis.resume();
}

fn slow_down(stage: &mut Stage) {
    stage.proxy.delay_replies(DEADLINE * 3);
}

fn speed_up(stage: &mut Stage) {
    stage.proxy.heal();
}

/// A server that answers and takes no writes.
fn fill_up(stage: &mut Stage) {
    stage.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
}

fn make_room(stage: &mut Stage) {
    stage.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
}

/// What passes so quickly that it need not be noticed, and if it is, not for long.
fn incident(on_store_error: &'static str, happens: fn(&mut Stage)) {
    let _alone = alone();
    let mut stage = Stage::set(on_store_error);
    for _ in 0..5 {
        happens(&mut stage);
        stage.answer_more("requests are answered all the while");
    }
    let before = stage.count();
    ratelimit_tests::wait::until("Redis is used", || stage.count() > before);
    ratelimit_tests::wait::until("every failure is over", || stage.failures_logged() == stage.recoveries_logged());
    stage.clear();
}

#[test]
fn a_store_that_restarts_empty_at_once_costs_nobody_an_answer() {
    incident("local", |stage| stage.redis.restart());
}

#[test]
fn a_script_flush_under_load_costs_nobody_an_answer() {
    let _alone = alone();
    let stage = Stage::set("deny");
    for _ in 0..20 {
        stage.redis.ask::<()>(&["SCRIPT", "FLUSH"]);
        stage.answer_more("requests are answered all the while");
    }
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn a_counter_that_vanishes_under_load_costs_nobody_an_answer() {
    incident("deny", |stage| stage.redis.ask::<()>(&["FLUSHALL"]));
}

#[test]
fn dropped_connections_cost_nobody_an_answer() {
    incident("local", |stage| stage.proxy.drop_connections());
}

#[test]
fn a_connection_cut_within_a_reply_costs_nobody_an_answer() {
    incident("local", |stage| {
        stage.proxy.cut_after_reply_bytes(101);
        ratelimit_tests::wait::until("the connection is cut", || stage.proxy.has_cut());
        stage.proxy.heal();
    });
}

#[test]
fn a_store_that_is_slow_within_the_deadline_is_used() {
    let _alone = alone();
    let stage = Stage::set("deny");
    stage.proxy.delay_replies(Duration::from_millis(5));
    let before = stage.count();
    stage.answer_more("requests are answered slowly");
    assert!(stage.count() > before);
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn every_outage_is_logged_once() {
    let _alone = alone();
    let mut stage = Stage::set("local");
    for outages in 1..=3 {
        kill(&mut stage);
        ratelimit_tests::wait::until("the outage is logged", || stage.failures_logged() == outages);
        stage.answer_more("requests are answered during the outage");
        restart(&mut stage);
        ratelimit_tests::wait::until("the recovery is logged", || stage.recoveries_logged() == outages);
        stage.answer_more("requests are answered after the outage");
        assert_eq!((stage.failures_logged(), stage.recoveries_logged()), (outages, outages));
    }
    stage.clear();
}
