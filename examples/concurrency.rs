//! Two exports at a time for each user: a place is free again when the last row is sent, or the client is gone.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, Responder,
    body::{BodySize, MessageBody},
    get,
    rt::time::{Interval, interval},
    web::Bytes,
};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

#[get("/export")]
#[ratelimit("100/minute", concurrency = 2, scope = "user")]
async fn export() -> impl Responder {
    HttpResponse::Ok().body(Rows { left: 10, clock: interval(Duration::from_millis(200)) })
}

/// Ten rows in two seconds.
struct Rows {
    left: u32,
    clock: Interval,
}

impl MessageBody for Rows {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.clock.poll_tick(cx).map(|_| {
            self.left -= 1;
            Some(Ok(Bytes::from_static(b"a row\n")))
        })
    }
}

/// A real application would verify who this is.
fn user(request: &HttpRequest) -> Option<String> {
    Some(request.headers().get("X-User")?.to_str().ok()?.to_owned())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder().user(user).build()?;
    let app = move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(export);
    let server = HttpServer::new(app).bind(address())?;
    announce(
        &server.addrs(),
        &[
            "for i in 1 2 3; do curl -s -o /dev/null -w '%{http_code}\\n' -H 'X-User: alice' http://{}/export & done; wait   # 429, 200, 200",
            "curl -i -H 'X-User: alice' http://{}/export   # 200 again",
        ],
    );
    server.run().await?;
    Ok(())
}
