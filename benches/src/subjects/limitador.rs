//! limitador: a fixed window in Redis, asked for each request, or counted in the process and sent to Redis once a second.

use std::{collections::HashMap, sync::Arc};

use actix_web::{
    Error, HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorServiceUnavailable,
    middleware::{Next, from_fn},
    web,
};
use anyhow::Result;
use limitador::{
    AsyncRateLimiter,
    limit::{Context, Limit, Namespace},
    storage::{
        AsyncCounterStorage,
        redis::{AsyncRedisStorage, CachedRedisStorage},
    },
};

use crate::{
    Configure, handlers,
    load::{Load, WINDOW_SECONDS},
};

struct Limiter {
    limiter: AsyncRateLimiter,
    namespace: Namespace,
    load: Load,
}

/// Redis decides each request.
pub(super) async fn exact(load: Load, url: &str) -> Result<Configure> {
    configure(Box::new(AsyncRedisStorage::new(url).await?), load)
}

/// The process counts, and sends its counts to Redis from time to time.
pub(super) async fn cached(load: Load, url: &str) -> Result<Configure> {
    configure(Box::new(CachedRedisStorage::new(url).await?), load)
}

fn configure(storage: Box<dyn AsyncCounterStorage>, load: Load) -> Result<Configure> {
    let limiter = AsyncRateLimiter::new_with_storage(storage);
    let limit = load.verdict.limit().into();
    limiter.add_limit(Limit::new("bench", limit, WINDOW_SECONDS.into(), [], ["client".try_into()?]));
    let limiter = Arc::new(Limiter { limiter, namespace: "bench".into(), load });
    Ok(Arc::new(move |app| {
        let limiter = Arc::clone(&limiter);
        let check = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
            let limiter = Arc::clone(&limiter);
            async move { limiter.limit(request, next).await }
        });
        app.service(web::resource("/").wrap(check).route(web::get().to(handlers::bare)));
    }))
}

impl Limiter {
    async fn limit(&self, request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
        let client = self.load.keys.of("limitador", &request);
        let context = Context::from(HashMap::from([("client".to_owned(), client)]));
        let checked = self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1).await;
        if checked.map_err(ErrorServiceUnavailable)?.limited {
            return Ok(request.into_response(HttpResponse::TooManyRequests()));
        }
        next.call(request).await
    }
}
