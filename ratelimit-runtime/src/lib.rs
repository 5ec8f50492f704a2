// What the README links to in the sources is linked to its documentation here: of two definitions the first holds.
//! [attribute]: macro@ratelimit
//! [builder]: RateLimiterBuilder
//! [peek]: RateLimiter::peek
//! [reset]: RateLimiter::reset
//! [capacity]: RateLimiterBuilder::capacity
//! [proxies]: TrustedProxies
//! [headers]: RateLimitHeaders
//! [rule-reset]: RuleState::reset
//! [guard]: ../src/ratelimit_runtime/guard.rs.html
#![doc = ""]
#![doc = include_str!("../README.md")]

#[cfg(feature = "bench-internals")]
pub mod bench_internals;
mod check;
#[doc(hidden)]
pub mod codegen;
mod counter;
mod decision;
mod error;
mod http;
mod limiter;
mod rule;
mod store;

pub use ratelimit_macros::ratelimit;

#[cfg(feature = "redis")]
pub use crate::store::redis::transport::credentials::Credentials;
pub use crate::{
    counter::{
        client_ip::{ForwardingHeader, TrustedProxies},
        key_part::KeyPart,
    },
    decision::state::{RateLimitState, RuleState},
    error::Error,
    http::headers::RateLimitHeaders,
    limiter::{
        RateLimiter,
        builder::RateLimiterBuilder,
        target::{CheckError, LimitTarget, Peek},
    },
    rule::{
        function::{
            result::{IntoCost, IntoExempt, IntoScope},
            traits::{CostFunction, CountFunction, ExemptFunction, OverLimitFunction, ScopeFunction},
        },
        on_store_error::OnStoreError,
    },
    store::clock::ManualClock,
};
