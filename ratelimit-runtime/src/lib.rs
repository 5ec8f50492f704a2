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

mod algorithm;
mod builder;
mod client_ip;
mod clock;
mod error;
#[cfg(feature = "redis")]
mod fallback;
mod function;
mod guard;
mod hash;
mod headers;
mod key;
mod limiter;
mod measure;
mod mistakes;
mod policy;
mod problem;
mod reject;
mod scope;
mod slot;
mod state;
mod store;
mod target;
mod url;

pub use ratelimit_macros::ratelimit;

#[cfg(feature = "redis")]
pub use crate::store::redis::Credentials;
pub use crate::{
    builder::RateLimiterBuilder,
    client_ip::{ForwardingHeader, TrustedProxies},
    clock::Clock,
    error::Error,
    function::{CostFunction, ExemptFunction, IntoCost, IntoExempt, IntoScope, OverLimitFunction, ScopeFunction},
    headers::{RateLimitHeaders, RateLimitHeadersFuture, RateLimitHeadersService},
    key::Text,
    limiter::RateLimiter,
    policy::OnStoreError,
    state::{RateLimitState, RuleState},
    target::{LimitTarget, Peek, StoreUnavailable},
};

/// What the attribute's output is made of. Not part of the public interface: it changes with the attribute,
/// which is why the two crates are always of the same version.
#[doc(hidden)]
pub mod __private {
    pub use actix_web::{FromRequest, HttpResponse, Responder};

    pub use crate::{
        function::{Answer, Extracting, Plain, cost, exempt, respond, scope},
        guard::{Incoming, limited},
        measure::Check,
        policy::{Limit, OnStoreError, Policy, Rule, integer},
        scope::Scope,
    };
}
