//! The guide: what each part does, with examples.
//!
//! | page | answers |
//! |---|---|
//! | [`ratelimit`](macro@crate::ratelimit) | what the arguments of the attribute are |
//! | [`recipes`] | how to limit a login, and where other needs are answered |
//! | [`algorithms`] | what a limit admits, several rules, cost, leases |
//! | [`plans`] | how limits depend on the caller |
//! | [`concurrency`] | how many requests may run at the same time |
//! | [`blocking`] | how to refuse a client for longer than its rate does |
//! | [`policies`] | how several handlers, an application, or what is no request share a limit |
//! | [`scopes`] | who is counted; addresses behind proxies |
//! | [`middleware`] | which headers there are, and where middlewares stand |
//! | [`responses`] | what a refused client gets; errors in the application's own format |
//! | [`redis`] | URLs, privileges, keys, memory |
//! | [`memcached`] | URLs, guarantees and limits of Memcached |
//! | [`sql`] | URLs, the table and limits of PostgreSQL, MariaDB, MySQL and SQLite |
//! | [`stores`] | which store to take, and how to write one of your own |
//! | [`failures`] | what happens when the store fails |
//! | [`errors`] | what a code such as `RL017` in the log means |
//! | [`testing`] | how to test an application with limits |

#[doc = include_str!("guide/algorithms.md")]
pub mod algorithms {}
#[doc = include_str!("guide/blocking.md")]
pub mod blocking {}
#[doc = include_str!("guide/concurrency.md")]
pub mod concurrency {}
#[doc = include_str!("guide/errors.md")]
pub mod errors {}
#[doc = include_str!("guide/failures.md")]
pub mod failures {}
#[doc = include_str!("guide/memcached.md")]
pub mod memcached {}
#[doc = include_str!("guide/middleware.md")]
pub mod middleware {}
#[doc = include_str!("guide/plans.md")]
pub mod plans {}
#[doc = include_str!("guide/policies.md")]
pub mod policies {}
#[doc = include_str!("guide/recipes.md")]
pub mod recipes {}
#[doc = include_str!("guide/redis.md")]
pub mod redis {}
#[doc = include_str!("guide/responses.md")]
pub mod responses {}
#[doc = include_str!("guide/scopes.md")]
pub mod scopes {}
#[doc = include_str!("guide/sql.md")]
pub mod sql {}
#[doc = include_str!("guide/stores.md")]
pub mod stores {}
#[doc = include_str!("guide/testing.md")]
pub mod testing {}
