//! actix-extensible-rate-limit: a fixed window in memory or in Redis.

use std::sync::Arc;

use actix_extensible_rate_limit::{
    RateLimiter,
    backend::{
        Backend, SimpleInput, SimpleInputFunctionBuilder, SimpleOutput, memory::InMemoryBackend, redis::RedisBackend,
    },
};
use actix_web::{ResponseError, web};
use anyhow::Result;
use redis_0_26::{Client, aio::ConnectionManager};

use crate::{
    Configure, handlers,
    load::{self, Keys, Load, Verdict, WINDOW},
};

pub(super) fn in_memory(load: Load, headers: bool) -> Configure {
    configure(InMemoryBackend::builder().build(), load, headers)
}

pub(super) async fn in_redis(load: Load, url: &str) -> Result<Configure> {
    let connection = ConnectionManager::new(Client::open(url)?).await?;
    Ok(configure(RedisBackend::builder(connection).key_prefix(Some("extensible/")).build(), load, false))
}

fn configure<B>(backend: B, load: Load, headers: bool) -> Configure
where
    B: Backend<SimpleInput, Output = SimpleOutput, Error: ResponseError> + Clone + Send + Sync + 'static,
{
    Arc::new(move |app| {
        let input = SimpleInputFunctionBuilder::new(WINDOW, load.verdict.limit().into());
        let input = match load.keys {
            Keys::One => input.peer_ip_key(),
            Keys::Many => input.custom_fn(|request| Ok(load::client(request).to_owned())),
        };
        // As for this project, a failing store gives the answer that the measurement does not expect.
        let limiter = RateLimiter::builder(backend.clone(), input.build()).fail_open(load.verdict == Verdict::Refused);
        let limiter = if headers { limiter.add_headers() } else { limiter };
        app.service(web::resource("/").wrap(limiter.build()).route(web::get().to(handlers::bare)));
    })
}
