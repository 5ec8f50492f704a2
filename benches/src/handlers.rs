//! The handler of every measurement: alone, and under the attribute.

use actix_web::{HttpRequest, Route, web};
use ratelimit_runtime::{Policy, Rate, RateLimitState, policy, ratelimit};
use tokio::task::yield_now;

use crate::load::{ADMIT_ALL, ADMIT_ONE, Keys, Load, Verdict, WINDOW_SECONDS};

const ANSWER: &str = "Simplicity is prerequisite for reliability.";

/// The handler without a limit.
pub async fn bare() -> &'static str {
    ANSWER
}

/// The handler without a limit that waits until the worker has polled its connections.
pub async fn waiting() -> &'static str {
    // Actix polls a waiting handler once more at once, so the first of these does not wait.
    yield_now().await;
    yield_now().await;
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip")]
async fn admitted_by_address() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ONE, per = WINDOW_SECONDS, scope = "ip")]
async fn refused_by_address() -> &'static str {
    ANSWER
}

/// The policy of a whole application.
pub static WHOLE: Policy = policy!(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", key = "whole");

/// The handler under a rate that a function returns.
#[ratelimit(rate = plan, scope = "ip")]
pub async fn planned() -> &'static str {
    ANSWER
}

fn plan(_: &HttpRequest) -> Rate {
    Rate::per_day(ADMIT_ALL)
}

/// The handler under a rate and a number of places.
#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", concurrency = 2)]
pub async fn placed() -> &'static str {
    ANSWER
}

/// The handler under a rule that blocks whom it refuses.
#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", block = "1h")]
pub async fn admitted_or_blocked() -> &'static str {
    ANSWER
}

/// The handler under a rule that refuses, and blocks.
#[ratelimit(limit = ADMIT_ONE, per = WINDOW_SECONDS, scope = "ip", block = "1h")]
pub async fn blocked() -> &'static str {
    ANSWER
}

/// The handler under a rule with a cost.
#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", cost = 2)]
pub async fn priced() -> &'static str {
    ANSWER
}

/// The handler under a rule with a cost, which it replaces by another.
#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", cost = 2)]
pub async fn settled(mut state: RateLimitState) -> &'static str {
    state.settle(1);
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "header:X-Api-Key")]
async fn admitted_by_header() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ONE, per = WINDOW_SECONDS, scope = "header:X-Api-Key")]
async fn refused_by_header() -> &'static str {
    ANSWER
}

/// A function of this name that chooses between two handlers by the kind of key; both are under the same attributes but for
/// the scope, and admit all requests.
macro_rules! admitted {
    ($doc:literal $name:ident: $([$($argument:tt)*])*) => {
        #[doc = $doc]
        #[must_use]
        pub fn $name(load: Load) -> Route {
            $(#[ratelimit(limit = ADMIT_ALL, scope = "ip", $($argument)*)])*
            async fn by_address() -> &'static str {
                ANSWER
            }
            $(#[ratelimit(limit = ADMIT_ALL, scope = "header:X-Api-Key", $($argument)*)])*
            async fn by_header() -> &'static str {
                ANSWER
            }
            match load.keys {
                Keys::One => web::get().to(by_address),
                Keys::Many => web::get().to(by_header),
            }
        }
    };
}

admitted!("Tokens are taken from Redis a hundred at once." leased: [per = WINDOW_SECONDS, lease = 100]);
admitted!("As `leased`, a thousand at once." leased_more: [per = WINDOW_SECONDS, lease = 1000]);
admitted!("Two rules of one scope, decided together." two_rules: [per = WINDOW_SECONDS] [per = SECOND_WINDOW_SECONDS]);
admitted!("A sliding window." sliding: [per = SLIDING_SECONDS, algorithm = "sliding-window"]);
admitted!("GCRA, with tokens that come back a thousand times as fast as they are asked for." gcra: [per = 1, algorithm = "gcra"]);

/// Of the second rule.
const SECOND_WINDOW_SECONDS: u32 = WINDOW_SECONDS / 2;

/// A sliding window cannot be longer.
const SLIDING_SECONDS: u32 = WINDOW_SECONDS / 2;

/// The handler under the attribute that `load` is about.
#[must_use]
pub fn limited(load: Load) -> Route {
    match (load.verdict, load.keys) {
        (Verdict::Admitted, Keys::One) => web::get().to(admitted_by_address),
        (Verdict::Refused, Keys::One) => web::get().to(refused_by_address),
        (Verdict::Admitted, Keys::Many) => web::get().to(admitted_by_header),
        (Verdict::Refused, Keys::Many) => web::get().to(refused_by_header),
    }
}
