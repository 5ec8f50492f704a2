//! This project.

use std::sync::Arc;

use actix_web::{Route, web};
use anyhow::Result;
use ratelimit_runtime::{OnStoreError, RateLimitHeaders, RateLimiter};

use crate::{
    Configure,
    load::{Load, Verdict},
};

pub(super) fn configure(
    load: Load,
    handler: fn(Load) -> Route,
    redis: Option<&str>,
    headers: bool,
) -> Result<Configure> {
    // A request that Redis did not decide gets the wrong answer, which the measurement reports.
    let on_store_error = match load.verdict {
        Verdict::Admitted => OnStoreError::Deny,
        Verdict::Refused => OnStoreError::Allow,
    };
    let limiter = RateLimiter::builder().on_store_error(on_store_error).store(redis.unwrap_or("memory://")).build()?;
    Ok(Arc::new(move |app| {
        app.app_data(limiter.clone());
        let resource = web::resource("/").route(handler(load));
        if headers {
            app.service(resource.wrap(RateLimitHeaders::default()));
        } else {
            app.service(resource);
        }
    }))
}
