//! A Redis whose password is a token that expires: AWS ElastiCache with IAM, Azure Managed Redis with Entra ID, Vault.
//!
//! Here, the token is in a file that something else keeps up to date. With the library of a cloud, `token` asks that:
//!
//! - AWS: a presigned URL for the action `connect`, from the crate `aws-sigv4`, without its `http://`; it is good for 15 minutes and
//!   costs no request. The user is that of ElastiCache.
//! - Azure: an access token for `https://redis.azure.com/.default`, from the crate `azure_identity`, which keeps it until shortly
//!   before it expires. The user is the object ID of the identity.
//!
//! Both want TLS: the feature `rustls` of `ratelimit-runtime`, and `rediss://`.
//!
//! Start a Redis that knows the user (`redis-server --port 6379 --user 'app on >first ~* +@all'`), write `first` to a file, and start this with
//! the file's name in `REDIS_TOKEN_FILE`. Then change both (`redis-cli ACL SETUSER app resetpass '>second'`), and end the connections
//! (`redis-cli CLIENT KILL USER app`): the count goes on.

use std::io;

use actix_web::{App, HttpServer, Responder, get, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{Credentials, RateLimitHeaders, RateLimiter, ratelimit};

#[get("/quote")]
#[ratelimit("100/minute", on_store_error = "deny")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

/// Asks for a token, off the threads that answer requests.
async fn token(file: String) -> io::Result<String> {
    let read = web::block(move || std::fs::read_to_string(file)).await;
    Ok(read.map_err(io::Error::other)??.trim().to_owned())
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let user = std::env::var("REDIS_USER").unwrap_or_else(|_| "app".to_owned());
    let file = std::env::var("REDIS_TOKEN_FILE").map_err(|_| io::Error::other("set REDIS_TOKEN_FILE"))?;
    let limiter = RateLimiter::builder()
        .credentials(move || {
            let (user, file) = (user.clone(), file.clone());
            async move { Ok::<_, io::Error>(Credentials::new(user, token(file).await?)) }
        })
        .store(&url)
        .build()?;
    let server =
        HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote))
            .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote"]);
    server.run().await
}
