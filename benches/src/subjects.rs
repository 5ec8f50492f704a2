//! The subjects as Actix sees them: each sets up one resource, `/`, with a handler behind its limiter.

mod bare;
mod extensible;
mod governor;
mod incr;
#[cfg(feature = "limitador")]
mod limitador;
mod limitation;
mod ours;
mod web_ratelimit;

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use anyhow::{Context, Result};

use crate::{
    handlers,
    load::Load,
    subject::{Kind, Store, Subject},
};

/// Sets up the application of one worker. What the workers share was made before.
pub type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// The application of `subject`, with the Redis of `redis` if it wants one.
///
/// # Errors
/// What the subject finds wrong with its set-up.
pub async fn configure(subject: &Subject, load: Load, redis: Option<&str>) -> Result<Configure> {
    let redis = match subject.store {
        Store::Memory => None,
        Store::Unix | Store::Tcp => {
            Some(redis.with_context(|| format!("{} counts in Redis: give its URL", subject.name))?)
        }
    };
    let configure = match (subject.kind, redis) {
        (Kind::Bare, _) => bare::configure(load),
        (Kind::Waiting, _) => Ok(bare::waiting()),
        (Kind::Ours, _) => ours::configure(load, handlers::limited, redis, subject.headers),
        (Kind::Leased, _) => ours::configure(load, handlers::leased, redis, subject.headers),
        (Kind::LeasedMore, _) => ours::configure(load, handlers::leased_more, redis, subject.headers),
        (Kind::TwoRules, _) => ours::configure(load, handlers::two_rules, redis, subject.headers),
        (Kind::Sliding, _) => ours::configure(load, handlers::sliding, redis, subject.headers),
        (Kind::Gcra, _) => ours::configure(load, handlers::gcra, redis, subject.headers),
        (Kind::Governor, _) => governor::configure(load, subject.headers),
        (Kind::Extensible, None) => Ok(extensible::in_memory(load, subject.headers)),
        (Kind::Extensible, Some(url)) => extensible::in_redis(load, url).await,
        (Kind::Limitation, Some(url)) => limitation::configure(load, url),
        (Kind::WebRatelimit, Some(url)) => web_ratelimit::configure(load, url),
        (Kind::Incr, Some(url)) => incr::configure(load, url),
        #[cfg(feature = "limitador")]
        (Kind::Limitador, Some(url)) => limitador::exact(load, url).await,
        #[cfg(feature = "limitador")]
        (Kind::CachedLimitador, Some(url)) => limitador::cached(load, url).await,
        (_, None) => anyhow::bail!("it counts in Redis only"),
    };
    configure.with_context(|| format!("cannot set up {}", subject.name))
}
