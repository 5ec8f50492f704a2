//! The prefix of keys: which ones are used as they are, and which are refused.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{Error, OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::PATIENCE;

const CLUSTER: &str = "redis+cluster://127.0.0.1:1";

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id", key = "{}")]
#[ratelimit(limit = 5, per = 1_073_741_823, scope = "header:x-id", key = "}a{b}", algorithm = "sliding-window")]
#[ratelimit(limit = 5, per = 86_400, scope = "header:x-id", key = "c", algorithm = "gcra")]
async fn two() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(two));
}

fn connect(prefix: &str, url: &str) -> Result<RateLimiter, Error> {
    RateLimiter::builder().prefix(prefix).deadline(PATIENCE).on_store_error(OnStoreError::Deny).store(url).build()
}

#[test]
fn any_printable_prefix_is_used_as_it_is() {
    let (redis, cluster) = (RedisServer::on_socket(), RedisCluster::steady());
    let long = "p".repeat(256);
    for prefix in ["", "/", "a/b", "a b", "*[?", "%7B", "\u{fc}\u{1f980}", &long] {
        for url in [redis.url(), cluster.url()] {
            let server = Served::limited(&connect(prefix, &url).expect(prefix), routes);
            let statuses = [(); 3].map(|()| server.get_with("/", &[("X-Id", "1")]).status);
            assert_eq!(statuses, [200, 200, 429], "{prefix:?} in {url}");
        }
        for keys in [redis.keys(), cluster.keys()] {
            assert!(
                keys.iter().filter(|key| key.starts_with(&format!("{prefix}/"))).count() >= 3,
                "{prefix:?}: {keys:?}"
            );
        }
    }
    // Braces have no meaning for one server, and a proxy before a cluster may use them.
    let server = Served::limited(&connect("{app}", &redis.url()).expect("a prefix"), routes);
    assert_eq!(server.get_with("/", &[("X-Id", "1")]).status, 200);
}

#[test]
fn braces_in_a_prefix_are_refused_in_a_cluster() {
    for prefix in ["{}", "{", "}", "a{b}", "{app}", "}{"] {
        let error = connect(prefix, CLUSTER).expect_err(prefix).to_string();
        let expected = format!("prefix: `{prefix}` has a brace in it, and braces choose a key's slot in a cluster");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_prefix_of_any_length_or_with_control_characters_is_refused() {
    for url in ["redis://127.0.0.1:1", CLUSTER] {
        let error = connect(&"\u{fc}".repeat(129), url).expect_err("258 bytes").to_string();
        assert_eq!(error, "prefix: it has 258 bytes, and every key begins with it; write at most 256 (RL003)");
        for prefix in ["a\n", "\0", "a\u{85}b", "\t"] {
            let error = connect(prefix, url).expect_err(prefix);
            assert!(matches!(error, Error::Prefix { .. }), "{error}");
            assert!(error.to_string().contains("has a control character in it"), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
}
