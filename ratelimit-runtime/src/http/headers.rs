//! The middleware that writes the state of a limit into the response's headers.

pub(crate) mod fields;

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    Error,
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
};
use pin_project_lite::pin_project;

use crate::{
    check::slot::StateSlot,
    http::headers::fields::{Fields, IetfDraft},
};

/// Middleware that tells clients about their limit, on every answer of a handler under `#[ratelimit]`: successes,
/// errors and refusals alike.
///
/// | header | value |
/// |---|---|
/// | `X-RateLimit-Limit` | how many requests a window admits; with `algorithm = "gcra"`, how many may come at once |
/// | `X-RateLimit-Remaining` | how many are left |
/// | `X-RateLimit-Reset` | when there is more, in seconds since the Unix epoch: see [`RuleState::reset_at`](crate::RuleState::reset_at); with [`reset_in_seconds`](Self::reset_in_seconds), how many seconds are left until then |
///
/// Of a handler with several rules, they speak of the tightest. A rule with `send_x_headers = false` is left out.
/// A header that the handler has set itself stays as it is. Answers of other handlers, and of requests that were
/// not counted, get none.
///
/// [`ietf`](Self::ietf) adds the headers of the IETF draft, which list every rule. [`ietf_draft`](Self::ietf_draft) adds those of an
/// older draft.
///
/// ```
/// use actix_web::App;
/// use ratelimit_runtime::RateLimitHeaders;
///
/// let app = App::new().wrap(RateLimitHeaders::default().ietf());
/// # drop(app);
/// ```
#[derive(Clone, Debug, Default)]
pub struct RateLimitHeaders {
    fields: Fields,
}

impl RateLimitHeaders {
    /// Writes `X-RateLimit-Reset` as the seconds that are left, and not as a time. They are rounded up and at least 1:
    /// [`RuleState::retry_after`](crate::RuleState::retry_after). A client needs no clock for that, and some clients expect it.
    ///
    /// ```
    /// use actix_web::App;
    /// use ratelimit_runtime::RateLimitHeaders;
    ///
    /// let app = App::new().wrap(RateLimitHeaders::default().reset_in_seconds());
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn reset_in_seconds(mut self) -> Self {
        self.fields.reset_in_seconds = true;
        self
    }

    /// Adds `RateLimit-Policy` and `RateLimit` as in the newest draft of the IETF that this crate knows, [`IetfDraft::Draft10`]:
    /// `RateLimit-Policy: "ip:300/300s";q=300;w=300` and `RateLimit: "ip:300/300s";r=299;t=57`.
    #[must_use]
    pub fn ietf(self) -> Self {
        self.ietf_draft(IetfDraft::Draft10)
    }

    /// Adds the headers of one draft, for clients that parse its form. The drafts give the same header different forms, so the last call of
    /// this method or of [`ietf`](Self::ietf) holds.
    ///
    /// ```
    /// use actix_web::App;
    /// use ratelimit_runtime::{IetfDraft, RateLimitHeaders};
    ///
    /// let app = App::new().wrap(RateLimitHeaders::default().ietf_draft(IetfDraft::Draft7));
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn ietf_draft(mut self, draft: IetfDraft) -> Self {
        self.fields.ietf = Some(draft);
        self
    }

    /// Writes the state of a slot into the answer of a service.
    pub(crate) fn write_answer<B>(&self, slot: &StateSlot, answer: &mut Result<ServiceResponse<B>, Error>) {
        let Some(state) = slot.state() else { return };
        match answer {
            Ok(response) => self.fields.write(&state, response.headers_mut()),
            Err(error) => {
                let (headers, state) = (self.clone(), state.clone());
                error.add_response_mapper(move |mut response| {
                    headers.fields.write(&state, response.headers_mut());
                    response
                });
            }
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for RateLimitHeaders
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = RateLimitHeadersService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RateLimitHeadersService { service, headers: self.clone() }))
    }
}

/// The service of [`RateLimitHeaders`].
#[derive(Debug)]
pub struct RateLimitHeadersService<S> {
    service: S,
    headers: RateLimitHeaders,
}

impl<S, B> Service<ServiceRequest> for RateLimitHeadersService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = RateLimitHeadersFuture<S::Future>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (slot, _) = StateSlot::of(&request);
        RateLimitHeadersFuture { answer: self.service.call(request), headers: self.headers.clone(), slot }
    }
}

pin_project! {
    /// The future of [`RateLimitHeaders`].
    #[derive(Debug)]
    pub struct RateLimitHeadersFuture<F> {
        #[pin]
        answer: F,
        headers: RateLimitHeaders,
        slot: StateSlot,
    }
}

impl<F, B> Future for RateLimitHeadersFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(context));
        this.headers.write_answer(this.slot, &mut answer);
        Poll::Ready(answer)
    }
}
