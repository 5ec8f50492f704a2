//! The check of a policy with rules that read the body: first the rules that need none, then the body, then the others.

use std::{sync::Arc, thread, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    body::{BodyStream, to_bytes_limited},
    dev::Payload,
    http::header::CONTENT_LENGTH,
    web::Bytes,
};
use tokio::time::timeout;

use crate::{
    check::{
        charges::Charges,
        counting::{Answer, BodyCheck, Check, Unread, Verdict, gather},
        resolver::Resolver,
        slot,
        subject::RequestSubject,
    },
    limiter::RateLimiter,
    rule::{Body, function::extract::ReadBody, policy::Policy, prepared::Prepared},
};

/// Checks a request. All rules are one decision: where one that reads the body refuses, the charges of the others are refunded.
pub(crate) async fn check<A: Answer>(check: BodyCheck<'_>, payload: &mut Payload) -> Verdict<A> {
    let BodyCheck { policy, rules, limiter, request } = check;
    let (reading, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.rule.body.is_some());
    let charges = count::<A>(policy, others, limiter, request).await?;
    if let Some(limit) = reading.iter().filter_map(|rule| rule.rule.body).reduce(tighter) {
        match read(request, payload.take(), limit).await {
            Ok(body) => {
                request.extensions_mut().insert(ReadBody(body.clone()));
                *payload = Payload::from(body);
            }
            Err(unread) => {
                let answer = A::unread(policy, unread);
                if charges.conclude(answer.response()) {
                    slot::refresh(request);
                }
                drop(charges.take_places());
                return Err(answer);
            }
        }
    }
    let later = {
        let _refund = RefundOnPanic(&charges);
        count::<A>(policy, reading, limiter, request).await
    };
    request.extensions_mut().remove::<ReadBody>();
    match later {
        Ok(later) => Ok(Some(Charges::of_parts(limiter, [charges, later]))),
        Err(answer) => {
            charges.refund();
            drop(charges.take_places());
            slot::refresh(request);
            Err(answer)
        }
    }
}

/// Refunds the charges of the first rules if a function of the later ones panics. A client that leaves keeps them.
struct RefundOnPanic<'a>(&'a Arc<Charges>);

impl Drop for RefundOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.refund();
        }
    }
}

/// Counts a request under some of the rules of a policy, and keeps all charges.
async fn count<A: Answer>(
    policy: &'static Policy,
    rules: Vec<&'static Prepared>,
    limiter: &RateLimiter,
    request: &HttpRequest,
) -> Result<Arc<Charges>, A> {
    let source = RequestSubject(request);
    let resolver = Resolver::new(limiter.clients(), &source).ask(policy.name(), rules.iter().copied()).await;
    let resolver = resolver.map_err(|error| A::failed(policy, error))?;
    let (rules, hits, counters) = gather(rules, &resolver);
    let keys = Some(counters.iter().map(|counter| limiter.key(counter)).collect());
    let verdict = Check { policy, rules, hits, keys, limiter, request }.run(&counters).get().await;
    verdict.map(|charges| charges.unwrap_or_else(|| Charges::of_parts(limiter, [])))
}

/// What both allow. The rules of one handler allow the same; those of a policy that it names may allow something else.
fn tighter(one: Body, other: Body) -> Body {
    Body { bytes: one.bytes.min(other.bytes), timeout: one.timeout.min(other.timeout) }
}

async fn read(request: &HttpRequest, payload: Payload, limit: Body) -> Result<Bytes, Unread> {
    let longest = usize::try_from(limit.bytes).unwrap_or(usize::MAX);
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit.bytes.into()) {
        return Err(Unread::TooLong);
    }
    let body = to_bytes_limited(BodyStream::new(payload), longest);
    match timeout(Duration::from_secs(limit.timeout.into()), body).await {
        Err(_) => Err(Unread::TooSlow),
        Ok(Err(_)) => Err(Unread::TooLong),
        Ok(Ok(Err(error))) => Err(Unread::Failed(actix_web::error::ErrorBadRequest(error.to_string()))),
        Ok(Ok(Ok(body))) => Ok(body),
    }
}
