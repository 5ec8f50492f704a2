//! A store of one's own: counters in a file, which outlives a restart. All processes of one machine may share it.

mod store;

use std::{env, path::PathBuf};

use actix_web::{App, HttpServer, Responder, get};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

use self::store::FileStore;

#[get("/quote")]
#[ratelimit("10/minute", scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let path = env::var_os("COUNTERS").map_or_else(|| env::temp_dir().join("ratelimit.counters"), PathBuf::from);
    let limiter = RateLimiter::builder().store(FileStore(path)).build()?;
    let server =
        HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote))
            .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote"]);
    server.run().await
}
