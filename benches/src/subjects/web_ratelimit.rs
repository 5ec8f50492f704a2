//! actix-web-ratelimit: a sorted set of timestamps in Redis, asked synchronously over a new connection each time.

use std::sync::Arc;

use actix_web::web;
use actix_web_ratelimit::{RateLimit, config::RateLimitConfig, store::RedisStore};
use anyhow::Result;

use crate::{
    Configure, handlers,
    load::{Keys, Load, WINDOW_SECONDS},
};

pub(super) fn configure(load: Load, url: &str) -> Result<Configure> {
    let store = Arc::new(RedisStore::new(url)?);
    let config = RateLimitConfig::default()
        .max_requests(usize::try_from(load.verdict.limit())?)
        .window_secs(WINDOW_SECONDS.into())
        .id(match load.keys {
            Keys::One => |request| Keys::One.of("web-ratelimit", request),
            Keys::Many => |request| Keys::Many.of("web-ratelimit", request),
        });
    Ok(Arc::new(move |app| {
        let limiter = RateLimit::new(config.clone(), Arc::clone(&store));
        app.service(web::resource("/").wrap(limiter).route(web::get().to(handlers::bare)));
    }))
}
