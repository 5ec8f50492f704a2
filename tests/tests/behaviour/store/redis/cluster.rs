//! Redis Cluster: one limit over all nodes, whichever has the counter.

use std::net::TcpListener;
use std::process::Command;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::Transport;
use ratelimit_tests::wait::{self, PATIENCE};

use crate::{APP_PRIVILEGES, CLUSTER_PRIVILEGES};

#[ratelimit(limit = 3, per = FOREVER)]
async fn three() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id")]
async fn by_header() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id")]
#[ratelimit(limit = 2, per = 2_000_000_000, scope = "header:x-id")]
async fn one_scope() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-a")]
#[ratelimit(limit = 1, per = FOREVER, scope = "header:x-b")]
async fn two_scopes() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/three", web::get().to(three)).route("/header", web::get().to(by_header));
    config.route("/one-scope", web::get().to(one_scope)).route("/two-scopes", web::get().to(two_scopes));
}

/// A limiter with a long deadline and without a fallback.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny)
}

fn serve(url: &str) -> Served {
    Served::limited(&patient().store(url).build().expect("a URL"), routes)
}

/// Two servers that share a cluster.
fn two_servers(cluster: &RedisCluster) -> [Served; 2] {
    [serve(&cluster.url()), serve(&cluster.url())]
}

fn ask(server: &Served, path: &str, id: &str) -> Reply {
    server.get_with(path, &[("X-Id", id)])
}

#[test]
fn servers_share_a_limit_and_its_counters_are_spread_over_the_primaries() {
    let cluster = RedisCluster::steady();
    let [here, there] = &two_servers(&cluster);
    for (server, remaining) in [(here, 2), (there, 1), (here, 0)] {
        assert_eq!(server.get("/three").x_headers().1, remaining);
    }
    assert_eq!([here, there].map(|server| server.get("/three").status), [429, 429]);
    let key = cluster.keys().remove(0);
    let parts: Vec<_> = key.split('/').collect();
    assert_eq!(parts.len(), 5, "{key}");
    assert_eq!((parts[0], parts[1]), ("rate-limit", concat!(module_path!(), "::three")));
    assert_eq!((parts[2], parts[3]), (&*FOREVER.to_string(), "{ip:127.0.0.1}"));
    for client in 0..60 {
        let id = client.to_string();
        let statuses = [here, there, here, there].map(|server| ask(server, "/header", &id).status);
        assert_eq!(statuses, [200, 200, 429, 429], "client {client}");
    }
    // Braces and slashes of a client choose neither the slot nor another client's counter.
    for id in ["{", "}", "{}", "{a}", "}{", "a/{b}/c", "{{a}}"] {
        let statuses = [here, there, here].map(|server| ask(server, "/header", id).status);
        assert_eq!(statuses, [200, 200, 429], "client {id:?}");
        let statuses = [here, there, here].map(|server| ask(server, "/one-scope", id).status);
        assert_eq!(statuses, [200, 200, 429], "client {id:?}");
    }
    let spread = cluster.spread();
    assert!(spread.len() == 3 && spread.iter().all(|keys| *keys > 5), "{spread:?}");
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

/// The value of the counter whose key has these parts.
fn counter(cluster: &RedisCluster, parts: &[&str]) -> Option<u64> {
    let key = cluster.keys().into_iter().find(|key| parts.iter().all(|part| key.contains(part)))?;
    cluster.get(&key)
}

#[test]
fn rules_of_one_scope_are_decided_together() {
    let cluster = RedisCluster::steady();
    let [here, there] = &two_servers(&cluster);
    for client in 0..20 {
        let id = client.to_string();
        let statuses = [here, there, here, there, here].map(|server| ask(server, "/one-scope", &id).status);
        assert_eq!(statuses, [200, 200, 429, 429, 429], "client {client}");
        let scope = format!("{{header:x-id:{id}}}");
        for per in [u64::from(FOREVER), 2_000_000_000] {
            let held = counter(&cluster, &[&format!("/{per}/"), &scope]);
            assert_eq!(held, Some(2), "what was refused is counted in the window of {per} s");
        }
    }
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

#[test]
fn a_refusal_in_one_slot_refunds_the_others() {
    let cluster = RedisCluster::steady();
    let [here, there] = &two_servers(&cluster);
    let ask = |server: &Served, a: &str, b: &str| server.get_with("/two-scopes", &[("X-A", a), ("X-B", b)]);
    // Some pair has its counters at the same primary, in two slots.
    for a in ["one", "two", "three", "four", "five", "six"] {
        let held = || counter(&cluster, &[&format!("{{header:x-a:{a}}}")]);
        let b = |number: u64| format!("{a}-{number}");
        assert_eq!(ask(here, a, &b(0)).status, 200);
        for server in [there, here, there] {
            assert_eq!(ask(server, a, &b(0)).status, 429);
            wait::until("what was counted is given back", || held() == Some(1));
        }
        for number in 1..5 {
            let reply = ask(here, a, &b(number));
            assert_eq!((reply.status, reply.x_headers().1), (200, 0), "{a}, {number}: {reply:?}");
        }
        for server in [here, there] {
            assert_eq!(ask(server, a, &b(5)).status, 429);
            wait::until("what was counted is given back", || {
                held() == Some(5) && counter(&cluster, &[&format!("{{header:x-b:{}}}", b(5))]).unwrap_or(0) == 0
            });
        }
    }
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

#[test]
fn one_node_of_the_url_is_enough() {
    let mut cluster = RedisCluster::start();
    let slot = cluster.slot("{ip:127.0.0.1}");
    let primary = cluster.primary_of(slot).expect("a primary");
    let bystander = cluster.another_primary(primary);
    // Another primary; a replica; and the nodes that run stand behind one that does not.
    let servers = [&[bystander][..], &[primary + 3]].map(|nodes| serve(&cluster.url_of("", nodes)));
    assert_eq!(servers.each_ref().map(|server| server.get("/three").x_headers().1), [2, 1]);
    cluster.kill(bystander + 3);
    let server = serve(&cluster.url_of("", &[bystander + 3, primary]));
    assert_eq!(server.get("/three").x_headers().1, 0);
}

#[test]
fn a_slot_that_is_moved_is_followed_at_each_step() {
    let cluster = RedisCluster::start();
    let [here, there] = &two_servers(&cluster);
    let statuses = |path: &str, id: &str| [here, there].map(|server| ask(server, path, id).status);
    assert_eq!((statuses("/header", "a"), statuses("/one-scope", "b")), ([200, 200], [200, 200]));
    for id in ["a", "b"] {
        let slot = cluster.slot(&format!("{{header:x-id:{id}}}"));
        let step = cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")));
        let path = if id == "a" { "/header" } else { "/one-scope" };
        assert_eq!(statuses(path, id), [429, 429], "the counters are where they were");
        step.move_keys();
        assert_eq!(statuses(path, id), [429, 429], "the counters are at the new primary");
        step.finish();
        assert_eq!(statuses(path, id), [429, 429], "the slot is the new primary's");
    }
    // A counter that is made while its slot moves is made at the new primary.
    let slot = cluster.slot("{header:x-id:c}");
    let step = cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")));
    assert_eq!((statuses("/header", "c"), statuses("/header", "c")), ([200, 200], [429, 429]));
    step.move_keys();
    step.finish();
    assert_eq!(statuses("/header", "c"), [429, 429]);
    let mut counters: Vec<u64> = cluster.keys().iter().filter_map(|key| cluster.get(key)).collect();
    counters.sort_unstable();
    assert_eq!((counters, cluster.keys_without_expiry()), (vec![2; 4], vec![]));
}

#[test]
fn nodes_are_found_whatever_they_call_themselves() {
    let names: [&[&str]; 4] = [
        &["bind 127.0.0.1 ::1", "cluster-announce-ip ::1"],
        &["cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname"],
        // Nodes without a name of their own say `?`.
        &["cluster-preferred-endpoint-type hostname"],
        &["cluster-preferred-endpoint-type unknown-endpoint"],
    ];
    // Not every machine speaks IPv6.
    let speaks_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for name in &names[usize::from(!speaks_ipv6)..] {
        let cluster = RedisCluster::with(Transport::Tcp, name);
        let server = serve(&cluster.url_of("", &[0]));
        for client in 0..12 {
            let id = client.to_string();
            assert_eq!([(); 3].map(|()| ask(&server, "/header", &id).status), [200, 200, 429], "{name:?}");
        }
        let spread = cluster.spread();
        assert!(spread.iter().all(|keys| *keys > 0), "{name:?}: {spread:?}");
        // Redirects name nodes in the same way.
        let slot = cluster.slot("{header:x-id:moved}");
        let step = cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")));
        assert_eq!(ask(&server, "/one-scope", "moved").status, 200, "{name:?}");
        step.move_keys();
        step.finish();
        assert_eq!([(); 2].map(|()| ask(&server, "/one-scope", "moved").status), [200, 429], "{name:?}");
    }
}

#[test]
fn in_a_cluster_a_user_needs_no_more_than_these_privileges() {
    let user = format!("user app on >secret ~rate-limit/* -@all {APP_PRIVILEGES} {CLUSTER_PRIVILEGES}");
    let cluster = RedisCluster::with(Transport::Tcp, &["user default off", &user]);
    let server = serve(&cluster.url_as("app:secret@"));
    for client in 0..20 {
        let id = client.to_string();
        let statuses = [(); 3].map(|()| ask(&server, "/one-scope", &id).status);
        assert_eq!(statuses, [200, 200, 429], "client {client}");
    }
    let pair = [("X-A", "a"), ("X-B", "b")];
    assert_eq!([(); 2].map(|()| server.get_with("/two-scopes", &pair).status), [200, 429]);
    let slot = cluster.slot("{header:x-id:new}");
    let step = cluster.begin_move(slot, cluster.another_primary(cluster.primary_of(slot).expect("a primary")));
    assert_eq!([(); 3].map(|()| ask(&server, "/header", "new").status), [200, 200, 429]);
    step.finish();
}

#[test]
fn in_a_cluster_a_wrong_password_is_named_in_the_log() {
    let cluster = RedisCluster::with(Transport::Tcp, &["requirepass secret"]);
    assert_eq!(serve(&cluster.url_as(":secret@")).get("/three").status, 200);
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", cluster.url_as(":opensesame@")).env("APP_ON_STORE_ERROR", "deny");
    let mut app = Process::start(&mut command);
    assert_eq!(app.get("/quote").status, 503);
    wait::until("the failure is logged", || app.lines_with(&["ERROR", "store", "fails"]) > 0);
    app.kill();
    crate::assert_names_the_password(&app, "opensesame");
}

#[test]
fn a_url_of_one_server_that_is_a_node_of_a_cluster_fails_and_says_why() {
    let cluster = RedisCluster::start();
    let primary = cluster.primary_of(cluster.slot("key")).expect("a primary");
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", cluster.node(primary).url()).env("APP_ON_STORE_ERROR", "deny");
    let mut app = Process::start(&mut command);
    // Some counters are at this node, and others are not.
    let mut ids = (0..).map(|id: u32| id.to_string());
    wait::until("a counter is at another node", || {
        app.get_with("/each", &[("X-Id", &ids.next().expect("another"))]).status == 503
    });
    app.kill();
    let output = app.output().join("\n").to_lowercase();
    assert!(output.contains("moved"), "{output}");
}
