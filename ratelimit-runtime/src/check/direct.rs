//! Checks that a program asks for itself, looks at counters, and resets.

use std::time::Duration;

use crate::{
    check::{
        charges::Charges,
        counting::{Rules, gather, quotas},
        error::CheckError,
        places::Awaited,
        resolver::Resolver,
        source::Source,
    },
    counter::Counter,
    decision::{outcome::Outcome, state::RateLimitState},
    error::Error,
    limiter::{LimiterStep, RateLimiter, mode::Mode},
    rule::{block::LONGEST_BLOCK, policy::Policy},
    store::{CounterKey, Hits},
};

impl RateLimiter {
    /// Checks a subject under a policy, where there is no handler: for a message of a WebSocket, a job, a call of gRPC, or in a middleware.
    ///
    /// The check is the one that a handler under `#[ratelimit(policy = …)]` makes, and it counts in the same counters. The state says
    /// whether the subject was admitted, after `on_store_error` was applied. A rule with `count_if` counts every check.
    ///
    /// A rule of `concurrency` gives the state a place. It is released when the state and all its clones are dropped, so keep the state for as
    /// long as the work takes: `if limiter.check(…).await?.is_admitted() { … }` drops it before the block. After the check of a request, by
    /// [`Subject::of`](crate::Subject::of), the request keeps a clone.
    ///
    /// The future is `Send` for a [`Subject`](crate::Subject), and runs on any Tokio runtime. That of
    /// [`Subject::of`](crate::Subject::of) a request stays on the request's thread, and the state is kept with the request, as after the
    /// check of a handler.
    ///
    /// ```
    /// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy};
    ///
    /// static EXPORTS: Policy = policy!("2/hour", key = "exports", scope = "user");
    ///
    /// async fn export(limiter: &RateLimiter, user: &str) -> Result<&'static str, CheckError> {
    ///     let state = limiter.check(&EXPORTS, &Subject::new().user(user)).await?;
    ///     Ok(if state.is_admitted() { "started" } else { "try again later" })
    /// }
    ///
    /// # actix_web::rt::System::new().block_on(async {
    /// let limiter = RateLimiter::in_memory();
    /// for expected in ["started", "started", "try again later"] {
    ///     assert_eq!(export(&limiter, "alice").await, Ok(expected));
    /// }
    /// # });
    /// ```
    ///
    /// The subject is a [`Subject`](crate::Subject), or [`Subject::of`](crate::Subject::of) a request. Of a policy with `body`, the subject of a request has
    /// no body: name the value with [`Subject::part`](crate::Subject::part).
    ///
    /// # Errors
    /// [`CheckError::StoreUnavailable`] where the store fails and a rule says `on_store_error = "deny"`; [`CheckError::Subject`] where
    /// the policy needs a value that the subject lacks; [`CheckError::Function`] where a function of the policy fails.
    pub async fn check(&self, policy: &'static Policy, subject: &impl Source) -> Result<RateLimitState, CheckError> {
        let rules = self.rules(policy).ok_or(CheckError::Policy)?;
        let resolver = Resolver::new(self.clients(), subject).ask(policy.name(), rules).await.map_err(Into::into)?;
        let (rules, hits, counters) = gather(rules, &resolver);
        let keys = Charges::keys(self, &rules, &counters);
        let decided = match self.begin(&hits, &counters) {
            LimiterStep::Done(decided) => decided,
            LimiterStep::Pending(mut answer) => match &keys {
                Some(keys) => Awaited::new(self, &hits, keys, answer).get().await,
                None => self.finish(&hits, &mut answer).await,
            },
        }?;
        let mut state = RateLimitState::new(policy.first_limit(), quotas(&rules, &hits), &decided);
        if let Some(keys) = keys.filter(|_| state.is_admitted()) {
            state.charge(Charges::new(self, &hits, &rules, keys, &decided));
        }
        subject.keep(&state);
        Ok(state)
    }

    /// Looks at the counters of a subject under a policy without counting.
    ///
    /// The state has one [`RuleState`](crate::RuleState) for each rule, with the tokens that remain now. A rule is over only if it
    /// [blocks](crate::RateLimitState::is_blocked) the subject. To look at the counters of a handler, give the handler a `static` policy.
    ///
    /// ```
    /// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy, ratelimit};
    ///
    /// static LOGIN: Policy = policy!("5/minute", key = "login", scope = "user");
    ///
    /// #[ratelimit(policy = LOGIN)]
    /// async fn login() -> &'static str {
    ///     "five attempts a minute"
    /// }
    ///
    /// async fn attempts_left(limiter: &RateLimiter, user: &str) -> Result<u32, CheckError> {
    ///     Ok(limiter.peek(&LOGIN, &Subject::new().user(user)).await?.remaining())
    /// }
    /// # let _ = (login, attempts_left);
    /// ```
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`CheckError::StoreUnavailable`] whenever the store does not answer within the deadline.
    pub async fn peek(&self, policy: &'static Policy, subject: &impl Source) -> Result<RateLimitState, CheckError> {
        let (rules, hits, keys) = self.counters(policy, subject).await?;
        let outcomes = self.read(&hits, keys).await?;
        let decided: Vec<Option<Outcome>> = outcomes.into_iter().map(Some).collect();
        Ok(RateLimitState::new(policy.first_limit(), quotas(&rules, &hits), &decided))
    }

    /// Resets the counters of a subject under a policy. Every process sees it at once, or within a second if it refuses from its cache or
    /// has a lease. A charge from before the reset that is refunded after it (by `count_if`, or as unspent tokens of a lease) is taken
    /// from the new count.
    ///
    /// ```
    /// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy};
    ///
    /// static LOGIN: Policy = policy!("5/minute", key = "login", scope = "user");
    ///
    /// async fn forgive(limiter: &RateLimiter, user: &str) -> Result<(), CheckError> {
    ///     limiter.reset(&LOGIN, &Subject::new().user(user)).await
    /// }
    /// # let _ = forgive;
    /// ```
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub async fn reset(&self, policy: &'static Policy, subject: &impl Source) -> Result<(), CheckError> {
        let (rules, mut hits, keys) = self.counters(policy, subject).await?;
        for (hit, prepared) in hits.iter_mut().zip(&rules) {
            // A limiter in shadow mode starts no block, but another limiter may have started one.
            hit.block = prepared.rule.block.as_ref();
        }
        Ok(self.clear(&hits, keys).await?)
    }

    /// Blocks a subject under a policy for `duration`, which is rounded up to seconds: under each of its rules that has
    /// [`block`](macro@crate::ratelimit). All processes that share the store refuse it from then on. [`reset`](Self::reset) lifts the block.
    ///
    /// The new end replaces that of a block in force, even if it is earlier. The level of escalation stays. A limiter that only [watches](crate::RateLimiterBuilder::shadow), or is switched off, blocks nobody.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy};
    ///
    /// static LOGIN: Policy = policy!("5/minute", key = "login", scope = "user", block = "10m");
    ///
    /// async fn suspend(limiter: &RateLimiter, user: &str) -> Result<(), CheckError> {
    ///     limiter.block(&LOGIN, &Subject::new().user(user), Duration::from_secs(24 * 60 * 60)).await
    /// }
    ///
    /// # actix_web::rt::System::new().block_on(async {
    /// let limiter = RateLimiter::in_memory();
    /// assert!(suspend(&limiter, "mallory").await.is_ok());
    /// let state = limiter.check(&LOGIN, &Subject::new().user("mallory")).await;
    /// assert!(state.is_ok_and(|state| !state.is_admitted() && state.is_blocked()));
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`CheckError::Block`] where no rule of the policy has `block`, or `duration` is not from 1 second to 90 days; otherwise as
    /// [`peek`](Self::peek).
    pub async fn block(
        &self,
        policy: &'static Policy,
        subject: &impl Source,
        duration: Duration,
    ) -> Result<(), CheckError> {
        let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
        let seconds = u32::try_from(seconds).ok().filter(|seconds| (1..=LONGEST_BLOCK).contains(seconds));
        let reason = "write a duration from 1 second to 90 days";
        let seconds = seconds.ok_or(CheckError::Block { reason })?;
        let (rules, hits, keys) = self.counters(policy, subject).await?;
        if !rules.is_empty() && hits.iter().all(|hit| hit.block.is_none()) && self.mode() == Mode::Enforcing {
            let reason = "no rule of the policy blocks: give one of them `block`, as in `block = \"10m\"`";
            return Err(CheckError::Block { reason });
        }
        Ok(self.block_for(&hits, keys, seconds).await?)
    }

    /// Asks the store whether it counts, for the health checks of an application.
    ///
    /// In memory, it always does. A Redis must count a check in a counter of the limiter's own, over the connection that the checks of this
    /// thread use. In a cluster, each primary must, and each slot must have one. So a ping also finds a server that accepts
    /// connections and refuses to write. It needs the privileges of a fixed window, leaves one key for a minute on each server, and
    /// changes no limit.
    ///
    /// Like [`peek`](Self::peek), it needs a Tokio runtime with time and I/O, and no worker of Actix. While the store is known to be down, it
    /// fails at once, and triggers no attempt to connect.
    ///
    /// A limiter serves requests while its store is down, as [`on_store_error`](crate::RateLimiterBuilder::on_store_error) says. So decide
    /// whether your service is still healthy then: where each instance shares the Redis, all fail together.
    ///
    /// ```
    /// use actix_web::HttpResponse;
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// async fn ready(limiter: &RateLimiter) -> HttpResponse {
    ///     match limiter.ping().await {
    ///         Ok(()) => HttpResponse::Ok().finish(),
    ///         Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CheckError::StoreUnavailable`], if a server does not count the check within the [`deadline`](crate::RateLimiterBuilder::deadline).
    pub async fn ping(&self) -> Result<(), CheckError> {
        Ok(self.ask_store().await?)
    }

    /// Creates what the store needs in its database, unless it is there: the table of an SQL database. Call it when your application starts, or
    /// from a program that migrates your database. Other stores need nothing, and it succeeds at once.
    ///
    /// It needs the privilege to create a table. Without it, create the table by the SQL of [`guide::sql`](crate::guide::sql). A
    /// [`Store`](crate::Store) of your own is asked by its own [`migrate`](crate::Store::migrate). With
    /// [`enabled(false)`](crate::RateLimiterBuilder::enabled), nothing is done.
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// #[actix_web::main]
    /// async fn main() -> std::io::Result<()> {
    ///     let limiter = RateLimiter::open("memory://")?;
    ///     limiter.migrate().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Migration`], if the database cannot be reached or refuses.
    pub async fn migrate(&self) -> Result<(), Error> {
        self.prepare_store().await
    }

    /// The rules that count a subject, hits that cost nothing, and the names of the counters.
    async fn counters(
        &self,
        policy: &'static Policy,
        subject: &impl Source,
    ) -> Result<(Rules, Hits, Vec<CounterKey>), CheckError> {
        let rules = self.rules(policy).ok_or(CheckError::Policy)?;
        let resolver = Resolver::new(self.clients(), subject).ask(policy.name(), rules).await.map_err(Into::into)?;
        let (rules, mut hits, counters) = gather(rules, &resolver);
        for hit in &mut hits {
            hit.terms.cost = 0;
            hit.lease = 1;
        }
        let keys = counters.iter().map(|counter: &Counter<'_>| self.key(counter)).collect();
        Ok((rules, hits, keys))
    }
}
