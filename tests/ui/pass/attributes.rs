//! Other attributes below and above, none of which leads to a warning.

#![deny(warnings, missing_docs, clippy::all, clippy::pedantic)]

use actix_web::{App, get, web};
use ratelimit_runtime::ratelimit;
use serde::{Deserialize, Serialize};
use tracing::instrument as trace;

/// A body.
#[derive(Debug, Deserialize, Serialize)]
pub struct Body {
    id: u64,
}

#[ratelimit("300/5m")]
#[tracing::instrument(skip_all, fields(id = body.id))]
async fn instrumented_below(body: web::Json<Body>) -> String {
    body.id.to_string()
}

#[tracing::instrument(skip_all, fields(id = body.id))]
#[ratelimit("300/5m")]
async fn instrumented_above(body: web::Json<Body>) -> String {
    body.id.to_string()
}

// Actix has attributes of these names, too, and all of its attributes take the path of a URL.
#[ratelimit("300/5m")]
#[trace(skip_all, fields(id = body.id))]
async fn traced(body: web::Json<Body>) -> String {
    body.id.to_string()
}

#[ratelimit("300/5m")]
#[spans::route]
#[actix_web::trace("/trace")]
async fn routed_and_traced(body: web::Json<Body>) -> String {
    body.id.to_string()
}

mod spans {
    pub(crate) use tracing::instrument as route;
}

#[ratelimit("300/5m")]
#[inline]
#[allow(unused_variables)]
async fn allowed(unused: web::Path<u64>) -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[expect(unused_variables, reason = "fulfilled by the inner function alone")]
async fn expected(unused: web::Path<u64>) -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[expect(dead_code, reason = "fulfilled by the outer function alone")]
async fn never_used() -> &'static str {
    "text"
}

#[expect(non_snake_case, reason = "fulfilled by both")]
#[ratelimit("300/5m")]
async fn CamelCase() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[deprecated = "use another"]
#[must_use]
async fn deprecated() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[cfg(any())]
async fn configured_away() -> NoSuchType {}

#[ratelimit("300/5m")]
#[cfg_attr(all(), get("/conditional"))]
#[cfg_attr(all(), allow(unused_variables))]
async fn conditional_route(unused: web::Path<u64>) -> &'static str {
    "text"
}

/// Described.
#[utoipa::path(get, path = "/described/{id}", responses((status = 200, body = String)), params(("id" = u64, Path)))]
#[get("/described/{id}")]
#[ratelimit("300/5m")]
async fn described(id: web::Path<u64>) -> String {
    id.to_string()
}

fn main() {
    #[expect(deprecated, reason = "named once, here")]
    let deprecated = web::get().to(deprecated);
    let _app = App::new()
        .route("/1", web::get().to(instrumented_below))
        .route("/2", web::get().to(instrumented_above))
        .route("/3", web::get().to(allowed))
        .route("/4", web::get().to(expected))
        .route("/5", web::get().to(CamelCase))
        .route("/6", deprecated)
        .service(conditional_route)
        .route("/7", web::get().to(traced))
        .service(routed_and_traced)
        .service(described);
}
