//! Counters in SQL databases: what is their own, and what happens when they fail.

/// Tests on a server of each kind.
#[cfg(any(feature = "mysql", feature = "postgres"))]
macro_rules! on_each_server {
    ($(fn $name:ident($sql:ident: Sql) $body:block)*) => {
        mod on {
            use super::*;

            $(pub(super) fn $name($sql: Sql) $body)*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            use super::*;

            $(#[test] fn $name() { on::$name(Sql::Postgres); })*
        }

        #[cfg(feature = "mysql")]
        mod mariadb {
            use super::*;

            $(#[test] fn $name() { on::$name(Sql::MariaDb); })*
        }
    };
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod failures;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod tables;
#[cfg(all(feature = "rustls", any(feature = "mysql", feature = "postgres")))]
mod tls;
mod urls;

use std::time::Duration;

use actix_web::rt::Runtime;
use ratelimit_runtime::{
    CheckError, OnStoreError, Policy, RateLimitState, RateLimiter, RateLimiterBuilder, Subject, policy,
};
use ratelimit_tests::wait;

static LIMIT: Policy = policy!("3/day", key = "sql", scope = "user");

/// A limiter that refuses when its store fails, and a runtime to ask it.
struct Limited {
    limiter: RateLimiter,
    runtime: Runtime,
}

impl Limited {
    fn new(url: &str) -> Self {
        Self::with(RateLimiter::builder(), url)
    }

    fn with(builder: RateLimiterBuilder, url: &str) -> Self {
        let builder = builder.deadline(Duration::from_millis(500)).on_store_error(OnStoreError::Deny);
        let limiter = builder.store(url).build().expect("a URL");
        Self { limiter, runtime: Runtime::new().expect("a runtime") }
    }

    /// The same, with a table.
    fn migrated(url: &str) -> Self {
        let limited = Self::new(url);
        assert_eq!(limited.migrate(), Ok(()));
        // The first connection of a server may take long.
        wait::until("the store serves", || limited.check(&LIMIT, "the first").is_ok());
        limited
    }

    fn migrate(&self) -> Result<(), ratelimit_runtime::Error> {
        self.runtime.block_on(self.limiter.migrate())
    }

    fn check(&self, policy: &'static Policy, user: &str) -> Result<RateLimitState, CheckError> {
        self.runtime.block_on(self.limiter.check(policy, &Subject::new().user(user)))
    }

    fn remaining(&self, user: &str) -> Option<u32> {
        self.check(&LIMIT, user).ok().map(|state| state.remaining())
    }

    fn fails(&self, user: &str) -> bool {
        self.check(&LIMIT, user).err() == Some(CheckError::StoreUnavailable)
    }

    fn wait_until_it_serves(&self, user: &str) {
        wait::until("the store serves", || self.check(&LIMIT, user).is_ok());
    }
}

/// The application's log, while its store fails: the line with these words.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn assert_logs(url: &str, words: &[&str]) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_app"));
    command.env_remove("RATELIMIT_URL").env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny");
    command.env("APP_DEADLINE_MS", "2000");
    let app = ratelimit_tests::process::Process::start(&mut command);
    let status = ratelimit_tests::http::Server::get(&app, "/quote").status;
    assert_eq!(status, 503, "{:#?}", app.output());
    wait::until("the log says why", || app.lines_with(&["ERROR", "rate limit store"]) > 0);
    assert_eq!(app.lines_with(words), 1, "{words:?}: {:#?}", app.output());
}
