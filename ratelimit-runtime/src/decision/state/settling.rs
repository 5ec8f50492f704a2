//! How a state settles the charges of its request, and shows them.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::decision::{
    settlement::Settle,
    state::{RateLimitState, tightest},
};

impl RateLimitState {
    /// Replaces the cost that the request was charged in advance by the true one, which is known only now: the tokens of a language model,
    /// the rows of an export. It has the unit of `cost`, and holds for each rule that has a `cost`. Rules without one count requests, and stay as they
    /// are.
    ///
    /// ```
    /// use actix_web::{Responder, web};
    /// use ratelimit_runtime::{RateLimitState, ratelimit};
    ///
    /// async fn complete(prompt: &str) -> (String, u64) {
    ///     (format!("an answer to {prompt}"), 120)
    /// }
    ///
    /// #[ratelimit("60/minute", scope = "user")]
    /// #[ratelimit("100000/day", scope = "user", cost = 500)]
    /// async fn chat(prompt: web::Path<String>, mut state: RateLimitState) -> impl Responder {
    ///     let (answer, tokens) = complete(&prompt).await;
    ///     state.settle(tokens);
    ///     answer
    /// }
    /// # let _ = chat;
    /// ```
    ///
    /// What the request was charged too much is refunded. What it was charged too little is taken, even beyond the limit; then the next
    /// requests are refused. Each rule's charge is replaced in the window in which it was made. Where that has ended, nothing happens. A
    /// bucket of `"gcra"` is empty at most. Called again, the last cost counts.
    ///
    /// This state, and the headers of a response that is not yet sent, show what remains then, 0 at least. It waits for nobody: Redis is told
    /// in the background, on the Tokio runtime of the caller. If that fails, the charge stays as it was.
    ///
    /// Nothing happens where no cost was charged: for a refused or exempt request, for one that is over a rule under
    /// `over_limit = "allow"`, for one that was admitted uncounted because the store failed, and after `count_if` has refunded the charge.
    ///
    /// A middleware settles the state in the request's extensions:
    ///
    /// ```
    /// use actix_web::{Error, HttpMessage, body::MessageBody, dev::{ServiceRequest, ServiceResponse}, middleware::Next};
    /// use ratelimit_runtime::RateLimitState;
    ///
    /// /// Charges the bytes of each response. It stands inside of `RateLimitHeaders`, and outside of the handlers.
    /// async fn bytes<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    ///     let response = next.call(request).await?;
    ///     if let actix_web::body::BodySize::Sized(bytes) = response.response().body().size()
    ///         && let Some(state) = response.request().extensions_mut().get_mut::<RateLimitState>()
    ///     {
    ///         state.settle(bytes);
    ///     }
    ///     Ok(response)
    /// }
    /// # let _ = bytes::<actix_web::body::BoxBody>;
    /// ```
    pub fn settle(&mut self, actual: u64) {
        if let Some(charges) = &self.charges {
            Arc::clone(charges).settle(actual);
            self.refresh();
        }
    }

    /// Adds charges that may change: those of all rules of this state.
    #[cold]
    pub(crate) fn charge(&mut self, charges: Arc<dyn Settle>) {
        self.charges = Some(charges);
    }

    /// Whether a charge may have changed since the check.
    #[inline]
    pub(crate) fn has_charges(&self) -> bool {
        self.charges.is_some()
    }

    #[cold]
    pub(super) fn clone_with(&self, charges: &Arc<dyn Settle>) -> Self {
        let charges = Some(Arc::clone(charges));
        let mut state = Self { rules: SmallVec::from_slice(&self.rules), charges, ..*self };
        state.refresh();
        state
    }

    /// Shows the charges as they are now.
    #[cold]
    pub(crate) fn refresh(&mut self) {
        let Self { rules, charges, .. } = self;
        if let Some(charges) = charges {
            charges.show(&mut |index, outcome| {
                if let Some(rule) = rules.get_mut(index) {
                    rule.outcome = outcome;
                }
            });
            self.tightest = tightest(self.rules.iter().enumerate());
        }
    }
}
