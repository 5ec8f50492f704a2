//! actix-limitation: a fixed window in Redis, with a new connection for each request.

use std::sync::Arc;

use actix_limitation::{Limiter, RateLimiter};
use actix_web::web;
use anyhow::Result;

use crate::{
    Configure, handlers,
    load::{Load, WINDOW},
};

pub(super) fn configure(load: Load, url: &str) -> Result<Configure> {
    let limiter = Limiter::builder(url)
        .limit(usize::try_from(load.verdict.limit())?)
        .period(WINDOW)
        .key_by(move |request| Some(load.keys.of("limitation", request)))
        .build()?;
    let limiter = web::Data::new(limiter);
    Ok(Arc::new(move |app| {
        app.app_data(limiter.clone());
        app.service(web::resource("/").wrap(RateLimiter::default()).route(web::get().to(handlers::bare)));
    }))
}
