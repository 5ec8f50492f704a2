//! Mistakes in a set-up that no compiler sees, found by the first requests of a limiter: each goes to the log once, with
//! what to write instead. Nothing here changes an answer.

mod app_data;
mod forwarding;
mod per_worker;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use actix_web::HttpRequest;

use self::per_worker::Maker;
use crate::{limiter::RateLimiter, policy::Prepared};

/// How many requests of a limiter are looked at: enough for the clients behind a proxy to come after its health checks.
const LOOKS: u32 = 5000;

/// Looks at the first requests of one limiter.
pub(crate) struct Lookout {
    left: AtomicU32,
    maker: Maker,
}

impl Lookout {
    /// For a limiter that the caller makes.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self { left: AtomicU32::new(LOOKS), maker: Maker::current() }
    }

    /// Looks at a request to a handler under `rules` that `limiter` serves.
    #[inline(always)]
    pub(crate) fn see(&self, limiter: &RateLimiter, request: &HttpRequest, rules: &[Prepared]) {
        if self.left.load(Relaxed) != 0 {
            self.look(limiter, request, rules);
        }
    }

    #[cold]
    fn look(&self, limiter: &RateLimiter, request: &HttpRequest, rules: &[Prepared]) {
        let Ok(left) = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) else { return };
        if left == LOOKS {
            per_worker::look(&self.maker, limiter, request);
        }
        app_data::look(limiter, request);
        if rules.iter().any(|rule| rule.rule.may_count_addresses()) {
            forwarding::look(limiter.clients(), request);
        }
    }
}
