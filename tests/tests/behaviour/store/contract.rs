//! The contract of each algorithm in each store.

mod handlers;

use std::thread;

use ratelimit_tests::http::{Connection, Reply, Server};
#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ratelimit_tests::sql_server::{Sql, SqlServer};
#[cfg(feature = "sqlite")]
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use self::handlers::{ALGORITHMS, Gate, Handlers, routes};
use crate::store::each_store::Shared;

/// A test of the contract for each algorithm. `id` is a new client.
type Check = fn(&Shared, &Handlers, &str);

fn in_each_store(name: &str, check: Check) {
    let memory = Shared::in_memory(routes);
    with_each_algorithm(&memory, name, check);
    with_each_algorithm(&Shared::in_map(routes), name, check);
    #[cfg(feature = "memcached")]
    {
        let server = MemcachedServer::start();
        with_each_algorithm(&Shared::in_memcached(&server, routes), name, check);
    }
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_socket();
        with_each_algorithm(&Shared::in_redis(&redis, routes), name, check);
        assert_eq!(redis.keys_without_expiry(), [""; 0]);
    }
}

fn with_each_algorithm(store: &Shared, name: &str, check: Check) {
    for handlers in ALGORITHMS {
        println!("{name}: {}, {}", handlers.name, store.name);
        check(store, handlers, name);
    }
}

macro_rules! contract {
    ($(fn $name:ident($store:ident: _, $handlers:ident: _, $id:ident: _) $body:block)*) => {
        $(
            #[test]
            fn $name() {
                in_each_store(stringify!($name), checks::$name);
            }
        )*

        #[cfg(feature = "redis")]
        #[test]
        fn all_of_this_holds_in_a_cluster() {
            let cluster = RedisCluster::steady();
            let store = Shared::in_cluster(&cluster, routes);
            $(with_each_algorithm(&store, stringify!($name), checks::$name);)*
            assert_eq!(cluster.keys_without_expiry(), [""; 0]);
        }

        #[cfg(feature = "postgres")]
        #[test]
        fn all_of_this_holds_in_postgres() {
            let server = SqlServer::start(Sql::Postgres);
            let store = Shared::in_sql("in PostgreSQL", &server, routes);
            $(with_each_algorithm(&store, stringify!($name), checks::$name);)*
        }

        #[cfg(feature = "mysql")]
        #[test]
        fn all_of_this_holds_in_mariadb() {
            let server = SqlServer::start(Sql::MariaDb);
            let store = Shared::in_sql("in MariaDB", &server, routes);
            $(with_each_algorithm(&store, stringify!($name), checks::$name);)*
        }

        #[cfg(feature = "sqlite")]
        #[test]
        fn all_of_this_holds_in_sqlite() {
            let file = SqliteFile::new();
            let store = Shared::in_sqlite(&file, routes);
            $(with_each_algorithm(&store, stringify!($name), checks::$name);)*
        }

        mod checks {
            use super::*;

            $(
                #[allow(unused_variables)]
                pub(super) fn $name($store: &Shared, $handlers: &Handlers, $id: &str) $body
            )*
        }
    };
}

fn ask(server: &impl Server, path: &str, id: &str) -> (u16, u64) {
    let reply = server.get_with(path, &[("X-Id", id)]);
    (reply.status, reply.number("x-ratelimit-remaining"))
}

fn left(store: &Shared, handlers: &Handlers, id: &str) -> u32 {
    store.peek(&(handlers.counted)().header("x-id", id)).remaining()
}

contract! {
    fn exactly_the_limit_passes(store: _, handlers: _, id: _) {
        let path = handlers.path("counted");
        for (server, remaining) in [(&store.here, 4), (&store.there, 3), (&store.here, 2), (&store.there, 1)] {
            assert_eq!(ask(server, &path, id), (200, remaining));
        }
        let last = store.here.get_with(&path, &[("X-Id", id)]);
        assert_eq!((last.status, last.x_headers().0, last.x_headers().1), (200, 5, 0));
        for server in [&store.there, &store.here, &store.there] {
            assert_eq!(ask(server, &path, id), (429, 0));
        }
        assert_eq!(left(store, handlers, id), 0);
        assert_eq!(ask(&store.here, &path, "another"), (200, 4));
        store.reset(&(handlers.counted)().header("x-id", "another"));
    }

    fn exactly_the_limit_passes_of_many_at_once(store: _, handlers: _, id: _) {
        for (path, expected) in [("counted", 5), ("three", 1), ("two", 2), ("weighed?4", 1)] {
            let id = format!("{id} {path}");
            let path = handlers.path(path);
            let request = ratelimit_tests::http::request("GET", &path, &[("X-Id", &id)]).repeat(4);
            let ask = |mut connection: Connection| {
                let request = request.clone();
                thread::spawn(move || {
                    connection.send(&request);
                    (0..4).filter(|_| connection.reply().status == 200).count()
                })
            };
            let connections = [&store.here, &store.there].into_iter().flat_map(|server| [(); 6].map(|()| server.open()));
            let threads: Vec<_> = connections.map(ask).collect();
            let passed: usize = threads.into_iter().map(|thread| thread.join().expect("a client")).sum();
            assert_eq!(passed, expected, "{path}");
        }
    }

    fn a_request_costs_what_it_says_or_nothing(store: _, handlers: _, id: _) {
        for (server, handler, expected) in [
            (&store.here, "three", (200, 2)),
            (&store.there, "three", (429, 2)),
            (&store.here, "weighed?0", (200, 2)),
            (&store.there, "weighed?3", (429, 2)),
            (&store.here, "weighed?18446744073709551615", (429, 2)),
            (&store.there, "rows/6", (429, 2)),
            (&store.here, "rows/1", (200, 1)),
            (&store.there, "two", (429, 1)),
            (&store.here, "counted", (200, 0)),
            (&store.there, "counted", (429, 0)),
            (&store.here, "weighed?0", (200, 0)),
            (&store.there, "rows/0", (200, 0)),
        ] {
            assert_eq!(ask(server, &handlers.path(handler), id), expected, "{handler}");
        }
        store.reset(&(handlers.counted)().header("x-id", id));
        let two = |expected| wait::until("a worker that has been refused asks again", || {
            ask(&store.here, &handlers.path("two"), id) == expected
        });
        two((200, 3));
        two((200, 1));
        assert_eq!(ask(&store.here, &handlers.path("two"), id), (429, 1));
    }

    fn an_error_of_a_function_answers_and_costs_nothing(store: _, handlers: _, id: _) {
        for handler in ["cost-fails", "rows/none", "unless-partner/broken"] {
            let reply = store.here.get_with(&handlers.path(handler), &[("X-Id", id)]);
            assert!([404, 418].contains(&reply.status), "{handler}: {reply:?}");
            assert_eq!(reply.header("x-ratelimit-limit"), None, "{handler}");
        }
        assert_eq!(left(store, handlers, id), 5);
    }

    fn a_response_that_does_not_count_is_refunded(store: _, handlers: _, id: _) {
        let login = |status: &str| store.here.get_with(&handlers.path("login"), &[("X-Id", id), ("X-Status", status)]);
        let remaining = |reply: &Reply| (reply.status, reply.number("x-ratelimit-remaining"));
        for remains in (0..5).rev() {
            let success = login("200");
            assert_eq!(remaining(&success), (200, u64::from(remains) + 1));
            wait::until("a success is given back", || left(store, handlers, id) == remains + 1);
            assert_eq!(remaining(&login("403")), (403, remains.into()));
            assert_eq!(left(store, handlers, id), remains);
        }
        assert_eq!(remaining(&login("200")), (429, 0));
        assert_eq!(left(store, handlers, id), 0);
    }

    fn an_extractor_that_fails_is_a_response_too(store: _, handlers: _, id: _) {
        // The body is no JSON.
        for _ in 0..8 {
            assert_eq!(ask(&store.here, &handlers.path("order"), id), (400, 5));
            wait::until("an error is given back", || left(store, handlers, id) == 5);
        }
    }

    fn an_exempt_request_is_neither_counted_nor_refused(store: _, handlers: _, id: _) {
        let monitor = || store.here.get_with(&handlers.path("unless-monitor"), &[("X-Id", id), ("X-Monitor", "1")]);
        let partner = |name: &str| {
            store.there.get_with(&handlers.path(&format!("unless-partner/{name}")), &[("X-Id", id)])
        };
        for remaining in [4, 2, 0] {
            for exempt in [monitor(), partner("partner")] {
                assert_eq!((exempt.status, exempt.header("x-ratelimit-limit")), (200, None));
            }
            assert_eq!(ask(&store.here, &handlers.path("unless-monitor"), id), (200, remaining));
            if remaining > 0 {
                assert_eq!(partner("other").x_headers().1, remaining - 1);
            }
        }
        assert_eq!((partner("other").status, monitor().status, partner("partner").status), (429, 200, 200));
    }

    fn only_the_methods_that_are_named_count(store: _, handlers: _, id: _) {
        let ask = |method: &str| store.here.open().ask(method, &handlers.path("written"), &[("X-Id", id)]);
        for (method, remaining) in [("POST", Some("4")), ("GET", None), ("PUT", Some("3")), ("DELETE", None), ("HEAD", None)] {
            let reply = ask(method);
            assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (200, remaining), "{method}");
        }
        for _ in 0..3 {
            assert_eq!(ask("POST").status, 200);
        }
        assert_eq!(["POST", "PUT", "GET", "post"].map(|method| ask(method).status), [429, 429, 200, 200]);
    }

    fn a_function_that_panics_leaves_nothing_counted(store: _, handlers: _, id: _) {
        let breaks = |handler: &str| {
            let mut connection = store.here.open();
            connection.send(&ratelimit_tests::http::request("GET", &handlers.path(handler), &[("X-Id", id)]));
            assert!(connection.is_closed(), "{handler}: an answer to a handler that panics");
        };
        for _ in 0..3 {
            breaks("cost-panics");
            breaks("exempt-panics");
        }
        assert_eq!(left(store, handlers, id), 5);
        // Nothing says that the request does not count, so it stays counted.
        breaks("count-if-panics");
        assert_eq!(left(store, handlers, id), 4);
        assert_eq!(ask(&store.here, &handlers.path("counted"), id), (200, 3));
    }

    fn a_look_counts_nothing_and_sees_what_the_headers_say(store: _, handlers: _, id: _) {
        let target = (handlers.counted)().header("x-id", id);
        let unused = store.peek(&target);
        assert_eq!((unused.limit(), unused.remaining()), (5, 5));
        for handler in ["counted", "two", "two", "two"] {
            let (limit, remaining, reset) = store.here.get_with(&handlers.path(handler), &[("X-Id", id)]).x_headers();
            for _ in 0..3 {
                let peek = store.peek(&target);
                assert_eq!((u64::from(peek.limit()), u64::from(peek.remaining())), (limit, remaining), "{handler}");
                // The headers of a refused request say when it fits.
                if handlers.name.starts_with("fixed") || remaining != 0 {
                    assert_eq!(peek.reset_at(), reset, "{handler}");
                }
            }
        }
    }

    fn a_reset_admits_again(store: _, handlers: _, id: _) {
        let target = (handlers.counted)().header("x-id", id);
        let path = handlers.path("counted");
        for round in 0..2 {
            for _ in 0..8 {
                // Often enough that each worker knows that the counter is full.
                ask(&store.here, &path, id);
                ask(&store.there, &path, id);
            }
            assert_eq!((ask(&store.here, &path, id), ask(&store.there, &path, id)), ((429, 0), (429, 0)));
            store.reset(&target);
            assert_eq!(store.peek(&target).remaining(), 5);
            let took = wait::until("those who were refused are admitted", || ask(&store.here, &path, id).0 == 200);
            assert!(took.as_secs() < 3, "refused for {took:?} after a reset, in round {round}");
        }
        store.reset(&(handlers.counted)().header("x-id", "nobody was here"));
    }

    fn a_refund_after_a_reset_is_taken_from_the_new_count(store: _, handlers: _, id: _) {
        let (gate, mut held) = (Gate::closed(), store.here.open());
        let headers = [("X-Id", id), ("X-Gate", &gate.0.to_string())];
        held.send(&ratelimit_tests::http::request("GET", &handlers.path("held"), &headers));
        wait::until("the request is counted", || left(store, handlers, id) == 4);
        store.reset(&(handlers.counted)().header("x-id", id));
        for remaining in [4, 3] {
            assert_eq!(ask(&store.there, &handlers.path("counted"), id), (200, remaining));
        }
        gate.open();
        assert_eq!(held.reply().status, 200);
        wait::until("the request is given back", || left(store, handlers, id) == 4);
    }
}

#[test]
fn rules_of_several_algorithms_are_all_or_nothing() {
    mixed_rules(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    {
        let (redis, cluster) = (RedisServer::on_socket(), RedisCluster::steady());
        mixed_rules(&Shared::in_redis(&redis, routes));
        mixed_rules(&Shared::in_cluster(&cluster, routes));
        assert_eq!((redis.keys_without_expiry(), cluster.keys_without_expiry()), (vec![], vec![]));
    }
}

fn mixed_rules(store: &Shared) {
    let ask = |server: &ratelimit_tests::app::Served, fixed: &str, sliding: &str, gcra: &str| {
        let headers = [("X-Fixed", fixed), ("X-Sliding", sliding), ("X-Gcra", gcra), ("X-Watched", "all")];
        let reply = server.get_with("/mixed", &headers);
        (reply.status, reply.body)
    };
    let ok = |body: &str| (200, body.to_owned());
    assert_eq!(ask(&store.here, "a", "a", "a"), ok("[4, 4, 0, 0]"), "{}", store.name);
    for server in [&store.here, &store.there, &store.here] {
        assert_eq!(ask(server, "a", "a", "a").0, 429, "{}", store.name);
    }
    assert_eq!(ask(&store.there, "a", "a", "b"), ok("[3, 3, 0, 0]"), "{}", store.name);
    for (gcra, expected) in ["c", "d", "e"].into_iter().zip(["[2, 4, 0, 0]", "[1, 3, 0, 0]", "[0, 2, 0, 0]"]) {
        assert_eq!(ask(&store.here, "a", "b", gcra), ok(expected), "{}", store.name);
    }
    for server in [&store.here, &store.there] {
        assert_eq!(ask(server, "a", "c", "f").0, 429, "{}", store.name);
    }
    assert_eq!(ask(&store.there, "b", "c", "f"), ok("[4, 4, 0, 0]"), "{}: what was refused counted", store.name);
}
