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
mod number;
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
    function::{
        CostFunction, CountFunction, ExemptFunction, IntoCost, IntoExempt, IntoScope, OverLimitFunction, ScopeFunction,
    },
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
    // An item of the user's may have the name of any of these; what stands here is theirs.
    pub use std::{concat, module_path, primitive::i128};

    pub use actix_web::{FromRequest, HttpResponse, Responder};

    pub use crate::{
        function::{
            Answer, Ask, CountIf, Extracting, Held, Plain, Respond, Returns, ReturnsOf, cost, count_if, exempt,
            respond, scope,
        },
        guard::{Incoming, limited},
        measure::Check,
        number::{Number, Seconds, Value, number, seconds},
        policy::{Limit, OnStoreError, Policy, Rule},
        ratelimit,
        scope::{Scope, ScopeFn},
    };
}
