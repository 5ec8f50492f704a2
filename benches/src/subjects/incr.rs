//! The least work of a limiter in Redis without batches: one `INCR` each, over a connection on the worker's thread. It has
//! no window and no expiry: a reference, not a limiter.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    Error, HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorServiceUnavailable,
    middleware::{Next, from_fn},
    web,
};
use anyhow::Result;
use redis::{AsyncCommands, Client, aio::MultiplexedConnection};
use tokio::sync::OnceCell;

use crate::{Configure, handlers, load::Load};

struct Worker {
    client: Client,
    connection: OnceCell<MultiplexedConnection>,
    load: Load,
}

pub(super) fn configure(load: Load, url: &str) -> Result<Configure> {
    let client = Client::open(url)?;
    Ok(Arc::new(move |app| {
        let worker = Rc::new(Worker { client: client.clone(), connection: OnceCell::new(), load });
        let check = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
            let worker = Rc::clone(&worker);
            async move { worker.limit(request, next).await }
        });
        app.service(web::resource("/").wrap(check).route(web::get().to(handlers::bare)));
    }))
}

impl Worker {
    async fn limit(&self, request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
        let connect = || self.client.get_multiplexed_async_connection();
        let mut connection = self.connection.get_or_try_init(connect).await.map_err(ErrorServiceUnavailable)?.clone();
        let key = self.load.keys.of("incr", &request);
        let count: u64 = connection.incr(key, 1).await.map_err(ErrorServiceUnavailable)?;
        if count > self.load.verdict.limit().into() {
            return Ok(request.into_response(HttpResponse::TooManyRequests()));
        }
        next.call(request).await
    }
}
