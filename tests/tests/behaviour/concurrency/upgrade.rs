//! Places of upgraded connections, such as WebSockets.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BodyStream, MessageBody};
use actix_web::error::PayloadError;
use actix_web::web::{self, Bytes, Payload, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server, request};
use ratelimit_tests::wait;

/// Sends back what the client sends, until the client ends.
struct Echo(BodyStream<Payload>);

impl MessageBody for Echo {
    type Error = <BodyStream<Payload> as MessageBody>::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

#[ratelimit(concurrency = 1, scope = "global")]
async fn echo(payload: Payload) -> impl Responder {
    HttpResponse::SwitchingProtocols().upgrade("websocket").body(Echo(BodyStream::new(payload)))
}

fn ask(server: &Served) -> (Connection, u16) {
    let mut client = Connection::open(server.address());
    client.send(&request("GET", "/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")]));
    let status = client.reply().status;
    (client, status)
}

#[test]
fn an_upgraded_connection_holds_its_place_until_it_ends() {
    let routes = |config: &mut ServiceConfig| {
        config.route("/", web::get().to(echo));
    };
    let server = Served::limited(&RateLimiter::in_memory(), routes);
    for _ in 0..3 {
        let (upgraded, _) = wait::until_some("the place is free", || {
            let (client, status) = ask(&server);
            (status == 101).then_some(client)
        });
        for _ in 0..3 {
            assert_eq!(ask(&server).1, 429);
        }
        drop(upgraded);
    }
}
