//! The middleware that limits an application, a scope or a resource.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    sync::Arc,
};

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ResourceDef, Service, ServiceRequest, ServiceResponse, Transform},
};

use crate::{
    check::{
        charges::Charges,
        slot::{self, StateSlot},
    },
    http::{attribute, headers::RateLimitHeaders, held_body},
    rule::policy::Policy,
};

/// Middleware that limits whatever it wraps: an `App`, a scope or a resource.
///
/// It counts every request that reaches it, also one that no route serves, or that a middleware within rejects. A request over the
/// limit is answered as under `#[ratelimit]`, before anything within runs, and its body is not read.
///
/// It writes the headers by itself: those of [`RateLimitHeaders::default`], or of [`headers`](Self::headers). Where
/// [`RateLimitHeaders`] or another `RateLimit` is around it, the outer one writes them, and nothing is written twice.
///
/// A handler within keeps its own `#[ratelimit]`, and both limits apply. One policy in both places counts a request twice. Headers and
/// [`RateLimitState`](crate::RateLimitState) speak of the tightest of all rules.
///
/// ```
/// use actix_web::{App, web};
/// use ratelimit_runtime::{Policy, RateLimit, RateLimiter, policy};
///
/// static API: Policy = policy!("1000/hour", key = "api", scope = "ip");
///
/// let limiter = RateLimiter::in_memory();
/// let app = App::new()
///     .app_data(limiter)
///     .wrap(RateLimit::new(&API).except(["/health", "/static/{file:.*}"]))
///     .route("/health", web::get().to(|| async { "fine" }));
/// # drop(app);
/// ```
///
/// The guide tells where it goes among other middlewares: [`guide::middleware`](crate::guide::middleware).
#[derive(Clone, Debug)]
pub struct RateLimit(Rc<Settings>);

#[derive(Clone)]
struct Settings {
    policy: &'static Policy,
    /// Requests that match one of these are not counted.
    except: Vec<ResourceDef>,
    headers: RateLimitHeaders,
}

impl RateLimit {
    /// The middleware for a policy, which a `static` holds. The policy may have every argument but `body`.
    #[must_use]
    pub fn new(policy: &'static Policy) -> Self {
        Self(Rc::new(Settings { policy, except: Vec::new(), headers: RateLimitHeaders::default() }))
    }

    /// Leaves out requests whose path matches one of these patterns, in the syntax of Actix's resources. They are matched as the routes
    /// within are: in a scope, without the scope's prefix. Several calls add up.
    ///
    /// # Panics
    /// Where Actix itself does: for a pattern that is no resource pattern, such as `"/{unclosed"`.
    #[must_use]
    pub fn except<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns = patterns.into_iter().map(Into::into).map(|pattern| match pattern.starts_with('/') {
            true => ResourceDef::new(pattern),
            false => ResourceDef::new(format!("/{pattern}")),
        });
        Rc::make_mut(&mut self.0).except.extend(patterns);
        self
    }

    /// Sets the headers that it writes. The given middleware need not be wrapped.
    ///
    /// ```
    /// use ratelimit_runtime::{Policy, RateLimit, RateLimitHeaders, policy};
    ///
    /// static API: Policy = policy!("1000/hour", key = "api", scope = "ip");
    ///
    /// let limit = RateLimit::new(&API).headers(RateLimitHeaders::default().ietf());
    /// # drop(limit);
    /// ```
    #[must_use]
    pub fn headers(mut self, headers: RateLimitHeaders) -> Self {
        Rc::make_mut(&mut self.0).headers = headers;
        self
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let except: Vec<_> = self.except.iter().filter_map(ResourceDef::pattern).collect();
        f.debug_struct("Settings")
            .field("policy", &self.policy)
            .field("except", &except)
            .field("headers", &self.headers)
            .finish()
    }
}

impl<S, B> Transform<S, ServiceRequest> for RateLimit
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = RateLimitService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RateLimitService { service: Rc::new(service), settings: Rc::clone(&self.0) }))
    }
}

/// The service of [`RateLimit`].
#[derive(Debug)]
pub struct RateLimitService<S> {
    service: Rc<S>,
    settings: Rc<Settings>,
}

impl<S, B> Service<ServiceRequest> for RateLimitService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (service, settings) = (Rc::clone(&self.service), Rc::clone(&self.settings));
        Box::pin(async move {
            let (slot, is_outermost) = StateSlot::of(&request);
            let mut answer = settings.answer(&*service, request, &slot).await;
            if is_outermost {
                settings.headers.write_answer(&slot, &mut answer);
            }
            answer
        })
    }
}

impl Settings {
    /// The refusal, or the answer of the service.
    async fn answer<S, B>(
        &self,
        service: &S,
        request: ServiceRequest,
        slot: &StateSlot,
    ) -> Result<ServiceResponse<BoxBody>, Error>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let path = request.match_info().unprocessed();
        if self.except.iter().any(|pattern| pattern.is_match(path)) {
            return service.call(request).await.map(ServiceResponse::map_into_boxed_body);
        }
        // No clone of the request may live on: Actix's router needs it alone.
        let verdict = attribute::check(self.policy, request.request()).get().await;
        match verdict {
            Err(refusal) => Ok(request.into_response(refusal)),
            Ok(charges) => {
                // The state keeps the charges for longer than the request runs.
                let places = charges.as_ref().and_then(|charges| charges.take_places());
                let answer = service.call(request).await.map(ServiceResponse::map_into_boxed_body);
                if let Some(charges) = charges {
                    settle(&charges, &answer, slot);
                }
                match places {
                    None => answer,
                    Some(places) => answer.map(|answer| answer.map_body(|_, body| held_body::held(body, places))),
                }
            }
        }
    }
}

/// Refunds what the answer does not let count.
fn settle(charges: &Arc<Charges>, answer: &Result<ServiceResponse<BoxBody>, Error>, slot: &StateSlot) {
    match answer {
        Ok(response) if charges.conclude(response.response()) => slot::refresh(response.request()),
        Err(error) if charges.conclude(&error.error_response()) => slot.refresh(),
        Ok(_) | Err(_) => {}
    }
}
