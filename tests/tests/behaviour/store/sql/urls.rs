//! The URLs of SQL databases.

use ratelimit_runtime::RateLimiter;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn assert_names(url: &str, part: &str) {
    let error = RateLimiter::open(url).expect_err(url).to_string();
    assert!(error.starts_with(&format!("store URL: {part}: ")), "{url}: {error}");
    assert!(!error.contains("secret"), "{url}: {error}");
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn assert_takes(url: &str, name: &str) {
    let limiter = RateLimiter::open(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let debug = format!("{limiter:?}");
    assert!(debug.contains(name) && !debug.contains("secret") && !debug.contains("user"), "{url}: {debug}");
}

#[cfg(feature = "postgres")]
#[test]
fn a_url_of_postgres_is_taken_without_a_server_or_names_its_mistake() {
    for (url, name) in [
        ("postgres://127.0.0.1/db", "postgres://127.0.0.1:5432/db"),
        ("postgresql://user:secret@db.internal:6432/db", "postgres://db.internal:6432/db"),
        ("postgres://user:s%40cret@[::1]/db?sslmode=disable", "postgres://[::1]:5432/db"),
        ("postgres:///db?host=/run/postgresql", "postgres:///run/postgresql/db"),
        ("postgres://user@a/db?application_name=shop&statement_cache_capacity=0", "postgres://a:5432/db"),
    ] {
        assert_takes(url, name);
    }
    for (url, part) in [
        ("postgres://", "database"),
        ("postgres://user:secret@127.0.0.1", "database"),
        ("postgres://user:secret@/db", "host"),
        ("postgres://user:secret@a:0/db", "port"),
        ("postgres://user:secret@a:port/db", "port"),
        ("postgres://user:sec/ret@a/db", "login"),
        ("postgres://user:secret@a/db?sslmode=always", "query"),
        ("postgres://user@a/db?password=secret", "query"),
        ("postgres://a/db?host=/run/postgresql", "host"),
        ("postgres:///db?host=secret", "query"),
        ("postgres://user:%zz@a/db", "login"),
        ("postgres://user:secret@a/db#x", "fragment"),
        ("postgres+cluster://a/db", "scheme"),
    ] {
        assert_names(url, part);
    }
}

#[cfg(feature = "mysql")]
#[test]
fn a_url_of_mysql_is_taken_without_a_server_or_names_its_mistake() {
    for (url, name) in [
        ("mysql://127.0.0.1/db", "mysql://127.0.0.1:3306/db"),
        ("mariadb://user:secret@db.internal:6432/db", "mysql://db.internal:6432/db"),
        ("mysql://user:secret@a/db?ssl-mode=disabled", "mysql://a:3306/db"),
        ("mysql:///db?socket=/run/mysqld/mysqld.sock", "mysql:///run/mysqld/mysqld.sock/db"),
    ] {
        assert_takes(url, name);
    }
    for (url, part) in [
        ("mysql://user:secret@a", "database"),
        ("mysql://user:secret@/db", "host"),
        ("mysql://user:secret@a:port/db", "port"),
        ("mysql://user:secret@a/db?ssl-mode=maybe", "query"),
        ("mysql://a/db?socket=/run/mysqld.sock", "host"),
        ("mysql:///db?socket=secret", "query"),
        ("mysql://user:secret@a/db?charset=utf8", "query"),
    ] {
        assert_names(url, part);
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_url_of_sqlite_is_taken_or_names_its_mistake() {
    for (url, name) in [
        ("sqlite:///var/lib/app/limits.db", "sqlite:///var/lib/app/limits.db"),
        ("sqlite://limits.db", "sqlite://limits.db"),
        ("sqlite:///a%20b", "sqlite:///a b"),
    ] {
        assert_takes(url, name);
    }
    for (url, part) in [
        ("sqlite://", "path"),
        ("sqlite::memory:", "scheme"),
        ("sqlite://:memory:", "path"),
        ("sqlite:///folder/", "path"),
        ("sqlite:///file?mode=rwc", "query"),
        ("sqlite:///a%zz", "path"),
    ] {
        assert_names(url, part);
    }
}

#[cfg(all(feature = "postgres", feature = "mysql", not(feature = "rustls")))]
#[test]
fn without_the_feature_for_tls_an_option_that_needs_it_names_it() {
    for url in ["postgres://a/db?sslmode=require", "mysql://a/db?ssl-mode=verify_ca"] {
        let error = RateLimiter::open(url).expect_err(url).to_string();
        assert!(error.contains("`rustls`"), "{error}");
    }
}

#[test]
fn a_database_whose_feature_is_off_names_it() {
    for (url, feature, is_on) in [
        ("postgres://a/db", "postgres", cfg!(feature = "postgres")),
        ("mysql://a/db", "mysql", cfg!(feature = "mysql")),
        ("sqlite:///db", "sqlite", cfg!(feature = "sqlite")),
    ] {
        match RateLimiter::open(url) {
            Ok(_) => assert!(is_on, "{url}"),
            Err(error) => assert!(!is_on && error.to_string().contains(&format!("`{feature}`")), "{error}"),
        }
    }
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#[test]
fn a_setting_out_of_range_is_an_error() {
    for (builder, setting) in [
        (RateLimiter::builder().sql_table(""), "sql_table"),
        (RateLimiter::builder().sql_table("x".repeat(51)), "sql_table"),
        (RateLimiter::builder().sql_schema("a\nb"), "sql_schema"),
        (RateLimiter::builder().sql_connections(0), "sql_connections"),
        (RateLimiter::builder().sql_connections(101), "sql_connections"),
    ] {
        let error = builder.build().expect_err(setting).to_string();
        assert!(error.starts_with(setting) && error.ends_with("(RL004)"), "{error}");
    }
}
