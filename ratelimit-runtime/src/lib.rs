//! Rate limits for Actix Web: one attribute above a handler counts each request in Redis, or in memory.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, Responder, get};
//! use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};
//!
//! #[get("/quote")]
//! #[ratelimit(limit = 300, per = 300, scope = "ip")]
//! async fn quote() -> impl Responder {
//!     "Simplicity is prerequisite for reliability."
//! }
//!
//! #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let limiter = RateLimiter::open("memory://")?; // or "redis://127.0.0.1/"
//!     HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote))
//!         .bind(("127.0.0.1", 8080))?
//!         .run()
//!         .await
//! }
//! ```
//!
//! The check runs before any extractor, so the body of a refused request is not read. Request 301 of five minutes is answered
//! `429 Too Many Requests` with `Retry-After`.
//!
//! | to | see |
//! |---|---|
//! | write a limit | [`ratelimit`](macro@ratelimit), the attribute, and [`guide::algorithms`] |
//! | limit a login by user name and by address | [`guide::recipes`] |
//! | choose who is counted | [`guide::scopes`], [`TrustedProxies`] |
//! | set up a limiter | [`RateLimiter`], [`RateLimiterBuilder`] |
//! | count in Redis | [`guide::redis`] |
//! | count in Memcached | [`guide::memcached`] |
//! | count in PostgreSQL, MariaDB, MySQL or SQLite | [`guide::sql`], [`RateLimiter::migrate`] |
//! | count in a store of your own | [`Store`], [`guide::stores`] |
//! | know what happens when Redis fails | [`guide::failures`], [`OnStoreError`] |
//! | tell clients about their limits | [`RateLimitHeaders`], [`guide::middleware`] |
//! | charge a cost that is known afterwards | [`RateLimitState::settle`] |
//! | answer in the application's own format | [`guide::responses`] |
//! | read the state of a limit in a handler | [`RateLimitState`] |
//! | limit by the caller's plan | [`Rate`], [`guide::plans`] |
//! | limit what runs at the same time | [`guide::concurrency`] |
//! | block whoever keeps going | [`guide::blocking`], [`RateLimiter::block`] |
//! | share a limit between handlers, or limit a whole application | [`guide::policies`], [`policy!`], [`RateLimit`] |
//! | limit what is no request | [`RateLimiter::check`], [`Subject`] |
//! | look at a counter, or reset it | [`RateLimiter::peek`], [`RateLimiter::reset`] |
//! | check the health of a store | [`RateLimiter::ping`] |
//! | switch limits off, or try them out | [`RateLimiterBuilder::enabled`], [`RateLimiterBuilder::shadow`] |
//! | understand a message of the log, such as `(RL017)` | [`guide::errors`] |
//! | test an application | [`guide::testing`], [`ManualClock`] |
//!
//! # Cargo features
//!
//! | feature | |
//! |---|---|
//! | `redis` (by default) | counters in Redis or Valkey |
//! | `rustls` | `rediss://`: Redis over TLS; it also brings TLS to `postgres` and `mysql` |
//! | `memcached` | counters in Memcached 1.6 or later |
//! | `postgres` | counters in PostgreSQL 14 or later |
//! | `mysql` | counters in MariaDB 10.6, MySQL 8, or later |
//! | `sqlite` | counters in a file of SQLite |
//! | `testing` | a contract suite for a [`Store`] of one's own, for `[dev-dependencies]` |
//! | `bench-internals` | what the project's own measurements need; it may change in any release |

#[cfg(feature = "bench-internals")]
pub mod bench_internals;
mod check;
#[doc(hidden)]
pub mod codegen;
mod counter;
mod decision;
mod error;
pub mod guide;
mod http;
mod limiter;
mod rule;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use ratelimit_macros::{policy, ratelimit};

#[cfg(feature = "redis")]
pub use crate::store::redis::transport::credentials::Credentials;
pub use crate::{
    check::{
        error::CheckError,
        subject::{RequestSubject, Subject},
    },
    counter::{
        client_ip::{TrustedProxies, forwarding_header::ForwardingHeader},
        key_part::KeyPart,
    },
    decision::state::{RateLimitState, RuleState},
    error::Error,
    http::{
        headers::{RateLimitHeaders, fields::IetfDraft},
        middleware::RateLimit,
    },
    limiter::{RateLimiter, builder::RateLimiterBuilder},
    rule::{
        function::{
            result::{IntoCost, IntoExempt, IntoRate, IntoScope},
            traits::{
                CostFunction, CountFunction, ExemptFunction, OverLimitFunction, RateFunction, ScopeFunction,
                UnavailableFunction,
            },
        },
        on_store_error::OnStoreError,
        policy::Policy,
        rate::{ParseRateError, Rate},
    },
    store::{
        clock::ManualClock,
        contract::{
            Store,
            erased::IntoStore,
            error::StoreError,
            operation::{Applied, Increment, Operation, Write},
            value::Value,
        },
    },
};
