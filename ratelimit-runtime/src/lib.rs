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

mod check;
mod counter;
mod decision;
mod error;
mod http;
mod limiter;
mod measure;
mod rule;
mod store;

pub use ratelimit_macros::ratelimit;

#[cfg(feature = "redis")]
pub use crate::store::redis::Credentials;
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

/// What the attribute's output is made of. Not part of the public interface: it changes with the attribute,
/// which is why the two crates are always of the same version.
#[doc(hidden)]
pub mod __private {
    // An item of the user's may have the name of any of these; what stands here is theirs.
    pub use std::{concat, module_path, primitive::i128};

    pub use actix_web::{FromRequest, HttpResponse, Responder};

    pub use crate::{
        http::attribute::{Incoming, limited},
        measure::Check,
        ratelimit,
        rule::{
            Rule,
            function::{
                answer::Answer,
                forms::{Extracting, Plain, Returns, ReturnsOf},
                held::{Ask, CountIf, Held, Respond, cost, count_if, exempt, respond, scope},
            },
            limit::Limit,
            number::{Number, Seconds, Value, number, seconds},
            on_store_error::OnStoreError,
            policy::Policy,
            scope::{Scope, ScopeFn},
        },
    };
}
