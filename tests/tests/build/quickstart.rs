//! The quickstart over each store.

#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ratelimit_tests::sql_server::{Sql, SqlServer};
#[cfg(feature = "sqlite")]
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::{http::Server, wait};

use crate::alone;
#[cfg(feature = "redis")]
use crate::examples::wait_for_the_middle_of_a_minute;
use crate::examples::{assert_refuses_after, start};

#[test]
fn quickstart_counts_in_memory() {
    let _alone = alone();
    let quickstart = start("quickstart", None);
    assert_refuses_after(&quickstart, 300, "/quote", &[]);
    let line = format!("curl -i http://{}/quote", quickstart.address());
    wait::until("the line to try is printed", || quickstart.lines_with(&[&line]) == 1);
}

#[cfg(feature = "redis")]
#[test]
fn quickstart_counts_in_redis_when_its_environment_says_so() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let both = [(); 2].map(|()| start("quickstart", Some(&redis.url())));
    wait_for_the_middle_of_a_minute();
    redis.assert_shared_by(&both, "/quote", 300);
}

/// Two servers count at one counter in a store.
#[cfg(any(feature = "memcached", feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn assert_counts_in(url: &str) {
    let both = [(); 2].map(|()| start("quickstart", Some(url)));
    // The first checks open connections, and may be answered from memory.
    wait::until("both count at one counter", || {
        let told = [0, 1, 0, 1].map(|index| both[index].get_with("/quote", &[]).x_headers().1);
        told.windows(2).all(|pair| pair[0] == pair[1] + 1)
    });
}

#[cfg(feature = "memcached")]
#[test]
fn quickstart_counts_in_memcached() {
    let _alone = alone();
    let server = MemcachedServer::start();
    assert_counts_in(&server.url());
}

#[cfg(feature = "postgres")]
#[test]
fn quickstart_counts_in_postgres() {
    let _alone = alone();
    let server = SqlServer::start(Sql::Postgres);
    assert_counts_in(&server.url());
}

#[cfg(feature = "mysql")]
#[test]
fn quickstart_counts_in_mariadb() {
    let _alone = alone();
    let server = SqlServer::start(Sql::MariaDb);
    assert_counts_in(&server.url());
}

#[cfg(feature = "sqlite")]
#[test]
fn quickstart_counts_in_sqlite() {
    let _alone = alone();
    let file = SqliteFile::new();
    assert_counts_in(&file.url());
}
